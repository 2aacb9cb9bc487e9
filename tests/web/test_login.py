"""Who may speak: assertions work once, tokens belong to a key, proofs belong to one request; and the ordinary GET over all of it."""

import json
import secrets
from urllib.parse import urlencode

import pytest

from tests.release_worlds import HOLDER, REQUESTER, ids, ward
from yilian.base.keys import SigningKey
from yilian.base.shapes import pack
from yilian.node import No, NodeRefused, jose, tokens
from yilian.node.tokens import ASSERTION_TYPE, Purpose, dpop_proof

pytestmark = pytest.mark.xdist_group("release")


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.dpop = SigningKey(secrets.token_bytes(32))
        yield running


def url(here):
    return here.holder.tokens.endpoint


def assertion(here, audience=None, **claims):
    purpose = Purpose(here.doctor.public_key, "physician", "TREAT", None)
    token = here.requester.tokens.assertion(audience or url(here), purpose)
    if not claims:
        return token
    header = jose.header_of(token)
    said = jose.verified(token, here.requester.keys.token_key.public_key)
    return jose.signed(here.requester.keys.token_key, header, said | claims)


async def ask(here, token, proof=None):
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
    proof = dpop_proof(here.dpop, "POST", url(here), here.now_s, None) if proof is None else proof
    headers = {"Content-Type": "application/x-www-form-urlencoded", "DPoP": proof}
    return await here.client.post(url(here), content=urlencode(form), headers=headers)


async def test_an_assertion_works_once_also_after_a_restart(here):
    token = assertion(here)
    first, again = await ask(here, token), await ask(here, token)
    assert (first.status_code, first.json()["token_type"], first.json()["expires_in"]) == (200, "DPoP", 300)
    assert (again.status_code, again.json()["name"]) == (401, "ASSERTION_USED")
    assert here.holder.journal.all("SELECT count(*) FROM assertions WHERE jti LIKE 'clinic-1:%'") == [(1,)]


async def test_an_assertion_for_another_server_too_long_or_forged_is_refused(here):
    stranger = SigningKey(secrets.token_bytes(32))
    header = jose.header_of(assertion(here))
    forged = jose.signed(
        stranger, header | {"jwk": jose.jwk_of(stranger.public_key) | {"binding": header["jwk"]["binding"]}}, {"iss": REQUESTER}
    )
    for token in (
        assertion(here, "https://elsewhere/oauth/token"),
        assertion(here, exp=here.now_s + 301),
        assertion(here, exp=here.now_s),
        assertion(here, iss=HOLDER),
        assertion(here, jti=""),
        assertion(here, extensions={}),
        forged,
        "no.jwt.at-all",
        "",
    ):
        answer = await ask(here, token)
        assert (answer.status_code, answer.json()["name"]) == (401, "ASSERTION_NOT_VALID")


async def test_a_suspended_member_gets_no_token(here):
    from yilian.contracts import directory

    message = directory.Suspend(REQUESTER, bytes(32))
    await here.running.act("regulator-1", "directory.suspend", message)
    answer = await ask(here, assertion(here))
    assert (answer.status_code, answer.json()["name"]) == (403, "MEMBER_NOT_ACTIVE")


async def held(here):
    return (await ask(here, assertion(here))).json()["access_token"]


async def call(here, token, proof, path="/network/release"):
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    return await here.client.post(here.running.urls[HOLDER] + path, content=b"\xa0", headers=headers)


async def test_a_proof_is_for_one_request_one_token_one_key_and_one_minute(here):
    token, target = await held(here), here.holder.settings.endpoint + "/network/release"
    good = dpop_proof(here.dpop, "POST", target, here.now_s, token)
    assert (await call(here, token, good)).json()["name"] == "NOT_UNDERSTOOD"  # past the door: the call itself is empty
    other_key = SigningKey(secrets.token_bytes(32))
    for wrong in (
        good,  # again
        dpop_proof(here.dpop, "GET", target, here.now_s, token),
        dpop_proof(here.dpop, "POST", target + "/x", here.now_s, token),
        dpop_proof(here.dpop, "POST", target, here.now_s, "another token"),
        dpop_proof(here.dpop, "POST", target, here.now_s, None),
        dpop_proof(other_key, "POST", target, here.now_s, token),
        dpop_proof(here.dpop, "POST", target, here.now_s - 61, token),
        dpop_proof(here.dpop, "POST", target, here.now_s + 31, token),
        "x",
    ):
        answer = await call(here, token, wrong)
        assert (answer.status_code, answer.json()["name"]) == (401, "PROOF_NOT_VALID")


async def test_a_token_ends_after_five_minutes_and_opens_no_own_records(here):
    token, target = await held(here), here.holder.settings.endpoint + "/network/release"
    answer = await here.client.get(here.running.urls[HOLDER] + "/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    here.clock.go(300)
    answer = await call(here, token, dpop_proof(here.dpop, "POST", target, here.now_s, token))
    assert (answer.status_code, answer.json()["name"]) == (401, "TOKEN_NOT_VALID")


async def test_a_token_says_who_what_for_and_to_which_key_it_belongs(here):
    claims = jose.verified(await held(here), here.holder.keys.token_key.public_key)
    iua = claims["extensions"]["ihe_iua"]
    assert (claims["sub"], iua["person_id"], iua["purpose_of_use"][0]["code"]) == (REQUESTER, here.doctor.public_key.hex(), "TREAT")
    assert claims["cnf"]["jkt"] == jose.thumbprint(here.dpop.public_key)
    assert claims["exp"] - claims["iat"] == 300


async def test_the_published_key_is_the_one_that_signs(here):
    published = (await here.client.get(here.running.urls[HOLDER] + "/.well-known/jwks.json")).json()["keys"]
    assert [jose.public_key_of(one) for one in published] == [here.holder.keys.token_key.public_key]
    for path in ("/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"):
        said = (await here.client.get(here.running.urls[HOLDER] + path)).json()
        assert (said["token_endpoint"], said["dpop_signing_alg_values_supported"]) == (url(here), ["EdDSA"])


async def test_staff_software_reads_another_member_by_an_ordinary_get(here):
    ann = here.person("ann")
    await here.enrol(ann)
    control_key = await here.give(ann)
    reading = here.signed("/fhir/Observation?_count=5&code=2339-0", control_key, presence=await here.present(ann))
    headers = await here.own(REQUESTER) | {
        "Yilian-Practitioner": reading.practitioner.hex(),
        "Yilian-Signature": reading.signature.hex(),
        "Yilian-Request-Id": reading.read.request_id.hex(),
        "Yilian-Purpose": "TREAT",
        "Yilian-Grant": control_key.hex(),
        "Yilian-Presence": pack(reading.presence).hex(),
    }
    target = f"{here.running.urls[REQUESTER]}/members/{HOLDER}{reading.read.target}"
    answer = await here.client.get(target, headers=headers)
    assert (answer.status_code, ids(answer.content)) == (200, ["Observation/ann-new", "Observation/ann-old"])
    assert answer.headers["content-type"] == "application/fhir+json"
    assert here.engine.entry(int(answer.headers["yilian-entry-index"])).id.hex() == answer.headers["yilian-entry-id"]
    again = await here.client.get(target, headers=headers)
    assert (again.content, again.headers["yilian-entry-id"]) == (answer.content, answer.headers["yilian-entry-id"])
    other = await here.client.get(target.replace("_count=5", "_count=6"), headers=headers)
    assert (other.status_code, other.headers["yilian-refusal"]) == (409, "9051 REQUEST_ID_USED")
    del headers["Yilian-Signature"]
    unsigned = await here.client.get(target, headers=headers)
    assert (unsigned.status_code, json.loads(unsigned.content)["resourceType"]) == (400, "OperationOutcome")


async def test_one_key_with_very_many_proofs_does_not_shut_the_others_out(here, monkeypatch):
    monkeypatch.setattr(tokens, "PROOFS_OF_ONE_MAX", 2)
    answers = [await ask(here, assertion(here)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    token = answers[0].json()["access_token"]
    thief, other = SigningKey(secrets.token_bytes(32)), SigningKey(secrets.token_bytes(32))
    for _ in range(3):  # a proof by another key than the token's counts against nobody
        with pytest.raises(NodeRefused) as no:
            here.holder.tokens.authorize(f"DPoP {token}", dpop_proof(thief, "GET", url(here), here.now_s, token), "GET", url(here))
        assert (no.value.no, no.value.facts) == (No.PROOF_NOT_VALID, {})
    assert (await ask(here, assertion(here), dpop_proof(other, "POST", url(here), here.now_s, None))).status_code == 200
    here.clock.go(tokens.PROOF_S_MAX + tokens.SKEW_S + 1)
    assert [(await ask(here, assertion(here))).status_code for _ in range(2)] == [200, 200]
