"""Rows that were made elsewhere: whoever drains the queue publishes them, and none twice."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, wait_for

from classifier import modelfile
from classifier.read import Signature
from daemon.census import Priority
from daemon.deliveries import Delivery
from daemon.jobs import Answer, Job, Outcome, Sighting, Verdict, classified, failed, timestamp
from daemon.journal import Journal
from daemon.row import word
from daemon.settings import DEFAULT_MODEL

MODEL = word(modelfile.digest_of(DEFAULT_MODEL), 12)
MANY = 2500  # more than are taken at once


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    project = Project(tmp_path, compiled_cache)
    project.configure(thumbnails={"when": "none"})
    return project


def answered(path: Path, label: str = "cat", model: str = MODEL) -> Delivery:
    """The row that another machine made of a file."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    job = job_of(path)
    answer = Answer([(label, 0.75), ("dog", 0.25)], False, 32, 32)
    outcome = classified(job, answer, model, sha256, timestamp(), verdict=Verdict(False, "", False))
    assert outcome.row is not None
    return Delivery(job.path, job.signature, job.root, False, outcome.row)


def job_of(path: Path) -> Job:
    looks = Signature.of(path.stat())
    return Job(0, os.fsencode(path), looks, 0, timestamp(), frozenset(), len(str(path.parent)))


def deliver(project: Project, deliveries: Sequence[Delivery]) -> None:
    with closing(Journal.open(project.state)) as journal:
        assert journal.deliver(deliveries) == len(deliveries)


def drawn(
    project: Project, draw_image: DrawImage, count: int, folder: str = "pictures"
) -> list[Path]:
    return [
        draw_image(project.folder / folder / f"{number:04}.jpg", number) for number in range(count)
    ]


def adds_up(project: Project) -> bool:
    return project.classifyd("verify").returncode == 0


def test_they_are_published_once(project: Project, draw_image: DrawImage) -> None:
    files = drawn(project, draw_image, 12)
    deliver(project, [answered(file) for file in files])
    for _ in range(2):  # as after a crash that came before it was noted that they were delivered
        assert project.classifyd("run", "--once").returncode == 0
        assert [row["path"] for row in project.rows] == list(map(str, files))
        assert {row["label"] for row in project.rows} == {"cat"}
        deliver(project, [answered(file) for file in files])
    assert project.classifyd("backfill", project.folder / "pictures").returncode == 0
    assert len(project.rows) == 12
    assert adds_up(project)


def test_by_a_daemon_at_work(project: Project, draw_image: DrawImage) -> None:
    files = drawn(project, draw_image, MANY)
    with project.started("run") as daemon:
        daemon.says("watching")
        deliver(project, [answered(file) for file in files])
        draw_image(project.inbox / "live.jpg", MANY)
        project.wait_for_rows(MANY + 1)
        assert daemon.stop() == 0
    assert sorted(row["path"] for row in project.rows) == sorted(
        map(str, [*files, project.inbox / "live.jpg"])
    )
    assert adds_up(project)


def test_through_kills(project: Project, draw_image: DrawImage) -> None:
    files = drawn(project, draw_image, MANY)
    deliver(project, [answered(file) for file in files])
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
    assert project.classifyd("run", "--once").returncode == 0
    assert sorted(row["path"] for row in project.rows) == sorted(map(str, files))
    assert adds_up(project)


def test_what_has_a_row_by_then_gets_no_other(project: Project, draw_image: DrawImage) -> None:
    """Not even of another model: a new one gives no second row unless asked to."""
    files = drawn(project, draw_image, 6, "inbox")
    assert project.classifyd("run", "--once").returncode == 0
    before = project.csv.read_bytes()
    deliver(project, [answered(file, model="0123456789ab") for file in files])
    assert project.classifyd("run", "--once").returncode == 0
    assert project.csv.read_bytes() == before
    assert adds_up(project)


def test_what_waits_in_the_queue_is_done_by_it(project: Project, draw_image: DrawImage) -> None:
    files = drawn(project, draw_image, 6, "inbox")
    with closing(Journal.open(project.state)) as journal:
        seen = [Sighting(os.fsencode(file), Signature.of(file.stat())) for file in files]
        assert journal.enqueue(seen, Priority.LIVE) == 6
    draw_image(files[0], 99)  # this one looks otherwise by now: both contents have a row
    deliver(project, [answered(file, "ship") for file in files[1:]])
    with closing(Journal.open(project.state)) as journal:
        outcomes, published = journal.take_in(10, [])
        assert len(outcomes) == len(published) == 5
        assert journal.pending() == 1
    assert project.classifyd("run", "--once").returncode == 0
    assert [row["label"] for row in project.rows].count("ship") == 5
    assert len(project.rows) == 6
    assert adds_up(project)


def test_a_file_in_hand_is_left_for_later(project: Project, draw_image: DrawImage) -> None:
    one, other = drawn(project, draw_image, 2)
    deliver(project, [answered(one), answered(other)])
    with closing(Journal.open(project.state)) as journal:
        _, published = journal.take_in(10, [job_of(one)])
        assert len(published) == 1
        assert journal.has_deliveries()
        _, published = journal.take_in(10, [])
        assert len(published) == 1
        assert journal.take_in(10, []) == ([], [])


def test_what_could_not_be_read_is_seen_again(project: Project, draw_image: DrawImage) -> None:
    (file,) = drawn(project, draw_image, 1, "inbox")
    job = job_of(file)
    outcome: Outcome = failed(job, "the file cannot be read: of a bad day", MODEL, again=True)
    assert outcome.row is not None
    deliver(project, [Delivery(job.path, job.signature, job.root, True, outcome.row)])
    with project.started("run") as daemon:
        project.wait_for_rows(2)
        wait_for(
            lambda: {row["status"] for row in project.rows} == {"failed", "classified"}, "both"
        )
        assert daemon.stop() == 0
    assert adds_up(project)
