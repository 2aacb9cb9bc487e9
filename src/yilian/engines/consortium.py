"""A consortium: members who order together and do not trust one another. What is above says `consortium`, and not which engine that is.

A member sits in a *seat*: where the others reach it, and the key under which they know it, with which it votes if it validates. A founder's
seat is drawn before genesis, because genesis names the key; a member that joins later draws its own and is admitted by vote.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from yilian.base.keys import SEED_SIZE
from yilian.engines.cometbft import (
    EVERY,
    HALTED_S,
    HEARTBEAT_S,
    HOME,
    CometBftEngine,
    NotAHome,
    NotOrdering,
    Rpc,
    Seat,
    Trust,
    Unreachable,
    address,
    begin_again,
    founding_powers,
    read_ports,
    refused_snapshot,
    write_home,
)
from yilian.ledger import Genesis

__all__ = [
    "HEARTBEAT_S",
    "Gathered",
    "NotOrdering",
    "NotSeated",
    "Seat",
    "Standing",
    "Trust",
    "Unreachable",
    "begin_again",
    "draw",
    "is_young",
    "open_engine",
    "settle",
    "standing",
    "trusted",
]

# By so many blocks a copy may be later than its peers in a network that goes on. CometBFT itself says that it catches up no longer when it
# goes over from fetching blocks to hearing votes, and it hears those of old heights too: a copy begun again was at 150 of 271 then.
LATE_BLOCKS_MAX = 2

T = TypeVar("T")
NotSeated = NotAHome
P2P_PORT = 26_656  # as CometBFT's own default; the second is the next
PORTS_APART = 10  # between two members on one machine
# By the block's own time, which is when the block before it was voted: a heartbeat more than the engine waits for a block to arrive.
BEHIND_S_MAX = HALTED_S + HEARTBEAT_S


@dataclass(frozen=True, slots=True)
class Gathered:
    """Of the founders' votes, before the first block: how many are here, of how many, and how many a block needs."""

    here: int
    whole: int
    needed: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How one member's part in the consortium stands, as its running process says."""

    height: int
    is_catching_up: bool
    behind_s: int | None  # since the latest block, a heartbeat comes every 5 s; None without a block
    peers: int
    refused: str  # of a member that joins: why the last snapshot that it was offered was not taken; else empty
    is_seated: bool  # as far as the directory here goes: whose seat no member knows is hung up on (ADR-0117)
    validators: dict[str, int]  # member -> power; a key that the directory does not know stands as its hex
    unreached: tuple[str, ...]  # those of them with which this member has no connection
    is_awaiting_snapshot: bool  # it has no block, and was told to begin with a snapshot
    gathered: Gathered | None  # of a founder before the first block

    @property
    def is_halted(self) -> bool:
        """Say whether the network makes no blocks: who fetches old ones from peers sees them late, and that is no halt."""
        return self.behind_s is not None and self.behind_s >= BEHIND_S_MAX and not (self.is_catching_up and self.peers)


def draw(member: str, host: str = "127.0.0.1", p2p_port: int = P2P_PORT, rpc_port: int = P2P_PORT + 1, listen: str = "") -> Seat:
    """Return a new seat with a key of its own."""
    return Seat(member, host, p2p_port, rpc_port, secrets.token_bytes(SEED_SIZE), listen)


def settle(folder: Path, genesis: Genesis, seat: Seat, peers: Sequence[str], trust: Trust | None = None) -> None:
    """Write a member's seat into the folder of its ledger. With `trust` it begins with a snapshot of the others, checked here.

    Raises   FileExistsError, if a seat is there already: keys are never overwritten
    """
    if (folder / HOME).exists():
        raise FileExistsError(folder / HOME)
    write_home(folder, genesis, seat, [peer for peer in peers if peer != seat.peer], trust)


def open_engine(folder: Path, genesis: Genesis) -> CometBftEngine:
    """Open the member's copy of the ledger in `folder` and order with the others.

    Raises   EngineStopped, with a sentence that says what to do
    """
    return CometBftEngine.open(folder, genesis)


def is_young(servers: Sequence[str]) -> bool:
    """Say whether the network is younger than its first snapshot, so that whoever joins begins with block 1.

    Raises   Unreachable, which names the server; ValueError, if there is neither a snapshot nor block 1
    """
    kept = [_kept(server) for server in servers]
    height = max(last for _, last in kept)
    if height >= EVERY:
        return False
    if all(first != 1 for first, _ in kept):
        raise ValueError(
            f"the members asked are at height {height}, have no block 1, and the first snapshot comes at {EVERY}: "
            "there is nothing to begin with yet. Ask others, or try again later"
        )
    return True


def _kept(server: str) -> tuple[int, int]:
    with closing(_client(server)) as client:
        return _named(server, client.kept)


def trusted(servers: Sequence[str], height: int | None = None, block_hash: str | None = None) -> Trust:
    """Return from where to begin: the height and hash that were given, or else what the first server says, which the others must confirm.

    Raises   Unreachable; ValueError, if the servers contradict each other
    """
    if height is not None and block_hash is not None:
        return Trust(tuple(servers), height, block_hash)
    asked = [_client(server) for server in servers]
    try:
        height = _named(servers[0], asked[0].standing).height
        said = {_named(server, partial(each.block_hash, height - 1)) for server, each in zip(servers, asked, strict=True)}
    finally:
        for each in asked:
            each.close()
    if len(said) != 1:
        raise ValueError(f"the members asked name different blocks at height {height - 1}: trust neither before you know why")
    return Trust(tuple(servers), height - 1, said.pop())


def standing(folder: Path) -> Standing:
    """Return how the member that runs on `folder` stands.

    Raises   NotSeated, Unreachable
    """
    ports = read_ports(folder)
    client = Rpc(ports.rpc)
    try:
        said, names = client.standing(), client.seats()
        powers = client.validators() if said.height else {}  # CometBFT knows none before its first block
        is_behind = client.others_height() > said.height + 1 + LATE_BLOCKS_MAX
    finally:
        client.close()
    named = {names.get(key, key.hex()): power for key, power in powers.items()}
    missing = [key for key in powers if key != said.seat_key and address(key).hex() not in said.peer_ids]
    is_awaiting = said.height == 0 and bool(ports.servers)
    return Standing(
        said.height,
        said.is_catching_up or is_behind,
        said.behind_s if said.height else None,
        said.peers,
        refused_snapshot(folder),
        said.seat_key in names,
        dict(sorted(named.items())),
        tuple(sorted([names.get(key, key.hex()) for key in missing])),
        is_awaiting,
        None if said.height or is_awaiting else _gathered(founding_powers(folder), address(said.seat_key).hex(), said.peer_ids),
    )


def _gathered(powers: Mapping[str, int], own: str, others: frozenset[str]) -> Gathered | None:
    """Return how many of the founders' votes are here; None where this member is no founder with votes: it waits for something else."""
    if own not in powers:
        return None
    whole = sum(powers.values())
    return Gathered(sum([power for each, power in powers.items() if each == own or each in others]), whole, whole * 2 // 3 + 1)


def _named(server: str, question: Callable[[], T]) -> T:
    """Return the answer of one of several that are asked.

    Raises   Unreachable, which names it
    """
    try:
        return question()
    except Unreachable as silent:
        raise Unreachable(f"{server}: {silent}") from silent


def _client(server: str) -> Rpc:
    host, _, port = server.rpartition(":")
    return Rpc(int(port), host)
