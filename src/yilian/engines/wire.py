"""Blocks as bytes: what one node hands another, and the body that the store keeps.

Shape    A block is `CBOR([height, time_ms, proposer, app hash, body])`, a body `CBOR([transactions, refusals, system leaves])`, a refusal
         `[position, reason, facts]` with facts keyed by name. What was accepted stands in the log in the order of the transactions, after
         the system leaves: the receiver knows the size of the log before the block.
         A committed answer is `CBOR([id, index or null, height or null, time_ms, reason, facts])`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yilian.base.codec import Malformed, decode, encode
from yilian.base.transaction import transaction_id
from yilian.engines.protocol import Block, Committed
from yilian.ledger import ACCEPTED, BlockHeader, Result

Facts = dict[str, int | str | bytes]


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A block as it came from elsewhere: what is needed to apply it, and the hash that applying it must give."""

    header: BlockHeader
    app_hash: bytes
    transactions: tuple[bytes, ...]
    system_leaves: tuple[bytes, ...] = ()  # read for who was suspended in it (`Replica.header_again`)
    leaves: tuple[bytes, ...] = ()  # that it brought to the log, as who sent it says: for a proof, and believed by nobody without


def encode_body(transactions: Sequence[bytes], results: Sequence[Result], system_leaves: Sequence[bytes]) -> bytes:
    """Return the body of a block."""
    refusals = [[n, result.reason, result.facts] for n, result in enumerate(results) if result.reason != ACCEPTED]
    return encode([list(transactions), refusals, list(system_leaves)])


def decode_body(data: bytes, log_size: int) -> tuple[tuple[bytes, ...], tuple[Result, ...], tuple[bytes, ...]]:
    """Return (transactions, results, system leaves); `log_size` is that after the block.

    Raises   Malformed
    """
    transactions, refusals, leaves = _body(data)
    index = log_size - (len(transactions) - len(refusals))
    results = []
    for position, each in enumerate(transactions):
        refused = refusals.get(position)
        if refused is None:
            results.append(Result(transaction_id(each), index, ACCEPTED, {}))
            index += 1
        else:
            results.append(Result(transaction_id(each), None, *refused))
    return transactions, tuple(results), leaves


def encode_block(block: Block) -> bytes:
    """Return the bytes of a block for another node."""
    body = encode_body(block.transactions, block.results, block.system_leaves)
    return encode([block.height, block.time_ms, block.proposer, block.app_hash, body])


def decode_block(data: bytes) -> RawBlock:
    """Return the block that another node sent. Its refusals and system leaves are not believed: applying it gives them.

    Raises   Malformed
    """
    match decode(data):
        case [int(height), int(time_ms), str(proposer), bytes(app_hash), bytes(body)] if height > 0 and time_ms >= 0:
            transactions, refused, leaves = _body(body)
            entries = [data for position, data in enumerate(transactions) if position not in refused]
            return RawBlock(BlockHeader(height, time_ms, proposer), app_hash, transactions, leaves, (*leaves, *entries))
        case _:
            raise Malformed("NOT_A_BLOCK")


def encode_committed(answer: Committed) -> bytes:
    """Return the bytes of an answer."""
    return encode([answer.id, answer.index, answer.height, answer.time_ms, answer.reason, answer.facts])


def decode_committed(data: bytes) -> Committed:
    """Return the answer that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [bytes(id_), (int() | None) as index, (int() | None) as height, int(time_ms), int(reason), dict(facts)]:
            return Committed(id_, index, height, time_ms, reason, _facts(facts))
        case _:
            raise Malformed("NOT_AN_ANSWER")


def _body(data: bytes) -> tuple[tuple[bytes, ...], dict[int, tuple[int, Facts]], tuple[bytes, ...]]:
    match decode(data):
        case [list(transactions), list(refusals), list(leaves)]:
            pass
        case _:
            raise Malformed("NOT_A_BODY")
    if not all(type(each) is bytes for each in [*transactions, *leaves]):
        raise Malformed("NOT_A_BODY")
    refused = dict(_refusal(item) for item in refusals)
    if len(refused) != len(refusals) or not all(0 <= position < len(transactions) for position in refused):
        raise Malformed("NOT_A_BODY")
    return tuple(transactions), refused, tuple(leaves)


def _refusal(item: object) -> tuple[int, tuple[int, Facts]]:
    match item:
        case [int(position), int(reason), dict(facts)] if reason != ACCEPTED:
            return position, (reason, _facts(facts))
        case _:
            raise Malformed("NOT_A_REFUSAL")


def _facts(facts: Mapping[Any, object]) -> Facts:
    if not all(type(name) is str and type(value) in (int, str, bytes) for name, value in facts.items()):
        raise Malformed("NOT_FACTS")
    return dict(facts)
