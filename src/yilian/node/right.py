"""Steps 1 to 3 of the gate: who asks, by what right, and is the patient here.

Source   design 04 "The release gate"; the rule is the ledger's own (`consent.use`), asked with max(block time, own clock).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from yilian.base.artefacts import PRESENCE_S_MAX
from yilian.base.keys import is_signed
from yilian.base.refusals import Reason, Refused
from yilian.contracts import consent, directory
from yilian.contracts.access import Basis
from yilian.node.asking import ReleaseCall
from yilian.node.charts import Chart
from yilian.node.member import Node
from yilian.node.members import Finality
from yilian.node.refusals import No, NodeRefused, demand
from yilian.node.tokens import Asker
from yilian.records import Scope

EMERGENCY_PURPOSE: Final = "ETREAT"  # v3-PurposeOfUse: emergency treatment


@dataclass(frozen=True, slots=True)
class Who:
    """Step 1: a member and a practitioner of it, both live at the latest final height."""

    member: directory.Member
    credential: directory.Credential


@dataclass(frozen=True, slots=True)
class Right:
    """Step 2: by what right, whose record, how much of it, and whose key must approve the entry besides ours."""

    basis: Basis
    chart: Chart
    scope: Scope
    approver: bytes  # requester_key of the grant, or the requesting member's node key
    grant: consent.Grant | None = None
    opens: bool = False
    session: bytes | None = None  # tag of the emergency that this page belongs to
    challenge: bytes | None = None  # H(Q) of the presence proof that opens the session
    challenge_until_s: int = 0
    is_cosigned: bool = False


def who(call: ReleaseCall, asker: Asker, final: Finality, node: Node) -> Who:
    """Return who asks: the member of the token, and the practitioner whose own key signed this very request.

    Refuses  TOKEN_SAYS_ANOTHER, MEMBER_NOT_ACTIVE, CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN
    """
    read = call.read
    is_same = (asker.practitioner, asker.purpose, asker.control_key) == (call.practitioner, read.purpose, read.control_key)
    demand(not asker.is_own and is_same, No.TOKEN_SAYS_ANOTHER)
    member = node.members.active(final.view, read.requester)
    credential = node.members.credential(final.view, call.practitioner, read.requester, final.now_s)
    demand(is_signed(call.practitioner, read.statement(node.network), call.signature), No.PRACTITIONER_DID_NOT_SIGN)
    return Who(member, credential)


async def by_grant(call: ReleaseCall, asker: Who, final: Finality, node: Node) -> Right:
    """Return the right that a live grant gives.

    Refuses  NO_SUCH_GRANT, REVOKED_DIRECTLY, CONSENT_SAYS_ANOTHER, GRANT_ENDED, what `Grants.checked` and `consent.use` refuse
    """
    control_key = call.read.control_key
    assert control_key is not None, "the basis is a grant"
    row = consent.read(final.view, control_key)
    if row is None:
        raise Refused(Reason.NO_SUCH_GRANT)
    demand(not node.grants.is_revoked(control_key), No.REVOKED_DIRECTLY)
    grant = await node.grants.checked(control_key, row.commitment, call.artefacts, final.now_s)
    terms = grant.terms
    is_for_them = terms.requester == asker.member.id and terms.purpose == call.read.purpose
    is_for_this_one = terms.practitioner in (None, call.practitioner) and terms.role in (None, asker.credential.role)
    demand(is_for_them and is_for_this_one, No.CONSENT_SAYS_ANOTHER)
    is_row_of_terms = row.uses_max <= terms.uses_max and (terms.interval_s is None) == (row.interval_s is None)
    is_not_closer = row.interval_s is None or terms.interval_s is None or row.interval_s >= terms.interval_s
    demand(is_row_of_terms and is_not_closer, No.CONSENT_SAYS_ANOTHER)
    if final.now_s >= terms.until_s:
        raise Refused(Reason.GRANT_ENDED, expires_at_s=terms.until_s)
    demand(node.keys.grant_key(row.holder_key) is not None, No.NO_GRANT)
    opens = final.now_s >= row.session_until_s
    consent.use(row, opens, final.now_s)
    return Right(Basis.GRANT, node.charts.of_id(grant.chart), grant.scope, row.requester_key, grant=row, opens=opens)


def with_presence(right: Right, call: ReleaseCall, asker: Who, final: Finality, node: Node) -> Right:
    """Return the right with what shows that the patient is here, if the entry opens a session of a grant that is not standing.

    Refuses  PRESENCE_REQUIRED, PRESENCE_NOT_VALID, PRESENCE_ENDED
    """
    if right.grant is None or not right.opens or right.grant.interval_s is not None:
        return right
    shown = call.presence
    if shown is None:
        raise NodeRefused(No.PRESENCE_REQUIRED)
    asked, proof = shown.asked, shown.proof
    demand(final.now_s < proof.until_s <= final.now_s + PRESENCE_S_MAX, No.PRESENCE_ENDED, until_s=proof.until_s)
    challenge = asked.challenge
    is_this = (challenge.requester, challenge.practitioner, challenge.purpose) == (asker.member.id, call.practitioner, call.read.purpose)
    digest = challenge.digest(node.network)
    is_answer = is_this and (proof.challenge_digest, proof.holder) == (digest, node.id)
    r_key = right.chart.r_key
    is_signed_by_both = (
        r_key is not None and asked.is_signed_by(node.network, asker.member.node_key) and proof.is_signed_by(node.network, r_key)
    )
    demand(is_answer and is_signed_by_both, No.PRESENCE_NOT_VALID)
    return replace(right, challenge=digest, challenge_until_s=proof.until_s)
