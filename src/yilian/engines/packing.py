"""What passes between a node and its verifying processes: `marshal`, because both ends are one interpreter and nothing else is as fast.

Shape    A frame is 8 bytes of length and the marshalled value. A request is (network id, key table or None if it has not changed, [bytes]);
         an answer is one tuple for each transaction: the parts of a Screened, or (reason, facts).
"""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any, BinaryIO

from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import Header, Transaction
from yilian.ledger import Screened

_LENGTH_SIZE = 8

Verdict = Screened | Refused


def write_frame(pipe: BinaryIO, value: Any) -> None:  # noqa: ANN401 - what `marshal` knows
    """Send one value that `marshal` knows."""
    data = marshal.dumps(value)
    pipe.write(len(data).to_bytes(_LENGTH_SIZE, "big"))
    pipe.write(data)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> Any:  # noqa: ANN401 - what the other end sent
    """Return the next value.

    Raises   EOFError, if the other end is gone
    """
    head = pipe.read(_LENGTH_SIZE)
    size = int.from_bytes(head, "big")
    data = pipe.read(size) if len(head) == _LENGTH_SIZE else b""
    if not data or len(data) != size:
        raise EOFError
    return marshal.loads(data)  # noqa: S302 - from our own child


def pack(said: Verdict) -> tuple[Any, ...]:
    """Return the parts of a verdict."""
    if isinstance(said, Refused):
        return int(said.reason), {name: int(value) if isinstance(value, int) else value for name, value in said.facts.items()}
    each = said.transaction
    head = each.header
    parts = (head.network, head.kid, head.issuer, head.subject, head.exp_s, head.nonce)
    body = (each.id, parts, each.protected, each.payload, each.signature, each.kind, each.body, each.approvals)
    return *body, said.carrier, said.carrier_key


def unpack(parts: Sequence[Any]) -> Verdict:
    """Return the verdict that the parts are of."""
    if len(parts) == 2:  # noqa: PLR2004 - (reason, facts)
        return Refused(Reason(parts[0]), **parts[1])
    id_, header, protected, payload, signature, kind, body, approvals, carrier, carrier_key = parts
    return Screened(Transaction(id_, Header(*header), protected, payload, signature, kind, body, approvals), carrier, carrier_key)
