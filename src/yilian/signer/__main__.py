"""`python -m yilian.signer`: create a practitioner's key file, or serve it. Exit codes: 0 done, 2 usage, 3 refused."""

import argparse
import asyncio
import contextlib
import getpass
import resource
import secrets
import sys
from pathlib import Path

from yilian.base.keys import SEED_SIZE
from yilian.signer import keyfile
from yilian.signer.desk import IDLE_S, Desk
from yilian.signer.protocol import SignerRefused
from yilian.signer.server import serve
from yilian.talks import SocketTaken

_DONE, _USAGE, _REFUSED = 0, 2, 3


def _tell(sentence: str) -> None:
    sys.stderr.write(f"signer: {sentence}\n")  # the practitioner's own terminal
    sys.stderr.flush()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m yilian.signer", description="Hold a practitioner's keys and sign what is named.")
    parser.add_argument("--keys", type=Path, required=True, metavar="FILE", help="the practitioner's key file")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--create", nargs="+", metavar="NAME", help="make new keys of these names; asks for a passphrase")
    way.add_argument("--socket", type=Path, metavar="PATH", help="serve on a Unix socket, for this user only")
    way.add_argument("--stdio", action="store_true", help="serve on standard input and output")
    parser.add_argument("--follow-input", action="store_true", help="with --socket: end when standard input ends")
    parser.add_argument(
        "--idle", type=int, default=IDLE_S, metavar="SECONDS", help="lock after so long without a signature (default %(default)s)"
    )
    return parser.parse_args(arguments)


def _create(path: Path, names: list[str]) -> int:
    passphrase = getpass.getpass("new passphrase: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not passphrase:
        _tell("a passphrase is needed")
        return _USAGE
    try:
        public = keyfile.create(path, passphrase, {name: secrets.token_bytes(SEED_SIZE) for name in names})
    except FileExistsError:
        _tell(f"{path} exists already; keys are never overwritten")
        return _REFUSED
    for name, key in public.items():
        sys.stdout.write(f"{name} {key.hex()}\n")
    return _DONE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the keys never leave this process."""
    options = _options(arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write keys to disk
    if options.create:
        return _create(options.keys, options.create)
    try:
        desk = Desk(keyfile.read(options.keys), _tell, options.idle)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(desk, options.socket, follows_input=options.follow_input))
    except FileNotFoundError as error:
        _tell(f"{error.filename}: there is no such file")
        return _USAGE
    except (SignerRefused, SocketTaken) as no:
        _tell(str(no))
        return _REFUSED
    except OSError as error:  # a socket path too long or not writable
        _tell(f"cannot serve: {error.strerror or error}")
        return _USAGE
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
