"""Routes of what members do together: proofs of entries, referrals, and the patient's own view of a holder."""

from __future__ import annotations

from starlette.routing import BaseRoute

from yilian.web import patientview, proofs, referrals

ROUTES: list[BaseRoute] = [*proofs.ROUTES, *patientview.ROUTES, *referrals.ROUTES]
