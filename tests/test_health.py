"""What a process leaves behind for others to see, and what is made of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from daemon_process import wait_for

from classifier.read import Signature
from daemon import facts, record
from daemon.census import COUNTED, Priority
from daemon.errors import NotAllowedError
from daemon.facts import OVERDUE_SECONDS, Facts, gather
from daemon.health import LEVELS, STARTING_SECONDS, Level, level, problems
from daemon.jobs import Job, Sighting, failed
from daemon.journal import Journal
from daemon.lock import StateLock
from daemon.reasons import KINDS, NAMES, kind_of
from daemon.record import RECORD_BYTES, Noted, Record, RecordFile
from daemon.troubles import Kind, Troubles
from daemon.vitals import STIR_SECONDS, WRITE_SECONDS, Vitals

HOME = Path(__file__).parent.parent


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[StateLock]:
    with StateLock(tmp_path) as lock:
        lock.acquire("run")
        yield lock


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RecordFile]:
    with closing(RecordFile(tmp_path)) as file:
        yield file


def seen(state: Path, later: float = 0.0) -> Facts:
    return gather(state, state, state / "inbox", time.time() + later)


def kinds(found: Facts) -> list[str]:
    return [problem.kind for problem in problems(found) if problem.kind != "disk_low"]


def test_a_record_is_read_as_it_was_written(tmp_path: Path, file: RecordFile) -> None:
    assert record.read(tmp_path) is None
    said = Record(1, "run", "2026-01-01T00:00:00+00:00", "boot", troubles=(Noted("a", 1.5, "ü"),))
    file.write(said)
    assert record.read(tmp_path) == said
    path = tmp_path / record.FILE_NAME
    assert path.stat().st_size == RECORD_BYTES
    written = path.stat().st_mtime_ns
    file.write(said)  # nothing new: nothing is written
    assert path.stat().st_mtime_ns == written
    file.write(said._replace(troubles=tuple(Noted(str(n), 0, "\0" * 9999) for n in range(20))))
    assert path.stat().st_size == RECORD_BYTES
    cut = record.read(tmp_path)
    assert cut is not None
    assert 1 < len(cut.troubles) < 20
    path.write_bytes(path.read_bytes().replace(b'"run"', b'"ran"'))
    assert record.read(tmp_path) is None  # half of another one


def test_vitals_write_only_what_is_new(tmp_path: Path, file: RecordFile, lock: StateLock) -> None:
    troubles = Troubles()
    vitals = Vitals(file, lock, troubles)
    path = tmp_path / record.FILE_NAME
    before = path.stat().st_mtime_ns
    for turn in range(100):
        vitals.tick(turn * STIR_SECONDS, [])
    assert path.stat().st_mtime_ns == before  # idle
    troubles.note(Kind.MODEL_REFUSED, "new.keras: is no model")
    vitals.tick(1e4, [])
    noted = record.read(tmp_path)
    assert noted is not None
    assert [(n.kind, n.text) for n in noted.troubles] == [
        ("model_refused", "new.keras: is no model")
    ]
    lock.note_model("0" * 64)
    vitals.tick(1e4 + WRITE_SECONDS / 2, [])  # not so soon
    assert record.read(tmp_path) == noted
    troubles.note(Kind.MODEL_REFUSED, "")
    vitals.tick(1e4 + WRITE_SECONDS / 2, [])  # at once
    noted = record.read(tmp_path)
    assert noted is not None
    assert noted.troubles == ()


def test_each_trouble_is_told_with_its_level(
    tmp_path: Path, file: RecordFile, lock: StateLock
) -> None:
    troubles = Troubles()
    vitals = Vitals(file, lock, troubles)
    vitals.note()
    assert kinds(seen(tmp_path)) == []
    for kind in Kind:
        troubles.note(kind, f"{kind} and what to do")
        vitals.note()
        (problem,) = [p for p in problems(seen(tmp_path)) if p.kind == kind]
        assert problem.text == f"{kind} and what to do"
        assert problem.since == pytest.approx(time.time(), abs=60)
        assert problem.level == LEVELS[kind] > Level.OK
        troubles.note(kind, "")
    troubles.note(Kind.MODEL_REFUSED, "a")
    troubles.note(Kind.STUCK, "b")
    vitals.note()
    both = [problem for problem in problems(seen(tmp_path)) if problem.kind != "disk_low"]
    assert [problem.kind for problem in both] == ["stuck", "model_refused"]  # the worst first
    assert level(both) == Level.CRITICAL
    lock.pause("the disk of /x is full: make room")
    assert "disk_full" in kinds(seen(tmp_path))


def test_how_it_ended(tmp_path: Path, file: RecordFile) -> None:
    def text() -> str:
        (problem,) = [p for p in problems(seen(tmp_path)) if p.kind == "not_running"]
        assert problem.level == Level.CRITICAL
        return problem.text

    assert text() == "it is not running: start it with `classifyd run`, or as a service"
    with StateLock(tmp_path) as lock:
        lock.acquire("run")
        vitals = Vitals(file, lock, Troubles())
    assert "ended without a word: it was killed" in text()
    file.write(vitals.signs.record._replace(boot="another"))
    assert "ended without a word: the machine went down with it" in text()
    vitals.end("stopped by SIGTERM")
    assert f"`classifyd run` ended at {vitals.signs.record.ended_at}: stopped by SIGTERM" in text()


def test_what_the_process_before_noted_is_over(
    tmp_path: Path, file: RecordFile, lock: StateLock
) -> None:
    """It was killed, and the one at work has not written its own record yet."""
    troubles = (Noted("model_refused", 0, "new.keras"),)
    file.write(Record(1, "run", "2026-01-01T00:00:00+00:00", "", troubles=troubles))
    assert kinds(seen(tmp_path)) == []


def test_a_loop_that_hangs_is_known_by_an_image_that_waits(
    tmp_path: Path, file: RecordFile, lock: StateLock
) -> None:
    vitals = Vitals(file, lock, Troubles())
    file.write(vitals.signs.record._replace(is_working=True))
    late = 2 * OVERDUE_SECONDS
    with closing(Journal.open(tmp_path)) as journal:
        assert kinds(seen(tmp_path, late)) == []
        journal.enqueue([Sighting(b"/a.jpg", Signature(1, 1, 1))], Priority.LIVE)
        assert kinds(seen(tmp_path)) == []
        assert kinds(seen(tmp_path, late)) == ["stuck"]
        stirred = vitals.signs.record._replace(is_working=True, stirred=time.time() + late - 5)
        file.write(stirred)
        assert kinds(seen(tmp_path, late)) == []  # its loop turns: what is stuck then, it knows
        file.write(stirred._replace(stirred=0.0, troubles=(Noted("disk_full", 0, "full"),)))
        found = seen(tmp_path, late)
        assert kinds(replace(found, queue=None)) == ["disk_full"]
        # A file that is being written is tried again, and so waits for long.
        (job,) = journal.claim(1, ())
        unsettled = failed(job, "", "")._replace(row=None, unsettled=True)
        journal.finish([unsettled], time.time() + late)
        file.write(stirred._replace(stirred=0.0))
        assert kinds(seen(tmp_path, late)) == []


def test_a_start_may_take_long_but_not_for_ever(
    tmp_path: Path, file: RecordFile, lock: StateLock
) -> None:
    Vitals(file, lock, Troubles())
    assert kinds(seen(tmp_path, STARTING_SECONDS - 60)) == []
    assert kinds(seen(tmp_path, STARTING_SECONDS + 60)) == ["stuck"]


def test_a_disk_that_is_full_or_nearly(tmp_path: Path, lock: StateLock) -> None:
    found = seen(tmp_path)
    (disk,) = found.disks
    low = replace(found, disks=(disk._replace(free=100_000_000),))
    assert [(p.kind, p.level) for p in problems(low)] == [("disk_low", Level.WARNING)]
    full = replace(found, disks=(disk._replace(free=1000),))
    assert [(p.kind, p.level) for p in problems(full)] == [("disk_full", Level.CRITICAL)]


def finish(journal: Journal, reasons: list[str]) -> None:
    jobs = [
        Job(number, b"/%d" % number, Signature(1, 1, 1), 0, "2026-01-01", frozenset())
        for number in range(len(reasons))
    ]
    journal.finish(
        [failed(job, reason, "m", sha256=f"{job.seq:064}") for job, reason in
         zip(jobs, reasons, strict=True)], 0,
    )  # fmt: skip


def test_many_failures_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    with closing(Journal.open(tmp_path)) as journal:
        finish(journal, ["the file is empty"] * 3 + ["broken"] * (COUNTED + 5))
        (first, second) = journal.main_failures(COUNTED + 8)
        assert first[:2] == ("broken", COUNTED)
        assert first[3]
        assert second[:2] == ("the file is empty", 3)
        assert not second[3]
        # Few, and by what the files are now.
        assert [f[:2] for f in journal.main_failures(10)] == [
            found[:2] for found in journal.failures()
        ]


def test_rows_of_late_are_found_by_halving(tmp_path: Path) -> None:
    with closing(Journal.open(tmp_path)) as journal:
        assert journal.results_since("2026") == 0
        finish(journal, ["x"] * 10)
        for seq in range(1, 11):
            journal._db.execute(
                "UPDATE results SET classified_at = ? WHERE seq = ?", (f"2026-01-{seq:02}", seq)
            )
        found = [journal.results_since(f"2026-01-{day:02}") for day in range(12)]
        assert found == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_reasons_have_kinds() -> None:
    assert kind_of("the content is not a JPEG or PNG image, whatever its name says") == (
        "not_an_image"
    )
    assert kind_of("the content is a TIFF image, and `formats:`") == "not_allowed"
    assert kind_of("decoding took longer than 10 s") == "too_slow"
    assert kind_of("whatever else") == "other"
    # As they stand where they are said.
    said = "".join(
        path.read_text() for path in [*HOME.glob("classifier/*.py"), HOME / "daemon" / "pool.py"]
    )
    for start, name in KINDS:
        assert start in said.replace('f"', '"'), start
        assert name in NAMES


def test_the_page_names_every_kind() -> None:
    page = (HOME / "docs" / "MONITORING.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (warning|critical) \|", page, re.MULTILINE))
    assert table == {str(kind): level.name.lower() for kind, level in LEVELS.items()}
    assert all(f"`{name}`" in page for name in NAMES)


STRANGER = """
import os, sys
from pathlib import Path
import daemon.__main__, daemon.settings, daemon.status, daemon.storage, encodings.idna
import importlib.metadata
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(65534)
sys.exit(daemon.__main__.main(["status", *sys.argv[2:]]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_sees_it_if_the_folder_allows() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "inbox").mkdir()
        state = folder / "state"
        state.mkdir()
        (folder / "config.yaml").write_text("inbox: inbox\nresults: results\nstate: state\n")

        def status(*options: str, group: int = 65534) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-c", STRANGER, str(group), *options, "--config",
                 str(folder / "config.yaml")],
                capture_output=True, text=True, timeout=60, check=False, cwd=HOME,
            )  # fmt: skip

        with StateLock(state) as lock, closing(RecordFile(state)) as file:
            lock.acquire("run")
            troubles = Troubles()
            troubles.note(Kind.MODEL_REFUSED, "new.keras: is no model")
            Vitals(file, lock, troubles)
            with closing(Journal.open(state)) as journal:
                finish(journal, ["the file is empty"])
                told = status()
                assert told.returncode == 0, told.stderr
                assert f"running    `classifyd run`, process {os.getpid()}, since 2" in told.stdout
                assert "trouble    model_refused: since 2" in told.stdout
                assert "rows       1 (1 failed)" in told.stdout
            told = status("--check")  # nobody has the journal open, and it may not be written
            assert (told.returncode, told.stderr) == (1, "")
            assert told.stdout.startswith("WARNING - model_refused: new.keras: is no model (since")
            state.chmod(0o700)
            told = status()
            assert told.returncode == 1
            assert "only the user root may look into it: try it with sudo -u root" in told.stderr
            state.chmod(0o750)
            os.chown(state, 0, 12345)
            told = status("--check")
            assert told.returncode == 3
            assert told.stdout.startswith("UNKNOWN - ")
            assert "only the user root and the group 12345 may look into it" in told.stdout
            assert status(group=12345).returncode == 0
            (state / record.FILE_NAME).chmod(0o600)
            told = status(group=12345)
            assert told.returncode == 1
            assert "daemon.json: only the user root may look into it" in told.stderr
            (state / record.FILE_NAME).chmod(0o644)
        assert status(group=12345).stdout.startswith("running    no\nended      `classifyd run`")


def test_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert facts._forbidden(tmp_path) == ""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may look into it" in facts._forbidden(tmp_path)
    assert issubclass(NotAllowedError, Exception)


def test_a_process_that_stands_still(tmp_path: Path) -> None:
    sleeping = subprocess.Popen(["sleep", "60"])
    try:
        assert not facts._stands_still(sleeping.pid)
        sleeping.send_signal(signal.SIGSTOP)
        wait_for(lambda: facts._stands_still(sleeping.pid), "it stands still")
    finally:
        sleeping.kill()
        sleeping.wait()
    assert not facts._stands_still(sleeping.pid)
