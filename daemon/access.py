"""Why may this user not go somewhere, and what would let it?"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path


def denied(folder: Path, mode: int) -> str | None:
    """What keeps this user from a folder, and what to do; None if nothing does.

    mode: `os.R_OK`, `os.W_OK` and `os.X_OK`, as `os.access` takes them. All folders on the way to
    it, which must exist, are looked at, the outermost first.
    """
    for outer in [*reversed(folder.parents), folder]:
        needed = mode if outer == folder else os.X_OK
        if os.access(outer, needed):
            continue
        if needed & os.W_OK and os.statvfs(outer).f_flag & os.ST_RDONLY:
            return (
                f"{outer} is on a file system that is read-only here: mount it for writing (in a "
                f"systemd service: ReadWritePaths={folder})"
            )
        rights = "".join(
            letter
            for bit, letter in ((os.R_OK, "r"), (os.W_OK, "w"), (os.X_OK, "x"))
            if needed & bit
        )
        return (
            f"the user {_user()} may not {_verb(needed)} {outer} ({_looks(outer)}): chmod or chown "
            f"it, or allow just this user: setfacl -m u:{_user()}:{rights} {outer}"
        )
    return None


def _verb(mode: int) -> str:
    if mode & os.W_OK:
        return "write to"
    return "read" if mode & os.R_OK else "enter"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _looks(folder: Path) -> str:
    """Mode and owner, as `ls -l` has them."""
    status = folder.stat()
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    return f"{stat.filemode(status.st_mode)} {owner}"
