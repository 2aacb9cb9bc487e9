"""`yilian network suspend`, `reinstate` and `suspended` at three running nodes: what they print is what stands on the ledger, and why."""

import json

import pytest

from tests.alliance_worlds import seed
from tests.together import Together, together
from yilian.base.artefacts import suspension_commitment
from yilian.base.keys import SigningKey
from yilian.cli import main
from yilian.contracts import directory
from yilian.engines import NotOrdering
from yilian.ledger import BlockHeader

REASON = "Signed for a patient who was not there, 2027-01-12.\nHeard on 2027-01-14.\n"
CARRIES_NOTHING = (
    "refused: clinic-1 is suspended and carries nothing until a regulator reinstates it: "
    "`yilian network suspended` says since when and by whom\n"
)


class Governed(Together):
    """Three members; what is said of one is said at the regulator's node, unless another is named."""

    def stage(self, member):
        return directory.member(self.state, member).stage

    def reasons(self, member="regulator-1"):
        return sorted((self.running.folder / member / "suspensions").glob("*"))

    async def suspends(self, member, reason=REASON):
        file = self.running.folder / "reason.txt"
        file.write_text(reason)
        return await self.facts("regulator-1", "suspend", member, "--reason-file", file)

    async def listed(self, member="hospital-1"):
        return (await self.facts(member, "suspended"))["suspended"]

    async def seated(self, member):
        """Have all members vote a seat's key for one."""
        key = SigningKey(seed(member, "seat")).public_key
        proposal = (await self.facts("clinic-1", "propose", "--seat-key", f"{member}={key.hex()}"))["proposal"]
        await self.facts("hospital-1", "vote", "--proposal", proposal)
        assert (await self.facts("regulator-1", "vote", "--proposal", proposal))["is_carried"]
        return key

    def convict(self, key):
        """Make the block in which a consortium's engine hands over the proof that a validator signed two blocks of one height."""
        replica = self.running.engine.replica
        header = BlockHeader(replica.chain.height + 1, replica.chain.time_ms + 1, "regulator-1", (directory.validator_address(key),))
        return replica.commit(replica.decide(header, ()))


@pytest.fixture
async def here(tmp_path, capsys):
    async with together(tmp_path, capsys, Governed) as made:
        yield made


async def test_a_regulator_suspends_a_member_and_reinstates_it_and_everybody_sees_since_when(here):
    assert await here.said("hospital-1", "suspended") == (0, f"nobody is suspended at height {here.state.chain.height}\n", "")
    facts = await here.suspends("clinic-1")
    (kept,) = here.reasons()
    entry = here.running.engine.entry(facts["index"])
    assert (here.stage("clinic-1"), entry.height) == (directory.Stage.SUSPENDED, facts["height"])
    assert {name: facts[name] for name in ("suspended", "reason")} == {"suspended": "clinic-1", "reason": str(kept)}
    seen = {
        "member": "clinic-1",
        "since_height": entry.height,
        "since_s": entry.time_ms // 1_000,
        "entry": entry.index,
        "by": "regulator-1",
        "commitment": facts["commitment"],
    }
    for member in here.running.nodes:  # the suspended one's operator too
        assert await here.listed(member) == [seen]
    code, out, err = await here.said("hospital-1", "suspended")
    at = f"since height {entry.height} (entry {entry.index}, 2027-01-15T01:00:"
    assert (code, err, out.startswith(f"suspended: clinic-1, {at}"), out.endswith("Z), by regulator-1, which has the reason\n")) == (
        0,
        "",
        True,
        True,
    )

    code, out, err = await here.said("regulator-1", "reinstate", "clinic-1")
    height = here.state.chain.height
    said = f"clinic-1 is reinstated (entry {entry.index + 1}, height {height}): it carries, votes and, with a seat, validates again\n"
    assert (code, out, err) == (0, said, "")
    assert (here.stage("clinic-1"), await here.listed()) == (directory.Stage.ACTIVE, [])


async def test_who_signed_twice_was_suspended_by_the_ledger_itself_and_a_regulator_reinstates_it(here):
    block = here.convict(await here.seated("clinic-1"))
    assert here.stage("clinic-1") is directory.Stage.SUSPENDED
    (seen,) = await here.listed("clinic-1")
    told = {"since_height": block.height, "since_s": block.time_ms // 1_000, "entry": block.log_size - 1, "by": None, "commitment": None}
    assert seen == {"member": "clinic-1", **told}
    code, out, err = await here.said("hospital-1", "suspended")
    why = ", by the ledger itself: its validator signed two blocks of one height\n"
    assert (code, err, out.startswith(f"suspended: clinic-1, since height {block.height} "), out.endswith(why)) == (0, "", True, True)
    assert await here.said("clinic-1", "propose", "--remove", "hospital-1") == (3, "", CARRIES_NOTHING)
    assert (await here.facts("regulator-1", "reinstate", "clinic-1"))["reinstated"] == "clinic-1"
    assert (here.stage("clinic-1"), await here.listed()) == (directory.Stage.ACTIVE, [])
    assert (await here.facts("clinic-1", "propose", "--parameter", "emergency_cap=7"))["yes"] == ["clinic-1"]


async def test_of_several_suspensions_of_one_member_the_last_is_told_and_of_several_members_each(here):
    key = await here.seated("clinic-1")
    here.convict(key)
    await here.facts("regulator-1", "reinstate", "clinic-1")
    second = await here.suspends("clinic-1")
    third = await here.suspends("hospital-1", "another reason")
    here.convict(key)  # of a height before: who is suspended is not suspended again
    told = [(one["member"], one["entry"], one["commitment"]) for one in await here.listed("regulator-1")]
    assert told == [("clinic-1", second["index"], second["commitment"]), ("hospital-1", third["index"], third["commitment"])]


async def test_the_reason_stays_with_the_regulator_and_the_ledger_has_what_its_file_opens(here):
    facts = await here.suspends("clinic-1")
    (kept,) = here.reasons()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    opening = json.loads(kept.read_text())
    assert (opening["member"], opening["reason"], opening["network"]) == ("clinic-1", REASON.strip(), here.running.genesis.network_id.hex())
    opened = suspension_commitment(here.running.genesis.network_id, bytes.fromhex(opening["key"]), "clinic-1", REASON.strip())
    assert opened.hex() == facts["commitment"]
    data = here.running.engine.entry(facts["index"]).data
    assert (opened in data, b"patient" in data, bytes.fromhex(opening["key"]) in data) == (True, False, False)
    assert here.reasons("clinic-1") == here.reasons("hospital-1") == []
    again = await here.said("regulator-1", "reinstate", "clinic-1")
    assert again[0] == 0
    same = await here.suspends("clinic-1")
    assert same["commitment"] != facts["commitment"]  # nobody sees that the reason is the same


async def test_whoever_is_handed_the_reason_checks_it_at_a_node_of_its_own_also_after_the_reinstatement(here):
    facts = await here.suspends("clinic-1")
    await here.said("regulator-1", "reinstate", "clinic-1")
    handed = here.reasons()[0]
    code, out, err = await here.said("hospital-1", "suspended", "--reason", handed)
    first, *reason = out.splitlines()
    assert (code, err, reason) == (0, "", ["  " + line for line in REASON.splitlines()])
    assert first.startswith(f"clinic-1, since height {facts['height']} (entry {facts['index']}, ")
    assert first.endswith(", by regulator-1, which has the reason, for this reason:")
    checked = await here.facts("hospital-1", "suspended", "--reason", handed)
    assert (checked["commitment"], checked["reason"]) == (facts["commitment"], REASON.strip())


@pytest.mark.parametrize(("field", "value"), [("reason", "Did not pay."), ("member", "hospital-1"), ("key", "00" * 32)])
async def test_an_altered_reason_is_not_the_ledgers(here, field, value):
    await here.suspends("clinic-1")
    (kept,) = here.reasons()
    said = json.loads(kept.read_text()) | {field: value}
    altered = here.running.folder / "altered.json"
    altered.write_text(json.dumps(said))
    sentence = (
        f"refused: no suspension of {said['member']} on this node's ledger is for this reason: "
        "the file was altered, or its suspension not entered\n"
    )
    assert await here.said("hospital-1", "suspended", "--reason", altered) == (3, "", sentence)


async def test_a_reason_commands_no_terminal(here):
    await here.suspends("clinic-1", "one\x1b[2J\ntwo\ttabs\n")
    code, out, _ = await here.said("hospital-1", "suspended", "--reason", here.reasons()[0])
    assert (code, out.splitlines()[1:]) == (0, ["  one?[2J", "  two     tabs"])


async def test_what_is_no_reason_or_anothers_networks_is_said(here):
    file = here.running.folder / "theirs.json"
    good = {"network": "ab" * 32, "member": "clinic-1", "reason": "why", "key": "00" * 32}
    file.write_text(json.dumps(good))
    assert await here.said("hospital-1", "suspended", "--reason", file) == (3, "", f"refused: {file} is of another network, {'ab' * 32}\n")
    wrong = [b"\xff", b"[]", b"3", b"{}", *(json.dumps(good | {name: each}).encode() for name, each in (("key", "00"), ("member", 7)))]
    wrong += [json.dumps(good | {"reason": "\ud800"}).encode(), json.dumps(good | {"member": ""}).encode()]
    for each in wrong:
        file.write_bytes(each)
        sentence = f"usage: {file} is no reason of a suspension, as `yilian network suspend` writes it into suspensions\n"
        assert await here.said("hospital-1", "suspended", "--reason", file) == (2, "", sentence), each


async def test_nobody_but_a_regulator_suspends_or_reinstates_and_what_is_refused_leaves_no_reason(here):
    file = here.running.folder / "reason.txt"
    file.write_text(REASON)
    advice = "Only an active member of kind regulator may do that: its operator gives the command at its own node."
    for words in (("suspend", "hospital-1", "--reason-file", file), ("reinstate", "hospital-1")):
        code, out, err = await here.said("clinic-1", *words)
        assert (code, out, err) == (3, "", f"refused 7002 NOT_THE_REGULATOR\n{advice}\n")
    assert (here.reasons("clinic-1"), here.stage("hospital-1")) == ([], directory.Stage.ACTIVE)


async def test_each_refusal_says_which_member_and_what_to_look_at(here):
    file = here.running.folder / "reason.txt"
    file.write_text(REASON)
    suspend, nobody = ("--reason-file", file), "There is no such member in the directory."
    assert await here.said("regulator-1", "suspend", "clinic-9", *suspend) == (
        3,
        "",
        f"refused 7003 NO_SUCH_MEMBER(member=clinic-9)\n{nobody}\n",
    )
    code, _, err = await here.said("regulator-1", "suspend", "../x", *suspend)  # an id, and no way out of the folder
    assert (code, err.splitlines()[0]) == (3, "refused 7003 NO_SUCH_MEMBER(member=../x)")
    assert await here.said("regulator-1", "reinstate", "clinic-9") == (3, "", f"refused 7003 NO_SUCH_MEMBER(member=clinic-9)\n{nobody}\n")
    not_suspended = "The member is not suspended: `yilian network suspended` lists who is."
    assert await here.said("regulator-1", "reinstate", "clinic-1") == (3, "", f"refused 7017 NOT_SUSPENDED\n{not_suspended}\n")
    oneself = "regulator-1 does not suspend itself: it could not take that back. Another regulator can suspend it"
    assert await here.said("regulator-1", "suspend", "regulator-1", *suspend) == (3, "", f"refused: {oneself}\n")
    assert here.reasons() == []
    await here.suspends("clinic-1")
    already = "The member is suspended already: `yilian network suspended` says since when and by whom."
    assert await here.said("regulator-1", "suspend", "clinic-1", *suspend) == (3, "", f"refused 7016 ALREADY_SUSPENDED\n{already}\n")
    assert len(here.reasons()) == 1  # the one that opens what stands on the ledger


async def test_a_suspended_member_is_told_so_and_its_act_is_not_even_sent(here):
    await here.suspends("clinic-1")
    entries, height = here.state.chain.log.size, here.state.chain.height
    for words in (("propose", "--remove", "hospital-1"), ("vote", "--proposal", 1), ("reinstate", "clinic-1")):
        assert await here.said("clinic-1", *words) == (3, "", CARRIES_NOTHING)
    assert (here.state.chain.log.size, here.state.chain.height) == (entries, height)


async def test_a_reason_is_kept_where_it_is_not_known_whether_the_suspension_was_entered(here, monkeypatch):
    async def halted(_):
        raise NotOrdering(20)

    monkeypatch.setattr(here.running.engine, "submit", halted)
    file = here.running.folder / "reason.txt"
    file.write_text(REASON)
    code, out, err = await here.said("regulator-1", "suspend", "clinic-1", "--reason-file", file)
    (kept,) = here.reasons()
    note, refusal, *_ = err.splitlines()
    assert (code, out, note) == (
        4,
        "",
        f"{kept} is kept: what became of the suspension is not known, and it opens the commitment if it was entered",
    )
    assert "NETWORK_MAKES_NO_BLOCKS" in refusal


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b" \n", "usage: FILE has no reason in it\n"),
        (b"\xff\xfe", "usage: FILE is not text in UTF-8: write the reason as text, and name a document in it by its SHA-256\n"),
        (b"a" * 65_537, "usage: FILE has more than 65,536 bytes: name a longer document in it by its SHA-256\n"),
        (None, "usage: there is no file FILE\n"),
    ],
)
def test_what_is_no_reason_is_said_before_anything_is_written(tmp_path, capsys, data, sentence):
    file = tmp_path / "reason"
    if data is not None:
        file.write_bytes(data)
    code = main(["network", "suspend", "clinic-1", "--home", str(tmp_path), "--reason-file", str(file)])
    assert (code, capsys.readouterr().err) == (2, sentence.replace("FILE", str(file)))
    assert not (tmp_path / "suspensions").exists()


@pytest.mark.parametrize("name", ["", "a b", "a" * 33, "é"])
def test_what_names_no_member_is_said_at_once(tmp_path, capsys, name):
    code = main(["network", "reinstate", name, "--home", str(tmp_path)])
    assert (code, capsys.readouterr().err) == (2, f"usage: {name!r} is no member's id\n")
