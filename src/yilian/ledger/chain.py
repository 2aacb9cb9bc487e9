"""The chain value: all that `apply` needs besides the state itself, and the whole of what a block adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.kinds import Writes
from yilian.contracts import directory
from yilian.ledger import lthash
from yilian.ledger.genesis import Genesis
from yilian.ledger.log import Frontier, frontier_of
from yilian.ledger.screening import KeyTable


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block's height (1 is the first), time in Unix milliseconds, and the member that proposed it.

    `equivocators` are the addresses (20 bytes) of validators that the consensus engine has proven to have signed two blocks of one height.
    """

    height: int
    time_ms: int
    proposer: str
    equivocators: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a ledger stands after a block. `keys` is read off the state and only remembered; it is not part of the value."""

    network: bytes
    height: int
    time_ms: int
    log: Frontier
    lanes: bytes = field(repr=False)
    keys: KeyTable | None = field(default=None, compare=False, repr=False)

    @property
    def state_digest(self) -> bytes:
        """The 32-byte digest of all live rows."""
        return lthash.digest(self.lanes)

    @property
    def app_hash(self) -> bytes:
        """`SHA-256(log_root || state_digest)`: unchanged when nothing changed."""
        return sha256(self.log.root() + self.state_digest)

    def encoded(self) -> bytes:
        """Return the bytes to keep beside the state."""
        return encode([self.network, self.height, self.time_ms, self.log.size, list(self.log.peaks), self.lanes])


def parse_chain(data: bytes) -> Chain:
    """Return the chain that `encoded` wrote.

    Raises   Malformed
    """
    match decode(data):
        case [bytes(network), int(height), int(time_ms), int(size), [*peaks], bytes(lanes)] if len(lanes) == lthash.LANES_SIZE_BYTES:
            return Chain(network, height, time_ms, frontier_of(size, peaks), lanes)
        case _:
            raise Malformed("NOT_A_CHAIN")


def start(genesis: Genesis) -> tuple[Chain, Writes]:
    """Return height 0 of a network: an empty log, and the rows that genesis writes."""
    writes = directory.genesis_writes(genesis.members, genesis.parameters, genesis.rules_version)
    rows = [(key, value) for key, value in writes.items() if value is not None]
    lanes = lthash.changed(lthash.EMPTY, [], rows)
    return Chain(genesis.network_id, 0, genesis.started_at_s * 1_000, Frontier(), lanes), writes
