"""Import: FHIR R4 files of a folder into the store, in bounded memory, again and again without doubles.

A resource keeps its identity: the id of its fullUrl (`urn:uuid:X` or `.../Type/X`), else its own id, else one that follows from its bytes.
Bytes that were stored before under that identity are not stored again; other bytes become its next version, so nothing is lost (ADR-0025).
Reads    *.json, *.json.gz (a bundle of any type, or one resource), *.ndjson, *.ndjson.gz (a resource a line)
"""

import gzip
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from yilian.records import definitions, validate
from yilian.records.bundles import Resolver, only_match
from yilian.records.core import Core, Writing
from yilian.records.faults import Invalid, Issue, Malformed, RecordFault, StoreUnavailable, TooLarge
from yilian.records.jsontext import BUNDLE_BYTES_MAX, Document, read_bundle, read_resource
from yilian.records.primitives import is_id
from yilian.records.sqlite import SqliteStore
from yilian.records.writing import fingerprint, write

LINES_PER_TRANSACTION: Final = 500
ISSUES_PER_FILE_MAX: Final = 20
SUFFIXES: Final = (".json", ".json.gz", ".ndjson", ".ndjson.gz")
_FIRST: Final = ("hospital", "organization", "location", "practitioner", "practitionerrole", "medication", "device", "patient", "encounter")
"""What others refer to goes in first; Synthea's files begin with these words, and so do bulk exports (Type.ndjson)."""
_URL_ID = re.compile(r"(?:https?://\S+/)?[A-Z][A-Za-z]+/([A-Za-z0-9\-.]{1,64})(?:/_history/\S+)?")


@dataclass(frozen=True, slots=True)
class FileIssue:
    """Why a file, or a line of it, was not stored. Never contains a value of the resource."""

    file: str
    line: int
    """1 and up in ndjson; 0 for a whole file."""
    issues: tuple[Issue, ...]


@dataclass(slots=True)
class ImportCounts:
    """found[type] = created + updated + unchanged + refused of that type; `refused` counts what `problems` explains."""

    found: Counter[str] = field(default_factory=Counter)
    created: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    files: int = 0
    problems: list[FileIssue] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Resources that are in the store now because of these files or were before."""
        return sum(self.created.values()) + sum(self.updated.values()) + sum(self.unchanged.values())


@dataclass(frozen=True, slots=True)
class Progress:
    """What the callback is told after each transaction."""

    file: str
    files_done: int
    files_total: int
    resources: int


@dataclass(slots=True)
class Item:
    """One resource to store."""

    document: Document
    type: str
    id: str
    full_url: str
    if_none_exist: str | None
    at: str


def import_folder(store: SqliteStore, path: Path | str, progress: Callable[[Progress], None] = lambda _progress: None) -> ImportCounts:
    """Store every resource of a folder (or of one file).

    Refuses  StoreUnavailable: the disk or the database; everything else is listed in `problems`
    """
    root = Path(path)
    files = files_of(root)
    counts = ImportCounts()
    again = []
    for number, file in enumerate(files):
        name = file.name if root.is_file() else str(file.relative_to(root))
        if not _one_file(store.core, file, name, counts, is_last_try=False):
            again.append((file, name))
        counts.files += 1
        progress(Progress(name, number + 1, len(files), counts.stored))
    for file, name in again:  # what they refer to may have come after them
        _one_file(store.core, file, name, counts, is_last_try=True)
        progress(Progress(name, len(files), len(files), counts.stored))
    return counts


def files_of(root: Path) -> list[Path]:
    """Return the files that an import of `root` reads, in their order: one file whatever its name, or those of a folder."""
    return [root] if root.is_file() else sorted((f for f in root.rglob("*") if f.is_file() and f.name.endswith(SUFFIXES)), key=_rank)


def _rank(file: Path) -> tuple[int, str]:
    stem = re.split(r"[^a-z]", file.name.lower(), maxsplit=1)[0]
    rank = next(
        (
            n
            for n, word in enumerate(_FIRST)
            if stem.startswith(word) and (word != "practitioner" or not stem.startswith("practitionerrole"))
        ),
        len(_FIRST),
    )
    return rank, str(file)


def _one_file(core: Core, file: Path, name: str, counts: ImportCounts, *, is_last_try: bool) -> bool:
    """Store one file; False if it should be tried again after the others."""
    try:
        if ".ndjson" in file.name:
            _lines(core, file, name, counts)
            return True
        return _whole(core, file, name, counts, is_last_try=is_last_try)
    except StoreUnavailable:
        raise
    except (OSError, EOFError, zlib.error) as error:
        issue = Issue("error", "exception", "", f"The file cannot be read: {type(error).__name__}.")
        counts.problems.append(FileIssue(name, 0, (issue,)))
    except RecordFault as fault:
        counts.problems.append(FileIssue(name, 0, fault.issues[:ISSUES_PER_FILE_MAX]))
    return True


def _whole(core: Core, file: Path, name: str, counts: ImportCounts, *, is_last_try: bool) -> bool:
    """Store a bundle or a single resource in one transaction."""
    items = list(_items(core, _bytes(file)))
    found = Counter(i.type for i in items)
    try:
        _store(core, items, counts)
    except StoreUnavailable:
        raise
    except RecordFault as fault:
        if not is_last_try and {i.code for i in fault.issues} & {"not-found", "multiple-matches"}:
            return False
        counts.refused += found
        counts.problems.append(FileIssue(name, 0, fault.issues[:ISSUES_PER_FILE_MAX]))
    counts.found += found
    return True


def _bytes(file: Path) -> bytes:
    """Return a file's bytes, unpacked, without a byte order mark."""
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as stream:
        data = stream.read(BUNDLE_BYTES_MAX + 1)
    if len(data) > BUNDLE_BYTES_MAX:
        raise TooLarge(f"The file is larger than {BUNDLE_BYTES_MAX} bytes: export it as ndjson.")
    return data.removeprefix(b"\xef\xbb\xbf")


def _items(core: Core, data: bytes) -> Iterator[Item]:
    """Yield the resources of a file that holds a bundle or one resource."""
    bundle = read_bundle(data)
    if bundle.tree.get("resourceType") != "Bundle" or bundle.tree.get("type") == "document":
        yield _item(core, read_resource(data), {}, "")
        return
    for number, document in enumerate(bundle.resources):
        at = f"Bundle.entry[{number}]"
        entry: dict[str, Any] = bundle.tree["entry"][number]
        if document is None:
            raise Invalid("", issues=(Issue("error", "not-supported", at, "An entry without a resource cannot be imported."),))
        yield _item(core, document, entry, f"{at}.resource")


def _item(core: Core, document: Document, entry: dict[str, Any], at: str) -> Item:
    kind = document.tree.get("resourceType")
    if not isinstance(kind, str) or kind not in definitions.types():
        raise Invalid("resourceType is missing or not a type that R4 defines.", at)
    full_url, request = entry.get("fullUrl", ""), entry.get("request", {})
    if not isinstance(full_url, str) or not isinstance(request, dict):
        raise Invalid("An entry's fullUrl is a string and its request an object.", at)
    put_url = str(request.get("url", "")) if request.get("method") == "PUT" else ""
    identity = _identity(core, document, (full_url, "" if "?" in put_url else put_url, document.tree.get("id")))
    return Item(document, kind, identity, full_url, request.get("ifNoneExist"), at)


def _identity(core: Core, document: Document, known: tuple[str, str, object]) -> str:
    full_url, put_url, given = known
    if full_url.startswith("urn:uuid:") and is_id(full_url[9:]):
        return full_url[9:]
    for url in (put_url, full_url):
        match = _URL_ID.fullmatch(url)
        if match:
            return match[1]
    return given if isinstance(given, str) and is_id(given) else str(uuid.UUID(bytes=fingerprint(core, document.encoded())))


def _store(core: Core, items: list[Item], counts: ImportCounts) -> None:
    """Store items in one transaction, and count them once it has committed."""
    issues = tuple(
        Issue(i.severity, i.code, one.at + (": " if one.at and i.expression else "") + i.expression, i.diagnostics)
        for one in items
        for i in validate.issues_of(one.document)
    )
    if issues:
        raise Invalid("", issues=issues)
    with core.writing() as writing:
        for one in items:
            if isinstance(one.if_none_exist, str):
                found = only_match(core, writing, one.type, one.if_none_exist)
                one.id = found.id if found else one.id
        resolve = Resolver(
            core, writing, {i.full_url: f"{i.type}/{i.id}" for i in items if i.full_url}, lambda text: _elsewhere(core, writing, text)
        )
        done = [(_one(core, writing, one, resolve), one.type) for one in items]
    for what, kind in done:
        {"created": counts.created, "updated": counts.updated, "unchanged": counts.unchanged}[what][kind] += 1


def _one(core: Core, writing: Writing, item: Item, resolve: Resolver) -> str:
    """Store one resource unless the same bytes are there; return what was done."""
    row = writing.db.execute("SELECT id FROM resource WHERE handle=?", (core.handle(item.type, item.id),)).fetchone()
    if row is not None:
        digest = fingerprint(core, item.document.encoded())
        if writing.db.execute("SELECT 1 FROM version WHERE resource=? AND digest=?", (row[0], digest)).fetchone():
            return "unchanged"
        if isinstance(item.if_none_exist, str):
            return "unchanged"  # the condition says: whoever meets it stays as it is
    write(core, writing, item.document, item.id, "POST" if row is None else "PUT", resolve.splices(item.document, item.at))
    return "created" if row is None else "updated"


def _elsewhere(core: Core, writing: Writing, text: str) -> str | None:
    """Return `Type/id` for a `urn:uuid:` that an earlier file brought."""
    resource_id = text.rpartition(":")[2]
    for kind in sorted(definitions.types()):
        if writing.db.execute("SELECT 1 FROM resource WHERE handle=?", (core.handle(kind, resource_id),)).fetchone():
            return f"{kind}/{resource_id}"
    return None


def _lines(core: Core, file: Path, name: str, counts: ImportCounts) -> None:
    """Store the lines of an ndjson file, some hundred in a transaction; a line that is refused does not stop the others."""
    waiting: list[tuple[int, Item]] = []
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                waiting.append((number, _item(core, read_resource(line.strip().removeprefix(b"\xef\xbb\xbf")), {}, "")))
            except (Malformed, Invalid) as fault:
                counts.refused["?"] += 1
                counts.found["?"] += 1
                counts.problems.append(FileIssue(name, number, fault.issues))
            if len(waiting) >= LINES_PER_TRANSACTION:
                _some_lines(core, name, waiting, counts)
                waiting.clear()
    _some_lines(core, name, waiting, counts)


def _some_lines(core: Core, name: str, waiting: list[tuple[int, Item]], counts: ImportCounts) -> None:
    """Store lines together; if one is refused, store them one by one, so that only that one is left out."""
    try:
        _store(core, [i for _n, i in waiting], counts)
        counts.found += Counter(i.type for _n, i in waiting)
        return
    except StoreUnavailable:
        raise
    except RecordFault:
        pass
    for number, item in waiting:
        counts.found[item.type] += 1
        try:
            _store(core, [item], counts)
        except StoreUnavailable:
            raise
        except RecordFault as fault:
            counts.refused[item.type] += 1
            counts.problems.append(FileIssue(name, number, fault.issues[:ISSUES_PER_FILE_MAX]))
