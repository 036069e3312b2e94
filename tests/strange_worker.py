"""A worker process that misbehaves on images whose names say so; all others are done at once.

`python -m strange_worker CHANNEL PROGRESS`, as the pool starts it: all but `work` is the real one.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon.jobs import Job, Outcome
from daemon.messages import Plan, Progress
from daemon.worker import Worker, main

NOISE = b"Corrupt JPEG data: premature end of data segment\n" * 1000


class StrangeWorker(Worker):
    """In plan.scratch, the file `starts` gets a line for every start, and one that is called
    `crash_at_start_N` makes the first N of them fail."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        with (plan.scratch / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        starts = len((plan.scratch / "starts").read_text().splitlines())
        for asked in plan.scratch.glob("crash_at_start_*"):
            if starts <= int(asked.name.rpartition("_")[2]):
                sys.exit("first words\nthe library libstrange.so is missing")

    def confine(self) -> str:
        return ""

    def work(self, jobs: Sequence[Job]) -> list[Outcome]:
        for job in jobs:
            name = Path(os.fsdecode(job.path)).name
            if "noise" in name:
                for _ in range(200):  # 10 MB
                    os.write(2, NOISE)
            if "segv" in name:
                ctypes.string_at(0)
            if "exit" in name:
                os._exit(7)
            if "raise" in name:
                raise RuntimeError("this decoder has a bug")
            if "hang" in name:
                time.sleep(1000)
            if "slow" in name:
                time.sleep(0.3)
            if "disk" in name:
                raise OSError(28, "No space left on device", "/results/thumbnails/a.jpg")
            self._progress.step()
        return [Outcome(job, job.signature) for job in jobs]

    def judge(self, job: Job) -> Outcome:
        if b"unreadable" in job.path:
            os._exit(9)
        return super().judge(job)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), StrangeWorker)
