"""Give a grant as a patient of a running region, or list the patient's grants.

One grant is for one holder and one requester; it names what may be read, for what, until when, how often. What reaches the ledger is a
one-time key and a commitment.
"""

import argparse
import time
from typing import TYPE_CHECKING, Final

from yilian.cli import places
from yilian.cli.frame import Fact, Misused, Output

if TYPE_CHECKING:
    from yilian.sim.phones import Entered
    from yilian.sim.whereabouts import Whereabouts
    from yilian.wallet import Grant

SUMMARY = "give a grant as a patient, or list the grants"
DAYS: Final = (1, 7, 30, 90, 365)  # to the UTC midnight after so many whole days: design 03 allows these ends and no others
USES: Final = (1, 5, 24)
STANDING_HOURS: Final = range(12, 31 * 24 + 1, 12)  # ADR-0040


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--patient", required=True, metavar="NAME", help="whose wallet: lin, he, patient-2 ...")
    parser.add_argument("--list", action="store_true", help="list the wallet's grants, and give none")
    parser.add_argument("--holder", metavar="ID", help="the member that keeps the records")
    parser.add_argument("--requester", metavar="ID", help="the member that may read them")
    parser.add_argument("--purpose", default="TREAT", help="a v3-PurposeOfUse code (default %(default)s)")
    parser.add_argument("--days", type=int, default=7, metavar="N", help=f"{', '.join(map(str, DAYS))} (default %(default)s)")
    parser.add_argument("--uses", type=int, default=5, metavar="N", help=f"{', '.join(map(str, USES))} consultations (default %(default)s)")
    parser.add_argument("--standing-hours", type=int, metavar="N", help="opens without the patient, at most every N hours (12, 24, ...)")
    parser.add_argument("--types", default="", metavar="A,B", help="FHIR resource types (default: all)")
    parser.add_argument("--carrier", default="regulator-1", metavar="ID", help="whose node carries the entry (default %(default)s)")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Give, or list."""
    from yilian.cli.people import visit

    where = places.region(options)
    if options.list:
        grants = visit(where, _grants(where, options.patient))
        now_s = int(time.time())
        output.answer({"grants": [facts(one, now_s) for one in grants]}, *([line(one, now_s) for one in grants] or ["no grants"]))
        return
    if options.holder is None or options.requester is None:
        raise Misused("--holder and --requester say between whom; --list lists")
    for member in (options.holder, options.requester, options.carrier):
        places.node_url(where, member)
    _check(options)
    given, expires_at_s, elapsed_ms = visit(where, _give(where, options))
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at_s))
    output.answer(
        {
            "grant": given.control_key,
            "entry": given.index,
            "id": given.id,
            "holder": options.holder,
            "requester": options.requester,
            "expires_at_s": expires_at_s,
            "elapsed_ms": round(elapsed_ms, 1),
        },
        f"grant {given.control_key.hex()}",
        f"{options.requester} may read at {options.holder} until {until}; entry {given.index}, final after {elapsed_ms:.0f} ms "
        f"(yilian show entry {given.index})",
    )


def _check(options: argparse.Namespace) -> None:
    """Say what the wallet would refuse, in the words of the command line; and what it would sign though nobody can use it."""
    if options.holder == options.requester:
        raise Misused(f"{options.holder} reads its own records without a grant: name another requester")
    if options.days not in DAYS:
        raise Misused(f"--days takes {', '.join(map(str, DAYS))}: other ends would single a patient out")
    if options.uses not in USES:
        raise Misused(f"--uses takes {', '.join(map(str, USES))}: other numbers would single a patient out")
    if options.standing_hours is not None and options.standing_hours not in STANDING_HOURS:
        raise Misused(f"--standing-hours takes 12, 24, 36 ... {STANDING_HOURS[-1]}")
    if options.types:
        from yilian.records import resource_types

        unknown = sorted({one for one in options.types.split(",") if one} - resource_types())
        if unknown:
            raise Misused(f"FHIR R4 has no resource type {', '.join(unknown)}")


def facts(grant: "Grant", now_s: int) -> dict[str, Fact]:
    """Return a grant's facts."""
    return {
        "grant": grant.control_key,
        "holder": grant.holder,
        "requester": grant.requester,
        "expires_at_s": grant.expires_at_s,
        "uses_max": grant.uses_max,
        "entry": grant.given_index,
        "revoked_entry": grant.revoked_index,
        "is_live": grant.is_live(now_s),
    }


def line(grant: "Grant", now_s: int) -> str:
    """Return a grant as one line."""
    until = time.strftime("%Y-%m-%d", time.gmtime(grant.expires_at_s))
    state = "live until" if grant.is_live(now_s) else ("revoked, would end" if grant.revoked_at_s is not None else "ended")
    return (
        f"{grant.control_key.hex()}  {grant.requester} at {grant.holder}, {grant.uses_max} uses, {state} {until}, entry {grant.given_index}"
    )


async def _grants(where: "Whereabouts", patient: str) -> "tuple[Grant, ...]":
    from yilian.cli.people import visiting

    async with visiting(where) as region, region.phone(patient) as phone:
        return await phone.grants()


async def _give(where: "Whereabouts", options: argparse.Namespace) -> "tuple[Entered, int, float]":
    from yilian.cli.people import visiting
    from yilian.wallet import Wish

    wish = Wish(
        holder=options.holder,
        requester=options.requester,
        purpose=options.purpose,
        days=options.days + 1,
        uses_max=options.uses,
        interval_s=None if options.standing_hours is None else options.standing_hours * 3_600,
        resource_types=tuple(sorted(filter(None, options.types.split(",")))),
    )
    async with visiting(where) as region, region.phone(options.patient) as phone:
        began = time.perf_counter()
        given = await phone.give(wish, options.carrier)
        elapsed_ms = (time.perf_counter() - began) * 1_000
        return given, (await phone.grant(given.control_key)).expires_at_s, elapsed_ms
