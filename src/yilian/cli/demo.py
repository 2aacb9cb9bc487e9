"""Start a simulated region and tell the story of one referral in it.

Eight members, each with a node of its own on a loopback port, over one ledger; practitioners' keys and patients' wallets in processes of
their own; people, charts and keys from a seed. After the story the region keeps serving until Ctrl-C, and says what to try next.
With --network 4 no single member orders: four of them validate, and each keeps a ledger of its own.
"""

import argparse
import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yilian.cli.frame import Declined, Misused, Output, Unreachable, state_folder
from yilian.cli.progress import Bar

if TYPE_CHECKING:
    from yilian.sim.narrator import Narrator
    from yilian.sim.region import Ordering
    from yilian.sim.settling import Town

SUMMARY = "start a simulated region and tell its story"
PATIENTS_MAX = 5_000
VALIDATORS = range(4, 9)  # of four, one may fail; there are eight members

_HOME_BYTES_MAX = 80  # unix(7): a socket's path has 107 bytes; `/signers/` and the longest member's name take up to 26


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--once", action="store_true", help="end after the story")
    parser.add_argument(
        "--home", type=Path, metavar="DIR", help="where the region lives, an empty or new folder (default: a temporary one)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="people, charts and keys follow from it (default %(default)s)")
    parser.add_argument("--patients", type=int, default=300, metavar="N", help="default %(default)s, of 2 to 5000")
    parser.add_argument("--port", type=int, metavar="N", help="first of eight ports, and of two more a validator (default: free ones)")
    parser.add_argument("--network", type=int, metavar="N", help="that many of the members validate, 4 to 8 (default: one orders alone)")
    parser.add_argument(
        "--records", type=Path, metavar="DIR", help="import these FHIR files into hospital-1, and use one of their patients"
    )
    parser.add_argument("--lang", choices=("both", "zh", "en"), default="both", help="language of the story (default %(default)s)")


def run(options: argparse.Namespace, output: Output) -> None:
    """Start, tell, serve."""
    import asyncio

    from yilian.engines import EngineStopped
    from yilian.web import CannotListen

    _check(options)
    try:
        if options.home is not None:
            _require_short(options.home)
            _make(options.home)
            asyncio.run(_demo(options, options.home, output))
            return
        with tempfile.TemporaryDirectory(prefix="yilian-", ignore_cleanup_errors=True) as folder:
            _require_short(Path(folder))
            asyncio.run(_demo(options, Path(folder), output))
    except (EngineStopped, CannotListen) as stopped:
        raise Unreachable(str(stopped)) from stopped


def _require_short(home: Path) -> None:
    """Refuse a home whose sockets would have no address: unix(7) gives them 107 bytes, and the longest name under it has 26."""
    if len(os.fsencode(home.absolute())) > _HOME_BYTES_MAX:
        raise Misused(f"{home} is too long a path for the region's sockets: choose a --home of {_HOME_BYTES_MAX} bytes at most")


def _check(options: argparse.Namespace) -> None:
    if not 2 <= options.patients <= PATIENTS_MAX:  # noqa: PLR2004 - the two whom the story tells of
        raise Misused(f"--patients takes 2 to {PATIENTS_MAX}")
    if options.network is not None and options.network not in VALIDATORS:
        raise Misused(f"--network takes {VALIDATORS[0]} to {VALIDATORS[-1]}: with fewer validators than four, none may fail")
    last = 65_536 - 8 - 2 * (options.network or 0)  # eight nodes, two ports a validator
    if options.port is not None and not 1 <= options.port <= last:
        raise Misused(f"--port takes 1 to {last}")
    if options.records is not None:
        from yilian.records import files_of

        if not options.records.exists():
            raise Misused(f"there is no {options.records}")
        if not files_of(options.records):
            raise Misused(f"no file in {options.records} is named *.json, *.json.gz, *.ndjson or *.ndjson.gz")
    if options.home is not None and options.home.is_dir() and any(options.home.iterdir()):
        raise Misused(f"{options.home} is not empty: a region is founded in a folder of its own")


def _make(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"{home} cannot be made: {error.strerror}") from error


async def _demo(options: argparse.Namespace, home: Path, output: Output) -> None:
    import io
    import sys

    from yilian.cli import control
    from yilian.cli.signals import asked_to_end
    from yilian.sim.ending import ends, forget, note, totals, try_next
    from yilian.sim.narrator import Narrator
    from yilian.sim.story import StoryBroken, tell
    from yilian.sim.story.tail import told_of_records

    narrator = Narrator(options.lang, io.StringIO() if output.is_json else sys.stdout)
    async with AsyncExitStack() as stack:
        began = narrator.now()
        town = await _town(stack, options, home, narrator)
        await stack.enter_async_context(control.listening(home, {one: node.store for one, node in town.region.nodes.items()}))
        where = note(town, options.seed, state_folder())
        stack.callback(forget, where, state_folder())
        _founded(town, narrator, narrator.elapsed_ms(began))
        try:
            tale = await tell(town, narrator)
            if options.records is not None:
                await told_of_records(tale, options.records)
        except StoryBroken as broken:
            raise Declined(f"the story went otherwise than it is told: {broken}") from broken
        facts: dict[str, Any] = totals(tale, narrator.elapsed_ms(began))
        if output.is_json:
            output.answer(facts)
        if not options.once:
            is_temporary = options.home is None
            try_next(tale, where, is_temporary=is_temporary)
            await asked_to_end()
            ends(tale, where, is_temporary=is_temporary)


async def _town(stack: AsyncExitStack, options: argparse.Namespace, home: Path, narrator: "Narrator") -> "Town":
    import time

    from yilian.sim.population import make_population
    from yilian.sim.practitioners import seated
    from yilian.sim.region import choose_ports, running
    from yilian.sim.settling import settled

    narrator.say("区域启动中……", "The region starts ...")
    people = make_population(options.seed, options.patients, now_s=int(time.time()))
    region = await stack.enter_async_context(running(home, options.seed, choose_ports(options.port), _ordering(options)))
    seats = await stack.enter_async_context(seated(home, options.seed))
    with Bar("settling", 2 * len(people)) as bar:
        done = {"charts": 0, "enrolled": 0}

        def progress(what: str, number: int, _: int) -> None:
            done[what] = number
            bar.to(sum(done.values()), 2 * len(people))

        return await stack.enter_async_context(settled(region, seats, people, options.seed, progress))


def _ordering(options: argparse.Namespace) -> "Ordering":
    from yilian.sim.region import OPERATED

    if options.network is None:
        return OPERATED
    from yilian.sim.validators import validating

    return validating(options.network, options.seed, None if options.port is None else options.port + 8)


def _founded(town: "Town", narrator: "Narrator", elapsed_ms: float) -> None:
    region = town.region
    chain = region.nodes["regulator-1"].engine.read().chain
    charts = sum(len(person.charts) for person in town.people)
    narrator.scene("一个区域", "One region")
    narrator.say(
        f"八家成员机构各有一个节点，共用一本账；{len(town.people)} 位患者，{charts} 份病历留在原处，钱包已在窗口登记。",
        f"Eight members, a node each, one ledger; {len(town.people)} patients, {charts} charts that stay where they are, wallets enrolled.",
    )
    narrator.fact("network", region.network.hex())
    if region.founded.seats:
        narrator.fact("validators", f"{', '.join(region.founded.seats)}; more than two thirds of them decide, nobody alone")
    narrator.fact("ready", f"{elapsed_ms / 1_000:.1f} s; {chain.log.size} entries, none about a patient")
