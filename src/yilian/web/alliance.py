"""Routes of what members do together: proofs of entries, referrals, examinations, and the patient's own view of a holder."""

from __future__ import annotations

from starlette.routing import BaseRoute

from yilian.web import proofs


def routes() -> list[BaseRoute]:
    """Return the routes of these files."""
    return [*proofs.routes()]
