"""Released rules give the same rows, refusals and app hashes for ever: the blocks of vectors/ledger.json, replayed."""

import json
from pathlib import Path

from yilian.ledger import BlockHeader, Rows, apply, parse_chain, parse_genesis, rules_of, start

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/ledger.json").read_text())
GENESIS = parse_genesis(bytes.fromhex(VECTORS["genesis"]))


def shown(value):
    return value.hex() if isinstance(value, bytes) else value


def test_every_block_does_what_it_did_when_its_rules_were_released():
    assert GENESIS.network_id.hex() == VECTORS["network_id"]
    chain, writes = start(GENESIS)
    rows = Rows()
    rows.take(writes)
    for block in VECTORS["blocks"]:
        header = BlockHeader(block["height"], block["time_ms"], GENESIS.operator)
        applied = apply(rows, chain, header, [bytes.fromhex(data) for data in block["transactions"]])
        results = [
            {"index": r.index, "reason": r.reason, "facts": {name: shown(fact) for name, fact in r.facts.items()}} for r in applied.results
        ]
        assert results == block["results"], block["name"]
        assert {key.hex(): shown(value) for key, value in applied.writes.items()} == block["writes"], block["name"]
        assert [leaf.hex() for leaf in applied.leaves[: len(block["system_leaves"])]] == block["system_leaves"], block["name"]
        assert (applied.chain.log.root().hex(), applied.chain.state_digest.hex()) == (block["log_root"], block["state_digest"]), block[
            "name"
        ]
        assert applied.app_hash.hex() == block["app_hash"], block["name"]
        rows.take(applied.writes)
        chain = parse_chain(applied.chain.encoded())


def test_the_vectors_touch_every_kind_and_every_contracts_refusals():
    replayed = [parse for block in VECTORS["blocks"] for parse in zip(block["transactions"], block["results"], strict=True)]
    accepted = " ".join(data for data, result in replayed if result["index"] is not None)
    unused = [kind.name for kind in rules_of(1).values() if kind.name.encode().hex() not in accepted]
    assert unused == ["directory.reinstate", "practitioner.end", "directory.move", "anchor.correct", "referral.reject", "referral.cancel"]
    assert {result["reason"] // 1_000 for _, result in replayed} == {0, 1, 4, 5, 6, 7}
