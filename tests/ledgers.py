"""Copies of a ledger, for tests: of a few blocks of a story; of a member that was there from the beginning, and what others begin from."""

import random
from contextlib import contextmanager
from hashlib import sha256

from tests.consortium import NAMES, consensus_key, seated
from tests.sim.story import Story
from tests.submissions import Submissions
from tests.worlds import MEMBERS, STARTED_AT_S, make_genesis
from yilian.contracts import anchor, directory
from yilian.engines import encode_block
from yilian.engines.replica import Replica
from yilian.ledger import BlockHeader, Restore, chunks, describe, parse_manifest

HEIGHT, AFTER = 90, 40  # of a source's snapshot, and how many blocks come after it
GUILTY, CONVICTED, REINSTATED = "hospital-2", 20, 30  # who signs twice in a source's story, and at which heights that is told and ended


@contextmanager
def told(folder, genesis, height):
    """Give a copy of so many blocks of a story, enough for a state of several chunks."""
    replica, story = Replica.open(folder, genesis, is_durable=False), Story(genesis.network_id, NAMES, random.Random(1))
    for number in range(1, height + 1):
        now_s = genesis.started_at_s + number
        replica.advance(now_s * 1_000, [story.transaction(now_s) for _ in range(20)])
    yield replica
    replica.close()


class Source:
    """A member that was there from the beginning: days that end, refusals, empty blocks, a conviction, a member admitted."""

    def __init__(self, folder):
        self.genesis = make_genesis([seated(one) for one in MEMBERS], operator="")
        self.replica = Replica.open(folder, self.genesis, is_durable=False)
        self.now_s = STARTED_AT_S
        self.made = Submissions(self.genesis.network_id, now_s=lambda: self.now_s)
        self.draw = random.Random(7)

    def block(self, *transactions, equivocators=()):
        header = BlockHeader(self.replica.chain.height + 1, self.now_s * 1_000 + 5, "clinic-1", equivocators)
        return self.replica.commit(self.replica.decide(header, transactions))

    def grow(self, until):
        while (height := self.replica.chain.height + 1) <= until:
            self.now_s += 40 * 60
            if height == CONVICTED:
                self.block(equivocators=(sha256(consensus_key(GUILTY).public_key).digest()[:20],))
            elif height == REINSTATED:
                self.block(self.made.transaction("directory.reinstate", directory.Reinstate(GUILTY), carrier="regulator-1"))
            elif height % 7 == 0:
                self.block()
            else:
                names = [f"{height}/{n}" for n in range(self.draw.randrange(1, 9))]
                gives = [self.made.give(name, carrier=self.draw.choice(["clinic-1", "hospital-1"])) for name in names]
                tick = self.made.transaction("anchor.tick", anchor.Tick(bytes(32), bytes(32)), carrier="hospital-1")
                self.block(*gives, gives[0], tick, b"no transaction")

    def snapshot(self):
        rows = list(self.replica.read().scan(b""))
        cut = list(chunks(rows))
        manifest = describe(self.replica.chain, [sha256(chunk).digest() for chunk in cut])
        return manifest.encoded(), cut, self.replica.chain.app_hash

    def frames(self, since, count=13):
        heights = range(since + 1, since + 1 + count)
        return [encode_block(self.replica.block(height)) for height in heights if self.replica.block(height) is not None]

    def proof(self, size, end):
        return self.replica.consistency(size, end) if size else []


def restored(folder, source, snapshot):
    """Return a copy that began with the source's snapshot."""
    manifest, cut, app_hash = snapshot
    replica = Replica.open(folder, source.genesis, is_durable=False)
    restore = Restore(parse_manifest(manifest), source.genesis.network_id, app_hash)
    for chunk in cut:
        replica.stage(restore.take(chunk))
    replica.restore(restore.finish(), restore.tagged)
    return replica


def follow(replica, source, until=None):
    """Let a copy decide the source's later blocks."""
    for height in range(replica.chain.height + 1, (until or source.replica.chain.height) + 1):
        block = source.replica.block(height)
        header = BlockHeader(block.height, block.time_ms, block.proposer)
        decided = replica.decide(replica.header_again(header, block.system_leaves), block.transactions)
        assert decided.applied.app_hash == block.app_hash
        replica.commit(decided)


def changed_block(source, height, change):
    """Return a frame of a block with something changed."""
    block = source.replica.block(height)
    return encode_block(change(block))


@contextmanager
def grown_source(folder):
    """Give a source at the end, and its snapshot of `HEIGHT`."""
    source = Source(folder)
    source.grow(HEIGHT)
    snapshot = source.snapshot()
    source.grow(HEIGHT + AFTER)
    yield source, snapshot
    source.replica.close()
