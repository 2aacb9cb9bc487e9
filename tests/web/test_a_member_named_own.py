"""The member's own software logs in as client `own`; a member of the network may have that id, too."""

import httpx

from tests import alliance_worlds
from tests.alliance_worlds import alliance, seed
from yilian.base.keys import SigningKey
from yilian.node.tokens import ASSERTION_TYPE, Purpose, dpop_proof


async def test_a_member_named_own_is_not_taken_for_the_members_own_software(tmp_path, monkeypatch):
    monkeypatch.setitem(alliance_worlds.KINDS, "own", "clinic")
    async with alliance(tmp_path, members=("own", "hospital-1", "regulator-1")) as running:
        holder, stranger = running.nodes["hospital-1"], running.nodes["own"]
        url = holder.tokens.endpoint
        assertion = stranger.tokens.assertion(url, Purpose(seed("nobody"), "physician", "TREAT", None))
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        proof = dpop_proof(SigningKey(seed("dpop")), "POST", url, running.clock.now_ms // 1_000, None)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, data=form, headers={"DPoP": proof})
            said = answer.json()
            opened = await client.get(
                holder.settings.endpoint + "/fhir/Patient", headers={"Authorization": f"Bearer {said.get('access_token')}"}
            )
        assert (answer.status_code, said.get("name")) == (401, "ASSERTION_NOT_VALID")
        assert opened.status_code == 401
