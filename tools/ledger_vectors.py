"""Make vectors/ledger.json: a short life of a network, block by block, with what each block must do to the state.

A released rule is never edited: these blocks must give these rows, refusals and app hashes for ever, in any language. `--check` compares
what the software does now with the file, and is part of the tests; a difference means that a released rule has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.worlds import World, key, make_genesis, node_key, seed  # noqa: E402 - the path is set above
from yilian.base.keys import SigningKey  # noqa: E402 - as above
from yilian.contracts import access, anchor, consent, directory, referral  # noqa: E402
from yilian.ledger import Applied  # noqa: E402

FILE = ROOT / "vectors/ledger.json"
DAY_S = 86_400


def story(world: World) -> list[str]:
    """Commit the blocks of the story; return their names."""
    names: list[str] = []

    def commit(name: str, *transactions: bytes) -> None:
        world.commit(*transactions)
        world.now_s += 7
        names.append(name)

    def carried(kind: str, message: Any, carrier: str = "clinic-1", approvers: tuple[SigningKey, ...] = ()) -> bytes:  # noqa: ANN401 - any message
        return world.transaction(kind, message, carrier, approvers)

    control, holder, requester = key("g", "control"), key("g", "holder"), key("g", "requester")
    ends_s = (world.now_s // DAY_S + 8) * DAY_S
    give = consent.Give(control.public_key, holder.public_key, requester.public_key, seed("consent"), ends_s, 5, 43_200)
    use = access.Record(access.Basis.GRANT, control.public_key, None, None, opens=True, detail=seed("detail"), memo=b"")
    own, urgent = key("own", "pk"), key("urgent", "pk")
    own_tag, urgent_tag = (sha256(each.public_key).digest()[:16] for each in (own, urgent))
    read_own = access.Record(access.Basis.PATIENT, None, None, own_tag, opens=False, detail=seed("own"), memo=b"")
    break_glass = access.Record(access.Basis.EMERGENCY, None, None, urgent_tag, opens=True, detail=seed("urgent"), memo=b"")
    sender, receiver = key("referral", "from"), key("referral", "to")
    request = referral.Request(sender.public_key, receiver.public_key, seed("referral"))
    commit(
        "a practitioner is registered",
        carried("practitioner.register", directory.Register(key("doctor").public_key, "physician", world.now_s + DAY_S)),
    )
    commit("a grant is given", carried("consent.give", give, approvers=(control,)))
    commit("the same grant again", carried("consent.give", give, "hospital-1", (control,)))
    commit(
        "a use that the requester did not approve, and one that both did",
        carried("access.record", use, "hospital-1", (holder,)),
        carried("access.record", use, "hospital-1", (holder, requester)),
    )
    commit("a patient reads, and the tag is used again", *[carried("access.record", read_own, "hospital-1", (own,)) for _ in range(2)])
    commit(
        "break-glass, and its review",
        carried("access.record", break_glass, "hospital-1", (urgent, node_key("hospital-2"))),
        carried("access.review", access.Review(world.chain.log.size, 1), "hospital-1", (urgent, node_key("hospital-2"))),
    )
    commit(
        "what was not sent, and what is disputed",
        carried("access.unsent", access.Unsent(2, access.UnsentReason(1)), "hospital-1", (holder,)),
        carried("access.dispute", access.Dispute(2, seed("dispute")), "hospital-2", (control,)),
    )
    commit(
        "a tag is skipped",
        carried("access.skip", access.Skip(sha256(key("skipped").public_key).digest()[:16]), "hospital-1", (key("skipped"),)),
    )
    commit(
        "a tick, and a second within the minute",
        *[carried("anchor.tick", anchor.Tick(seed("records"), seed("care")), "hospital-1") for _ in range(2)],
    )
    commit("a referral up", carried("referral.request", request, approvers=(sender,)))
    for name in ("accept", "start", "complete", "down"):
        message = getattr(referral, name.title())(sender.public_key)
        commit(f"referral: {name}", carried(f"referral.{name}", message, "hospital-1", (receiver,)))
    commit("a referral too late to cancel", carried("referral.cancel", referral.Cancel(sender.public_key), approvers=(sender,)))
    commit("avoided examinations", carried("reuse.declare", referral.Declare(3), "hospital-1", (node_key("hospital-1"),)))
    commit(
        "a proposal and its votes",
        carried("directory.propose", directory.propose_change(directory.SetParameter("emergency_cap", 9)), "hospital-1"),
        *[
            carried("directory.vote", directory.Vote(world.chain.log.size, yes=True), member)
            for member in ("hospital-2", "clinic-1", "regulator-1")
        ],
    )
    commit(
        "a suspension, and what the suspended carries",
        carried("directory.suspend", directory.Suspend("hospital-2", seed("reason")), "regulator-1"),
        carried("anchor.tick", anchor.Tick(seed("records"), seed("care")), "hospital-2"),
    )
    commit("bytes that are no transaction", b"", b"\xd2\x84", bytes(10))
    world.now_s = (world.now_s // DAY_S + 1) * DAY_S
    commit("the day closes; the grant is revoked", carried("consent.revoke", consent.Revoke(control.public_key), approvers=(control,)))
    commit("a use after the revocation", carried("access.record", use, "hospital-1", (holder, requester)))
    world.now_s += 3 * DAY_S
    commit("three days close, old tags go")
    return names


def shown(applied: Applied) -> dict[str, Any]:
    """Return what a block did, as JSON."""
    return {
        "results": [
            {
                "index": result.index,
                "reason": result.reason,
                "facts": {k: v.hex() if isinstance(v, bytes) else v for k, v in result.facts.items()},
            }
            for result in applied.results
        ],
        "system_leaves": [
            leaf.hex() for leaf in applied.leaves[: len(applied.leaves) - sum(result.index is not None for result in applied.results)]
        ],
        "writes": {name.hex(): value if value is None else value.hex() for name, value in sorted(applied.writes.items())},
        "log_root": applied.chain.log.root().hex(),
        "state_digest": applied.chain.state_digest.hex(),
        "app_hash": applied.app_hash.hex(),
    }


def made() -> dict[str, Any]:
    """Return the whole file: genesis, then each block with what it did."""
    world = World(make_genesis())
    blocks = [
        {"name": name, "height": header.height, "time_ms": header.time_ms, "transactions": [data.hex() for data in transactions]}
        | shown(applied)
        for name, (header, transactions, applied) in zip(story(world), world.blocks, strict=True)
    ]
    return {"genesis": world.genesis.encoded().hex(), "network_id": world.network.hex(), "blocks": blocks}


def main() -> int:
    """Write, or with --check compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the rules still do what the file says")
    text = json.dumps(made(), indent=1) + "\n"
    if parser.parse_args().check:
        same = FILE.exists() and FILE.read_text() == text
        print("vectors/ledger.json: " + ("as released" if same else "differs: a released rule has changed"))
        return 0 if same else 1
    FILE.write_text(text)
    print(f"{FILE.relative_to(ROOT)}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
