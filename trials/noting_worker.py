"""A worker that notes every image that it decodes, and takes its time: for the trials of Ray."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon.jobs import Finding, Job
from daemon.messages import Plan, Progress
from daemon.worker import Worker, main

FOLDER, WAIT = "TRIAL_SEEN", "TRIAL_WAIT"  # the environment of the nodes; seconds for each image


class NotingWorker(Worker):
    """The note is written before the work, with one write."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        super().__init__(plan, progress)
        # It is confined before it has anything to note.
        self._notes = Path(os.environ[FOLDER], f"{os.getpid()}-{time.time_ns()}").open("ab")  # noqa: SIM115
        self._wait = float(os.environ[WAIT])

    def work(self, jobs: Sequence[Job]) -> list[Finding]:
        self._notes.write(b"".join(b"%d\n" % job.seq for job in jobs))
        self._notes.flush()
        for _ in jobs:
            time.sleep(self._wait)
            self._step()
        return super().work(jobs)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), NotingWorker)
