"""Who else could put another file in the place of one that programs are loaded from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_LINKS = 40  # as many as Linux follows


def replaceable(path: Path) -> str | None:
    """How every user could put something else in its place, and what to do; None if not so.

    Everybody's write permission is meant; a group is a choice that somebody made. What does not
    exist yet is made by this user.
    """
    for folder, entry in _way(path):
        if not folder.exists():
            continue
        mode = folder.stat().st_mode
        if not mode & stat.S_IWOTH:
            continue
        if not mode & stat.S_ISVTX:
            return f"every user can put another file in its place: chmod o-w {folder}"
        # A sticky folder, such as /tmp: what lies there is safe, but anybody may have put it there.
        if os.path.lexists(entry) and entry.lstat().st_uid not in (0, os.geteuid()):
            return (
                f"every user can put files into {folder}, and {entry} belongs to another user: "
                "move it"
            )
    return None


def _way(path: Path) -> Iterator[tuple[Path, Path]]:
    """(folder, what lies in it), for all folders on the way to a file and to what it links to."""
    entry = path.absolute()
    for _ in range(MAX_LINKS):
        for place in (Path(os.path.realpath(entry.parent), entry.name), entry):
            yield from zip(place.parents, (place, *place.parents), strict=False)
        if not entry.is_symlink():
            return
        entry = Path(os.path.realpath(entry.parent), entry.readlink())
