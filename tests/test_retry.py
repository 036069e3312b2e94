"""Failed images that are tried again, and failures that can be seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project


@pytest.fixture
def done(tmp_path: Path, compiled_cache: Path, draw_image: DrawImage) -> Project:
    """Three good images, two that are too large for the moment, and one that is none."""
    project = Project(tmp_path, compiled_cache, workers=1, limits={"megapixels": 0.01})
    for number in range(3):
        draw_image(project.inbox / f"{number}.jpg", number)
    for number in range(2):
        draw_image(project.inbox / f"large{number}.jpg", number, size=(200, 200))
    (project.inbox / "text.jpg").write_text("no image")
    assert project.classifyd("run", "--once").returncode == 0
    assert len(project.rows) == 6
    return project


def failures(project: Project) -> list[str]:
    status = project.classifyd("status").stdout
    return [line[11:] for line in status.splitlines() if line.startswith("failed ")]


def test_failures_are_counted_by_reason_with_an_example(done: Project) -> None:
    large, text = failures(done)
    assert large.startswith("2: the image is too large")
    assert large.endswith(f"such as {done.inbox}/large1.jpg")
    assert text.startswith("1: the content is not")


def test_those_with_a_reason_are_tried_again(done: Project) -> None:
    before = done.csv.read_bytes()
    done.configure(workers=1)  # the limit is lifted
    assert done.classifyd("retry", "--reason", "TOO large").stdout.startswith("queued     2; ")
    again = done.classifyd("retry", "--reason", "too large").stdout
    assert again == "queued     0\nwaiting    2 already\n"
    none = done.classifyd("retry", "--reason", "too small").stdout
    assert none.startswith("queued     none: no file has failed for a reason with 'too small'")
    assert done.classifyd("run", "--once").returncode == 0
    assert done.csv.read_bytes().startswith(before)  # a row that was seen stays
    assert [row["status"] for row in done.rows[6:]] == ["classified"] * 2
    assert len(failures(done)) == 1
    verified = json.loads(done.classifyd("verify", "--json").stdout)
    assert verified["adds_up"]
    assert verified["rows"] == 8
    assert verified["files"] == {"done": 5, "failed": 1, "pending": 0, "not_seen": 0}


def test_all_are_tried_again_as_often_as_one_likes(done: Project) -> None:
    (done.inbox / "large0.jpg").unlink()
    for turn in (1, 2, 3):
        retried = done.classifyd("retry").stdout
        assert retried.startswith("queued     2; `classifyd run` tries them")
        assert "gone       1: not there any more" in retried
        assert done.classifyd("run", "--once").returncode == 0
        assert len(done.rows) == 6 + 2 * turn
    assert len({row["id"] for row in done.rows}) == 12
    assert done.classifyd("verify").returncode == 0


def test_a_daemon_at_work_takes_them(done: Project) -> None:
    with done.started("run") as daemon:
        daemon.says("watching")
        assert f"process {daemon.pid}" in done.classifyd("retry").stdout
        done.wait_for_rows(9)
        assert daemon.stop() == 0


def test_nothing_to_retry(tmp_path: Path, compiled_cache: Path) -> None:
    project = Project(tmp_path, compiled_cache)
    retried = project.classifyd("retry")
    assert retried.returncode == 1
    assert "there is no journal yet" in retried.stderr
    assert not (project.state / "journal.sqlite").exists()


def test_a_reason_that_is_no_text(tmp_path: Path, compiled_cache: Path) -> None:
    retried = Project(tmp_path, compiled_cache).classifyd("retry", "--reason", "\udcff")
    assert retried.returncode == 2
    assert "is not UTF-8 text" in retried.stderr
    assert "Traceback" not in retried.stderr
