"""A worker that writes names into rows as they are: for the control of `trials.names`."""

from __future__ import annotations

import sys

import daemon.jobs
import daemon.row
import daemon.worker


def plain(path: bytes) -> str:
    return path.decode("utf-8", "replace")


for module in (daemon.row, daemon.jobs, daemon.worker):
    module.escape = plain  # type: ignore[attr-defined]

if __name__ == "__main__":
    daemon.worker.main(int(sys.argv[1]), int(sys.argv[2]))
