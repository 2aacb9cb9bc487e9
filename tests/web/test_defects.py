"""What the operator's log keeps of a defect: its type and where it was, and not what it says."""

import logging

from tests.alliance_worlds import alliance
from yilian.web import errors, following

PLANTED = "Patient Zhang San, HIV positive"


async def test_a_record_quoted_by_a_defect_stands_in_no_log(tmp_path, monkeypatch, caplog):
    def broken(_view):
        try:
            return {}[PLANTED]
        except KeyError as cause:
            raise ValueError(f"cannot read {PLANTED}") from cause

    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        monkeypatch.setattr(following.directory, "members", broken)
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        try:
            answer = await running.get("regulator-1", "/network/members")
        finally:
            logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
        monkeypatch.undo()
    assert (answer.status_code, answer.json()["name"]) == (500, "DEFECT")
    assert PLANTED not in answer.text
    (ours, *_), servers = ([one for one in caplog.records if one.name == name] for name in ("yilian.web", "uvicorn.error"))
    assert answer.json()["facts"]["case"] in ours.getMessage()
    for one in (ours, *servers):
        said = logging.Formatter().format(one)
        assert "ValueError" in said
        assert "KeyError" in said
        assert "in broken" in said
        assert PLANTED not in said
    assert servers


def test_a_line_without_an_exception_is_logged_as_it_is():
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 0, "began on %s", ("here",), None)
    assert errors.WithoutWords().filter(record)
    assert record.getMessage() == "began on here"
