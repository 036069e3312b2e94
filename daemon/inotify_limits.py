"""The kernel allows so many watches and no more: which limit is it, and what would be enough?"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

SYSCTLS = Path("/proc/sys/fs/inotify")
# By what the kernel says: one instance for a process that watches, one watch for each folder.
LIMITS = {errno.EMFILE: "max_user_instances", errno.ENOSPC: "max_user_watches"}
ENOUGH = {"max_user_instances": 1024, "max_user_watches": 1_048_576}

IN_ATTRIB = 4


def reached(folder: bytes) -> OSError | None:
    """Whether there is no room for one more watch: then some of the many that were asked for may
    not have been granted either, and watchdog says nothing of a folder that it could not watch.

    folder: that one more watch is put on, for a moment.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:  # no more instances: that does not touch the one that is held
        return None
    try:
        if libc.inotify_add_watch(fd, folder, IN_ATTRIB) >= 0 or ctypes.get_errno() != errno.ENOSPC:
            return None
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


def _has_descriptors() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def explained(error: OSError) -> str:
    """What is reached, and what to do about it; what the system says, if it is something else."""
    name = LIMITS.get(error.errno or 0)
    if name is None:
        return error.strerror or str(error)
    if error.errno == errno.EMFILE and not _has_descriptors():
        return "this process may have no more files open (ulimit -n, LimitNOFILE= of the service)"
    try:
        present = int((SYSCTLS / name).read_text())
    except (OSError, ValueError):
        present = 0
    wanted = max(ENOUGH[name], 2 * present)
    return (
        f"the limit fs.inotify.{name} ({present:,}) is reached: raise it by `sysctl "
        f"fs.inotify.{name}={wanted}`, and for good by this line in /etc/sysctl.d/classifyd.conf: "
        f"fs.inotify.{name} = {wanted}"
    )
