"""One member's node: make its data folder, found or join a network, serve, check.

yilian node init   makes the folder with node.toml and the member's keys, and a card of its public keys
yilian node found  makes the genesis of a network out of its founders' cards
yilian node join   puts a network's genesis into the folder
yilian node run    serves until Ctrl-C or SIGTERM; what is under way finishes first
yilian node check  replays the ledger from genesis, every signature and every rule, and compares (the node must be stopped)
yilian node backup copies records and tables, also while the node runs
yilian node seal   seals the member's key store under a passphrase, or under another one (the node must be stopped)
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.cli.files import read_bytes, read_new_passphrase, read_passphrase, write_new
from yilian.cli.founders import unfit
from yilian.cli.frame import Declined, Misused, Output, Unreachable, counted_as
from yilian.cli.progress import Bar

if TYPE_CHECKING:
    from yilian.engines import Checked
    from yilian.ledger import Founder, Genesis
    from yilian.node import Settings

SUMMARY = "make, found, join, run, check or seal one member's node"
CARD: Final = "founder.card"
_PORT: Final = 8700
_KINDS: Final = ("clinic", "hospital", "pharmacy", "manufacturer", "distributor", "insurer", "data_buyer", "exchange", "regulator")


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    acts = parser.add_subparsers(title="acts", metavar="ACT", required=True)
    init = acts.add_parser("init", help="make the folder and the keys")
    _home(init)
    init.add_argument("--id", required=True, help="the member's id: 1 to 32 of a-z, 0-9 and -")
    init.add_argument("--kind", required=True, choices=_KINDS, action="append", help="what the member is; may be given again")
    init.add_argument("--name", required=True, help="the organisation's name")
    init.add_argument("--endpoint", required=True, metavar="URL", help="how the other members reach the node")
    init.add_argument("--host", default="127.0.0.1", help="where it listens (default %(default)s; anything else needs TLS)")
    init.add_argument("--port", type=int, help="where it listens (default: that of a loopback --endpoint, else 8700)")
    init.add_argument(
        "--engine",
        default="embedded",
        help="embedded (orders itself), remote (follows) or consortium (orders with others) (default %(default)s)",
    )
    init.add_argument("--operator", default="", metavar="URL", help="for remote: the node that orders")
    init.add_argument("--tls-certificate", default="", metavar="FILE")
    init.add_argument("--tls-key", default="", metavar="FILE")
    init.add_argument("--power", type=int, default=1, help="the member's votes (default %(default)s)")
    init.set_defaults(act=_init)
    found = acts.add_parser("found", help="make a genesis out of the founders' cards")
    found.add_argument("cards", nargs="+", type=Path, metavar="CARD", help="a founder's card")
    found.add_argument("--operator", required=True, metavar="ID", help="the founder that orders (embedded engine)")
    found.add_argument("--out", required=True, type=Path, metavar="FILE", help="the genesis to write")
    found.set_defaults(act=_found)
    join = acts.add_parser("join", help="put a network's genesis into the folder")
    _home(join)
    join.add_argument("--genesis", required=True, type=Path, metavar="FILE")
    join.set_defaults(act=_join)
    run_ = acts.add_parser("run", help="serve until Ctrl-C or SIGTERM")
    _home(run_)
    run_.set_defaults(act=_run)
    check = acts.add_parser("check", help="replay the ledger and compare (the node must be stopped)")
    _home(check)
    check.set_defaults(act=_check)
    backup = acts.add_parser("backup", help="copy records and tables, also while the node runs")
    _home(backup)
    backup.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to make")
    backup.set_defaults(act=_backup)
    seal = acts.add_parser("seal", help="seal the key store, or change its passphrase (the node must be stopped)")
    _home(seal)
    seal.add_argument("--new-passphrase-file", required=True, type=Path, metavar="FILE", help="its first line seals it from now on")
    seal.set_defaults(act=_seal)
    for act in (init, found, join, run_, check, backup, seal):
        act.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the same facts as JSON")


def run(options: argparse.Namespace, output: Output) -> None:
    """Do the act that was named; what the folder, the disk or the port lacks is said in a sentence."""
    from yilian.engines import EngineStopped
    from yilian.node import Folder, SettingsWrong, TablesDamaged
    from yilian.records import StoreUnavailable
    from yilian.vault import VaultFault
    from yilian.web import CannotListen

    output.is_json = options.json
    try:
        options.act(options, output)
    except SettingsWrong as wrong:
        raise Misused(str(wrong)) from wrong
    except (EngineStopped, TablesDamaged, VaultFault, CannotListen) as stopped:
        raise Unreachable(str(stopped)) from stopped
    except StoreUnavailable as stopped:
        raise Unreachable(f"{Folder(options.home).records}: {stopped} How: docs/operating/backup.md") from stopped


def _home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", required=True, type=Path, metavar="DIR", help="the member's data folder")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line opens the sealed key store")


def _passphrase(options: argparse.Namespace) -> str | None:
    return None if options.passphrase_file is None else read_passphrase(options.passphrase_file)


def _init(options: argparse.Namespace, output: Output) -> None:
    from yilian.ledger import Genesis
    from yilian.node import Settings, found

    port = _port(options.endpoint) if options.port is None else options.port
    if wrong := unfit(options.id, options.endpoint, options.power, [port]):
        raise Misused(wrong)
    settings = Settings(
        options.id,
        options.endpoint,
        options.host,
        port,
        options.engine,
        options.operator,
        options.tls_certificate,
        options.tls_key,
    )
    passphrase = None if options.passphrase_file is None else read_new_passphrase(options.passphrase_file)
    try:
        founder = found(
            options.home, settings, kinds=tuple(sorted(options.kind)), name=options.name, power=options.power, passphrase=passphrase
        )
    except FileExistsError as error:
        raise Misused(f"{options.home} holds a member already, and keys are never overwritten: choose another folder") from error
    card = options.home / CARD
    write_new(card, Genesis(0, "", (founder,), {}).encoded())
    sealed = "sealed under its passphrase" if passphrase else "NOT sealed: where others can read this disk, `yilian node seal`"
    output.answer(
        {
            "member": options.id,
            "home": str(options.home),
            "card": str(card),
            "node_key": founder.node_key,
            "is_sealed": passphrase is not None,
        },
        f"made {options.home} for {options.id}; its key store is {sealed}",
        _next(options.home, card, settings),
    )


def _next(home: Path, card: Path, settings: "Settings") -> str:
    if settings.engine == "consortium":
        return f"next: yilian network join --home {home} --genesis FILE --peers FILE, which writes the card that the members admit"
    return f"hand {card} to whoever founds the network, or join one: yilian node join --home {home} --genesis FILE"


def _port(endpoint: str) -> int:
    """Return where a node listens whose operator named no port: elsewhere than on loopback a proxy may stand before it.

    Raises   Misused, if the endpoint names a port that is none
    """
    from urllib.parse import urlsplit

    from yilian.node import Settings

    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError as error:
        raise Misused(f"--endpoint {endpoint} is no address that others can reach") from error
    is_own = Settings("", "", host=url.hostname or "").is_loopback
    return port if is_own and port else _PORT


def _card(file: Path) -> "Founder":
    genesis = _parsed(file)
    if len(genesis.members) != 1:
        raise Declined(f"{file} is not a founder's card but the genesis of {len(genesis.members)} members")
    return genesis.members[0]


def _parsed(file: Path) -> "Genesis":
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_genesis

    try:
        return parse_genesis(read_bytes(file))
    except Malformed as error:
        raise Declined(f"{file} is neither a genesis nor a founder's card ({error})") from error


def _found(options: argparse.Namespace, output: Output) -> None:
    import time

    from yilian.ledger import Genesis, start

    founders = tuple(sorted((_card(file) for file in options.cards), key=lambda founder: founder.id))
    if options.operator not in {founder.id for founder in founders}:
        raise Misused(f"--operator {options.operator} is none of the founders: {', '.join(founder.id for founder in founders)}")
    genesis = Genesis(int(time.time()), options.operator, founders, {"memo_size": 0})
    try:
        start(genesis)
    except ValueError as error:
        raise Declined(str(error)) from error
    write_new(options.out, genesis.encoded())
    ids = [founder.id for founder in founders]
    output.answer(
        {"network": genesis.network_id, "members": ids, "genesis": str(options.out)},
        f"network {genesis.network_id.hex()}",
        f"founded by {', '.join(ids)}; hand {options.out} to each: yilian node join --home DIR --genesis {options.out}",
    )


def _join(options: argparse.Namespace, output: Output) -> None:
    from yilian.node import join, read_settings

    genesis, settings = _parsed(options.genesis), read_settings(options.home)
    if settings.id not in {member.id for member in genesis.members}:
        raise Declined(f"{settings.id} is not among the founders of this network: its members must admit it first")
    try:
        join(options.home, genesis)
    except FileExistsError as error:
        raise Misused(f"{options.home} belongs to a network already") from error
    output.answer(
        {"member": settings.id, "network": genesis.network_id},
        f"{settings.id} is in network {genesis.network_id.hex()}; next: yilian node run --home {options.home}",
    )


def _run(options: argparse.Namespace, output: Output) -> None:
    import asyncio

    from yilian.base.keys import self_test
    from yilian.node import read_genesis, read_settings

    settings, genesis = read_settings(options.home), read_genesis(options.home)
    self_test()
    asyncio.run(_serve(options.home, settings, genesis, _passphrase(options), output))


async def _serve(home: Path, settings: "Settings", genesis: "Genesis", passphrase: str | None, output: Output) -> None:
    import asyncio

    from yilian.cli import control, network
    from yilian.cli.ordering import opening
    from yilian.cli.signals import asked_to_end
    from yilian.node import opened
    from yilian.web import serve

    async with (
        opening(home, settings, genesis) as engine,
        opened(home, engine, passphrase=passphrase) as node,
        serve(node) as serving,
        control.listening(home, {node.id: node.store}, {node.id: network.acting(node)}),
    ):
        chain = engine.read().chain
        output.answer(
            {"member": node.id, "url": serving.url, "network": node.network, "height": chain.height, "entries": chain.log.size},
            f"{node.id} serves {serving.url}; network {node.network.hex()[:16]}..., {chain.log.size} entries; Ctrl-C ends",
        )
        if remark := await asyncio.to_thread(engine.remark):
            output.note(remark)
        ended = [asyncio.create_task(asked_to_end()), asyncio.create_task(engine.watch())]
        done, waiting = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()
        output.note(f"{node.id} ends: what is under way is finished first")


def _check(options: argparse.Namespace, output: Output) -> None:
    from yilian.cli.ordering import LEDGER
    from yilian.engines import fsck_folder
    from yilian.node import read_genesis
    from yilian.vault import Vault

    genesis = read_genesis(options.home)
    with Vault.open(options.home, _passphrase(options)) as vault:
        protection = vault.protection()
    with Bar("replaying blocks") as bar:
        checked = fsck_folder(options.home / LEDGER, genesis, progress=bar.to)
    output.answer(
        {
            "height": checked.height,
            "entries": checked.entries,
            "state_rows": checked.state_rows,
            "app_hash": checked.app_hash,
            "network": genesis.network_id,
            "protection": protection,
            "missing": checked.missing,
        },
        *_checked_lines(checked),
        f"app hash {checked.app_hash.hex()}",
        protection,
    )


def _checked_lines(checked: "Checked") -> list[str]:
    if not checked.missing:
        return [f"sound: {checked.height} blocks replayed from genesis give {checked.entries} entries and {checked.state_rows} rows"]
    held = f"{checked.entries - checked.missing} entries since the snapshot, and {checked.state_rows} rows"
    fetched = "which the node fetches from the others while it runs (yilian network status)"
    return [
        f"sound as far as it goes: {held}, give the app hash of block {checked.height}",
        f"missing: the first {checked.missing} entries, {fetched}; then this command replays everything from genesis",
    ]


def _seal(options: argparse.Namespace, output: Output) -> None:
    from contextlib import ExitStack

    from yilian.cli.ordering import LEDGER
    from yilian.engines import LOCK, hold
    from yilian.node import read_settings
    from yilian.vault import SEED_FILE, Vault

    member, ledger, seed = read_settings(options.home).id, options.home / LEDGER, options.home / SEED_FILE
    new, old = read_new_passphrase(options.new_passphrase_file), _passphrase(options)
    with ExitStack() as held:
        if (ledger / LOCK).exists():  # a node that starts has this before it opens its keys
            held.enter_context(hold(ledger))
        vault = held.enter_context(Vault.open(options.home, old))  # nobody else has it, and seed and keys belong together
        try:
            other_names = vault.seal(new)
        except OSError as error:
            whole = "it is whole, as it was or as it was to be: free some space, check its owner and rights, and seal again"
            raise Unreachable(f"{seed} could not be written ({error.strerror}): {whole}") from error
    opens = "with the passphrase that it had" if old is not None else "without a passphrase"
    output.answer(
        {"member": member, "was_sealed": old is not None, "other_names": other_names},
        f"the key store of {member} is sealed under what {options.new_passphrase_file} says: `yilian node run` needs it from now on",
        f"a copy of {SEED_FILE} that was made before opens {opens}, as ever: make the backup of the keys anew and destroy the old one",
        *([f"{_names(other_names)} on this disk and was left as it is there: find it and delete it"] if other_names else []),
    )


def _names(other_names: int) -> str:
    return f"the file that it was before has {counted_as(other_names, 'other name', 'other names')} (hard links)"


def _backup(options: argparse.Namespace, output: Output) -> None:
    import shutil
    import sqlite3
    from contextlib import closing

    from yilian.node import Folder, read_settings

    settings, folder = read_settings(options.home), Folder(options.home)
    if not folder.records.exists():
        raise Misused(f"{options.home} has no records yet: the node has never run")
    try:
        options.out.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise Misused(f"{options.out} is there already: a backup gets a folder of its own") from error
    sizes: dict[str, int] = {}
    for file in (folder.records, folder.node):
        copy = options.out / file.name
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as target:
            try:
                source.backup(target)
            except sqlite3.DatabaseError as error:
                shutil.rmtree(options.out)
                raise Unreachable(
                    f"{file} cannot be copied ({error}): nothing was; restore an older backup (docs/operating/backup.md)"
                ) from error
        sizes[file.name] = copy.stat().st_size
    for file in (folder.settings, folder.genesis):
        shutil.copyfile(file, options.out / file.name)
    output.answer(
        {"member": settings.id, "folder": str(options.out), "size_bytes": sizes},
        f"copied {', '.join(f'{name} ({size:,} bytes)' for name, size in sizes.items())} of {settings.id} to {options.out}",
        "the keys are not in it: without member.seed and vault.db, kept elsewhere, nobody can read it, nor can you",
    )
