"""What the store answers instead of a resource: typed, with issues that become an OperationOutcome, and without health data.

A diagnostics text names elements, rules and limits; it never repeats a value of the resource or of the query.
Source   https://hl7.org/fhir/R4/operationoutcome.html, http://hl7.org/fhir/issue-type
"""

from dataclasses import dataclass
from typing import ClassVar

import orjson


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem: how bad, of which kind (FHIR issue-type), where (FHIRPath of the element), and one sentence."""

    severity: str
    code: str
    expression: str
    diagnostics: str


class RecordFault(Exception):
    """An answer that is not the record. `issues` is never empty."""

    code: ClassVar[str] = "processing"
    status: ClassVar[int] = 400
    """The HTTP status that FHIR R4 gives this answer (https://hl7.org/fhir/R4/http.html)."""

    def __init__(self, diagnostics: str, expression: str = "", *, issues: tuple[Issue, ...] = ()) -> None:
        self.issues = issues or (Issue("error", self.code, expression, diagnostics),)
        super().__init__(self.issues[0].diagnostics)

    def outcome(self) -> bytes:
        """Return the OperationOutcome as JSON bytes."""
        return operation_outcome(self.issues)


class Invalid(RecordFault):
    """The bytes are not a resource that R4 allows."""

    code = "invalid"
    status = 422


class Malformed(Invalid):
    """The bytes are not JSON, or not JSON that has one meaning."""

    code = "structure"
    status = 400


class TooLarge(Invalid):
    """The bytes exceed a named limit."""

    code = "too-long"
    status = 413


class BadQuery(RecordFault):
    """A search that the store does not understand, or does not offer."""

    code = "not-supported"
    status = 400


class NotFound(RecordFault):
    """No such resource or version, or none that the scope may know of."""

    code = "not-found"
    status = 404


class Gone(RecordFault):
    """The resource existed and was deleted."""

    code = "deleted"
    status = 410


class Conflict(RecordFault):
    """If-Match names another version than the current one."""

    code = "conflict"
    status = 412


class PreconditionFailed(RecordFault):
    """A condition that must match one resource matches several, or none."""

    code = "multiple-matches"
    status = 412


class NotAllowed(RecordFault):
    """An interaction that this type or entry does not have."""

    code = "not-supported"
    status = 405


class StoreUnavailable(RecordFault):
    """The disk is full, the database is damaged or locked: nothing was written."""

    code = "no-store"
    status = 503


def operation_outcome(issues: tuple[Issue, ...]) -> bytes:
    """Return an OperationOutcome with `issues` as JSON bytes."""
    rows = [
        {"severity": i.severity, "code": i.code, "diagnostics": i.diagnostics} | ({"expression": [i.expression]} if i.expression else {})
        for i in issues
    ]
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": rows})
