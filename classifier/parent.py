"""A process does not outlive the one that started it: it would work on for nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when the thread that started it ends, however it ends.

    parent: the id of the process that started it, if nothing else tells that it has ended already:
        then this one ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Asked after the order is given, so that there is no moment between the two.
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
