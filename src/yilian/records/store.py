"""The door that every back end has: what a store of FHIR records can be asked, and what it answers.

`SqliteStore` implements it here; a Postgres store and a proxy to another FHIR server implement the same (ADR-0020). Consent, receipts
and audit stand above it: who narrows what may be seen hands over a `Scope`, and the store applies it to everything it answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from yilian.records.faults import Issue
from yilian.records.jsontext import Splice
from yilian.records.primitives import instant
from yilian.records.query import Query
from yilian.records.scope import EVERYTHING, Scope


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of a resource as it is served."""

    type: str
    id: str
    version_id: int
    updated_ms: int
    method: str
    """POST, PUT, PATCH or DELETE: what made this version."""
    body: bytes
    """The received bytes with id, meta and rewritten references spliced in; empty for a deletion."""
    number: int
    """The store's own number of this version, rising with every write."""

    @property
    def is_deleted(self) -> bool:
        return self.method == "DELETE"

    @property
    def etag(self) -> str:
        return f'W/"{self.version_id}"'

    @property
    def last_updated(self) -> str:
        return instant(self.updated_ms)

    @property
    def location(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version_id}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: `total` is None unless it was asked for; `next_cursor` is None on the last page."""

    query: Query
    matches: tuple[Stored, ...]
    includes: tuple[Stored, ...]
    total: int | None
    next_cursor: str | None
    dropped: tuple[str, ...] = ()
    """Parameters that lenient handling left out."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions, newest first."""

    versions: tuple[Stored, ...]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What became of one entry of a batch or transaction."""

    status: int
    stored: Stored | None = None
    issues: tuple[Issue, ...] = ()
    page: Page | None = None


@dataclass(frozen=True, slots=True)
class BundleOutcome:
    """The answers to a bundle's entries, in its order; `type` is transaction-response or batch-response."""

    type: str
    entries: tuple[EntryOutcome, ...]


class VersionKeyStore(Protocol):
    """Keeps commitment keys apart from the records, outside their backups (design 03, "a key store outside database backups")."""

    def erase_pk(self, patient_id: str | None) -> bytes:
        """Return the 32-byte key whose owner may approve the erasure of this patient's versions; None = no patient's."""

    def put(self, keys: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (version key id, k) pairs; they are durable when this returns."""

    def get(self, version_key_id: bytes) -> bytes | None:
        """Return k, or None once it was destroyed."""


class Cipher(Protocol):
    """Seals bodies at rest, per patient: AES-256-GCM under a data key that the member's key wraps."""

    def encrypt(self, patient_id: str | None, data: bytes, context: bytes) -> bytes:
        """Return `data` sealed under the patient's data key (None: the member's own), bound to `context`."""

    def decrypt(self, patient_id: str | None, sealed: bytes, context: bytes) -> bytes:
        """Return the plain bytes; raises if they were changed, moved or their key was destroyed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The versions that the next tick would cover, in the order of their leaves."""

    records_root: bytes
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a version stood, unaltered, under a tick: until then `is_anchored` is False."""

    stored: Stored
    received: bytes
    splices: tuple[Splice, ...]
    k: bytes | None
    erase_pk: bytes
    commitment: bytes
    is_anchored: bool
    tick_index: int = -1
    records_root: bytes = b""
    position: int = -1
    size: int = 0
    path: tuple[bytes, ...] = field(default=())


class RecordStore(Protocol):
    """FHIR R4 interactions on one member's records. Refusals are `RecordFault`s."""

    def create(self, resource_type: str, body: bytes, *, if_none_exist: str | None = None) -> Stored: ...
    def read(self, resource_type: str, resource_id: str, scope: Scope = EVERYTHING) -> Stored: ...
    def vread(self, resource_type: str, resource_id: str, version_id: str, scope: Scope = EVERYTHING) -> Stored: ...
    def update(self, resource_type: str, resource_id: str, body: bytes, *, if_match: str | None = None) -> Stored: ...
    def patch(self, resource_type: str, resource_id: str, patch: bytes, *, if_match: str | None = None) -> Stored: ...
    def delete(self, resource_type: str, resource_id: str, *, if_match: str | None = None) -> Stored | None: ...
    def history(
        self,
        resource_type: str | None = None,
        resource_id: str | None = None,
        *,
        since_s: int | None = None,
        count: int = 50,
        cursor: str | None = None,
        scope: Scope = EVERYTHING,
    ) -> HistoryPage: ...
    def search(self, query: Query, scope: Scope = EVERYTHING, cursor: str | None = None) -> Page: ...
    def process(self, bundle: bytes) -> BundleOutcome: ...
    def everything(self, patient_id: str, scope: Scope = EVERYTHING) -> Iterator[Stored]: ...
    def export(self, scope: Scope = EVERYTHING) -> Iterator[tuple[str, bytes]]: ...
    def validate(self, resource_type: str, body: bytes) -> tuple[Issue, ...]: ...
    def pending_for_anchor(self, limit: int | None = None) -> Pending: ...
    def anchored(self, tick_index: int, pending: Pending) -> None: ...
    def proof(self, resource_type: str, resource_id: str, version_id: str) -> Proof: ...
    def close(self) -> None: ...
