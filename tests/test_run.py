"""`classifyd run` as processes: started, stopped, killed, started again; each image has one row."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, interrupt_group, is_running, is_stopped, wait_for

from classifier.read import Signature
from daemon.census import Priority
from daemon.jobs import Outcome, Sighting
from daemon.journal import Journal

MANY = 300
NEVER_SO_SOON = 1200  # are done before a signal can be sent


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


def draw_many(draw_image: DrawImage, folder: Path, count: int = MANY, first: int = 0) -> None:
    for number in range(first, first + count):
        draw_image(folder / f"{number:04}.jpg", number)


def test_copied_renamed_and_moved_in_while_it_runs(project: Project, draw_image: DrawImage) -> None:
    outside = project.folder / "outside"
    draw_many(draw_image, outside, 60)
    draw_many(draw_image, outside / "folder" / "deeper", 20, first=60)
    # No scan but the first one: what is found after that is found by events.
    project.configure(rescan_seconds=3600)
    with project.started("run") as daemon:
        daemon.says("watching")
        draw_image(project.inbox / "first.jpg", 80)
        project.wait_for_rows(1)
        for number in range(40):
            shutil.copy(outside / f"{number:04}.jpg", project.inbox)
        for number in range(40, 60):
            (outside / f"{number:04}.jpg").rename(project.inbox / f"{number:04}.jpg")
        (outside / "folder").rename(project.inbox / "folder")
        project.wait_for_rows(81)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
        assert daemon.log.endswith("stopped\n")
    project.check_rows(81)

    again = project.classifyd("run", "--once")
    assert again.returncode == 0, again.stderr
    project.check_rows(81)


def test_stopped_while_many_wait(project: Project, draw_image: DrawImage) -> None:
    project.configure(workers=1, batch={"size": 4})
    draw_many(draw_image, project.inbox, NEVER_SO_SOON)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        assert daemon.stop() == 0
    done = len(project.rows)
    assert 0 < done < NEVER_SO_SOON  # or it was not stopped while many waited
    project.check_rows(done)

    with project.started("run") as daemon:
        project.wait_for_rows(NEVER_SO_SOON)
        assert daemon.stop() == 0
    project.check_rows(NEVER_SO_SOON)


def test_the_batches_in_hand_are_finished(project: Project, draw_image: DrawImage) -> None:
    project.configure(workers=1, batch={"size": 8})
    draw_many(draw_image, project.inbox, NEVER_SO_SOON)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        assert daemon.stop() == 0
    assert len(project.rows) % 8 == 0
    # What was begun was published: nothing that a worker made has no row.
    assert len(list((project.results / "thumbnails").rglob("*.jpg"))) == len(project.rows)


def test_ctrl_c_in_a_terminal(project: Project, draw_image: DrawImage) -> None:
    """It comes to the workers as well, who must finish their batches all the same."""
    project.configure(batch={"size": 8})
    draw_many(draw_image, project.inbox, NEVER_SO_SOON)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        workers = daemon.workers
        interrupt_group(daemon.pid)
        assert daemon.process.wait(30) == 0
        assert "a worker" not in daemon.log  # none of them died of it
        assert "Traceback" not in daemon.log
        assert not any(map(is_running, workers))
    done = len(project.rows)
    assert 0 < done < NEVER_SO_SOON
    project.check_rows(done)
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(NEVER_SO_SOON)


def test_a_second_signal_stops_at_once(project: Project, draw_image: DrawImage) -> None:
    project.configure(workers=1, batch={"size": 1})
    draw_many(draw_image, project.inbox)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        (worker,) = daemon.workers
        os.kill(worker, signal.SIGSTOP)  # so the batch in hand would take for ever
        wait_for(lambda: is_stopped(worker), "the worker stands still")
        daemon.process.send_signal(signal.SIGINT)
        daemon.says("a second signal stops at once")
        assert daemon.process.poll() is None
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(2) == 0
        assert not is_running(worker)
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(MANY)


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.3, 0.6])
def test_stopped_while_it_starts(project: Project, draw_image: DrawImage, delay: float) -> None:
    draw_many(draw_image, project.inbox, 20)
    with project.started("run") as daemon:
        time.sleep(delay)  # wherever it is by then
        # Python itself ends on a signal until the first line of ours has run.
        assert daemon.stop() in (0, -signal.SIGTERM)
        assert "Traceback" not in daemon.log
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(20)


def test_only_one_at_a_time(project: Project, draw_image: DrawImage) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        second = project.classifyd("run")
        assert second.returncode == 3
        assert f"`classifyd run`, process {daemon.pid}, since 2" in second.stderr
        assert "Stop it first" in second.stderr
        assert "Traceback" not in second.stderr
        draw_image(project.inbox / "a.jpg")
        project.wait_for_rows(1)  # the first one has not noticed
        assert daemon.stop() == 0
    project.check_rows(1)


@pytest.mark.slow
def test_killed_again_and_again(project: Project, draw_image: DrawImage) -> None:
    project.configure(batch={"size": 8})
    draw_many(draw_image, project.inbox)
    dice = random.Random(1)
    for _ in range(6):
        with project.started("run") as daemon:
            before = len(project.rows)
            if before < MANY:
                wait_for(lambda: len(project.rows) > before, "it works")  # noqa: B023
            time.sleep(dice.uniform(0, 0.03))
            workers = daemon.workers
            daemon.process.kill()
            daemon.process.wait()
            wait_for(lambda: not any(map(is_running, workers)), "workers end too")  # noqa: B023
            assert len(workers) == 2
        # A power cut may take the end of what was being written; the journal is safe before that.
        with project.csv.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.truncate(max(0, size - dice.randrange(300)))
    assert len(project.rows) < MANY  # or it was not killed at work
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(MANY)


def test_workers_are_killed_while_they_work(project: Project, draw_image: DrawImage) -> None:
    """As the kernel does when memory runs out: no image is to blame."""
    project.configure(batch={"size": 32})
    draw_many(draw_image, project.inbox)
    with project.started("run") as daemon:
        for rows in (1, 60, 120):
            project.wait_for_rows(rows)
            wait_for(lambda: daemon.workers, "a worker")  # rows of many batches come together
            os.kill(daemon.workers[0], signal.SIGKILL)
        project.wait_for_rows(MANY)
        assert daemon.stop() == 0
        assert "a worker ended: SIGKILL; a new one takes its place" in daemon.log
    project.check_rows(MANY)


def test_what_was_unsettled_when_the_clock_was_ahead(
    project: Project, draw_image: DrawImage
) -> None:
    image = draw_image(project.inbox / "a.jpg")
    with closing(Journal.open(project.state)) as journal:
        sighting = Sighting(os.fsencode(image), Signature.of(image.lstat()))
        journal.enqueue([sighting], Priority.LIVE)
        (job,) = journal.claim(1, ())
        journal.finish([Outcome(job, unsettled=True)], retry_at=time.time() + 86400)
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(1)


def test_the_same_bytes_make_no_second_row(project: Project, draw_image: DrawImage) -> None:
    first = draw_image(project.inbox / "a.jpg", 1)
    (project.inbox / "broken.jpg").write_bytes(first.read_bytes()[:300])
    with project.started("run") as daemon:
        project.wait_for_rows(2)
        for name in ("a.jpg", "broken.jpg"):
            path = project.inbox / name
            path.write_bytes(path.read_bytes())
            os.utime(path)
        # Whatever comes after it has been through the same queue.
        draw_image(project.inbox / "b.jpg", 2)
        project.wait_for_rows(3)
        draw_image(first, 3)
        project.wait_for_rows(4)
        assert daemon.stop() == 0
    assert project.classifyd("run", "--once").returncode == 0
    rows = project.rows
    assert [Path(row["path"]).name for row in rows[2:]] == ["b.jpg", "a.jpg"]
    of_first = [row for row in rows if row["path"] == str(first)]
    assert len({row["sha256"] for row in of_first}) == len({row["id"] for row in of_first}) == 2
    assert project.classifyd("verify").returncode == 0


def test_it_does_not_take_modules_from_the_current_folder(
    project: Project, draw_image: DrawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the main process nor the workers: an inbox's owner is not who runs the service."""
    draw_image(project.inbox / "a.jpg")
    for name in ("cv2", "numpy", "ctypes", "daemon"):
        (project.folder / f"{name}.py").write_text("raise SystemExit('from the current folder')")
    monkeypatch.chdir(project.folder)
    installed = Path(sys.executable).parent / "classifyd"
    monkeypatch.setattr("daemon_process.COMMAND", [str(installed)])
    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    project.check_rows(1)


@pytest.mark.parametrize("ends", [True, False])
def test_a_start_waits_for_whoever_reads_the_journal(
    project: Project, draw_image: DrawImage, ends: bool
) -> None:
    draw_image(project.inbox / "a.jpg")
    assert project.classifyd("run", "--once").returncode == 0
    reader = sqlite3.connect(project.state / "journal.sqlite", isolation_level=None)
    writer = sqlite3.connect(project.state / "journal.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM results").fetchone()
    writer.execute("INSERT INTO folders VALUES (x'2f', 'now')")  # there is something to write back
    draw_image(project.inbox / "b.jpg", 1)
    with project.started("run") as daemon:
        daemon.says("waiting until nobody reads")
        assert len(project.rows) == 1
        if ends:
            reader.execute("COMMIT")
            project.wait_for_rows(2)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
    reader.close()
    writer.close()
    assert len(project.rows) == (2 if ends else 1)
