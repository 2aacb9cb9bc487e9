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


class Story:
    """A network's short life, a chapter at a time; `names` are those of its blocks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = []
        control, holder, requester = key("g", "control"), key("g", "holder"), key("g", "requester")
        ends_s = (world.now_s // DAY_S + 8) * DAY_S
        self.control, self.both = control, (holder, requester)
        self.give = consent.Give(
            control.public_key, holder.public_key, requester.public_key, seed("consent"), ends_s, uses_max=5, interval_s=43_200
        )
        self.use = access.Record(access.Basis.GRANT, control.public_key, None, None, opens=True, detail=seed("detail"), memo=b"")

    def commit(self, name: str, *transactions: bytes) -> None:
        """Commit a block; the next comes seven seconds later."""
        self.world.commit(*transactions)
        self.world.now_s += 7
        self.names.append(name)

    def carried(self, kind: str, message: object, carrier: str = "clinic-1", *approvers: SigningKey) -> bytes:
        """Return a transaction."""
        return self.world.transaction(kind, message, carrier, approvers)

    def grants(self) -> None:
        """A practitioner, a grant, its use."""
        carried, control = self.carried, self.control
        doctor = directory.Register(key("doctor").public_key, "physician", self.world.now_s + DAY_S)
        self.commit("a practitioner is registered", carried("practitioner.register", doctor))
        self.commit("a grant is given", carried("consent.give", self.give, "clinic-1", control))
        self.commit("the same grant again", carried("consent.give", self.give, "hospital-1", control))
        uses = [carried("access.record", self.use, "hospital-1", *keys) for keys in (self.both[:1], self.both)]
        self.commit("a use that the requester did not approve, and one that both did", *uses)

    def accesses(self) -> None:
        """Other bases, and what is said of an access afterwards."""
        carried = self.carried
        own, urgent, skipped = key("own", "pk"), key("urgent", "pk"), key("skipped")
        own_tag, urgent_tag, skipped_tag = [sha256(each.public_key).digest()[:16] for each in (own, urgent, skipped)]
        read_own = access.Record(access.Basis.PATIENT, None, None, own_tag, opens=False, detail=seed("own"), memo=b"")
        break_glass = access.Record(access.Basis.EMERGENCY, None, None, urgent_tag, opens=True, detail=seed("urgent"), memo=b"")
        self.commit(
            "a patient reads, and the tag is used again", *[carried("access.record", read_own, "hospital-1", own) for _ in range(2)]
        )
        opened = carried("access.record", break_glass, "hospital-1", urgent, node_key("hospital-2"))
        review = access.Review(self.world.chain.log.size, 1)
        self.commit("break-glass, and its review", opened, carried("access.review", review, "hospital-1", urgent, node_key("hospital-2")))
        unsent = carried("access.unsent", access.Unsent(2, access.UnsentReason(1)), "hospital-1", self.both[0])
        disputed = carried("access.dispute", access.Dispute(2, seed("dispute")), "hospital-2", self.control)
        self.commit("what was not sent, and what is disputed", unsent, disputed)
        self.commit("a tag is skipped", carried("access.skip", access.Skip(skipped_tag), "hospital-1", skipped))

    def alliance(self) -> None:
        """Ticks, a referral up and back down, examinations not repeated."""
        carried = self.carried
        tick = anchor.Tick(seed("records"), seed("care"))
        self.commit("a tick, and a second within the minute", *[carried("anchor.tick", tick, "hospital-1") for _ in range(2)])
        sender, receiver = key("referral", "from"), key("referral", "to")
        request = referral.Request(sender.public_key, receiver.public_key, seed("referral"))
        self.commit("a referral up", carried("referral.request", request, "clinic-1", sender))
        for name in ("accept", "start", "complete", "down"):
            message = getattr(referral, name.title())(sender.public_key)
            self.commit(f"referral: {name}", carried(f"referral.{name}", message, "hospital-1", receiver))
        cancel = carried("referral.cancel", referral.Cancel(sender.public_key), "clinic-1", sender)
        self.commit("a referral too late to cancel", cancel)
        self.commit("avoided examinations", carried("reuse.declare", referral.Declare(3), "hospital-1", node_key("hospital-1")))

    def government(self) -> None:
        """A vote, a suspension, and bytes that are nothing."""
        carried = self.carried
        proposal = directory.propose_change(directory.SetParameter("emergency_cap", 9))
        vote = directory.Vote(self.world.chain.log.size, yes=True)
        votes = [carried("directory.vote", vote, member) for member in ("hospital-2", "clinic-1", "regulator-1")]
        self.commit("a proposal and its votes", carried("directory.propose", proposal, "hospital-1"), *votes)
        suspend = carried("directory.suspend", directory.Suspend("hospital-2", seed("reason")), "regulator-1")
        tick = carried("anchor.tick", anchor.Tick(seed("records"), seed("care")), "hospital-2")
        self.commit("a suspension, and what the suspended carries", suspend, tick)
        self.commit("bytes that are no transaction", b"", b"\xd2\x84", bytes(10))

    def days(self) -> None:
        """Days close; a revocation at midnight."""
        world = self.world
        world.now_s = (world.now_s // DAY_S + 1) * DAY_S
        revoke = self.carried("consent.revoke", consent.Revoke(self.control.public_key), "clinic-1", self.control)
        self.commit("the day closes; the grant is revoked", revoke)
        self.commit("a use after the revocation", self.carried("access.record", self.use, "hospital-1", *self.both))
        world.now_s += 3 * DAY_S
        self.commit("three days close, old tags go")


def story(world: World) -> list[str]:
    """Commit the blocks of the story; return their names."""
    told = Story(world)
    for chapter in (told.grants, told.accesses, told.alliance, told.government, told.days):
        chapter()
    return told.names


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
