"""What a region says to its ledger, from a seed: good transactions, wrong ones, repeats, and keys that change while they are in flight."""

from tests.worlds import KINDS, key, node_key, seed
from yilian.base.codec import encode
from yilian.base.transaction import Header, act_bytes, approve, assemble, sign
from yilian.contracts import access, anchor, consent, directory

DAY_S = 86_400


class Story:
    """Speaks for the members; `now_s` is the block time to come. All chance is from the given random."""

    def __init__(self, network, members, random):
        self.network, self.members, self.random = network, list(members), random
        self.keys = {member: node_key(member) for member in members}
        self.nonces = dict.fromkeys(members, 0)
        self.grants, self.said, self.number = [], [], 0

    def item(self, now_s):
        """Return one mempool item."""
        chance = self.random.random()
        if chance < 0.30:
            return encode([self.transaction(now_s) for _ in range(self.random.randint(1, 6))])
        if chance < 0.36:
            return self.random.choice(
                [b"", b"\x80", b"\xd2\x84", self.random.randbytes(40), encode([b"x"]), encode([self.transaction(now_s), b"x"])]
            )
        if chance < 0.42 and self.said:
            return self.random.choice(self.said)  # somebody offers it again, alone
        if chance < 0.46 and self.said:
            return encode([self.random.choice(self.said), self.transaction(now_s)])  # or wraps it with another
        if chance < 0.50:
            return self.forged(self.transaction(now_s))
        return self.transaction(now_s)

    def transaction(self, now_s):
        self.number += 1
        say = self.random.choice([self.tick, self.give, self.give, self.use, self.use, self.revoke, self.register, self.wrong])
        data = say(now_s)
        self.said.append(data)
        return data

    def forged(self, data):
        place = self.random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << self.random.randrange(8)]) + data[place + 1 :]

    def say(self, kind_name, message, now_s, carrier=None, approvers=(), **changes):
        carrier = carrier or self.random.choice(self.members)
        kind, signer = KINDS[kind_name], self.keys[carrier]
        self.nonces[carrier] += self.random.choice([1, 1, 1, 2, 700])
        exp_s = now_s + self.random.choice([30, 600, 3_600])
        said = {"network": self.network, "kid": signer.kid, "issuer": carrier, "subject": kind_name, "exp_s": exp_s}
        return sign(signer, Header(**{**said, "nonce": self.nonces[carrier], **changes}), kind.number, kind.body(message), approvers)

    def tick(self, now_s):
        return self.say("anchor.tick", anchor.Tick(seed("tick", self.number), bytes(32)), now_s)

    def give(self, now_s):
        name = self.number
        keys = [key(name, each).public_key for each in ("control", "holder", "requester")]
        self.grants.append(name)
        message = consent.Give(*keys, seed(name), (now_s // DAY_S + self.random.choice([2, 8, 9])) * DAY_S, self.random.choice([1, 5, 24]))
        return self.say("consent.give", message, now_s, approvers=[key(name, "control")])

    def use(self, now_s):
        name = self.random.choice(self.grants) if self.grants else 0
        message = access.Record(
            access.Basis.GRANT, key(name, "control").public_key, None, None, self.random.random() < 0.5, seed(self.number), b""
        )
        approvers = [key(name, "holder"), key(name, "requester")][: self.random.choice([1, 2, 2, 2])]
        return self.say("access.record", message, now_s, approvers=approvers)

    def revoke(self, now_s):
        name = self.random.choice(self.grants) if self.grants else 0
        return self.say("consent.revoke", consent.Revoke(key(name, "control").public_key), now_s, approvers=[key(name, "control")])

    def register(self, now_s):
        message = directory.Register(key("doctor", self.number).public_key, "physician", now_s + DAY_S)
        return self.say("practitioner.register", message, now_s)

    def wrong(self, now_s):
        changes = self.random.choice(
            [{"exp_s": now_s - 1}, {"nonce": 1}, {"nonce": 10**9}, {"subject": "anchor.tock"}, {"network": bytes(32)}, {"kid": bytes(16)}]
        )
        return self.say("anchor.tick", anchor.Tick(bytes(32), bytes(32)), now_s, **changes)

    def lifted(self, now_s):
        """Return a transaction with another's approval in it, which must not count."""
        carrier = self.members[0]
        kind = KINDS["consent.revoke"]
        body = kind.body(consent.Revoke(key(0, "control").public_key))
        theirs = approve(key(0, "control"), b"another envelope", act_bytes(kind.number, body))
        self.nonces[carrier] += 1
        header = Header(self.network, self.keys[carrier].kid, carrier, kind.name, now_s + 60, self.nonces[carrier])
        return assemble(self.keys[carrier], header.encoded(), kind.number, body, [theirs])

    def rotate_proposal(self, member, use, fresh, now_s, proposer):
        """Return the proposal of a new key for a member."""
        return self.say("directory.propose", directory.propose_change(directory.Rotate(member, int(use), fresh)), now_s, carrier=proposer)

    def votes(self, proposal, voters, now_s):
        return [self.say("directory.vote", directory.Vote(proposal, yes=True), now_s, carrier=each) for each in voters]
