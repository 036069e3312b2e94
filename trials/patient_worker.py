"""A worker that takes a JPEG of any number of scans: for the control of `trials.bombs`."""

from __future__ import annotations

import sys

from classifier import jpeg
from daemon import worker

if __name__ == "__main__":
    jpeg.MAX_SCANS = 1 << 30
    worker.main(int(sys.argv[1]), int(sys.argv[2]))
