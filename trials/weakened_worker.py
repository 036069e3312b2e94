"""A worker process with the patches of `trials.weakened`, as the pool starts it."""

from __future__ import annotations

import os
import sys

from daemon.worker import main
from trials.weakened import VARIABLE, patch

if __name__ == "__main__":
    patch(os.environ[VARIABLE])
    main(int(sys.argv[1]), int(sys.argv[2]))
