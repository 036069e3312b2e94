"""A worker shuts itself in before it looks at its first image: decoders have had holes.

Each layer is put in force where the system has it, and said to be missing where it has not.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from classifier.limits import lower, take_no_privileges
from daemon import landlock, seccomp


def confine(writable: Sequence[Path], address_space: int, file_size: int) -> str:
    """Shut this process in, for good; what is in force, for the log.

    writable: the folders beneath which it may still make and write files. address_space: how many
    bytes more than now it may take up. file_size: of the largest file that it may write, in bytes.

    Raises `OSError` if one of the folders cannot be opened.
    """
    forces = []
    take_no_privileges()  # the kernel asks for this before the next two
    try:
        forces.append(landlock.restrict(writable))
    except OSError as error:
        if error.filename is not None:  # a folder that is not there is no want of Landlock
            raise
        forces.append(f"no Landlock ({error.strerror})")
    try:
        forces.append(seccomp.forbid())
    except OSError as error:
        forces.append(f"no seccomp ({error.strerror})")
    limit = used_address_space() + address_space
    lower(resource.RLIMIT_AS, limit)
    lower(resource.RLIMIT_FSIZE, file_size)  # Python ignores SIGXFSZ: writing more is an error
    lower(resource.RLIMIT_CORE, 0)  # a crash would leave the image, and more, on the disk
    return ", ".join([*forces, f"{limit / 1e9:.1f} GB address space"])


def identity(folder: Path) -> tuple[int, int] | None:
    """What the right to write into a folder goes with: one made anew in its place is another.

    None if there is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def used_address_space() -> int:
    """Bytes of it that this process takes up now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


class ComputingTime:
    """The kernel ends this process if it computes for too long without a `renew`.

    The pool does so by the clock; this holds even if the pool stands still.
    """

    LASTS = 0.5  # seconds for which the time just given is as good as a new one

    def __init__(self, seconds: float, threads: int = 1) -> None:
        """seconds: for each of so many threads that compute at once."""
        # What all of them can use up while no new time is asked for is given on top.
        self._seconds = (seconds + self.LASTS) * threads
        self._renew_at = -math.inf

    def renew(self) -> None:
        """At least so many seconds more, from now on."""
        # Several times an image: the clock is read without a system call.
        now = time.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + self.LASTS
        # The kernel counts whole ones. One more: the pool has a better word for the log.
        limit = int(time.process_time() + self._seconds) + 2
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
