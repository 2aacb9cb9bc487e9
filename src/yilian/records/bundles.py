"""Batch and transaction: entries in the order of the specification, references rewritten as splices, all or nothing for a transaction.

Source   https://hl7.org/fhir/R4/http.html#transaction and #trules
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from yilian.records import definitions, validate
from yilian.records.core import Core, Writing
from yilian.records.faults import BadQuery, Invalid, Issue, NotAllowed, NotFound, PreconditionFailed, RecordFault
from yilian.records.history import version_of
from yilian.records.jsontext import Document, Splice, read_bundle
from yilian.records.primitives import is_id
from yilian.records.query import parse_query
from yilian.records.references import CONDITIONAL
from yilian.records.scope import EVERYTHING
from yilian.records.searching import search
from yilian.records.store import BundleOutcome, EntryOutcome, Page, Stored
from yilian.records.writing import erase_head, head_of, require_live, require_match, write

ENTRIES_MAX: Final = 50_000
_VALUE: Final = r'\s*:\s*("(?:[^"\\]|\\.)*")'
LINKS: Final = (
    # A long literal in front lets the engine skip; the lookbehind keeps out text inside a string, where the quote has a backslash.
    re.compile(r'"(reference)"(?<!\\"reference")' + _VALUE),
    re.compile(r'"(url)"(?<!\\"url")' + _VALUE),
    re.compile(r'"value(?<!\\"value)(Uri|Url|Uuid|Oid)"' + _VALUE),
)
_PLACEHOLDER: Final = ("urn:uuid:", "urn:oid:")
_ORDER: Final = {"DELETE": 0, "POST": 1, "PUT": 2, "GET": 3, "HEAD": 3}


@dataclass(slots=True)
class Entry:
    """One entry, with what has been decided about it."""

    number: int
    method: str
    type: str
    id: str
    query: str
    full_url: str
    if_match: str | None
    if_none_exist: str | None
    document: Document | None
    existing: Stored | None = None


def read_entries(data: bytes, kinds: frozenset[str]) -> tuple[str, list[Entry]]:
    """Return the bundle's type and its entries, checked as far as one can without the store.

    Refuses  Malformed, TooLarge, Invalid, NotAllowed
    """
    bundle = read_bundle(data)
    kind = bundle.tree.get("type")
    if bundle.tree.get("resourceType") != "Bundle" or not isinstance(kind, str) or kind not in kinds:
        raise Invalid("A Bundle of type batch or transaction is expected.", "Bundle.type")
    if len(bundle.resources) > ENTRIES_MAX:
        raise Invalid(f"A bundle has at most {ENTRIES_MAX} entries.", "Bundle.entry")
    entries = [_entry(n, one, bundle.resources[n]) for n, one in enumerate(bundle.tree.get("entry", []))]
    urls = [e.full_url for e in entries if e.full_url]
    if len(set(urls)) != len(urls):
        raise Invalid("bdl-7: two entries have the same fullUrl.", "Bundle.entry.fullUrl")
    return kind, entries


def _entry(number: int, one: dict[str, object], document: Document | None) -> Entry:
    at = f"Bundle.entry[{number}]"
    request = one.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("url"), str) or not isinstance(request.get("method"), str):
        raise Invalid("bdl-3: an entry needs a request with a method and a url.", f"{at}.request")
    if request["method"] not in _ORDER:
        raise NotAllowed("This method is not offered in a bundle.", f"{at}.request.method")
    path, _mark, query = request["url"].partition("?")
    kind, _slash, resource_id = path.strip("/").partition("/")
    if kind not in definitions.types() or (resource_id and not is_id(resource_id) and request["method"] != "GET"):
        raise Invalid("An entry's url names no type, or an id that is none.", f"{at}.request.url")
    if (document is None) == (request["method"] in {"POST", "PUT"}):
        raise Invalid("POST and PUT carry a resource, the others none.", f"{at}.resource")
    for name in ("ifMatch", "ifNoneExist"):
        if not isinstance(request.get(name, ""), str):
            raise Invalid("A condition is a string.", f"{at}.request.{name}")
    full_url = one.get("fullUrl", "")
    if not isinstance(full_url, str):
        raise Invalid("fullUrl is a string.", f"{at}.fullUrl")
    return Entry(
        number, request["method"], kind, resource_id, query, full_url, request.get("ifMatch"), request.get("ifNoneExist"), document
    )


def process(core: Core, data: bytes) -> BundleOutcome:
    """Carry out a batch or a transaction."""
    kind, entries = read_entries(data, frozenset({"batch", "transaction"}))
    if kind == "batch":
        return BundleOutcome("batch-response", tuple(_alone(core, e) for e in entries))
    _check_all(entries)
    with core.writing() as writing:
        done = transact(core, writing, entries)
    return BundleOutcome("transaction-response", tuple(done[e.number] for e in entries))


def _check_all(entries: Iterable[Entry]) -> None:
    issues = [
        Issue(i.severity, i.code, f"Bundle.entry[{e.number}].resource" + (f": {i.expression}" if i.expression else ""), i.diagnostics)
        for e in entries
        if e.document is not None
        for i in validate.issues_of(e.document, e.type)
    ]
    if issues:
        raise Invalid("", issues=tuple(issues[: validate.ISSUES_MAX]))


def _alone(core: Core, entry: Entry) -> EntryOutcome:
    """Carry out one entry of a batch; its refusal is its own."""
    try:
        _check_all([entry])
        with core.writing() as writing:
            return transact(core, writing, [entry])[entry.number]
    except RecordFault as fault:
        return EntryOutcome(fault.status, issues=fault.issues)


def transact(core: Core, writing: Writing, entries: list[Entry]) -> dict[int, EntryOutcome]:
    """Carry out checked entries inside one write transaction; return outcomes by entry number."""
    for entry in entries:
        _decide(core, writing, entry)
    touched = [(e.type, e.id) for e in entries if e.method in {"PUT", "DELETE"} or (e.method == "POST" and e.existing is None)]
    if len(set(touched)) != len(touched):
        raise Invalid("Two entries of a transaction change the same resource.", "Bundle.entry")
    links = {e.full_url: f"{e.type}/{e.id}" for e in entries if e.full_url and e.document is not None}
    resolve = Resolver(core, writing, links)
    rewritten = {e.number: resolve.splices(e.document, f"Bundle.entry[{e.number}].resource") for e in entries if e.document is not None}
    done = {}
    for entry in sorted(entries, key=lambda e: _ORDER[e.method]):
        done[entry.number] = _carry_out(core, writing, entry, rewritten.get(entry.number, []))
    return done


def _decide(core: Core, writing: Writing, entry: Entry) -> None:
    """Settle which resource an entry is about."""
    if entry.method == "POST":
        if entry.id or entry.query:
            raise Invalid("POST goes to a type.", f"Bundle.entry[{entry.number}].request.url")
        entry.id = core.setting.new_id()
        if entry.if_none_exist:
            entry.existing = only_match(core, writing, entry.type, entry.if_none_exist)
            entry.id = entry.existing.id if entry.existing else entry.id
    elif entry.method in {"PUT", "DELETE"} and not entry.id:
        found = only_match(core, writing, entry.type, entry.query)
        given = entry.document.tree.get("id") if entry.document else None
        if found is None and entry.method == "DELETE":
            raise NotFound("Nothing matches the condition.", f"Bundle.entry[{entry.number}]")
        entry.id = found.id if found else given if isinstance(given, str) else core.setting.new_id()


def only_match(core: Core, writing: Writing, resource_type: str, query: str) -> Stored | None:
    """Return the one resource that meets a condition; None if none does.

    Refuses  PreconditionFailed: several; BadQuery: an empty condition or one that is not understood
    """
    parsed = parse_query(resource_type, query.partition("?")[2] if query.startswith(f"{resource_type}?") else query)
    if not parsed.conditions:
        raise BadQuery("A condition needs at least one search parameter.", resource_type)
    page = search(core, writing.db, parsed, None)
    if len(page.matches) > 1:
        raise PreconditionFailed("A condition that must match one resource matches several.", resource_type)
    return page.matches[0] if page.matches else None


def _carry_out(core: Core, writing: Writing, entry: Entry, references: list[Splice]) -> EntryOutcome:
    if entry.method == "DELETE":
        return EntryOutcome(204, erase_head(core, writing, entry.type, entry.id, entry.if_match))
    if entry.method in {"GET", "HEAD"}:
        return _get(core, writing, entry)
    if entry.existing is not None:
        return EntryOutcome(200, entry.existing)
    assert entry.document is not None
    if entry.method == "PUT":
        require_match(head_of(core, writing, entry.type, entry.id), entry.if_match)
    stored = write(core, writing, entry.document, entry.id, entry.method, references)
    return EntryOutcome(201 if stored.version_id == 1 else 200, stored)


def _get(core: Core, writing: Writing, entry: Entry) -> EntryOutcome:
    if not entry.id:
        return EntryOutcome(200, page=search(core, writing.db, parse_query(entry.type, entry.query), None))
    resource_id, _slash, version = entry.id.partition("/_history/")
    if version:
        return EntryOutcome(200, version_of(core, writing.db, entry.type, resource_id, version, EVERYTHING))
    return EntryOutcome(200, require_live(head_of(core, writing, entry.type, resource_id), entry.type).stored)


class Resolver:
    """Finds what the links of a bundle's resources point to."""

    def __init__(
        self, core: Core, writing: Writing, links: dict[str, str], elsewhere: Callable[[str], str | None] = lambda _text: None
    ) -> None:
        self.core, self.writing, self.links, self.elsewhere = core, writing, links, elsewhere
        self._conditions: dict[str, str] = {}

    def splices(self, document: Document, at: str) -> list[Splice]:
        """Return the splices that rewrite the links of a resource, in characters.

        Refuses  Invalid: a link to an entry that is not there; PreconditionFailed: a condition that matches none or several
        """
        out = []
        for match in (m for pattern in (LINKS if self.links else LINKS[:1]) for m in pattern.finditer(document.text)):
            text = match[2][1:-1] if "\\" not in match[2] else json.loads(match[2])
            target = self._target(match[1], text, at)
            if target is not None and target != text:
                out.append(Splice(match.start(2), match.end(2), f'"{target}"'))
        return out

    def _target(self, key: str, text: str, at: str) -> str | None:
        found = self.links.get(text)
        if found is not None or key != "reference":
            return found
        if text.startswith(_PLACEHOLDER):
            found = self.elsewhere(text)
            if found is None:
                raise Invalid("", issues=(Issue("error", "not-found", at, "A reference to an entry that the bundle does not hold."),))
            return found
        condition = CONDITIONAL.fullmatch(text)
        if condition and condition["type"] in definitions.types():
            return self._conditional(condition["type"], condition["query"], text, at)
        return None

    def _conditional(self, resource_type: str, query: str, text: str, at: str) -> str:
        if text not in self._conditions:
            found = only_match(self.core, self.writing, resource_type, query)
            if found is None:
                raise PreconditionFailed("A conditional reference matches nothing.", at)
            self._conditions[text] = f"{resource_type}/{found.id}"
        return self._conditions[text]


def response_bundle(outcome: BundleOutcome, base_url: str) -> bytes:
    """Return the answer to a batch or transaction as JSON bytes."""
    entries = []
    for one in outcome.entries:
        response: dict[str, object] = {"status": str(one.status)}
        if one.issues:
            response["outcome"] = {
                "resourceType": "OperationOutcome",
                "issue": [
                    {"severity": i.severity, "code": i.code, "diagnostics": i.diagnostics, "expression": [i.expression]}
                    if i.expression
                    else {"severity": i.severity, "code": i.code, "diagnostics": i.diagnostics}
                    for i in one.issues
                ],
            }
        if one.stored is not None:
            response |= {"location": f"{base_url}/{one.stored.location}", "etag": one.stored.etag, "lastModified": one.stored.last_updated}
        body = b"" if one.page is None else b',"resource":' + searchset(one.page, base_url)
        entries.append(b'{"response":' + orjson.dumps(response) + body + b"}")
    return b'{"resourceType":"Bundle","type":"' + outcome.type.encode() + b'","entry":[' + b",".join(entries) + b"]}"


def searchset(page: Page, base_url: str, next_url: str | None = None) -> bytes:
    """Return a page of a search as a Bundle; each resource stands in it as it is served alone."""
    links = [{"relation": "self", "url": page.query.self_link(base_url)}] + ([{"relation": "next", "url": next_url}] if next_url else [])
    head = {"resourceType": "Bundle", "type": "searchset"} | ({"total": page.total} if page.total is not None else {}) | {"link": links}
    entries = [_found(s, base_url, mode) for mode, found in (("match", page.matches), ("include", page.includes)) for s in found]
    packed = orjson.dumps(head)
    return packed[:-1] + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")


def _found(stored: Stored, base_url: str, mode: str) -> bytes:
    full_url = orjson.dumps(f"{base_url}/{stored.type}/{stored.id}")
    return b'{"fullUrl":' + full_url + b',"resource":' + stored.body + b',"search":{"mode":"' + mode.encode() + b'"}}'
