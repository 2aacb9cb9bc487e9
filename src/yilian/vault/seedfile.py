"""The member's seed in its file: sealed under a passphrase, or plain and readable by its owner only.

A file that is being written is a new one beside it, `member.seed.XXXXXXXX.new`: at every instant there is the old one whole or the new.

File     deterministic CBOR {"v": 1, "salt", "nonce", "box"} or {"v": 1, "seed"}, each with "sum" = SHA-256 of the rest: so that damage and
         a wrong passphrase can be told apart. box = AES-256-GCM of the seed under scrypt(passphrase), salt and version as associated data.
Source   scrypt RFC 7914 with N = 2^15, r = 8, p = 3 (OWASP Password Storage, 2024); ADR-0061, ADR-0143.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import SEED_SIZE
from yilian.vault.faults import VaultCorrupt, VaultExists, VaultExposed, VaultMissing, WrongPassphrase

VERSION: Final = 1
_SALT_BYTES, _NONCE_BYTES = 16, 12
_N, _R, _P = 1 << 15, 8, 3
_OTHERS_MAY: Final = 0o077


def write(path: Path, seed: bytes, passphrase: str | None) -> None:
    """Write a new seed file, synced, with its folder; a crash leaves none or the whole.

    Raises   VaultExists
    """
    fresh = _fresh(path)
    try:
        with _made(fresh) as out:
            _fill(out, _encoded(seed, passphrase))
        os.link(fresh, path)  # unlike rename, never replaces a seed
    except FileExistsError as error:
        raise VaultExists(f"{path} exists already: keys are never overwritten; choose another folder") from error
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def seal(path: Path, seed: bytes, passphrase: str) -> int:
    """Put `seed`, sealed, in the place of the file that it was just read from; a crash at any point leaves that one whole or this.

    What lies in the old file's blocks is overwritten, unless the file has other names on this disk: returns how many (hard links, and so
    perhaps copies that somebody keeps on purpose). A disk may keep old blocks all the same: ADR-0143.
    """
    path = path.resolve()  # where a link leads: the file itself is replaced
    for left in path.parent.glob(f"{path.name}.????????.new"):  # by a crash; it may be the seed as it was drawn
        os.unlink(left)  # noqa: PTH108 - one room of names, in which the crash test counts
    fresh, old = _fresh(path), os.open(path, os.O_RDWR)
    try:
        owner = os.fstat(old)
        with _made(fresh) as out:
            os.fchown(out, owner.st_uid, owner.st_gid)  # who seals may be root, who runs the node is not
            _fill(out, _encoded(seed, passphrase))
        if read(fresh, passphrase) != (seed, True):
            raise VaultCorrupt(f"{fresh} is not what was written: the disk is at fault; {path} is as it was")
        os.replace(fresh, path)  # noqa: PTH105 - as above
        _sync_folder(path.parent)
        other_names = os.fstat(old).st_nlink
        if not other_names:
            os.pwrite(old, bytes(owner.st_size), 0)
            os.fsync(old)
        return other_names
    finally:
        os.close(old)
        fresh.unlink(missing_ok=True)


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + "." + secrets.token_hex(4) + ".new")


@contextmanager
def _made(fresh: Path) -> Iterator[int]:
    out = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield out
    finally:
        os.close(out)


def _fill(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]
    os.fsync(out)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _encoded(seed: bytes, passphrase: str | None) -> bytes:
    content: dict[str, int | bytes] = {"v": VERSION}
    if passphrase is None:
        content["seed"] = seed
    else:
        salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
        box = AESGCM(_box_key(passphrase, salt)).encrypt(nonce, seed, encode([VERSION, salt]))
        content |= {"salt": salt, "nonce": nonce, "box": box}
    return encode({**content, "sum": sha256(encode(content))})


def read(path: Path, passphrase: str | None) -> tuple[bytes, bool]:
    """Return (the seed, whether it is sealed).

    Raises   VaultMissing, VaultExposed, VaultCorrupt, WrongPassphrase
    """
    try:
        data = path.read_bytes()
        others_may = path.stat().st_mode & _OTHERS_MAY
    except FileNotFoundError as error:
        raise VaultMissing(f"{path} is not there: create the member's keys first, or restore the file from its own backup") from error
    content = _content(path, data)
    if "seed" in content:
        if others_may:
            raise VaultExposed(f"{path} is not sealed and others may read it: chmod 600, and change the keys if that was not you")
        if passphrase is not None:
            raise WrongPassphrase(f"{path} is not sealed, but a passphrase was given: leave it out")
        return content["seed"], False
    if passphrase is None:
        raise WrongPassphrase(f"{path} is sealed: give the passphrase (--passphrase-file FILE)")
    try:
        key = AESGCM(_box_key(passphrase, content["salt"]))
        return key.decrypt(content["nonce"], content["box"], encode([VERSION, content["salt"]])), True
    except InvalidTag as error:
        raise WrongPassphrase(f"the passphrase does not open {path}") from error


def _content(path: Path, data: bytes) -> dict[str, bytes]:
    damaged = VaultCorrupt(f"{path} is damaged: restore it from its own backup; without it no key of this member can be made again")
    try:
        said = decode(data)
    except Malformed as error:
        raise damaged from error
    if not isinstance(said, dict):
        raise damaged
    rest = {str(name): value for name, value in said.items() if name != "sum"}
    if said.get("sum") != sha256(encode(rest)) or rest.pop("v", None) != VERSION:  # keys may be int or str
        raise damaged
    parts = {name: value for name, value in rest.items() if isinstance(value, bytes)}
    is_plain = list(parts) == ["seed"] and len(parts["seed"]) == SEED_SIZE
    if not is_plain and sorted(parts) != ["box", "nonce", "salt"]:
        raise damaged
    return parts


def _box_key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())
