"""`yilian network propose` and `vote` at three running nodes: what they print of parameters and rules is what then stands on the ledger."""

import asyncio
import re
import time

import pytest

from tests.together import together
from tests.worlds import founder
from yilian import ledger
from yilian.cli import control, main
from yilian.cli.frame import Declined
from yilian.contracts import directory
from yilian.ledger import Genesis

MEMBERS = ("clinic-1", "hospital-1", "regulator-1")
AHEAD = directory.RULES_BLOCKS_AHEAD_MIN


@pytest.fixture
async def here(tmp_path, capsys):
    async with together(tmp_path, capsys) as made:
        yield made


@pytest.fixture
def second_version(monkeypatch):
    """Have this software bring a second version of the rules."""
    monkeypatch.setattr(ledger, "NEWEST", 2)


async def test_three_members_vote_a_rules_version_for_a_height_and_it_decides_from_there_on(here, second_version):
    at = here.state.chain.height + AHEAD + 50
    code, out, err = await here.said("clinic-1", "propose", "--rules-version", 2, "--from-height", at)
    number = int(out.partition(":")[0].removeprefix("proposal "))
    assert (code, err, out.splitlines()) == (
        0,
        "",
        [
            f"proposal {number}: for it so far: clinic-1; 1 of 3 votes, 3 carry it",
            f"the other members vote: yilian network vote --home DIR --proposal {number}",
            f"it must be carried by block {at - AHEAD}, 1,000 before it decides: then it is too late, propose anew",
        ],
    )
    vote = await here.facts("hospital-1", "vote", "--proposal", number)
    assert [vote[name] for name in ("is_carried", "rules_version", "from_height", "carried_by_height")] == [False, 2, at, at - AHEAD]
    assert directory.versions(here.state) == (directory.Version(1, 0),)
    code, out, err = await here.said("regulator-1", "vote", "--proposal", number)
    assert (code, err, out) == (0, "", f"proposal {number}: carried; rules version 2 decides from height {at} on\n")
    assert directory.versions(here.state) == (directory.Version(1, 0), directory.Version(2, at))
    assert [directory.rules_version_at(here.state, height) for height in (at - 1, at)] == [1, 2]


async def test_a_version_that_this_software_lacks_is_neither_proposed_nor_voted_for(here, monkeypatch):
    entries = here.state.chain.log.size
    install = "install the release that brings it at every member first (docs/operating/validators.md, Upgrading)"
    sentence = f"refused: the software of this node has rules up to version 1, not 2: {install}\n"
    words = ("propose", "--rules-version", 2, "--from-height", 5_000)
    assert await here.said("clinic-1", *words) == (3, "", sentence)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "NEWEST", 2)
        number = (await here.facts("clinic-1", *words))["proposal"]
    assert number >= entries  # nothing was entered before
    assert await here.said("hospital-1", "vote", "--proposal", number) == (3, "", sentence)
    against = await here.facts("hospital-1", "vote", "--proposal", number, "--no")  # who lacks it may be against it
    assert (against["yes"], against["no"]) == (["clinic-1"], ["hospital-1"])


async def test_a_version_that_is_not_newer_is_refused_with_the_last_one(here):
    code, out, err = await here.said("clinic-1", "propose", "--rules-version", 1, "--from-height", 5_000)
    assert (code, out, err.splitlines()[0]) == (3, "", "refused 7015 VERSION_NOT_NEWER(version=1)")


async def test_a_height_that_is_too_near_is_refused_with_the_earliest_that_is_not(here, second_version):
    near = here.state.chain.height + AHEAD  # the entry itself is in the next block
    code, out, err = await here.said("clinic-1", "propose", "--rules-version", 2, "--from-height", near)
    first, advice = err.splitlines()
    before, _, earliest = first.partition("=")
    assert (code, out, before) == (3, "", "refused 7014 VERSION_TOO_SOON(earliest_height")
    assert near < int(earliest.removesuffix(")")) <= here.state.chain.height + AHEAD
    assert "at least 1,000 blocks of notice after the vote that carries them" in advice


async def test_votes_that_come_too_late_carry_no_rules_and_say_why(here, second_version):
    at = here.state.chain.height + AHEAD + 12
    number = (await here.facts("clinic-1", "propose", "--rules-version", 2, "--from-height", at))["proposal"]
    await here.facts("hospital-1", "vote", "--proposal", number)
    assert await here.height_after(12) >= at - AHEAD
    code, out, err = await here.said("regulator-1", "vote", "--proposal", number)
    assert (code, out, err.splitlines()[0]) == (3, "", "refused 7021 PROPOSAL_NO_LONGER_APPLIES(because=7014)")
    assert directory.versions(here.state) == (directory.Version(1, 0),)


async def test_three_members_set_a_parameter(here):
    assert directory.parameter(here.state, "emergency_cap") != 7
    number = (await here.facts("clinic-1", "propose", "--parameter", "emergency_cap=7"))["proposal"]
    await here.facts("hospital-1", "vote", "--proposal", number)
    code, out, _ = await here.said("regulator-1", "vote", "--proposal", number)
    assert (code, out) == (0, f"proposal {number}: carried; it holds from the next block on\n")
    assert directory.parameter(here.state, "emergency_cap") == 7
    code, _, err = await here.said("clinic-1", "propose", "--parameter", "emergency_cap=0")
    assert (code, err.splitlines()[0]) == (3, "refused 7019 PARAMETER_OUT_OF_RANGE(value=0, least=1, most=1000)")


SEAT_KEY = bytes.fromhex("5a" * 32)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (("--power", "hospital-1=4"), directory.SetPower("hospital-1", 4)),
        (("--seat-key", f"hospital-1={SEAT_KEY.hex()}"), directory.Rotate("hospital-1", int(directory.KeyUse.CONSENSUS), SEAT_KEY)),
        (("--remove", "hospital-1"), directory.Remove("hospital-1")),
    ],
)
async def test_a_proposal_is_about_the_member_that_was_named_and_not_about_who_proposes(here, words, change):
    said = await here.facts("clinic-1", "propose", *words)
    row = directory.proposal(here.state, said["proposal"])
    assert (directory.change_of(row.change, row.details), row.yes) == (change, ("clinic-1",))


@pytest.mark.parametrize("words", [("--power", "nobody=4"), ("--seat-key", f"nobody={SEAT_KEY.hex()}"), ("--remove", "nobody")])
async def test_nothing_is_proposed_of_a_member_that_is_none(here, words):
    code, _, err = await here.said("clinic-1", "propose", *words)
    assert (code, err.splitlines()[0]) == (3, "refused 7003 NO_SUCH_MEMBER(member=nobody)")


async def test_a_defect_is_answered_under_the_number_that_stands_in_the_log_and_nobody_waits_for_ever(here, tmp_path, caplog):
    async def act(asked):
        raise OverflowError(asked["words"])

    async with control.listening(tmp_path, {}, {"clinic-1": act}):
        with pytest.raises(Declined) as no:
            await asyncio.to_thread(lambda: list(control.ask(tmp_path, {"op": "vote", "member": "clinic-1", "words": "of a record"})))
    case = re.fullmatch(r"the node that runs failed at this, .*: defect ([0-9a-f]{8}) in its log says where", str(no.value))[1]
    assert f"defect {case} in the operator's socket: OverflowError" in caplog.text
    assert "of a record" not in caplog.text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--rules-version", "2"), "--rules-version needs --from-height, the first block that it decides: 1,000 blocks at least after "),
        (
            ("--remove", "clinic-1", "--from-height", "7"),
            "--from-height says from when on --rules-version decides, and goes with it alone\n",
        ),
        (("--rules-version", "-2", "--from-height", "7"), "--rules-version and --from-height are whole numbers\n"),
        (("--rules-version", "2", "--from-height", "9" * 19), "--rules-version and --from-height are whole numbers\n"),
        (
            ("--parameter", "memo_length=7"),
            "--parameter is NAME=N, one of anchor_interval_s, emergency_cap, memo_size and a whole number\n",
        ),
        (("--parameter", "memo_size"), "--parameter is NAME=N, one of anchor_interval_s, emergency_cap, memo_size and a whole number\n"),
        (("--power", "clinic-1=" + "9" * 30), "--power is ID=N, a member and a whole number\n"),
        (("--power", "clinic-1=²"), "--power is ID=N, a member and a whole number\n"),
    ],
)
def test_what_is_no_proposal_is_said_before_a_node_is_asked(tmp_path, capsys, words, sentence):
    code = main(["network", "propose", "--home", str(tmp_path), *words])
    assert (code, capsys.readouterr().err[: len(sentence) + 7]) == (2, f"usage: {sentence}")


@pytest.mark.parametrize("number", ["-1", "9" * 26])
def test_what_is_no_number_of_a_proposal_is_said_before_a_node_is_asked(tmp_path, capsys, number):
    code = main(["network", "vote", "--home", str(tmp_path), "--proposal", number])
    assert (code, capsys.readouterr().err) == (2, "usage: --proposal is the number that `propose` printed\n")


async def test_what_may_still_be_voted_on_is_listed_with_what_it_would_change_and_how_it_stands(here):
    assert await here.said("clinic-1", "proposals") == (0, "nothing is proposed that may still be voted on\n", "")
    first = (await here.facts("clinic-1", "propose", "--parameter", "emergency_cap=7"))["proposal"]
    second = (await here.facts("hospital-1", "propose", "--power", "clinic-1=2"))["proposal"]
    await here.facts("regulator-1", "vote", "--proposal", first, "--no")
    until_ = time.strftime("%Y-%m-%d", time.gmtime(directory.proposal(here.state, first).opened_at_s + directory.PROPOSAL_S))
    code, out, err = await here.said("regulator-1", "proposals")
    assert (code, err, out.splitlines()) == (
        0,
        "",
        [
            f"proposal {first} of clinic-1: set-parameter: name emergency_cap, value 7",
            f"    for it so far: clinic-1, against: regulator-1; 1 of 3 votes, 3 carry it; open until {until_}",
            f"proposal {second} of hospital-1: set-power: member clinic-1, power 2",
            f"    for it so far: hospital-1; 1 of 3 votes, 3 carry it; open until {until_}",
        ],
    )
    card = here.running.folder / "newcomer.card"
    card.write_bytes(Genesis(0, "", (founder("pharmacy-9", ("pharmacy",), power=0),), {}).encoded())
    third = (await here.facts("clinic-1", "propose", "--admit", card))["proposal"]
    listed = (await here.said("clinic-1", "proposals"))[1].splitlines()[4]
    assert listed.startswith(f"proposal {third} of clinic-1: admit: id pharmacy-9, kinds pharmacy, ")
    assert "... (1,216 bytes), " in listed
    assert len(listed) < 600
    shown = await asyncio.to_thread(main, ["show", "entry", str(third), "--node", here.running.nodes["clinic-1"].settings.endpoint])
    assert shown == 0
    rows = [line.split() for line in here.capsys.readouterr().out.splitlines()]
    assert [row for row in (["proposes", "admit"], ["kinds", "pharmacy"], ["power", "0"]) if row not in rows] == []
    assert [row[-2:] for row in rows if row[:2] == ["sealing", "key"]] == [["(1,216", "bytes)"]]
    for member in ("clinic-1", "regulator-1"):
        await here.facts(member, "vote", "--proposal", second)
    assert [each["proposal"] for each in (await here.facts("hospital-1", "proposals"))["proposals"]] == [
        first,
        third,
    ]  # the other is carried
