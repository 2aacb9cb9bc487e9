"""A consortium whose members order together: found one, join one, decide together, see how it stands.

  yilian network init      makes every founder's folder out of one members.toml, for a trial on one machine or a ceremony of all founders
  yilian network join      seats a member that has its folder and the network's genesis; it begins with a checked snapshot of the others
  yilian network propose   has a running member propose that one is admitted, removed or changed, or a parameter or the rules
  yilian network vote      has a running member vote on that
  yilian network proposals what may still be voted on, and how it stands
  yilian network suspend   has a running regulator suspend a member at once; its reason stays here, the ledger has a commitment to it
  yilian network reinstate has a running regulator end a suspension, also one that the ledger itself decided for signing twice
  yilian network suspended who is suspended, since when and by whom; checks a reason against its commitment
  yilian network status    height, how long ago the last block was, peers, validators, who is suspended, of a member that runs here
  yilian network repair    moves a member's damaged copy of the ledger aside, so that the next start fetches it from the others

members.toml: one [[member]] each with id, kinds, name, endpoint and, if not the default, power (1; 0 follows without validating), host
(127.0.0.1), listen (host), p2p_port and rpc_port (26656, 26657, the next member 10 above); [parameters] as the directory knows them.
"""

import argparse
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yilian.cli import operating, suspending, voting
from yilian.cli.files import read_bytes, read_new_passphrase, write_new
from yilian.cli.founders import ports, read_members
from yilian.cli.frame import Declined, Misused, Output, Unreachable
from yilian.cli.ports import require_free
from yilian.cli.standing import HALTED, suspended_lines
from yilian.cli.standing import lines as standing_lines

if TYPE_CHECKING:
    from yilian.engines import Progress
    from yilian.engines.consortium import Seat, Trust
    from yilian.ledger import Founder
    from yilian.node import Node

SUMMARY = "found, join, govern, look at or repair a consortium that orders together"
ENGINE: Final = "consortium"
PEERS: Final = "peers.txt"
GENESIS: Final = "genesis.cbor"
FOUNDER_CARD: Final = "founder.card"
CARD: Final = "member.card"
_PORT: Final = 8700  # as `yilian node init`: at an address without a port something else terminates TLS, on this machine perhaps
_SERVER: Final = re.compile(r"[^\s,@/]+:[0-9]{1,5}")
_PEER: Final = re.compile(r"[0-9a-f]{40}@[^\s,@/]+:[0-9]{1,5}")

_SEALED: Final = "sealed under the passphrase: every `yilian node run` needs --passphrase-file"
_UNSEALED: Final = "NOT sealed: give --passphrase-file where others can read this disk, or let each founder run `yilian node seal`"
ANSWER_S_MAX: Final = 10  # status says what it can: as long as it waits for CometBFT


def acting(node: "Node") -> operating.Act:
    """Return what answers the operator's socket for a node that runs."""
    return operating.acting(node, {**voting.ANSWERS, **suspending.ANSWERS, "remark": _remarking})


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    acts = parser.add_subparsers(title="acts", metavar="ACT", required=True)
    init = acts.add_parser("init", help="make every founder's folder")
    init.add_argument("--members", required=True, type=Path, metavar="FILE", help="members.toml")
    init.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to make; each member's is DIR/ID")
    init.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line seals every member's key store, as it is made")
    init.set_defaults(act=_init)
    join = acts.add_parser("join", help="seat a member")
    join.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder (yilian node init)")
    join.add_argument("--genesis", type=Path, metavar="FILE", help="the network's genesis, if the folder has none yet")
    join.add_argument("--peers", required=True, type=Path, metavar="FILE", help="peers.txt of the network: ID@HOST:PORT, one a line")
    _begin_from(join)
    join.add_argument("--host", default="127.0.0.1", help="where the others reach it (default %(default)s)")
    join.add_argument("--listen", default="", help="the address that it binds, if that is not --host")
    join.add_argument("--p2p-port", type=int, default=26_656, help="default %(default)s")
    join.add_argument("--rpc-port", type=int, default=26_657, help="default %(default)s")
    join.set_defaults(act=_join)
    status = acts.add_parser("status", help="how it stands")
    status.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder")
    status.set_defaults(act=_status)
    repair = acts.add_parser("repair", help="begin again with the others' copy of the ledger")
    repair.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder; its node must be stopped")
    _begin_from(repair)
    repair.set_defaults(act=_repair)
    decided = [*voting.options(acts), *suspending.options(acts)]
    for act in decided:
        act.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder; its node must run")
    for act in (init, join, status, repair, *decided):
        act.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the same facts as JSON")


def _begin_from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ask", action="append", default=[], metavar="HOST:PORT", help="a member's RPC to begin from; two at least")
    parser.add_argument("--trust", metavar="HEIGHT:HASH", help="a block that you know to be the network's (else the ones asked must agree)")


def run(options: argparse.Namespace, output: Output) -> None:
    """Do the act that was named."""
    from yilian.engines import EngineStopped
    from yilian.engines.consortium import NotSeated
    from yilian.engines.consortium import Unreachable as Silent
    from yilian.node import SettingsWrong

    output.is_json = options.json
    try:
        options.act(options, output)
    except (SettingsWrong, NotSeated) as wrong:
        raise Misused(str(wrong)) from wrong
    except EngineStopped as stopped:
        raise Unreachable(str(stopped)) from stopped
    except Silent as silent:
        raise Unreachable(f"{silent}: is the node running? yilian node run --home DIR") from silent


def _init(options: argparse.Namespace, output: Output) -> None:
    import shutil
    import time

    from yilian.base.refusals import Refused
    from yilian.cli.ordering import LEDGER
    from yilian.engines.consortium import settle
    from yilian.ledger import Genesis, start
    from yilian.node import join

    rows, parameters = read_members(options.members)
    passphrase = None if options.passphrase_file is None else read_new_passphrase(options.passphrase_file)
    seats = [_seat(row, number) for number, row in enumerate(rows)]
    if options.out.exists():
        raise Misused(f"{options.out} is there already, and keys are never overwritten: choose another folder")
    try:
        options.out.mkdir(parents=True)
    except OSError as error:
        raise Misused(f"{options.out} cannot be made ({error.strerror}): choose another folder") from error
    try:
        founders = tuple(_founder(options.out / row["id"], row, seat, passphrase) for row, seat in zip(rows, seats, strict=True))
        genesis = Genesis(int(time.time()), "", founders, parameters)
        start(genesis)
    except (ValueError, Refused) as error:  # SettingsWrong too: what was drawn for it is nobody's yet
        shutil.rmtree(options.out, ignore_errors=True)
        raise Declined(f"{options.members}: {error}") from error
    peers = [seat.peer for seat in seats]
    for seat in seats:
        join(options.out / seat.member, genesis)
        settle(options.out / seat.member / LEDGER, genesis, seat, peers)
    write_new(options.out / GENESIS, genesis.encoded())
    write_new(options.out / PEERS, ("\n".join(peers) + "\n").encode())
    is_sealed = passphrase is not None
    output.answer(
        {"network": genesis.network_id, "members": [seat.member for seat in seats], "folder": str(options.out), "is_sealed": is_sealed},
        f"network {genesis.network_id.hex()}",
        f"the members' key stores are {_SEALED if is_sealed else _UNSEALED}",
        f"hand each founder its own folder and nobody else's: {', '.join(str(options.out / seat.member) for seat in seats)}",
        f"each then runs: yilian node run --home DIR; who joins later needs {options.out / GENESIS} and {options.out / PEERS}",
    )


def _seat(row: dict[str, Any], number: int) -> "Seat":
    from yilian.engines.consortium import draw

    return draw(row["id"], row.get("host", "127.0.0.1"), *ports(row, number), row.get("listen", ""))


def _founder(folder: Path, row: dict[str, Any], seat: "Seat", passphrase: str | None) -> "Founder":
    from dataclasses import replace
    from urllib.parse import urlsplit

    from yilian.node import Settings, found

    power = row.get("power", 1)
    url = urlsplit(row["endpoint"])
    settings = Settings(row["id"], row["endpoint"], port=url.port or _PORT, engine=ENGINE)
    founder = found(folder, settings, kinds=tuple(sorted(row["kinds"])), name=row["name"], power=power, passphrase=passphrase)
    return replace(founder, consensus_key=seat.consensus_key)


def _join(options: argparse.Namespace, output: Output) -> None:
    from yilian.base.codec import Malformed
    from yilian.cli.ordering import LEDGER
    from yilian.engines.consortium import draw, settle
    from yilian.ledger import parse_genesis
    from yilian.node import join, read_genesis, read_settings

    settings = read_settings(options.home)
    if settings.engine != ENGINE:
        raise Misused(f'{options.home}/node.toml says engine = "{settings.engine}": set engine = "{ENGINE}" first')
    peers = _peers(options.peers)
    seat = draw(settings.id, options.host, options.p2p_port, options.rpc_port, options.listen)
    require_free(seat, peers)
    trust = _trust(options)
    if options.genesis is not None:  # last of what may fail: a join that failed can be tried again as it was
        try:
            join(options.home, parse_genesis(read_bytes(options.genesis)))
        except Malformed as error:
            raise Declined(f"{options.genesis} is no genesis ({error})") from error
        except FileExistsError as error:
            raise Misused(f"{options.home} belongs to a network already: leave --genesis out") from error
    genesis = read_genesis(options.home)
    is_founder = settings.id in {member.id for member in genesis.members}
    card, next_ = options.home / CARD, f"propose --home DIR --seat-key {settings.id}={seat.consensus_key.hex()}"
    if not is_founder:
        card_bytes, next_ = _card(options.home, seat), f"propose --home DIR --admit {card}"
    try:
        settle(options.home / LEDGER, genesis, seat, peers, trust)
    except FileExistsError as error:
        raise Misused(f"{options.home} is seated already, and keys are never overwritten") from error
    if not is_founder:
        write_new(card, card_bytes)
    told = {"card": None if is_founder else str(card), **_trusted(trust)}
    output.answer(
        {"member": settings.id, "peer": seat.peer, "consensus_key": seat.consensus_key, **told},
        f"{settings.id} is seated as {seat.peer}; it begins with {_begins(trust, options.ask)}",
        f"the members decide, for who has no seat with them is hung up on: yilian network {next_}",
        f"once the vote carried it: yilian node run --home {options.home}",
    )


def _card(home: Path, seat: "Seat") -> bytes:
    """Return what the members are to admit: the card that `yilian node init` wrote, with the seat's key.

    Raises   Misused
    """
    from dataclasses import replace

    from yilian.ledger import Genesis, parse_genesis

    (one,) = parse_genesis(read_bytes(home / FOUNDER_CARD)).members
    return Genesis(0, "", (replace(one, consensus_key=seat.consensus_key),), {}).encoded()


def _begins(trust: "Trust | None", asked: list[str]) -> str:
    if trust is None:
        return "block 1" + (": the network is younger than its first snapshot, so --ask is not needed yet" if asked else "")
    return f"a snapshot above height {trust.height}, block {trust.block_hash}: compare that hash with a member you know"


def _trusted(trust: "Trust | None") -> dict[str, int | None]:
    return {"trusted_height": trust.height if trust else None}


def _repair(options: argparse.Namespace, output: Output) -> None:
    from yilian.cli.ordering import LEDGER
    from yilian.engines.consortium import begin_again
    from yilian.node import read_settings

    member, trust = read_settings(options.home).id, _trust(options)
    aside = begin_again(options.home / LEDGER, trust)
    output.answer(
        {"member": member, "aside": str(aside), **_trusted(trust)},
        f"the copy of the ledger of {member} is moved to {aside}; it begins again with {_begins(trust, options.ask)}",
        f"next: yilian node run --home {options.home}; once it has caught up (yilian network status) that folder may go",
    )


def _peers(file: Path) -> list[str]:
    """Return the peers that a file names.

    Raises   Misused
    """
    peers = read_bytes(file).decode(errors="replace").split()
    if not peers or not all(_PEER.fullmatch(peer) for peer in peers):
        raise Misused(f"{file} must have one ID@HOST:PORT a line, as `yilian network init` writes it into {PEERS}")
    return peers


def _trust(options: argparse.Namespace) -> "Trust | None":
    from yilian.engines.consortium import Unreachable as Silent
    from yilian.engines.consortium import is_young, trusted

    if not options.ask:
        if options.trust:
            raise Misused("--trust says which block those who are named with --ask must have: give --ask too, twice at least")
        return None
    if len(options.ask) < 2:  # noqa: PLR2004 - one alone could lie
        raise Misused("--ask needs two members at least: what one says, the other must confirm")
    if len(set(options.ask)) < len(options.ask):
        raise Misused("--ask names one member twice: what it says, another must confirm")
    if wrong := [server for server in options.ask if not _SERVER.fullmatch(server)]:
        raise Misused(f"--ask is HOST:PORT, not {wrong[0]}")
    height, _, block_hash = (options.trust or "").partition(":")
    if options.trust and not (height.isdigit() and block_hash):
        raise Misused("--trust is HEIGHT:HASH")
    try:
        if is_young(options.ask):
            return None
        return trusted(options.ask, int(height), block_hash) if options.trust else trusted(options.ask)
    except Silent as silent:
        raise Unreachable(
            f"--ask {silent}: see that it is a running member's RPC, reached by a tunnel where it is another machine's"
        ) from silent
    except ValueError as error:
        raise Declined(str(error)) from error


def _status(options: argparse.Namespace, output: Output) -> None:
    from yilian.cli.ordering import LEDGER
    from yilian.engines import progress_in
    from yilian.engines.consortium import standing
    from yilian.node import read_settings

    member = read_settings(options.home).id
    said = standing(options.home / LEDGER)
    older = progress_in(options.home / LEDGER)
    suspended, remark = _suspended(options.home), _remark(options.home)
    output.answer(
        {
            "member": member,
            "height": said.height,
            "is_catching_up": said.is_catching_up,
            "behind_s": said.behind_s,
            "is_halted": said.is_halted,
            "peers": said.peers,
            "is_seated": said.is_seated,
            "refused_snapshot": said.refused or None,
            "is_awaiting_snapshot": said.is_awaiting_snapshot,
            "validators": said.validators,
            "unreached": list(said.unreached),
            "suspended": suspended,
            "remark": remark,
            "gathered": None if said.gathered is None else asdict(said.gathered),
            "older_entries": None if older is None else _older(older),
        },
        *standing_lines(member, said),
        *suspended_lines(suspended or [], said.validators),
        *([remark] if remark else []),
        *([] if older is None else [f"before its snapshot: {older.entries} of {older.entries_all} entries fetched and proven so far"]),
        *([] if older is None or not older.begun_again else [_begun_again(older)]),
    )
    if said.is_halted:
        raise Unreachable(HALTED)


def _suspended(home: Path) -> list[dict[str, Any]] | None:
    """Return who is suspended, as the node that runs says; None while it does not say."""
    try:
        return list(operating.asked(home, {"op": "suspended"}, ANSWER_S_MAX)["suspended"])
    except (Unreachable, Declined):
        return None


def _remark(home: Path) -> str | None:
    """Return what the node that runs says of how it runs; None while it does not say."""
    try:
        return str(operating.asked(home, {"op": "remark"}, ANSWER_S_MAX)["remark"])
    except (Unreachable, Declined):
        return None


async def _remarking(node: "Node", _: dict[str, Any]) -> dict[str, Any]:
    import asyncio

    return {"remark": await asyncio.to_thread(node.engine.remark)}


def _older(older: "Progress") -> dict[str, object]:
    return {"here": older.entries, "all": older.entries_all, "begun_again": list(older.begun_again)}


def _begun_again(older: "Progress") -> str:
    """Say why what was fetched was thrown away, and what to do if that goes on."""
    return (
        f"fetched in vain {len(older.begun_again)} times, last because: {older.begun_again[-1]}. The others are asked in turn; if this "
        "number keeps growing, all of them say false times or this copy began with one: `yilian network repair --ask` begins from others"
    )
