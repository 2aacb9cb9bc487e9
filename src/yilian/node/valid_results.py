"""`Observation/$valid-result`: is there a result that may stand in for an examination? A yes with its end, or a no; never a value.

Asked as a reading is asked: the same gate, the same grant, presence and practitioner's signature, the same entry before the answer leaves,
because "this person had this test" is information about the person (ADR-0089).
Query    `patient=` id, `code=` LOINC code of the order, `at=` Unix seconds for which the answer shall hold (the doctor signs all of them).
Answer   FHIR Parameters: `valid` boolean; if true `until` (exclusive). What the grant does not open counts as not there.
Source   design 04 "Mutual recognition".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import orjson

from yilian.node.observations import LOINC, codes, effective_s
from yilian.node.recognition import Order, Recognise, Result, check
from yilian.node.recognition_table import DEFAULT, Table
from yilian.node.refusals import No, demand
from yilian.records import RecordStore, Scope, instant, parse_query

_ASKED: Final = {"patient", "code", "at"}
_DIGITS_MAX: Final = 12


def valid_result(store: RecordStore, query: str, scope: Scope) -> bytes:
    """Return the answer as Parameters.

    Refuses  NOT_READABLE: another query than patient, code and at, once each
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    said = dict(pairs)
    is_asked = set(said) == _ASKED and len(pairs) == len(_ASKED)
    demand(is_asked and said["at"].isascii() and said["at"].isdigit() and len(said["at"]) <= _DIGITS_MAX, No.NOT_READABLE)
    found = check(Order(said["code"], int(said["at"])), results_of(_observations(store, said["patient"], said["code"], scope), ""))
    parameters: list[dict[str, Any]] = [{"name": "valid", "valueBoolean": isinstance(found, Recognise)}]
    if isinstance(found, Recognise):
        parameters.append({"name": "until", "valueInstant": instant(found.until_s * 1_000)})
    return orjson.dumps({"resourceType": "Parameters", "parameter": parameters})


def codes_for(loinc: str, table: Table = DEFAULT) -> tuple[str, ...]:
    """Return every code whose results may count for an order under this one: of its analytes, and of panels that hold one of them."""
    wanted = {analyte.name for analyte in table.ordered(loinc)}
    of_analytes = {code for analyte in table.analytes if analyte.name in wanted for code in analyte.codes}
    of_panels = {code for panel in table.panels if wanted & set(panel.analytes) for code in panel.codes}
    return tuple(sorted(of_analytes | of_panels))


def results_of(observations: Iterable[Mapping[str, Any]], member: str) -> Iterator[Result]:
    """Yield what each Observation says about itself without its value."""
    for observation in observations:
        at_s = effective_s(observation)
        if at_s is None:
            continue
        for code in sorted(codes(observation.get("code"), LOINC)):
            yield Result(code, at_s, str(observation.get("status", "")), member)


def _observations(store: RecordStore, patient_id: str, loinc: str, scope: Scope) -> Iterator[dict[str, Any]]:
    wanted = codes_for(loinc)
    if not wanted:
        return
    query = parse_query("Observation", urlencode({"patient": patient_id, "code": ",".join(wanted), "_count": "200"}))
    cursor: str | None = None
    while True:
        page = store.search(query, scope, cursor)
        for stored in page.matches:
            yield orjson.loads(stored.body)
        cursor = page.next_cursor
        if cursor is None:
            return
