"""A new file in the place of an old one is for whom the old one was."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

MODE = 0o775  # at most; who else may write is judged by its last digit


def inherit(draft: Path, old: os.stat_result) -> bool:
    """Give a new file the owner, the group and the mode of the one that it will replace.

    Everybody's right to write is not passed on. Gives whether owner and group could be kept; if
    not, at least the group is where this user may give files to it.
    """
    kept = True
    try:
        os.chown(draft, old.st_uid, old.st_gid)
    except PermissionError:
        kept = False
        with suppress(PermissionError):
            os.chown(draft, -1, old.st_gid)
    draft.chmod(stat.S_IMODE(old.st_mode) & MODE)
    return kept
