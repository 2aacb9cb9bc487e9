"""A hostile but legal CometBFT in one process, from a seed: everything that its call grammar allows, in the worst order.

Allowed  extra rounds; proposals of which some replicas never hear; proposals that are accepted and then dropped; a Byzantine proposer;
         CheckTx twice, late, and in any order, on one replica and not on another; replicas that lag and catch up without ProcessProposal;
         a crash before FinalizeBlock, between FinalizeBlock and Commit, after Commit; FinalizeBlock again after Info; node keys and
         consensus keys that change while transactions are in flight.
Auditors after every step: one app hash, one set of results, one set of validator updates and one verdict at a height, whoever says it;
         every transaction has one result; indexes without a gap; the log's nodes give its root; the digest is that of all rows.
Source   CometBFT v0.38.25, spec/abci/abci++_comet_expected_behavior.md "Valid method call sequences".
"""

import hashlib
from dataclasses import dataclass, field, replace
from random import Random

from google.protobuf.timestamp_pb2 import Timestamp

from tests.consortium import NAMES, consensus_key
from tests.sim.story import Story
from tests.worlds import PARAMETERS, STARTED_AT_S, founder, key
from yilian.base.codec import Malformed, decode
from yilian.base.merkle import leaf_hash
from yilian.base.refusals import Refused
from yilian.contracts import directory
from yilian.engines.cometbft.application import CODE_KEPT, Application, Mempool
from yilian.engines.cometbft.settings import address, chain_id, genesis_document
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.stubs.crypto import keys_pb2
from yilian.engines.cometbft.stubs.types import params_pb2
from yilian.engines.replica import Replica
from yilian.ledger import Genesis, lthash, root_at, screen

ACCEPT = abci.ResponseProcessProposal.ACCEPT


class Found(AssertionError):
    """An auditor found two truths."""


@dataclass
class Decided:
    """A block that the validators agreed on."""

    items: list
    time_ms: int
    proposer: bytes

    @property
    def time(self):
        return Timestamp(seconds=self.time_ms // 1_000, nanos=self.time_ms % 1_000 * 1_000_000)


@dataclass
class Node:
    """One replica's folder, its application while it runs, and how far CometBFT has taken it."""

    name: str
    folder: object
    application: Application = None
    replica: Replica = None
    mempool: list = field(default_factory=list)  # CometBFT's
    admitted: list = field(default_factory=list)  # what the application let in or kept for itself
    handed_over: list = field(default_factory=list)  # what the application wants taken in though it was kept
    height: int = 0  # of CometBFT's own record


def hostile_genesis():
    members = [replace(founder(name, ("hospital",)), consensus_key=consensus_key(name).public_key) for name in NAMES]
    return Genesis(STARTED_AT_S, "", tuple(members), PARAMETERS)


def holds(replica, item):
    """Say whether every transaction of an item is well-formed, known and signed: found out anew, from the state alone."""
    inside = [item]
    if item[:2] != b"\xd2\x84":
        try:
            inside = decode(item)
        except Malformed:
            return False
        if not isinstance(inside, list) or not 1 <= len(inside) <= 100 or not all(isinstance(each, bytes) for each in inside):
            return False
    keys = directory.key_table(replica.read())
    try:
        return all(screen(replica.genesis.network_id, keys, each) for each in inside)
    except Refused:
        return False


class Hostile:
    """The network; `application` may be replaced by one with a planted bug."""

    def __init__(self, folder, seed_number, application=Application):
        self.random = Random(seed_number)
        self.genesis = hostile_genesis()
        self.make = application
        self.story = Story(self.genesis.network_id, NAMES, self.random)
        self.now_ms = STARTED_AT_S * 1_000
        self.chain = []
        self.truths = {}
        self.trace = hashlib.sha256()
        self.rotating = None
        self.pending_items = []
        self.nodes = [Node(name, folder / name) for name in NAMES]
        self.validators = {consensus_key(name).public_key: 1 for name in NAMES}
        for node in self.nodes:
            self.start(node)

    # -- auditors

    def same(self, height, what, value):
        """Hold `value` against what others said of `what` at `height`."""
        found = self.truths.setdefault((height, what), value)
        if found != value:
            raise Found(f"{what} at height {height}: {found!r} and {value!r}")
        self.trace.update(repr((height, what, value)).encode())

    def audit(self, node):
        chain, replica = node.replica.chain, node.replica
        self.same(chain.height, "app hash", chain.app_hash)
        if replica.log_root(chain.log.size) != chain.log.root() or root_at(replica._tiles, chain.log.size) != chain.log.root():
            raise Found(f"the log's nodes do not give its root at height {chain.height}")
        rows = list(replica.read().scan(b""))
        if lthash.changed(lthash.EMPTY, [], rows) != chain.lanes:
            raise Found(f"the digest is not that of the rows at height {chain.height}")
        block = replica.block(chain.height)
        if block is None:
            return
        before = replica.block(chain.height - 1)
        first = (before.log_size if before else 0) + len(block.system_leaves)
        indexes = [result.index for result in block.results if result.index is not None]
        if len(block.results) != len(block.transactions) or indexes != list(range(first, block.log_size)):
            raise Found(f"the results of height {chain.height} do not account for its transactions")

    # -- one replica

    def start(self, node):
        """Start the node's process and let CometBFT shake hands with it."""
        node.replica = Replica.open(node.folder, self.genesis, is_durable=False)
        snapshots = Snapshots(node.folder / "snapshots", node.replica, self.failed, 7)
        node.application = self.make(node.replica, snapshots, lambda _: None, Mempool(hand_over=node.handed_over.append))
        self.handshake(node)

    def failed(self, error):
        raise Found("a snapshot could not be written") from error

    def crash(self, node):
        node.application._snapshots.close()
        node.replica.close()
        node.mempool.clear()
        node.handed_over.clear()
        node.admitted.clear()
        self.start(node)

    def handshake(self, node):
        info = node.application.info(abci.RequestInfo(version="0.38.25"))
        if info.last_block_height > node.height:
            if info.last_block_height > len(self.chain):
                raise Found("the application is ahead of the block store")
            node.height = info.last_block_height  # CometBFT recovers its own record from the block store
        if info.last_block_height == 0:
            self.init_chain(node)
        elif info.last_block_app_hash != self.truths[info.last_block_height, "app hash"]:
            raise Found(f"Info says another app hash at height {info.last_block_height}")
        recorded, node.height = node.height, info.last_block_height
        while node.height < recorded:
            self.execute(node)

    def init_chain(self, node):
        document = genesis_document(self.genesis)
        updates = [abci.ValidatorUpdate(pub_key=keys_pb2.PublicKey(ed25519=consensus_key(name).public_key), power=1) for name in NAMES]
        state = b'{"yilian":"%s"}' % document["app_state"]["yilian"].encode()
        answer = node.application.init_chain(
            abci.RequestInitChain(
                chain_id=chain_id(self.genesis.network_id),
                validators=updates,
                app_state_bytes=state,
                initial_height=1,
                consensus_params=params_pb2.ConsensusParams(version=params_pb2.VersionParams(app=self.genesis.rules_version)),
            )
        )
        self.same(0, "app hash", answer.app_hash)

    def execute(self, node, crash=None):
        """FinalizeBlock and Commit of the node's next block, with a crash before, between or after if asked."""
        height = node.height + 1
        block = self.chain[height - 1]
        if crash == "before":
            return self.crash(node)
        answer = node.application.finalize_block(self.finalize(height, block))
        self.judge(height, answer)
        if crash == "between":
            return self.crash(node)
        if crash == "again":  # CometBFT alone died: the same process is asked again
            self.handshake(node)
            self.judge(height, node.application.finalize_block(self.finalize(height, block)))
        node.application.commit(abci.RequestCommit())
        if crash != "after":
            node.height = height
        self.audit(node)
        included = set(block.items)
        node.mempool = [item for item in node.mempool if item not in included]
        node.admitted = [item for item in node.admitted if item not in included]
        if crash == "after":
            return self.crash(node)
        self.hear_of_what_was_kept(node)
        return None

    def hear_of_what_was_kept(self, node):
        """Have CometBFT take in what the application hands over after a block; then it lacks all that waits only where nothing does."""
        while node.handed_over:  # a refusal has the next one handed over
            item = node.handed_over.pop(0)
            node.application.waiting.are_ours([item])
            if node.application.check_tx(abci.RequestCheckTx(tx=item)).code == 0 and item not in node.mempool:
                node.mempool.append(item)
        if any(holds(node.replica, item) for item in node.admitted) and not node.mempool:
            raise Found("something waits and CometBFT's mempool is empty: nobody would hear of it")

    def proposal(self, height, block):
        return abci.RequestProcessProposal(txs=block.items, height=height, time=block.time, proposer_address=block.proposer)

    def finalize(self, height, block):
        return abci.RequestFinalizeBlock(txs=block.items, height=height, time=block.time, proposer_address=block.proposer)

    def judge(self, height, answer):
        self.same(height, "app hash", answer.app_hash)
        self.same(height, "results", tuple((each.code, each.data) for each in answer.tx_results))
        updates = tuple((each.pub_key.ed25519, each.power) for each in answer.validator_updates)
        if (height, "updates") not in self.truths:
            for public_key, power in updates:
                self.validators.pop(public_key, None) if power == 0 else self.validators.update({public_key: power})
        self.same(height, "updates", updates)

    # -- the network

    def run(self, heights):
        """Decide and execute blocks; return a digest of everything that was said."""
        while len(self.chain) < heights:
            self.gossip()
            if self.random.random() < 0.4:
                self.turn_keys()
            block = self.rounds()
            self.chain.append(block)
            self.now_ms = block.time_ms
            self.spread()
        for node in self.nodes:
            while node.height < len(self.chain):
                self.execute(node)
        return self.trace.hexdigest()

    def gossip(self):
        now_s = self.now_ms // 1_000
        fresh = [self.story.item(now_s) for _ in range(self.random.randint(0, 8))] + self.pending_items
        self.pending_items = []
        for node in self.nodes:
            heard = [item for item in fresh if self.random.random() < 0.85]
            self.random.shuffle(heard)
            for item in heard:
                ours = [item] if self.random.random() < 0.25 else []
                for kind in self.random.choice([[abci.NEW], [abci.NEW, abci.NEW], [abci.NEW, abci.RECHECK]]):
                    node.application.waiting.are_ours(ours)
                    answer = node.application.check_tx(abci.RequestCheckTx(tx=item, type=kind))
                    self.verdict(node, item, answer.code in (0, CODE_KEPT), "check")
                if ours and answer.code == CODE_KEPT:
                    raise Found("what is our own was kept from the mempool: nobody would hear of it")
                if answer.code == 0 and item not in node.mempool:
                    node.mempool.append(item)
                if answer.code in (0, CODE_KEPT) and item not in node.admitted:
                    node.admitted.append(item)
                if answer.code == CODE_KEPT and not node.mempool:
                    raise Found("an item is kept and CometBFT's mempool is empty: it would not propose in its turn")
            self.random.shuffle(node.mempool)

    def verdict(self, node, item, is_admitted, what):
        """One verdict on an item at a height, on every replica, and it is that of a witness who remembers nothing."""
        if is_admitted != holds(node.replica, item):
            raise Found(f"{what} says {is_admitted} of an item, the witness says otherwise")
        self.same(node.replica.chain.height, ("verdict", hashlib.sha256(item).hexdigest()), is_admitted)
        self.trace.update(what.encode())

    def rounds(self):
        """Return the block that is decided, after any number of rounds that come to nothing."""
        height = len(self.chain) + 1
        here = [node for node in self.nodes if node.replica.chain.height == height - 1]
        while True:
            proposer = self.random.choice(here)
            limit = self.random.choice([1_000, 4_000, 200_000])
            time_ms = self.now_ms + self.random.choice([1, 1, 200, 200, 200, 200, 5_000, 5_000, 5_000, 5_000, 5_000, 40_000_000])
            offered = [item for item in proposer.mempool for _ in range(self.random.choice([1, 1, 1, 2]))]
            items = list(
                proposer.application.prepare_proposal(abci.RequestPrepareProposal(txs=offered, max_tx_bytes=limit, height=height)).txs
            )
            if sum(map(len, items)) > limit or not set(items) <= set(proposer.admitted):
                raise Found("a proposal that is too large or invented")
            self.audit_proposal(proposer, items, limit, is_told=height > 1)
            is_honest = self.random.random() < 0.8
            if not is_honest:
                items.insert(self.random.randrange(len(items) + 1), self.story.item(self.now_ms // 1_000))
            hears = [node for node in here if self.random.random() < 0.8]
            block = Decided(items, time_ms, address(self.random.choice(sorted(self.validators))))
            answers = [node.application.process_proposal(self.proposal(height, block)).status == ACCEPT for node in hears]
            for node, said in zip(hears, answers, strict=True):
                if said != all(holds(node.replica, item) for item in items):
                    raise Found(f"ProcessProposal says {said}, the witness says otherwise")
                self.same(height, ("proposal", tuple(hashlib.sha256(item).hexdigest() for item in items)), said)
            if is_honest and not all(answers):
                raise Found("an honest proposal was rejected")
            # Two thirds must have accepted; the rest decide with them. Some rounds fail all the same.
            if answers and all(answers) and 3 * len(answers) > 2 * len(here) and self.random.random() < 0.7:
                return block

    def audit_proposal(self, proposer, items, limit, *, is_told):
        """Where there is room, all that was let in or kept and still holds is proposed: what is kept from CometBFT is not lost."""
        left = [item for item in proposer.admitted if item not in items and holds(proposer.replica, item)]
        if is_told and left and sum(len(item) + 4 for item in [*items, *left]) <= limit:
            raise Found("what was admitted is not proposed though there is room")

    def spread(self):
        """Let some replicas execute what was decided; at least two stay at the tip, so that somebody can propose."""
        for number, node in enumerate(self.random.sample(self.nodes, len(self.nodes))):
            if number >= 2 and self.random.random() < 0.3:
                continue  # lags
            while node.height < len(self.chain):
                crash = self.random.choice([None] * 12 + ["before", "between", "again", "after"])
                self.execute(node, crash)

    def turn_keys(self):
        """Go one step on with the replacement of a node key or a consensus key: propose, vote, then sign with the new one."""
        now_s, replica = self.now_ms // 1_000, self.nodes[0].replica
        if self.rotating is None:
            member = self.random.choice(NAMES)
            use = self.random.choice([directory.KeyUse.NODE, directory.KeyUse.NODE, directory.KeyUse.CONSENSUS])
            fresh = key(member, "fresh", self.story.number)
            proposal = self.story.rotate_proposal(member, use, fresh.public_key, now_s, self.random.choice(NAMES))
            self.rotating = (member, use, fresh, proposal)
            self.pending_items += [proposal] * 3
            return
        member, use, fresh, proposal = self.rotating
        row = directory.member(replica.read(), member)
        if fresh.public_key in (row.node_key, row.consensus_key):
            self.rotating = None
            if use is directory.KeyUse.NODE:
                self.story.keys[member] = fresh
            return
        answer = replica.find([leaf_hash(proposal)]).get(leaf_hash(proposal))
        if answer is None or answer.index is None:
            self.rotating = None  # never arrived, or was refused
            return
        votes = self.story.votes(answer.index, self.random.sample(NAMES, len(NAMES)), now_s)
        self.pending_items += votes * 2
