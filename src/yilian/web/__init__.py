"""Floor 5: inbound HTTP of one member. The door: `application(node)` and `serve(node)`.

Rooms    `releasing` (the gate), `carrying` (wallets), `following` and `proofs` (the ledger), `login` (tokens, discovery), `own` (the
         member's own API, and other members' behind an ordinary GET), `patient` (what a patient may see of a holder).
Errors   OperationOutcome on FHIR paths, problem+json (RFC 9457) elsewhere; never a stack trace.
"""

from yilian.web.application import application
from yilian.web.serving import CannotListen, Serving, serve

__all__ = ["CannotListen", "Serving", "application", "serve"]
