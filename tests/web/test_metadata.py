"""What whoever asks is told of a member's server: what it can, and of nobody."""

from dataclasses import replace

import pytest

from tests.release_worlds import HOLDER, ward
from yilian import __version__
from yilian.web import metadata


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        yield running


async def asked(here, path):
    return await here.client.get(here.running.urls[HOLDER] + path)


async def test_capabilities_are_answered_without_a_login_and_are_a_valid_resource(here):
    answer = await asked(here, "/fhir/metadata")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    issues = [issue for issue in here.holder.store.validate("CapabilityStatement", answer.content) if issue.severity in ("error", "fatal")]
    assert issues == []
    said = answer.json()
    (rest,) = said["rest"]
    assert (said["fhirVersion"], said["kind"], said["software"]["version"]) == ("4.0.1", "instance", __version__)
    assert said["implementation"] == {"description": f"name of {HOLDER}", "url": here.running.urls[HOLDER] + "/fhir"}
    assert len(rest["resource"]) == 146  # the concrete types of R4
    assert not any(word in answer.content for word in (b"no-ann", b'"ann"', b"hypertension", b"5.1"))


async def test_the_members_name_is_what_the_directory_has_now(here, monkeypatch):
    """A node whose copy had not come as far as its admission says its id; afterwards its name."""
    member = metadata.directory.member
    for found, name in ((lambda *_: None, HOLDER), (lambda *at: replace(member(*at), name="new"), "new"), (member, f"name of {HOLDER}")):
        with monkeypatch.context() as patch:
            patch.setattr(metadata.directory, "member", found)
            said = (await asked(here, "/fhir/metadata")).json()
        assert said["implementation"]["description"] == name


async def test_what_the_capabilities_name_is_what_the_server_does(here):
    """Each search parameter that is named is understood, and a search by one that is not is refused."""
    (rest,) = (await asked(here, "/fhir/metadata")).json()["rest"]
    kinds = {one["type"]: {each["name"]: each["type"] for each in one["searchParam"]} for one in rest["resource"]}
    assert kinds["Observation"]["code"] == "token"
    assert kinds["Patient"]["birthdate"] == "date"
    values = {"token": "x", "string": "x", "uri": "urn:x", "reference": "Patient/x", "date": "2026", "number": "1", "quantity": "1"}
    own = await here.own(HOLDER)
    url = here.running.urls[HOLDER]
    for name in ("Patient", "Observation", "Condition", "MedicationRequest"):
        for code, kind in kinds[name].items():
            if kind not in values:
                continue
            answer = await here.client.get(f"{url}/fhir/{name}?{code}={values[kind]}", headers=own)
            assert answer.status_code == 200, (name, code, kind, answer.text)
    refused = await here.client.get(f"{url}/fhir/Patient?no-such=1", headers=own)
    assert refused.status_code == 400


@pytest.mark.parametrize("path", ["/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"])
async def test_where_to_get_a_token_is_said_in_both_places_alike(here, path):
    smart = (await asked(here, path)).json()
    (extension,) = (await asked(here, "/fhir/metadata")).json()["rest"][0]["security"]["extension"]
    assert extension["extension"] == [{"url": "token", "valueUri": smart["token_endpoint"]}]


@pytest.mark.parametrize("path", ["/fhir/Patient/ann", "/fhir", "/fhir/Patient", "/fhir/metadata/x", "/fhir/_history"])
async def test_nothing_else_of_the_own_records_is_answered_without_a_login(here, path):
    assert (await asked(here, path)).status_code == 401
