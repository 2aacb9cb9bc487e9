"""A small network in memory, for tests: founders with known keys, and a ledger that is driven one block at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from yilian.base.keys import SigningKey
from yilian.base.seal import member_public
from yilian.base.transaction import Header, sign
from yilian.ledger import Applied, BlockHeader, Founder, Genesis, Rows, Screened, apply, rules_of, start

STARTED_AT_S = 1_800_000_000 - 1_800_000_000 % 86_400 + 3_600  # 01:00 UTC of a day in January 2027
PARAMETERS = {"memo_size": 0, "emergency_cap": 4, "anchor_interval_s": 60}
KINDS = {kind.name: kind for kind in rules_of(1).values()}


def seed(*names: object) -> bytes:
    return sha256("/".join(str(name) for name in names).encode()).digest()


def key(*names: object) -> SigningKey:
    return SigningKey(seed(*names))


def node_key(member: str) -> SigningKey:
    return key(member, "node")


def receipt_key(member: str) -> SigningKey:
    return key(member, "receipt")


def founder(member: str, kinds: Sequence[str] = ("hospital",), power: int = 1) -> Founder:
    sealing_key = member_public(seed(member, "sealing") * 3)
    public_keys = (node_key(member).public_key, sealing_key, receipt_key(member).public_key)
    return Founder(member, tuple(kinds), f"name of {member}", "", *public_keys, power)


MEMBERS = (founder("clinic-1", ("clinic",)), founder("hospital-1"), founder("hospital-2"), founder("regulator-1", ("regulator",)))


def seated(member: Founder) -> Founder:
    """Return a founder that validates."""
    return member if member.consensus_key is not None else replace(member, consensus_key=key(member.id, "consensus").public_key)


def make_genesis(members: Sequence[Founder] = MEMBERS, operator: str = "clinic-1", **parameters: int) -> Genesis:
    """Return a network's first word; where no operator orders, each founder validates."""
    if not operator:
        members = [seated(member) for member in members]
    return Genesis(STARTED_AT_S, operator, tuple(members), PARAMETERS | parameters)


class World:
    """One replica: state rows, the chain, every leaf. `now_s` is the block time to come."""

    def __init__(self, genesis: Genesis | None = None) -> None:
        self.genesis = genesis or make_genesis()
        self.network = self.genesis.network_id
        self.chain, writes = start(self.genesis)
        self.rows = Rows()
        self.rows.take(writes)
        self.leaves: list[bytes] = []
        self.blocks: list[tuple[BlockHeader, tuple[bytes, ...], Applied]] = []
        self.now_s = STARTED_AT_S + 1
        self.nonces: dict[str, int] = {}

    def transaction(
        self, kind_name: str, message: object, carrier: str = "clinic-1", approvers: Iterable[SigningKey] = (), **changes: Any
    ) -> bytes:
        """Return signed bytes; `changes` alter the header, or sign with another key (`signer`)."""
        signer = changes.pop("signer", node_key(carrier))
        kind = KINDS[kind_name]
        self.nonces[carrier] = self.nonces.get(carrier, 0) + 1
        header = Header(self.network, signer.kid, carrier, kind_name, self.now_s + 60, self.nonces[carrier])
        return sign(signer, header._replace(**changes), kind.number, kind.body(message), approvers)

    def apply(self, *transactions: bytes, known: Mapping[bytes, Screened] | None = None) -> Applied:
        """Apply one block at `now_s`; nothing of it is kept."""
        header = BlockHeader(self.chain.height + 1, self.now_s * 1_000, self.genesis.operator)
        return apply(self.rows, self.chain, header, transactions, known)

    def commit(self, *transactions: bytes, known: Mapping[bytes, Screened] | None = None) -> Applied:
        """Apply one block at `now_s`, keep it, and return what it did."""
        applied = self.apply(*transactions, known=known)
        self.rows.take(applied.writes)
        self.chain = applied.chain
        self.leaves += applied.leaves
        self.blocks.append((applied.header, transactions, applied))
        return applied

    def act(
        self, kind_name: str, message: object, carrier: str = "clinic-1", approvers: Iterable[SigningKey] = (), **changes: Any
    ) -> tuple[int, dict[str, int | str | bytes]]:
        """Commit one transaction in a block of its own; return (reason, facts), (0, {}) if it was accepted."""
        result = self.commit(self.transaction(kind_name, message, carrier, approvers, **changes)).results[0]
        return result.reason, result.facts
