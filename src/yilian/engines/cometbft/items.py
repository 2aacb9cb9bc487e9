"""Mempool items: a transaction alone, or a batch of them, and the one verdict on both.

Shape    An item is a transaction's bytes, or `CBOR([transaction, ...])` of 1 to 256 of them, at most 256 KiB, in our own encoding.
Verdict  `admit` is what CheckTx, PrepareProposal and ProcessProposal ask; one transaction that fails, fails its batch. Facts that were
         found are remembered by the transaction's bytes, so that a signature is verified once in a process; a batch that was admitted
         is remembered by its own, so that it is taken apart once. Both memories are bounded in bytes (ADR-0115).
Source   design 02 "Batch", "Verdicts"; ADR-0116.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from yilian.base.codec import Malformed, decode, encode
from yilian.base.cose import SIGN1_HEAD
from yilian.base.keys import are_signed
from yilian.base.refusals import Reason, Refused, require
from yilian.engines.cometbft.held import Held
from yilian.ledger import KeyTable, Screened, Verify, screen_all

# Both limits say what an item of a decided block means (`in_block`), so they belong to rules version 1: other limits, another app hash.
# Other values come with another rules version, chosen by height (ADR-0116).
BATCH_TRANSACTIONS_MAX = 256  # what one member of four has on its way
BATCH_SIZE_BYTES_MAX = 256 * 1024  # design 02
FACTS_SIZE_BYTES_MAX = 64 * 1024 * 1024  # as many small transactions as four members may have waiting; what falls out is verified again
BATCHES_SIZE_BYTES_MAX = 16 * 1024 * 1024  # two full blocks; what falls out is taken apart again
FACT_SIZE_BYTES = 1_500  # of a fact's objects, besides its bytes: measured
FACT_COPIES = 4  # the transaction, its payload, and the payload's values, whose objects are at most twice their bytes


def pack(transactions: Sequence[bytes]) -> bytes:
    """Return the item that carries the transactions: one alone goes as it is."""
    return transactions[0] if len(transactions) == 1 else encode(list(transactions))


def unpack(item: bytes) -> tuple[bytes, ...]:
    """Return the transactions in an item.

    Refuses  BAD_BYTES, TOO_LARGE
    """
    if item[: len(SIGN1_HEAD)] == SIGN1_HEAD:
        return (item,)
    require(len(item) <= BATCH_SIZE_BYTES_MAX, Reason.TOO_LARGE, size_bytes=len(item))
    try:
        batch = decode(item)
    except Malformed as error:
        raise Refused(Reason.BAD_BYTES) from error
    if type(batch) is not list or not 1 <= len(batch) <= BATCH_TRANSACTIONS_MAX or not all(type(each) is bytes for each in batch):
        raise Refused(Reason.BAD_BYTES)
    return tuple(batch)


def in_block(items: Sequence[bytes], opened: Callable[[bytes], Sequence[bytes]] = unpack) -> tuple[list[bytes], list[int]]:
    """Return the transactions of a decided block and how many each item has.

    What could not be unpacked stands as one transaction of those bytes: the ledger refuses it like any other, the same on every replica.
    """
    transactions: list[bytes] = []
    counts = []
    for item in items:
        try:
            inner = opened(item)
        except Refused:
            inner = (item,)
        transactions.extend(inner)
        counts.append(len(inner))
    return transactions, counts


def _fact_bytes(data: bytes) -> int:
    return FACT_COPIES * len(data) + FACT_SIZE_BYTES


def batch_bytes(item: bytes) -> int:
    """Return what an item and its transactions take in memory."""
    return 2 * len(item) + FACT_SIZE_BYTES  # itself and its transactions


class Screening:
    """The verdict on items at the last final key table, and what is known of transactions so far. Any thread may ask."""

    def __init__(self, network: bytes, keys: KeyTable, verify: Verify = are_signed) -> None:
        """Begin with nothing known; `verify` says which of many claims hold."""
        self._network = network
        self._keys = keys
        self._verify = verify
        self._guard = threading.Lock()
        self._being_checked: set[bytes] = set()
        self._found_out = threading.Condition(self._guard)
        self.facts: Held[Screened] = Held(FACTS_SIZE_BYTES_MAX, _fact_bytes)
        self._admitted: Held[tuple[KeyTable, tuple[bytes, ...]]] = Held(BATCHES_SIZE_BYTES_MAX, batch_bytes)
        self.verified = 0  # transactions whose signatures were checked here: a test asks

    def admit(self, item: bytes) -> int:
        """Return how many transactions the item carries, each of them well-formed, known and rightly signed.

        Refuses  what `unpack` and `ledger.screen` refuse
        """
        keys = self._keys
        known = self._admitted.get(item)
        if known is not None and known[0] is keys:  # the table is the same object until a key comes or goes
            return len(known[1])
        transactions = self.opened(item)
        self.learn(transactions)
        if len(transactions) > 1:
            with self._guard:
                self._admitted.hold(item, (keys, transactions))
        return len(transactions)

    def opened(self, item: bytes) -> tuple[bytes, ...]:
        """Return the transactions in an item, remembered or found now.

        Refuses  what `unpack` refuses
        """
        known = self._admitted.get(item)
        return unpack(item) if known is None else known[1]

    def learn(self, transactions: Sequence[bytes]) -> None:
        """Find out what is not known yet of some transactions.

        Refuses  what `ledger.screen` refuses, of the first that it refuses; the others' facts stay
        """
        for said in self.said_of(transactions):
            if isinstance(said, Refused):
                raise said

    def said_of(self, transactions: Sequence[bytes]) -> list[Screened | Refused]:
        """Return what `ledger.screen` says of each, remembered or found out now, all of them together."""
        keys = self._keys
        said: dict[bytes, Screened | Refused] = {}
        unknown: dict[bytes, None] = {}
        for data in transactions:
            known = self.facts.get(data)
            if known is not None and keys.get(known.transaction.header.kid) == (known.carrier, known.carrier_key):
                said[data] = known
            else:
                unknown[data] = None
        mine, others = self._claimed(unknown)
        try:
            found = screen_all(self._network, keys, mine, self._verify)
            with self._guard:
                for data, one in zip(mine, found, strict=True):
                    said[data] = one
                    if isinstance(one, Screened):
                        self.verified += 1
                        self.facts.hold(data, one)
        finally:
            with self._found_out:
                self._being_checked.difference_update(mine)
                self._found_out.notify_all()
        if others:  # after one's own, so that two threads never wait for each other
            with self._found_out:
                self._found_out.wait_for(lambda: self._being_checked.isdisjoint(others))
            said.update(zip(others, self.said_of(others), strict=True))  # what was refused there is found out here anew
        return [said[data] for data in transactions]

    def _claimed(self, unknown: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return what is not being checked by any thread, and is by this one from now on, and what another checks at this moment.

        A proposal often comes while CheckTx is at one of its items: each signature is checked once all the same.
        """
        with self._guard:
            others = [data for data in unknown if data in self._being_checked]
            mine = [data for data in unknown if data not in self._being_checked]
            self._being_checked.update(mine)
            return mine, others

    def move_on(self, keys: KeyTable, items: Sequence[bytes] = (), transactions: Sequence[bytes] = ()) -> None:
        """Take the key table after a block, and forget what the block held."""
        with self._guard:
            self._keys = keys
            for item in items:
                self._admitted.forget(item)
            for data in transactions:
                self.facts.forget(data)
