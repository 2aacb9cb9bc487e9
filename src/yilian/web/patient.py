"""What a patient may see of a holder, signed by R_h. No login: whoever has the key is the patient.

POST /patient/read      OwnReading -> what the holder keeps, entered first like any access; the same headers as for a requester
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from yilian.base.handovers import OwnReading
from yilian.node import limits, ownreading
from yilian.web.answers import address_of, node_of, shape_of
from yilian.web.releasing import sent


async def read_own(request: Request) -> Response:
    """Answer a patient's own reading."""
    node = node_of(request)
    node.limits.spend(limits.PATIENT_READS, address_of(request))
    return sent(await ownreading.read_own(await shape_of(request, OwnReading), node))


ROUTES: list[BaseRoute] = [Route("/patient/read", read_own, methods=["POST"])]
