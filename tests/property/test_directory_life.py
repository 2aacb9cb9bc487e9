"""The life of a directory: proposals, votes, suspensions, practitioners in any order; a witness of sets and lists must agree."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.rooms import DAY_S, NOW, View, act, key, kinds, said
from yilian.base.keys import kid_of
from yilian.base.refusals import Reason
from yilian.contracts import directory
from yilian.contracts.directory import Admit, Member, Remove, Rotate, SetParameter, SetPower, SetRules, Stage

KINDS = kinds(directory)
NAMES = ["clinic-1", "hospital-1", "hospital-2", "regulator-1", "newcomer"]
MEMBERS = st.sampled_from(NAMES)
PRACTITIONERS = st.sampled_from(["p1", "p2", "p3"])


def founder(name, power):
    kind = name.split("-")[0]
    return Member(name, (kind,), name, "", key(f"{name} node"), bytes(1_216), key(f"{name} receipt"), None, power, Stage.ACTIVE, 0)


class Life(RuleBasedStateMachine):
    """Four founders and a newcomer; every change, voted on by anybody."""

    proposals = Bundle("proposals")

    @initialize()
    def begin(self):
        self.view = View(
            directory.genesis_writes([founder(name, power) for name, power in zip(NAMES[:4], (1, 2, 2, 1), strict=True)], {}, 1)
        )
        self.now_s = NOW
        self.index = 0
        self.height = 1
        self.power = dict(zip(NAMES[:4], (1, 2, 2, 1), strict=True))  # of all that are not gone
        self.asleep = set()
        self.gone = set()
        self.keys = {name: {f"{name} node", f"{name} receipt"} for name in NAMES[:4]}
        self.node_key = {name: f"{name} node" for name in NAMES[:4]}
        self.cap = 20
        self.rules = [(1, 0)]
        self.ballots = {}  # index -> {member: yes}
        self.opened = {}  # index -> (change, instant)
        self.carried = set()
        self.credentials = {}  # name -> [member, until_s]

    def decide(self, name, message, carrier):
        circumstances = act(now_s=self.now_s, carrier=carrier, index=self.index, height=self.height)
        writes, reason = said(KINDS[name].decide, self.view, message, circumstances)
        self.view.take(writes or {})
        self.index += reason is None
        return reason

    def awake(self, name):
        return name in self.power and name not in self.asleep

    def votes(self, name):
        return self.awake(name) and self.power[name] > 0

    def why_not(self, change):
        """Return why a change cannot be made now, or None; by asking the lists."""
        if isinstance(change, Admit):
            if change.id in self.power or change.id in self.gone:
                return Reason.MEMBER_EXISTS
            taken = any(word in words for words in self.keys.values() for word in self.words_of(change))
            return Reason.KEY_IN_USE if taken else None
        if isinstance(change, SetParameter):
            return None if 1 <= change.value <= 1_000 else Reason.PARAMETER_OUT_OF_RANGE
        if isinstance(change, SetRules):
            if change.version <= self.rules[-1][0]:
                return Reason.VERSION_NOT_NEWER
            is_late = change.activation_height >= self.height + 1_000 and change.activation_height > self.rules[-1][1]
            return None if is_late else Reason.VERSION_TOO_SOON
        if change.member not in self.power:
            return Reason.MEMBER_REMOVED if change.member in self.gone else Reason.NO_SUCH_MEMBER
        if isinstance(change, Rotate):
            taken = any(kid_of(change.key) == kid_of(key(word)) for words in self.keys.values() for word in words)
            return Reason.KEY_IN_USE if taken else None
        left = [name for name in self.power if self.votes(name) and name != change.member]
        keeps = isinstance(change, SetPower) and change.power > 0 and self.awake(change.member)
        return None if left or keeps else Reason.NO_POWER_LEFT

    @staticmethod
    def words_of(change):
        return (f"{change.id} node", f"{change.id} receipt")

    def make(self, change):
        """Make a change in the witness's lists."""
        if isinstance(change, Admit):
            self.power[change.id] = change.power
            self.keys[change.id] = set(self.words_of(change))
            self.node_key[change.id] = self.words_of(change)[0]
        elif isinstance(change, SetParameter):
            self.cap = change.value
        elif isinstance(change, SetRules):
            self.rules.append((change.version, change.activation_height))
        elif isinstance(change, Rotate):
            self.keys[change.member].discard(self.node_key[change.member])
            self.node_key[change.member] = self.word_of(change.key)
            self.keys[change.member].add(self.node_key[change.member])
        elif isinstance(change, Remove):
            del self.power[change.member]
            del self.keys[change.member]
            self.asleep.discard(change.member)
            self.gone.add(change.member)
        else:
            self.power[change.member] = change.power

    def word_of(self, rotated):
        return next(word for word in self.drawn if key(word) == rotated)

    def is_carried(self, index):
        yes = sum(self.power[name] for name, is_yes in self.ballots[index].items() if is_yes and self.awake(name))
        return yes * 3 > sum(self.power.values()) * 2

    @rule(seconds=st.sampled_from([1, 1, DAY_S, 30 * DAY_S - 1, 30 * DAY_S]), blocks=st.sampled_from([0, 1, 999, 1_000]))
    def time_goes_on(self, seconds, blocks):
        self.now_s += seconds
        self.height += blocks

    drawn = [f"key {n}" for n in range(4)]  # noqa: RUF012 - read only

    @rule(target=proposals, proposer=MEMBERS, data=st.data())
    def propose(self, proposer, data):
        change = data.draw(
            st.one_of(
                st.just(Admit("newcomer", ["pharmacy"], "n", "", key("newcomer node"), bytes(1_216), key("newcomer receipt"), None, 3)),
                st.builds(Remove, MEMBERS),
                st.builds(Rotate, MEMBERS, st.just(1), st.sampled_from([key(word) for word in (*self.drawn, "hospital-1 receipt")])),
                st.builds(SetPower, MEMBERS, st.integers(0, 3)),
                st.builds(SetParameter, st.just("emergency_cap"), st.integers(0, 1_001)),
                st.builds(SetRules, st.integers(1, 4), st.integers(self.height + 998, self.height + 1_002)),
            )
        )
        index = self.put(proposer, change)
        return multiple() if index is None else index

    @rule(proposer=MEMBERS, member=MEMBERS, first=st.integers(0, 3))
    def two_proposals_race(self, proposer, member, first):
        """Two changes that were possible when they were proposed; the first to be carried may make the other impossible."""
        choices = [Remove(member), SetPower(member, 0), Rotate(member, 1, key("key 0")), Rotate(member, 1, key("key 1"))]
        indexes = [self.put(proposer, change) for change in (choices[first], choices[0], choices[2])]
        for index in indexes:
            for voter in NAMES if index is not None else ():
                self.cast(index, voter, yes=True)

    def put(self, proposer, change):
        reason = self.decide("directory.propose", directory.propose_change(change), proposer)
        if not self.votes(proposer):
            assert reason is Reason.NOT_A_VOTER
            return None
        assert reason is self.why_not(change)
        if reason is not None:
            return None
        index = self.index - 1
        self.opened[index] = (change, self.now_s)
        self.ballots[index] = {proposer: True}
        self.settle(index)
        return index

    def settle(self, index):
        if self.is_carried(index):
            self.carried.add(index)
            self.make(self.opened[index][0])

    @rule(index=proposals, voter=MEMBERS, yes=st.booleans())
    def vote(self, index, voter, yes):
        self.cast(index, voter, yes)

    @rule(index=proposals, voters=st.permutations(NAMES))
    def all_vote_yes(self, index, voters):
        for voter in voters:
            self.cast(index, voter, yes=True)

    def cast(self, index, voter, yes):
        ballot = self.ballots[index]
        change, opened_s = self.opened[index]
        reason = self.decide("directory.vote", directory.Vote(index, yes=yes), voter)
        if not self.votes(voter):
            assert reason is Reason.NOT_A_VOTER
        elif index in self.carried or self.now_s - opened_s >= 30 * DAY_S:
            assert reason is Reason.PROPOSAL_CLOSED
        elif voter in ballot:
            assert reason is Reason.ALREADY_VOTED
        else:
            ballot[voter] = yes
            impossible = yes and self.is_carried(index) and self.why_not(change) is not None
            assert reason is (Reason.PROPOSAL_NO_LONGER_APPLIES if impossible else None)
            if impossible:
                del ballot[voter]
            elif yes:
                self.settle(index)

    @rule(carrier=st.sampled_from(["regulator-1", "regulator-1", "clinic-1"]), member=MEMBERS, wavers=st.sampled_from([True, True, False]))
    def suspend(self, carrier, member, wavers):
        if wavers:
            return
        reason = self.decide("directory.suspend", directory.Suspend(member, key("reason")), carrier)
        if carrier != "regulator-1" or not self.awake(carrier):
            assert reason is Reason.NOT_THE_REGULATOR
        elif member not in self.power:
            assert reason is (Reason.MEMBER_REMOVED if member in self.gone else Reason.NO_SUCH_MEMBER)
        else:
            assert reason is (Reason.ALREADY_SUSPENDED if member in self.asleep else None)
            self.asleep.add(member)

    @rule(carrier=st.sampled_from(["regulator-1", "regulator-1", "clinic-1"]), member=MEMBERS)
    def reinstate(self, carrier, member):
        reason = self.decide("directory.reinstate", directory.Reinstate(member), carrier)
        if carrier != "regulator-1" or not self.awake(carrier):
            assert reason is Reason.NOT_THE_REGULATOR
        elif member not in self.power:
            assert reason is (Reason.MEMBER_REMOVED if member in self.gone else Reason.NO_SUCH_MEMBER)
        else:
            assert reason is (None if member in self.asleep else Reason.NOT_SUSPENDED)
            self.asleep.discard(member)

    @rule(member=MEMBERS, practitioner=PRACTITIONERS, seconds=st.sampled_from([0, 1, DAY_S, 5 * 366 * DAY_S, 5 * 366 * DAY_S + 1]))
    def register(self, member, practitioner, seconds):
        message = directory.Register(key(practitioner), "nurse", self.now_s + seconds)
        reason = self.decide("practitioner.register", message, member)
        if practitioner in self.credentials:
            assert reason is Reason.CREDENTIAL_EXISTS
        elif not 0 < seconds <= 5 * 366 * DAY_S:
            assert reason is Reason.CREDENTIAL_END_NOT_ALLOWED
        else:
            assert reason is None
            self.credentials[practitioner] = [member, self.now_s + seconds]

    @rule(member=MEMBERS, practitioner=PRACTITIONERS)
    def end(self, member, practitioner):
        reason = self.decide("practitioner.end", directory.End(key(practitioner)), member)
        owner, until_s = self.credentials.get(practitioner, (None, 0))
        if owner is None:
            assert reason is Reason.NO_SUCH_CREDENTIAL
        elif owner != member:
            assert reason is Reason.NOT_THE_CREDENTIALS_MEMBER
        elif self.now_s >= until_s:
            assert reason is Reason.CREDENTIAL_ENDED
        else:
            assert reason is None
            self.credentials[practitioner][1] = self.now_s

    @invariant()
    def the_state_says_what_the_lists_say(self):
        found = {one.id: one for one in directory.members(self.view)}
        assert set(found) == set(self.power) | self.gone
        for name, one in found.items():
            stage = Stage.REMOVED if name in self.gone else Stage.SUSPENDED if name in self.asleep else Stage.ACTIVE
            assert (one.stage, one.power if name in self.power else None) == (stage, self.power.get(name))
        assert directory.parameter(self.view, "emergency_cap") == self.cap
        assert [(each.version, each.activation_height) for each in directory.versions(self.view)] == self.rules
        for one in directory.proposals(self.view):
            ballot = self.ballots[one.id]
            assert one.yes == tuple(sorted(name for name, yes in ballot.items() if yes))
            assert one.no == tuple(sorted(name for name, yes in ballot.items() if not yes))
            assert one.is_passed == (one.id in self.carried)

    @invariant()
    def exactly_the_awake_carry_and_no_key_has_two_owners(self):
        words = {name: self.node_key[name] for name in self.power if name not in self.asleep}
        assert directory.key_table(self.view) == {kid_of(key(word)): (name, key(word)) for name, word in words.items()}
        kids = sorted(row[4:] for row in self.view.rows if row.startswith(b"d/k/"))
        assert kids == sorted(kid_of(key(word)) for of_member in self.keys.values() for word in of_member)
        for name, (owner, until_s) in self.credentials.items():
            is_good = self.now_s < until_s and self.awake(owner)
            assert (directory.credential_at(self.view, key(name), self.now_s) is not None) == is_good


TestLifeOfADirectory = Life.TestCase
