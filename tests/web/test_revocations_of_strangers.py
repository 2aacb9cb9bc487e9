"""Notices of revocation are taken from anybody who can sign them, and do not fill a node's disk."""

from tests.alliance_worlds import seed
from tests.release_worlds import HOLDER, ward
from yilian.base.artefacts import revoked_statement
from yilian.base.handovers import RevokeNotice
from yilian.base.keys import SigningKey
from yilian.base.shapes import pack
from yilian.node import wallets


async def told(here, *name):
    """Tell the holder that a grant is over which nobody ever gave; return (key, status)."""
    pair = SigningKey(seed("never given", *name))
    statement = revoked_statement(here.network, pair.public_key, here.now_s)
    notice = RevokeNotice(pair.public_key, here.now_s, pair.sign(statement))
    answer = await here.client.post(here.running.urls[HOLDER] + "/network/revoked", content=pack(notice))
    return pair.public_key, answer.status_code


def kept(here):
    return {key for (key,) in here.holder.journal.all("SELECT control_key FROM revocations")}


async def test_a_notice_of_a_grant_that_never_comes_is_kept_for_an_hour_and_one_of_a_grant_for_ever(tmp_path):
    async with ward(tmp_path) as here:
        ann = here.person("ann")
        await here.enrol(ann)
        early = await here.give(ann)
        await here.revoke(ann, early, enter=False)
        first, _ = await told(here, 1)
        here.clock.go(wallets.UNKNOWN_S - 1)
        second, _ = await told(here, 2)
        assert kept(here) == {early, first, second}
        here.clock.go(1)
        third, _ = await told(here, 3)
        assert kept(here) == {early, second, third}
        assert [here.holder.grants.is_revoked(key) for key in (early, first, second, third)] == [True, False, True, True]


async def test_notices_of_unknown_grants_have_a_bound_and_no_known_grant_waits_behind_them(tmp_path, monkeypatch):
    monkeypatch.setattr(wallets, "UNKNOWN_MAX", 2)
    async with ward(tmp_path) as here:
        ann = here.person("ann")
        await here.enrol(ann)
        control_key = await here.give(ann)
        assert [(await told(here, number))[1] for number in range(3)] == [204, 204, 429]
        assert (await told(here, 1))[1] == 204  # a replay changes nothing
        await here.revoke(ann, control_key, enter=False)
        assert control_key in kept(here)
        assert len(kept(here)) == 3
        here.clock.go(wallets.UNKNOWN_S)
        assert (await told(here, 2))[1] == 204
