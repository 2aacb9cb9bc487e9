"""The description of a member's interface: valid, whole, and true where it says who must show a token."""

import re

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from tests.release_worlds import HOLDER, ward
from yilian.web.application import application


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        yield running


async def described(here):
    answer = await here.client.get(here.running.urls[HOLDER] + "/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


async def test_the_description_is_openapi_and_names_every_route_and_no_other(here):
    said = await described(here)
    validate(said)
    routes = [route for route in application(here.holder).routes if isinstance(route, Route)]
    wanted = {(re.sub(r":\w+", "", route.path), method.lower()) for route in routes for method in route.methods - {"HEAD"}}
    assert {(path, method) for path, item in said["paths"].items() for method in item} == wanted
    assert len(wanted) > 40
    assert all(operation["summary"].endswith(".") for item in said["paths"].values() for operation in item.values())
    assert said["servers"] == [{"url": here.running.urls[HOLDER]}]


async def test_who_must_show_a_token_is_said_truly(here):
    """Asked without one, exactly the operations that say so answer 401."""
    said = await described(here)
    asked = []
    for path, item in said["paths"].items():
        if path == "/network/blocks":
            continue  # a stream
        for method, operation in item.items():
            url = here.running.urls[HOLDER] + re.sub(r"\{\w+\}", "00", path)
            answer = await here.client.request(method.upper(), url, content=b"" if method != "get" else None)
            asked.append(((path, method), (answer.status_code == 401, "security" in operation)))
    assert [(which, both) for which, both in asked if both[0] != both[1] and which != ("/oauth/token", "post")] == []
    assert sum(needs for _, (_, needs) in asked) > 10
