"""Contract consent: grants, given and revoked by one-time keys. The door: kinds 20 and 21, the rule `use`, and the row of a grant."""

from yilian.base.kinds import Kind, kind
from yilian.contracts.consent.messages import GIVE, REVOKE, Give, Revoke
from yilian.contracts.consent.rules import (
    DAYS_AHEAD_ALLOWED,
    INTERVAL_S_MAX,
    INTERVAL_STEP_S,
    SESSION_S,
    USES_ALLOWED,
    decide_give,
    decide_revoke,
    give,
    revoke,
    use,
)
from yilian.contracts.consent.state import PREFIX, STATE, Grant, State, grant_of, read, write

KINDS: tuple[Kind, ...] = (
    kind(GIVE, "consent.give", Give, "control_key", decide_give),
    kind(REVOKE, "consent.revoke", Revoke, "control_key", decide_revoke),
)

__all__ = [
    "DAYS_AHEAD_ALLOWED",
    "GIVE",
    "INTERVAL_STEP_S",
    "INTERVAL_S_MAX",
    "KINDS",
    "PREFIX",
    "REVOKE",
    "SESSION_S",
    "STATE",
    "USES_ALLOWED",
    "Give",
    "Grant",
    "Revoke",
    "State",
    "give",
    "grant_of",
    "read",
    "revoke",
    "use",
    "write",
]
