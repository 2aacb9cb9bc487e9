"""One member's keys: those that follow from its seed, and those that were drawn and can be destroyed.

From the seed   node key, receipt key, sealing seed (no network id: they stand in the genesis whose digest it is), vault key; grant keys,
                each from a random 16-byte id, so that there is no counter to lose (design 03 "consent").
Drawn           data keys per patient, k per record version, k per Consent, K per chart: 32 random bytes each, in `vault.db`.
Source          design 01 "vault", design 03 "consent" and "anchor", design 04 "RecordStore"; ADR-0061.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yilian.base import labels
from yilian.base.codec import encode
from yilian.base.digests import DIGEST_SIZE, derive
from yilian.base.keys import SEED_SIZE, SigningKey
from yilian.base.seal import member_public
from yilian.vault import seedfile
from yilian.vault.faults import NotSealedHere, VaultExists
from yilian.vault.shelf import NONCE_BYTES, Kind, Shelf

SEED_FILE: Final = "member.seed"
KEYS_FILE: Final = "vault.db"
GRANT_KEY_ID_BYTES: Final = 16  # design 03
CIPHERS_MAX: Final = 10_000  # key schedules in memory
GRANT_KEYS_MAX: Final = 50_000  # derived pairs in memory, about 25 MB; older ones are derived again
_MEMBER_ITSELF: Final = b""  # the name under which keys stand that are no patient's
_NO_NETWORK: Final = b""

Entropy = Callable[[int], bytes]


class Vault:
    """An open key store. `Vault.create` makes one, `Vault.open` opens one; `close` when done."""

    def __init__(self, folder: Path, seed: bytes, entropy: Entropy, *, is_new: bool, is_sealed: bool) -> None:
        """Use `create` or `open`."""
        self._folder = folder
        self._seed = seed
        self._entropy = entropy
        self.is_sealed = is_sealed
        self.node_key = SigningKey(derive(seed, labels.MEMBER_NODE_KEY, _NO_NETWORK))
        self.receipt_key = SigningKey(derive(seed, labels.MEMBER_RECEIPT_KEY, _NO_NETWORK))
        self.sealing_seed = b"".join(derive(seed, labels.MEMBER_SEALING_SEED, _NO_NETWORK, part) for part in range(3))
        self.sealing_key = member_public(self.sealing_seed)
        vault_key = derive(seed, labels.MEMBER_VAULT_KEY, _NO_NETWORK)
        self._shelf = Shelf(folder / KEYS_FILE, self.node_key.public_key, vault_key, entropy, is_new=is_new)
        self._ciphers: dict[bytes, AESGCM] = {}
        self._grant_keys: dict[bytes, SigningKey] = {}

    @classmethod
    def create(
        cls, folder: Path, passphrase: str | None = None, *, seed: bytes | None = None, entropy: Entropy = secrets.token_bytes
    ) -> Self:
        """Make a key store in `folder` with a random seed (or `seed`, 32 bytes, for restoring a member or a seeded region).

        Raises   VaultExists
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / KEYS_FILE).exists():
            raise VaultExists(f"{folder / KEYS_FILE} exists already: keys are never overwritten; choose another folder")
        if seed is not None and len(seed) != SEED_SIZE:
            raise ValueError("a member's seed has exactly 32 bytes")
        chosen = entropy(SEED_SIZE) if seed is None else seed
        seedfile.write(folder / SEED_FILE, chosen, passphrase)
        return cls(folder, chosen, entropy, is_new=True, is_sealed=passphrase is not None)

    @classmethod
    def open(cls, folder: Path, passphrase: str | None = None, *, entropy: Entropy = secrets.token_bytes) -> Self:
        """Open the key store in `folder`.

        Raises   VaultMissing, VaultExposed, WrongPassphrase, VaultCorrupt, VaultInUse
        """
        seed, is_sealed = seedfile.read(folder / SEED_FILE, passphrase)
        return cls(folder, seed, entropy, is_new=False, is_sealed=is_sealed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; another process may open it now."""
        self._shelf.close()

    def seal(self, passphrase: str) -> int:
        """Seal the seed under a passphrase, or under another one, for all who open it from now on. A crash leaves it as it was or so.

        Returns how many other names the old seed file has on this disk: under each of them it still opens as before.

        Raises   VaultCorrupt, OSError (no room, no right), and then it is whole too
        """
        other_names = seedfile.seal(self._folder / SEED_FILE, self._seed, passphrase)
        self.is_sealed = True
        return other_names

    def backup(self, to: Path) -> None:
        """Write a copy of `vault.db` while in use. The seed file is backed up apart: together they are all of the member's keys."""
        self._shelf.backup(to)

    def protection(self) -> str:
        """Return the sentence that an operator should read on start."""
        if self.is_sealed:
            return "the member's seed is sealed under a passphrase"
        return "the member's seed is NOT sealed: whoever can read this user's files is this member; `yilian node seal` seals it"

    # one-time keys

    def new_grant_key(self, network: bytes) -> SigningKey:
        """Return a fresh one-time key for one grant or referral; it can be made again from its id, which is on disk when this returns."""
        key_id = self._entropy(GRANT_KEY_ID_BYTES)
        key = self._derived(network, key_id)
        self._shelf.put(Kind.GRANT, [(key.public_key, key_id)])
        return self._remembered(key)

    def grant_key(self, network: bytes, public_key: bytes) -> SigningKey | None:
        """Return the pair of a one-time key that this member drew, or None."""
        known = self._grant_keys.get(public_key)
        if known is not None:
            return known
        key_id = self._shelf.get(Kind.GRANT, public_key)
        if key_id is None:
            return None
        return self._remembered(self._derived(network, key_id))

    def destroy_grant_keys(self, public_keys: Sequence[bytes]) -> int:
        """Forget one-time keys for good; return how many there were."""
        for public_key in public_keys:
            self._grant_keys.pop(public_key, None)
        return self._shelf.destroy(Kind.GRANT, public_keys)

    def _remembered(self, key: SigningKey) -> SigningKey:
        if len(self._grant_keys) >= GRANT_KEYS_MAX:
            self._grant_keys.pop(next(iter(self._grant_keys)))
        self._grant_keys[key.public_key] = key
        return key

    def _derived(self, network: bytes, key_id: bytes) -> SigningKey:
        return SigningKey(derive(self._seed, labels.MEMBER_GRANT_KEY, network, key_id))

    # drawn keys of a kind

    def draw(self, kind: Kind, name: bytes) -> bytes:
        """Return the 32-byte key of that name, drawn now if there is none yet; on disk when this returns."""
        key = self._shelf.get(kind, name)
        if key is None:
            key = self._entropy(DIGEST_SIZE)
            self._shelf.put(kind, [(name, key)])
        return key

    def put(self, kind: Kind, keys: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (name, key) pairs that came from elsewhere; on disk when this returns."""
        self._shelf.put(kind, keys)

    def get(self, kind: Kind, name: bytes) -> bytes | None:
        """Return the key of that name, or None."""
        return self._shelf.get(kind, name)

    def names(self, kind: Kind) -> list[bytes]:
        """Return the names of the keys of a kind, ascending."""
        return self._shelf.names(kind)

    def destroy(self, kind: Kind, names: Sequence[bytes]) -> int:
        """Forget keys for good and return how many there were."""
        if kind is Kind.DATA:
            for name in names:
                self._ciphers.pop(name, None)
        return self._shelf.destroy(kind, names)

    def cipher_of(self, patient: bytes, *, may_draw: bool) -> AESGCM | None:
        """Return the cipher of a patient's data key, or None if there is no key and none may be drawn."""
        cipher = self._ciphers.get(patient)
        if cipher is None:
            key = self.draw(Kind.DATA, patient) if may_draw else self._shelf.get(Kind.DATA, patient)
            if key is None:
                return None
            if len(self._ciphers) >= CIPHERS_MAX:
                self._ciphers.pop(next(iter(self._ciphers)))
            cipher = self._ciphers[patient] = AESGCM(key)
        return cipher

    def nonce(self) -> bytes:
        """Return the 12 random bytes of one sealing."""
        return self._entropy(NONCE_BYTES)


class BodyCipher:
    """Seals record bodies at rest, per patient: what room `records` calls a Cipher. Sealed bytes are nonce || AES-256-GCM."""

    def __init__(self, vault: Vault) -> None:
        """Use the data keys of `vault`."""
        self._vault = vault

    def encrypt(self, patient_id: str | None, data: bytes, context: bytes) -> bytes:
        """Return `data` sealed under the patient's data key (None: the member's own), bound to patient and `context`."""
        name = _name(patient_id)
        cipher = self._vault.cipher_of(name, may_draw=True)
        assert cipher is not None, "a key was drawn"
        nonce = self._vault.nonce()
        return nonce + cipher.encrypt(nonce, data, encode([name, context]))

    def decrypt(self, patient_id: str | None, sealed: bytes, context: bytes) -> bytes:
        """Return the plain bytes.

        Raises   NotSealedHere, if they were changed or moved, or if the key was destroyed
        """
        name = _name(patient_id)
        cipher = self._vault.cipher_of(name, may_draw=False)
        if cipher is None:
            raise NotSealedHere("the key of this record was destroyed: the record was erased and cannot be read again")
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], encode([name, context]))
        except (InvalidTag, ValueError) as error:
            raise NotSealedHere("the stored bytes of this record were changed or moved, or its key was destroyed") from error

    def destroy(self, patient_id: str) -> bool:
        """Destroy a patient's data key: nothing sealed under it can be read again, in no backup of the records."""
        return self._vault.destroy(Kind.DATA, [_name(patient_id)]) == 1


class VersionKeys:
    """Commitment keys of record versions, and who may say of them that they were erased: what room `records` calls a VersionKeyStore."""

    def __init__(self, vault: Vault, regulator_key: bytes) -> None:
        """Use `vault`; where a patient's wallet named no erase key, the regulator's stands (design 03 "anchor")."""
        self._vault = vault
        self._regulator_key = regulator_key

    def erase_pk(self, patient_id: str | None) -> bytes:
        """Return the 32-byte key whose owner may approve the erasure of this patient's versions."""
        named = None if patient_id is None else self._vault.get(Kind.ERASE, _name(patient_id))
        return self._regulator_key if named is None else named

    def name_erase_pk(self, patient_id: str, erase_pk: bytes) -> None:
        """Keep the erase key that a patient's wallet named; it counts for versions written from now on."""
        self._vault.put(Kind.ERASE, [(_name(patient_id), erase_pk)])

    def put(self, keys: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (version key id, k) pairs; they are on disk when this returns."""
        self._vault.put(Kind.VERSION, keys)

    def get(self, version_key_id: bytes) -> bytes | None:
        """Return k, or None once it was destroyed."""
        return self._vault.get(Kind.VERSION, version_key_id)

    def destroy(self, version_key_ids: Sequence[bytes]) -> int:
        """Destroy commitment keys: what they committed to stays meaningless. Returns how many there were."""
        return self._vault.destroy(Kind.VERSION, version_key_ids)


def _name(patient_id: str | None) -> bytes:
    return _MEMBER_ITSELF if patient_id is None else patient_id.encode()
