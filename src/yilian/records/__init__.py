"""Records: one member's FHIR R4 store. Private: what is in here is health data.

The door. `SqliteStore` is the embedded back end of the `RecordStore` protocol; a `Scope` narrows whatever it answers.
"""

from yilian.records.anchors import is_proven
from yilian.records.bundles import response_bundle, searchset
from yilian.records.definitions import patient_types
from yilian.records.definitions import types as resource_types
from yilian.records.faults import (
    BadMedia,
    BadQuery,
    Conflict,
    Gone,
    Invalid,
    Issue,
    Malformed,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    RecordFault,
    StoreUnavailable,
    TooLarge,
    operation_outcome,
)
from yilian.records.importing import FileIssue, ImportCounts, Progress, files_of, import_folder
from yilian.records.indexing import search_parameters
from yilian.records.jsontext import Splice, spliced
from yilian.records.patching import JSON_PATCH
from yilian.records.primitives import DAY_MS, extent_ms, instant
from yilian.records.query import Query, parse_query
from yilian.records.scope import EVERYTHING, Scope
from yilian.records.sqlite import SqliteStore
from yilian.records.store import (
    BundleOutcome,
    Cipher,
    EntryOutcome,
    HistoryPage,
    Page,
    Pending,
    Proof,
    RecordStore,
    Stored,
    VersionKeyStore,
)

__all__ = [
    "DAY_MS",
    "EVERYTHING",
    "JSON_PATCH",
    "BadMedia",
    "BadQuery",
    "BundleOutcome",
    "Cipher",
    "Conflict",
    "EntryOutcome",
    "FileIssue",
    "Gone",
    "HistoryPage",
    "ImportCounts",
    "Invalid",
    "Issue",
    "Malformed",
    "NotAllowed",
    "NotFound",
    "Page",
    "Pending",
    "PreconditionFailed",
    "Progress",
    "Proof",
    "Query",
    "RecordFault",
    "RecordStore",
    "Scope",
    "Splice",
    "SqliteStore",
    "StoreUnavailable",
    "Stored",
    "TooLarge",
    "VersionKeyStore",
    "extent_ms",
    "files_of",
    "import_folder",
    "instant",
    "is_proven",
    "operation_outcome",
    "parse_query",
    "patient_types",
    "resource_types",
    "response_bundle",
    "search_parameters",
    "searchset",
    "spliced",
]
