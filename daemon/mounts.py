"""Is a folder on a file system that others can write to, unseen by this machine's kernel?"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Shared by hosts, or served by a program. No kernel tells of what is written behind its back.
# A disk that a program serves to the kernel (fuseblk: NTFS, exFAT) is written by this host alone.
REMOTE = frozenset(
    b"nfs nfs4 cifs smb3 smbfs ncpfs afs coda ceph 9p virtiofs vboxsf vmhgfs prl_fs fuse glusterfs "
    b"lustre gpfs beegfs orangefs pvfs2 ocfs2 gfs2 acfs afpfs davfs".split()
)
ESCAPED = re.compile(rb"\\([0-7]{3})")


def remote(folder: bytes, table: bytes | None = None) -> str:
    """The type of the file system that a folder lies on, or one in it, if that is such a one; else
    ''.

    table: in the form of /proc/self/mountinfo, which is read if none is given.
    """
    true = os.path.realpath(folder)
    if table is None:
        try:
            table = MOUNTS.read_bytes()
        except OSError:
            return ""  # not Linux, or a very closed container
    holding, kind_of_it = b"", b""
    inside = b""
    for line in table.splitlines():
        before, dash, after = line.partition(b" - ")
        fields = before.split(b" ")
        if not dash or len(fields) < 5:
            continue
        point, kind = ESCAPED.sub(_byte, fields[4]), after.split(b" ")[0]
        if _is_beneath(true, point):
            if len(point) >= len(holding):  # of several on one place, the last one lies on top
                holding, kind_of_it = point, kind
        elif _is_beneath(point, true) and _is_remote(kind):
            inside = kind
    found = kind_of_it if _is_remote(kind_of_it) else inside
    return found.decode(errors="replace")


def _is_remote(kind: bytes) -> bool:
    return kind in REMOTE or kind.startswith(b"fuse.")


def _is_beneath(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])
