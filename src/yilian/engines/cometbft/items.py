"""Mempool items: a transaction alone, or a batch of them, and the one verdict on both.

Shape    An item is a transaction's bytes, or `CBOR([transaction, ...])` of 1 to 100 of them, at most 256 KiB, in our own encoding.
Verdict  `admit` is what CheckTx, PrepareProposal and ProcessProposal ask; one transaction that fails, fails its batch. Facts that were
         found are remembered by the transaction's bytes, so that a signature is verified once in a process.
Source   design 02 "Batch", "Verdicts".
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from yilian.base.codec import Malformed, decode, encode
from yilian.base.cose import SIGN1_HEAD
from yilian.base.refusals import Reason, Refused, require
from yilian.ledger import KeyTable, Screened, screen

BATCH_TRANSACTIONS_MAX = 100  # design 02
BATCH_SIZE_BYTES_MAX = 256 * 1024  # design 02
FACTS_MAX = 20_000  # about 40 MB; what falls out is verified again when its block comes


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


def in_block(items: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """Return the transactions of a decided block and how many each item has.

    What could not be unpacked stands as one transaction of those bytes: the ledger refuses it like any other, the same on every replica.
    """
    transactions: list[bytes] = []
    counts = []
    for item in items:
        try:
            inner: Sequence[bytes] = unpack(item)
        except Refused:
            inner = (item,)
        transactions.extend(inner)
        counts.append(len(inner))
    return transactions, counts


class Screening:
    """The verdict on items at the last final key table, and what is known of transactions so far. Any thread may ask."""

    def __init__(self, network: bytes, keys: KeyTable) -> None:
        """Begin with nothing known."""
        self._network = network
        self._keys = keys
        self._guard = threading.Lock()
        self.facts: dict[bytes, Screened] = {}
        self.verified = 0  # transactions whose signatures were checked here: a test asks

    def admit(self, item: bytes) -> int:
        """Return how many transactions the item carries, each of them well-formed, known and rightly signed.

        Refuses  what `unpack` and `ledger.screen` refuse
        """
        transactions = unpack(item)
        for data in transactions:
            self.fact(data)
        return len(transactions)

    def fact(self, data: bytes) -> Screened:
        """Return what is known of a transaction, found out now if need be.

        Refuses  what `ledger.screen` refuses
        """
        keys = self._keys
        known = self.facts.get(data)
        if known is not None and keys.get(known.transaction.header.kid) == (known.carrier, known.carrier_key):
            return known
        found = screen(self._network, keys, data)
        with self._guard:
            self.verified += 1
            while len(self.facts) >= FACTS_MAX:
                del self.facts[next(iter(self.facts))]
            self.facts[data] = found
        return found

    def move_on(self, keys: KeyTable, done: Sequence[bytes]) -> None:
        """Take the key table after a block, and forget the block's transactions."""
        with self._guard:
            self._keys = keys
            for data in done:
                self.facts.pop(data, None)
