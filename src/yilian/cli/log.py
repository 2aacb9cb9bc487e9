"""Look at the access log as a patient of a running region, and check by oneself that it is whole.

For each holder the wallet fetches every month, with proofs, and checks: each entry stands in the
log under a signed root; the numbers of each grant and each month have no gap; the next ones are
proven absent; the log extends the one that was seen before. Exit code 3 if anything is wrong.
--export writes a file about one entry that anybody checks offline with `yilian verify`.
"""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yilian.cli import places
from yilian.cli.asking import get
from yilian.cli.files import write_new
from yilian.cli.frame import Declined, Fact, Misused, Output, counted_as

if TYPE_CHECKING:
    from yilian.sim.whereabouts import Whereabouts
    from yilian.wallet import LogLine, LogReport

SUMMARY = "see every access as the patient, and check that none is missing"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--patient", required=True, metavar="NAME", help="whose wallet: lin, he, patient-2 ...")
    parser.add_argument("--holder", metavar="ID", help="one holder only (default: all where the patient is enrolled)")
    parser.add_argument("--export", type=int, metavar="INDEX", help="write a file about the entry at this index")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: entry-INDEX.yilian)")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Fetch, check, show."""
    from yilian.cli.people import visit

    where = places.region(options)
    if options.export is not None:
        _export(where, options, output)
        return
    if options.holder is not None:
        places.node_url(where, options.holder)
    reports = visit(where, _reports(where, options))
    output.answer(
        {"logs": [_facts(report) for report in reports], "is_whole": all(report.is_clean for report in reports)},
        *(line for report in reports for line in lines(report)),
    )
    wrong = sum(len(report.findings) for report in reports)
    if wrong:
        raise Declined(f"{_wrong(wrong)} with this log; keep what was printed")


async def _reports(where: "Whereabouts", options: argparse.Namespace) -> "list[LogReport]":
    from yilian.cli.people import visiting

    async with visiting(where) as region, region.phone(options.patient) as phone:
        holders = await phone.holders()
        if options.holder is not None and options.holder not in holders:
            raise Misused(f"{options.patient} is not enrolled at {options.holder}, but at {', '.join(holders)}")
        return [await phone.check_log(holder) for holder in holders if options.holder in (None, holder)]


def lines(report: "LogReport") -> list[str]:
    """Return a report for people."""
    verdict = "nothing is missing" if report.is_clean else _wrong(len(report.findings))
    accesses = counted_as(len(report.lines), "access", "accesses")
    heading = f"{report.holder}: {accesses}; {verdict}; the log's root is signed by {', '.join(report.vouched_by)}"
    return [heading, *(f"  {line_text(one)}" for one in report.lines), *(f"  WRONG  {found.en}  {found.zh}" for found in report.findings)]


def _wrong(number: int) -> str:
    return counted_as(number, "thing is wrong", "things are wrong")


def line_text(line: "LogLine") -> str:
    """Return one access as one line."""
    said = said_in(line)
    basis = "a number that was skipped: nothing was read" if line.basis is None else f"by {line.basis.name.lower()}"
    marks = "".join(
        f", {word}"
        for word, holds in (("nothing was sent", line.is_unsent), ("disputed", line.is_disputed), ("UNLAWFUL", not line.is_lawful))
        if holds
    )
    when, who, what = (said.get(name, "") for name in ("recorded", "requester", "type"))
    return f"entry {line.index:>6}  {when:<24}  {who:<12}  {what:<19}  {basis}{marks}"


def said_in(line: "LogLine") -> dict[str, str]:
    """Return what the access's AuditEvent says: when, who asked, which type of resource. The wallet has checked it against the entry."""
    if line.audit_event is None:
        return {}
    event: dict[str, Any] = json.loads(line.audit_event)
    who = [agent["who"]["identifier"]["value"] for agent in event["agent"] if agent["type"]["coding"][0]["code"] == "110152"]
    types = [
        detail["valueString"] for entity in event["entity"] for detail in entity.get("detail", []) if detail["type"] == "resource-type"
    ]
    return {"recorded": event["recorded"], "requester": "".join(who[:1]), "type": "".join(types[:1])}


def _facts(report: "LogReport") -> dict[str, Fact]:
    return {
        "holder": report.holder,
        "is_whole": report.is_clean,
        "vouched_by": report.vouched_by,
        "accesses": [
            {
                "entry": one.index,
                "basis": None if one.basis is None else one.basis.name.lower(),
                "grant": one.control_key,
                "number": one.number,
                "is_unsent": one.is_unsent,
                "is_disputed": one.is_disputed,
                "is_lawful": one.is_lawful,
                "said": said_in(one),
            }
            for one in report.lines
        ],
        "findings": [{"fault": found.fault.value, "sentence": found.en, "facts": dict(found.facts)} for found in report.findings],
    }


def _export(where: "Whereabouts", options: argparse.Namespace, output: Output) -> None:
    member = options.holder or "regulator-1"
    data = get(f"{places.node_url(where, member)}/network/exports/{options.export}")
    file = options.out or Path(f"entry-{options.export}.yilian")
    write_new(file, data)
    output.answer(
        {"file": str(file), "size_bytes": len(data), "entry": options.export, "written_at_s": int(time.time())},
        f"wrote {file} ({len(data):,} bytes); anybody checks it, without us: yilian verify {file}",
    )
