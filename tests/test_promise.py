"""Corners where an image could be lost, counted twice or judged by half of its bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, wait_for

from classifier.read import Signature
from daemon.census import Priority
from daemon.jobs import Sighting
from daemon.journal import Journal


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


def test_a_file_that_was_overwritten_while_it_waited_is_read_when_it_is_whole_again(
    project: Project, draw_image: DrawImage
) -> None:
    """It was queued whole; when its turn comes, a slow copy over it has come half-way."""
    path = draw_image(project.inbox / "a.jpg", seed=1)
    other = draw_image(project.inbox / "b.jpg", seed=3)
    queued = [Sighting(os.fsencode(p), Signature.of(p.stat())) for p in (path, other)]
    journal = Journal.open(project.state)
    journal.enqueue(queued, Priority.LIVE)
    journal.close()
    whole = draw_image(project.folder / "new.jpg", seed=2, size=(400, 300)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    project.configure(settle_seconds=6, rescan_seconds=3600)
    with project.started("run") as daemon:
        project.wait_for_rows(1)  # they are of one batch
        assert [row["path"] for row in project.rows] == [str(other)]
        path.write_bytes(whole)
        project.wait_for_rows(2)
        assert daemon.stop() == 0
    project.check_rows(2)
    assert project.row_of("a.jpg")["width"] == "400"


def test_files_that_were_away_for_a_moment_are_classified_when_they_are_back(
    project: Project, draw_image: DrawImage
) -> None:
    folder = project.inbox / "card"
    for number in range(5):
        draw_image(folder / f"{number}.jpg", seed=number)
    journal = Journal.open(project.state)
    found = [Sighting(os.fsencode(p), Signature.of(p.stat())) for p in folder.iterdir()]
    journal.enqueue(found, Priority.LIVE)
    journal.close()
    folder.rename(project.folder / "away")  # the looks of the files in it stay as they were
    project.classifyd("run", "--once")
    assert [row["reason"] for row in project.rows] == [
        "the file was gone before it could be read"
    ] * 5
    (project.folder / "away").rename(folder)
    project.classifyd("run", "--once")
    assert [row["status"] for row in project.rows[5:]] == ["classified"] * 5


def test_one_results_folder_has_one_writer(project: Project, draw_image: DrawImage) -> None:
    draw_image(project.inbox / "a.jpg")
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        before = project.csv.read_bytes()
        project.configure(state="another")
        done = project.classifyd("run", "--once")
        assert done.returncode == 3
        assert f"process {daemon.pid}" in done.stderr
        assert daemon.stop() == 0
    done = project.classifyd("run", "--once")  # nobody is at work, but the rows are not its own
    assert done.returncode == 1
    assert "Put the state folder back" in done.stderr
    assert project.csv.read_bytes() == before


def test_verify_sees_a_rewrite_that_was_missed(project: Project, draw_image: DrawImage) -> None:
    path = draw_image(project.inbox / "a.jpg", seed=1)
    project.classifyd("run", "--once")
    draw_image(path, seed=2)
    assert "1 not seen" in project.classifyd("verify").stdout


def test_a_backfill_waits_for_its_files_even_if_they_were_seen_live(
    project: Project, draw_image: DrawImage
) -> None:
    for number in range(40):
        draw_image(project.inbox / f"{number}.jpg", seed=number)
    journal = Journal.open(project.state)
    found = [Sighting(os.fsencode(p), Signature.of(p.stat())) for p in project.inbox.iterdir()]
    journal.enqueue(found, Priority.LIVE)
    journal.close()
    with project.started("run") as daemon:
        wait_for(lambda: (project.state / "lock").exists(), "the lock is held")
        assert project.classifyd("backfill", project.inbox).returncode == 0
        assert len(project.rows) == 40
        daemon.stop()
