"""Genesis: the first word of a network, read whole or not at all."""

from dataclasses import replace

import pytest

from tests.worlds import MEMBERS, STARTED_AT_S, make_genesis
from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.ledger import BlockHeader, Chain, Frontier, parse_chain, parse_genesis, start

GENESIS = replace(make_genesis(), members=(replace(MEMBERS[0], consensus_key=b"v" * 32), *MEMBERS[1:]))


def test_genesis_reads_back_and_its_digest_is_the_network():
    assert parse_genesis(GENESIS.encoded()) == GENESIS
    assert GENESIS.network_id == sha256(GENESIS.encoded())
    assert decode(GENESIS.encoded())[:4] == ["yilian-genesis-1", 1, STARTED_AT_S, "clinic-1"]
    assert parse_genesis(replace(GENESIS, operator="").encoded()).operator == ""


def test_a_founder_is_found_by_its_id():
    assert GENESIS.founder("hospital-1") is GENESIS.members[1]
    with pytest.raises(KeyError):
        GENESIS.founder("hospital-9")


def changed(position, value):
    parts = decode(GENESIS.encoded())
    parts[position] = value
    return encode(parts)


def with_founder(position, value):
    parts = decode(GENESIS.encoded())
    parts[4][1][position] = value
    return encode(parts)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode([]), "NOT_A_GENESIS"),
        (changed(0, "yilian-genesis-2"), "NOT_A_GENESIS"),
        (changed(1, 2), "SUITE_NOT_KNOWN"),
        (changed(2, "now"), "NOT_A_GENESIS"),
        (changed(3, None), "NOT_A_GENESIS"),
        (changed(3, "hospital-9"), "OPERATOR_IS_NOT_A_MEMBER"),
        (changed(4, []), "MEMBERS_NOT_DISTINCT"),
        (changed(4, {}), "NOT_A_GENESIS"),
        (changed(4, decode(GENESIS.encoded())[4][:1] * 2), "MEMBERS_NOT_DISTINCT"),
        (changed(4, [["clinic-1"]]), "NOT_A_MEMBER"),
        (changed(5, {1: 2}), "NOT_A_GENESIS"),
        (changed(5, {"memo_size": "0"}), "NOT_A_GENESIS"),
        (changed(5, {"memo_size": True}), "NOT_A_GENESIS"),
        (changed(6, None), "NOT_A_GENESIS"),
        (with_founder(0, 1), "NOT_A_MEMBER"),
        (with_founder(1, [1]), "NOT_A_MEMBER"),
        (with_founder(1, "hospital"), "NOT_A_MEMBER"),
        (with_founder(4, bytes(31)), "NOT_A_MEMBER"),
        (with_founder(5, bytes(1_215)), "NOT_A_MEMBER"),
        (with_founder(6, bytes(33)), "NOT_A_MEMBER"),
        (with_founder(7, -1), "NOT_A_MEMBER"),
        (with_founder(8, bytes(31)), "NOT_A_MEMBER"),
        (with_founder(8, "key"), "NOT_A_MEMBER"),
    ],
)
def test_anything_else_is_no_genesis(data, why):
    with pytest.raises(Malformed) as no:
        parse_genesis(data)
    assert str(no.value) == why


def test_a_founder_may_have_no_power():
    assert parse_genesis(with_founder(7, 0)).members[1].power == 0


def test_a_chain_is_printed_without_its_two_thousand_bytes_and_its_key_table():
    chain = replace(start(GENESIS)[0], keys={b"k" * 16: ("clinic-1", bytes(32))})
    assert repr(chain) == f"Chain(network={GENESIS.network_id!r}, height=0, time_ms={STARTED_AT_S * 1_000}, log={Frontier()!r})"


def test_the_first_chain_is_empty_and_stands_at_the_start():
    chain, writes = start(GENESIS)
    assert (chain.network, chain.height, chain.time_ms, chain.log) == (GENESIS.network_id, 0, STARTED_AT_S * 1_000, Frontier())
    assert parse_chain(chain.encoded()) == chain
    assert all(key.startswith(b"d/") and value for key, value in writes.items())
    assert BlockHeader(1, 2, "x").equivocators == ()


@pytest.mark.parametrize(
    ("position", "value"), [(0, "n"), (1, None), (3, 1), (4, [b"short"]), (4, [bytes(32)]), (5, bytes(2_047)), (5, "")]
)
def test_other_bytes_are_no_chain(position, value):
    parts = decode(start(GENESIS)[0].encoded())
    parts[position] = value
    with pytest.raises(Malformed):
        parse_chain(encode(parts))


def test_a_chain_with_a_log_reads_back():
    log = Frontier().grown([sha256(bytes([n])) for n in range(5)])[0]
    chain = Chain(b"n" * 32, 7, 8_000, log, bytes(2_048))
    assert parse_chain(chain.encoded()) == chain
