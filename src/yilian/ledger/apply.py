"""The ledger's one step: `(state, chain, header, transactions) -> (writes, results, leaves, app hash)`.

A deterministic function on integers and bytes. On any bytes it gives results and never raises; what does raise is our defect, and the node
stops. The order in a block decides every race.
Source   design 02 "Verdicts", "State", "Block".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from yilian.base.kinds import Act, StateView, Writes
from yilian.base.merkle import leaf_hash
from yilian.base.refusals import Reason, Refused
from yilian.base.times import day_of
from yilian.base.transaction import AHEAD_S_MAX, transaction_id
from yilian.contracts import access, directory
from yilian.ledger import daily, lthash
from yilian.ledger.chain import BlockHeader, Chain
from yilian.ledger.equivocation import Equivocation
from yilian.ledger.log import Node
from yilian.ledger.nonces import Windows
from yilian.ledger.overlay import Overlay
from yilian.ledger.screening import KeyTable, Screened, screen_all
from yilian.ledger.versions import decide, rules_of

ACCEPTED = 0


class Result(NamedTuple):
    """What became of one transaction: its place in the log, or the reason it has none."""

    id: bytes
    index: int | None  # type: ignore[assignment]  # a tuple's method of that name is not missed
    reason: int
    facts: dict[str, int | str | bytes]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a block does: to be made durable as a whole, or not at all."""

    header: BlockHeader
    chain: Chain
    writes: Writes
    replaced: Writes  # what stood at the keys of `writes`
    results: tuple[Result, ...]
    leaves: tuple[bytes, ...]
    nodes: tuple[Node, ...]
    days: tuple[daily.ClosedDay, ...]
    tagged: daily.Tagged  # after the block

    @property
    def app_hash(self) -> bytes:
        """The 32 bytes that every replica must agree on."""
        return self.chain.app_hash


class _Block:
    """The working of one block: an overlay, the replay windows, and the leaves so far."""

    def __init__(self, view: StateView, chain: Chain, header: BlockHeader, tagged: daily.Tagged) -> None:
        self.chain = chain
        self.header = header
        self.now_s = max(header.time_ms, chain.time_ms) // 1_000  # time does not run backwards
        self.overlay = Overlay(view)
        self.windows = Windows(view)
        self.keys: KeyTable = chain.keys if chain.keys is not None else directory.key_table(view)
        self.keys_now: KeyTable = self.keys
        self.rules = rules_of(directory.rules_version_at(view, header.height))
        self.leaves: list[bytes] = []
        self.hashes: list[bytes] = []
        self.days: list[daily.ClosedDay] = []
        self.tagged = dict(tagged)
        self.gone: list[bytes] = []  # the lanes of days that went as one

    @property
    def next_index(self) -> int:
        return self.chain.log.size + len(self.leaves)

    def append(self, leaf: bytes, digest: bytes) -> None:
        self.leaves.append(leaf)
        self.hashes.append(digest)

    def close_days(self) -> None:
        """Append the daily leaves that are due and drop the rows of old tags."""
        last, today = day_of(self.chain.time_ms // 1_000), day_of(self.now_s)
        if today <= last:
            return
        digest = lthash.digest(self.chain.lanes)
        for day in range(last, today):
            root, joined = daily.tags_and_root(self.overlay, day)
            self.days.append(daily.ClosedDay(day, self.next_index, joined))
            data = daily.DailyLeaf(self.chain.network, day, root, digest).encoded()
            self.append(data, leaf_hash(data))
        self._drop_days(daily.days_to_drop(last, today))
        self.tagged[today] = lthash.EMPTY

    def _drop_days(self, days: range) -> None:
        """Let the tags of some days go: as one where their lanes are known, else row by row."""
        known = {day: self.tagged.pop(day) for day in days if day in self.tagged}
        self.gone.extend(known.values())
        for day in known:
            self.overlay.forget(access.day_prefix(day))
        for day in days:
            if day not in known:
                self.overlay.drop(access.day_prefix(day))

    def suspend_equivocators(self) -> None:
        """Suspend each member whose validator signed two blocks of one height, and say so in the log."""
        for address in self.header.equivocators:
            found = directory.equivocation_writes(self.overlay, address)
            if found is not None:
                member, writes = found
                self.overlay.take(writes)
                self.keys_now = directory.key_table(self.overlay)
                leaf = Equivocation(self.chain.network, member, self.header.height).encoded()
                self.append(leaf, leaf_hash(leaf))

    def screened(self, transactions: Sequence[bytes], known: Mapping[bytes, Screened]) -> list[Screened | Refused]:
        """Return what screening says of each; what is known already and still holds is not looked at again.

        Each fact is read once: who lends `known` may forget some of it meanwhile.
        """
        facts: dict[bytes, Screened | Refused] = {}
        for data in transactions:
            fact = known.get(data)
            if fact is not None and self._still_holds(fact):
                facts[data] = fact
        fresh = [data for data in transactions if data not in facts]
        facts.update(zip(fresh, screen_all(self.chain.network, self.keys, fresh), strict=True))
        return [facts[data] for data in transactions]

    def _still_holds(self, known: Screened) -> bool:
        """Say whether a fact found at an earlier height is the one that this block's table would find."""
        return self.keys.get(known.transaction.header.kid) == (known.carrier, known.carrier_key)

    def take(self, data: bytes, said: Screened | Refused) -> Result:
        """Judge one transaction in its turn and keep what it writes; `said` is what screening said of it."""
        if isinstance(said, Refused):
            return Result(transaction_id(data), None, int(said.reason), said.facts)
        try:
            self._spend(said)
            writes = self._decide(said)
        except Refused as no:
            return Result(said.transaction.id, None, int(no.reason), no.facts)
        index = self.next_index
        self.overlay.take(writes)
        self.append(data, said.transaction.id)
        for key in writes:
            if key.startswith(directory.MEMBER_PREFIX):  # rare: a member came, changed or went
                self.keys_now = directory.key_table(self.overlay)
                break
        return Result(said.transaction.id, index, ACCEPTED, {})

    def _spend(self, screened: Screened) -> None:
        header = screened.transaction.header
        if self.now_s >= header.exp_s:
            raise Refused(Reason.EXPIRED, exp_s=header.exp_s)
        if header.exp_s - self.now_s > AHEAD_S_MAX:
            raise Refused(Reason.TOO_FAR_AHEAD, exp_s=header.exp_s)
        self.windows.spend(header.kid, header.nonce)

    def _decide(self, screened: Screened) -> Writes:
        transaction = screened.transaction
        if self.keys_now.get(transaction.header.kid) != (screened.carrier, screened.carrier_key):
            raise Refused(Reason.MEMBER_SUSPENDED, member=screened.carrier)  # by an earlier entry of this very block
        act = Act(
            now_s=self.now_s,
            height=self.header.height,
            index=self.next_index,
            exp_s=transaction.header.exp_s,
            carrier=screened.carrier,
            approved_by=frozenset([key for key, _ in transaction.approvals]),
        )
        return decide(self.rules, self.overlay, self.keys_now, transaction, act)

    def lanes_after(self, writes: Writes, replaced: Writes) -> bytes:
        """Return the lanes of the state after all writes; the tags among them count for their day too, if all of its tags do."""
        if not writes and not self.gone:
            return self.chain.lanes
        today = day_of(self.now_s)
        of_today = access.day_prefix(today) if today in self.tagged else ()
        removed = ((key, before) for key, before in replaced.items() if before is not None)
        added = ((key, after) for key, after in writes.items() if after is not None and not key.startswith(of_today))
        tags = lthash.lanes_over((key, after) for key, after in writes.items() if after is not None and key.startswith(of_today))
        if tags != lthash.EMPTY:
            self.tagged[today] = lthash.combined(self.tagged[today], plus=[tags])
        return lthash.combined(lthash.changed(self.chain.lanes, removed, added), plus=[tags], minus=self.gone)


def apply(
    view: StateView,
    chain: Chain,
    header: BlockHeader,
    transactions: Sequence[bytes],
    known: Mapping[bytes, Screened] | None = None,
    tagged: daily.Tagged | None = None,
) -> Applied:
    """Return what the block does to the state and the log. `known` holds transactions that were screened before, by their bytes.

    Where `tagged` knows the lanes of a day, its tags go without a write for each: the caller sees by `daily.gone` that they have.
    """
    block = _Block(view, chain, header, tagged or {})
    block.close_days()
    block.suspend_equivocators()
    screened = block.screened(transactions, known or {})
    results = tuple([block.take(data, said) for data, said in zip(transactions, screened, strict=True)])
    block.overlay.take(block.windows.writes())
    writes, replaced = block.overlay.settled()
    lanes = block.lanes_after(writes, replaced)
    frontier, nodes = chain.log.grown(block.hashes)
    after_block = replace(
        chain,
        height=header.height,
        time_ms=max(header.time_ms, chain.time_ms),
        log=frontier,
        lanes=lanes,
        keys=block.keys_now,
    )
    return Applied(header, after_block, writes, replaced, results, tuple(block.leaves), tuple(nodes), tuple(block.days), block.tagged)
