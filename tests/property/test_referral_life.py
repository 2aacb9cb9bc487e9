"""The life of referrals: steps in any order by any hands; a witness that writes each life down as a word must agree."""

import re

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.rooms import NOW, View, act, key, kinds, said
from yilian.base.refusals import Reason
from yilian.contracts import referral
from yilian.contracts.referral import Stage

KINDS = kinds(referral)
# The whole law of design 03 as one expression: request, then accept or reject, start, complete, down; cancel (x) before complete.
LAWFUL = re.compile(r"(q(r|x|a(x|s(x|c(d)?)?)?)?)?")
LETTERS = {"accept": "a", "reject": "r", "start": "s", "complete": "c", "down": "d", "cancel": "x"}
STAGES = {"q": Stage.REQUESTED, "a": Stage.ACCEPTED, "r": Stage.REJECTED, "s": Stage.IN_PROGRESS}
STAGES |= {"c": Stage.COMPLETED, "d": Stage.DOWN, "x": Stage.CANCELLED}
NUMBERS = st.integers(1, 3)


def sides(number):
    return key(f"from {number}"), key(f"to {number}")


class Life(RuleBasedStateMachine):
    """Three referrals, every step, right and wrong hands."""

    @initialize()
    def begin(self):
        self.view = View()
        self.now_s = NOW
        self.words = dict.fromkeys((1, 2, 3), "")
        self.changed = {}
        self.avoided = {}

    def decide(self, name, message, *keys, members=()):
        self.now_s += 1
        writes, reason = said(KINDS[name].decide, self.view, message, act(*keys, now_s=self.now_s, members=members))
        self.view.take(writes or {})
        return reason

    def write_down(self, number, letter):
        self.words[number] += letter
        self.changed[number] = self.now_s

    @rule(number=NUMBERS, by_sender=st.sampled_from([True, True, False]))
    def request(self, number, by_sender):
        sender, receiver = sides(number)
        message = referral.Request(sender, receiver, key("commitment"))
        reason = self.decide("referral.request", message, sender if by_sender else receiver)
        if not by_sender:
            assert reason is Reason.NOT_APPROVED_BY_FROM_KEY
        elif self.words[number]:
            assert reason is Reason.REFERRAL_EXISTS
        else:
            assert reason is None
            self.write_down(number, "q")

    @rule(
        number=NUMBERS,
        step=st.sampled_from(["accept", "accept", "reject", "start", "complete", "down"]),
        by_receiver=st.sampled_from([1, 1, 1, 0]),
    )
    def step(self, number, step, by_receiver):
        sender, receiver = sides(number)
        message = KINDS[f"referral.{step}"].message(sender)
        reason = self.decide(f"referral.{step}", message, receiver if by_receiver else sender)
        if not self.words[number]:
            assert reason is Reason.NO_SUCH_REFERRAL
        elif not by_receiver:
            assert reason is Reason.NOT_APPROVED_BY_TO_KEY
        elif not LAWFUL.fullmatch(self.words[number] + LETTERS[step]):
            assert reason is Reason.NOT_AT_THIS_STAGE
        else:
            assert reason is None
            self.write_down(number, LETTERS[step])

    @rule(number=NUMBERS, hand=st.sampled_from(["from", "to", "thief"]), wavers=st.sampled_from([False, False, True]))
    def cancel(self, number, hand, wavers):
        if not wavers:
            return
        sender, _ = sides(number)
        reason = self.decide("referral.cancel", referral.Cancel(sender), key(f"{hand} {number}"))
        if not self.words[number]:
            assert reason is Reason.NO_SUCH_REFERRAL
        elif hand == "thief":
            assert reason is Reason.NEITHER_PARTY_APPROVED
        elif not LAWFUL.fullmatch(self.words[number] + "x"):
            assert reason is Reason.NOT_AT_THIS_STAGE
        else:
            assert reason is None
            self.write_down(number, "x")

    @rule(members=st.sampled_from([(), ("clinic-1",), ("hospital-1",), ("clinic-1", "hospital-1")]), count=st.integers(1, 10_000))
    def declare(self, members, count):
        reason = self.decide("reuse.declare", referral.Declare(count), members=members)
        assert reason is (None if len(members) == 1 else Reason.REUSE_NOT_APPROVED_BY_A_MEMBER)
        if reason is None:
            self.avoided.setdefault(members[0], []).append(count)

    @invariant()
    def rows_say_what_the_words_say(self):
        for number, word in self.words.items():
            found = referral.read(self.view, sides(number)[0])
            assert LAWFUL.fullmatch(word)
            if word:
                assert (found.stage, found.changed_at_s) == (STAGES[word[-1]], self.changed[number])
            else:
                assert found is None
        for member in ("clinic-1", "hospital-1"):
            assert referral.reuse(self.view, member).avoided == sum(self.avoided.get(member, []))


TestLifeOfReferrals = Life.TestCase
