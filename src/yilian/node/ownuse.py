"""The member's own staff and software at the member's own records: no grant is asked for, and nothing goes unrecorded.

Every interaction leaves an AuditEvent in the own-care series before its answer leaves: reads and searches as well as writes and deletions.
The series is anchored with the next tick; what it is worth, and what it is not, design 03 says ("the holder's word").
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from yilian.base.artefacts import detail, own_key
from yilian.base.codec import encode
from yilian.base.keys import kid_of
from yilian.node import auditing, reading
from yilian.node.charts import Chart
from yilian.node.member import Node
from yilian.node.reading import FHIR_JSON, Answer
from yilian.node.refusals import No, NodeRefused, demand
from yilian.records import JSON_PATCH, BadMedia, Stored, response_bundle

_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
NOBODY: Final = b""  # the chart of an interaction that is no one patient's: a search, a transaction


@dataclass(frozen=True, slots=True)
class Written:
    """What a write answers: status, the stored version (or none), and the bytes."""

    answer: Answer
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """What the own software asked: an HTTP method on a target, with a body and its conditions; and for whom, if it says."""

    method: str
    target: str
    body: bytes = b""
    practitioner: bytes | None = None
    if_match: str | None = None
    if_none_exist: str | None = None
    media_type: str | None = None


async def interact(asked: Interaction, node: Node) -> Written:
    """Carry out one interaction of the member's own software and return its answer, once its record is durable.

    Refuses  NOT_READABLE, and what the record store refuses
    """
    written = _write(asked, node) if asked.method != "GET" and not asked.target.endswith("/_search") else _read(asked, node)
    await record(asked, written, node)
    return written


def _read(asked: Interaction, node: Node) -> Written:
    target = reading.parse_target(asked.method, asked.target, asked.body)
    demand(target.interaction != "emergency", No.NOT_READABLE)
    return Written(reading.answer(node.store, target, reading.EVERYTHING, node.base_url), None)


def _write(asked: Interaction, node: Node) -> Written:
    path = asked.target.partition("?")[0].removeprefix("/fhir").strip("/")
    parts = path.split("/") if path else []
    are_named = all(pattern.fullmatch(part) for pattern, part in zip((_TYPE, _ID), parts, strict=False)) and len(parts) <= 2  # noqa: PLR2004 - Type/id
    demand(are_named and (asked.method, len(parts)) in _WRITERS, No.NOT_READABLE)
    return _WRITERS[asked.method, len(parts)](asked, parts, node)


def _create(asked: Interaction, parts: list[str], node: Node) -> Written:
    stored = node.store.create(parts[0], asked.body, if_none_exist=asked.if_none_exist)
    return Written(Answer(201, FHIR_JSON, stored.body, "create", parts[0]), stored)


def _update(asked: Interaction, parts: list[str], node: Node) -> Written:
    stored = node.store.update(parts[0], parts[1], asked.body, if_match=asked.if_match)
    return Written(Answer(201 if stored.version_id == 1 else 200, FHIR_JSON, stored.body, "update", parts[0]), stored)


def _patch(asked: Interaction, parts: list[str], node: Node) -> Written:
    if (asked.media_type or "").partition(";")[0].strip() != JSON_PATCH:
        raise BadMedia(f"A patch is {JSON_PATCH}.")
    stored = node.store.patch(parts[0], parts[1], asked.body, if_match=asked.if_match)
    return Written(Answer(200, FHIR_JSON, stored.body, "patch", parts[0]), stored)


def _delete(asked: Interaction, parts: list[str], node: Node) -> Written:
    stored = node.store.delete(parts[0], parts[1], if_match=asked.if_match)
    return Written(Answer(204, FHIR_JSON, b"", "delete", parts[0]), stored)


def _process(asked: Interaction, parts: list[str], node: Node) -> Written:
    assert not parts, "the system itself"
    outcome = node.store.process(asked.body)
    return Written(Answer(200, FHIR_JSON, response_bundle(outcome, node.base_url), "transaction", ""), None)


_WRITERS: Final[dict[tuple[str, int], Callable[[Interaction, list[str], Node], Written]]] = {
    ("POST", 0): _process,
    ("POST", 1): _create,
    ("PUT", 2): _update,
    ("PATCH", 2): _patch,
    ("DELETE", 2): _delete,
}


async def record(asked: Interaction, written: Written, node: Node) -> None:
    """Write one interaction into the own-care series, durably."""
    answer, chart = written.answer, _chart_of(asked, written, node)
    salt = secrets.token_bytes(auditing.SALT_SIZE)
    event = auditing.own_event(
        member=node.id,
        practitioner=asked.practitioner,
        interaction=(answer.interaction, answer.type),
        patient=None if chart is None or chart.r_key is None else kid_of(chart.r_key),
        at_ms=node.members.clock_ms(),
        request_hash=auditing.salted(salt, asked.method.encode() + b" " + asked.target.encode()),
        salt=salt,
    )
    patient_id = None if chart is None else chart.patient_id
    sealed = node.keys.seal(patient_id, event, encode(["own", node.id]))
    chart_id = NOBODY if chart is None else chart.id
    key = node.keys.chart_key(chart_id) if chart is not None else await node.keys.draw_chart_key(NOBODY)
    at_s = node.members.now_s()

    def insert(db: sqlite3.Connection) -> None:
        (number,) = db.execute("SELECT coalesce(max(number), 0) + 1 FROM own_readings").fetchone()
        leaf = detail(own_key(key, node.network, number), node.network, event)
        db.execute(
            "INSERT INTO own_readings (number, chart, at_s, leaf, audit_sealed) VALUES (?, ?, ?, ?, ?)",
            (number, chart_id, at_s, leaf, sealed),
        )

    await node.journal.write(insert)


def _chart_of(asked: Interaction, written: Written, node: Node) -> Chart | None:
    """Return the chart of the one patient whose record was asked for, if it is one and known."""
    path = asked.target.partition("?")[0].removeprefix("/fhir").strip("/").split("/")
    if path[0] == "Patient" and len(path) > 1:
        return node.charts.of_patient(path[1])
    if written.answer.interaction not in ("read", "vread", "create", "update", "patch") or not written.answer.body:
        return None
    said = orjson.loads(written.answer.body)
    for element in ("subject", "patient", "beneficiary", "for"):
        named = said.get(element)
        reference = named.get("reference") if isinstance(named, dict) else None
        if isinstance(reference, str) and reference.startswith("Patient/"):
            return node.charts.of_patient(reference.removeprefix("Patient/"))
    return None


def practitioner_named(text: str | None) -> bytes | None:
    """Return the credential key that the own software names for an interaction, or None.

    Refuses  NOT_UNDERSTOOD
    """
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
