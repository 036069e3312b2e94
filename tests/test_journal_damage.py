"""A journal that is not as it was written, and how to come by a new one."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project

from daemon.errors import JournalDamagedError
from daemon.journal import Journal

COUNT = 12


@pytest.fixture
def done(tmp_path: Path, compiled_cache: Path, draw_image: DrawImage) -> Project:
    """A project with rows, one of them `failed`, and nobody at work."""
    project = Project(tmp_path, compiled_cache, workers=1)
    for number in range(COUNT - 1):
        draw_image(project.inbox / f"{number}.jpg", number)
    (project.inbox / "=text.jpg").write_text("no image")
    assert project.classifyd("run", "--once").returncode == 0
    return project


def position_of_type(journal: Path, row: int) -> int:
    """Where in the file the last byte of the type of a row's `line` stands."""
    with sqlite3.connect(journal) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (line,) = db.execute("SELECT line FROM results WHERE seq = ?", (row,)).fetchone()
    db.close()
    content = journal.read_bytes()
    assert content.count(line) == 1
    number = 12 + 2 * len(line)  # 13 + ... is a text of as many bytes
    assert 1 << 7 <= number < 1 << 14  # two bytes
    return content.rindex(bytes([0x80 | number >> 7, number & 0x7F]), 0, content.index(line)) + 1


def damage(project: Project, how: str) -> None:
    journal = project.state / "journal.sqlite"
    if how == "no database":
        journal.write_bytes(b"scribble" * 1000)
    elif how == "a page overwritten":
        with journal.open("r+b") as file:
            file.seek(8192)
            file.write(os.urandom(4096))
    elif how == "cut":
        os.truncate(journal, 20_000)
    elif how == "a flipped bit in a row":
        with sqlite3.connect(journal) as db:  # SQLite itself would never notice
            (line,) = db.execute("SELECT line FROM results WHERE seq = 3").fetchone()
            flipped = line[:100] + bytes([line[100] ^ 1]) + line[101:]
            db.execute("UPDATE results SET line = ? WHERE seq = 3", (flipped,))
        db.close()
    elif how == "a flipped bit in a type":
        position = position_of_type(journal, 3)
        with journal.open("r+b") as file:
            file.seek(position)
            (byte,) = file.read(1)
            file.seek(position)
            file.write(bytes([byte ^ 1]))
        with sqlite3.connect(journal) as db:  # SQLite itself does not notice
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = db.execute("SELECT seq FROM results WHERE typeof(line) = 'text'").fetchall()
            assert found == [(3,)]
        db.close()
    elif how == "lost":
        for path in project.state.glob("journal.sqlite*"):
            path.unlink()


KINDS = [
    "no database", "a page overwritten", "cut", "a flipped bit in a row", "a flipped bit in a type",
    "lost",
]  # fmt: skip


@pytest.mark.parametrize("how", KINDS)
def test_a_damaged_journal_is_refused_and_rebuilt_from_the_results(
    done: Project, how: str, draw_image: DrawImage
) -> None:
    before = done.csv.read_bytes()
    damage(done, how)
    for command in (["verify"], ["run", "--once"]):
        refused = done.classifyd(*command)
        assert refused.returncode == 1
        assert "`classifyd rebuild`" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert done.csv.read_bytes() == before

    rebuilt = done.classifyd("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert f"rows       {COUNT} taken over" in rebuilt.stdout
    kept = list(done.state.glob("journal.damaged-*.sqlite"))
    assert len(kept) == 1  # also of the empty one that the refused `run` began

    draw_image(done.inbox / "new.jpg", 99)
    again = done.classifyd("run", "--once")
    assert again.returncode == 0, again.stderr
    assert "mended" not in again.stderr
    assert done.csv.read_bytes().startswith(before)
    assert len(done.rows) == COUNT + 1  # what has a row got no second one
    verified = done.classifyd("verify")
    assert verified.returncode == 0, verified.stdout


def test_folders_that_were_backfilled_are_saved_from_a_damaged_journal(
    done: Project, draw_image: DrawImage
) -> None:
    draw_image(done.folder / "card" / "a.jpg", 77)
    assert done.classifyd("backfill", done.folder / "card").returncode == 0
    damage(done, "a flipped bit in a row")
    assert f"backfilled {done.folder / 'card'}" in done.classifyd("rebuild").stdout
    assert f"{COUNT + 1} not seen" in done.classifyd("verify").stdout  # with the one on the card
    assert done.classifyd("backfill", done.folder / "card").returncode == 0
    assert len(done.rows) == COUNT + 1


def test_a_sound_journal_is_not_replaced(done: Project) -> None:
    (done.inbox / "=text.jpg").touch()
    refused = done.classifyd("rebuild")
    assert refused.returncode == 1
    assert "the journal is sound" in refused.stderr
    assert not list(done.state.glob("journal.damaged-*"))


def test_a_journal_is_not_rebuilt_under_a_daemon(done: Project) -> None:
    with done.started("run") as daemon:
        daemon.says("watching")
        refused = done.classifyd("rebuild")
        assert refused.returncode == 3
        assert f"process {daemon.pid}" in refused.stderr


@pytest.mark.parametrize("line", [b"by hand\r\n", b'a"b,c\r\n', b"\xff\xfe\r\n"])
def test_nothing_is_rebuilt_from_a_line_that_is_not_ours(done: Project, line: bytes) -> None:
    before = done.csv.read_bytes()
    done.csv.write_bytes(before + line)
    damage(done, "no database")
    refused = done.classifyd("rebuild")
    assert refused.returncode == 1
    assert f"{done.csv}:{COUNT + 2}: is not a line as classifyd writes it" in refused.stderr
    assert (done.state / "journal.sqlite").read_bytes().startswith(b"scribble")
    assert not list(done.state.glob(".rebuilding-*"))
    done.csv.write_bytes(before + b"0a4c")  # torn by a crash
    assert f"{COUNT} taken over" in done.classifyd("rebuild").stdout


def test_nothing_is_rebuilt_from_a_row_that_was_given_to_another_file(done: Project) -> None:
    """Its id would stand for a file that then never gets its own row."""
    whole = done.csv.read_bytes()
    header, first, rest = whole.split(b"\r\n", 2)
    done.csv.write_bytes(b"\r\n".join([header, first.replace(b".jpg,", b".jpeg,", 1), rest]))
    damage(done, "no database")
    refused = done.classifyd("rebuild")
    assert refused.returncode == 1
    assert f"{done.csv}:2: is not a line as classifyd writes it" in refused.stderr
    done.csv.write_bytes(whole)
    assert f"{COUNT} taken over" in done.classifyd("rebuild").stdout


def test_a_journal_of_an_older_version_is_made_anew(done: Project) -> None:
    with sqlite3.connect(done.state / "journal.sqlite") as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    refused = done.classifyd("run", "--once")
    assert refused.returncode == 1
    assert "has version 1" in refused.stderr
    assert "`classifyd rebuild`" in refused.stderr
    assert done.classifyd("rebuild").returncode == 0
    assert done.classifyd("run", "--once").returncode == 0
    assert len(done.rows) == COUNT


def test_a_journal_of_a_newer_version_is_left_alone(done: Project) -> None:
    with sqlite3.connect(done.state / "journal.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused = done.classifyd("rebuild")
    assert refused.returncode == 1
    assert "has version 99" in refused.stderr
    assert "update classifyd" in refused.stderr
    assert not list(done.state.glob("journal.damaged-*"))


def test_every_flipped_bit_in_a_row_is_found(done: Project) -> None:
    journal = Journal.open(done.state)
    (first, *_) = journal.lines()
    for place in range(len(first.line)):
        flipped = bytearray(first.line)
        flipped[place] ^= 1 << (place % 8)
        journal._db.execute("UPDATE results SET line = ? WHERE seq = 1", (bytes(flipped),))
        with pytest.raises(JournalDamagedError, match="row 1 is not as it was written"):
            list(journal.lines())
    journal.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE results SET line = CAST(line AS TEXT)", "in results, a line is no BLOB"),
        ("UPDATE results SET crc = CAST(crc AS BLOB)", "in results, a crc is no INTEGER"),
        ("UPDATE results SET sha256 = CAST(x'61ff' AS TEXT)", "Could not decode to UTF-8"),
        ("UPDATE outbox SET synced = x'010000'", "in outbox, a synced is no INTEGER"),
        ("UPDATE files SET path = CAST(path AS TEXT)", "in files, a path is no BLOB"),
        ("INSERT INTO folders VALUES ('/card', 'now')", "in folders, a path is no BLOB"),
    ],
)
def test_a_value_of_a_wrong_type_is_damage(done: Project, change: str, what: str) -> None:
    with sqlite3.connect(done.state / "journal.sqlite") as db:
        db.execute(change)
    db.close()
    for command in (["run", "--once"], ["verify"]):
        refused = done.classifyd(*command)
        assert refused.returncode == 1
        assert f"the journal is damaged ({what}" in refused.stderr
    rebuilt = done.classifyd("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert f"rows       {COUNT} taken over" in rebuilt.stdout
    assert ("backfilled /card\n" in rebuilt.stdout) == ("/card" in change)
    assert done.classifyd("run", "--once").returncode == 0
    assert len(done.rows) == COUNT


def test_a_line_of_a_wrong_type_is_not_as_it_was_written(done: Project) -> None:
    """With a daemon at work, the bit may flip after the journal was examined."""
    damage(done, "a flipped bit in a type")
    journal = Journal.open(done.state)
    with pytest.raises(JournalDamagedError, match="row 3 is not as it was written"):
        list(journal.lines())
    journal.close()


@pytest.mark.parametrize("how", ["older copy", "a flipped bit in the write-ahead log"])
def test_a_journal_older_than_the_results_is_refused(
    done: Project, how: str, draw_image: DrawImage
) -> None:
    """SQLite takes such a log as ended before the flipped bit, and finds nothing wrong."""
    journal = done.state / "journal.sqlite"
    log = Path(f"{journal}-wal")
    older = journal.read_bytes()
    with done.started("run") as daemon:
        daemon.says("watching")
        for number in range(5):
            draw_image(done.inbox / f"later{number}.jpg", 50 + number)
            done.wait_for_rows(COUNT + number + 1)
        daemon.stop(signal.SIGKILL)
    if how == "older copy":
        journal.write_bytes(older)
        for path in done.state.glob("journal.sqlite-*"):
            path.unlink()
    else:
        content = bytearray(log.read_bytes())
        content[len(content) // 8] ^= 1
        log.write_bytes(content)
    before = done.csv.read_bytes()
    refused = done.classifyd("run", "--once")
    assert refused.returncode == 1
    assert "has rows that the journal does not know" in refused.stderr
    assert "`classifyd rebuild`" in refused.stderr
    assert done.csv.read_bytes() == before
    verified = done.classifyd("verify")
    assert verified.returncode == 1
    assert "is not in the journal" in verified.stdout
    assert "`classifyd rebuild`" in verified.stdout

    assert f"rows       {COUNT + 5} taken over" in done.classifyd("rebuild").stdout
    assert done.classifyd("run", "--once").returncode == 0
    assert done.csv.read_bytes() == before
    assert done.classifyd("verify").returncode == 0


def test_without_results_nothing_is_rebuilt(done: Project) -> None:
    damage(done, "no database")
    done.csv.unlink()
    refused = done.classifyd("rebuild")
    assert refused.returncode == 1
    assert f"{done.csv}: is not there" in refused.stderr
    assert (done.state / "journal.sqlite").read_bytes().startswith(b"scribble")


@pytest.mark.parametrize("how", ["lost", "empty", "link to nowhere"])
def test_rows_without_a_journal_are_told_by_verify(done: Project, how: str) -> None:
    damage(done, "lost")
    if how == "empty":
        (done.state / "journal.sqlite").touch()
    elif how != "lost":
        (done.state / "journal.sqlite").symlink_to("nowhere")
    verified = done.classifyd("verify")
    assert verified.returncode == 1
    assert f"there is no journal, but {done.csv} has rows" in verified.stderr
    assert "`classifyd rebuild`" in verified.stderr
