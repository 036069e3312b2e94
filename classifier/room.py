"""Whether a disk has room for what is to be written, found out by trying: that minds quotas."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
# With less than this, a start would soon end where it began.
ROOM_BYTES = 1 << 20


def has_room(folder: Path, size: int = ROOM_BYTES) -> bool:
    """Whether so many bytes more can be written into a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        return error.errno not in FULL  # the work itself will tell what else is wrong
    return True
