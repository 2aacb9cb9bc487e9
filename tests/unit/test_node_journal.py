"""node.db: what was written is on the disk, a refusal undoes only itself, a full disk refuses everything."""

import asyncio
import sqlite3

import pytest

from yilian.node.journal import Journal, TablesDamaged
from yilian.node.refusals import No, NodeRefused, demand


@pytest.fixture
async def journal(tmp_path):
    opened = Journal(tmp_path / "node.db")
    yield opened
    await opened.close()


def insert(jti):
    return lambda db: db.execute("INSERT INTO assertions VALUES (?, 1)", (jti,)).rowcount


async def test_what_was_written_is_seen_by_another_process_at_once(journal, tmp_path):
    assert await journal.write(insert("a")) == 1
    with sqlite3.connect(tmp_path / "node.db") as other:
        assert other.execute("SELECT jti FROM assertions").fetchall() == [("a",)]


async def test_a_refusal_undoes_its_own_job_and_no_other(journal):
    def refuses(db):
        insert("refused")(db)
        demand(False, No.ASSERTION_USED, number=7)

    done = await asyncio.gather(*[journal.write(job) for job in (insert("a"), refuses, insert("b"))], return_exceptions=True)
    assert (done[0], done[2]) == (1, 1)
    assert (done[1].no, done[1].facts) == (No.ASSERTION_USED, {"number": 7})
    assert journal.all("SELECT jti FROM assertions ORDER BY jti") == [("a",), ("b",)]


async def test_a_defect_in_one_job_is_raised_to_who_wrote_it(journal):
    def breaks(db):
        insert("broken")(db)
        raise KeyError("ours")

    done = await asyncio.gather(journal.write(breaks), journal.write(insert("a")), return_exceptions=True)
    assert isinstance(done[0], KeyError)
    assert journal.all("SELECT jti FROM assertions") == [("a",)]


async def test_a_disk_that_is_full_refuses_and_keeps_what_was(journal):
    await journal.write(insert("a"))

    def full(db):
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(NodeRefused) as no:
        await journal.write(full)
    assert no.value.no is No.STORAGE_FAILED
    assert await journal.write(insert("b")) == 1
    assert journal.all("SELECT jti FROM assertions ORDER BY jti") == [("a",), ("b",)]


async def test_many_jobs_at_once_share_commits(journal):
    commits = []
    commit = journal._commit
    journal._commit = lambda jobs: commits.append(len(jobs)) or commit(jobs)
    await asyncio.gather(*[journal.write(insert(str(n))) for n in range(100)])
    assert sum(commits) == 100
    assert len(commits) < 10


async def test_closed_tables_take_nothing(tmp_path):
    opened = Journal(tmp_path / "node.db")
    await opened.close()
    with pytest.raises(NodeRefused) as no:
        await opened.write(insert("late"))
    assert (no.value.no, no.value.facts) == (No.SHUTTING_DOWN, {})


async def test_tables_of_the_version_before_are_brought_up_to_date_and_keep_what_they_have(tmp_path):
    opened = Journal(tmp_path / "node.db")
    schema = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    as_new = opened.all(schema)
    await opened.write(insert("a"))
    await opened.close()
    with sqlite3.connect(tmp_path / "node.db") as other:
        other.executescript(
            "DROP TABLE handed_keys; CREATE TABLE directory_entries (entry_index INTEGER PRIMARY KEY); PRAGMA user_version=1"
        )
    other.close()
    again = Journal(tmp_path / "node.db")
    assert (again.all(schema), again.all("SELECT jti FROM assertions"), again.one("PRAGMA user_version")) == (as_new, [("a",)], (3,))
    await again.close()


def test_tables_of_another_version_are_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "node.db") as other:
        other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(TablesDamaged, match="another version"):
        Journal(tmp_path / "node.db")
