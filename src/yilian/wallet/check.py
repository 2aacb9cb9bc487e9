"""The check that a log is whole: every access of one chart at one holder is shown, or it is known that something is missing.

By grant     entries are numbered in the order of the log; the detail of number n opens only with `grant_tag(control_key, n)`, so one left
             out, moved or put in is found; the next tag must be absent on every day since the last entry.
Other bases  are tags of pk_0, pk_1 ... of their month: none may be missing, and the next 8 must be absent on every day of the month and
             the first after it.
Not found    an act that holder and requester both hid, and a jump over more than 8 numbers: ADR-0063 says why.
Source       design 03 "access"; design 04 "The patient's own view".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yilian.base.artefacts import detail, detail_key, entry_seed, month_key
from yilian.base.chartlogs import ABSENT_AHEAD, Head, LogAnswer, Standing
from yilian.base.digests import grant_tag, key_tag, sha256
from yilian.base.keys import SigningKey
from yilian.base.refusals import Refused
from yilian.base.times import day_of, month_days, month_of
from yilian.contracts import access
from yilian.wallet.evidence import Evidence, Proven
from yilian.wallet.findings import Fault, Finding, month_text
from yilian.wallet.members import Members
from yilian.wallet.state import Chart, Grant, SeenHead

KINDS: Final = {kind.number: kind for kind in access.KINDS}
SKEW_S: Final = 3_600  # the wallet's clock against block time: absence is asked from that much earlier


@dataclass(frozen=True, slots=True)
class Question:
    """Whose log is checked, with what is known of it."""

    members: Members
    chart: Chart
    relationship_key: bytes
    grants: tuple[Grant, ...]
    seen: bytes | None  # newest checkpoint, encoded
    now_s: int

    @property
    def network(self) -> bytes:
        """The network's id."""
        return self.members.network


@dataclass(frozen=True, slots=True)
class LogLine:
    """One access as the patient may read it. `number` is its place in its series (a grant, or a month)."""

    index: int
    month: int
    basis: access.Basis | None  # None: a number that was skipped, nothing was read
    control_key: bytes | None
    number: int
    audit_event: bytes | None
    is_unsent: bool
    is_disputed: bool
    is_lawful: bool


@dataclass(frozen=True, slots=True)
class LogReport:
    """What the check found, the lines of the log, and what to remember: only a clean check is remembered."""

    holder: str
    months: tuple[int, ...]
    findings: tuple[Finding, ...]
    lines: tuple[LogLine, ...]
    vouched_by: tuple[str, ...]
    split_view: tuple[bytes, bytes] | None  # two signed checkpoints of one size: publish both
    checkpoint: bytes | None
    heads: tuple[SeenHead, ...]

    @property
    def is_clean(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.findings


def check_log(question: Question, answers: Sequence[LogAnswer]) -> LogReport:
    """Check the answers of one holder, months ascending, of every month that is due."""
    chart = question.chart
    evidence = Evidence(question.members, chart.holder, question.now_s, question.seen)
    months = [answer.month for answer in answers]
    due = months_due(chart, question.members.since_s, question.now_s)
    for answer in answers:
        if answer.holder != chart.holder or months.count(answer.month) != 1 or answer.month not in due:
            evidence.find(Fault.NOT_READABLE, holder=chart.holder, what=f"answer of {answer.holder} for {month_text(answer.month)}")
            return _report(question, evidence, answers, _Log(question, evidence))
        evidence.take(answer)
    for month in due:
        if month not in months:
            evidence.find(Fault.MONTH_NOT_SHOWN, holder=chart.holder, month=month_text(month))
    log = _Log(question, evidence)
    for answer in answers:
        log.month(answer)
    for grant in question.grants:
        log.grant(grant)
    log.strangers()
    return _report(question, evidence, answers, log)


def _report(question: Question, evidence: Evidence, answers: Sequence[LogAnswer], log: "_Log") -> LogReport:
    return LogReport(
        holder=question.chart.holder,
        months=tuple(answer.month for answer in answers),
        findings=tuple(evidence.findings),
        lines=tuple(sorted(log.lines, key=lambda line: line.index)),
        vouched_by=evidence.vouched_by,
        split_view=evidence.split_view,
        checkpoint=evidence.seen,
        heads=tuple(log.heads),
    )


class _Log:
    """The working of one check."""

    def __init__(self, question: Question, evidence: Evidence) -> None:
        assert question.chart.chart_key is not None, "a chart without K has no log to check: enrol first"
        self._question = question
        self._evidence = evidence
        self._chart_key = question.chart.chart_key
        self._messages = {index: _message(proven) for index, proven in sorted(evidence.entries.items())}
        self._unsent = {said.index for said in self._messages.values() if isinstance(said, access.Unsent)}
        self._disputed = {said.index for said in self._messages.values() if isinstance(said, access.Dispute)}
        self._placed: set[int] = set()
        self.lines: list[LogLine] = []
        self.heads: list[SeenHead] = []

    def month(self, answer: LogAnswer) -> None:
        """Check one month's own numbers: none missing, none twice, the head true, the next absent."""
        month, secret = answer.month, self._month_key(answer.month)
        shown = [
            (self._evidence.entries[index], said)
            for index, said in self._messages.items()
            if isinstance(said, access.Record | access.Skip) and said.tag is not None and self._evidence.entries[index].month == month
        ]
        reach = min(answer.head.count, len(shown) + ABSENT_AHEAD) + len(shown) + ABSENT_AHEAD
        numbers = {self._tag(secret, number): number for number in range(reach)}
        taken: dict[int, int] = {}
        for proven, said in shown:
            number = numbers.get(said.tag or b"")
            if number is None:
                continue  # no number of this month: `strangers` names it
            if number in taken:
                self._find(Fault.NUMBER_TWICE, series=month_text(month), number=number)
            taken[number] = proven.index
            self._own_line(proven, said, number, secret)
        end = min(max([answer.head.count, *(number + 1 for number in taken)]), reach)  # however many a head may claim
        for number in range(end):
            if number not in taken:
                self._find(Fault.GAP, series=month_text(month), number=number)
        self._head(answer, secret, max([0, *(number + 1 for number in taken)]))
        for number in range(end, end + ABSENT_AHEAD):
            self._absent(month_text(month), number, self._tag(secret, number), self._days(month))

    def grant(self, grant: Grant) -> None:
        """Check the entries of one grant: each opens with its number, none after the revocation, the next is absent."""
        mine = [
            self._evidence.entries[index]
            for index, said in self._messages.items()
            if isinstance(said, access.Record) and said.grant == grant.control_key
        ]
        series, number = grant.control_key.hex()[:8], 0
        for proven in mine:
            opened = self._number_of(grant, proven, number)
            for missing in range(number, opened):
                self._find(Fault.GAP, series=series, number=missing)
            self._grant_line(grant, proven, opened)
            number = opened + 1
        since_s = mine[-1].transaction.header.exp_s - access.ISSUED_S_MAX if mine else grant.given_at_s - SKEW_S
        until_s = min(self._question.now_s + 1, grant.expires_at_s)  # not sooner where we revoked: that it was entered is a carrier's word
        days = range(day_of(since_s), day_of(until_s - 1) + 1)
        self._absent(series, number, grant_tag(grant.control_key, number), days)

    def strangers(self) -> None:
        """Name what was shown and is neither of a grant of ours nor of a number of the month."""
        for index, said in self._messages.items():
            is_mark = isinstance(said, access.Unsent | access.Dispute | access.Review) and said.index in self._placed
            if index not in self._placed and not is_mark:
                self._find(Fault.NOT_MINE, index=index)

    def _own_line(self, proven: Proven, said: access.Record | access.Skip, number: int, secret: bytes) -> None:
        if isinstance(said, access.Skip):
            self._place(proven, None, None, number)
            return
        tag = said.tag or b""
        if not self._opens(proven, said.detail, detail_key(secret, self._question.network, tag)):
            self._find(Fault.DETAIL_MISMATCH, index=proven.index)
        self._place(proven, access.Basis(said.basis), None, number)

    def _grant_line(self, grant: Grant, proven: Proven, number: int) -> None:
        said = self._messages[proven.index]
        if not self._opens_as(grant, proven, number):
            self._find(Fault.DETAIL_MISMATCH, index=proven.index)
        is_after = grant.revoked_index is not None and proven.index > grant.revoked_index
        if is_after:
            self._find(Fault.AFTER_REVOCATION, index=proven.index, revoked_index=grant.revoked_index or 0)
        self._place(proven, access.Basis(said.basis), grant, number, is_lawful=not is_after)

    def _place(self, proven: Proven, basis: access.Basis | None, grant: Grant | None, number: int, *, is_lawful: bool = True) -> None:
        self._placed.add(proven.index)
        self.lines.append(
            LogLine(
                index=proven.index,
                month=proven.month,
                basis=basis,
                control_key=None if grant is None else grant.control_key,
                number=number,
                audit_event=proven.audit_event,
                is_unsent=proven.index in self._unsent,
                is_disputed=proven.index in self._disputed,
                is_lawful=is_lawful,
            )
        )

    def _number_of(self, grant: Grant, proven: Proven, expected: int) -> int:
        """Return the number with which the entry's detail opens, looked for as far ahead as an absence; else the expected one."""
        for number in range(expected, expected + ABSENT_AHEAD + 1):
            if self._opens_as(grant, proven, number):
                return number
        return expected

    def _opens_as(self, grant: Grant, proven: Proven, number: int) -> bool:
        tag, secret = grant_tag(grant.control_key, number), self._month_key(proven.month)
        said = self._messages[proven.index]
        return self._opens(proven, said.detail, detail_key(secret, self._question.network, tag))

    def _opens(self, proven: Proven, committed: bytes, key: bytes) -> bool:
        return proven.audit_event is not None and detail(key, self._question.network, proven.audit_event) == committed

    def _head(self, answer: LogAnswer, secret: bytes, shown: int) -> None:
        """Check the holder's signed count against what was shown, and against what it signed before."""
        month, head, question = answer.month, answer.head, self._question
        node_key = question.members.named(question.chart.holder).node_key
        if not head.is_signed_by(node_key, question.network, question.relationship_key, month, sha256(secret)):
            self._find(Fault.HEAD_NOT_SIGNED, month=month_text(month))
            return
        for other in (shown, *self._seen_before(month, head)):
            if head.count < other:
                self._find(Fault.HEAD_CONTRADICTED, month=month_text(month), count=head.count, other=other)
        self.heads.append(SeenHead(month, head.count, head.height))

    def _seen_before(self, month: int, head: Head) -> Iterable[int]:
        """Return the counts that the holder signed for this month at no greater height: numbers do not go back."""
        return (seen.count for seen in self._question.chart.heads if seen.month == month and seen.height <= head.height)

    def _absent(self, series: str, number: int, tag: bytes, days: Iterable[int]) -> None:
        found = [(day, self._evidence.standing(day, tag)) for day in days if day >= day_of(self._question.members.since_s)]
        open_days = [day for day, standing in found if standing is Standing.NOT_SHOWN]
        if any(standing is Standing.PRESENT for _, standing in found):
            self._find(Fault.TAIL_CUT, series=series, number=number)
        elif open_days:
            self._find(Fault.ABSENCE_NOT_SHOWN, series=series, number=number, day=open_days[0], days=len(open_days))

    def _days(self, month: int) -> Iterable[int]:
        today = day_of(self._question.now_s)
        return [day for day in month_days(month) if day <= today]

    def _month_key(self, month: int) -> bytes:
        return month_key(self._chart_key, self._question.network, month)

    def _tag(self, secret: bytes, number: int) -> bytes:
        return key_tag(SigningKey(entry_seed(secret, self._question.network, number)).public_key)

    def _find(self, fault: Fault, **facts: int | str) -> None:
        needs_holder = fault not in (Fault.DETAIL_MISMATCH, Fault.AFTER_REVOCATION)
        self._evidence.find(fault, **({"holder": self._question.chart.holder} if needs_holder else {}), **facts)


def _message(proven: Proven) -> Any:  # noqa: ANN401 - one of the messages of contract access, or None
    """Return what an entry says, if it is of contract access."""
    kind = KINDS.get(proven.transaction.kind)
    try:
        return None if kind is None else kind.read(proven.transaction.body)
    except Refused:
        return None  # in the log by other rules than ours: `strangers` names it


def months_due(chart: Chart, network_since_s: int, now_s: int) -> tuple[int, ...]:
    """Return the months to ask for, ascending: those since the enrolment, and those before it, since the network began, until they were
    once found whole. A chart may be older than its enrolment, with emergencies in its log; only the holder knows since when.
    """
    enrolled, known = month_of(chart.since_s), {seen.month for seen in chart.heads}
    before = (month for month in range(month_of(network_since_s), enrolled) if month not in known)
    return (*before, *range(enrolled, month_of(now_s) + 1))
