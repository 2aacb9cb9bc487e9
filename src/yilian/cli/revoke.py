"""Take a grant back as a patient of a running region: the holder is told directly and refuses at once; then the ledger says so for ever."""

import argparse
import time
from typing import TYPE_CHECKING

from yilian.cli import places
from yilian.cli.frame import Misused, Output

if TYPE_CHECKING:
    from yilian.sim.phones import Entered
    from yilian.sim.whereabouts import Whereabouts

SUMMARY = "take a grant back as a patient"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--patient", required=True, metavar="NAME", help="whose wallet: lin, he, patient-2 ...")
    parser.add_argument("grant", metavar="GRANT", help="the grant's control key, or the first digits of it")
    parser.add_argument("--carrier", default="regulator-1", metavar="ID", help="whose node carries the entry (default %(default)s)")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Revoke and say what came of it."""
    from yilian.cli.people import visit

    where = places.region(options)
    places.node_url(where, options.carrier)
    entered, elapsed_ms = visit(where, _revoke(where, options))
    output.answer(
        {"grant": entered.control_key, "entry": entered.index, "id": entered.id, "elapsed_ms": round(elapsed_ms, 1)},
        f"revoked {entered.control_key.hex()}; entry {entered.index}, final after {elapsed_ms:.0f} ms; the holder refuses from now on",
    )


async def _revoke(where: "Whereabouts", options: argparse.Namespace) -> "tuple[Entered, float]":
    from yilian.cli.people import visiting

    async with visiting(where) as region, region.phone(options.patient) as phone:
        named = [one for one in await phone.grants() if one.control_key.hex().startswith(options.grant.lower())]
        if len(named) != 1:
            raise Misused(
                f"{len(named)} grants of {options.patient} begin with {options.grant!r}: yilian grant --patient {options.patient} --list"
            )
        began = time.perf_counter()
        entered = await phone.revoke(named[0].control_key, options.carrier)
        return entered, (time.perf_counter() - began) * 1_000
