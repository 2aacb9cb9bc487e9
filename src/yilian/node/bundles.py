"""Bundles that are not a search's: history, `$everything`, the emergency set. Each resource stands in them as it is served alone.

Source   https://hl7.org/fhir/R4/http.html#history, https://hl7.org/fhir/R4/bundle.html
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from yilian.records import HistoryPage, Stored


def bundle(kind: str, entries: Iterable[bytes], *, total: int | None = None, self_url: str = "", next_url: str | None = None) -> bytes:
    """Return a Bundle of ready entries."""
    links = [{"relation": "self", "url": self_url}] if self_url else []
    links += [{"relation": "next", "url": next_url}] if next_url else []
    head = {"resourceType": "Bundle", "type": kind} | ({"total": total} if total is not None else {}) | ({"link": links} if links else {})
    packed = b",".join(entries)
    return orjson.dumps(head)[:-1] + (b',"entry":[' + packed + b"]}" if packed else b"}")


def found(stored: Stored, base_url: str) -> bytes:
    """Return the entry of a resource that matched."""
    return b'{"fullUrl":' + _url(stored, base_url) + b',"resource":' + stored.body + b',"search":{"mode":"match"}}'


def member_of(stored: Stored, base_url: str) -> bytes:
    """Return the entry of a resource in a collection."""
    return b'{"fullUrl":' + _url(stored, base_url) + b',"resource":' + stored.body + b"}"


def history(page: HistoryPage, base_url: str, self_url: str, next_url: str | None) -> bytes:
    """Return a page of versions, newest first."""
    return bundle("history", [_version(one, base_url) for one in page.versions], total=page.total, self_url=self_url, next_url=next_url)


def _version(stored: Stored, base_url: str) -> bytes:
    url = f"{stored.type}/{stored.id}" if stored.method in ("PUT", "DELETE", "PATCH") else stored.type
    status = "204" if stored.is_deleted else "201" if stored.version_id == 1 else "200"
    request = orjson.dumps({"method": stored.method, "url": url})
    response = orjson.dumps({"status": status, "etag": stored.etag, "lastModified": stored.last_updated})
    resource = b"" if stored.is_deleted else b',"resource":' + stored.body
    return b'{"fullUrl":' + _url(stored, base_url) + resource + b',"request":' + request + b',"response":' + response + b"}"


def _url(stored: Stored, base_url: str) -> bytes:
    return orjson.dumps(f"{base_url}/{stored.type}/{stored.id}")
