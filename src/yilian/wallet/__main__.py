"""`python -m yilian.wallet`: serve the wallets of one home. Exit codes: 0 done, 2 usage, 3 refused."""

import argparse
import asyncio
import contextlib
import getpass
import os
import resource
import secrets
import sys
import time
from pathlib import Path

from yilian import talks
from yilian.base.codec import Malformed
from yilian.ledger import parse_genesis
from yilian.talks import SocketTaken
from yilian.wallet.desk import Desk
from yilian.wallet.home import Home
from yilian.wallet.members import Members
from yilian.wallet.protocol import FRAME_BYTES_MAX
from yilian.wallet.refusals import WalletRefused

_DONE, _USAGE, _REFUSED = 0, 2, 3


def _tell(sentence: str) -> None:
    print(f"wallet: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the person's own terminal


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m yilian.wallet", description="Keep patients' keys and act for them.")
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="where the wallets lie; made if it is not there")
    parser.add_argument("--genesis", type=Path, required=True, metavar="FILE", help="the network's genesis: all that is trusted")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--socket", type=Path, metavar="PATH", help="serve on a Unix socket, for this user only")
    way.add_argument("--stdio", action="store_true", help="serve on standard input and output")
    parser.add_argument("--follow-input", action="store_true", help="with --socket: end when standard input ends")
    parser.add_argument("--unsealed", action="store_true", help="use no passphrase: whoever reads this user's files has the wallets")
    return parser.parse_args(arguments)


def _passphrase() -> str:
    """Ask for the passphrase, or read the first line of standard input byte by byte: what follows it is not ours."""
    if sys.stdin.isatty():
        return getpass.getpass("passphrase: ")
    line = b""
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        line += byte
    return line.decode()


async def _serve(desk: Desk, socket_path: Path | None, *, follows_input: bool) -> None:
    if socket_path is None:
        await talks.serve_stdio(desk.answer, size_bytes_max=FRAME_BYTES_MAX)
    else:
        await talks.serve_socket(desk.answer, socket_path, size_bytes_max=FRAME_BYTES_MAX, follows_input=follows_input)


def main(arguments: list[str] | None = None) -> int:
    """Serve; seeds never leave this process."""
    options = _options(arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write seeds to disk
    passphrase = None if options.unsealed else _passphrase()
    if passphrase == "":
        _tell("a passphrase is needed, or --unsealed")
        return _USAGE
    try:
        members = Members.of(parse_genesis(options.genesis.read_bytes()))
        home = Home.open(options.home, members.network, passphrase)
        desk = Desk(home, members, lambda: int(time.time()), secrets.token_bytes)
        with contextlib.closing(home), contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(desk, options.socket, follows_input=options.follow_input))
    except FileNotFoundError as error:
        _tell(f"{error.filename}: there is no such file")
        return _USAGE
    except Malformed:
        _tell(f"{options.genesis} is not a genesis")
        return _USAGE
    except (WalletRefused, SocketTaken) as no:
        _tell(str(no))
        return _REFUSED
    except OSError as error:  # a socket path too long or not writable
        _tell(f"cannot serve: {error.strerror or error}")
        return _USAGE
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
