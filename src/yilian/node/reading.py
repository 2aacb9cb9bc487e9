"""Step 4 of the gate: a target as FHIR writes it, read through a scope. Whatever is asked, the answer is request and scope, both.

Targets  `/fhir/` and one of: Type/id, Type/id/_history[/v], Type/_history, _history, Type?query, Type/_search (POST),
         Patient/id/$everything, Patient/$export, $export, Observation/$valid-result (ADR-0089),
         Patient/$emergency?identifier=system|value (an emergency only).
Pages    `_cursor` in the query; each page is a request of its own.
Source   https://hl7.org/fhir/R4/http.html; design 04 step 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from yilian.node import bundles, valid_results
from yilian.node.refusals import No, NodeRefused, demand
from yilian.records import EVERYTHING, Gone, NotFound, RecordFault, RecordStore, Scope, Stored, parse_query, searchset

PREFIX: Final = "/fhir/"
FHIR_JSON: Final = "application/fhir+json"
NDJSON: Final = "application/fhir+ndjson"
_SEGMENT: Final = re.compile(r"[A-Za-z0-9.$_-]{1,64}")
HISTORY_COUNT_MAX: Final = 200
EMERGENCY_TARGET: Final = "/fhir/Patient/$emergency"
# Blood group and rhesus: LOINC 882-1, 883-9, 10331-7; of any age, unlike other results
BLOOD_GROUP: Final = "882-1,883-9,10331-7"
EMERGENCY_TYPES: Final = (
    "AllergyIntolerance",
    "Condition",
    "MedicationRequest",
    "MedicationStatement",
    "Device",
    "DeviceUseStatement",
    "Procedure",
)
RESULT_TYPES: Final = ("Observation", "DiagnosticReport")
RESULTS_S: Final = 90 * 86_400  # design 04: 90 days of results
ADVANCE_DIRECTIVE: Final = "http://terminology.hl7.org/CodeSystem/consentscope|adr"


@dataclass(frozen=True, slots=True)
class Answer:
    """What would be sent: an HTTP status, a media type, the bytes; and for the audit, which FHIR interaction on which type."""

    status: int
    media_type: str
    body: bytes
    interaction: str
    type: str


@dataclass(frozen=True, slots=True)
class Target:
    """A target taken apart. `type` is "" for the whole system; `cursor` names a page."""

    interaction: str
    type: str
    id: str
    version: str
    query: str
    cursor: str | None


def parse_target(method: str, target: str, body: bytes) -> Target:
    """Return what a target asks for.

    Refuses  NOT_READABLE: it is no reading, or not one that is offered here
    """
    path, _, query = target.partition("?")
    demand(method in ("GET", "POST") and path.startswith(PREFIX), No.NOT_READABLE)
    parts = path[len(PREFIX) :].split("/")
    demand(all(_SEGMENT.fullmatch(part) for part in parts), No.NOT_READABLE)
    if method == "POST":
        demand(len(parts) == 2 and parts[1] == "_search" and not query, No.NOT_READABLE)  # noqa: PLR2004 - Type/_search
        try:
            query = body.decode()
        except UnicodeDecodeError as error:
            raise NodeRefused(No.NOT_READABLE) from error
        parts = parts[:1]
    else:
        demand(not body, No.NOT_READABLE)
    rest, cursor = _page(query)
    interaction, named = _interaction(parts)
    type_, id_, version = named
    return Target(interaction, type_, id_, version, rest, cursor)


def _page(query: str) -> tuple[str, str | None]:
    """Return the query without its page, and the page."""
    if "_cursor" not in query:
        return query, None
    pairs = parse_qsl(query, keep_blank_values=True)
    cursors = [value for key, value in pairs if key == "_cursor"]
    return urlencode([pair for pair in pairs if pair[0] != "_cursor"]), cursors[0] if cursors else None


def _interaction(parts: list[str]) -> tuple[str, tuple[str, str, str]]:
    found: tuple[str, tuple[str, str, str]] | None = None
    match parts:
        case ["_history"]:
            found = "history-system", ("", "", "")
        case ["$export"] | ["Patient", "$export"]:
            found = "export", ("Patient" if len(parts) > 1 else "", "", "")
        case ["Patient", "$emergency"]:
            found = "emergency", ("Patient", "", "")
        case ["Observation", "$valid-result"]:
            found = "valid-result", ("Observation", "", "")
        case [type_, "_history"]:
            found = "history-type", (type_, "", "")
        case ["Patient", id_, "$everything"]:
            found = "everything", ("Patient", id_, "")
        case [type_] if not type_.startswith(("$", "_")):
            found = "search-type", (type_, "", "")
        case [type_, id_] if not id_.startswith(("$", "_")):
            found = "read", (type_, id_, "")
        case [type_, id_, "_history"]:
            found = "history-instance", (type_, id_, "")
        case [type_, id_, "_history", version]:
            found = "vread", (type_, id_, version)
    if found is None:
        raise NodeRefused(No.NOT_READABLE)
    return found


def answer(store: RecordStore, target: Target, scope: Scope, base_url: str) -> Answer:
    """Return what the target asks for, within the scope. What the scope hides is answered like what does not exist.

    Refuses  NOT_READABLE, BadQuery and other faults of the request itself
    """
    try:
        status, media_type, body = _READERS[target.interaction](store, target, scope, base_url)
    except (NotFound, Gone) as fault:  # says something about the record, so it is entered and sent like one
        seen = _hidden(fault, scope)
        status, media_type, body = seen.status, FHIR_JSON, seen.outcome()
    return Answer(status, media_type, body, target.interaction, target.type)


def _hidden(fault: RecordFault, scope: Scope) -> RecordFault:
    """Return the fault as it may be seen: under a scope, that something was deleted is not told apart from that it never was."""
    return NotFound("There is no such resource.") if isinstance(fault, Gone) and scope.patient_id is not None else fault


def _read(store: RecordStore, target: Target, scope: Scope, _base_url: str) -> tuple[int, str, bytes]:
    return 200, FHIR_JSON, store.read(target.type, target.id, scope).body


def _vread(store: RecordStore, target: Target, scope: Scope, _base_url: str) -> tuple[int, str, bytes]:
    return 200, FHIR_JSON, store.vread(target.type, target.id, target.version, scope).body


def _search(store: RecordStore, target: Target, scope: Scope, base_url: str) -> tuple[int, str, bytes]:
    page = store.search(parse_query(target.type, target.query), scope, target.cursor)
    return 200, FHIR_JSON, searchset(page, base_url, _next(page.query.self_link(base_url), page.next_cursor))


def _next(self_url: str, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    return f"{self_url}{'&' if '?' in self_url else '?'}{urlencode({'_cursor': cursor})}"


def _history(store: RecordStore, target: Target, scope: Scope, base_url: str) -> tuple[int, str, bytes]:
    wanted = dict(parse_qsl(target.query, keep_blank_values=True))
    unknown = set(wanted) - {"_count", "_format"}
    demand(not unknown and re.fullmatch(r"\d{1,4}", wanted.get("_count", "50")) is not None, No.NOT_READABLE)
    count = min(max(1, int(wanted.get("_count", "50"))), HISTORY_COUNT_MAX)
    page = store.history(target.type or None, target.id or None, count=count, cursor=target.cursor, scope=scope)
    if target.id and not page.versions and target.cursor is None:
        raise NotFound("There is no such resource.")
    path = "/".join(part for part in (target.type, target.id, "_history") if part)
    self_url = f"{base_url}/{path}?{urlencode({'_count': count})}"
    return 200, FHIR_JSON, bundles.history(page, base_url, self_url, _next(self_url, page.next_cursor))


def _valid_result(store: RecordStore, target: Target, scope: Scope, base_url: str) -> tuple[int, str, bytes]:  # noqa: ARG001 - one shape
    return 200, FHIR_JSON, valid_results.valid_result(store, target.query, scope)


def _everything(store: RecordStore, target: Target, scope: Scope, base_url: str) -> tuple[int, str, bytes]:
    demand(not target.query, No.NOT_READABLE)
    if scope.patient_id not in (None, target.id):
        raise NotFound("There is no such resource.")
    entries = [bundles.found(one, base_url) for one in store.everything(target.id, scope)]
    return 200, FHIR_JSON, bundles.bundle("searchset", entries, total=len(entries), self_url=f"{base_url}/Patient/{target.id}/$everything")


def _export(store: RecordStore, target: Target, scope: Scope, _base_url: str) -> tuple[int, str, bytes]:
    demand(not target.query, No.NOT_READABLE)
    return 200, NDJSON, b"".join(line + b"\n" for _, line in store.export(scope))


def _emergency(store: RecordStore, _target: Target, scope: Scope, base_url: str) -> tuple[int, str, bytes]:
    """Return the emergency set: allergies, problems, medicines, implants, directives, blood group, and results of the scope's period."""
    anytime = replace(scope, from_s=None)
    bare = replace(scope, types=None, from_s=None)
    assert scope.patient_id is not None, "an emergency is one patient's"
    found = [store.read("Patient", scope.patient_id, bare)]
    for type_ in EMERGENCY_TYPES:
        found += _all(store, type_, "", anytime)
    found += _all(store, "Observation", urlencode({"code": BLOOD_GROUP}), anytime)
    found += _all(store, "Consent", urlencode({"scope": ADVANCE_DIRECTIVE}), anytime)
    for type_ in RESULT_TYPES:
        found += _all(store, type_, "", scope)
    once = {(one.type, one.id): one for one in found}
    return 200, FHIR_JSON, bundles.bundle("collection", [bundles.member_of(one, base_url) for one in once.values()])


def _all(store: RecordStore, type_: str, query: str, scope: Scope) -> Iterator[Stored]:
    asked = parse_query(type_, f"{query}&_count=500" if query else "_count=500")
    cursor: str | None = None
    while True:
        page = store.search(asked, scope, cursor)
        yield from page.matches
        cursor = page.next_cursor
        if cursor is None:
            return


Reader = Callable[[RecordStore, Target, Scope, str], tuple[int, str, bytes]]
_READERS: Final[dict[str, Reader]] = {
    "read": _read,
    "vread": _vread,
    "search-type": _search,
    "history-instance": _history,
    "history-type": _history,
    "history-system": _history,
    "everything": _everything,
    "export": _export,
    "emergency": _emergency,
    "valid-result": _valid_result,
}


def emergency_handle(target: Target) -> tuple[str, str]:
    """Return (system, value) of the one exact identifier that an emergency names its patient by.

    Refuses  NOT_FOR_EMERGENCIES: anything that could look for patients
    """
    pairs = parse_qsl(target.query, keep_blank_values=True)
    is_exact = target.interaction == "emergency" and len(pairs) == 1 and pairs[0][0] == "identifier" and target.cursor is None
    demand(is_exact and pairs[0][1].count("|") == 1 and "," not in pairs[0][1], No.NOT_FOR_EMERGENCIES)
    system, _, value = pairs[0][1].partition("|")
    demand(bool(system and value) and "\\" not in value, No.NOT_FOR_EMERGENCIES)
    return system, value


__all__ = ["EVERYTHING", "FHIR_JSON", "NDJSON", "RESULTS_S", "Answer", "Target", "answer", "emergency_handle", "parse_target"]
