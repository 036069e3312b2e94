"""SIGHUP, and a model file that is replaced, while a real daemon is at work."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Daemon, Project, wait_for
from variants import variant

from classifier import modelfile
from daemon.row import word

MARK = "new_"


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path, shipped_model: Path) -> Project:
    """Its model is a file of its own, so that it can be replaced."""
    shutil.copy(shipped_model, tmp_path / "model.keras")
    return Project(tmp_path, compiled_cache, model="model.keras")


@pytest.fixture
def other(project: Project) -> Path:
    """Another model, compiled. Its labels begin with MARK."""
    path = project.folder / "other.keras"
    variant(project.folder / "model.keras", project.state / "models", path, MARK)
    return path


def replace(project: Project, model: Path) -> str:
    """Put a copy in the place of the model, as a careful user would; its digest."""
    aside = project.folder / "aside.keras"
    shutil.copy(model, aside)
    aside.rename(project.folder / "model.keras")
    return modelfile.digest_of(model)


@contextmanager
def images_coming(project: Project, draw: DrawImage) -> Iterator[list[Path]]:
    """Some 50 a second, until the end of the block."""
    drawn: list[Path] = []
    ended = threading.Event()

    def come() -> None:
        while not ended.wait(0.02):
            number = len(drawn)
            drawn.append(draw(project.inbox / f"coming{number}.jpg", number))

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield drawn
    finally:
        ended.set()
        thread.join()


def reload(daemon: Daemon, text: str) -> None:
    """SIGHUP, and wait for what the log says of it."""
    seen = daemon.log.count(text)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log.count(text) > seen, text)


def test_what_can_change_at_once_changes(project: Project, draw_image: DrawImage) -> None:
    with project.started("run") as daemon:
        draw_image(project.inbox / "a.jpg", 1)
        project.wait_for_rows(1)
        assert project.rows[0]["status"] == "classified"
        reload(daemon, "the configuration was read again; nothing is new")

        project.configure(
            model="model.keras", min_confidence=1, extensions=["jpg", "tif"], workers=1,
            thumbnails={"when": "none"}, results="elsewhere", log_format="json",
        )  # fmt: skip
        workers = daemon.workers
        reload(daemon, "these need a restart: results, log_format")
        assert "changed: min_confidence, thumbnails, extensions, workers;" in daemon.log.replace(
            "\n", " "
        )
        wait_for(lambda: len(daemon.workers) == 1 and not {*daemon.workers} & {*workers}, "one")
        draw_image(project.inbox / "b.jpg", 2)
        project.wait_for_rows(2)
        row = project.row_of("b.jpg")
        assert (row["status"], row["thumbnail"]) == ("uncertain", "")
        # The content decides, and this name is looked at now.
        (project.inbox / "c.tif").write_bytes((project.inbox / "a.jpg").read_bytes())
        project.wait_for_rows(3)
        assert not (project.folder / "elsewhere").exists()
        assert daemon.stop() == 0
    assert len(project.rows) == 3


def test_a_wrong_configuration_is_refused(project: Project, draw_image: DrawImage) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        project.configure(model="model.keras", min_confidence=7, workers="two")
        reload(daemon, "min_confidence: input should be less than or equal to 1; found 7")
        assert "workers: input should be a valid integer" in daemon.log
        wait_for(lambda: project.classifyd("status", "--check").returncode == 1, "a warning")
        assert "settings_refused" in project.classifyd("status", "--check").stdout
        project.configure(model="model.keras")
        draw_image(project.inbox / "a.jpg")
        project.wait_for_rows(1)
        reload(daemon, "nothing is new")
        wait_for(lambda: project.classifyd("status", "--check").returncode == 0, "all well")
        daemon.process.send_signal(signal.SIGHUP)
        for _ in range(200):
            daemon.process.send_signal(signal.SIGHUP)
        draw_image(project.inbox / "b.jpg", 2)
        project.wait_for_rows(2)
        assert daemon.stop() == 0


def test_what_would_lead_back_into_the_inbox_waits_for_a_restart(
    project: Project, draw_image: DrawImage
) -> None:
    """Good with the inbox that is to come, and an endless round with the one of now."""
    project.configure(model="model.keras", after={"do": "move", "to": "sorted/{label}"})
    (project.folder / "other").mkdir()
    with project.started("run") as daemon:
        daemon.says("watching")
        project.configure(
            model="model.keras", inbox="other", after={"do": "move", "to": "inbox/x/{label}"}
        )
        reload(daemon, "these need a restart: inbox, after")
        draw_image(project.inbox / "a.jpg", 1)
        wait_for(lambda: [*project.folder.glob("sorted/*/a.jpg")], "it is sorted as before")
        assert daemon.stop() == 0
    assert len(project.rows) == 1


def test_once_a_hangup_stops(project: Project, draw_image: DrawImage) -> None:
    for number in range(2000):
        draw_image(project.inbox / f"{number}.jpg", number)
    with project.started("run", "--once") as daemon:
        project.wait_for_rows(1)
        assert daemon.stop(signal.SIGHUP) == 1
    assert 0 < len(project.rows) < 2000


@pytest.mark.slow
def test_a_new_model_is_taken_between_two_batches(
    project: Project, other: Path, draw_image: DrawImage
) -> None:
    first = modelfile.digest_of(project.folder / "model.keras")
    with project.started("run") as daemon, images_coming(project, draw_image) as drawn:
        project.wait_for_rows(10)
        second = replace(project, other)
        daemon.says("a new model serves: ")
        assert f"{word(second, 12)} (model.keras): 10 classes" in daemon.log
        count = len(drawn)
        wait_for(lambda: len(project.rows) > count + 10, "rows of the new model")
        replaced = modelfile.digest_of(project.folder / "model.keras")
        assert replaced == second
        assert f"model      {word(second, 12)} model.keras: " in project.classifyd("status").stdout

        # A broken one: refused, and the one before it serves on.
        whole = other.read_bytes()
        (project.folder / "model.keras").write_bytes(whole[: len(whole) // 2])
        daemon.says("the new model is not taken, the one before it serves on")
        said = project.classifyd("status", "--check")
        assert said.returncode == 1
        assert said.stdout.startswith("WARNING - model_refused: the new model is not taken")
        count = len(drawn)
        wait_for(lambda: len(project.rows) > count + 10, "rows after the broken one")

        (project.folder / "model.keras").write_bytes(whole)  # in place, and good again
        wait_for(lambda: project.classifyd("status", "--check").returncode == 0, "well again")
    with project.started("run") as daemon:
        daemon.says("watching")
        project.wait_for_rows(len(drawn))
        assert daemon.stop() == 0
    rows = project.rows
    assert Counter(row["path"] for row in rows) == Counter(map(str, drawn))
    assert {row["model"] for row in rows} == {word(first, 12), word(second, 12)}
    for row in rows:  # every row names the model that made it
        assert row["label"].startswith(MARK) == (row["model"] == word(second, 12))
    order = [row["model"] for row in rows]
    changes = sum(one != after for one, after in pairwise(order))
    assert changes <= 4, "the old one has at most its batches in hand"
    project.check_rows(len(drawn))


def test_killed_while_one_follows_on_the_other(
    project: Project, other: Path, draw_image: DrawImage
) -> None:
    for number in range(600):
        draw_image(project.inbox / f"{number}.jpg", number)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        replace(project, other)
        wait_for(lambda: len(daemon.workers) > 2 or len(project.rows) == 600, "both at work")
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
    with project.started("run") as daemon:
        project.wait_for_rows(600)
        daemon.says("watching")
        assert daemon.stop() == 0
    project.check_rows(600)


def test_workers_that_die_meanwhile_lose_nothing(
    project: Project, other: Path, draw_image: DrawImage
) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        with images_coming(project, draw_image) as drawn:
            project.wait_for_rows(5)
            replace(project, other)
            for _ in range(4):  # not sooner than they come up, or the pool gives up
                before = len(project.rows)
                for worker in daemon.workers[:1]:
                    with suppress(ProcessLookupError):  # it has made room for another just now
                        os.kill(worker, signal.SIGKILL)
                wait_for(lambda before=before: len(project.rows) > before, "rows")  # type: ignore[misc]
            daemon.says("a new model serves")
        project.wait_for_rows(len(drawn))
        assert daemon.stop() == 0
    assert Counter(row["path"] for row in project.rows) == Counter(map(str, drawn))


def test_a_model_that_is_not_there_is_refused(project: Project) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        project.configure(model="absent.keras")
        reload(daemon, "changed: model")
        daemon.says("the new model is not taken, the one before it serves on")
        assert "absent.keras" in daemon.log
        project.configure(model="model.keras")
        reload(daemon, "changed: model")
        wait_for(lambda: project.classifyd("status", "--check").returncode == 0, "well again")
        assert daemon.stop() == 0


def test_a_model_that_was_replaced_during_the_start_is_noticed(
    project: Project, other: Path
) -> None:
    """Between the moment in which it was read and the one in which it is looked at for changes."""
    with project.started("run") as daemon:
        wait_for(lambda: "classes; LiteRT" in daemon.log, "it was read")
        second = replace(project, other)
        daemon.says(f"a new model serves: {word(second, 12)}")
        assert daemon.stop() == 0
