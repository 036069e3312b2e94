"""How what waits is given to the workers."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest
from daemon_process import wait_for

from classifier.compile import Program
from classifier.contract import Contract
from classifier.header import DEFAULT_FORMATS
from classifier.read import Signature
from daemon.census import Priority
from daemon.drain import Drain
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.messages import Plan
from daemon.pool import Pool
from daemon.results import ResultsFile

WORKERS = 2


@pytest.mark.parametrize(
    ("images", "batches"),
    [(1, [1]), (2, [1, 1]), (7, [3, 4]), (10, [5, 5]), (100, [50, 50])],
)
def test_all_idle_workers_share_what_waits(tmp_path: Path, images: int, batches: list[int]) -> None:
    """A batch takes 64: without sharing, ten photos of many megapixels keep one worker busy."""
    program = Program(Path("a.keras"), "0" * 64, Contract(("a", "b"), 8, 8, 3), None, "")
    plan = Plan(
        program, tmp_path, tmp_path, "none", 0.0, False, 1_000_000, 1_000_000, 10, DEFAULT_FORMATS
    )
    with (
        closing(Pool(plan, WORKERS, 20, 1000, "strange_worker")) as pool,
        closing(Journal.open(tmp_path)) as journal,
        closing(ResultsFile(tmp_path, journal)) as results,
    ):
        drain = Drain(journal, results, pool, batch_size=64, wait_seconds=0, retry_seconds=1)

        def ready() -> bool:
            drain.tick(time.monotonic(), accept=False)
            return all(process.is_ready for process in pool._processes)

        wait_for(ready, "both workers ready")
        journal.enqueue([_sighting(tmp_path / f"{n}.png") for n in range(images)], Priority.LIVE)
        drain.tick(time.monotonic())
        given = [len(batch) for process in pool._processes for batch in process.batches]
        assert sorted(given) == batches


def _sighting(path: Path) -> Sighting:
    path.write_text(path.name)
    return Sighting(os.fsencode(path), Signature.of(path.stat()), len(os.fsencode(path.parent)))
