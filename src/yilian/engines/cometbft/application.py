"""The ledger as an ABCI 2.0 application: what CometBFT asks, and our answers. No sockets; a clock only for what this validator itself
proposes; one thread of its own, in which a proposal is worked out while its votes travel (`ahead`).

CheckTx, PrepareProposal and ProcessProposal ask one function (`items.Screening.admit`); FinalizeBlock decides a block, or takes what was
worked out ahead, and keeps it in memory; only Commit makes it durable. So after a crash at any point Info answers the last committed
height, and CometBFT replays from there.
Source   design 02 "Engines", "Verdicts"; CometBFT v0.38.25, spec/abci/abci++_methods.md; ADR-0090, ADR-0145.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf import timestamp_pb2

from yilian.base.codec import encode
from yilian.base.keys import are_signed
from yilian.base.refusals import Refused
from yilian.contracts import directory
from yilian.engines.cometbft import validators
from yilian.engines.cometbft.ahead import Ahead, Proposal, Worked
from yilian.engines.cometbft.faults import OutOfStep, WrongGenesis, WrongVersion
from yilian.engines.cometbft.items import Screening, batch_bytes, in_block
from yilian.engines.cometbft.peerfilter import PeerFilter
from yilian.engines.cometbft.proposing import await_admissions, proposed
from yilian.engines.cometbft.settings import SEATS, VERSION, chain_id
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.stubs.crypto import keys_pb2
from yilian.engines.cometbft.stubs.types import params_pb2
from yilian.engines.cometbft.waiting import WAITING_SIZE_BYTES_MAX, Waiting
from yilian.engines.faults import RulesMissing
from yilian.engines.protocol import Block
from yilian.engines.replica import Decided, Replica
from yilian.ledger import BlockHeader, Genesis, Result, Verify, VersionMissing, rules_of

CODE_ADMITTED = 0
CODE_KEPT = 2**32 - 1  # no refusal's number
# An access entry ends 90 s after issue and at most 120 s after its block's time (design 03): 30 s are left, a heartbeat takes 5 (ADR-0118)
STALE_MS_MAX = 20_000
PEER = "/p2p/filter/id/"  # asked by CometBFT of each peer, `filter_peers`; source: CometBFT v0.38.25, node/setup.go createTransport
ADDRESS = "/p2p/filter/addr/"


@dataclass(frozen=True, slots=True)
class _Pending:
    """A block that was finalised and waits for Commit."""

    items: tuple[bytes, ...]
    decided: Decided
    updates: validators.Validators


class Timing(NamedTuple):
    """This machine's clocks, and how to wait. Without `now_ms` no proposal is held back, and who was named may connect before the first
    block alone.
    """

    now_ms: Callable[[], int] | None = None
    pause: Callable[[float], None] = time.sleep
    clock_s: Callable[[], float] = time.monotonic


class Mempool(NamedTuple):
    """What can be done about CometBFT's mempool: have it begin anew, empty; have it take in an item that was kept from it."""

    empty: Callable[[], None] = lambda: None
    hand_over: Callable[[bytes], None] = lambda _: None


class Configured(NamedTuple):
    """What this member's folder says: the peers that its operator chose to dial, by their ids, and the key of its seat, if it is known."""

    named: frozenset[str] = frozenset()
    seat_key: bytes | None = None


class Application:
    """One replica behind ABCI. `committed` is told of each block once it is durable."""

    def __init__(
        self,
        replica: Replica,
        snapshots: Snapshots,
        committed: Callable[[Block], None],
        mempool: Mempool | None = None,
        configured: Configured | None = None,
        timing: Timing | None = None,
        verify: Verify = are_signed,
    ) -> None:
        """Begin at the replica's height. `verify` checks many signatures."""
        now_ms, pause, clock_s = timing or Timing()
        self._replica = replica
        self._snapshots = snapshots
        self._committed = committed
        self._mempool = mempool or Mempool()
        named, self._seat_key = configured or Configured()
        self._filter = PeerFilter(replica, named, now_ms, pause, clock_s)
        self._now_ms = now_ms
        self._pause = pause
        self._last_counts = (0, 0)  # transactions in the last two blocks
        self._guard = threading.Lock()  # one CometBFT at a time changes the ledger
        self._pending: _Pending | None = None
        self._names: dict[bytes, str] = {}
        self._is_validating = True
        self._look_who_validates()
        self.screening = Screening(self._genesis.network_id, replica.keys(), verify)
        self.waiting = Waiting(WAITING_SIZE_BYTES_MAX, batch_bytes)
        self._is_checking = False  # an item, on the mempool's connection
        self._ahead = Ahead(self._worked_ahead)

    def close(self) -> None:
        """Let go of the thread that works ahead; nothing is asked afterwards."""
        self._ahead.close()

    @property
    def _genesis(self) -> Genesis:
        return self._replica.genesis

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return ABCI's methods by the names of its oneof."""
        return {
            "echo": lambda asked: abci.ResponseEcho(message=asked.message),
            "flush": lambda _: abci.ResponseFlush(),
            "info": self.info,
            "query": self.query,
            "check_tx": self.check_tx,
            "init_chain": self.init_chain,
            "prepare_proposal": self.prepare_proposal,
            "process_proposal": self.process_proposal,
            "finalize_block": self.finalize_block,
            "commit": self.commit,
            # design 02: no vote extensions. Genesis never enables them, so these two are not asked
            "extend_vote": lambda _: abci.ResponseExtendVote(),
            "verify_vote_extension": _verify_vote_extension,
            "list_snapshots": lambda _: abci.ResponseListSnapshots(snapshots=self._snapshots.listed()),
            "load_snapshot_chunk": self.load_snapshot_chunk,
            "offer_snapshot": lambda asked: self._snapshots.offered(asked.snapshot, asked.app_hash),
            "apply_snapshot_chunk": self.apply_snapshot_chunk,
        }

    # -- query connection

    def info(self, asked: abci.RequestInfo) -> abci.ResponseInfo:
        """Answer where the ledger stands: the last height that is durable here.

        Raises   WrongVersion; RulesMissing, if the next block is decided by rules that this software does not have
        """
        if asked.version and asked.version != VERSION:
            raise WrongVersion(asked.version)
        chain = self._replica.chain
        rules_version = directory.rules_version_at(self._replica.read(), chain.height + 1)
        try:
            rules_of(rules_version)
        except VersionMissing as why:  # said at the start, not when the next block comes
            raise RulesMissing(str(why)) from why
        return abci.ResponseInfo(
            data="yilian",
            app_version=rules_version,
            last_block_height=chain.height,
            last_block_app_hash=chain.app_hash if chain.height else b"",
        )

    def query(self, asked: abci.RequestQuery) -> abci.ResponseQuery:
        """Answer CometBFT whether a peer may stay, and the member's operator whose the seats are: `/seats`, `CBOR([[key, member], ...])`.

        All else is read from the node's own store, not through CometBFT.
        """
        view = self._replica.read()
        if asked.path.startswith(PEER):
            peer = asked.path[len(PEER) :]
            return abci.ResponseQuery(
                code=int(not self._filter.is_let_in(peer)), log=f"{peer} is no member's peer", height=view.chain.height
            )
        if asked.path.startswith(ADDRESS):
            return abci.ResponseQuery(height=view.chain.height)  # a member is known by its key, wherever it is
        if asked.path != SEATS:
            return abci.ResponseQuery(code=1, log=f"the only path is {SEATS}", height=view.chain.height)
        seats = [[member.consensus_key, member.id] for member in directory.members(view) if member.consensus_key is not None]
        return abci.ResponseQuery(value=encode(seats), height=view.chain.height)

    # -- mempool connection

    def check_tx(self, asked: abci.RequestCheckTx) -> abci.ResponseCheckTx:
        """Answer whether an item may enter the mempool; the code is a refusal's number, or says that the item is kept here (`waiting`)."""
        item = asked.tx
        self._is_checking = True
        try:
            count = self.screening.admit(item)
        except Refused as no:
            if self.waiting.drop([item]):  # it was good when it came: its carrier's key has gone since
                self._tell_what_is_unheard()
            return abci.ResponseCheckTx(code=int(no.reason), log=str(no), codespace="yilian")
        finally:
            self._is_checking = False
        if self.waiting.take(item, count, self._replica.chain.height, may_keep=self._is_validating):
            return abci.ResponseCheckTx(code=CODE_ADMITTED)
        return abci.ResponseCheckTx(code=CODE_KEPT, log="kept for a proposal of ours", codespace="yilian")

    # -- consensus connection

    def init_chain(self, asked: abci.RequestInitChain) -> abci.ResponseInitChain:
        """Answer genesis, which this replica wrote from its own copy.

        Raises   WrongGenesis, unless CometBFT's genesis carries exactly ours
        """
        ours = self._genesis
        if asked.chain_id != chain_id(ours.network_id) or _carried(asked.app_state_bytes) != ours.encoded():
            raise WrongGenesis(ours.network_id, f"chain {asked.chain_id!r}")
        if asked.consensus_params.version.app != ours.rules_version:
            raise WrongGenesis(ours.network_id, f"rules version {asked.consensus_params.version.app} instead of {ours.rules_version}")
        theirs = {each.pub_key.ed25519: each.power for each in asked.validators}
        if theirs != validators.validators(self._replica.read()):
            raise WrongGenesis(ours.network_id, f"chain {asked.chain_id!r} with other validators")
        return abci.ResponseInitChain(app_hash=self._replica.chain.app_hash)

    def prepare_proposal(self, asked: abci.RequestPrepareProposal) -> abci.ResponsePrepareProposal:
        """Answer the items to propose: those that hold, until the block is full (`proposing`).

        What does not hold held when it was taken in: its carrier's key has gone since. CometBFT keeps such items, offers no way to drop
        one, and would in the end offer nothing else; so when they are half of what fits, its mempool is to be emptied (ADR-0090).
        """
        if asked.height == 1 or self._is_stale(_ms(asked.time)):
            return abci.ResponsePrepareProposal()  # its time is genesis's, or from before a halt: what is true now would be refused
        await_admissions(max(self._last_counts), self.waiting.transactions, lambda: self._is_checking, self._pause)
        offered = list(asked.txs)
        said = proposed(self.waiting.items(), offered, self.screening.admit, asked.max_tx_bytes)
        self.waiting.drop(said.refused)
        if 2 * sum(map(len, frozenset(said.refused).intersection(offered))) > asked.max_tx_bytes:
            self._mempool.empty()
        return abci.ResponsePrepareProposal(txs=said.items)

    def _is_stale(self, time_ms: int) -> bool:
        """Say whether a block of this time would judge what is said now by a time that is long past (ADR-0118)."""
        return self._now_ms is not None and time_ms < self._now_ms() - STALE_MS_MAX

    def process_proposal(self, asked: abci.RequestProcessProposal) -> abci.ResponseProcessProposal:
        """Answer whether a proposal may be voted for: every item of it must hold. What it would do is worked out while the votes travel."""
        try:
            for item in asked.txs:
                self.screening.admit(item)
        except Refused:
            return abci.ResponseProcessProposal(status=abci.ResponseProcessProposal.REJECT)
        self._ahead.begin(self._proposal(asked))
        return abci.ResponseProcessProposal(status=abci.ResponseProcessProposal.ACCEPT)

    def finalize_block(self, asked: abci.RequestFinalizeBlock) -> abci.ResponseFinalizeBlock:
        """Answer what a decided block does; nothing is durable yet.

        Raises   OutOfStep
        """
        with self._guard:
            view = self._replica.read()
            if asked.height != view.chain.height + 1:
                raise OutOfStep(view.chain.height, asked.height)
            block = self._proposal(asked)
            decided, counts = self._ahead.take(block) or self._worked(block)
            applied = decided.applied
            changed = validators.updates(view, applied.writes)
            self._pending = _Pending(block.items, decided, changed)
            return abci.ResponseFinalizeBlock(
                tx_results=_item_results(applied.results, counts),
                validator_updates=[
                    abci.ValidatorUpdate(pub_key=keys_pb2.PublicKey(ed25519=key), power=power) for key, power in changed.items()
                ],
                consensus_param_updates=self._version_after(asked.height),
                app_hash=applied.app_hash,
            )

    def _proposal(self, asked: abci.RequestProcessProposal | abci.RequestFinalizeBlock) -> Proposal:
        proposer = self._names.get(asked.proposer_address, asked.proposer_address.hex()[:32])
        equivocators = tuple(dict.fromkeys([each.validator.address for each in asked.misbehavior]))
        return Proposal(BlockHeader(asked.height, _ms(asked.time), proposer, equivocators), tuple(asked.txs))

    def _worked(self, block: Proposal) -> Worked:
        transactions, counts = in_block(block.items, self.screening.opened)
        return Worked(self._replica.decide(block.header, transactions, self.screening.facts), counts)

    def _worked_ahead(self, block: Proposal) -> Worked | None:
        """Work out what a proposal would do, unless another block has become final since it was asked about."""
        return self._worked(block) if block.header.height == self._replica.chain.height + 1 else None

    def commit(self, _: abci.RequestCommit) -> abci.ResponseCommit:
        """Make the finalised block durable, then visible, then tell."""
        with self._guard:
            pending = self._pending
            if pending is None:
                raise OutOfStep(self._replica.chain.height, self._replica.chain.height)
            block = self._replica.commit(pending.decided)
            self._pending = None
            self.screening.move_on(self._replica.keys(), pending.items, block.transactions)
            self.waiting.drop(pending.items)
            if pending.updates:
                self._look_who_validates()
            self._last_counts = (self._last_counts[1], len(block.transactions))
            self._snapshots.after(block.height)
        self._committed(block)
        self._tell_what_is_unheard()
        return abci.ResponseCommit(retain_height=self._snapshots.retain_height(block.height))

    # -- snapshot connection

    def load_snapshot_chunk(self, asked: abci.RequestLoadSnapshotChunk) -> abci.ResponseLoadSnapshotChunk:
        """Answer a chunk for a member that joins."""
        return abci.ResponseLoadSnapshotChunk(chunk=self._snapshots.chunk(asked.height, asked.format, asked.chunk))

    def apply_snapshot_chunk(self, asked: abci.RequestApplySnapshotChunk) -> abci.ResponseApplySnapshotChunk:
        """Answer to a chunk that we asked for; the last one moves the replica to the snapshot's height."""
        with self._guard:
            answer = self._snapshots.applied(asked.index, asked.chunk, asked.sender)
            self.screening.move_on(self._replica.keys())
            self._look_who_validates()
        return answer

    def _tell_what_is_unheard(self) -> None:
        if (left := self.waiting.unheard()) is not None:
            self._mempool.hand_over(left)

    def _look_who_validates(self) -> None:
        view = self._replica.read()
        self._names |= validators.names(view)
        self._is_validating = self._seat_key is None or bool(validators.validators(view).get(self._seat_key))

    def _version_after(self, height: int) -> params_pb2.ConsensusParams | None:
        """Return the rules version as CometBFT's application version, where it changes with the next block."""
        view = self._replica.read()  # a version is voted at least 1,000 blocks ahead, so the state before this block knows it
        now, following = directory.rules_version_at(view, height), directory.rules_version_at(view, height + 1)
        return None if now == following else params_pb2.ConsensusParams(version=params_pb2.VersionParams(app=following))


def _verify_vote_extension(asked: abci.RequestVerifyVoteExtension) -> abci.ResponseVerifyVoteExtension:
    status = abci.ResponseVerifyVoteExtension.REJECT if asked.vote_extension else abci.ResponseVerifyVoteExtension.ACCEPT
    return abci.ResponseVerifyVoteExtension(status=status)


def _carried(app_state: bytes) -> bytes:
    """Return our genesis as CometBFT's genesis carries it; empty if it carries none."""
    try:
        return base64.b64decode(json.loads(app_state)["yilian"], validate=True)
    except (ValueError, KeyError, TypeError):
        return b""


def _ms(time: timestamp_pb2.Timestamp) -> int:
    return time.seconds * 1_000 + time.nanos // 1_000_000


def _item_results(results: tuple[Result, ...], counts: list[int]) -> list[abci.ExecTxResult]:
    """Return a result for each item: `CBOR([[index or null, reason], ...])`, so that CometBFT's results hash covers them."""
    answers, at = [], 0
    for count in counts:
        answers.append(abci.ExecTxResult(data=encode([[each.index, each.reason] for each in results[at : at + count]])))
        at += count
    return answers
