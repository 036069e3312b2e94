"""How what waits is given to the workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from daemon_process import wait_for

from classifier.compile import Program
from classifier.contract import Contract
from classifier.header import DEFAULT_FORMATS
from classifier.read import Signature
from daemon.census import Priority
from daemon.drain import MOST_AT_ONCE, NOTE_SECONDS, Drain, Pace
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.messages import Plan
from daemon.pool import Pool
from daemon.results import ResultsFile

WORKERS = 2


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.open(tmp_path)) as journal:
        yield journal


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    program = Program(Path("a.keras"), "0" * 64, Contract(("a", "b"), 8, 8, 3), None, "")
    plan = Plan(
        program, tmp_path, tmp_path, "none", 0.0, False, 1_000_000, 1_000_000, 10, DEFAULT_FORMATS
    )
    with closing(Pool(plan, WORKERS, 20, 100_000, "strange_worker")) as pool:
        yield pool


@pytest.fixture
def drain(tmp_path: Path, journal: Journal, pool: Pool) -> Iterator[Drain]:
    """Both workers are ready."""
    with closing(ResultsFile(tmp_path, journal)) as results:
        drain = Drain(journal, results, pool, Pace(64, 0, 1))

        def ready() -> bool:
            drain.tick(time.monotonic(), accept=False)
            return all(process.is_ready for process in pool._processes)

        wait_for(ready, "both workers ready")
        yield drain


@pytest.mark.parametrize(
    ("images", "batches"),
    [(1, [1]), (2, [1, 1]), (7, [3, 4]), (10, [5, 5]), (100, [50, 50])],
)
def test_all_idle_workers_share_what_waits(
    tmp_path: Path, journal: Journal, pool: Pool, drain: Drain, images: int, batches: list[int]
) -> None:
    """A batch takes 64: without sharing, ten photos of many megapixels keep one worker busy."""
    journal.enqueue([_sighting(tmp_path / f"{n}.png") for n in range(images)], Priority.LIVE)
    drain.tick(time.monotonic())
    given = [len(batch) for process in pool._processes for batch in process.batches]
    assert sorted(given) == batches


def test_in_a_flood_what_is_finished_is_noted_together(
    tmp_path: Path, journal: Journal, drain: Drain
) -> None:
    images = MOST_AT_ONCE + 500
    journal.enqueue([_sighting(tmp_path / f"answer {n}") for n in range(images)], Priority.LIVE)
    noted = []
    now = time.monotonic()  # it stands still: a flood has no end by the clock

    def done() -> bool:
        if outcomes := drain.tick(now):
            noted.append(len(outcomes))
            assert journal.results() == sum(noted)
        return drain.done

    wait_for(done, "all of them")  # when the flood has run off, nothing is held back
    assert sum(noted) == images
    assert MOST_AT_ONCE <= noted[0] < images


@pytest.mark.parametrize("reason", ["the clock", "the end"])
def test_nothing_finished_is_held_back_for_long(
    tmp_path: Path, journal: Journal, drain: Drain, reason: str
) -> None:
    journal.enqueue([_sighting(tmp_path / f"answer {n}") for n in range(400)], Priority.LIVE)
    now = time.monotonic()
    drain.tick(now)

    def finished() -> bool:
        assert drain.tick(now) == []
        return bool(drain._finished)

    wait_for(finished, "a batch")
    assert (due := drain.next_due()) is not None
    assert due <= now + NOTE_SECONDS
    assert drain.busy
    if reason == "the clock":
        assert drain.tick(due)
    else:
        assert drain.tick(now, accept=False)


def _sighting(path: Path) -> Sighting:
    path.write_text(path.name)
    return Sighting(os.fsencode(path), Signature.of(path.stat()), len(os.fsencode(path.parent)))
