"""The folders that are ours: made so that they stay, and kept together."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from classifier.durable import sync_folder
from daemon.errors import SettingsError
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.row import THUMBNAILS

BOUND = ".results"  # a link in the state folder
NOT_HERE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)


def prepare(state: Path, results: Path) -> None:
    """Make the folders that are ours. Raises `SettingsError` if they do not belong together."""
    _bound(state, results)
    os.umask(os.umask(0o777) | 0o022)  # whatever the user's, nobody else may write to what we make
    for folder in (state, results / THUMBNAILS):
        _make(folder)
        _keep_names_above(folder)


def _make(folder: Path) -> None:
    """Make a folder, with those above it."""
    if not folder.is_dir():
        _make(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            raise SettingsError(
                f"{folder}: cannot be made: {error.strerror}. Name another in config.yaml"
            ) from None


def _keep_names_above(folder: Path) -> None:
    """See that a power cut does not take the names of a folder and of those above it.

    Also of those that were there: whoever made them may have ended before this.
    """
    for above in folder.parents:
        with suppress(PermissionError):  # not ours to read, so not made by us either
            sync_folder(above)


def is_among_thumbnails(folder: Path, results: Path) -> bool:
    """Whether what we write would be taken there for images that came, and so on without end."""
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(results / THUMBNAILS))


def inbox_names(inbox: Path) -> frozenset[bytes]:
    """What the inbox is called in the configuration, and without links. Whatever folder it is
    looked for in, its files have one name each: that of the configuration."""
    return frozenset({os.fsencode(inbox), os.fsencode(inbox.resolve())})


def bind(state: Path, results: Path) -> None:
    """See that a journal and the results that it tells of stay together.

    Raises `SettingsError` if this state folder belongs to results elsewhere.
    """
    if _bound(state, results) != results:
        link = state / BOUND
        link.unlink(missing_ok=True)
        link.symlink_to(results)


def _bound(state: Path, results: Path) -> Path | None:
    """The results folder that a state folder was last used with."""
    link = state / BOUND
    bound = link.readlink() if link.is_symlink() else None
    if bound not in (None, results) and (bound / RESULTS_NAME).exists():
        raise SettingsError(
            f"state: {state} belongs to the results in {bound}, not to "
            f"{results}. Name that folder under `results:`, or move it there first, or "
            "give these results a `state:` folder of their own"
        )
    return bound
