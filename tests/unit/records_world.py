"""A small store for tests: a key store in memory, a clock and ids that are given, resources that are written by hand."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yilian.records import Scope, SqliteStore, Stored, parse_query

NETWORK = b"n" * 32
BASE = "https://clinic.example/fhir"
START_MS = 1_700_000_000_000


class KeysInMemory:
    """A `VersionKeyStore` that a test can look into."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    def erase_pk(self, patient_id: str | None) -> bytes:
        return (patient_id or "nobody").encode().ljust(32, b".")[:32]

    def put(self, keys: Sequence[tuple[bytes, bytes]]) -> None:
        self.kept.update(keys)

    def get(self, version_key_id: bytes) -> bytes | None:
        return self.kept.get(version_key_id)


class AesGcmPerPatient:
    """A `Cipher` with one AES-256-GCM key per patient, as the vault has it, without wrapping."""

    def __init__(self) -> None:
        self.keys: dict[str | None, bytes] = {}
        self._nonces = count(1)

    def encrypt(self, patient_id: str | None, data: bytes, context: bytes) -> bytes:
        key = self.keys.setdefault(patient_id, AESGCM.generate_key(256))
        nonce = next(self._nonces).to_bytes(12)
        return nonce + AESGCM(key).encrypt(nonce, data, context)

    def decrypt(self, patient_id: str | None, sealed: bytes, context: bytes) -> bytes:
        return AESGCM(self.keys[patient_id]).decrypt(sealed[:12], sealed[12:], context)


def store_at(folder: Path, **given: Any) -> SqliteStore:
    """Open a store whose clock goes one second at a time and whose ids are n1, n2, ..."""
    ticks, ids = count(START_MS, 1000), count(1)
    clock: Callable[[], int] = lambda: next(ticks)  # noqa: E731 - one line says it
    settings = {"keys": KeysInMemory(), "network_id": NETWORK, "base_url": BASE, "now_ms": clock, "new_id": lambda: f"n{next(ids)}"} | given
    return SqliteStore(folder / "records.sqlite", **settings)


def as_bytes(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode()


def put(store: SqliteStore, tree: dict[str, Any]) -> Stored:
    """Store a resource under its own id."""
    return store.update(tree["resourceType"], tree["id"], as_bytes(tree))


def found(store: SqliteStore, kind: str, query: str, scope: Scope | None = None) -> list[str]:
    """Return the ids of the matches of a search, all pages."""
    ids: list[str] = []
    cursor = None
    while True:
        page = store.search(parse_query(kind, query), scope or Scope(), cursor)
        ids += [m.id for m in page.matches]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def patient(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": number} | more


def observation(number: str, subject: str, code: str = "8480-6", **more: Any) -> dict[str, Any]:
    """A systolic blood pressure of a patient, unless told otherwise."""
    return {
        "resourceType": "Observation",
        "id": number,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{subject}"},
    } | more


def quantity(value: float, unit: str = "mm[Hg]") -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
