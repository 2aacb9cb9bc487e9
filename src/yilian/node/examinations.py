"""Examinations: before an order the doctor is warned if a valid result exists; avoided and repeated examinations are counted.

Known     our own results, those that came with releases (`fetched`), and answers to "is there a valid result?" (`elsewhere`).
Counted   avoided: a valid result is used instead; repeated: one was passed over, with the doctor's reason. Once per order id.
Declared  avoided examinations, on the ledger, once a day: the network's number, without whose they were (`reuse.declare`).
Source    design 04 "Mutual recognition"; design 03 "referral" (`reuse.declare`); ADR-0089.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from yilian.base.times import DAY_S, day_of
from yilian.base.transaction import approve, parse_header
from yilian.contracts import directory, referral
from yilian.node import ownuse
from yilian.node.carriage import act_of
from yilian.node.housekeeping import duty
from yilian.node.member import Node
from yilian.node.recognition import EXCEPTIONS, Order, Recognise, Result, Retest, RetestAllowed, Unknown, check
from yilian.node.recognition_table import DEFAULT
from yilian.node.refusals import No, demand
from yilian.node.valid_results import codes_for, results_of

ORDER_ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Fetched:
    """What another member released: a Bundle or an Observation, as it came."""

    member: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another member's answer to "is there a valid result?": yes, until (exclusive)."""

    member: str
    loinc: str
    until_s: int


@dataclass(frozen=True, slots=True)
class OrderAsk:
    """An examination about to be ordered. `exception` is the doctor's statement (a `Retest`); `is_used`: a result is used instead."""

    order_id: bytes
    patient_id: str
    loinc: str
    exception: str | None
    is_used: bool
    fetched: tuple[Fetched, ...]
    elsewhere: tuple[Elsewhere, ...]
    practitioner: bytes


Verdict = Recognise | RetestAllowed | Unknown


async def before_order(asked: OrderAsk, node: Node) -> Verdict:
    """Return what mutual recognition says of an order; the doctor decides.

    Refuses  NOT_UNDERSTOOD, EXCEPTION_NOT_KNOWN
    """
    demand(len(asked.order_id) == ORDER_ID_SIZE, No.NOT_UNDERSTOOD)
    history = [*await _own(asked, node), *_fetched(asked.fetched), *_elsewhere(asked.elsewhere)]
    return check(Order(asked.loinc, node.members.now_s(), _exception(asked.exception)), history)


async def place_order(asked: OrderAsk, node: Node) -> Verdict:
    """Count what becomes of an order, once: a result is used instead, or the examination is done, with a reason if it need not be.

    Refuses  RESULT_VALID (a valid result exists and no reason was stated; `until_s`), NOT_UNDERSTOOD, EXCEPTION_NOT_KNOWN
    """
    verdict = await before_order(asked, node)
    outcome, reason = "done", None
    match verdict:
        case Recognise(until_s=until_s):
            demand(asked.is_used, No.RESULT_VALID, until_s=until_s)
            outcome = "avoided"
        case RetestAllowed(why, instead_of):
            outcome, reason = ("repeated" if instead_of else "done"), why.value
        case Unknown():
            pass
    row = (node.members.now_s(), asked.loinc, outcome, reason, asked.order_id)
    await node.journal.execute(
        "INSERT INTO examinations (at_s, loinc, outcome, reason, order_id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row
    )
    return verdict


def counters(node: Node, from_s: int = 0, until_s: int | None = None) -> dict[str, Any]:
    """Return how many examinations were avoided, and how many repeated for which reason, in a period (end exclusive)."""
    end = node.members.now_s() + 1 if until_s is None else until_s
    rows = node.journal.all(
        "SELECT outcome, reason, count(*) FROM examinations WHERE at_s >= ? AND at_s < ? GROUP BY outcome, reason", (from_s, end)
    )
    counted = {(outcome, reason): count for outcome, reason, count in rows}
    repeated = {reason: count for (outcome, reason), count in sorted(counted.items(), key=str) if outcome == "repeated"}
    network = sum(_avoided(node, one) for one in _members(node))
    return {"avoided": counted.get(("avoided", None), 0), "repeated": repeated, "declared_in_network": network}


# --- the ledger


@duty
async def declare_daily(node: Node) -> None:
    """Declare the avoided examinations of the days before this one.

    Refuses  LEDGER_UNREACHABLE
    """
    await declare(node, before_s=day_of(node.members.now_s()) * DAY_S)


async def declare(node: Node, before_s: int | None = None) -> int:
    """Declare avoided examinations that no declaration covers yet (before an instant); return how many were.

    Refuses  LEDGER_UNREACHABLE
    """
    for number, transaction, exp_s, until_number in node.journal.all(
        "SELECT number, tx, exp_s, until_number FROM declarations WHERE entry_index IS NULL"
    ):
        await _settle(node, number, transaction, exp_s, until_number)
    end = node.members.now_s() + 1 if before_s is None else before_s
    last, count = node.journal.one(
        "SELECT max(number), count(*) FROM (SELECT number FROM examinations WHERE outcome = 'avoided' AND declared_index IS NULL"
        " AND at_s < ? ORDER BY number LIMIT ?)",
        (end, referral.DECLARED_MAX),
    )
    if not count:
        return 0
    protected, act = node.carriage.header("reuse.declare"), act_of("reuse.declare", referral.Declare(count))
    transaction = node.carriage.enveloped(protected, act, [approve(node.keys.node_key, protected, act)])
    exp_s = parse_header(protected).exp_s

    def insert(db: sqlite3.Connection) -> int:
        added = db.execute("INSERT INTO declarations (tx, exp_s, until_number) VALUES (?, ?, ?)", (transaction, exp_s, last)).lastrowid
        assert added is not None, "a row was added"
        return added

    return count if await _settle(node, await node.journal.write(insert), transaction, exp_s, last) else 0


async def _settle(node: Node, number: int, transaction: bytes, exp_s: int, until_number: int) -> bool:
    """Find out what became of a declaration and mark what it covers; say whether it was entered."""
    committed = await node.carriage.outcome(transaction, exp_s)
    if committed is None or committed.index is None:
        await node.journal.execute("DELETE FROM declarations WHERE number = ?", (number,))
        return False
    index = committed.index

    def update(db: sqlite3.Connection) -> None:
        db.execute(
            "UPDATE examinations SET declared_index = ? WHERE outcome = 'avoided' AND declared_index IS NULL AND number <= ?",
            (index, until_number),
        )
        db.execute("UPDATE declarations SET entry_index = ? WHERE number = ?", (index, number))

    await node.journal.write(update)
    return True


# --- the parts


async def _own(asked: OrderAsk, node: Node) -> list[Result]:
    """Return our own results for the order; looking is recorded like every look of our staff."""
    wanted = codes_for(asked.loinc)
    if not wanted:
        return []
    query = urlencode({"patient": asked.patient_id, "code": ",".join(wanted), "_sort": "-date", "_count": "100"})
    interaction = ownuse.Interaction("GET", f"/fhir/Observation?{query}", practitioner=asked.practitioner or None)
    written = await ownuse.interact(interaction, node)
    return list(results_of(_resources(written.answer.body), node.id))


def _fetched(fetched: tuple[Fetched, ...]) -> Iterator[Result]:
    for one in fetched:
        yield from results_of(_resources(one.body), one.member)


def _elsewhere(answers: tuple[Elsewhere, ...]) -> Iterator[Result]:
    """Yield each answer as a result that ends when the answer says."""
    for one in answers:
        for analyte in DEFAULT.ordered(one.loinc):
            for code in sorted(analyte.codes)[:1]:
                yield Result(code, one.until_s - DEFAULT.valid_for_s(analyte), "final", one.member)


def _resources(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the Observations of a Bundle, or the one that the body is.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        tree = None
    demand(isinstance(tree, dict), No.NOT_UNDERSTOOD)
    each = [tree] if tree.get("resourceType") != "Bundle" else [entry.get("resource") for entry in tree.get("entry", [])]
    yield from (one for one in each if isinstance(one, dict) and one.get("resourceType") == "Observation")


def _exception(text: str | None) -> Retest | None:
    if text is None:
        return None
    demand(text in {one.value for one in EXCEPTIONS}, No.EXCEPTION_NOT_KNOWN)
    return Retest(text)


def _members(node: Node) -> list[str]:
    return [one.id for one in directory.members(node.engine.read())]


def _avoided(node: Node, member: str) -> int:
    found = referral.reuse(node.engine.read(), member)
    return found.avoided
