"""daemon.messages: what the pool sees of a worker's progress."""

from __future__ import annotations

import os

from daemon.messages import Phase, Progress


def test_steps_and_phase_are_seen_through_the_shared_memory() -> None:
    shared = os.memfd_create("progress")
    os.ftruncate(shared, Progress.SIZE)
    worker, pool = Progress(shared), Progress(shared)
    assert pool.seen == (0, Phase.WORKING)
    worker.step(Phase.READING)
    assert pool.seen == (1, Phase.READING)
    worker.step()
    worker.step(Phase.STORING)
    assert pool.seen == (3, Phase.STORING)
    os.pwrite(shared, b"\xff" * Progress.SIZE, 0)  # by a worker that was taken over
    assert pool.seen == ((1 << 62) - 1, 3)
    worker.step()
    assert pool.seen == (4, Phase.WORKING)
    worker.close()
    pool.close()
    os.close(shared)
