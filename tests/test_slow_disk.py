"""The real worker on a disk that does not answer for some time: no image is blamed for that."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, children, wait_for
from test_pool import finish

from classifier.compile import compiled
from classifier.header import DEFAULT_FORMATS
from classifier.read import Signature
from daemon.jobs import Job, Outcome
from daemon.messages import Plan
from daemon.pool import Pool

IMAGE_SECONDS = 1.0
LONGER = 2.5
FOR_EVER = 1000
# `classifyd` with the slow workers, and less patience than it has.
DAEMON = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
from daemon import __main__, pool
pool.STORE_SECONDS = 1.5
pool.Pool.__init__.__defaults__ = ("slow_worker",)
sys.exit(__main__.main())
"""


@pytest.fixture
def pool(tmp_path: Path, shipped_model: Path, compiled_cache: Path) -> Iterator[Pool]:
    plan = Plan(
        compiled(shipped_model, compiled_cache), tmp_path, tmp_path, "all", 0.0, False,
        1_000_000, 1_000_000, IMAGE_SECONDS, DEFAULT_FORMATS,
    )  # fmt: skip
    with closing(Pool(plan, 1, IMAGE_SECONDS, 1000, "slow_worker")) as opened:
        yield opened
    assert children(os.getpid()) == []


@pytest.fixture
def jobs(tmp_path: Path, draw_image: DrawImage) -> list[Job]:
    paths = [draw_image(tmp_path / f"{name}.jpg", len(name)) for name in ("a", "slow", "other")]
    return [
        Job(seq, os.fsencode(path), Signature.of(path.stat()), 0, "2026-01-01", frozenset())
        for seq, path in enumerate(paths, 1)
    ]


def takes(folder: Path, what: str, seconds: float) -> Path:
    """From now on, it takes the workers so long."""
    file = folder / what
    file.write_text(f"{seconds}")
    return file


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


def check_done(outcomes: dict[str, Outcome], results: Path) -> None:
    """Each image is classified, and its thumbnail is there."""
    assert sorted(outcomes) == ["a.jpg", "other.jpg", "slow.jpg"]
    for outcome in outcomes.values():
        assert outcome.row is not None
        assert (outcome.row.status, outcome.row.reason) == ("classified", "")
        assert (results / outcome.row.thumbnail).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["slow_sync", "slow_write"])
def test_a_disk_slower_than_an_image_may_be(
    pool: Pool, jobs: list[Job], tmp_path: Path, what: str
) -> None:
    takes(tmp_path, what, LONGER)
    check_done(finish(pool, jobs), tmp_path)
    assert starts(tmp_path) == 1


def until(pool: Pool, condition: Callable[[], object], what: str) -> None:
    """Let the pool look after its workers, of which none gets anything done."""

    def holds() -> object:
        assert list(pool.collect(time.monotonic())) == []
        return condition()

    wait_for(holds, what)


@pytest.mark.slow
def test_a_disk_that_stands_still_accuses_nobody(
    pool: Pool,
    jobs: list[Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("daemon.pool.STORE_SECONDS", 1.5)
    still = takes(tmp_path, "slow_sync", FOR_EVER)
    pool.submit(jobs)
    assert pool.stall == ""
    until(pool, lambda: caplog.text.count("does not confirm writes") == 3, "it is given up thrice")
    assert pool.stall == f"the disk of {tmp_path} does not confirm writes"
    assert starts(tmp_path) == 3  # with the whole batch each time
    still.unlink()
    outcomes: list[Outcome] = []

    def collected() -> bool:
        outcomes.extend(outcome for batch in pool.collect(time.monotonic()) for outcome in batch)
        return bool(outcomes)

    wait_for(collected, "the disk confirms")
    check_done({Path(os.fsdecode(o.job.path)).name: o for o in outcomes}, tmp_path)
    assert pool.stall == ""
    assert starts(tmp_path) == 4


@pytest.mark.slow
def test_a_file_that_cannot_be_read_in_time(pool: Pool, jobs: list[Job], tmp_path: Path) -> None:
    """It is not said to be an image that hangs, and is taken up once more when it is found."""
    takes(tmp_path, "slow_read", FOR_EVER)
    outcomes = finish(pool, jobs)
    slow = outcomes.pop("slow.jpg")
    assert slow.row is not None
    assert slow.row.reason == "the file cannot be read: that took longer than 1 s"
    assert (slow.again, slow.row.status, slow.row.sha256) == (True, "failed", "")
    assert [outcome.row.status for outcome in outcomes.values() if outcome.row] == [
        "classified"
    ] * 2


@pytest.mark.slow
def test_status_says_that_images_wait_for_the_disk(
    tmp_path: Path, compiled_cache: Path, draw_image: DrawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, compiled_cache, workers=1, limits={"image_seconds": IMAGE_SECONDS})
    still = takes(project.state, "slow_sync", FOR_EVER)
    for number in range(3):
        draw_image(project.inbox / f"{number}.jpg", number)
    monkeypatch.setattr("daemon_process.COMMAND", [sys.executable, "-c", DAEMON])
    paused = f": the disk of {project.results} does not confirm writes; it goes on by itself"
    with project.started("run") as daemon:
        daemon.says("its images are tried again, none fails for this")
        said = project.classifyd("status").stdout
        assert paused in said
        assert "\npaused     since 2" in said
        still.unlink()
        project.wait_for_rows(3)
        daemon.says("the disk confirms writes again")
        assert "paused" not in project.classifyd("status").stdout
        assert daemon.stop() == 0
    project.check_rows(3)
