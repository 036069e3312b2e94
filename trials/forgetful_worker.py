"""A worker that leaves out every thirtieth row: for the control of `trials.fuzzing`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from daemon import worker
from daemon.jobs import Job, Outcome


class Forgetful(worker.Worker):
    count = 0

    def work(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes = super().work(jobs)
        for place, outcome in enumerate(outcomes):
            self.count += 1
            if self.count % 30 == 0:
                outcomes[place] = outcome._replace(row=None)
        return outcomes


if __name__ == "__main__":
    worker.main(int(sys.argv[1]), int(sys.argv[2]), Forgetful)
