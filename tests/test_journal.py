"""The queue and the receipt, in a real SQLite file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from classifier.read import Signature
from daemon.census import Priority
from daemon.database import FILE_NAME
from daemon.errors import JournalError
from daemon.jobs import Job, Outcome, Sighting
from daemon.journal import MAX_KNOWN, Journal
from daemon.row import Row, row_id

A, B, C = b"/in/a.jpg", b"/in/b.jpg", b"/in/\xff,\n.jpg"
OLD, NEW = Signature(10, 1, 1), Signature(11, 2, 2)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path)
    yield opened
    opened.close()


def row(job: Job, content: str = "aa", status: str = "classified") -> Row:
    return Row(
        row_id(job.path, content, "model", job.attempt), str(job.path), "cat", "0.9", "", status,
        "broken" if status == "failed" else "", 1, 1, 1, content, "model", job.seen_at, "now", "",
    )  # fmt: skip


def done(job: Job, content: str = "aa", status: str = "classified") -> Outcome:
    return Outcome(job, job.signature, row(job, content, status))


def claim(journal: Journal, limit: int = 10) -> list[Job]:
    return journal.claim(limit, ())


def test_a_file_is_queued_once_and_not_again_when_it_is_done(journal: Journal) -> None:
    sighting = Sighting(A, OLD)
    assert journal.enqueue([sighting, sighting], Priority.LIVE) == 1
    assert journal.unseen([sighting]) == []
    (job,) = claim(journal)
    (published,) = journal.finish([done(job)], 0)
    assert journal.enqueue([sighting], Priority.LIVE) == 0
    assert journal.unseen([sighting, Sighting(A, NEW)]) == [Sighting(A, NEW)]
    assert list(journal.lines()) == [published]
    assert journal.is_empty()


def test_a_worker_is_told_which_contents_have_a_row(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    journal.finish([done(claim(journal)[0], "aa")], 0)
    journal.enqueue([Sighting(A, NEW)], Priority.LIVE)
    (job,) = claim(journal)
    assert job.known == {"aa"}
    assert journal.finish([Outcome(job, NEW, sha256="aa")], 0) == []  # touched, not changed
    assert journal.unseen([Sighting(A, NEW)]) == []
    assert journal.results() == 1


def test_a_content_has_one_row_however_many_came_between(journal: Journal) -> None:
    for number in range(150):  # more than a job tells its worker of
        journal.enqueue([Sighting(A, Signature(number, 1, 1))], Priority.LIVE)
        (job,) = claim(journal)
        assert len(job.known) <= 100
        assert len(journal.finish([done(job, f"{number:03}")], 0)) == 1
    journal.enqueue([Sighting(A, NEW)], Priority.LIVE)
    (job,) = claim(journal)
    again = row(job, "000")._replace(id="another")
    assert journal.finish([Outcome(job, NEW, again)], 0) == []
    assert journal.results() == 150


def test_a_job_knows_the_present_content_however_many_there_were(journal: Journal) -> None:
    """It is the one that is touched, or written once more."""
    for number in range(MAX_KNOWN + 50):
        journal.finish([done(seen(journal, Signature(number, 1, 1)), f"{number:03}")], 0)
        assert f"{number:03}" in seen(journal, NEW).known


def test_a_newer_sighting_outlives_the_work_on_the_older_one(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    (job,) = claim(journal)
    journal.enqueue([Sighting(A, NEW)], Priority.LIVE)  # rewritten while in hand
    assert journal.claim(10, [job]) == []  # not to two workers at once
    journal.finish([done(job)], 0)
    (again,) = claim(journal)
    assert again.signature == NEW


def test_live_arrivals_go_before_backfilled_ones(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD), Sighting(B, OLD)], Priority.BACKFILL)
    journal.enqueue([Sighting(C, OLD)], Priority.LIVE)
    assert [job.path for job in claim(journal)] == [C, A, B]
    journal.enqueue([Sighting(B, NEW)], Priority.LIVE)  # seen live after all
    assert [job.path for job in claim(journal)] == [C, B, A]
    assert [journal.pending(priority) for priority in Priority] == [2, 1, 0]


def test_a_backfill_does_not_put_a_live_file_back(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    journal.enqueue([Sighting(A, NEW)], Priority.BACKFILL)
    assert journal.pending(Priority.LIVE) == 1


def test_a_claim_passes_over_what_is_in_hand_and_keeps_to_its_limit(journal: Journal) -> None:
    paths = [b"/in/%03d.jpg" % number for number in range(100)]
    journal.enqueue([Sighting(path, OLD) for path in paths], Priority.LIVE)
    in_hand = journal.claim(50, ())
    assert [job.path for job in journal.claim(10, in_hand)] == paths[50:60]


def test_an_unsettled_file_comes_back_later(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    (job,) = claim(journal)
    journal.finish([Outcome(job, unsettled=True)], retry_at=1000)
    assert journal.claim(1, (), now=999) == []
    assert [job.path for job in journal.claim(1, (), now=1000)] == [A]


def test_an_unsettled_file_does_not_wait_for_a_clock_that_was_set_back(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    (job,) = claim(journal)
    journal.finish([Outcome(job, unsettled=True)], retry_at=1000 + 5)
    assert journal.claim(1, (), now=1000, retry_seconds=5) == []
    assert journal.claim(1, (), now=1004, retry_seconds=5) == []
    for now in (999, 10):
        assert [job.path for job in journal.claim(1, (), now, retry_seconds=5)] == [A]


def test_the_same_work_done_twice_makes_one_row(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    (job,) = claim(journal)
    assert len(journal.finish([done(job)], 0)) == 1
    assert journal.finish([done(job)], 0) == []
    assert journal.results() == 1


def test_what_was_claimed_by_a_process_that_died_is_there_again(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from daemon.journal import *\n"
        "j = Journal.open(pathlib.Path(sys.argv[1]))\n"
        "j.enqueue([Sighting(b'/in/%d.jpg' % n, Signature(1, 1, 1)) for n in range(50)], "
        "Priority.LIVE)\n"
        "j.claim(50, ())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    journal = Journal.open(tmp_path)
    assert len(journal.claim(100, ())) == 50
    journal.close()


def test_two_processes_may_enqueue_at_once(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from daemon.journal import *\n"
        "j = Journal.open(pathlib.Path(sys.argv[1]))\n"
        "for n in range(200):\n"
        "    j.enqueue([Sighting(b'/in/%d.jpg' % n, Signature(1, 1, 1))], Priority.LIVE)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=100) for process in processes] == [0, 0, 0]
    journal = Journal.open(tmp_path)
    assert journal.pending() == 200
    journal.close()


def test_processes_that_open_a_new_journal_at_once_all_get_it(tmp_path: Path) -> None:
    """They wait for a line each and then go at the same folder together, again and again."""
    program = (
        "import sys, pathlib\n"
        "from daemon.journal import Journal\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    Journal.open(pathlib.Path(line.strip())).close()\n"
        "    print('done', flush=True)\n"
    )
    opening = [
        subprocess.Popen([sys.executable, "-c", program], text=True, bufsize=1,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]  # fmt: skip
    pipes = [(process.stdin, process.stdout) for process in opening]
    try:
        assert [out.readline() for _, out in pipes if out] == ["ready\n"] * 4
        for turn in range(60):
            folder = tmp_path / str(turn)
            folder.mkdir()
            for into, _ in pipes:
                assert into is not None
                into.write(f"{folder}\n")
            assert [out.readline() for _, out in pipes if out] == ["done\n"] * 4, turn
    finally:
        for process in opening:
            process.kill()
            process.communicate(timeout=60)


def test_a_commit_is_made_to_outlive_a_power_cut(journal: Journal) -> None:
    (mode,) = journal._db.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = journal._db.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)  # 2: FULL


def test_a_transaction_that_breaks_off_leaves_nothing(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD)], Priority.LIVE)
    (job,) = claim(journal)
    with pytest.raises(AttributeError):
        journal.finish([done(job), None], 0)  # type: ignore[list-item]
    assert journal.results() == 0
    assert len(claim(journal)) == 1


def test_another_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match=r"version 99.*update classifyd"):
        Journal.open(tmp_path)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(os.urandom(4096))
    with pytest.raises(JournalError, match="is damaged"):
        Journal.open(tmp_path)


def test_reading_makes_no_journal(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="nothing was classified"):
        Journal.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / FILE_NAME).touch()  # as it is for a moment when it is made
    with pytest.raises(JournalError, match="nothing was classified"):
        Journal.open(tmp_path, read_only=True)


def test_a_journal_that_is_read_only_is_not_written_to(journal: Journal, tmp_path: Path) -> None:
    reading = Journal.open(tmp_path, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reading.enqueue([Sighting(A, OLD)], Priority.LIVE)
    reading.close()
    assert journal.is_empty()


def test_notes_are_written_only_if_they_are_news(journal: Journal) -> None:
    notes = {"a symbolic link": (2, A)}
    assert journal.note_ignored(notes)
    before = journal._db.total_changes
    assert not journal.note_ignored(notes)
    assert journal._db.total_changes == before
    assert journal.ignored() == [("a symbolic link", 2, A)]


def test_every_row_is_counted_once(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.enqueue([Sighting(A, OLD), Sighting(B, OLD), Sighting(C, OLD)], Priority.LIVE)
    a, b, c = claim(journal)
    journal.finish([done(a), done(b, "bb", "failed")], 0)
    journal.finish([done(a)], 0)  # it has its row
    with monkeypatch.context() as patched:
        patched.setattr("daemon.journal.TALLY", "INSERT INTO no_such_table VALUES (?, ?, ?)")
        with pytest.raises(sqlite3.OperationalError):
            journal.finish([done(c, "cc")], 0)
    assert journal.results() == 2
    journal.finish([done(c, "cc")], 0)
    assert journal.by_status() == {"classified": 2, "failed": 1} == journal.by_status_after(0)
    day = done(a).row.classified_at[:10]
    assert journal.by_status(day) == journal.by_status()
    assert journal.by_status("1999-12-31") == {}


def test_the_questions_that_status_asks(journal: Journal) -> None:
    journal.enqueue([Sighting(A, OLD), Sighting(B, OLD), Sighting(C, OLD)], Priority.LIVE)
    a, b, _ = claim(journal)
    journal.finish([done(a), done(b, "bb", "failed")], 0)
    assert journal.by_status() == {"classified": 1, "failed": 1}
    assert journal.by_status_after(1) == {"failed": 1}
    assert journal.failures() == [("broken", 1, B)]
    assert [journal.state_of(path) for path in (A, B, C, b"/in/d.jpg")] == [
        ("classified", ""), ("failed", "broken"), ("pending", ""), None,
    ]  # fmt: skip
    journal.note_folder(b"/old")
    journal.note_folder(b"/old")
    assert journal.folders() == [b"/old"]


# A file that is as it was before


def seen(journal: Journal, signature: Signature) -> Job:
    journal.enqueue([Sighting(A, signature)], Priority.LIVE)
    (job,) = claim(journal)
    return job


def test_a_file_that_is_put_back_has_not_failed(journal: Journal) -> None:
    """It was classified, damaged, and copied anew from the card: its newest row is `failed`."""
    journal.finish([done(seen(journal, OLD), "good")], 0)
    journal.finish([done(seen(journal, NEW), "bad", "failed")], 0)
    assert list(journal.failed("")) == [A]
    back = Signature(10, 3, 3)
    assert journal.finish([Outcome(seen(journal, back), back, sha256="good")], 0) == []
    assert list(journal.failed("")) == []
    assert journal.failures() == []
    assert journal.state_of(A) == ("classified", "")


def test_what_is_tried_again_has_one_row_that_is_not_failed(journal: Journal) -> None:
    journal.finish([done(seen(journal, OLD), "good")], 0)
    journal.finish([done(seen(journal, NEW), "bad", "failed")], 0)
    assert journal.enqueue_again([Sighting(A, NEW)]) == 1
    assert journal.enqueue_again([Sighting(A, NEW)]) == 0  # it waits
    (job,) = claim(journal)
    assert (job.attempt, job.known) == (2, {"good"})
    # Meanwhile it was put back, by a worker that was not told of the content.
    assert journal.finish([done(job, "good")], 0) == []
    assert journal.doubles() == []
    assert list(journal.failed("")) == []


def test_a_file_that_cannot_be_read_any_more_has_failed(journal: Journal) -> None:
    journal.finish([done(seen(journal, OLD), "good")], 0)
    (unread,) = [done(seen(journal, NEW), "", "failed")._replace(again=True)]
    assert len(journal.finish([unread], 0)) == 1
    assert journal.state_of(A) == ("failed", "broken")
    assert journal.finish([unread._replace(job=seen(journal, NEW))], 0) == []  # once, not each scan
    assert journal.state_of(A) == ("failed", "broken")
    job = seen(journal, NEW)
    journal.finish([Outcome(job, NEW, sha256="good")], 0)
    assert journal.state_of(A) == ("classified", "")
