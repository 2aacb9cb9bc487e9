"""One request to a node, with a sentence or a number for each way in which it can fail. What is read here is public: no login."""

import json
from typing import TYPE_CHECKING, Any, Final

from yilian.cli.frame import Answered, Declined, Unreachable

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 30
_NOT_FOUND: Final = 404


def get(url: str) -> bytes:
    """Return what a node answers to a GET.

    Raises   Unreachable; Answered, with the node's number; Declined, if it refused without one
    """
    import httpx

    try:
        response = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{url} did not answer ({type(error).__name__}): is the node running?") from error
    return good(response)


def good(response: "httpx.Response") -> bytes:
    """Return the body of a response that says yes.

    Raises   Answered, Declined
    """
    if response.is_success:
        return response.content
    said = _json(response)
    if isinstance(said.get("number"), int) and isinstance(said.get("name"), str) and said["number"] >= 1_000:  # noqa: PLR2004 - below: HTTP's own
        raise Answered(said["number"], said["name"], said.get("facts") or {})
    refusal = response.headers.get("yilian-refusal", "")
    number, _, name = refusal.partition(" ")
    if number.isdigit():
        raise Answered(int(number), name, {})
    issues = said.get("issue") or [{}]
    sentence = said.get("title") or issues[0].get("diagnostics") or (issues[0].get("details") or {}).get("text") or response.reason_phrase
    raise Declined(f"{response.request.url.host}:{response.request.url.port} answers {response.status_code}: {sentence}")


def _json(response: "httpx.Response") -> dict[str, Any]:
    try:
        said = json.loads(response.content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
