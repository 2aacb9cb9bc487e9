"""Load for the ledger: a network of simulated members, and pre-signed transactions in the two mixes of design 02.

single   one signature: `anchor.correct`, the act of a member alone, its path under a tick of 256 record versions
real     70 % one signature (the same), 25 % two (`consent.give`: envelope and the grant's control key), 5 % four (`access.record` by grant:
         envelope, holder, requester and a third approval, as many as a dispense has)
Every key and number is derived from the number of the transaction, so that a load can be made again; nonces ascend per carrier and the
carriers take turns, as in a region.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from yilian.base.codec import encode
from yilian.base.cose import Sign1
from yilian.base.keys import SigningKey
from yilian.base.merkle import leaf_hash, node_hash, root
from yilian.base.seal import member_public
from yilian.base.transaction import Header, Transaction, sign
from yilian.contracts import access, anchor, consent
from yilian.contracts.anchor.messages import version_leaf
from yilian.ledger import Founder, Genesis, Screened, rules_of

CARRIERS = 8
VERSIONS = 256  # record versions under one tick: a busy hospital's minute
STARTED_AT_S = 1_800_000_000
TICK_S = 60
DAY_S = 86_400
EXP_S = 100  # below the 120 s that an access entry may wait

_NO_SIGNATURE = bytes(64)
KINDS = {each.name: each for each in rules_of(1).values()}
PARAMETERS = {"memo_size": 0, "emergency_cap": 4, "anchor_interval_s": TICK_S}


def digest(*names: object) -> bytes:
    """Return 32 bytes that stand for the names."""
    return sha256("/".join(str(name) for name in names).encode()).digest()


def key(*names: object) -> SigningKey:
    """Return the key pair that stands for the names."""
    return SigningKey(digest(*names))


def member(number: int) -> str:
    """Return a member's id."""
    return f"hospital-{number}"


def genesis() -> Genesis:
    """Return a network of as many hospitals as there are carriers."""
    founders = []
    for number in range(CARRIERS):
        name = member(number)
        node_key, receipt_key = key(name, "node").public_key, key(name, "receipt").public_key
        founders.append(Founder(name, ("hospital",), name, "", node_key, member_public(digest(name, "sealing") * 3), receipt_key, 1))
    return Genesis(STARTED_AT_S, member(0), tuple(founders), PARAMETERS)


@dataclass
class Clock:
    """The block's clock, moved by the benchmark: rules with minutes in them need not be waited for."""

    ms: int = (STARTED_AT_S + TICK_S) * 1_000

    def __call__(self) -> int:
        """Return Unix milliseconds."""
        return self.ms

    @property
    def s(self) -> int:
        """Unix seconds."""
        return self.ms // 1_000


@dataclass
class Load:
    """Makes transactions for one network; remembers the nonces it has used and the ticks and grants that others build on."""

    clock: Clock
    network: bytes = field(default_factory=lambda: genesis().network_id)
    nonces: list[int] = field(default_factory=lambda: [0] * CARRIERS)
    carriers: list[SigningKey] = field(default_factory=lambda: [key(member(n), "node") for n in range(CARRIERS)])
    made: int = 0
    corrections: Iterator[tuple[int, anchor.Correct]] | None = None
    ticks: list[tuple[int, int, int]] = field(default_factory=list)  # log index, carrier, number
    grants: int = 0
    used: int = 0

    def transaction(self, kind: str, message: object, carrier: int, approvers: tuple[SigningKey, ...] = ()) -> bytes:
        """Return a signed transaction."""
        self.nonces[carrier] += 1
        self.made += 1
        signer = self.carriers[carrier]
        header = Header(self.network, signer.kid, member(carrier), kind, self.clock.s + EXP_S, self.nonces[carrier])
        return sign(signer, header, KINDS[kind].number, KINDS[kind].body(message), approvers)

    def tick(self, carrier: int, number: int) -> bytes:
        """Return a member's tick over its next 256 versions."""
        return self.transaction("anchor.tick", anchor.Tick(root(_leaves(carrier, number)), bytes(32)), carrier)

    def ticked(self, index: int, carrier: int, number: int) -> None:
        """Learn where a tick stands in the log: corrections name it."""
        self.ticks.append((index, carrier, number))

    def correct(self) -> bytes:
        """Return a correction of the next version: one signature."""
        if self.corrections is None:
            self.corrections = self._corrections()
        carrier, message = next(self.corrections)
        return self.transaction("anchor.correct", message, carrier)

    def give(self) -> bytes:
        """Return the next grant: two signatures."""
        number, self.grants = self.grants, self.grants + 1
        control, holder, requester = (key("grant", number, role) for role in ("control", "holder", "requester"))
        until_s = (self.clock.s // DAY_S + 8) * DAY_S
        message = consent.Give(control.public_key, holder.public_key, requester.public_key, digest("commitment", number), until_s, 5)
        return self.transaction("consent.give", message, number % CARRIERS, (control,))

    def record(self) -> bytes:
        """Return the first access by the next grant: four signatures."""
        number, self.used = self.used, self.used + 1
        control, holder, requester = (key("grant", number, role) for role in ("control", "holder", "requester"))
        message = access.Record(access.Basis.GRANT, control.public_key, None, None, True, digest("detail", number), b"")  # noqa: FBT003
        return self.transaction("access.record", message, number % CARRIERS, (holder, requester, control))

    def unsigned_gives(self, count: int) -> list[tuple[bytes, Screened]]:
        """Return grants that nobody signed, with the facts that screening would find: to fill a ledger, not to measure one."""
        made = []
        kind = KINDS["consent.give"]
        until_s = (self.clock.s // DAY_S + 8) * DAY_S
        for _ in range(count):
            number, self.grants = self.grants, self.grants + 1
            carrier = number % CARRIERS
            self.nonces[carrier] += 1
            control, holder, requester, commitment = (digest("filling", number, role) for role in range(4))
            body = kind.body(consent.Give(control, holder, requester, commitment, until_s, 5))
            signer = self.carriers[carrier]
            header = Header(self.network, signer.kid, member(carrier), kind.name, self.clock.s + EXP_S, self.nonces[carrier])
            protected, approvals = header.encoded(), ((control, _NO_SIGNATURE),)
            payload = encode([kind.number, body, [list(each) for each in approvals]])
            data = Sign1(protected, {}, payload, _NO_SIGNATURE).encoded()
            known = Transaction(leaf_hash(data), header, protected, payload, _NO_SIGNATURE, kind.number, body, approvals)
            made.append((data, Screened(known, member(carrier), signer.public_key)))
        return made

    def single(self, count: int) -> list[bytes]:
        """Return a load of the single mix."""
        return [self.correct() for _ in range(count)]

    def real(self, count: int) -> list[bytes]:
        """Return a load of the real mix: of each 20, 14 with one signature, 5 with two, 1 with four."""
        makers = [self.correct] * 14 + [self.give] * 5 + [self.record]
        return [makers[n * 7 % 20]() for n in range(count)]  # 7 and 20 share no factor: each 20 have them all, spread out

    def _corrections(self) -> Iterator[tuple[int, anchor.Correct]]:
        for index, carrier, number in self.ticks:
            levels = [_leaves(carrier, number)]
            while len(levels[-1]) > 1:
                below = levels[-1]
                levels.append([node_hash(below[n], below[n + 1]) for n in range(0, len(below), 2)])
            for position in range(VERSIONS):
                path = [level[(position >> height) ^ 1] for height, level in enumerate(levels[:-1])]
                names = (carrier, number, position)
                amended, erase = digest("version", *names), digest("erase", *names)
                yield carrier, anchor.Correct(index, amended, erase, position, VERSIONS, path, digest("amending", *names))


def _leaves(carrier: int, number: int) -> list[bytes]:
    names = [(carrier, number, position) for position in range(VERSIONS)]
    return [leaf_hash(version_leaf(digest("version", *each), digest("erase", *each))) for each in names]
