"""The life of grants: anything may happen in any order; a witness that knows only a diary of what was let through must agree."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.rooms import DAY_S, NOW, View, act, key, kinds, said
from yilian.base.refusals import Reason
from yilian.contracts import consent

KINDS = kinds(consent)
ENDS = st.sampled_from([1, 1, 2, 2, 7, 8, 31, 91, 366, 3, 9, 367])
PAUSES = st.sampled_from([1, 60, 1_799, 1_800, 1_801, 40_000, 43_199, 43_200, 43_201, 86_400])


class Diary:
    """The witness: for each grant what was promised, and the instants of all it let through. It looks things up; it keeps no counters."""

    def __init__(self, end_s, uses_max, interval_s):
        self.end_s = end_s
        self.uses_max = uses_max
        self.interval_s = interval_s
        self.opened = []
        self.entered = []
        self.revoked_at_s = None

    def in_session(self, now_s):
        return any(from_s <= now_s < min(from_s + 30 * 60, self.end_s) for from_s in self.opened)

    def says(self, opens, now_s):
        """Return why not, or None."""
        if self.revoked_at_s is not None:
            return Reason.GRANT_REVOKED
        if now_s >= self.end_s:
            return Reason.GRANT_ENDED
        if self.in_session(now_s):
            return None
        if not opens:
            return Reason.SESSION_ENDED
        if len(self.opened) == self.uses_max:
            return Reason.USES_EXHAUSTED
        if self.interval_s and any(now_s - from_s < self.interval_s for from_s in self.opened):
            return Reason.INTERVAL_NOT_OVER
        return None


class Life(RuleBasedStateMachine):
    """Grants are given, used, revoked, by right and wrong hands, while time goes on."""

    given = Bundle("given")

    @initialize()
    def begin(self):
        self.view = View()
        self.now_s = NOW
        self.diaries = {}
        self.count = 0

    def decide(self, name, message, *keys) -> Reason | None:
        writes, reason = said(KINDS[name].decide, self.view, message, act(*keys, now_s=self.now_s))
        self.view.take(writes or {})
        return reason

    @rule(seconds=PAUSES)
    def time_goes_on(self, seconds):
        self.now_s += seconds

    @rule(
        target=given,
        days=ENDS,
        uses_max=st.sampled_from([1, 1, 5, 24, 2]),
        halves=st.sampled_from([0, 0, 0, 1, 1, 2, 62, 63]),
        by_control=st.sampled_from([True] * 5 + [False]),
    )
    def give(self, days, uses_max, halves, by_control):
        self.count += 1
        number = self.count
        control, end_s = key(f"control {number}"), (self.now_s // DAY_S + days) * DAY_S
        interval_s = halves * 12 * 60 * 60 or None
        message = consent.Give(control, key(f"h {number}"), key(f"r {number}"), key("c"), end_s, uses_max, interval_s)
        answer = self.decide("consent.give", message, control if by_control else key("thief"))
        is_common = days not in (3, 9, 367) and uses_max != 2 and halves != 63
        assert (answer is None) == (by_control and is_common)
        if answer is not None:
            return multiple()
        self.diaries[control] = Diary(end_s, uses_max, interval_s)
        return control

    @rule(control=given)
    def give_again(self, control):
        end_s = (self.now_s // DAY_S + 8) * DAY_S
        message = consent.Give(control, key("h2"), key("r2"), key("c2"), end_s, 1, None)
        assert self.decide("consent.give", message, control) is Reason.GRANT_EXISTS

    @rule(control=given, calls=st.lists(st.booleans(), min_size=1, max_size=4), pause_s=PAUSES)
    def consult(self, control, calls, pause_s):
        """One or several accesses, a pause before each."""
        for opens in calls:
            self.now_s += pause_s
            self.enter(control, opens)

    @rule(control=given)
    def come_again(self, control):
        """As many openings as there may be, each when it may be at the earliest; and one more."""
        for _ in range(6):
            self.enter(control, opens=True)
            self.now_s += max(self.diaries[control].interval_s or 0, 30 * 60)

    def enter(self, control, opens):
        diary = self.diaries[control]
        grant = consent.read(self.view, control)
        expected = diary.says(opens, self.now_s)
        used, reason = said(consent.use, grant, opens, self.now_s)
        assert reason is expected
        if used is None:
            return
        if not diary.in_session(self.now_s):
            diary.opened.append(self.now_s)
        diary.entered.append(self.now_s)
        self.view.take(consent.write(used))

    @rule(control=given, by_control=st.sampled_from([True, True, False]), wavers=st.sampled_from([True, True, False]))
    def revoke(self, control, by_control, wavers):
        if wavers:
            return
        diary = self.diaries[control]
        grant = consent.read(self.view, control)
        answer = self.decide("consent.revoke", consent.Revoke(control), control if by_control else grant.holder_key)
        if not by_control:
            assert answer is Reason.NOT_APPROVED_BY_CONTROL_KEY
        elif diary.revoked_at_s is not None:
            assert answer is Reason.ALREADY_REVOKED
        else:
            assert answer is None
            diary.revoked_at_s = self.now_s

    @rule()
    def revoke_what_was_never_given(self):
        control = key("never given")
        assert self.decide("consent.revoke", consent.Revoke(control), control) is Reason.NO_SUCH_GRANT

    @invariant()
    def rows_say_what_the_diaries_say(self):
        assert set(self.view.rows) == {b"c/" + control for control in self.diaries}
        for control, diary in self.diaries.items():
            grant = consent.read(self.view, control)
            assert (grant.uses, grant.entries) == (len(diary.opened), len(diary.entered))
            assert (grant.expires_at_s, grant.uses_max, grant.interval_s) == (diary.end_s, diary.uses_max, diary.interval_s)
            assert grant.session_from_s == (diary.opened[-1] if diary.opened else 0)
            assert grant.session_until_s == (min(diary.opened[-1] + 30 * 60, diary.end_s) if diary.opened else 0)
            assert (grant.state is consent.State.REVOKED) == (diary.revoked_at_s is not None)

    @invariant()
    def no_grant_opens_more_than_it_may_nor_after_its_end(self):
        for diary in self.diaries.values():
            assert len(diary.opened) <= diary.uses_max
            assert all(at_s < diary.end_s for at_s in diary.entered)
            assert all(diary.revoked_at_s is None or at_s <= diary.revoked_at_s for at_s in diary.entered)


TestLifeOfGrants = Life.TestCase
