"""The signer itself: one request in, one answer out. It builds what it signs from named fields and never signs bytes it was handed.

Time     `now_s` is a steady clock's seconds, an argument: the sitting ends `idle_s` after the last signature or unlock, exclusive.
"""

import re
from collections.abc import Callable
from typing import Final, cast

from yilian.base.artefacts import ReadRequest, intent_statement
from yilian.base.codec import Value
from yilian.base.keys import SigningKey
from yilian.signer.keyfile import KeyFile, opened
from yilian.signer.protocol import No, SignerRefused, checked, understood
from yilian.talks import Fields, frame

IDLE_S: Final = 15 * 60  # NIST SP 800-63B, AAL3: reauthentication after 15 minutes of inactivity
TRIES_MAX: Final = 5
PAUSE_S: Final = 60
_RESOURCE: Final = re.compile(r"/?(?:fhir/)?([A-Z][A-Za-z]{1,63}|\$[a-z-]{1,31})(?=[/?]|$)")


class Desk:
    """One practitioner's sitting at the signer; keys are in memory between `unlock` and `lock` only."""

    def __init__(self, closed: KeyFile, tell: Callable[[str], None], idle_s: int = IDLE_S) -> None:
        self._closed = closed
        self._tell = tell
        self._idle_s = idle_s
        self._keys: dict[str, SigningKey] | None = None
        self._until_s = 0.0
        self._tries = 0
        self._pause_until_s = 0.0

    def answer(self, body: bytes, now_s: float) -> bytes:
        """Return the framed answer to one request, whatever the bytes are."""
        self.lock_if_idle(now_s)
        try:
            operation, fields = checked(understood(body))
            return frame({"ok": self._do(operation, fields, now_s)})
        except SignerRefused as no:
            facts: Fields = dict(no.facts)
            return frame({"no": no.no.value, "facts": facts})

    def lock_if_idle(self, now_s: float) -> None:
        """Forget the keys once the sitting is over."""
        if self._keys is not None and now_s >= self._until_s:
            self._keys = None
            self._tell("locked: nobody signed for a while")

    def _do(self, operation: str, fields: Fields, now_s: float) -> Fields:
        if operation == "status":
            names: list[Value] = [*sorted(self._closed.public)]
            return {"locked": self._keys is None, "keys": names}
        if operation == "public_key":
            return {"public_key": self._closed.public[self._name(fields)]}
        if operation == "lock":
            self._keys = None
            self._tell("locked")
            return {}
        if operation == "unlock":
            return self._unlock(str(fields["passphrase"]), now_s)
        return self._sign(operation, fields, now_s)

    def _name(self, fields: Fields) -> str:
        known = self._closed.public
        name = fields.get("key", next(iter(known)) if len(known) == 1 else None)
        if name not in known:
            raise SignerRefused(No.NO_SUCH_KEY)
        return str(name)

    def _unlock(self, passphrase: str, now_s: float) -> Fields:
        if now_s < self._pause_until_s:
            raise SignerRefused(No.TOO_MANY_TRIES, wait_s=int(self._pause_until_s - now_s) + 1)
        try:
            self._keys = opened(self._closed, passphrase)
        except SignerRefused:
            self._tries += 1
            if self._tries >= TRIES_MAX:
                self._tries, self._pause_until_s = 0, now_s + PAUSE_S
            self._tell("a wrong passphrase was tried")
            raise
        self._tries = 0
        self._until_s = now_s + self._idle_s
        self._tell(f"unlocked for this sitting; locks after {self._idle_s} s without a signature")
        return {"idle_s": self._idle_s}

    def _sign(self, operation: str, fields: Fields, now_s: float) -> Fields:
        if self._keys is None:
            raise SignerRefused(No.LOCKED)
        name = self._name(fields)
        statement, sentence = _STATEMENTS[operation](fields)
        signature = self._keys[name].sign(statement)
        self._until_s = now_s + self._idle_s
        self._tell(f"{name} signed: {sentence}")
        return {"signature": signature, "public_key": self._closed.public[name]}


def _resource(target: str) -> str:
    """Return the resource type or operation a target names, and nothing after it: paths and queries may hold PHI."""
    named = _RESOURCE.match(target)
    return named.group(1) if named else "something that is no FHIR type"


def _read(fields: Fields) -> tuple[bytes, str]:
    asked = ReadRequest(
        holder=str(fields["holder"]),
        requester=str(fields["requester"]),
        method=str(fields["method"]),
        target=str(fields["target"]),
        body=cast("bytes", fields["body"]),
        purpose=str(fields["purpose"]),
        control_key=cast("bytes | None", fields["control_key"]),
        request_id=cast("bytes", fields["request_id"]),
    )
    right = "under a grant" if asked.control_key is not None else "WITHOUT a grant"
    sentence = f"read {_resource(asked.target)} at {asked.holder} for {asked.requester}, purpose {asked.purpose}, {right}"
    return asked.statement(cast("bytes", fields["network"])), sentence


def _intent(fields: Fields) -> tuple[bytes, str]:
    member, act, facts = str(fields["member"]), str(fields["act"]), cast("list[bytes | str | int]", fields["facts"])
    return intent_statement(cast("bytes", fields["network"]), member, act, facts), f"{act} for {member}, {len(facts)} facts"


_STATEMENTS: Final[dict[str, Callable[[Fields], tuple[bytes, str]]]] = {"sign_read": _read, "sign_intent": _intent}
