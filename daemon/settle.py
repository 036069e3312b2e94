"""When is a file whole? Once it has been quiet for a while and nobody is known to write to it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from classifier.beneath import open_beneath, stat_beneath
from classifier.read import Signature
from daemon.jobs import Sighting

# A writer that keeps its file open is waited for this long after the last change.
WRITER_PATIENCE_SECONDS = 300.0
# How often to see whether such a writer is done.
RECHECK_SECONDS = 0.25
LOCAL_FILE_SYSTEMS = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay"}
    | {"reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)


def is_being_written(path: bytes, root: int = 0) -> bool | None:
    """Whether somebody has the file open for writing; None where the system does not tell.

    A read lease is granted only on a file that nobody has open for writing. Linux tells the file's
    owner and root, on a local disk. root: how much of the path is the watched folder.
    """
    try:
        fd = open_beneath(path, root, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not _is_local(os.fstat(fd).st_dev):
            return None
        # The signal that comes if a writer opens the file just now: SIGIO would end this process,
        # SIGURG does nothing unless somebody asked for it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return False


@lru_cache(maxsize=64)
def _is_local(device: int) -> bool:
    """Whether a file system is on this machine: a network share refuses leases for reasons of its
    own."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return False  # not Linux
    for mount in mounts:
        fields, _, source = mount.partition(" - ")
        if fields.split()[2] == number:
            return source.split()[0] in LOCAL_FILE_SYSTEMS
    return False


class _Waiting(NamedTuple):
    signature: Signature
    root: int
    quiet_since: float  # by the monotonic clock
    next_look: float


class Settling:
    """Files that may still be written to, until they have been quiet for long enough."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._waiting: dict[bytes, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, path: bytes) -> bool:
        return path in self._waiting

    def add(self, sighting: Sighting, now: float, age_seconds: float = 0.0) -> bool:
        """True if the file is whole already, by how long ago it was last modified."""
        path, signature, root = sighting
        waiting = self._waiting.get(path)
        if waiting is not None and waiting.signature == signature:
            quiet_since = waiting.quiet_since
        else:
            quiet_since = now - max(age_seconds, 0)
        quiet = now - quiet_since
        if quiet < self._settle_seconds:
            next_look = quiet_since + self._settle_seconds
        elif quiet < WRITER_PATIENCE_SECONDS and is_being_written(path, root):
            next_look = now + RECHECK_SECONDS
        else:
            self._waiting.pop(path, None)
            return True
        self._waiting[path] = _Waiting(signature, root, quiet_since, next_look)
        return False

    def discard(self, path: bytes) -> None:
        self._waiting.pop(path, None)

    def due(self, now: float) -> list[Sighting]:
        """The files that have become whole; they are not waited for any more."""
        ready = []
        for path, waiting in list(self._waiting.items()):
            if now < waiting.next_look:
                continue
            try:
                status = stat_beneath(path, waiting.root)
            except OSError:
                del self._waiting[path]
                continue
            if not stat.S_ISREG(status.st_mode):  # another thing has taken its name
                del self._waiting[path]
                continue
            sighting = Sighting(path, Signature.of(status), waiting.root)
            if self.add(sighting, now):
                ready.append(sighting)
        return ready

    def next_due(self) -> float | None:
        """When `due` is worth a call, by the monotonic clock."""
        return min((waiting.next_look for waiting in self._waiting.values()), default=None)
