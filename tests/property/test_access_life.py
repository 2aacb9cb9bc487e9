"""The life of accesses: any basis, any hands, any order, over days; a witness that only keeps a list of what was accepted must agree."""

from fractions import Fraction
from hashlib import sha256

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from tests.rooms import NOW, View, act, key, kinds, said
from yilian.base.refusals import Reason
from yilian.contracts import access
from yilian.contracts.access import GrantFacts, Limits, Record

KINDS = kinds(access)
DETAIL = key("detail")
PAUSES = st.sampled_from([0, 1, 60, 1_799, 1_800, 3_600, 40_000, 86_399, 86_400, 3 * 86_400])
MEMBERS = ("hospital-1", "hospital-2")
CAP = 2
LIMITS = Limits(0, CAP)


def pk(number):
    return key(f"pk {number}")


def tag_of(number):
    return sha256(pk(number)).digest()[:16]


class Bag:
    """The witness of one member's quota: every opening, every review, and the bucket replayed second for second in fractions of a day."""

    def __init__(self):
        self.openings = []
        self.due = {}

    def may_open(self, now_s):
        """Return whether a share is left, by replaying all openings from the beginning."""
        share, at_s = None, None
        for opened_s, cap in self.openings:
            share = Fraction(cap) if share is None else min(Fraction(cap), share + cap * Fraction(opened_s - at_s, 86_400))
            share, at_s = share - 1, opened_s
        cap = self.cap(now_s)
        share = Fraction(cap) if share is None else min(Fraction(cap), share + cap * Fraction(now_s - at_s, 86_400))
        return share >= 1

    def cap(self, now_s):
        late = len([due_s for due_s in self.due.values() if due_s <= now_s])
        return max(1, CAP - late)


class Life(RuleBasedStateMachine):
    """Entries by grant, by patient and in emergencies; skips, marks, disputes, reviews; days go by and old tags are dropped."""

    entries = Bundle("entries")
    sessions = Bundle("sessions")

    @initialize()
    def begin(self):
        self.view = View()
        self.now_s = NOW
        self.index = 0
        self.used = []  # (day, tag)
        self.lawful = {}  # index -> [who marks it unsent, who disputes it, marked, disputed]
        self.bags = {member: Bag() for member in MEMBERS}
        self.grant_entries = {1: 0, 2: 0}
        self.open = {}  # tag -> (member, from_s)

    def record(self, message, facts, *keys, members=()):
        circumstances = act(*keys, now_s=self.now_s, index=self.index, members=members)
        return self.take(*said(access.record_writes, self.view, message, circumstances, LIMITS, facts))

    def decide(self, name, message, *keys, members=()):
        circumstances = act(*keys, now_s=self.now_s, index=self.index, members=members)
        return self.take(*said(KINDS[name].decide, self.view, message, circumstances))

    def take(self, writes, reason):
        self.view.take(writes or {})
        self.index += reason is None
        return reason

    def is_used(self, tag):
        day = self.now_s // 86_400
        return any(used == tag and day - on <= 1 for on, used in self.used)

    def enter(self, tag, marker, disputer):
        self.used.append((self.now_s // 86_400, tag))
        self.lawful[self.index - 1] = [marker, disputer, False, False]
        return self.index - 1

    @rule(seconds=PAUSES)
    def time_goes_on(self, seconds):
        before = self.now_s // 86_400
        self.now_s += seconds
        day = self.now_s // 86_400
        if day > before:  # what the ledger's daily leaf does
            old = [row for row in self.view.rows if row.startswith(b"t/") and int.from_bytes(row[2:6], "big") < day - 1]
            self.view.take(dict.fromkeys(old))

    @precondition(lambda self: max(self.grant_entries.values()) < 24)  # the witness writes CBOR by hand, with one byte for a number
    @rule(target=entries, grant=st.sampled_from([1, 2]), hands=st.sampled_from(["both", "both", "holder", "requester", "none"]))
    def read_by_grant(self, grant, hands):
        control, holder, requester = key(f"c {grant}"), key(f"h {grant}"), key(f"r {grant}")
        facts = GrantFacts(control, holder, requester, self.grant_entries[grant])
        keys = {"both": [holder, requester], "holder": [holder], "requester": [requester], "none": [control]}[hands]
        reason = self.record(Record(1, control, None, None, True, DETAIL, b""), facts, *keys)
        if hands != "both":
            expected = Reason.NOT_APPROVED_BY_REQUESTER_KEY if hands == "holder" else Reason.NOT_APPROVED_BY_HOLDER_KEY
            assert reason is expected
            return multiple()
        assert reason is None
        number = self.grant_entries[grant]
        self.grant_entries[grant] += 1
        self.used.append((self.now_s // 86_400, sha256(b"\x83\x63tag\x58\x20" + control + number.to_bytes(1, "big")).digest()[:16]))
        self.lawful[self.index - 1] = [holder, control, False, False]
        return self.index - 1

    @rule(target=entries, number=st.integers(1, 6), own=st.sampled_from([True, True, False]))
    def read_own(self, number, own):
        reason = self.record(Record(2, None, None, tag_of(number), False, DETAIL, b""), None, pk(number) if own else pk(0))
        if not own:
            assert reason is Reason.NOT_APPROVED_BY_TAG_KEY
        elif self.is_used(tag_of(number)):
            assert reason is Reason.TAG_USED
        else:
            assert reason is None
            return self.enter(tag_of(number), pk(number), pk(number))
        return multiple()

    @rule(number=st.integers(1, 6))
    def skip(self, number):
        reason = self.decide("access.skip", access.Skip(tag_of(number)), pk(number))
        assert reason is (Reason.TAG_USED if self.is_used(tag_of(number)) else None)
        if reason is None:
            self.used.append((self.now_s // 86_400, tag_of(number)))

    @rule(target=entries, number=st.integers(7, 30), member=st.sampled_from(MEMBERS))
    def open_emergency(self, number, member):
        bag = self.bags[member]
        reason = self.record(Record(3, None, None, tag_of(number), True, DETAIL, b""), None, pk(number), members=(member,))
        if self.is_used(tag_of(number)):
            assert reason is Reason.TAG_USED
        elif not bag.may_open(self.now_s):
            assert reason is Reason.EMERGENCY_QUOTA
        else:
            assert reason is None
            bag.openings.append((self.now_s, bag.cap(self.now_s)))
            bag.due[self.index - 1] = self.now_s + 72 * 60 * 60
            self.open[tag_of(number)] = (member, self.now_s)
            return self.enter(tag_of(number), pk(number), pk(number))
        return multiple()

    @precondition(lambda self: self.open)
    @rule(target=entries, number=st.integers(31, 60), member=st.sampled_from(MEMBERS), data=st.data())
    def read_on(self, number, member, data):
        session = data.draw(st.sampled_from([*self.open, b"no such session!"]))
        reason = self.record(Record(3, None, session, tag_of(number), False, DETAIL, b""), None, pk(number), members=(member,))
        opener, from_s = self.open.get(session, (None, 0))
        if self.is_used(tag_of(number)):
            assert reason is Reason.TAG_USED
        elif opener is None:
            assert reason is Reason.NO_SUCH_SESSION
        elif opener != member:
            assert reason is Reason.NOT_THE_SESSION_MEMBER
        elif self.now_s - from_s >= 30 * 60:
            assert reason is Reason.EMERGENCY_SESSION_ENDED
        else:
            assert reason is None
            return self.enter(tag_of(number), pk(number), pk(number))
        return multiple()

    @rule(index=entries, right=st.sampled_from([True, True, False]))
    def mark_unsent(self, index, right):
        found = self.lawful[index]
        reason = self.decide("access.unsent", access.Unsent(index, 1), found[0] if right else key("thief"))
        if not right:
            assert reason in {Reason.NOT_APPROVED_BY_HOLDER_KEY, Reason.NOT_APPROVED_BY_TAG_KEY}
            return
        assert reason is (Reason.ALREADY_UNSENT if found[2] else None)
        found[2] = True

    @rule(index=entries, right=st.sampled_from([True, True, False]))
    def dispute(self, index, right):
        found = self.lawful[index]
        reason = self.decide("access.dispute", access.Dispute(index, DETAIL), found[1] if right else key("thief"))
        if not right:
            assert reason in {Reason.NOT_THE_GRANTS_CONTROL_KEY, Reason.NOT_APPROVED_BY_TAG_KEY}
            return
        assert reason is (Reason.ALREADY_DISPUTED if found[3] else None)
        found[3] = True

    @rule(index=entries, member=st.sampled_from(MEMBERS))
    def review(self, index, member):
        reason = self.decide("access.review", access.Review(index, 2), self.lawful[index][0], members=(member,))
        owing = [name for name, bag in self.bags.items() if index in bag.due]
        if not owing:
            assert reason is Reason.NO_REVIEW_DUE
        elif owing != [member]:
            assert reason is Reason.NOT_APPROVED_BY_A_MEMBER
        else:
            assert reason is None
            del self.bags[member].due[index]

    @invariant()
    def rows_say_what_was_accepted(self):
        for index, (_, _, marked, disputed) in self.lawful.items():
            entry = access.entry(self.view, index)
            assert (entry.unsent is not None, entry.is_disputed) == (marked, disputed)
        for member, bag in self.bags.items():
            assert [(each.index, each.due_s) for each in access.reviews(self.view, member)] == sorted(bag.due.items())
        today = self.now_s // 86_400
        for day in (today - 1, today):
            assert access.tags_of_day(self.view, day) == sorted(tag for on, tag in self.used if on == day)

    @invariant()
    def no_tag_twice_in_two_days_and_no_days_with_too_many_openings(self):
        for place, (day, tag) in enumerate(self.used):
            assert not any(tag == other and abs(day - on) <= 1 for on, other in self.used[:place])
        for bag in self.bags.values():
            times = [at_s for at_s, _ in bag.openings]
            assert all(len([t for t in times if from_s <= t < from_s + 86_400]) <= 2 * CAP for from_s in times)


TestLifeOfAccesses = Life.TestCase
