"""What strangers may have carried."""

from tests.alliance_worlds import alliance, seed
from yilian.base.codec import encode
from yilian.base.keys import SigningKey
from yilian.base.transaction import act_bytes, approve
from yilian.contracts import consent
from yilian.node import limits
from yilian.node.limits import Limit


async def test_one_header_does_not_have_any_number_of_acts_carried(tmp_path, monkeypatch):
    """An act whose approval is wrong spends no nonce, so its header stays good: without a limit each try is signed, checked, answered."""
    monkeypatch.setattr(limits, "SUBMISSIONS", Limit("submissions", 4, 100))
    async with alliance(tmp_path, opens=["regulator-1"]) as running:
        header = (await running.post("regulator-1", "/network/header", encode("consent.revoke"))).content
        patient, answers = SigningKey(seed("patient")), []
        for number in range(6):
            act = act_bytes(consent.REVOKE, {1: seed("grant", number)})
            key, _ = approve(patient, header, act)
            body = encode([header, act, [[key, bytes(64)]]])
            answers.append((await running.post("regulator-1", "/network/submit", body)).json()["name"])
        assert answers == ["BAD_APPROVAL"] * 4 + ["TOO_MANY_REQUESTS"] * 2
