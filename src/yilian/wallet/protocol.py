"""What is said between a person's software and the wallet process: operations, and how a report travels, in the frames of `talks`.

Request  {"op": name, "name": wallet, ...fields}.
Shapes   of `base.handovers` and `base.chartlogs` travel as the bytes of `shapes.pack`.
"""

from typing import Any, Final

from yilian.contracts import access
from yilian.talks import Fields, NotAMessage, unframed
from yilian.wallet.check import LogLine, LogReport
from yilian.wallet.findings import Fault, Finding
from yilian.wallet.refusals import No, WalletRefused
from yilian.wallet.state import SeenHead

FRAME_BYTES_MAX: Final = 1 << 25  # a year of a busy chart's log with its proofs

# operation -> its fields; a field too many or too few, or of another type, is refused
OPERATIONS: Final[dict[str, dict[str, type | tuple[type, ...]]]] = {
    "status": {},
    "follow": {"changes": bytes},
    "create": {"name": str, "seed": (bytes, type(None))},
    "enrol": {"name": str, "ask": bytes},
    "admit": {"name": str, "relationship": bytes},
    "draft": {"name": str, "wish": bytes, "holder_key": bytes, "requester_key": bytes},
    "approve": {"name": str, "control_key": bytes, "revoke": bool, "header": bytes},
    "bundle": {"name": str, "control_key": bytes, "member": str},
    "revoke": {"name": str, "control_key": bytes},
    "note": {"name": str, "control_key": bytes, "revoke": bool, "index": int},
    "receipt": {"name": str, "statement": bytes},
    "grants": {"name": str},
    "charts": {"name": str},
    "presence": {"name": str, "asked": bytes, "holders": list, "seen": str, "until_s": int},
    "read_own": {"name": str, "holder": str, "target": str, "request_id": (bytes, type(None))},
    "months": {"name": str, "holder": str},
    "ask_log": {"name": str, "holder": str, "month": int, "after": (bytes, type(None))},
    "check": {"name": str, "holder": str, "answers": list},
}


def understood(body: bytes) -> Fields:
    """Return the message in a frame's body.

    Refuses  BAD_REQUEST
    """
    try:
        return unframed(body)
    except NotAMessage as error:
        raise WalletRefused(No.BAD_REQUEST, why=str(error)) from error


def checked(message: Fields) -> tuple[str, dict[str, Any]]:
    """Return the operation and its fields, every one present and of its type.

    Refuses  BAD_REQUEST
    """
    operation = message.get("op")
    shape = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if shape is None or not isinstance(operation, str):
        raise WalletRefused(No.BAD_REQUEST, why="NO_SUCH_OPERATION")
    fields = {name: value for name, value in message.items() if name != "op"}
    for name in (*shape, *fields):
        wanted = shape.get(name)
        value = fields.get(name)
        is_typed = wanted is not None and name in fields and isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
        if not is_typed or (isinstance(value, int) and value < 0):
            raise WalletRefused(No.BAD_REQUEST, why=name[:64])
    return operation, fields


def said_report(report: LogReport) -> Fields:
    """Return a report as it goes over the wire."""
    return {
        "holder": report.holder,
        "months": list(report.months),
        "findings": [[found.fault.value, [[name, value] for name, value in found.facts]] for found in report.findings],
        "lines": [
            [
                line.index, line.month, None if line.basis is None else int(line.basis), line.control_key, line.number, line.audit_event,
                line.is_unsent, line.is_disputed, line.is_lawful,
            ]
            for line in report.lines
        ],
        "vouched_by": list(report.vouched_by),
        "split_view": None if report.split_view is None else list(report.split_view),
        "checkpoint": report.checkpoint,
        "heads": [[head.month, head.count, head.height] for head in report.heads],
    }  # fmt: skip


def heard_report(said: dict[str, Any]) -> LogReport:
    """Return the report that `said_report` wrote."""
    lines = tuple(
        LogLine(index, month, None if basis is None else access.Basis(basis), *rest) for index, month, basis, *rest in said["lines"]
    )
    findings = tuple(Finding(Fault(fault), tuple((name, value) for name, value in facts)) for fault, facts in said["findings"])
    return LogReport(
        holder=said["holder"],
        months=tuple(said["months"]),
        findings=findings,
        lines=lines,
        vouched_by=tuple(said["vouched_by"]),
        split_view=None if said["split_view"] is None else (said["split_view"][0], said["split_view"][1]),
        checkpoint=said["checkpoint"],
        heads=tuple(SeenHead(*head) for head in said["heads"]),
    )
