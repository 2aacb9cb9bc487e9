"""Read another member's records as a practitioner of a running region, through the holder's gate.

The practitioner's own key signs the request; the right is a grant of the patient (the newest, or
--grant), or an emergency with a reason. Outside a consultation the patient must be there: --present
shows the desk's challenge to the patient's wallet. What is printed left the holder only after the
entry that is named with it was final.

  yilian read --as dr-wu --holder hospital-2 --patient he --present Observation
  yilian read --as dr-wu --holder clinic-1 --emergency 'Patient/$emergency?identifier=SYSTEM|VALUE' --reason "unconscious, chest pain"
"""

import argparse
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from yilian.cli import places
from yilian.cli.frame import Declined, Fact, Misused, Output

if TYPE_CHECKING:
    from yilian.cli.people import Visit
    from yilian.sim.software import Release
    from yilian.sim.whereabouts import Whereabouts

_KEY_SIZE_BYTES: Final = 32
SUMMARY = "read another member's records as a practitioner"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--as", required=True, metavar="NAME", dest="practitioner", help="the practitioner: dr-wu, dr-chen, dr-zhao ...")
    parser.add_argument("--holder", required=True, metavar="ID", help="the member that keeps the records")
    parser.add_argument("--patient", metavar="NAME", help="whose wallet gave the grant: lin, he, patient-2 ...")
    parser.add_argument("--grant", metavar="HEX", help="the grant's control key (default: the patient's newest live one)")
    parser.add_argument("--present", action="store_true", help="the patient is here: show the desk's challenge to the wallet")
    parser.add_argument("--emergency", action="store_true", help="break-glass: the emergency set, with --reason")
    parser.add_argument("--reason", help="why it is an emergency; the patient and the reviewers read it")
    parser.add_argument(
        "path", metavar="PATH", help="what to read, as FHIR writes it after /fhir/: Observation?code=14647-2, Patient/ID ..."
    )
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Read and show."""
    from yilian.cli.people import visit

    if options.emergency == (options.grant is not None or options.patient is not None):
        raise Misused("name the right: --patient (and --grant), or --emergency with --reason")
    grant = None if options.grant is None else _control_key(options.grant)
    where = places.region(options)
    places.node_url(where, options.holder)
    began = time.perf_counter()
    release = visit(where, _read(where, options, grant))
    elapsed_ms = (time.perf_counter() - began) * 1_000
    said = release.resource
    facts: dict[str, Fact] = {
        "status": release.status,
        "entry": release.entry_index,
        "id": release.entry_id,
        "elapsed_ms": round(elapsed_ms, 1),
    }
    if output.is_json:
        output.answer({**facts, "body": cast("Fact", said)})
    else:
        counts = Counter(one["resourceType"] for one in release.resources)
        output.answer({}, json.dumps(said, ensure_ascii=False, indent=1))
        found = ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing found"
        entry = release.entry_index
        output.note(f"{found}; {len(release.body):,} bytes in {elapsed_ms:.0f} ms, under entry {entry} (yilian show entry {entry})")


def _control_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_SIZE_BYTES:
        raise Misused(f"--grant takes a control key of {2 * _KEY_SIZE_BYTES} hexadecimal digits, as yilian grant --list shows it")
    return key


async def _read(where: "Whereabouts", options: argparse.Namespace, grant: bytes | None) -> "Release":
    from yilian.cli.people import visiting
    from yilian.sim.software import EMERGENCY

    async with visiting(where) as region, region.practitioner(options.practitioner) as (member, signing):
        software = region.software(member)
        if options.emergency:
            return await software.read(options.holder, options.path, signing, reason=options.reason, purpose=EMERGENCY)
        if grant is None:
            grant = await _newest(region, options, member)
        presence = None
        if options.present:
            if options.patient is None:
                raise Misused("--present needs --patient: somebody has to be here")
            shown = await software.challenge(signing)
            async with region.phone(options.patient) as phone:
                presence = shown, (await phone.be_present(shown, [options.holder], member))[options.holder]
        return await software.read(options.holder, options.path, signing, grant=grant, presence=presence)


async def _newest(region: "Visit", options: argparse.Namespace, requester: str) -> bytes:
    """Return the newest grant that the patient's wallet has for these two, as the patient would hand it over.

    Raises   Declined
    """
    async with region.phone(options.patient) as phone:
        between = [one for one in await phone.grants() if (one.holder, one.requester) == (options.holder, requester)]
    if not between:
        raise Declined(
            f"{options.patient} never gave {requester} a grant at {options.holder}: "
            f"yilian grant --patient {options.patient} --holder {options.holder} --requester {requester}"
        )
    return between[-1].control_key
