"""Carriage: this member's envelopes. Headers are handed out before an act is approved, and the approved act is carried in its header.

A nonce is reserved in memory; on start the node continues at the highest spent + 4,096, so that no header of an earlier life can collide.
Source   design 02 "Transaction"; kinds in which the member itself acts are never carried for a stranger: the envelope would be its word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yilian.base.codec import Malformed, decode
from yilian.base.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from yilian.base.kinds import Kind, by_number
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import APPROVALS_MAX, Approval, Header, act_bytes, assemble, parse, transaction_id
from yilian.contracts import access, anchor, consent, directory, referral
from yilian.engines import BeginningMissing, Committed, Engine, EngineStopped, NotOrdering, TooManyWaiting, is_unsure
from yilian.ledger import RESTART_SKIP, WINDOW, highest_spent
from yilian.node.keys import Keys
from yilian.node.members import Members
from yilian.node.refusals import No, NodeRefused, demand

KINDS: Final[Mapping[int, Kind]] = by_number(directory.KINDS, consent.KINDS, access.KINDS, anchor.KINDS, referral.KINDS)
BY_NAME: Final[Mapping[str, Kind]] = {kind.name: kind for kind in KINDS.values()}
CARRIED: Final = frozenset(
    {"consent.give", "consent.revoke", "access.dispute"} | {kind.name for kind in referral.KINDS if kind.name.startswith("referral.")}
)
"""What is carried for whoever asks: acts that one-time keys alone approve."""
HEADER_S: Final = 300  # a person reads a screen and signs; at most one hour ahead (design 02)
OWN_HEADER_S: Final = 90  # of an access entry: at most 120 s after issue (design 03), less what block time may lag
AHEAD_MAX: Final = WINDOW - 1_024  # nonces reserved beyond the highest spent, with room for those in flight
STRANGERS_AHEAD_MAX: Final = WINDOW // 2
"""Of these, what is reserved for whoever asks. The rest is the member's own: else headers that nobody uses would end its own acts, and with
them everything that moves the window on."""


@dataclass(slots=True)
class _Reserved:
    header: Header
    protected: bytes


class Carriage:
    """The envelopes of one member."""

    def __init__(self, member: str, keys: Keys, engine: Engine, members: Members) -> None:
        self._member = member
        self._keys = keys
        self._engine = engine
        self._members = members
        self._reserved: dict[bytes, _Reserved] = {}
        self._last = highest_spent(engine.read(), keys.node_key.kid) + RESTART_SKIP

    def header(self, kind_name: str, lasts_s: int = OWN_HEADER_S) -> bytes:
        """Return the protected bytes of a fresh envelope for one of this member's own acts.

        Refuses  NONCES_EXHAUSTED
        """
        return self._reserve(kind_name, lasts_s, AHEAD_MAX).protected

    def header_for(self, kind_name: str) -> bytes:
        """Return the protected bytes of a fresh envelope for whoever asked.

        Refuses  KIND_NOT_CARRIED, NONCES_EXHAUSTED
        """
        demand(kind_name in CARRIED, No.KIND_NOT_CARRIED)
        reserved = self._reserve(kind_name, HEADER_S, STRANGERS_AHEAD_MAX)
        self._forget_ended()
        self._reserved[reserved.protected] = reserved
        return reserved.protected

    async def carry(self, protected: bytes, act: bytes, approvals: Sequence[Approval]) -> Committed:
        """Return what became of an act that was approved in a header of ours.

        Refuses  HEADER_NOT_KNOWN, NOT_UNDERSTOOD, LEDGER_UNREACHABLE, NETWORK_MAKES_NO_BLOCKS
        """
        demand(protected in self._reserved, No.HEADER_NOT_KNOWN)
        kind, _ = read_act(act)
        are_shaped = all(len(key) == PUBLIC_KEY_SIZE and len(signature) == SIGNATURE_SIZE for key, signature in approvals)
        demand(len(approvals) <= APPROVALS_MAX and are_shaped, No.NOT_UNDERSTOOD)
        demand(kind in KINDS and KINDS[kind].name == self._reserved[protected].header.subject, No.NOT_UNDERSTOOD)
        return await self.submit(self.enveloped(protected, act, approvals))

    def enveloped(self, protected: bytes, act: bytes, approvals: Sequence[Approval]) -> bytes:
        """Return the transaction, signed by this member's node key. The same parts give the same bytes."""
        kind, body = read_act(act)
        return assemble(self._keys.node_key, protected, kind, body, approvals)

    async def submit(self, transaction: bytes) -> Committed:
        """Return what became of a transaction, once final and durable here.

        Refuses  LEDGER_UNREACHABLE, TOO_MANY_WAITING
                 NETWORK_MAKES_NO_BLOCKS, and then it may still be committed: the same bytes learn what became of it
                 BEGINNING_MISSING, where it may be final below the snapshot with which this copy began: the same bytes learn it later
        """
        try:
            return await self._engine.submit(transaction)
        except (EngineStopped, ConnectionError, TimeoutError) as stopped:
            raise NodeRefused(No.LEDGER_UNREACHABLE) from stopped
        except TooManyWaiting as full:
            raise NodeRefused(No.TOO_MANY_WAITING, waiting_max=full.waiting_max) from full
        except NotOrdering as halted:
            raise NodeRefused(No.NETWORK_MAKES_NO_BLOCKS, since_s=halted.since_s) from halted
        except BeginningMissing as unsure:
            raise NodeRefused(No.BEGINNING_MISSING) from unsure

    async def outcome(self, transaction: bytes, exp_s: int) -> Committed | None:
        """Return what became of a transaction of ours that was written down before, submitted again while that may help; None: it never was
        entered, and never will be.

        That `exp` has passed is said by a block of our own copy, not by the clock: after a pause the copy may be behind, with the entry in
        a block that it has not seen. Later blocks have later times, so what is not found below such a block never comes. A copy that
        began with a snapshot does not find what lies before it until that is fetched, and till then does not say "never" (ADR-0122).

        Refuses  what `submit` refuses
        """
        is_missing = self._engine.missing > 0  # before the copy is searched: it may be joined meanwhile
        is_over = self._engine.read().chain.time_ms // 1_000 >= exp_s
        known = self._engine.find(transaction_id(transaction))
        if known is None and not is_over:
            return await self.submit(transaction)
        demand(not is_missing or (known is not None and not is_unsure(known)), No.BEGINNING_MISSING)
        return known

    async def order(self, transaction: bytes) -> Committed:
        """Return what became of a transaction that another member signed. What is none, or has a key that no member has, goes no further:
        it costs neither a place among those that wait nor a call of the operator.

        Refuses  what `submit` refuses
        """
        final = self._engine.read().chain
        assert final.keys is not None, "every final state that an engine shows has its key table"
        id_ = transaction_id(transaction)
        try:
            header = parse(transaction).header
        except Refused as no:
            return Committed(id_, None, None, final.time_ms, int(no.reason), no.facts)
        if header.kid in final.keys:
            return await self.submit(transaction)
        is_missing = self._engine.missing > 0
        known = self._engine.find(id_)  # final before its carrier's key went: the same answer again
        demand(known is not None or not is_missing, No.BEGINNING_MISSING)
        return known or Committed(id_, None, None, final.time_ms, int(Reason.UNKNOWN_KEY), {"kid": header.kid})

    def _reserve(self, kind_name: str, lasts_s: int, ahead_max: int) -> _Reserved:
        highest = highest_spent(self._engine.read(), self._keys.node_key.kid)
        demand(self._last < highest + ahead_max, No.NONCES_EXHAUSTED)
        self._last = max(self._last, highest) + 1
        header = Header(
            self._keys.network, self._keys.node_key.kid, self._member, kind_name, self._members.final().now_s + lasts_s, self._last
        )
        return _Reserved(header, header.encoded())

    def _forget_ended(self) -> None:
        """Drop headers whose time is over; they stand in the order in which they were handed out, so that each is looked at once."""
        now_s = self._members.now_s()
        ended = []
        for protected, reserved in self._reserved.items():
            if reserved.header.exp_s > now_s:
                break
            ended.append(protected)
        for protected in ended:
            del self._reserved[protected]


def read_act(act: bytes) -> tuple[int, dict[int, Any]]:
    """Return (kind, body) of `CBOR([kind, body])`.

    Refuses  NOT_UNDERSTOOD
    """
    try:
        match decode(act):
            case [int(kind), dict(body)]:
                return kind, body  # the ledger judges the keys
    except Malformed as error:
        raise NodeRefused(No.NOT_UNDERSTOOD) from error
    raise NodeRefused(No.NOT_UNDERSTOOD)


def act_of(kind_name: str, message: object) -> bytes:
    """Return `CBOR([kind, body])` of one of the contracts' messages."""
    kind = BY_NAME[kind_name]
    return act_bytes(kind.number, kind.body(message))
