"""Genesis: who founded the network, under which suite and parameters. Its SHA-256 is the network id.

Source   design 02 "Engines"; design 03 "directory".
"""

from __future__ import annotations

from dataclasses import dataclass

from yilian.base.codec import Malformed, decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import PUBLIC_KEY_SIZE
from yilian.base.seal import MEMBER_PUBLIC_SIZE

FORM = "yilian-genesis-1"
SUITE = 1  # Ed25519 as libsodium decides it, and SHA-256 (design 02)


@dataclass(frozen=True, slots=True)
class Founder:
    """A founding member as it enters the directory."""

    id: str
    kinds: tuple[str, ...]
    name: str
    endpoint: str
    node_key: bytes
    sealing_key: bytes
    receipt_key: bytes
    power: int
    consensus_key: bytes | None = None  # of its validator, where an engine has validators


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first word of a network, agreed by its founders. `operator` orders an embedded ledger; it is empty where validators do."""

    started_at_s: int
    operator: str
    members: tuple[Founder, ...]
    parameters: dict[str, int]
    rules_version: int = 1
    suite: int = SUITE

    @property
    def network_id(self) -> bytes:
        """The 32-byte id of the network."""
        return sha256(self.encoded())

    def encoded(self) -> bytes:
        """Return the bytes that the network id is the digest of."""
        members = [
            [one.id, list(one.kinds), one.name, one.endpoint, one.node_key, one.sealing_key, one.receipt_key, one.power, one.consensus_key]
            for one in self.members
        ]
        return encode([FORM, self.suite, self.started_at_s, self.operator, members, self.parameters, self.rules_version])

    def founder(self, member: str) -> Founder:
        """Return the founding member with this id; KeyError if there is none."""
        for founder in self.members:
            if founder.id == member:
                return founder
        raise KeyError(member)


def parse_genesis(data: bytes) -> Genesis:
    """Return the genesis that `data` is.

    Raises   Malformed
    """
    match decode(data):
        case [str(form), int(suite), int(started_at_s), str(operator), list(members), dict(parameters), int(version)] if form == FORM:
            pass
        case _:
            raise Malformed("NOT_A_GENESIS")
    if suite != SUITE:
        raise Malformed("SUITE_NOT_KNOWN")
    if not all(isinstance(name, str) and type(number) is int for name, number in parameters.items()):
        raise Malformed("NOT_A_GENESIS")
    founders = tuple(_founder(item) for item in members)
    if not founders or len({founder.id for founder in founders}) != len(founders):
        raise Malformed("MEMBERS_NOT_DISTINCT")
    if operator and operator not in {founder.id for founder in founders}:
        raise Malformed("OPERATOR_IS_NOT_A_MEMBER")
    return Genesis(started_at_s, operator, founders, parameters, version, suite)


def _founder(item: object) -> Founder:
    match item:
        case [
            str(member),
            [*kinds],
            str(name),
            str(endpoint),
            bytes(node_key),
            bytes(sealing_key),
            bytes(receipt_key),
            int(power),
            (bytes() | None) as consensus_key,
        ]:
            pass
        case _:
            raise Malformed("NOT_A_MEMBER")
    are_keys = len(node_key) == len(receipt_key) == PUBLIC_KEY_SIZE and len(sealing_key) == MEMBER_PUBLIC_SIZE
    is_validator = consensus_key is None or len(consensus_key) == PUBLIC_KEY_SIZE
    if not are_keys or not is_validator or power < 0 or not all(isinstance(kind, str) for kind in kinds):
        raise Malformed("NOT_A_MEMBER")
    return Founder(member, tuple([str(kind) for kind in kinds]), name, endpoint, node_key, sealing_key, receipt_key, power, consensus_key)
