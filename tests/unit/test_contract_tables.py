"""The contracts' tables: what the code says comes out, markers are put and kept, prose is left alone."""

import ast
from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace

import contract_tables
from yilian.base.kinds import Key32, Table, Uint, kind
from yilian.base.refusals import Reason

RULES = """
def lend(loan, act):
    require(loan.open, Reason.GRANT_ENDED, until_s=loan.until_s, at_s=act.now_s)
    if act.late:
        raise Refused(Reason.NO_SUCH_GRANT)
    require(act.ok, Reason.GRANT_EXISTS if act.new else Reason.GRANT_REVOKED)
"""


class Stage(IntEnum):
    OFFERED = 1
    LENT = 2


@dataclass(frozen=True)
class Loan:
    """A thing lent. Nobody's name."""

    until_s: int | None  # end | exclusive
    stage: Stage


@dataclass(frozen=True)
class Lend:
    """A member lends a thing.

    Not in the table.
    """

    loan_key: Key32
    until_s: Uint | None = None


def test_refusals_are_read_off_the_rules_with_their_facts():
    assert sorted(contract_tables.given(ast.parse(RULES))) == [
        ("GRANT_ENDED", "until_s, at_s", "lend"),
        ("GRANT_EXISTS", "", "lend"),
        ("GRANT_REVOKED", "", "lend"),
        ("NO_SUCH_GRANT", "", "lend"),
    ]


def test_a_room_of_one_rule_lists_the_rest_of_its_block_as_not_given(tmp_path):
    (tmp_path / "rules.py").write_text(RULES)
    lines = contract_tables.refusals_table(tmp_path).splitlines()
    assert lines[0] == "| Number | Name | Facts | Given by |"
    assert f"| {Reason.GRANT_ENDED.value} | `GRANT_ENDED` | until_s, at_s | `lend` |" in lines
    assert f"| {Reason.USES_EXHAUSTED.value} | `USES_EXHAUSTED` |  | no rule of this version |" in lines
    assert len(lines) == 2 + len([reason for reason in Reason if reason.value // 1000 == 1])


def test_state_shows_rows_fields_and_permanent_numbers():
    door = SimpleNamespace(STATE=(Table(b"l/", "loan_key", Loan, "is it lent"),))
    assert contract_tables.state_table(door) == (
        "| Rows at | Key | Value | Remembered for |\n|---|---|---|---|\n| `l/` | loan_key | `Loan` | is it lent |\n\n"
        "`Loan`: A thing lent. Nobody's name.\n\n"
        "| Field | Type | Meaning |\n|---|---|---|\n"
        "| `until_s` | `int \\| None` | end \\| exclusive |\n| `stage` | `Stage` | 1 OFFERED, 2 LENT |"
    )


def test_transactions_show_number_fields_approval_and_the_first_sentence():
    door = SimpleNamespace(KINDS=(kind(98, "loan.lend", Lend, "loan_key", None),))
    assert contract_tables.transactions_table(door).splitlines()[2] == (
        "| 98 | `loan.lend` | 1 `loan_key` bytes(32)<br>"
        "2 `until_s` uint, may be absent | loan_key | A member lends a thing. Composed by `ledger`. |"
    )


def test_markers_are_put_behind_their_heading_and_prose_is_left_alone():
    page = "# Loan\n\n## State\nWords.\n\n## Transactions\n"
    once = contract_tables.with_tables(page, {"State": "A", "Transactions": "B", "Refusals": "C"})
    assert once == (
        "# Loan\n\n## State\n\n<!-- generated: State -->\nA\n<!-- end -->\nWords.\n\n"
        "## Transactions\n\n<!-- generated: Transactions -->\nB\n<!-- end -->\n"
    )
    again = contract_tables.with_tables(once, {"State": "new", "Transactions": "B"})
    assert again == once.replace("\nA\n", "\nnew\n")
