"""Whom a wallet believes: the members of its network as genesis names them, their keys, and who together vouches for a log root."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from yilian.base.keys import kid_of
from yilian.ledger import Checkpoint, Genesis, StateAnswer
from yilian.wallet.refusals import No, WalletRefused


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """One member's registered keys, and its votes."""

    node_key: bytes
    sealing_key: bytes
    receipt_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one network. `operator` orders an embedded ledger; it is empty where validators do."""

    network: bytes
    operator: str
    since_s: int  # the network's first instant: no day before it was ever closed
    keys: Mapping[str, MemberKeys]

    @classmethod
    def of(cls, genesis: Genesis) -> "Members":
        """Return the founding members. Who came later or changed keys is handed over as another `Members`, built from proven entries."""
        founders = {one.id: MemberKeys(one.node_key, one.sealing_key, one.receipt_key, one.power) for one in genesis.members}
        return cls(genesis.network_id, genesis.operator, genesis.started_at_s, founders)

    def named(self, member: str) -> MemberKeys:
        """Return a member's keys.

        Refuses  NO_SUCH_MEMBER
        """
        if member not in self.keys:
            raise WalletRefused(No.NO_SUCH_MEMBER, member=member)
        return self.keys[member]

    def signer_of(self, said: Checkpoint | StateAnswer) -> str | None:
        """Return the member whose receipt key signed a checkpoint or a state answer for this network, or None."""
        for member, keys in self.keys.items():
            if kid_of(keys.receipt_key) == said.kid:
                is_named = not isinstance(said, Checkpoint) or said.member == member
                return member if is_named and said.network == self.network and said.is_signed_by(keys.receipt_key) else None
        return None

    def suffice(self, signers: Collection[str]) -> bool:
        """Say whether the signers together may be believed: the operator, or more than two thirds of the votes (design 02 "Receipt")."""
        if self.operator:
            return self.operator in signers
        total = sum(keys.power for keys in self.keys.values())
        return 3 * sum(keys.power for member, keys in self.keys.items() if member in signers) > 2 * total
