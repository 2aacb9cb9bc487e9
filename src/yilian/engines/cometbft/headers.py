"""When a block was made, proven: CometBFT's own headers, which the validators signed. Whoever hands them over is not believed.

Why      A snapshot's app hash covers its rows and its log, not the time of its block; CometBFT's light client has that time, and keeps it
         from the application.
Proof    the headers at H, H + 1 and H + 2: the last is signed by validators of more than two thirds of the power that the state after H
         gives (an update of block H validates from H + 2 on); each names the hash of the one before; the middle one carries the app hash.
Source   CometBFT v0.38.25: types/block.go `Header.Hash`, types/vote.go `VoteSignBytes`, proto/tendermint/types/canonical.proto,
         rpc/openapi/openapi.yaml "commit"; its tree is RFC 9162's. ADR-0127.
"""

from __future__ import annotations

import base64
import calendar
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from yilian.base.keys import is_signed
from yilian.base.merkle import leaf_hash, root
from yilian.engines.cometbft.faults import TimeUnproven
from yilian.engines.cometbft.rpc import Rpc, Unreachable
from yilian.engines.cometbft.settings import address, chain_id
from yilian.engines.cometbft.validators import Validators
from yilian.ledger import Chain

MadeAt = Callable[[Chain, Validators], int]
HEADERS: Final = 3
ROUNDS: Final = 3  # over all servers: they answered CometBFT a moment ago
PAUSE_S: Final = 2.0  # between two rounds
_COMMITTED: Final = 2  # BLOCK_ID_FLAG_COMMIT
_PRECOMMIT: Final = 2  # SIGNED_MSG_TYPE_PRECOMMIT
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


class NotProven(ValueError):
    """These headers do not prove when the block was made."""


def servers_said(servers: Sequence[str], pause: Callable[[float], None] = time.sleep) -> MadeAt:
    """Return what asks RPC servers (HOST:PORT) in turn, until one hands over headers that prove when a block was made.

    Raises   TimeUnproven, when asked and none does
    """

    def made_at(chain: Chain, validators: Validators) -> int:
        why = "no server is named"
        for number in range(ROUNDS * len(servers)):
            if number and number % len(servers) == 0:
                pause(PAUSE_S)
            server = servers[number % len(servers)]
            try:
                return proven_ms(_fetched(server, chain.height), chain, validators)
            except (Unreachable, NotProven) as error:
                why = f"{server}: {error}"
        raise TimeUnproven(chain.height, why)

    return made_at


def proven_ms(commits: Sequence[Any], chain: Chain, validators: Validators) -> int:
    """Return the time of the block at the chain's height, from CometBFT's answers to `commit` at that height and the two after it.

    Raises   NotProven, whatever is wrong with them
    """
    try:
        return _proven_ms(commits, chain, validators)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise error if isinstance(error, NotProven) else NotProven(f"its headers cannot be read ({error})") from error


def _proven_ms(commits: Sequence[Any], chain: Chain, validators: Validators) -> int:
    name = chain_id(chain.network)
    first, second, third = headers = [each["signed_header"]["header"] for each in commits]
    for number, header in enumerate(headers):
        _require((header["chain_id"], int(header["height"])) == (name, chain.height + number), "other heights, or another network's")
    commit = commits[-1]["signed_header"]["commit"]
    _require(commit["block_id"]["hash"].lower() == _hash(third) and int(commit["height"]) == chain.height + 2, "votes for another block")
    reached = sum(_powers(commit, name, validators).values())
    _require(3 * reached > 2 * sum(validators.values()), f"votes of {reached} of {sum(validators.values())} alone")
    _require(third["last_block_id"]["hash"].lower() == _hash(second), "its headers do not follow one another")
    _require(second["last_block_id"]["hash"].lower() == _hash(first), "its headers do not follow one another")
    _require(second["app_hash"].lower() == chain.app_hash.hex(), "the header after the block carries another app hash")
    seconds, nanos = _instant(first["time"])
    return seconds * 1_000 + nanos // 1_000_000


def _powers(commit: Any, name: str, validators: Validators) -> Validators:  # noqa: ANN401 - JSON
    """Return the validators whose vote for the block holds, each once."""
    keys = {address(key): key for key in validators}
    found: Validators = {}
    for each in commit["signatures"]:
        key = keys.get(bytes.fromhex(each["validator_address"]))
        if each["block_id_flag"] == _COMMITTED and key is not None:
            signature = base64.b64decode(each["signature"], validate=True)
            if is_signed(key, _vote(commit, each["timestamp"], name), signature):
                found[key] = validators[key]
    return found


def _vote(commit: Any, timestamp: str, name: str) -> bytes:  # noqa: ANN401 - JSON
    """Return what a validator signs: a CanonicalVote, its length before it."""
    block, parts = commit["block_id"], commit["block_id"]["parts"]
    part_set = _number(1, int(parts["total"])) + _bytes(2, bytes.fromhex(parts["hash"]))
    vote = _number(1, _PRECOMMIT) + _fixed(2, int(commit["height"])) + _fixed(3, int(commit["round"]))
    vote += _message(4, _bytes(1, bytes.fromhex(block["hash"])) + _message(2, part_set))
    vote += _message(5, _timestamp(timestamp)) + _bytes(6, name.encode())
    return _varint(len(vote)) + vote


def _hash(header: Any) -> str:  # noqa: ANN401 - JSON
    """Return a header's hash in hex: the root over its fourteen fields."""
    version, last = header["version"], header["last_block_id"]
    parts = _number(1, int(last["parts"]["total"])) + _bytes(2, bytes.fromhex(last["parts"]["hash"]))
    hashes = ["last_commit", "data", "validators", "next_validators", "consensus", "app", "last_results", "evidence"]
    fields = [
        _number(1, int(version["block"])) + _number(2, int(version.get("app", 0))),
        _bytes(1, header["chain_id"].encode()),
        _number(1, int(header["height"])),
        _timestamp(header["time"]),
        _bytes(1, bytes.fromhex(last["hash"])) + _message(2, parts),
        *[_bytes(1, bytes.fromhex(header[f"{each}_hash"])) for each in hashes],
        _bytes(1, bytes.fromhex(header["proposer_address"])),
    ]
    return root([leaf_hash(field) for field in fields]).hex()


def _instant(said: str) -> tuple[int, int]:
    """Return (Unix seconds, nanoseconds) of an RFC 3339 instant in UTC."""
    found = _TIME.fullmatch(said)
    if found is None:
        raise NotProven(f"{said[:40]!r} is no time")
    return calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")), int((found[2] or "0").ljust(9, "0"))


def _timestamp(said: str) -> bytes:
    seconds, nanos = _instant(said)
    return _number(1, seconds) + _number(2, nanos)


# -- protobuf, as much of it as is signed and hashed: proto3 leaves out what is zero or empty, but for embedded messages


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + value.to_bytes(8, "little", signed=True) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _message(field, value) if value else b""


def _message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _fetched(server: str, height: int) -> list[Any]:
    host, _, port = server.rpartition(":")
    client = Rpc(int(port), host)
    try:
        return [client.commit(height + number) for number in range(HEADERS)]
    finally:
        client.close()


def _require(is_so: bool, why: str) -> None:  # noqa: FBT001 - read as a sentence
    if not is_so:
        raise NotProven(why)
