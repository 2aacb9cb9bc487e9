"""What is said between a practitioner's software and the signer: shapes and refusals, in the frames of `talks`."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from yilian.base.codec import Value
from yilian.talks import Fields, NotAMessage, unframed

FRAME_BYTES_MAX: Final = 1 << 20  # a read carries its body (a search form, a patch); a record never passes here
FACTS_MAX: Final = 16
FACT_BYTES_MAX: Final = 256


class No(StrEnum):
    """Why the signer did not."""

    BAD_REQUEST = "BAD_REQUEST"
    UNKNOWN_OPERATION = "UNKNOWN_OPERATION"
    LOCKED = "LOCKED"
    WRONG_PASSPHRASE = "WRONG_PASSPHRASE"  # noqa: S105 - a reason, no secret
    TOO_MANY_TRIES = "TOO_MANY_TRIES"
    NO_SUCH_KEY = "NO_SUCH_KEY"
    KEY_FILE_DAMAGED = "KEY_FILE_DAMAGED"


class SignerRefused(Exception):
    """The signer said no: a code and its facts (field names and numbers, never contents)."""

    def __init__(self, no: No, **facts: str | int) -> None:
        super().__init__(no, facts)
        self.no = no
        self.facts = facts

    def __str__(self) -> str:
        """Say the code and the facts."""
        shown = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.no}({shown})" if shown else str(self.no)


def understood(body: bytes) -> Fields:
    """Return the message in a frame's body.

    Refuses  BAD_REQUEST, if it is not what our encoder would write or not a map with text keys.
    """
    try:
        return unframed(body)
    except NotAMessage as error:
        raise SignerRefused(No.BAD_REQUEST, why=str(error)) from error


def _text(pattern: str) -> Callable[[Value], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _bytes(low: int, high: int) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, bytes) and low <= len(value) <= high


def _is_fact(value: Value) -> bool:
    if isinstance(value, bool) or not isinstance(value, bytes | str | int):
        return False
    return isinstance(value, int) or len(value) <= FACT_BYTES_MAX


def _are_facts(value: Value) -> bool:
    return isinstance(value, list) and len(value) <= FACTS_MAX and all(_is_fact(fact) for fact in value)


_MEMBER = _text(r"[a-z0-9][a-z0-9.-]{0,63}")  # a member id: ASCII, so that no look-alike is shown to the person
_KEY = _text(r"[a-z0-9][a-z0-9@.-]{0,63}")
_NETWORK = _bytes(1, 64)

# Operation -> its fields, each with what it may be. A field too many is refused too: what is not understood is not signed.
SHAPES: Final[dict[str, dict[str, Callable[[Value], bool]]]] = {
    "status": {},
    "unlock": {"passphrase": _text(r"(?s).{1,1024}")},
    "lock": {},
    "public_key": {"key": _KEY},
    "sign_read": {
        "key": _KEY,
        "network": _NETWORK,
        "holder": _MEMBER,
        "requester": _MEMBER,
        "method": _text("GET|POST"),
        "target": _text(r"[!-~]{1,8192}"),  # as sent: printable ASCII, percent-encoded
        "body": _bytes(0, FRAME_BYTES_MAX),
        "purpose": _text(r"[A-Z][A-Z0-9]{1,31}"),  # v3-PurposeOfUse
        "control_key": lambda value: value is None or _bytes(32, 32)(value),
        "request_id": _bytes(16, 16),
    },
    "sign_intent": {
        "key": _KEY,
        "network": _NETWORK,
        "member": _MEMBER,
        "act": _text(r"[a-z][a-z_]{0,31}\.[a-z][a-z_]{0,31}"),
        "facts": _are_facts,
    },
}


def checked(message: Fields) -> tuple[str, Fields]:
    """Return the operation and its fields, every one present and of its shape. The key may be left out: then it is the only one.

    Refuses  UNKNOWN_OPERATION, BAD_REQUEST naming the field
    """
    operation = message.get("op")
    if not isinstance(operation, str) or operation not in SHAPES:
        raise SignerRefused(No.UNKNOWN_OPERATION)
    shape = SHAPES[operation]
    fields = {name: value for name, value in message.items() if name != "op"}
    for name in sorted(fields.keys() - shape.keys()):
        raise SignerRefused(No.BAD_REQUEST, why="FIELD_UNKNOWN", field=name[:64])
    for name, is_right in shape.items():
        if name == "key" and name not in fields:
            continue
        if name not in fields or not is_right(fields[name]):
            raise SignerRefused(No.BAD_REQUEST, why="FIELD_WRONG" if name in fields else "FIELD_MISSING", field=name)
    return operation, fields
