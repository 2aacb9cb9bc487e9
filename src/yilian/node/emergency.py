"""Break-glass: the emergency set of one exactly named patient, for a practitioner with a reason; a second person within 15 minutes.

P1 signs the reading with his own key and the requesting member approves the entry by its node key: both are named. P2, another
practitioner of the same member, co-signs within 15 minutes or the session ends; labels R and V open only after P2.
Source   design 04 "Break-glass"; contract access (bucket, session, review).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from yilian.base.artefacts import intent_statement
from yilian.base.keys import is_signed
from yilian.base.refusals import Reason, require
from yilian.base.terms import ORDINARY
from yilian.contracts import access, directory
from yilian.contracts.access import SESSION_S, Basis
from yilian.node import limits
from yilian.node.asking import ReleaseCall
from yilian.node.member import Node
from yilian.node.members import Finality
from yilian.node.reading import RESULTS_S, Target, emergency_handle
from yilian.node.refusals import No, demand
from yilian.node.right import EMERGENCY_PURPOSE, Right, Who
from yilian.node.tokens import Asker
from yilian.records import Scope, parse_query

COSIGN_S: Final = 15 * 60  # design 04
COSIGN_ACT: Final = "emergency.cosign"
REASON_LENGTH_MIN: Final = 4
AFTER_P2: Final = ("R", "V")  # design 04: labels that open only after P2


async def by_emergency(call: ReleaseCall, asker: Who, target: Target, final: Finality, node: Node) -> Right:
    """Return the right that an emergency gives: the set, of one patient, without a grant.

    Refuses  NO_GRANT, REASON_MISSING, NOT_FOR_EMERGENCIES, TOO_MANY_REQUESTS, EMERGENCY_QUOTA, NO_SUCH_PATIENT
    """
    demand(call.read.purpose == EMERGENCY_PURPOSE, No.NO_GRANT)
    demand(call.reason is not None and len(call.reason.strip()) >= REASON_LENGTH_MIN, No.REASON_MISSING)
    system, value = emergency_handle(target)
    patients = _exact(node, system, value)
    known = node.charts.of_patient(patients[0]) if len(patients) == 1 else None
    session, is_cosigned = (None, False) if known is None else live_session(asker.member.id, known.id, final.now_s, node)
    if session is None:  # an offer says that the patient is known here, and enters nothing: nobody asks through a list of people
        node.limits.spend(limits.EMERGENCIES, asker.member.id)
        _require_quota(asker.member.id, final)
    demand(len(patients) == 1, No.NO_SUCH_PATIENT)
    chart = await node.charts.meet(patients[0])
    labels = frozenset((*ORDINARY, *(AFTER_P2 if is_cosigned else ())))
    scope = Scope(from_s=final.now_s - RESULTS_S, labels_allowed=labels, patient_id=chart.patient_id)
    return Right(Basis.EMERGENCY, chart, scope, asker.member.node_key, opens=session is None, session=session, is_cosigned=is_cosigned)


def _require_quota(member: str, final: Finality) -> None:
    """Refuse an opening that the ledger would refuse anyway, before anything is said of the patient.

    Refuses  EMERGENCY_QUOTA
    """
    cap = directory.parameter(final.view, "emergency_cap")
    level = access.level_now(access.bucket(final.view, member), access.reviews(final.view, member), cap, final.now_s)
    require(level >= access.OPENING_COST, Reason.EMERGENCY_QUOTA, level=level)


def _exact(node: Node, system: str, value: str) -> list[str]:
    """Return the ids of the patients with exactly this identifier."""
    page = node.store.search(parse_query("Patient", urlencode({"identifier": f"{system}|{value}", "_count": "2"})))
    return [one.id for one in page.matches]


def live_session(requester: str, chart: bytes, now_s: int, node: Node) -> tuple[bytes | None, bool]:
    """Return (tag of the live session of this member with this chart, whether P2 co-signed), or (None, False)."""
    row = node.journal.one(
        "SELECT tag, opened_at_s, cosigned_at_s FROM emergencies WHERE requester = ? AND chart = ? ORDER BY opened_at_s DESC LIMIT 1",
        (requester, chart),
    )
    if row is None:
        return None, False
    tag, opened_at_s, cosigned_at_s = row
    is_cosigned = cosigned_at_s is not None
    is_live = now_s < opened_at_s + (SESSION_S if is_cosigned else COSIGN_S)
    return (tag, is_cosigned) if is_live else (None, False)


async def cosign(tag: bytes, cosigner: bytes, signature: bytes, asker: Asker, node: Node) -> int:
    """Take P2's signature on an emergency session; return until when the session lives.

    Refuses  CREDENTIAL_NOT_LIVE, PRACTITIONER_DID_NOT_SIGN, SESSION_NOT_COSIGNED (there is none, it is over, or P2 is P1)
    """
    final = node.members.final()
    node.members.credential(final.view, cosigner, asker.member, final.now_s)
    statement = intent_statement(node.network, asker.member, COSIGN_ACT, [tag])
    demand(is_signed(cosigner, statement, signature), No.PRACTITIONER_DID_NOT_SIGN)
    row = node.journal.one("SELECT requester, practitioner, opened_at_s FROM emergencies WHERE tag = ?", (tag,))
    demand(row is not None and row[0] == asker.member and row[1] != cosigner, No.SESSION_NOT_COSIGNED)
    demand(final.now_s < row[2] + COSIGN_S, No.SESSION_NOT_COSIGNED)
    await node.journal.execute(
        "UPDATE emergencies SET cosigner = ?, cosigned_at_s = ? WHERE tag = ? AND cosigner IS NULL", (cosigner, final.now_s, tag)
    )
    return int(row[2]) + SESSION_S
