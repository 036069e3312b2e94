"""results.csv is what the journal says, whatever happened to it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classifier.durable import SyncError
from classifier.read import Signature
from daemon.census import Priority
from daemon.errors import JournalDamagedError, JournalError, StorageError
from daemon.jobs import Outcome, Sighting, failed
from daemon.journal import Journal, Published
from daemon.results import FILE_NAME, ResultsFile
from daemon.row import HEADER, Row, line
from daemon.verify import row_faults

ROWS = 4


def commit(journal: Journal, number: int) -> list[Published]:
    """One more row in the journal."""
    path = b"/in/%d.jpg" % number
    journal.enqueue([Sighting(path, Signature(1, 1, 1))], Priority.LIVE)
    (job,) = journal.claim(1, ())
    row = Row(f"{number:020}", path.decode(), "cat", "0.9", "", "classified", "", 1, 1, 1, "", "",
              "", "", "")  # fmt: skip
    return journal.finish([Outcome(job, job.signature, row)], 0)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path)
    for number in range(ROWS):
        commit(opened, number)
    yield opened
    opened.close()


@pytest.fixture
def whole(journal: Journal) -> bytes:
    """What the file has to be."""
    return HEADER + b"".join(row.line for row in journal.lines())


def opened_and_closed(folder: Path, journal: Journal) -> bytes:
    ResultsFile(folder, journal).close()
    return (folder / FILE_NAME).read_bytes()


def aside(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob(f"{FILE_NAME}.damaged-*"))]


def test_a_file_torn_at_any_byte_is_mended(tmp_path: Path, journal: Journal, whole: bytes) -> None:
    for end in range(len(whole) + 1):
        (tmp_path / FILE_NAME).write_bytes(whole[:end])
        assert opened_and_closed(tmp_path, journal) == whole, end
    assert aside(tmp_path) == []  # a torn end is no damage, only what was never reported


def lines_but(whole: bytes, change: Callable[[list[bytes]], object]) -> bytes:
    lines = whole.splitlines(keepends=True)
    change(lines)
    return b"".join(lines)


DAMAGE: dict[str, Callable[[list[bytes]], object]] = {
    "deleted": lambda lines: lines.pop(2),
    "changed": lambda lines: lines.__setitem__(2, lines[2].replace(b"cat", b"dog")),
    "doubled": lambda lines: lines.insert(2, lines[2]),
    "swapped": lambda lines: lines.reverse(),
    "foreign": lambda lines: lines.append(b"my notes\n"),
    "torn after a foreign line": lambda lines: lines.insert(1, b"x"),
    "headless": lambda lines: lines.pop(0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_scribbled_file_is_mended_and_kept_aside(
    tmp_path: Path, journal: Journal, whole: bytes, kind: str
) -> None:
    damaged = lines_but(whole, DAMAGE[kind])
    (tmp_path / FILE_NAME).write_bytes(damaged)
    assert opened_and_closed(tmp_path, journal) == whole
    assert aside(tmp_path) == [damaged]


@pytest.mark.parametrize("kind", [*DAMAGE, "torn", "gone"])
def test_a_file_is_not_touched_if_the_journal_is_damaged_further_on(
    tmp_path: Path, journal: Journal, whole: bytes, kind: str
) -> None:
    path = tmp_path / FILE_NAME
    opened_and_closed(tmp_path, journal)
    journal._db.execute("UPDATE results SET crc = crc + 1 WHERE seq = ?", (ROWS,))
    damaged = lines_but(whole, DAMAGE[kind]) if kind in DAMAGE else whole[: len(whole) // 2]
    path.write_bytes(damaged)
    if kind == "gone":
        path.unlink()
    with pytest.raises(JournalDamagedError, match=f"row {ROWS} is not as it was written"):
        ResultsFile(tmp_path, journal)
    assert (path.read_bytes() if path.exists() else None) == (None if kind == "gone" else damaged)
    assert aside(tmp_path) == []
    assert journal.synced() == ROWS


@pytest.mark.parametrize(("before", "unread"), [(150, 0), (1, 150)])
def test_a_row_of_any_attempt_is_known_as_ours(tmp_path: Path, before: int, unread: int) -> None:
    """A file that was written over again and again, and tried again after the journal's backup."""
    path, state = b"/in/latest.jpg", tmp_path / "state"
    state.mkdir()

    def fail(journal: Journal, sha256: str | None) -> Row:
        (job,) = journal.claim(1, ())
        outcome = failed(job, "broken", "0" * 12, sha256=sha256, again=sha256 is None)
        assert len(journal.finish([outcome], 0)) == 1
        assert outcome.row is not None
        return outcome.row

    journal = Journal.open(state)
    for number in range(before):
        journal.enqueue([Sighting(path, Signature(number, 1, 1))], Priority.LIVE)
        fail(journal, f"{number:064}")
    journal.close()
    shutil.copytree(state, tmp_path / "backup")
    journal = Journal.open(state)
    for number in range(unread):
        journal.enqueue([Sighting(path, Signature(number, 2, 2))], Priority.LIVE)
        fail(journal, None)
    journal.enqueue_again([Sighting(path, Signature(0, 3, 3))])
    row = fail(journal, "ab" * 32)
    content = opened_and_closed(tmp_path, journal)
    assert content.endswith(line(row))
    journal.close()

    older = Journal.open(tmp_path / "backup")
    with pytest.raises(JournalError, match=f"does not know, such as {row.id}"):
        ResultsFile(tmp_path, older)
    assert (tmp_path / FILE_NAME).read_bytes() == content
    assert row_faults(tmp_path / FILE_NAME, older, before).journal_is_behind
    older.close()


def test_two_damaged_files_of_one_second_are_both_kept(
    tmp_path: Path, journal: Journal, whole: bytes
) -> None:
    for number in range(3):
        (tmp_path / FILE_NAME).write_bytes(b"scribble %d" % number)
        assert opened_and_closed(tmp_path, journal) == whole
    assert sorted(aside(tmp_path)) == [b"scribble 0", b"scribble 1", b"scribble 2"]


def test_a_file_that_is_right_is_not_touched(tmp_path: Path, journal: Journal) -> None:
    opened_and_closed(tmp_path, journal)
    before = (tmp_path / FILE_NAME).stat()
    opened_and_closed(tmp_path, journal)
    assert (tmp_path / FILE_NAME).stat() == before or (
        (tmp_path / FILE_NAME).stat().st_mtime_ns == before.st_mtime_ns
    )


def test_rows_that_the_journal_has_more_of_are_appended(
    tmp_path: Path, journal: Journal, whole: bytes
) -> None:
    opened_and_closed(tmp_path, journal)
    (row,) = commit(journal, ROWS)  # and then the process died
    assert opened_and_closed(tmp_path, journal) == whole + row.line


@pytest.mark.parametrize("what", ["deleted", "replaced", "appended to", "cut"])
def test_a_file_that_is_meddled_with_while_open_is_mended_at_the_next_row(
    tmp_path: Path, journal: Journal, whole: bytes, what: str
) -> None:
    path = tmp_path / FILE_NAME
    results = ResultsFile(tmp_path, journal)
    if what == "deleted":
        path.unlink()
    elif what == "replaced":
        (tmp_path / "other").write_bytes(whole)
        (tmp_path / "other").rename(path)
    elif what == "appended to":
        with path.open("ab") as file:
            file.write(b"note\n")
    else:
        os.truncate(path, 100)
    rows = commit(journal, ROWS)
    results.append(rows)
    results.close()
    assert path.read_bytes() == whole + rows[0].line


def test_what_a_reader_has_seen_stays_through_every_kill(tmp_path: Path) -> None:
    """A reader who takes lines up to the last line end, as `tail -f` does, while the process that
    writes them is killed again and again."""
    program = (
        "import pathlib, sys\n"
        "from daemon.journal import Journal\n"
        "from daemon.results import ResultsFile\n"
        "from test_results import commit\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "journal = Journal.open(folder)\n"
        "results = ResultsFile(folder, journal)\n"
        "while True:\n"
        "    number = journal.results()\n"
        "    rows = [row for n in range(20) for row in commit(journal, number + n)]\n"
        "    results.append(rows)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    path = tmp_path / FILE_NAME
    path.touch()
    seen = b""
    for turn in range(1, 6):
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, env=environment) as writer, path.open("rb") as file:
            deadline = time.monotonic() + 60
            while seen.count(b"\n") < turn * 100:
                assert time.monotonic() < deadline
                assert writer.poll() is None
                file.seek(len(seen))
                seen += file.read()
                seen = seen[: seen.rfind(b"\n") + 1]
            writer.kill()
        journal = Journal.open(tmp_path)
        content = opened_and_closed(tmp_path, journal)
        assert content.startswith(seen)
        assert content == HEADER + b"".join(row.line for row in journal.lines())
        journal.close()
    assert aside(tmp_path) == []  # nothing had to be kept: nothing was ever wrong but an end


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, journal: Journal) -> None:
    """The process may write no file beyond a size; a disk that is full acts alike."""
    opened_and_closed(tmp_path, journal)
    program = (
        "import pathlib, resource, signal, sys\n"
        "from daemon.journal import Journal\n"
        "from daemon.results import ResultsFile\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "journal = Journal.open(folder)\n"
        "results = ResultsFile(folder, journal)\n"
        "rows = list(journal.lines())\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = results._size + 20\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try:\n"
        "    results.append(rows)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert "File too large" in done.stdout, done.stderr
    text = (tmp_path / FILE_NAME).read_bytes()
    assert not text.endswith(b"\n")  # it did tear
    assert opened_and_closed(tmp_path, journal) == HEADER + b"".join(
        row.line for row in journal.lines()
    )


def test_what_may_not_be_on_the_disk_is_written_once_more_in_its_place(
    tmp_path: Path, journal: Journal, whole: bytes
) -> None:
    """After a failed fsync, the system shows bytes that it will never write by itself."""
    path = tmp_path / FILE_NAME
    opened_and_closed(tmp_path, journal)
    journal._db.execute("UPDATE outbox SET synced = 2")
    with path.open("rb") as reader:
        before = os.fstat(reader.fileno())
        os.utime(path, ns=(1, 1))
        assert opened_and_closed(tmp_path, journal) == whole
        after = os.fstat(reader.fileno())
        assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
        assert after.st_mtime_ns != 1  # it was written to
    assert aside(tmp_path) == []
    assert journal.synced() == ROWS


def test_a_sync_that_failed_while_mending_is_made_up_for(
    tmp_path: Path, journal: Journal, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written and perhaps lost must not count as safe at the next start."""
    path = tmp_path / FILE_NAME
    opened_and_closed(tmp_path, journal)
    assert journal.synced() == ROWS
    os.truncate(path, len(whole) // 2)
    with monkeypatch.context() as patch:
        patch.setattr("daemon.results.sync", failing_sync)
        with pytest.raises(SyncError):
            ResultsFile(tmp_path, journal)
    assert path.read_bytes() == whole  # as the system's memory has it
    assert journal.synced() < ROWS
    os.utime(path, ns=(1, 1))
    assert opened_and_closed(tmp_path, journal) == whole
    assert path.stat().st_mtime_ns != 1  # written anew
    assert journal.synced() == ROWS


def failing_sync(*_: object) -> None:
    raise SyncError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_told(
    tmp_path: Path, journal: Journal, make: Callable[[Path], None]
) -> None:
    make(tmp_path / FILE_NAME)
    with pytest.raises(StorageError, match="is not a file"):
        ResultsFile(tmp_path, journal)
