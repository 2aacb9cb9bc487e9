"""A member that begins again on its own seat: what its validator may still sign, and where its old copy goes."""

import json
import shutil
import stat

import pytest

from tests.consortium import consortium_genesis
from yilian.engines.cometbft.faults import VotesUnreadable
from yilian.engines.consortium import begin_again, draw, settle

RECORD = "validator/data/priv_validator_state.json"
VOTED = {"height": "41", "round": 2, "step": 2, "signature": "c2ln", "signbytes": "00FF"}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "ledger"
    made.mkdir()
    settle(made, consortium_genesis(), draw("hospital-1"), [])
    (made / RECORD).write_text(json.dumps(VOTED))
    (made / "validator/data/cs.wal").mkdir()
    return made


def may_sign(record, height, round_, step):
    """CometBFT v0.38.25, privval/file.go CheckHRS: above what is recorded, or the recorded bytes again."""
    last = (int(record["height"]), record["round"], record["step"])
    return (height, round_, step) > last or ((height, round_, step) == last and "signbytes" in record)


def test_no_vote_of_the_last_height_is_given_after_a_repair_and_the_next_height_is_voted(folder):
    assert may_sign(VOTED, 41, 3, 2)  # the validator may be bound by a precommit of round 1, of which the log alone knows
    aside = begin_again(folder, None)
    assert (aside / "validator/cs.wal").is_dir()
    record = json.loads((folder / RECORD).read_text())
    assert record == {"height": "41", "round": 2**31 - 1, "step": 3}
    assert [may_sign(record, 41, round_, step) for round_ in (0, 2, 3, 2**31 - 1) for step in (1, 2, 3)] == [False] * 12
    assert [may_sign(record, 42, 0, step) for step in (1, 2, 3)] == [True] * 3
    assert stat.S_IMODE((folder / RECORD).stat().st_mode) == 0o600
    begin_again(folder, None)
    assert json.loads((folder / RECORD).read_text()) == record


@pytest.mark.parametrize("damage", [b"", b'{"height": "4', b"[]", b'{"round": 0}', b"\0\0", b'{"height": null}', None])
def test_a_record_of_votes_that_cannot_be_read_is_not_written_anew(folder, damage):
    (folder / RECORD).unlink() if damage is None else (folder / RECORD).write_bytes(damage)
    held = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    with pytest.raises(VotesUnreadable, match="another key, which the others vote in"):
        begin_again(folder, None)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} - held <= {"lock"}
    assert damage is None or (folder / RECORD).read_bytes() == damage


def test_an_old_copy_that_the_operator_removed_does_not_hinder_the_next_repair(folder):
    assert [begin_again(folder, None).name for _ in range(2)] == ["aside-1", "aside-2"]
    shutil.rmtree(folder / "aside-1")
    assert begin_again(folder, None).name == "aside-3"
    (folder / "aside-12").mkdir()
    assert begin_again(folder, None).name == "aside-13"
