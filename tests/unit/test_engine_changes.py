"""Which entries changed who the members are: noted with each block, the same however a copy came to be, found once in an old store."""

import sqlite3
from contextlib import closing

import pytest

from tests.ledgers import AFTER, CONVICTED, GUILTY, HEIGHT, REINSTATED, Source, follow, grown_source, restored
from yilian.base.transaction import parse
from yilian.engines import StoreCorrupt, changes, fsck_folder
from yilian.engines.replica import Replica
from yilian.engines.store import FILE, Store
from yilian.ledger import parse_equivocation


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    with grown_source(tmp_path_factory.mktemp("source")) as both:
        yield both


@pytest.fixture
def from_before(grown, tmp_path):
    """A ledger as a software without that table left it."""
    folder = tmp_path / "ledger"
    copied = Replica.open(folder, grown[0].genesis)
    follow(copied, grown[0])
    copied.close()
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.executescript("DROP TABLE changes; DELETE FROM facts WHERE name = 'changes'")
    return folder


def test_a_conviction_and_its_end_are_noted_and_nothing_else(grown):
    replica = grown[0].replica
    convicted, reinstated = [replica.entry(index) for index in replica.member_changes()]
    assert (convicted.height, parse_equivocation(convicted.data).member) == (CONVICTED, GUILTY)
    assert (reinstated.height, parse(reinstated.data).header.subject) == (REINSTATED, "directory.reinstate")


def test_asking_reads_no_block(grown, monkeypatch):
    monkeypatch.setattr(Store, "blocks", lambda *_: pytest.fail("it read blocks"))
    monkeypatch.setattr(Store, "block", lambda *_: pytest.fail("it read a block"))
    assert len(grown[0].replica.member_changes()) == 2


def test_a_store_from_before_is_looked_through_once_and_says_so(grown, from_before, monkeypatch, caplog):
    monkeypatch.setattr(changes, "BLOCKS_AT_ONCE", 50)
    with closing(Replica.open(from_before, grown[0].genesis)) as again:
        assert again.member_changes() == grown[0].replica.member_changes()
    last = HEIGHT + AFTER
    said = f"{from_before / FILE} is looked through once for changes of members: block "
    assert caplog.messages == [f"{said}{at} of {last}" for at in range(0, last, 50)]
    with closing(Replica.open(from_before, grown[0].genesis)) as again:
        assert again.member_changes() == grown[0].replica.member_changes()
    assert len(caplog.messages) == 3
    assert fsck_folder(from_before, grown[0].genesis).height == last


def test_looking_through_that_is_broken_off_begins_again(grown, from_before, monkeypatch):
    blocks = Store.blocks
    monkeypatch.setattr(changes, "BLOCKS_AT_ONCE", 50)
    monkeypatch.setattr(Store, "blocks", lambda store, since, until: blocks(store, since, until) if since < 100 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Replica.open(from_before, grown[0].genesis)
    monkeypatch.undo()
    with closing(Replica.open(from_before, grown[0].genesis)) as again:
        assert again.member_changes() == grown[0].replica.member_changes()


def test_a_copy_that_began_with_a_snapshot_notes_what_comes_after_it(tmp_path):
    source = Source(tmp_path / "source")
    source.grow(CONVICTED + 1)
    snapshot = source.snapshot()
    source.grow(REINSTATED + 1)
    copied = restored(tmp_path / "ledger", source, snapshot)
    follow(copied, source)
    assert copied.member_changes() == source.replica.member_changes()[1:]
    copied.close()
    with closing(sqlite3.connect(tmp_path / "ledger" / FILE)) as connection:
        connection.executescript("DROP TABLE changes; DELETE FROM facts WHERE name = 'changes'")
    with closing(Replica.open(tmp_path / "ledger", source.genesis)) as again:
        assert again.member_changes() == source.replica.member_changes()[1:]
    source.replica.close()


def test_the_check_finds_a_change_that_was_taken_out(grown, from_before):
    Replica.open(from_before, grown[0].genesis).close()
    with closing(sqlite3.connect(from_before / FILE)) as connection:
        assert connection.execute("DELETE FROM changes WHERE entry = (SELECT min(entry) FROM changes)").rowcount == 1
        connection.commit()
    with pytest.raises(StoreCorrupt, match="row 0 of its table changes is not what the transactions give"):
        fsck_folder(from_before, grown[0].genesis)
