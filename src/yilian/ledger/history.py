"""The directory as it was at any index of the log: replayed from genesis by the very rules that the ledger runs, entry by entry.

Who    A stranger with an exported file (`verify`), a wallet that follows its network (`membership`), and a node that must know whose
       signatures an entry of long ago needs.
Source design 02 "Receipt"; ADR-0011, ADR-0092, ADR-0120.
"""

from __future__ import annotations

from collections.abc import Iterable

from yilian.base.kinds import Act, StateView
from yilian.base.transaction import Transaction
from yilian.contracts import directory
from yilian.ledger.chain import start
from yilian.ledger.equivocation import Equivocation
from yilian.ledger.genesis import Genesis
from yilian.ledger.overlay import Rows
from yilian.ledger.versions import rules_of

MEMBERSHIP = "directory."  # kinds about members; a practitioner's credential signs no receipt


class KindUnknown(ValueError):
    """No rules of that height know the kind."""


class NobodyToSuspend(ValueError):
    """The ledger entered no such leaf: there is no active member of that name with a validator, or nobody validates here."""


class History:
    """The directory's rows, moved on by each entry that changed them. `state` is read as any other state."""

    def __init__(self, genesis: Genesis) -> None:
        """Begin with genesis.

        Raises   ValueError, if no network begins with it
        """
        self.genesis = genesis
        self.state = Rows()
        self.state.take(start(genesis)[1])

    def copied(self) -> History:
        """Return the same history, to be moved on by itself."""
        copy = History(self.genesis)
        copy.state = Rows(self.state.rows)
        return copy

    def follow(self, transaction: Transaction, index: int, height: int, time_s: int) -> bool:
        """Let an entry change the directory, as it did on the ledger; say whether it is one that may change who signs.

        Raises   KindUnknown; Refused, if an earlier change is missing
        """
        kind = rules_of(directory.rules_version_at(self.state, height)).get(transaction.kind)
        if kind is None:
            raise KindUnknown(transaction.kind)
        if kind not in directory.KINDS or kind.decide is None:
            return False
        act = Act(
            now_s=time_s,
            height=height,
            index=index,
            exp_s=transaction.header.exp_s,
            carrier=transaction.header.issuer,
            approved_by=frozenset([key for key, _ in transaction.approvals]),
        )
        self.state.take(kind.decide(self.state, kind.read(transaction.body), act))
        return kind.name.startswith(MEMBERSHIP)

    def suspend(self, said: Equivocation) -> None:
        """Let a leaf of the ledger itself suspend a validator, as it did on the ledger. An operator's ledger has no such leaf.

        Raises   NobodyToSuspend, also where an earlier change is missing
        """
        member = directory.member(self.state, said.member)
        key = None if member is None or self.genesis.operator else member.consensus_key
        found = None if key is None else directory.equivocation_writes(self.state, directory.validator_address(key))
        if found is None:
            raise NobodyToSuspend(said.member)
        self.state.take(found[1])


def _voters(members: Iterable[directory.Member]) -> list[directory.Member]:
    """Return those who count among some members, by stage and power: the active ones, and suspended ones too where the active alone would
    have no more than two thirds of all, so that nobody gains a quorum by suspending others (ADR-0090).
    """
    whole = [one for one in members if one.stage is not directory.Stage.REMOVED and one.power > 0]
    active = [one for one in whole if one.stage is directory.Stage.ACTIVE]
    return active if 3 * sum([one.power for one in active]) > 2 * sum([one.power for one in whole]) else whole


def validators(state: StateView) -> dict[str, int]:
    """Return the votes by which a quorum of validators is counted, of those who validate: who has no consensus key votes in the directory
    and orders nothing, so neither its power nor its receipt counts here (ADR-0141).
    """
    seated = [one for one in directory.members(state) if one.consensus_key is not None]
    return {one.id: one.power for one in _voters(seated)}


def is_quorum(state: StateView, genesis: Genesis, signers: tuple[str, ...]) -> bool:
    """Say whether these distinct active members vouch for a root: design 02 "Quorum"."""
    if not genesis.operator:
        votes = validators(state)
        return 3 * sum([votes.get(member, 0) for member in signers]) > 2 * sum(votes.values())
    active = {one.id for one in directory.members(state) if one.stage is directory.Stage.ACTIVE}
    others = active - {genesis.operator}
    return genesis.operator in signers and 2 * len(others.intersection(signers)) > len(others)
