"""What a wallet does. Pure: seed, members, state, time and entropy come in as arguments; a new state and an answer go out.

Time     `now_s` is the wallet's own clock, Unix seconds; ends are exclusive.
Source   design 04 "Enrolment", "Presence", "The release gate"; design 03 "consent"; ADR-0062.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from yilian.base import artefacts
from yilian.base.artefacts import PRESENCE_S_MAX
from yilian.base.chartlogs import LogAnswer
from yilian.base.codec import Malformed
from yilian.base.consents import ConsentNotUnderstood, Terms, build
from yilian.base.digests import DIGEST_SIZE
from yilian.base.handovers import (
    EnrolAnswer,
    EnrolAsk,
    GrantBundle,
    GrantKey,
    LogRequest,
    OwnReading,
    PresenceProof,
    Relationship,
    RevokeNotice,
    SignedChallenge,
    chart_key_info,
    seal_bundle,
)
from yilian.base.keys import SigningKey, is_signed, kid_of
from yilian.base.refusals import Refused
from yilian.base.seal import Unopened, open_as_patient
from yilian.base.terms import PURPOSES
from yilian.base.times import DAY_S, day_of
from yilian.base.transaction import AHEAD_S_MAX, Approval, act_bytes, approve, parse, parse_header
from yilian.contracts import consent
from yilian.ledger import open_receipt, parse_checkpoint, split_transparent
from yilian.wallet.check import LogReport, Question, check_log, months_due
from yilian.wallet.keys import WalletKeys
from yilian.wallet.members import Members
from yilian.wallet.refusals import No, WalletRefused, must
from yilian.wallet.state import Chart, Grant, WalletState

DAYS_ALLOWED: Final = (2, 8, 31, 91, 366)  # design 03: ends that single nobody out; one day less is for a midnight in between
SKEW_S_MAX: Final = 60  # how far ahead of ours a desk's clock may be
NONCE_SIZE: Final = 32
REQUEST_S: Final = 120  # how long a request of ours to a holder is good for
KINDS: Final = {kind.number: kind for kind in consent.KINDS}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person wants to permit. `days` is of DAYS_ALLOWED: the grant ends at the UTC midnight that many days on."""

    holder: str
    requester: str
    purpose: str
    days: int
    uses_max: int
    interval_s: int | None = None
    resource_types: tuple[str, ...] = ()
    data_from_s: int | None = None
    data_until_s: int | None = None
    labels_allowed: tuple[str, ...] = ()
    labels_denied: tuple[str, ...] = ()
    practitioner: bytes | None = None
    role: str | None = None
    erase_at_s: int | None = None


@dataclass(frozen=True, slots=True)
class ToSubmit:
    """An act to carry: any member's node takes it with a header; the wallet then approves exactly this act in that header."""

    kind: int
    kind_name: str
    body: dict[int, Any]
    control_key: bytes


@dataclass(frozen=True, slots=True)
class Wallet:
    """A patient's seed in one network, and the members it believes."""

    keys: WalletKeys
    members: Members

    @classmethod
    def of(cls, seed: bytes, members: Members) -> "Wallet":
        """Return the wallet of a 32-byte seed in the members' network."""
        return cls(WalletKeys(seed, members.network), members)

    @property
    def network(self) -> bytes:
        """The 32-byte id of the network."""
        return self.members.network

    # enrolment

    def enrol(self, state: WalletState, ask: EnrolAsk, now_s: int) -> tuple[WalletState, EnrolAnswer]:
        """Answer what a holder's desk shows. The same question gets the same answer; a chart that is live is never enrolled anew.

        Refuses  ANOTHER_NETWORK, NO_SUCH_MEMBER, MEMBER_NOT_ACTIVE, NONCE_NOT_32_BYTES, CHART_IS_LIVE
        """
        must(ask.network == self.network, No.ANOTHER_NETWORK)
        self.members.active(ask.holder)
        must(len(ask.nonce) == NONCE_SIZE, No.NONCE_NOT_32_BYTES)
        known = next((chart for chart in state.charts if chart.holder == ask.holder), None)
        is_new = known is None or known.generation == ask.generation
        must(is_new, No.CHART_IS_LIVE, holder=ask.holder, generation=known.generation if known else 0)
        pair = self.keys.relationship(ask.holder, ask.generation)
        sealing = self.keys.sealing_public(ask.holder, ask.generation)
        statement = artefacts.enrol_statement(self.network, ask.holder, ask.generation, ask.nonce, (pair.public_key, sealing))
        answer = EnrolAnswer(pair.public_key, sealing, pair.sign(statement))
        chart = known or Chart(ask.holder, ask.generation, now_s, None, 0, 0, ())
        return state.with_chart(chart), answer

    def admit(self, state: WalletState, said: Relationship) -> WalletState:
        """Take the holder's word that it keeps our R_h, and the chart's K that it sealed to S_h.

        Refuses  NOT_ENROLLED, NO_SUCH_MEMBER, ANOTHER_RELATIONSHIP, NOT_SIGNED_BY_MEMBER, CHART_KEY_NOT_OPENED, CHART_KEY_CHANGED
        """
        chart = state.chart(said.holder)
        ours = self.keys.relationship(chart.holder, chart.generation).public_key
        is_ours = said.relationship_key == ours and said.generation == chart.generation
        must(is_ours, No.ANOTHER_RELATIONSHIP, holder=said.holder, generation=said.generation)
        statement = artefacts.relationship_statement(self.network, said.holder, ours, said.generation, said.height)
        node_key = self.members.named(said.holder).node_key
        must(is_signed(node_key, statement, said.signature), No.NOT_SIGNED_BY_MEMBER, member=said.holder)
        info = chart_key_info(self.network, said.holder, ours, said.generation)
        try:
            chart_key = open_as_patient(self.keys.sealing_secret(chart.holder, chart.generation), info, said.sealed_chart_key)
        except Unopened as error:
            raise WalletRefused(No.CHART_KEY_NOT_OPENED, holder=said.holder) from error
        must(len(chart_key) == DIGEST_SIZE, No.CHART_KEY_NOT_OPENED, holder=said.holder)
        must(chart.chart_key in (None, chart_key), No.CHART_KEY_CHANGED, holder=said.holder)
        return state.with_chart(replace(chart, chart_key=chart_key, height=said.height))

    def relationship_key(self, state: WalletState, holder: str) -> bytes:
        """Return R_h as the holder knows it.

        Refuses  NOT_ENROLLED
        """
        return self._pair(state, holder).public_key

    # grants

    def draft(
        self, state: WalletState, wish: Wish, sides: tuple[GrantKey, GrantKey], now_s: int, entropy: bytes
    ) -> tuple[WalletState, ToSubmit]:
        """Make a grant: Consent, commitment and signature. `sides` are the holder's and the requester's one-time keys; `entropy` is k.

        Refuses  NOT_ENROLLED, NO_SUCH_MEMBER, MEMBER_NOT_ACTIVE, GRANT_KEY_OF_ANOTHER_MEMBER, GRANT_KEY_ENDED, NOT_SIGNED_BY_MEMBER,
                 GRANT_KEY_USED, END_NOT_ALLOWED, USES_NOT_ALLOWED, INTERVAL_NOT_ALLOWED, TERMS_NOT_SAYABLE, ENTROPY_NOT_32_BYTES
        """
        chart, pair = state.chart(wish.holder), self._pair(state, wish.holder)
        for member, side in zip((wish.holder, wish.requester), sides, strict=True):
            self._check_grant_key(state, side, member, now_s)
        must(sides[0].key != sides[1].key, No.GRANT_KEY_USED)
        must(len(entropy) == DIGEST_SIZE, No.ENTROPY_NOT_32_BYTES)
        control = self.keys.control(wish.holder, chart.next_grant)
        terms = self._terms(wish, control.public_key, kid_of(pair.public_key), now_s)
        consent_bytes = build(terms)
        grant = Grant(
            control_key=control.public_key,
            number=chart.next_grant,
            holder=wish.holder,
            requester=wish.requester,
            holder_key=sides[0].key,
            requester_key=sides[1].key,
            consent=consent_bytes,
            key=entropy,
            signature=pair.sign(artefacts.consent_statement(self.network, consent_bytes)),
            given_at_s=now_s,
            expires_at_s=terms.until_s,
            uses_max=terms.uses_max,
            interval_s=terms.interval_s,
            given_index=None,
            revoked_at_s=None,
            revoked_index=None,
        )
        after = state.with_chart(replace(chart, next_grant=chart.next_grant + 1)).with_grant(grant)
        return after, self._give(grant)

    def approve_give(self, state: WalletState, control_key: bytes, header: bytes, now_s: int) -> Approval:
        """Return the grant's approval in the envelope that a carrier showed; again with another carrier, if the first is silent.

        Refuses  NO_SUCH_GRANT, and what a header can be refused for
        """
        grant = state.grant(control_key)
        return self._approve(grant, self._give(grant), header, now_s)

    def bundle(self, state: WalletState, control_key: bytes, member: str) -> bytes:
        """Return `[Consent, k, signature]` sealed to one side of the grant.

        Refuses  NO_SUCH_GRANT, GRANT_KEY_OF_ANOTHER_MEMBER
        """
        grant = state.grant(control_key)
        must(member in (grant.holder, grant.requester), No.GRANT_KEY_OF_ANOTHER_MEMBER, member=member)
        opened = GrantBundle(grant.consent, grant.key, grant.signature)
        return seal_bundle(self.members.named(member).sealing_key, self.network, member, control_key, opened)

    def revoke(self, state: WalletState, control_key: bytes, now_s: int) -> tuple[WalletState, RevokeNotice, ToSubmit]:
        """End a grant: the notice goes to the holder at once, the act to any carrier. The same again gives the same notice.

        Refuses  NO_SUCH_GRANT
        """
        grant = state.grant(control_key)
        revoked = grant if grant.revoked_at_s is not None else replace(grant, revoked_at_s=now_s)
        at_s = revoked.revoked_at_s or 0
        signature = self._control(grant).sign(artefacts.revoked_statement(self.network, control_key, at_s))
        return state.with_grant(revoked), RevokeNotice(control_key, at_s, signature), _revoke(grant)

    def approve_revoke(self, state: WalletState, control_key: bytes, header: bytes, now_s: int) -> Approval:
        """Return the revocation's approval in the envelope that a carrier showed.

        Refuses  NO_SUCH_GRANT, and what a header can be refused for
        """
        grant = state.grant(control_key)
        return self._approve(grant, _revoke(grant), header, now_s)

    def note_index(self, state: WalletState, control_key: bytes, index: int, *, is_revoke: bool) -> WalletState:
        """Remember at which index a member said that a give or a revoke was entered; `take_receipt` proves it later.

        Refuses  NO_SUCH_GRANT
        """
        grant = state.grant(control_key)
        return state.with_grant(replace(grant, revoked_index=index) if is_revoke else replace(grant, given_index=index))

    def take_receipt(self, state: WalletState, transparent: bytes) -> WalletState:
        """Remember the index of a give or revoke of ours as its receipts prove it (a Transparent Statement).

        Refuses  NOT_A_RECEIPT_OF_OURS, NO_SUCH_GRANT
        """
        try:
            statement, receipts = split_transparent(transparent)
            transaction = parse(statement)
            message = KINDS[transaction.kind].read(transaction.body)
            proven = [open_receipt(receipt, transaction.id) for receipt in receipts]
        except (Malformed, Refused, KeyError) as error:
            raise WalletRefused(No.NOT_A_RECEIPT_OF_OURS) from error
        indexes = [each.index for each in proven]
        members = self.members.at(min(indexes, default=0))  # who could vouch for the entry then
        signers = [members.signer_of(each.checkpoint) for each in proven]
        is_proven = members.suffice([one for one in signers if one is not None]) and indexes == indexes[:1] * len(indexes)
        must(is_proven, No.NOT_A_RECEIPT_OF_OURS)
        is_revoke = transaction.kind == consent.REVOKE
        return self.note_index(state, message.control_key, proven[0].index, is_revoke=is_revoke)

    # being here, and asking for what is one's own

    def prove_presence(
        self, state: WalletState, asked: SignedChallenge, holders: tuple[str, ...], *, seen: str, now_s: int, until_s: int
    ) -> tuple[PresenceProof, ...]:
        """Answer the challenge of a desk, once per holder. `seen` is the requester that the person read and agreed to.

        Refuses  NO_SUCH_MEMBER, MEMBER_NOT_ACTIVE, NOT_SIGNED_BY_MEMBER, NOT_WHOM_THE_PERSON_SEES, PURPOSE_NOT_KNOWN, CHALLENGE_NOT_FRESH,
                 UNTIL_NOT_ALLOWED, NOT_ENROLLED
        """
        challenge = asked.challenge
        node_key = self.members.active(challenge.requester).node_key
        must(asked.is_signed_by(self.network, node_key), No.NOT_SIGNED_BY_MEMBER, member=challenge.requester)
        must(challenge.requester == seen, No.NOT_WHOM_THE_PERSON_SEES, requester=challenge.requester)
        must(challenge.purpose in PURPOSES, No.PURPOSE_NOT_KNOWN)
        is_fresh = now_s - PRESENCE_S_MAX <= challenge.issued_at_s <= now_s + SKEW_S_MAX
        must(is_fresh and len(challenge.nonce) == NONCE_SIZE, No.CHALLENGE_NOT_FRESH, issued_at_s=challenge.issued_at_s)
        must(now_s < until_s <= now_s + PRESENCE_S_MAX, No.UNTIL_NOT_ALLOWED, until_s=until_s)
        digest = challenge.digest(self.network)
        return tuple(self._presence(state, digest, holder, until_s) for holder in holders)

    def read_own(self, state: WalletState, holder: str, target: str, now_s: int, request_id: bytes) -> OwnReading:
        """Return a request to read what a holder keeps of us; `target` is path and query, `request_id` 16 random bytes.

        Refuses  NOT_ENROLLED
        """
        pair, until_s = self._pair(state, holder), now_s + REQUEST_S
        statement = artefacts.own_reading_statement(self.network, holder, target, request_id, until_s)
        return OwnReading(holder, pair.public_key, target, request_id, until_s, pair.sign(statement))

    def ask_log(self, state: WalletState, holder: str, month: int, now_s: int, nonce: bytes, after: bytes | None = None) -> LogRequest:
        """Return a request for one month of our chart's log; `nonce` is 32 random bytes, `after` the checkpoint of the month before.

        Each month is asked for after the one before was answered: its log must extend that one's.

        Refuses  NOT_ENROLLED
        """
        pair, until_s = self._pair(state, holder), now_s + REQUEST_S
        statement = artefacts.log_statement(self.network, holder, month, nonce, until_s)
        seen = state.checkpoint if after is None else after
        seen_size = 0 if seen is None else parse_checkpoint(seen).size
        control_keys = tuple(grant.control_key for grant in state.grants_at(holder))
        return LogRequest(holder, pair.public_key, month, nonce, until_s, seen_size, control_keys, pair.sign(statement))

    def check(self, state: WalletState, holder: str, answers: tuple[LogAnswer, ...], now_s: int) -> tuple[WalletState, LogReport]:
        """Check a holder's answers for every month of `months_due`; a clean check is remembered, and later logs must extend it.

        Refuses  NOT_ENROLLED
        """
        chart = state.chart(holder)
        must(chart.chart_key is not None, No.NOT_ENROLLED, holder=holder)
        known = (self.relationship_key(state, holder), state.grants_at(holder), state.checkpoint)
        report = check_log(Question(self.members, chart, *known, now_s), answers)
        if not report.is_clean:
            return state, report
        kept = tuple(seen for seen in chart.heads if seen.month not in report.months)
        return replace(state.with_chart(replace(chart, heads=(*kept, *report.heads))), checkpoint=report.checkpoint), report

    def months_due(self, state: WalletState, holder: str, now_s: int) -> tuple[int, ...]:
        """Return the months of which the holder's log is to be asked for.

        Refuses  NOT_ENROLLED
        """
        return months_due(state.chart(holder), self.members.since_s, now_s)

    # the pieces

    def _pair(self, state: WalletState, holder: str) -> SigningKey:
        return self.keys.relationship(holder, state.chart(holder).generation)

    def _control(self, grant: Grant) -> SigningKey:
        return self.keys.control(grant.holder, grant.number)

    def _presence(self, state: WalletState, digest: bytes, holder: str, until_s: int) -> PresenceProof:
        statement = artefacts.presence_statement(self.network, digest, holder, until_s)
        return PresenceProof(digest, holder, until_s, self._pair(state, holder).sign(statement))

    def _check_grant_key(self, state: WalletState, side: GrantKey, member: str, now_s: int) -> None:
        must(side.member == member, No.GRANT_KEY_OF_ANOTHER_MEMBER, member=side.member)
        must(now_s < side.until_s, No.GRANT_KEY_ENDED, member=member, until_s=side.until_s)
        node_key = self.members.active(member).node_key
        must(side.is_signed_by(self.network, node_key), No.NOT_SIGNED_BY_MEMBER, member=member)
        is_used = any(side.key in (grant.holder_key, grant.requester_key) for grant in state.grants)
        must(not is_used, No.GRANT_KEY_USED, member=member)  # two grants with one key could be linked by everybody

    def _terms(self, wish: Wish, control_key: bytes, patient: bytes, now_s: int) -> Terms:
        must(wish.days in DAYS_ALLOWED, No.END_NOT_ALLOWED, days=wish.days)
        must(wish.uses_max in consent.USES_ALLOWED, No.USES_NOT_ALLOWED, uses_max=wish.uses_max)
        if wish.interval_s is not None:
            step_s, most_s = consent.INTERVAL_STEP_S, consent.INTERVAL_S_MAX
            is_allowed = wish.interval_s % step_s == 0 and step_s <= wish.interval_s <= most_s
            must(is_allowed, No.INTERVAL_NOT_ALLOWED, interval_s=wish.interval_s)
        try:
            return Terms(
                control_key=control_key,
                patient=patient,
                holder=wish.holder,
                requester=wish.requester,
                purpose=wish.purpose,
                given_at_s=now_s,
                until_s=(day_of(now_s) + wish.days) * DAY_S,
                uses_max=wish.uses_max,
                interval_s=wish.interval_s,
                resource_types=tuple(sorted(wish.resource_types)),
                data_from_s=wish.data_from_s,
                data_until_s=wish.data_until_s,
                labels_allowed=tuple(sorted(wish.labels_allowed)),
                labels_denied=tuple(sorted(wish.labels_denied)),
                practitioner=wish.practitioner,
                role=wish.role,
                erase_at_s=wish.erase_at_s,
            )
        except ConsentNotUnderstood as error:
            raise WalletRefused(No.TERMS_NOT_SAYABLE, why=str(error)) from error

    def _give(self, grant: Grant) -> ToSubmit:
        commitment = artefacts.consent_commitment(self.network, grant.key, grant.consent)
        said = (grant.control_key, grant.holder_key, grant.requester_key, commitment)
        message = consent.Give(*said, grant.expires_at_s, grant.uses_max, grant.interval_s)
        return _to_submit(consent.GIVE, message, grant)

    def _approve(self, grant: Grant, act: ToSubmit, header: bytes, now_s: int) -> Approval:
        """Approve one act in one envelope.

        Refuses  NOT_A_HEADER, ANOTHER_NETWORK, HEADER_OF_ANOTHER_KIND, NO_SUCH_MEMBER, MEMBER_NOT_ACTIVE, NOT_SIGNED_BY_MEMBER,
                 HEADER_ENDED, HEADER_TOO_FAR_AHEAD
        """
        try:
            said = parse_header(header)
        except Malformed as error:
            raise WalletRefused(No.NOT_A_HEADER) from error
        must(said.network == self.network, No.ANOTHER_NETWORK)
        must(said.subject == act.kind_name, No.HEADER_OF_ANOTHER_KIND, subject=said.subject)
        carrier_kid = kid_of(self.members.active(said.issuer).node_key)
        must(said.kid == carrier_kid, No.NOT_SIGNED_BY_MEMBER, member=said.issuer)
        must(now_s < said.exp_s, No.HEADER_ENDED, exp_s=said.exp_s)
        must(said.exp_s <= now_s + AHEAD_S_MAX + SKEW_S_MAX, No.HEADER_TOO_FAR_AHEAD, exp_s=said.exp_s)
        return approve(self._control(grant), header, act_bytes(act.kind, act.body))


def _revoke(grant: Grant) -> ToSubmit:
    return _to_submit(consent.REVOKE, consent.Revoke(grant.control_key), grant)


def _to_submit(number: int, message: consent.Give | consent.Revoke, grant: Grant) -> ToSubmit:
    kind = KINDS[number]
    return ToSubmit(number, kind.name, kind.body(message), grant.control_key)
