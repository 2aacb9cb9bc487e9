"""A practitioner's keys in one file under one passphrase.

File     deterministic CBOR {"v": 1, "salt": 16 bytes, "nonce": 12 bytes, "public": {name: key}, "box": bytes}; mode 0600.
         box = AES-256-GCM over CBOR {name: seed}, with everything else in the file as associated data: nothing in it can be exchanged.
Source   scrypt RFC 7914 with N = 2^15, r = 8, p = 3 (OWASP Password Storage, 2024: equal to N = 2^17, p = 1 at a quarter of the memory).
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from yilian.base.codec import Malformed, decode, encode
from yilian.base.keys import PUBLIC_KEY_SIZE, SEED_SIZE, SigningKey
from yilian.signer.protocol import No, SignerRefused

VERSION: Final = 1
_SALT_BYTES, _NONCE_BYTES = 16, 12
_N, _R, _P = 1 << 15, 8, 3
FILE_BYTES_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file as read, still closed."""

    salt: bytes
    nonce: bytes
    public: dict[str, bytes]
    box: bytes


def _box_key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())


def _associated(salt: bytes, nonce: bytes, public: dict[str, bytes]) -> bytes:
    return encode([VERSION, salt, nonce, public])


def create(path: Path, passphrase: str, seeds: dict[str, bytes]) -> dict[str, bytes]:
    """Write a new key file and return the public keys by name. `seeds`: name -> 32 random bytes. FileExistsError if the path is taken.

    Written beside its place, synced and linked into it, so that a crash leaves either no file or the whole one.
    """
    public = {name: SigningKey(seed).public_key for name, seed in seeds.items()}
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    box = AESGCM(_box_key(passphrase, salt)).encrypt(nonce, encode(seeds), _associated(salt, nonce, public))
    content = encode({"v": VERSION, "salt": salt, "nonce": nonce, "public": public, "box": box})
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.link(fresh, path)  # unlike rename, never replaces a file of keys
    finally:
        fresh.unlink(missing_ok=True)
    return public


def read(path: Path) -> KeyFile:
    """Return the file, closed. FileNotFoundError if there is none.

    Refuses  KEY_FILE_DAMAGED
    """
    with path.open("rb") as source:
        content = source.read(FILE_BYTES_MAX + 1)
    try:
        parts: Any = decode(content)
    except Malformed as error:
        raise SignerRefused(No.KEY_FILE_DAMAGED) from error
    if not isinstance(parts, dict) or parts.get("v") != VERSION or len(content) > FILE_BYTES_MAX:
        raise SignerRefused(No.KEY_FILE_DAMAGED)
    salt, nonce, public, box = (parts.get(name) for name in ("salt", "nonce", "public", "box"))
    if not (isinstance(salt, bytes) and isinstance(nonce, bytes) and isinstance(box, bytes) and isinstance(public, dict)):
        raise SignerRefused(No.KEY_FILE_DAMAGED)
    known = {name: key for name, key in public.items() if isinstance(name, str) and isinstance(key, bytes)}
    if not known or len(known) != len(public) or len(salt) != _SALT_BYTES or len(nonce) != _NONCE_BYTES:
        raise SignerRefused(No.KEY_FILE_DAMAGED)
    if any(len(key) != PUBLIC_KEY_SIZE for key in known.values()):
        raise SignerRefused(No.KEY_FILE_DAMAGED)
    return KeyFile(salt, nonce, known, box)


def opened(closed: KeyFile, passphrase: str) -> dict[str, SigningKey]:
    """Return the keys by name. Takes a tenth of a second or more and 32 MB, by design.

    Refuses  WRONG_PASSPHRASE (also when a byte of the file was changed: the two cannot be told apart)
    """
    try:
        plain = AESGCM(_box_key(passphrase, closed.salt)).decrypt(
            closed.nonce, closed.box, _associated(closed.salt, closed.nonce, closed.public)
        )
    except InvalidTag as error:
        raise SignerRefused(No.WRONG_PASSPHRASE) from error
    seeds = decode(plain)
    assert isinstance(seeds, dict), "the box was written by `create`"
    return {str(name): SigningKey(seed) for name, seed in seeds.items() if isinstance(seed, bytes) and len(seed) == SEED_SIZE}
