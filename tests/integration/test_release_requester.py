"""The requester's own side: it approves nothing but what it asked for, and takes nothing without a final entry of it."""

from dataclasses import replace

import pytest

from tests.alliance_worlds import seed
from tests.release_worlds import HOLDER, REQUESTER, ward
from yilian.base.codec import decode, encode
from yilian.base.transaction import parse_header
from yilian.contracts import directory
from yilian.node import No, NodeRefused, asking, release, requesting
from yilian.node.tokens import Asker
from yilian.peers import Answer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann, running.control_key = await running.granted("ann")
        yield running


async def offered(here):
    reading = here.signed("/fhir/Observation", here.control_key)
    call = asking.ReleaseCall(reading.read, reading.practitioner, reading.signature)
    asker = Asker(REQUESTER, here.doctor.public_key, "TREAT", here.control_key, is_own=False, thumbprint="", until_s=here.now_s + 300)
    return reading, await release.prepare(call, asker, here.holder)


def holder_row(here):
    return directory.member(here.engine.read(), HOLDER)


def altered_act(offer, field, value):
    kind, body = decode(offer.act)
    return replace(offer, act=encode([kind, {**body, field: value}]))


async def test_an_honest_offer_passes(here):
    reading, offer = await offered(here)
    requesting.check_offer(offer, reading, holder_row(here), here.requester)


async def test_nothing_but_what_was_asked_is_approved(here):
    reading, offer = await offered(here)
    header = parse_header(offer.protected)
    other_audit = offer.audit_event.replace(b"TREAT", b"HRESCH")
    for wrong, no in (
        (replace(offer, protected=header._replace(issuer=REQUESTER).encoded()), No.OFFER_NOT_AS_ASKED),
        (replace(offer, protected=header._replace(subject="consent.revoke").encoded()), No.OFFER_NOT_AS_ASKED),
        (replace(offer, protected=header._replace(network=bytes(32)).encoded()), No.OFFER_NOT_AS_ASKED),
        (replace(offer, protected=b"\x00"), No.OFFER_NOT_AS_ASKED),
        (altered_act(offer, 1, 3), No.OFFER_NOT_AS_ASKED),
        (altered_act(offer, 2, seed("another grant")), No.OFFER_NOT_AS_ASKED),
        (altered_act(offer, 6, seed("another detail")), No.DETAIL_NOT_OF_AUDIT),
        (replace(offer, detail_key=seed("another d")), No.DETAIL_NOT_OF_AUDIT),
        (replace(offer, audit_event=other_audit), No.AUDIT_NOT_AS_ASKED),
        (replace(offer, audit_event=b"{}"), No.AUDIT_NOT_AS_ASKED),
        (replace(offer, audit_event=offer.audit_event + b" "), No.DETAIL_NOT_OF_AUDIT),
        (replace(offer, request_salt=bytes(32)), No.AUDIT_NOT_AS_ASKED),
    ):
        with pytest.raises(NodeRefused) as refused:
            requesting.check_offer(wrong, reading, holder_row(here), here.requester)
        assert (refused.value.no, refused.value.facts) == (no, {})


@pytest.mark.parametrize(
    ("altered", "no"),
    [
        ({"content": b"{}"}, No.RESPONSE_NOT_AS_AUDITED),
        ({"yilian-response-salt": "00" * 32}, No.RESPONSE_NOT_AS_AUDITED),
        ({"yilian-entry-index": "0"}, No.ENTRY_NOT_FINAL),
        ({"yilian-entry-id": "00" * 32}, No.ENTRY_NOT_FINAL),
    ],
)
async def test_bytes_that_no_final_entry_speaks_of_are_not_taken(here, monkeypatch, altered, no):
    post = here.requester.logins.post

    async def tampered(endpoint, path, body, purpose):
        answer = await post(endpoint, path, body, purpose)
        if "yilian-entry-id" not in answer.headers:
            return answer
        headers = {name: altered.get(name, value) for name, value in answer.headers.items()}
        return Answer(answer.status, headers, altered.get("content", answer.content))

    monkeypatch.setattr(type(here.requester.logins), "post", lambda self, *arguments: tampered(*arguments))
    with pytest.raises(NodeRefused) as refused:
        await here.read("/fhir/Observation", here.control_key)
    assert (refused.value.no, refused.value.facts) == (no, {})
    kept = here.requester.journal.all("SELECT request_id FROM receipts")
    assert len(kept) == 1  # that of the honest reading before


async def test_a_grant_of_somebody_else_is_not_taken(here):
    control_key = await here.give(here.ann, hand_over=False)
    sealed = here.ann.wallet.bundle(here.ann.state, control_key, HOLDER)
    url = here.running.urls[REQUESTER] + "/network/grants"
    answer = await here.client.post(url, content=encode([control_key, sealed]))
    assert (answer.status_code, answer.json()["name"]) == (403, "ARTEFACTS_NOT_OPENED")
    url = here.running.urls[HOLDER] + "/network/grants"
    answer = await here.client.post(url, content=encode([control_key, sealed]))
    assert (answer.status_code, answer.json()["name"]) == (403, "GRANT_NOT_OURS")


async def test_a_holder_that_is_gone_is_said_to_be(here, monkeypatch):
    from yilian.peers import Peers, Unreachable

    async def gone(self, url, content, headers=None):
        raise Unreachable("gone")

    monkeypatch.setattr(Peers, "post", gone)
    with pytest.raises(NodeRefused) as refused:
        await here.read("/fhir/Observation", here.control_key)
    assert (refused.value.no, refused.value.facts) == (No.HOLDER_UNREACHABLE, {})
    for holder in ("no-such", REQUESTER):
        with pytest.raises(NodeRefused) as refused:
            await here.ask(here.signed("/fhir/Observation", here.control_key, holder=holder))
        assert (refused.value.no, refused.value.facts) == (No.HOLDER_NOT_KNOWN, {})
