"""A power cut at every step of a release: bytes that left without an entry = 0, and nothing is left half done.

The cut is a copy of the holder's files as they are on the disk at that step: what `kill -9` would leave. The node is then opened on
the copy.
"""

import asyncio
import shutil
from dataclasses import replace

import pytest

from tests.release_worlds import HOLDER, a_request_id, ward
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import approve
from yilian.contracts import access, consent
from yilian.node import No, NodeRefused, notices, opened, ownreading, release, releases
from yilian.node.asking import ReleaseCall
from yilian.node.releases import Releases
from yilian.node.schema import Stage
from yilian.node.tokens import Asker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]
STEPS = ("before PREPARED", "after PREPARED", "after SUBMITTED", "after the entry", "before SENDING", "after SENDING")


class Cut(BaseException):
    """The power is off: nothing after this line happens."""


def cutting(here, step, folder):
    """Cut the power at a step: copy the files, then end the call with Cut."""
    releases, carriage = here.holder.releases, here.holder.carriage

    def cut():
        shutil.copytree(here.holder.folder.path, folder)
        raise Cut

    def before(method):
        async def replaced(*arguments):
            cut()

        return replaced

    def after(method):
        async def replaced(*arguments):
            await method(*arguments)
            cut()

        return replaced

    where = {
        "before PREPARED": (releases, "keep", before),
        "after PREPARED": (releases, "keep", after),
        "after SUBMITTED": (releases, "submitted", after),
        "after the entry": (carriage, "submit", after),
        "before SENDING": (releases, "sending", before),
        "after SENDING": (releases, "sending", after),
    }
    target, name, how = where[step]
    return target, name, how(getattr(target, name))


def asker(here, control_key):
    return Asker("clinic-1", here.doctor.public_key, "TREAT", control_key, is_own=False, thumbprint="", until_s=here.now_s + 10_000)


async def both_calls(here, reading, node):
    """Make the two calls at a node, as an honest requester would; return what left."""
    control_key = reading.read.control_key
    call = ReleaseCall(reading.read, reading.practitioner, reading.signature, None, reading.presence)
    offer = await release.prepare(call, asker(here, control_key), node)
    row = consent.read(here.engine.read(), control_key)
    approval = approve(here.requester.keys.grant_key(row.requester_key), offer.protected, offer.act)
    return await release.release(reading.read.request_id, approval, asker(here, control_key), node)


@pytest.fixture
async def here(tmp_path):
    async with ward(tmp_path / "region") as running:
        running.ann, running.control_key = await running.granted("ann")
        yield running


@pytest.mark.parametrize("waited_s", [0, 31, 130])
@pytest.mark.parametrize("step", STEPS)
async def test_after_a_crash_at_any_step_no_byte_has_left_without_an_entry(here, tmp_path, monkeypatch, step, waited_s):
    before = consent.read(here.engine.read(), here.control_key).entries
    reading = here.signed("/fhir/Observation", here.control_key)
    with monkeypatch.context() as patch:
        target, name, method = cutting(here, step, tmp_path / "cut")
        patch.setattr(type(target), name, lambda self, *arguments: method(*arguments))
        left = None
        with pytest.raises(Cut):
            left = await both_calls(here, reading, here.holder)
    assert left is None  # nothing left before the cut
    here.holder.releases.open.clear()
    here.holder.releases.lanes.clear()
    entered = consent.read(here.engine.read(), here.control_key).entries - before
    here.clock.go(waited_s)
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        row = node.releases.row(reading.read.request_id)
        now_entered = consent.read(here.engine.read(), here.control_key).entries - before
        assert now_entered >= entered
        assert (row is None) == (step == "before PREPARED")
        if row is not None:
            expected = {
                "after PREPARED": {Stage.DROPPED},
                "after SUBMITTED": {Stage.FINAL} if waited_s < 90 else {Stage.REFUSED},
                "after SENDING": {Stage.SENDING},
            }.get(step, {Stage.FINAL} if waited_s == 0 else {Stage.UNSENT})
            assert row.stage in expected
        sent = None
        try:
            sent = await both_calls(here, reading, node)
        except NodeRefused as no:
            assert no.no.name in {"RELEASE_TOO_LATE", "REQUEST_TOO_OLD"}  # noqa: PT017 - either a release or one of these
        except Refused as no:
            assert (no.reason, step, waited_s) == (Reason.EXPIRED, "after SUBMITTED", 130)  # noqa: PT017 - or this one
        if sent is not None:
            entry = here.engine.entry(sent.entry_index)
            assert entry.id == sent.entry_id
            assert access.entry(here.engine.read(), sent.entry_index).unsent is None
        row = node.releases.row(reading.read.request_id)
        request_id = reading.read.request_id
    if row is not None and row.stage == Stage.UNSENT:
        assert access.entry(here.engine.read(), row.entry_index).unsent is not None, request_id  # the ledger was told


async def test_a_revocation_outlives_a_crash_right_after_its_acknowledgement(here, tmp_path):
    await here.revoke(here.ann, here.control_key, enter=False)
    shutil.copytree(here.holder.folder.path, tmp_path / "cut")  # the very instant after the 204
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        assert node.grants.is_revoked(here.control_key)
        with pytest.raises(NodeRefused) as no:
            await both_calls(here, here.signed("/fhir/Observation", here.control_key), node)
        assert (no.value.no.name, no.value.facts) == ("REVOKED_DIRECTLY", {})


async def test_a_replayed_revocation_changes_nothing(here):
    from yilian.base.shapes import pack

    notice = await here.revoke(here.ann, here.control_key, enter=False)
    rows = here.holder.journal.all("SELECT * FROM revocations")
    here.clock.go(60)
    url = here.running.urls[HOLDER] + "/network/revoked"
    for _ in range(2):
        assert (await here.client.post(url, content=pack(notice))).status_code == 204
    forged = replace(notice, control_key=bytes(32))
    refused = await here.client.post(url, content=pack(forged))
    assert (refused.status_code, refused.json()["name"]) == (403, "REVOCATION_NOT_SIGNED")
    assert here.holder.journal.all("SELECT * FROM revocations") == rows


async def test_a_revocation_between_the_entry_and_the_bytes_stops_the_bytes_and_marks_the_entry(here, monkeypatch):
    submit = here.holder.carriage.submit

    async def revoked_meanwhile(transaction):
        committed = await submit(transaction)
        await here.revoke(here.ann, here.control_key, enter=False)
        return committed

    with monkeypatch.context() as patch:
        patch.setattr(type(here.holder.carriage), "submit", lambda self, transaction: revoked_meanwhile(transaction))
        received = await here.read("/fhir/Observation", here.control_key)
    assert (received.status, received.refusal) == (403, "1009 GRANT_REVOKED")
    (index,) = here.holder.journal.one("SELECT entry_index FROM unsents")
    await here.holder.housekeeping.stop()  # carries out what is due
    assert access.entry(here.engine.read(), index).unsent == access.UnsentReason.REVOKED


async def test_a_shutdown_waits_for_what_is_under_way_and_loses_no_record_of_it(here, monkeypatch):
    reading = here.signed("/fhir/Observation", here.control_key)
    under_way, begun_entering = here.holder.releases.open, asyncio.Event()
    call = asyncio.ensure_future(both_calls(here, reading, here.holder))
    submitted = here.holder.releases.submitted

    async def noticed(self, *arguments):
        begun_entering.set()
        await submitted(*arguments)

    monkeypatch.setattr(Releases, "submitted", noticed)
    await begun_entering.wait()
    assert under_way[reading.read.request_id].outcome is not None
    await here.holder.flight.land()
    released = await call
    row = here.holder.releases.row(reading.read.request_id)
    assert (row.stage, row.entry_index) == (Stage.SENDING, released.entry_index)
    with pytest.raises(NodeRefused) as no:
        await both_calls(here, here.signed("/fhir/Observation", here.control_key), here.holder)
    assert (no.value.no.name, no.value.facts) == ("SHUTTING_DOWN", {})


async def test_with_the_ledger_gone_nothing_leaves(here, monkeypatch):
    from yilian.engines import EngineStopped

    async def gone(transaction):
        raise EngineStopped("gone")

    before = here.entries()
    reading = here.signed("/fhir/Observation", here.control_key)
    with monkeypatch.context() as patch:
        patch.setattr(type(here.engine), "submit", lambda self, transaction: gone(transaction))
        received = await here.ask(reading)
        assert (received.status, received.refusal) == (503, "9120 LEDGER_UNREACHABLE")
    assert here.entries() == before
    again = await here.ask(reading)  # the ledger is back: the same request, its one entry
    assert (again.status, here.entries()) == (200, before + 1)


async def test_with_a_full_disk_nothing_leaves(here, monkeypatch):
    from yilian.node import No

    async def full(self, prepared, transaction):
        raise NodeRefused(No.STORAGE_FAILED, code="SQLITE_FULL")

    before = here.entries()
    with monkeypatch.context() as patch:
        patch.setattr(Releases, "submitted", full)
        received = await here.read("/fhir/Observation", here.control_key)
    assert (received.status, received.refusal, here.entries()) == (503, "9121 STORAGE_FAILED", before)


async def crashed_before_sending(here, monkeypatch, folder):
    """Cut the power when the entry is final and nothing has left; return the reading and the approval that it was entered with."""
    reading = here.signed("/fhir/Observation", here.control_key)
    request_id, who = reading.read.request_id, asker(here, here.control_key)
    call = ReleaseCall(reading.read, reading.practitioner, reading.signature, None, reading.presence)
    offer = await release.prepare(call, who, here.holder)
    row = consent.read(here.engine.read(), here.control_key)
    approval = approve(here.requester.keys.grant_key(row.requester_key), offer.protected, offer.act)
    with monkeypatch.context() as patch:
        target, name, method = cutting(here, "before SENDING", folder)
        patch.setattr(type(target), name, lambda self, *arguments: method(*arguments))
        with pytest.raises(Cut):
            await release.release(request_id, approval, who, here.holder)
    here.holder.releases.open.clear()
    here.holder.releases.lanes.clear()
    return request_id, approval


async def test_after_a_crash_a_grant_revoked_meanwhile_is_not_served(here, tmp_path, monkeypatch):
    request_id, approval = await crashed_before_sending(here, monkeypatch, tmp_path / "cut")
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        assert node.releases.row(request_id).stage == Stage.FINAL
        node.grants.revoke(here.control_key)
        with pytest.raises(Refused) as no:
            await release.release(request_id, approval, asker(here, here.control_key), node)
        assert (no.value.reason, no.value.facts) == (Reason.GRANT_REVOKED, {})
        assert node.releases.row(request_id).stage == Stage.UNSENT
        assert node.journal.all("SELECT reason FROM unsents") == [(int(access.UnsentReason.REVOKED),)]


async def test_after_a_crash_what_is_marked_unsent_is_not_sent_after_all(here, tmp_path, monkeypatch):
    request_id, approval = await crashed_before_sending(here, monkeypatch, tmp_path / "cut")
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        row = node.releases.row(request_id)
        monkeypatch.setattr(Releases, "row", lambda _, __: row)  # read before the duty marked it
        await node.releases.unsent(request_id, row.entry_index, row.entry_id, int(access.UnsentReason.INTERRUPTED))
        with pytest.raises(NodeRefused) as no:
            await release.release(request_id, approval, asker(here, here.control_key), node)
        assert no.value.no is No.RELEASE_TOO_LATE


async def test_after_a_crash_a_patients_own_reading_is_answered_as_before(here, tmp_path):
    """It was refused as used, and the patient had an entry in his log under which he had got nothing."""
    asked = here.ann.wallet.read_own(here.ann.state, HOLDER, "/fhir/Observation", here.now_s, a_request_id())
    told = await ownreading.read_own(asked, here.holder)
    shutil.copytree(here.holder.folder.path, tmp_path / "cut")
    entries = here.entries()
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        assert await ownreading.read_own(asked, node) == told
        other = here.ann.wallet.read_own(here.ann.state, HOLDER, "/fhir/Condition", here.now_s, asked.request_id)
        with pytest.raises(NodeRefused) as no:
            await ownreading.read_own(other, node)
        assert (no.value.no, no.value.facts) == (No.REQUEST_ID_USED, {})
        here.clock.go(31)
        with pytest.raises(NodeRefused) as no:
            await ownreading.read_own(asked, node)
        assert (no.value.no, no.value.facts) == (No.RELEASE_TOO_LATE, {})
    assert here.entries() == entries


async def test_a_number_whose_release_was_refused_a_place_is_skipped_on_the_ledger(here, monkeypatch):
    """Allotted, and then refused for want of room: no row had it, nobody skipped it, and the patient's wallet found a gap."""

    def own():
        asked = here.ann.wallet.read_own(here.ann.state, HOLDER, "/fhir/Observation", here.now_s, a_request_id())
        return ownreading.read_own(asked, here.holder)

    await own()
    with monkeypatch.context() as patch:
        patch.setattr(releases, "OPEN_MAX", 0)
        with pytest.raises(NodeRefused) as no:
            await own()
        assert (no.value.no, no.value.facts) == (No.TOO_MANY_REQUESTS, {})
    await own()
    await here.holder.housekeeping.stop()  # carries out what is due
    assert here.holder.journal.all("SELECT n FROM skips WHERE entry_index IS NOT NULL") == [(1,)]
    assert here.holder.journal.all("SELECT n FROM releases WHERE basis = 2 ORDER BY n") == [(0,), (2,)]


async def test_an_entry_that_our_copy_has_not_seen_yet_is_not_given_up(here, tmp_path, monkeypatch):
    """After a pause the clock was past the envelope's end and our copy of the ledger behind: the entry was there, and we had dropped it."""
    request_id, _ = await crashed_before_sending(here, monkeypatch, tmp_path / "cut")
    here.clock.go(200)
    with monkeypatch.context() as patch:
        find, calls = type(here.engine).find, []

        def not_yet(engine, id_):  # our copy finds it only when the one that orders has answered
            calls.append(id_)
            return None if len(calls) == 1 else find(engine, id_)

        patch.setattr(type(here.engine), "find", not_yet)
        async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
            row = node.releases.row(request_id)
            assert (Stage(row.stage), row.entry_index is not None) == (Stage.UNSENT, True)


async def test_a_patient_is_told_of_what_left_after_a_crash(here, tmp_path, monkeypatch):
    request_id, approval = await crashed_before_sending(here, monkeypatch, tmp_path / "cut")
    async with opened(tmp_path / "cut", here.engine, clock=here.clock) as node:
        sent = await release.release(request_id, approval, asker(here, here.control_key), node)
        again = await release.release(request_id, approval, asker(here, here.control_key), node)
        assert again == sent
        chart = node.charts.of_patient("ann")
        told = [one for one in notices.notices(node, chart, 0) if one.entry_index == sent.entry_index]
        assert [(one.kind, one.facts["requester"], one.facts["basis"]) for one in told] == [("access", "clinic-1", "grant")]
