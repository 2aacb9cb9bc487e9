"""One-time keys that strangers ask for are not kept for ever; those that a grant or a referral names are."""

import pytest

from tests.release_worlds import HOLDER, REQUESTER, ward
from yilian.base.handovers import GrantKey
from yilian.base.shapes import unpack
from yilian.base.transaction import approve
from yilian.contracts import consent, referral
from yilian.node import anchoring, handedkeys
from yilian.node.carriage import act_of


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path) as running:
        running.ann = running.person("ann")
        await running.enrol(running.ann)
        yield running


async def handed(here, member=HOLDER):
    answer = await here.client.post(here.running.urls[member] + "/network/grant-key")
    return unpack(GrantKey, answer.content).key


def kept(here, member=HOLDER):
    return {key for (key,) in here.running.nodes[member].journal.all("SELECT key FROM handed_keys")}


async def later(here, seconds, *, block=True):
    here.clock.go(seconds)
    if block:
        await anchoring.tick(here.holder)
    for member in (HOLDER, REQUESTER):
        await handedkeys.sweep(here.running.nodes[member])


async def test_keys_that_no_grant_names_are_destroyed_after_their_end_and_the_others_stay(here, monkeypatch):
    monkeypatch.setattr(handedkeys, "DESTROYED_AT_ONCE", 2)
    strangers = [await handed(here) for _ in range(5)]
    control_key = await here.give(here.ann)  # and not used before all of these are swept
    grant = consent.read(here.engine.read(), control_key)
    assert kept(here) == {*strangers, grant.holder_key}
    await later(here, 2 * 3_600)
    fresh = await handed(here)
    assert kept(here) == {*strangers, grant.holder_key, fresh}
    await later(here, 2 * 3_600)
    assert kept(here) == {fresh}
    assert [here.holder.keys.grant_key(key) for key in strangers] == [None] * 5
    assert here.holder.keys.vault.names(1) == sorted([grant.holder_key, fresh])  # in the vault's file, too
    assert here.requester.keys.grant_key(grant.requester_key) is not None
    assert (await here.read("/fhir/Observation", control_key, patient=here.ann)).status == 200
    await later(here, 5 * 3_600)
    assert (kept(here), here.holder.keys.grant_key(fresh)) == (set(), None)


async def test_a_clock_alone_ends_no_key(here):
    """Our copy of the ledger may be behind, with a grant that names the key in a block that it has not seen."""
    key = await handed(here)
    await later(here, 5 * 3_600, block=False)
    assert kept(here) == {key}
    await later(here, 61)
    assert (kept(here), here.holder.keys.grant_key(key)) == (set(), None)


async def refer(here, key):
    """Enter a referral that names a key."""
    from_key = await here.requester.keys.new_grant_key()
    carriage = here.requester.carriage
    protected, act = carriage.header("referral.request"), act_of("referral.request", referral.Request(from_key.public_key, key, b"c" * 32))
    committed = await carriage.submit(carriage.enveloped(protected, act, [approve(from_key, protected, act)]))
    assert (committed.reason, committed.facts) == (0, {})


@pytest.mark.parametrize("when", ["looking", "stepping"])  # while the ledger is looked through; after the first step
async def test_a_key_that_is_named_while_a_sweep_is_under_way_stays(here, monkeypatch, when):
    monkeypatch.setattr(handedkeys, "DESTROYED_AT_ONCE", 1)
    first, second = sorted([await handed(here) for _ in range(2)])
    here.clock.go(5 * 3_600)
    await anchoring.tick(here.holder)
    named, write, entered = handedkeys._named, type(here.holder.journal).write, []

    async def meanwhile():
        if not entered:
            entered.append(await refer(here, second))

    async def looking(keys, view):
        found = await named(keys, view)
        await meanwhile()
        return found

    async def stepping(self, work):
        await write(self, work)
        await meanwhile()

    monkeypatch.setattr(*((handedkeys, "_named", looking) if when == "looking" else (type(here.holder.journal), "write", stepping)))
    await handedkeys.sweep(here.holder)
    assert entered == [None]
    assert (kept(here), here.holder.keys.grant_key(first)) == ({second}, None)
    assert here.holder.keys.grant_key(second).public_key == second
    await handedkeys.sweep(here.holder)
    assert (kept(here), here.holder.keys.grant_key(second).public_key) == (set(), second)


async def test_a_key_that_a_referral_names_stays(here):
    key = await handed(here)
    await refer(here, key)
    await later(here, 5 * 3_600)
    assert (kept(here), here.holder.keys.grant_key(key).public_key) == (set(), key)


async def test_a_sweep_takes_so_many_at_a_time_the_oldest_first(here, monkeypatch):
    monkeypatch.setattr(handedkeys, "BATCH", 2)
    first = [await handed(here) for _ in range(2)]
    here.clock.go(3_600)
    second = [await handed(here) for _ in range(2)]
    await later(here, 5 * 3_600)
    assert kept(here) == set(second)
    await handedkeys.sweep(here.holder)
    assert kept(here) == set()
    assert [here.holder.keys.grant_key(key) for key in (*first, *second)] == [None] * 4
