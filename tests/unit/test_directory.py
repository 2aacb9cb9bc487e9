"""Directory, sentence by sentence: who votes, what carries, who suspends, whose practitioners act."""

from dataclasses import replace
from hashlib import sha256

import pytest

import contract_tables
from tests.rooms import DAY_S, INDEX, NOW, View, act, key, kinds, refusal
from yilian.base.codec import encode
from yilian.base.keys import kid_of
from yilian.base.refusals import Reason
from yilian.contracts import directory
from yilian.contracts.directory import Credential, KeyOwner, KeyUse, Member, Proposal, SetParameter, SetPower, Stage, Version

KINDS = kinds(directory)
SEALING = bytes(1_216)
PRACTITIONER = key("practitioner")
CREDENTIAL_S_MAX = 158_112_000
MONTH_S = 30 * DAY_S
CAP = directory.propose_change(SetParameter("emergency_cap", 7))


def member(name, power=1, kind="hospital", **changes):
    one = Member(
        name,
        (kind,),
        f"name of {name}",
        f"http://{name}",
        key(f"{name} node"),
        SEALING,
        key(f"{name} receipt"),
        None,
        power,
        Stage.ACTIVE,
        0,
    )
    return replace(one, **changes)


FOUNDERS = (member("a"), member("b"), member("c"), member("d", 0, "clinic"), member("r", 1, "regulator"))


def network(*members, **parameters):
    return View(directory.genesis_writes(members or FOUNDERS, parameters, 1))


def do(view, name, message, carrier, **circumstances):
    """Decide one message, keep and return what it writes."""
    writes = KINDS[name].decide(view, message, act(carrier=carrier, **circumstances))
    view.take(writes)
    return writes


def no(view, name, message, carrier, **circumstances):
    return refusal(KINDS[name].decide, view, message, act(carrier=carrier, **circumstances))


def proposal_row(yes, against=(), *, proposer="a", is_passed=False, message=CAP, index=INDEX):
    row = [proposer, message.change, message.details, NOW, list(yes), list(against), is_passed]
    return {b"d/q/" + index.to_bytes(8, "big"): encode(row)}


# votes


def test_a_proposal_is_opened_with_its_proposers_yes():
    view = network()
    assert do(view, "directory.propose", CAP, "a") == proposal_row(["a"])
    assert directory.proposal(view, INDEX) == Proposal(INDEX, "a", 5, CAP.details, NOW, ("a",), (), is_passed=False)
    assert list(directory.proposals(view)) == [directory.proposal(view, INDEX)]
    assert directory.proposal(view, INDEX + 1) is None


def test_the_vote_that_makes_it_more_than_two_thirds_carries_it_and_is_enacted_at_once():
    view = network()  # four votes: three are more than two thirds
    do(view, "directory.propose", CAP, "a")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "r") == proposal_row(["a", "r"])
    assert directory.parameter(view, "emergency_cap") == 20
    carried = do(view, "directory.vote", directory.Vote(INDEX, yes=True), "b")
    assert carried == proposal_row(["a", "b", "r"], is_passed=True) | {b"d/p/emergency_cap": encode(7)}
    assert directory.parameter(view, "emergency_cap") == 7


def test_exactly_two_thirds_is_not_enough():
    view = network(member("a"), member("b"), member("c"))
    do(view, "directory.propose", CAP, "a")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "b") == proposal_row(["a", "b"])
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "c")[b"d/p/emergency_cap"] == encode(7)


def test_votes_are_weighed_by_power():
    view = network(member("a", 5), member("b", 1), member("c", 1))
    assert do(view, "directory.propose", CAP, "a") == proposal_row(["a"], is_passed=True) | {b"d/p/emergency_cap": encode(7)}
    view = network(member("a", 4), member("b", 1), member("c", 1))
    assert do(view, "directory.propose", CAP, "a") == proposal_row(["a"])  # four of six
    view = network(member("a", 4), member("b", 1), member("c", 1))
    do(view, "directory.propose", CAP, "b")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "a")[b"d/p/emergency_cap"] == encode(7)


def test_a_no_is_written_down_and_carries_nothing():
    view = network()
    do(view, "directory.propose", CAP, "a")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=False), "r") == proposal_row(["a"], ["r"])
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=False), "b") == proposal_row(["a"], ["b", "r"])
    assert directory.proposal(view, INDEX).no == ("b", "r")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_nobody_votes_twice_either_way(first, second):
    view = network()
    do(view, "directory.propose", CAP, "a")
    do(view, "directory.vote", directory.Vote(INDEX, yes=first), "b")
    assert no(view, "directory.vote", directory.Vote(INDEX, yes=second), "b") == (Reason.ALREADY_VOTED, {})
    assert no(view, "directory.vote", directory.Vote(INDEX, yes=second), "a") == (Reason.ALREADY_VOTED, {})


@pytest.mark.parametrize("carrier", ["d", "nobody", "gone", "waiting"])
def test_who_has_no_vote_neither_proposes_nor_votes(carrier):
    view = network(*FOUNDERS, member("gone"), member("waiting"))
    view.take(directory.state.write_member(None, member("gone", stage=Stage.REMOVED)))
    view.take(directory.state.write_member(None, member("waiting", stage=Stage.SUSPENDED)))
    assert no(view, "directory.propose", CAP, carrier) == (Reason.NOT_A_VOTER, {"member": carrier})
    assert no(view, "directory.vote", directory.Vote(INDEX, yes=True), carrier) == (Reason.NOT_A_VOTER, {"member": carrier})


def test_there_is_nothing_to_vote_on_before_the_proposal():
    assert no(network(), "directory.vote", directory.Vote(INDEX, yes=True), "a") == (Reason.NO_SUCH_PROPOSAL, {})


@pytest.mark.parametrize(("after_s", "is_open"), [(MONTH_S - 1, True), (MONTH_S, False), (MONTH_S + 1, False)])
def test_a_proposal_closes_after_thirty_days(after_s, is_open):
    view = network()
    do(view, "directory.propose", CAP, "a")
    vote = directory.Vote(INDEX, yes=True)
    if is_open:
        assert do(view, "directory.vote", vote, "b", now_s=NOW + after_s) == proposal_row(["a", "b"])
    else:
        closed = (Reason.PROPOSAL_CLOSED, {"closes_at_s": NOW + MONTH_S})
        assert no(view, "directory.vote", vote, "b", now_s=NOW + after_s) == closed


def test_a_carried_proposal_is_closed():
    view = network(member("a"))
    do(view, "directory.propose", CAP, "a")
    assert no(view, "directory.vote", directory.Vote(INDEX, yes=False), "a") == (Reason.PROPOSAL_CLOSED, {"closes_at_s": NOW + MONTH_S})


def test_what_has_become_impossible_is_not_carried_and_the_vote_does_not_count():
    view = network()
    change = directory.propose_change(SetPower("c", 9))
    do(view, "directory.propose", change, "a")
    do(view, "directory.vote", directory.Vote(INDEX, yes=True), "b")
    view.take(directory.state.write_member(None, member("c", stage=Stage.REMOVED)))  # then two of three are no majority yet
    before = dict(view.rows)
    answer = no(view, "directory.vote", directory.Vote(INDEX, yes=True), "r")
    assert answer == (Reason.PROPOSAL_NO_LONGER_APPLIES, {"because": int(Reason.MEMBER_REMOVED)})
    assert view.rows == before


def test_suspending_gives_the_regulator_no_majority():
    """A suspended member's yes does not count, but its power stays in the whole."""
    view = network()
    do(view, "directory.propose", CAP, "a")
    for name in ("b", "c"):
        do(view, "directory.suspend", directory.Suspend(name, key("reason")), "r")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "r") == proposal_row(["a", "r"])
    do(view, "directory.reinstate", directory.Reinstate("b"), "r")
    do(view, "directory.suspend", directory.Suspend("a", key("reason")), "r")
    assert do(view, "directory.vote", directory.Vote(INDEX, yes=True), "b") == proposal_row(["a", "b", "r"])  # a's yes sleeps


@pytest.mark.parametrize(
    ("change", "details", "field"),
    [(0, encode([]), 1), (7, encode(["a"]), 1), (5, b"\xff", 2), (5, encode(["emergency_cap"]), 2), (5, encode({1: 1}), 2)],
)
def test_bytes_that_are_no_change_are_refused(change, details, field):
    assert no(network(), "directory.propose", directory.Propose(change, details), "a") == (Reason.BAD_SHAPE, {"field": field})


# suspension


def test_the_regulator_suspends_at_once_and_reinstates():
    view = network()
    suspended = do(view, "directory.suspend", directory.Suspend("a", key("reason")), "r")
    assert suspended == directory.state.write_member(None, member("a", stage=Stage.SUSPENDED))
    assert directory.member(view, "a") == member("a", stage=Stage.SUSPENDED)
    assert directory.key_owner(view, kid_of(key("a node"))) == KeyOwner("a", KeyUse.NODE)  # still taken
    assert do(view, "directory.reinstate", directory.Reinstate("a"), "r") == directory.state.write_member(None, member("a"))


@pytest.mark.parametrize("name", ["directory.suspend", "directory.reinstate"])
@pytest.mark.parametrize("carrier", ["a", "d", "nobody", "asleep"])
def test_nobody_but_an_active_regulator(name, carrier):
    view = network(*FOUNDERS, member("asleep", 1, "regulator"))
    view.take(directory.state.write_member(None, member("asleep", 1, "regulator", stage=Stage.SUSPENDED)))
    message = directory.Suspend("b", key("reason")) if name == "directory.suspend" else directory.Reinstate("b")
    assert no(view, name, message, carrier) == (Reason.NOT_THE_REGULATOR, {})


def test_a_regulator_may_be_other_things_besides():
    view = network(member("r", kinds=("hospital", "regulator")), member("a"))
    assert do(view, "directory.suspend", directory.Suspend("a", key("reason")), "r")


@pytest.mark.parametrize(
    ("stage", "suspending", "reinstating"),
    [
        (Stage.ACTIVE, None, (Reason.NOT_SUSPENDED, {})),
        (Stage.SUSPENDED, (Reason.ALREADY_SUSPENDED, {}), None),
        (Stage.REMOVED, (Reason.MEMBER_REMOVED, {"member": "b"}), (Reason.MEMBER_REMOVED, {"member": "b"})),
        (None, (Reason.NO_SUCH_MEMBER, {"member": "b"}), (Reason.NO_SUCH_MEMBER, {"member": "b"})),
    ],
)
def test_only_the_active_are_suspended_and_only_the_suspended_reinstated(stage, suspending, reinstating):
    for name, message, answer in (
        ("directory.suspend", directory.Suspend("b", key("reason")), suspending),
        ("directory.reinstate", directory.Reinstate("b"), reinstating),
    ):
        view = network(member("r", kinds=("regulator",)))
        if stage is not None:
            view.take(directory.state.write_member(None, member("b", stage=stage)))
        if answer is not None:
            assert no(view, name, message, "r") == answer
        else:
            assert do(view, name, message, "r")


# a validator that signed twice


def test_whose_validator_signed_twice_is_suspended_by_its_address_alone():
    validator = member("a", consensus_key=key("a consensus"))
    address = sha256(key("a consensus")).digest()[:20]
    view = network(member("b"), validator)
    found = directory.equivocation_writes(view, address)
    assert found == ("a", directory.state.write_member(None, replace(validator, stage=Stage.SUSPENDED)))
    for other in (b"", address[:19], sha256(key("a consensus")).digest(), sha256(key("b node")).digest()[:20]):
        assert directory.equivocation_writes(view, other) is None
    view.take(found[1])
    assert directory.equivocation_writes(view, address) is None  # suspended already


def test_where_the_only_regulator_signed_twice_the_members_admit_another_that_reinstates_it():
    regulator = member("r", 1, "regulator", consensus_key=key("r consensus"))
    view = network(member("a"), member("b"), member("c"), regulator)
    view.take(directory.equivocation_writes(view, sha256(key("r consensus")).digest()[:20])[1])
    assert no(view, "directory.reinstate", directory.Reinstate("r"), "r") == (Reason.NOT_THE_REGULATOR, {})
    keys = (key("s node"), SEALING, key("s receipt"), None)
    second = directory.propose_change(directory.Admit("s", ["regulator"], "a second", "http://s", *keys, 0))
    do(view, "directory.propose", second, "a")
    for name in ("b", "c"):
        do(view, "directory.vote", directory.Vote(INDEX, yes=True), name)
    do(view, "directory.reinstate", directory.Reinstate("r"), "s")
    assert directory.member(view, "r") == regulator


# a member's address


def test_a_member_moves_by_itself():
    view = network()
    assert do(view, "directory.move", directory.Move("http://new"), "a") == directory.state.write_member(
        None, member("a", endpoint="http://new")
    )
    assert no(view, "directory.move", directory.Move("x"), "nobody") == (Reason.NO_SUCH_MEMBER, {"member": "nobody"})


@pytest.mark.parametrize("endpoint", ["x" * 201, "日本", "a\nb", b"bytes", 5])
def test_an_address_is_short_visible_ascii(endpoint):
    assert refusal(KINDS["directory.move"].read, {1: endpoint}) == (Reason.BAD_SHAPE, {"field": 1})
    assert KINDS["directory.move"].read({1: ""}) == directory.Move("")
    assert KINDS["directory.move"].read({1: "x" * 200}) == directory.Move("x" * 200)


# practitioners


REGISTER = directory.Register(PRACTITIONER, "physician", NOW + DAY_S)
REGISTERED = Credential(PRACTITIONER, "a", "physician", NOW, NOW + DAY_S, None)
CREDENTIAL_KEY = b"d/c/" + PRACTITIONER


def test_a_member_registers_its_own_practitioner():
    view = network()
    assert do(view, "practitioner.register", REGISTER, "a") == {CREDENTIAL_KEY: encode(["a", "physician", NOW, NOW + DAY_S, None])}
    assert directory.credential(view, PRACTITIONER) == REGISTERED
    assert directory.credential(view, key("other")) is None


@pytest.mark.parametrize("carrier", ["a", "b"])
def test_a_credential_key_is_registered_once_for_ever(carrier):
    view = network()
    do(view, "practitioner.register", REGISTER, "a")
    assert no(view, "practitioner.register", REGISTER, carrier, now_s=NOW + 9 * DAY_S) == (Reason.CREDENTIAL_EXISTS, {})


@pytest.mark.parametrize(
    ("until_s", "is_allowed"),
    [(NOW - 1, False), (NOW, False), (NOW + 1, True), (NOW + CREDENTIAL_S_MAX, True), (NOW + CREDENTIAL_S_MAX + 1, False)],
)
def test_a_credential_ends_later_than_now_and_within_five_years(until_s, is_allowed):
    message = replace(REGISTER, until_s=until_s)
    if is_allowed:
        assert do(network(), "practitioner.register", message, "a") == {CREDENTIAL_KEY: encode(["a", "physician", NOW, until_s, None])}
    else:
        facts = {"until_s": until_s, "latest_s": NOW + CREDENTIAL_S_MAX}
        assert no(network(), "practitioner.register", message, "a") == (Reason.CREDENTIAL_END_NOT_ALLOWED, facts)


def test_its_member_ends_a_credential_early_once():
    view = network()
    do(view, "practitioner.register", REGISTER, "a")
    end = directory.End(PRACTITIONER)
    assert no(view, "practitioner.end", directory.End(key("other")), "a") == (Reason.NO_SUCH_CREDENTIAL, {})
    assert no(view, "practitioner.end", end, "b") == (Reason.NOT_THE_CREDENTIALS_MEMBER, {"member": "a"})
    assert no(view, "practitioner.end", end, "a", now_s=NOW + DAY_S) == (Reason.CREDENTIAL_ENDED, {"ended_at_s": NOW + DAY_S})
    ended = do(view, "practitioner.end", end, "a", now_s=NOW + 5)
    assert ended == {CREDENTIAL_KEY: encode(["a", "physician", NOW, NOW + DAY_S, NOW + 5])}
    assert no(view, "practitioner.end", end, "a", now_s=NOW + 5) == (Reason.CREDENTIAL_ENDED, {"ended_at_s": NOW + 5})
    assert no(view, "practitioner.end", end, "a", now_s=NOW + 6) == (Reason.CREDENTIAL_ENDED, {"ended_at_s": NOW + 5})


def test_a_credential_may_be_ended_until_its_last_second():
    view = network()
    do(view, "practitioner.register", REGISTER, "a")
    assert do(view, "practitioner.end", directory.End(PRACTITIONER), "a", now_s=NOW + DAY_S - 1)


@pytest.mark.parametrize(
    ("ended_at_s", "now_s", "is_good"),
    [
        (None, NOW - 1, False),
        (None, NOW, True),
        (None, NOW + DAY_S - 1, True),
        (None, NOW + DAY_S, False),
        (NOW + 5, NOW + 4, True),
        (NOW + 5, NOW + 5, False),
        (NOW + 2 * DAY_S, NOW + DAY_S, False),
    ],
)
def test_a_credential_is_good_from_its_entry_to_its_end(ended_at_s, now_s, is_good):
    view = network()
    found = replace(REGISTERED, ended_at_s=ended_at_s)
    view.take(directory.state.write_credential(found))
    assert directory.credential_at(view, PRACTITIONER, now_s) == (found if is_good else None)
    assert directory.credential_at(view, key("other"), now_s) is None


@pytest.mark.parametrize("stage", [Stage.SUSPENDED, Stage.REMOVED])
def test_no_credential_is_good_while_its_member_is_not_active(stage):
    view = network()
    view.take(directory.state.write_credential(REGISTERED))
    assert directory.credential_at(view, PRACTITIONER, NOW) == REGISTERED
    view.take(directory.state.write_member(None, member("a", stage=stage)))
    assert directory.credential_at(view, PRACTITIONER, NOW) is None
    view.take(directory.state.write_credential(replace(REGISTERED, member="nobody")))
    assert directory.credential_at(view, PRACTITIONER, NOW) is None


# what others ask


def test_only_active_members_carry():
    view = network()
    view.take(directory.state.write_member(None, member("a", stage=Stage.SUSPENDED)))
    view.take(directory.state.write_member(None, member("b", stage=Stage.REMOVED)))
    assert directory.key_table(view) == {kid_of(key(f"{name} node")): (name, key(f"{name} node")) for name in ("c", "d", "r")}


def test_rules_change_at_their_height_and_not_a_block_sooner():
    view = network()
    view.take(directory.state.write_versions((Version(1, 0), Version(2, 5_000), Version(5, 9_000))))
    assert [directory.rules_version_at(view, height) for height in (0, 1, 4_999, 5_000, 8_999, 9_000, 10**9)] == [1, 1, 1, 2, 2, 5, 5]
    assert directory.versions(view) == (Version(1, 0), Version(2, 5_000), Version(5, 9_000))


def test_a_parameter_that_genesis_did_not_write_is_our_defect():
    with pytest.raises(KeyError, match="no_such"):
        directory.parameter(network(), "no_such")


def test_members_are_listed_by_id_whatever_their_stage():
    view = network()
    view.take(directory.state.write_member(None, member("b", stage=Stage.REMOVED)))
    assert list(directory.members(view)) == [
        member("a"),
        member("b", stage=Stage.REMOVED),
        member("c"),
        member("d", 0, "clinic"),
        member("r", 1, "regulator"),
    ]
    assert directory.member(view, "nobody") is None
    assert directory.key_owner(view, bytes(16)) is None


def test_numbers_fields_and_words_are_permanent():
    shown = [(kind.number, kind.name, kind.message, kind.approved_by, kind.asks_members) for kind in directory.KINDS]
    itself, regulator = "the member itself (carrier)", "a regulator (carrier)"
    assert shown == [
        (1, "directory.propose", directory.Propose, itself, False),
        (2, "directory.vote", directory.Vote, itself, False),
        (3, "directory.suspend", directory.Suspend, regulator, False),
        (4, "directory.reinstate", directory.Reinstate, regulator, False),
        (5, "practitioner.register", directory.Register, itself, False),
        (6, "practitioner.end", directory.End, itself, False),
        (7, "directory.move", directory.Move, itself, False),
    ]
    assert KINDS["directory.suspend"].body(directory.Suspend("a", key("reason"))) == {1: "a", 2: key("reason")}
    assert KINDS["directory.vote"].body(directory.Vote(5, yes=True)) == {1: 5, 2: True}
    assert KINDS["practitioner.register"].body(REGISTER) == {1: PRACTITIONER, 2: "physician", 3: NOW + DAY_S}
    assert [(stage.name, stage.value) for stage in Stage] == [("ACTIVE", 1), ("SUSPENDED", 2), ("REMOVED", 3)]
    assert [(use.name, use.value) for use in KeyUse] == [("NODE", 1), ("SEALING", 2), ("RECEIPT", 3), ("CONSENSUS", 4)]
    assert [each.prefix for each in directory.STATE] == [b"d/m/", b"d/k/", b"d/p/", b"d/v", b"d/c/", b"d/q/"]
    assert refusal(KINDS["directory.propose"].read, {1: 1, 2: bytes(4_097)}) == (Reason.BAD_SHAPE, {"field": 2})
    assert refusal(KINDS["directory.propose"].read, {1: 1, 2: b""}) == (Reason.BAD_SHAPE, {"field": 2})
    assert refusal(KINDS["directory.propose"].read, {1: 1, 2: "text"}) == (Reason.BAD_SHAPE, {"field": 2})
    assert KINDS["directory.propose"].read({1: 1, 2: b"x"}) == directory.Propose(1, b"x")
    assert KINDS["directory.propose"].read({1: 1, 2: bytes(4_096)}) == directory.Propose(1, bytes(4_096))


def test_the_page_of_the_contract_says_what_the_code_says(root):
    page = (root / "src/yilian/contracts/directory/README.md").read_text()
    assert contract_tables.with_tables(page, contract_tables.tables_of(root / "src/yilian/contracts/directory")) == page
    assert directory.PREFIX == b"d/"


def test_what_carries_is_the_fewest_votes_that_are_more_than_two_thirds():
    for whole in range(1, 200):
        needed = directory.Tally(0, whole).needed
        assert 3 * needed > 2 * whole >= 3 * (needed - 1)
