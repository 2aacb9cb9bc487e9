"""Routes of what members do together: proofs of entries, referrals, examinations, and the patient's own view of a holder."""

from __future__ import annotations

from starlette.routing import BaseRoute

from yilian.web import anchors, examinations, patientview, proofs, referrals

ROUTES: list[BaseRoute] = [*proofs.ROUTES, *anchors.ROUTES, *patientview.ROUTES, *referrals.ROUTES, *examinations.ROUTES]
