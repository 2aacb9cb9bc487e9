"""Where wallets lie: one encrypted file each, under one home key that a passphrase seals. Only the process entry comes here.

Files    `home.key`: CBOR {"v", "network", "salt", "nonce", "box"} or, without a passphrase, {"v", "network", "key"}, mode 0600, with "sum".
         `NAME.wallet`: nonce || AES-256-GCM of `CBOR([seed, state])`, network and name as associated data. Written beside, synced, renamed:
         a crash leaves the old or the new, and an answer leaves only after its state is on disk.
         `members.changes`: the changes of members that were followed, in the same way; all of them public, checked again when opened.
Source   scrypt RFC 7914 with N = 2^15, r = 8, p = 3 (OWASP Password Storage, 2024); ADR-0064 (one scrypt per home, not per wallet).
"""

import fcntl
import os
import re
import secrets
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import SEED_SIZE
from yilian.wallet.refusals import No, WalletRefused, must
from yilian.wallet.state import WalletState, parse_state

VERSION: Final = 1
HOME_FILE: Final = "home.key"
CHANGES_FILE: Final = "members.changes"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NONCE_BYTES, _SALT_BYTES, _KEY_BYTES = 12, 16, 32
_N, _R, _P = 1 << 15, 8, 3


class Home:
    """An open home: wallets by name, loaded when first asked for, saved after every act."""

    def __init__(self, folder: Path, network: bytes, key: bytes, lock: int, *, is_sealed: bool) -> None:
        """Use `open`."""
        self._folder = folder
        self._network = network
        self._box = AESGCM(key)
        self._lock = lock
        self._loaded: dict[str, tuple[bytes, WalletState]] = {}
        self.is_sealed = is_sealed

    @classmethod
    def open(cls, folder: Path, network: bytes, passphrase: str | None) -> Self:
        """Open the home in `folder`, or make it.

        Refuses  ANOTHER_NETWORK, WRONG_PASSPHRASE, WALLET_DAMAGED, HOME_IN_USE
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise WalletRefused(No.HOME_IN_USE) from error
        path = folder / HOME_FILE
        if not path.exists():
            _write(path, _new_home(network, passphrase))
        try:
            key, is_sealed = _home_key(path.read_bytes(), network, passphrase)
        except WalletRefused:
            os.close(lock)
            raise
        return cls(folder, network, key, lock, is_sealed=is_sealed)

    def close(self) -> None:
        """Leave; another process may open the home."""
        self._loaded.clear()
        os.close(self._lock)

    def changes(self) -> bytes | None:
        """Return what `keep_changes` kept; None if it never did.

        Refuses  WALLET_DAMAGED
        """
        path = self._folder / CHANGES_FILE
        if not path.exists():
            return None
        sealed = path.read_bytes()
        try:
            return self._box.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._changes_place())
        except (InvalidTag, ValueError) as error:
            raise WalletRefused(No.WALLET_DAMAGED, name=CHANGES_FILE) from error

    def keep_changes(self, changes: bytes) -> None:
        """Keep the changes of members that were followed, for all wallets of this home; on disk when this returns."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        _write(self._folder / CHANGES_FILE, nonce + self._box.encrypt(nonce, changes, self._changes_place()))

    def names(self) -> list[str]:
        """Return the names of all wallets, ascending."""
        return sorted(path.name.removesuffix(".wallet") for path in self._folder.glob("*.wallet"))

    def create(self, name: str, seed: bytes) -> None:
        """Make a wallet.

        Refuses  BAD_REQUEST, WALLET_EXISTS
        """
        must(NAME.fullmatch(name) is not None and len(seed) == SEED_SIZE, No.BAD_REQUEST)
        must(not self._path(name).exists(), No.WALLET_EXISTS, name=name)
        self._save(name, seed, WalletState())

    def load(self, name: str) -> tuple[bytes, WalletState]:
        """Return (seed, state).

        Refuses  NO_SUCH_WALLET, WALLET_DAMAGED
        """
        loaded = self._loaded.get(name)
        if loaded is None:
            must(NAME.fullmatch(name) is not None, No.NO_SUCH_WALLET)
            try:
                sealed = self._path(name).read_bytes()
            except FileNotFoundError as error:
                raise WalletRefused(No.NO_SUCH_WALLET, name=name) from error
            loaded = self._loaded[name] = self._opened(name, sealed)
        return loaded

    def keep(self, name: str, state: WalletState) -> None:
        """Save a wallet's new state; on disk when this returns."""
        seed, before = self.load(name)
        if state != before:
            self._save(name, seed, state)

    def _opened(self, name: str, sealed: bytes) -> tuple[bytes, WalletState]:
        try:
            said: Any = decode(self._box.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._place(name)))
            seed, state = said
            return seed, parse_state(state)
        except (InvalidTag, Malformed, ValueError) as error:
            raise WalletRefused(No.WALLET_DAMAGED, name=name) from error

    def _save(self, name: str, seed: bytes, state: WalletState) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = encode([seed, state.encoded()])
        _write(self._path(name), nonce + self._box.encrypt(nonce, plain, self._place(name)))
        self._loaded[name] = (seed, state)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.wallet"

    def _changes_place(self) -> bytes:
        return encode([VERSION, self._network, CHANGES_FILE, ""])  # longer than a wallet's: no file of one kind passes for the other

    def _place(self, name: str) -> bytes:
        return encode([VERSION, self._network, name])


def _write(path: Path, content: bytes) -> None:
    """Put `content` at `path`: synced before it stands there, and its folder after."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new_home(network: bytes, passphrase: str | None) -> bytes:
    key = secrets.token_bytes(_KEY_BYTES)
    said: dict[str, int | bytes] = {"v": VERSION, "network": network}
    if passphrase is None:
        said["key"] = key
    else:
        salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
        box = AESGCM(_passphrase_key(passphrase, salt)).encrypt(nonce, key, encode([VERSION, network, salt]))
        said |= {"salt": salt, "nonce": nonce, "box": box}
    return encode({**said, "sum": sha256(encode(said))})


def _home_key(data: bytes, network: bytes, passphrase: str | None) -> tuple[bytes, bool]:
    try:
        said: Any = decode(data)
        rest = {name: value for name, value in said.items() if name != "sum"}
        if said.get("sum") != sha256(encode(rest)) or rest.get("v") != VERSION:
            raise WalletRefused(No.WALLET_DAMAGED, name=HOME_FILE)
    except (Malformed, AttributeError) as error:
        raise WalletRefused(No.WALLET_DAMAGED, name=HOME_FILE) from error
    must(rest["network"] == network, No.ANOTHER_NETWORK)
    must(("key" in rest) == (passphrase is None), No.WRONG_PASSPHRASE)
    if passphrase is None:
        return rest["key"], False
    try:
        key = AESGCM(_passphrase_key(passphrase, rest["salt"]))
        return key.decrypt(rest["nonce"], rest["box"], encode([VERSION, network, rest["salt"]])), True
    except InvalidTag as error:
        raise WalletRefused(No.WRONG_PASSPHRASE) from error


def _passphrase_key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, n=_N, r=_R, p=_P).derive(passphrase.encode())
