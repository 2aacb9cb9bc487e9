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
    """Of which kind the issue is (FHIR issue-type)."""
    status: ClassVar[int] = 400
    """The HTTP status that FHIR R4 gives this answer (https://hl7.org/fhir/R4/http.html)."""

    def __init_subclass__(cls, *, code: str, status: int) -> None:
        """Each fault says its kind and its status where it is named."""
        cls.code, cls.status = code, status

    def __init__(self, diagnostics: str, expression: str = "", *, issues: tuple[Issue, ...] = ()) -> None:
        self.issues = issues or (Issue("error", self.code, expression, diagnostics),)
        super().__init__(self.issues[0].diagnostics)

    def outcome(self) -> bytes:
        """Return the OperationOutcome as JSON bytes."""
        return operation_outcome(self.issues)


class Invalid(RecordFault, code="invalid", status=422):
    """The bytes are not a resource that R4 allows."""


class Malformed(Invalid, code="structure", status=400):
    """The bytes are not JSON, or not JSON that has one meaning."""


class TooLarge(Invalid, code="too-long", status=413):
    """The bytes exceed a named limit."""


class BadMedia(RecordFault, code="not-supported", status=415):
    """The body is of a kind that is not taken here."""


class BadQuery(RecordFault, code="not-supported", status=400):
    """A search that the store does not understand, or does not offer."""


class NotFound(RecordFault, code="not-found", status=404):
    """No such resource or version, or none that the scope may know of."""


class Gone(RecordFault, code="deleted", status=410):
    """The resource existed and was deleted."""


class Conflict(RecordFault, code="conflict", status=412):
    """If-Match names another version than the current one."""


class PreconditionFailed(RecordFault, code="multiple-matches", status=412):
    """A condition that must match one resource matches several, or none."""


class NotAllowed(RecordFault, code="not-supported", status=405):
    """An interaction that this type or entry does not have."""


class StoreUnavailable(RecordFault, code="no-store", status=503):
    """The disk is full, the database is damaged or locked: nothing was written."""


def operation_outcome(issues: tuple[Issue, ...]) -> bytes:
    """Return an OperationOutcome with `issues` as JSON bytes."""
    rows = [
        {"severity": i.severity, "code": i.code, "diagnostics": i.diagnostics} | ({"expression": [i.expression]} if i.expression else {})
        for i in issues
    ]
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": rows})
