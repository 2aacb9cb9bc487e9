"""The life of anchors: members tick and correct; a witness that keeps every version of every tick in the open must agree."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.rooms import NOW, View, act, key, kinds, said
from yilian.base.codec import encode
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.refusals import Reason
from yilian.contracts import anchor

DECIDE = kinds(anchor)["anchor.correct"].decide
MEMBERS = st.sampled_from(["clinic-1", "hospital-1"])
ERASE = key("erase")


class Life(RuleBasedStateMachine):
    """Ticks in and out of their windows; corrections true and false."""

    @initialize()
    def begin(self):
        self.view = View()
        self.now_s = NOW - NOW % 60 + 7
        self.index = 0
        self.ticks = {}  # index -> (member, minute, versions)
        self.amended = {}  # (index, version) -> amending

    @rule(seconds=st.sampled_from([0, 1, 52, 53, 59, 60, 61, 600]))
    def time_goes_on(self, seconds):
        self.now_s += seconds

    @rule(member=MEMBERS, count=st.integers(0, 6))
    def tick(self, member, count):
        versions = [key(f"version {self.index} {n}") for n in range(count)]
        message = anchor.Tick(root([leaf_hash(encode([each, ERASE])) for each in versions]), key("own"))
        circumstances = act(now_s=self.now_s, carrier=member, index=self.index)
        writes, reason = said(anchor.tick_writes, self.view, message, circumstances, 60)
        minute = self.now_s // 60
        ticked_already = any(who == member and when == minute for who, when, _ in self.ticks.values())
        assert reason is (Reason.TICKED_ALREADY if ticked_already else None)
        if writes is not None:
            self.view.take(writes)
            self.ticks[self.index] = (member, minute, versions)
            self.index += 1

    @precondition(lambda self: self.ticks)
    @rule(data=st.data(), member=MEMBERS, lie=st.sampled_from(["", "", "position", "version", "tick"]))
    def correct(self, data, member, lie):
        index = data.draw(st.sampled_from(sorted(self.ticks)))
        owner, _, versions = self.ticks[index]
        if not versions:
            return
        place = data.draw(st.integers(0, len(versions) - 1))
        hashes = [leaf_hash(encode([each, ERASE])) for each in versions]
        amended = key("invented") if lie == "version" else versions[place]
        at = place + 1 if lie == "position" else place
        tick = index + 1_000 if lie == "tick" else index
        message = anchor.Correct(tick, amended, ERASE, at, len(versions), inclusion_path(hashes, place), key(f"amending {self.index}"))
        writes, reason = said(DECIDE, self.view, message, act(carrier=member, index=self.index))
        if lie == "tick":
            assert reason is Reason.NO_SUCH_TICK
        elif member != owner:
            assert reason is Reason.NOT_THE_TICK_MEMBER
        elif lie:
            assert reason is Reason.NOT_UNDER_ROOT
        elif (index, amended) in self.amended:
            assert reason is Reason.ALREADY_CORRECTED
        else:
            assert reason is None
            self.view.take(writes)
            self.amended[index, amended] = message.amending
            self.index += 1

    @invariant()
    def rows_say_what_was_accepted(self):
        for index, (member, _, _) in self.ticks.items():
            assert anchor.tick(self.view, index).member == member
        for (index, amended), amending in self.amended.items():
            assert anchor.correction(self.view, index, amended).amending == amending
        members = {member for member, _, _ in self.ticks.values()}
        assert len(self.view.rows) == len(self.ticks) + len(self.amended) + len(members)


TestLifeOfAnchors = Life.TestCase
