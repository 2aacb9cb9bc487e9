"""A chart at a holder, for tests: a patient's wallet, an honest holder that shows its log, and the ledger under both."""

import json
from dataclasses import replace

from tests.worlds import World, key, node_key, receipt_key, seed
from yilian.base.artefacts import Challenge, detail, detail_key, entry_seed, grant_key_statement, month_key, relationship_statement
from yilian.base.chartlogs import ABSENT_AHEAD, LogAnswer, OpenDay, ShownDay, ShownEntry, places_of, sign_head
from yilian.base.digests import grant_tag, key_tag, sha256
from yilian.base.handovers import EnrolAsk, GrantKey, Relationship, SignedChallenge, chart_key_info
from yilian.base.keys import SigningKey
from yilian.base.merkle import leaf_hash
from yilian.base.seal import seal_to_patient
from yilian.base.times import DAY_S, day_of, month_days, month_of
from yilian.base.transaction import Header, assemble
from yilian.contracts import access, consent
from yilian.ledger import access_root, consistency, inclusion, receipt, root_at, sign_answer, sign_checkpoint, sign_day, transparent
from yilian.wallet import Members, Wallet, WalletState, Wish

HOLDER, REQUESTER, OPERATOR = "hospital-1", "hospital-2", "clinic-1"
CHART_KEY = b"K" * 32


class Nodes:
    """The full subtrees of a log, as `NodeStore`."""

    def __init__(self):
        self.at = {}

    def node(self, level, index):
        return self.at[level, index]


class ChartWorld(World):
    """One patient with one chart at HOLDER, read by REQUESTER; entries are remembered as the holder would."""

    def __init__(self, genesis=None, *, shows_roots=False):
        super().__init__(genesis)
        self.shows_roots = shows_roots  # of days not closed: one signed root and places under it, instead of an answer for each tag
        self.nodes, self.days = Nodes(), {}
        self.members = Members.of(self.genesis)
        self.wallet = Wallet.of(seed("patient"), self.members)
        self.state = WalletState()
        self.shown = []  # (index, month, statement, audit event)
        self.counts = {}  # month -> numbers drawn
        self.entries = {}  # control key -> entries
        self.sessions = 0
        self.drawn = 0

    def commit(self, *transactions, known=None):
        applied = super().commit(*transactions, known=known)
        self.nodes.at.update({(level, index): digest for level, index, digest in applied.nodes})
        self.days.update({closed.day: closed for closed in applied.days})
        return applied

    @property
    def size(self):
        return self.chain.log.size

    # the desk

    def enrol(self):
        ask = EnrolAsk(self.network, HOLDER, 1, b"q" * 32)
        self.state, answer = self.wallet.enrol(self.state, ask, self.now_s)
        assert answer.answers(ask)
        self.relationship_key = answer.relationship_key
        self.state = self.wallet.admit(self.state, self.relationship(answer))
        return answer

    def relationship(self, answer, generation=1, height=7):
        statement = relationship_statement(self.network, HOLDER, answer.relationship_key, generation, height)
        info = chart_key_info(self.network, HOLDER, answer.relationship_key, generation)
        sealed = seal_to_patient(answer.sealing_key, info, CHART_KEY)
        return Relationship(HOLDER, answer.relationship_key, generation, height, node_key(HOLDER).sign(statement), sealed)

    def one_time(self, member):
        self.drawn += 1
        return key("one-time", member, self.drawn)

    def grant_key(self, member, pair, until_s=None):
        until_s = until_s or self.now_s + 600
        statement = grant_key_statement(self.network, pair.public_key, member, until_s)
        return GrantKey(pair.public_key, member, until_s, node_key(member).sign(statement))

    def header(self, kind_name, carrier=OPERATOR, **changes):
        self.nonces[carrier] = self.nonces.get(carrier, 0) + 1
        header = Header(self.network, node_key(carrier).kid, carrier, kind_name, self.now_s + 100, self.nonces[carrier])
        return header._replace(**changes).encoded()

    def carry(self, act, header, approval, carrier=OPERATOR):
        (result,) = self.commit(assemble(node_key(carrier), header, act.kind, act.body, [approval])).results
        assert (result.reason, result.facts) == (0, {})
        return result.index

    def give(self, **changes):
        """Give a grant and return its control key; the pairs of both sides are remembered."""
        holder_pair, requester_pair = self.one_time(HOLDER), self.one_time(REQUESTER)
        wish = replace(Wish(HOLDER, REQUESTER, "TREAT", 366, 24), **changes)
        sides = (self.grant_key(HOLDER, holder_pair), self.grant_key(REQUESTER, requester_pair))
        self.state, act = self.wallet.draft(self.state, wish, sides, self.now_s, seed("k", self.drawn))
        header = self.header("consent.give")
        approval = self.wallet.approve_give(self.state, act.control_key, header, self.now_s)
        index = self.carry(act, header, approval)
        self.state = self.wallet.note_index(self.state, act.control_key, index, is_revoke=False)
        self.entries[act.control_key] = [holder_pair, requester_pair, 0]
        return act.control_key

    def revoke(self, control_key):
        self.state, notice, act = self.wallet.revoke(self.state, control_key, self.now_s)
        assert notice.is_genuine(self.network)
        header = self.header("consent.revoke")
        index = self.carry(act, header, self.wallet.approve_revoke(self.state, control_key, header, self.now_s))
        self.state = self.wallet.note_index(self.state, control_key, index, is_revoke=True)
        return index

    # the holder

    def month_secret(self, month):
        return month_key(CHART_KEY, self.network, month)

    def audit_event(self, number):
        return json.dumps({"resourceType": "AuditEvent", "number": number}).encode()

    def own_key(self, month, number):
        return SigningKey(entry_seed(self.month_secret(month), self.network, number))

    def enter(self, kind_name, message, approvers, month, event):
        applied = self.commit(statement := self.transaction(kind_name, message, HOLDER, approvers))
        (result,) = applied.results
        assert (result.reason, result.facts) == (0, {})
        self.shown.append((result.index, month, statement, event))
        return result.index

    def read_by_grant(self, control_key):
        holder_pair, requester_pair, number = self.entries[control_key]
        month, event = month_of(self.now_s), self.audit_event(len(self.shown))
        tag = grant_tag(control_key, number)
        committed = detail(detail_key(self.month_secret(month), self.network, tag), self.network, event)
        row = consent.read(self.rows, control_key)
        message = access.Record(access.Basis.GRANT, control_key, None, None, self.now_s >= row.session_until_s, committed, b"")
        self.entries[control_key][2] += 1
        return self.enter("access.record", message, [holder_pair, requester_pair], month, event)

    def read_own(self, month=None):
        month = month or month_of(self.now_s)
        number = self.counts.get(month, 0)
        pair, event = self.own_key(month, number), self.audit_event(len(self.shown))
        tag = key_tag(pair.public_key)
        committed = detail(detail_key(self.month_secret(month), self.network, tag), self.network, event)
        message = access.Record(access.Basis.PATIENT, None, None, tag, False, committed, b"")
        self.counts[month] = number + 1
        return self.enter("access.record", message, [pair], month, event)

    def skip(self):
        month = month_of(self.now_s)
        number = self.counts.get(month, 0)
        pair = self.own_key(month, number)
        self.counts[month] = number + 1
        return self.enter("access.skip", access.Skip(key_tag(pair.public_key)), [pair], month, None)

    def mark_unsent(self, index, approver):
        return self.enter("access.unsent", access.Unsent(index, access.UnsentReason.REVOKED), [approver], month_of(self.now_s), None)

    def pass_days(self, days):
        """Let time pass, and the days be closed by a block."""
        self.now_s += days * DAY_S
        self.commit()

    # what an honest holder shows

    def checkpoint(self, size=None, root=None, signer=OPERATOR, pair=None):
        size = self.size if size is None else size
        root = root_at(self.nodes, size) if root is None else root
        return sign_checkpoint(pair or receipt_key(signer), signer, self.network, (size, root), self.chain.height, self.now_s)

    def path(self, index):
        return tuple(inclusion(self.nodes, index, self.size))

    def tags_asked(self, month, control_keys):
        own = [key_tag(self.own_key(month, self.counts.get(month, 0) + ahead).public_key) for ahead in range(ABSENT_AHEAD)]
        rows = [(each, consent.read(self.rows, each)) for each in control_keys]
        return own + [grant_tag(each, 0 if row is None else row.entries) for each, row in rows]

    def state_answer(self, tag, day, signer=OPERATOR, time_s=None, value=...):
        row_key = access.TAG_PREFIX + day.to_bytes(4, "big") + tag
        value = self.rows.get(row_key) if value is ... else value
        at = (self.chain.height, self.now_s if time_s is None else time_s)
        return sign_answer(receipt_key(signer), self.network, at, (row_key, value)).encoded()

    def shown_day(self, day, tags):
        closed = self.days[day]
        leaf, path = self.leaves[closed.index], self.path(closed.index)
        return ShownDay(closed.index, leaf, path, len(closed.tags), places_of(closed.tags, tags))

    def answer(self, request):
        assert request.is_genuine(self.network)
        month, tags = request.month, self.tags_asked(request.month, request.control_keys)
        days = [day for day in month_days(month) if day_of(self.genesis.started_at_s) <= day <= day_of(self.now_s)]
        open_days = [day for day in days if day not in self.days]
        count = self.counts.get(month, 0)
        entries = tuple(ShownEntry(index, said, self.path(index), event) for index, at, said, event in self.shown if at == month)
        return LogAnswer(
            holder=HOLDER,
            month=month,
            checkpoints=(self.checkpoint().encoded(),),
            old_size=request.seen_size,
            consistency=tuple(consistency(self.nodes, request.seen_size, self.size)),
            head=sign_head(
                node_key(HOLDER), self.network, self.relationship_key, (month, sha256(self.month_secret(month))), count, self.chain.height
            ),
            entries=entries,
            days=tuple(self.shown_day(day, tags) for day in days if day in self.days),
            state_answers=() if self.shows_roots else tuple(self.state_answer(tag, day) for day in open_days for tag in tags),
            open_days=tuple(self.open_day(day, tags) for day in open_days) if self.shows_roots else (),
        )

    def open_day(self, day, tags, signer=OPERATOR, time_s=None):
        of_day = tuple(access.tags_of_day(self.rows, day))
        day_key = access.TAG_PREFIX + day.to_bytes(4, "big")
        at = (self.chain.height, self.now_s if time_s is None else time_s)
        said = sign_day(receipt_key(signer), self.network, at, day_key, access_root(of_day))
        return OpenDay(day, (said.encoded(),), len(of_day), places_of(of_day, tags))

    def answers(self):
        months = self.wallet.months_due(self.state, HOLDER, self.now_s)
        asked = [self.wallet.ask_log(self.state, HOLDER, month, self.now_s, b"z" * 32) for month in months]
        return tuple(self.answer(request) for request in asked)

    def check(self, answers=None):
        """Check the honest answers, or others; return the report and remember what a wallet would."""
        self.state, report = self.wallet.check(self.state, HOLDER, self.answers() if answers is None else answers, self.now_s)
        return report

    def transparent(self, index):
        return transparent(self.leaves[index], [receipt(self.checkpoint(), index, list(self.path(index)))])

    def challenge(self, requester=REQUESTER, signer=None, **changes):
        said = replace(Challenge(requester, b"d" * 32, "TREAT", b"n" * 32, self.now_s, b"r" * 32), **changes)
        return SignedChallenge(said, node_key(signer or requester).sign(said.statement(self.network)))


def faults(report):
    return [found.fault.value for found in report.findings]


__all__ = ["HOLDER", "OPERATOR", "REQUESTER", "ChartWorld", "faults", "leaf_hash"]
