"""What this holder knows of grants: the artefact of each as it was checked once, and what was revoked directly.

The artefact of a grant cannot change (its commitment is in the row), so it is opened, parsed and checked once and then remembered by its
control key; what can change (the row, the enrolled key, a revocation) is read every time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from yilian.base.artefacts import consent_statement
from yilian.base.codec import Malformed, decode, encode
from yilian.base.consents import parse
from yilian.base.digests import DIGEST_SIZE
from yilian.base.handovers import GrantBundle, open_bundle
from yilian.base.keys import is_signed
from yilian.base.seal import Unopened
from yilian.base.terms import ORDINARY, ConsentNotUnderstood, Terms
from yilian.node.charts import Chart, Charts
from yilian.node.journal import Journal
from yilian.node.keys import Keys
from yilian.node.refusals import No, NodeRefused, demand
from yilian.records import Scope

CACHED_MAX: Final = 50_000


def open_artefacts(keys: Keys, member: str, control_key: bytes, sealed: bytes) -> GrantBundle:
    """Return a grant's artefacts that were sealed to us. A delegation chain has no place in them yet, so it does not open.

    Refuses  ARTEFACTS_NOT_OPENED
    """
    try:
        return open_bundle(keys.vault.sealing_seed, keys.network, member, control_key, sealed)
    except (Unopened, Malformed) as error:
        raise NodeRefused(No.ARTEFACTS_NOT_OPENED) from error


@dataclass(frozen=True, slots=True)
class CheckedGrant:
    """An artefact that was found to be what its row commits to and what an enrolled key signed."""

    terms: Terms
    commitment: bytes
    chart: bytes
    r_key: bytes
    scope: Scope


class Grants:
    """The grants that were shown to this holder."""

    def __init__(self, member: str, journal: Journal, keys: Keys, charts: Charts) -> None:
        self._member = member
        self._journal = journal
        self._keys = keys
        self._charts = charts
        self._checked: dict[bytes, CheckedGrant] = {}
        self.unknown: dict[bytes, int] | None = None
        """Notices of grants that the ledger does not have (yet): key -> when told. None until the first of them is asked for."""
        self._revoked: set[bytes] = {key for (key,) in journal.all("SELECT control_key FROM revocations")}

    def is_revoked(self, control_key: bytes) -> bool:
        """Say whether the patient told us directly that the grant is over."""
        return control_key in self._revoked

    def revoke(self, control_key: bytes) -> None:
        """Refuse the grant from now on; the row is durable already."""
        self._revoked.add(control_key)

    def forget(self, control_keys: Iterable[bytes]) -> None:
        """Drop notices of grants that never came; their rows are gone already."""
        self._revoked.difference_update(control_keys)

    async def checked(self, control_key: bytes, commitment: bytes, sealed: bytes | None, now_s: int) -> CheckedGrant:
        """Return the grant's artefact, checked against the row's commitment and the enrolled key's signature.

        Refuses  ARTEFACTS_NOT_OPENED, CONSENT_NOT_COMMITTED, CONSENT_NOT_UNDERSTOOD, CONSENT_SAYS_ANOTHER, KEY_NOT_ENROLLED,
                 CONSENT_NOT_SIGNED
        """
        known = self._checked.get(control_key)
        if known is None:
            evidence = self._kept(control_key)
            is_new = evidence is None
            if evidence is None:
                if sealed is None:
                    raise NodeRefused(No.ARTEFACTS_NOT_OPENED)
                evidence = open_artefacts(self._keys, self._member, control_key, sealed)
            known = self._check(control_key, commitment, evidence)
            if is_new:
                await self._keep(control_key, known, evidence, now_s)
            self._remember(control_key, known)
        demand(known.commitment == commitment, No.CONSENT_NOT_COMMITTED)
        demand(self._charts.of_id(known.chart).r_key == known.r_key, No.KEY_NOT_ENROLLED)
        return known

    def evidence(self, control_key: bytes) -> GrantBundle | None:
        """Return the artefacts of a grant that was shown to us, or None."""
        return self._kept(control_key)

    def _check(self, control_key: bytes, commitment: bytes, evidence: GrantBundle) -> CheckedGrant:
        is_committed = len(evidence.key) == DIGEST_SIZE and evidence.commitment(self._keys.network) == commitment
        demand(is_committed, No.CONSENT_NOT_COMMITTED)
        try:
            terms = parse(evidence.consent)
        except ConsentNotUnderstood as error:
            raise NodeRefused(No.CONSENT_NOT_UNDERSTOOD) from error
        demand(terms.control_key == control_key and terms.holder == self._member, No.CONSENT_SAYS_ANOTHER)
        chart = self._charts.of_kid(terms.patient)
        if chart is None or chart.r_key is None:
            raise NodeRefused(No.KEY_NOT_ENROLLED)
        is_patients = is_signed(chart.r_key, consent_statement(self._keys.network, evidence.consent), evidence.signature)
        demand(is_patients, No.CONSENT_NOT_SIGNED)
        return CheckedGrant(terms, commitment, chart.id, chart.r_key, scope_of(terms, chart))

    def _kept(self, control_key: bytes) -> GrantBundle | None:
        row = self._journal.one("SELECT chart, evidence_sealed FROM consents WHERE control_key = ?", (control_key,))
        key = self._keys.consent_key(control_key)
        if row is None or key is None:
            return None
        chart = self._charts.of_id(row[0])
        match decode(self._keys.open(chart.patient_id, row[1], control_key)):
            case [bytes(consent), bytes(signature)]:
                return GrantBundle(consent, key, signature)
        raise AssertionError("the row was written by `_keep`")

    async def _keep(self, control_key: bytes, grant: CheckedGrant, evidence: GrantBundle, now_s: int) -> None:
        """Keep the artefacts as evidence: k apart from the bytes, outside the backups of this database (design 03)."""
        await self._keys.put_consent_key(control_key, evidence.key)
        patient_id = self._charts.of_id(grant.chart).patient_id
        sealed = self._keys.seal(patient_id, encode([evidence.consent, evidence.signature]), control_key)
        await self._journal.execute(
            "INSERT INTO consents VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (control_key, grant.chart, sealed, now_s)
        )

    def _remember(self, control_key: bytes, grant: CheckedGrant) -> None:
        if len(self._checked) >= CACHED_MAX:
            self._checked.clear()
        self._checked[control_key] = grant


def scope_of(terms: Terms, chart: Chart) -> Scope:
    """Return what the terms open in the patient's own compartment: the same as `Terms.opens_*`, as the store applies it."""
    return Scope(
        types=frozenset(terms.resource_types) if terms.resource_types else None,
        from_s=terms.data_from_s,
        until_s=terms.data_until_s,
        labels_allowed=frozenset((*ORDINARY, *terms.labels_allowed)),
        labels_denied=frozenset(terms.labels_denied),
        patient_id=chart.patient_id,
    )
