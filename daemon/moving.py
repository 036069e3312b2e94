"""A file ▸ another folder: nothing is overwritten, no link followed, and after a crash it is known
where the file is.

Within a file system it is renamed. To another one it is copied under a hidden name, made durable
and given its name; then the source is taken away. Every step can be done again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

from classifier.durable import sync, sync_names
from classifier.read import Signature
from daemon.inside import (
    CHUNK,
    NameTakenError,
    created,
    look,
    made_folder,
    name_new,
    open_folder,
    opened,
    read_of,
    rename_new,
    same_bytes,
)
from daemon.moves import Move

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a folder, or a link is there instead
COARSE_NS = 2_000_000_000  # FAT keeps times to two seconds
NOTE_SUFFIX = b".reason.txt"
MAX_NAME = 255  # bytes


class Step(Enum):
    """How far a move has come."""

    MOVED = "it is there, and nowhere else"
    COPIED = "it is there, and the source still has to be taken away"
    CHANGED = "the source is not any more what was classified"


class Hands:
    """`with Hands() as hands`: folders that are opened once for several moves, and made durable
    together."""

    def __init__(self, beat: Callable[[], None] = lambda: None) -> None:
        """beat: called now and then while a file is copied, which may take long."""
        self.beat = beat
        self._open: dict[tuple[bytes, int], int] = {}

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def source(self, move: Move) -> int:
        """The folder that the image is in. Raises `OSError`."""
        folder = move.source_folder
        key = folder, move.root
        if key not in self._open:
            self._open[key] = open_folder(folder, move.root)
        return self._open[key]

    def has_source(self, move: Move) -> bool:
        """Whether that folder is there. Raises `OSError`."""
        try:
            self.source(move)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False
        return True

    def target(self, move: Move) -> int:
        """The folder that it belongs into, which is made if it is not there. Raises `OSError`."""
        key = move.folder, move.beneath
        if key not in self._open:
            self._open[key] = made_folder(move.folder, move.beneath)
        return self._open[key]


def chosen(move: Move, hands: Hands, taken: set[bytes]) -> Move | None:
    """The move with a name that is free, and the number of the file. None if the source is not any
    more what was classified.

    taken: names that are promised already.

    Raises `OSError`, and `NameTakenError` if one that goes back finds another file there.
    """
    if not hands.has_source(move):
        return None
    near = hands.source(move)
    source = look(near, move.file)
    if source is None or not _is_as_noted(source, move):
        return None
    folder = hands.target(move)
    if not os.access(b".", os.W_OK | os.X_OK, dir_fd=near):  # a copy would be one too many
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), move.source_folder)
    for name in [move.name] if move.back else names(move):
        notes = [name + NOTE_SUFFIX] if _has_note(move) else []
        if any(
            move.folder + b"/" + one in taken or look(folder, one) is not None
            for one in [name, *notes]
        ):
            continue
        taken.add(move.folder + b"/" + name)
        return move._replace(name=name, inode=source.st_ino)
    raise NameTakenError(errno.EEXIST, "its name is taken", move.target)


def names(move: Move) -> list[bytes]:
    """What it may be called: its name, or with the number of its row."""
    stem, dot, suffix = move.file.rpartition(b".")
    if not stem:
        stem, dot, suffix = suffix, b"", b""
    found = []
    marks = ["", f"-{move.row_id[:8]}", f"-{move.row_id}"]
    for mark in [*marks, *(f"-{move.row_id}-{number}" for number in range(2, 1000))]:
        end = mark.encode() + dot + suffix
        room = MAX_NAME - len(end) - (len(NOTE_SUFFIX) if _has_note(move) else 0)
        found.append(_cut(stem, room) + end)
    return found


def carry(move: Move, hands: Hands) -> Step:
    """Put the file there; the name that it gets is noted in the journal. What an earlier attempt
    has left half done is brought to its end, or undone.

    The folders are not durable after that. Raises `OSError`, `NameTakenError`.
    """
    far = hands.target(move)
    if not hands.has_source(move):
        there = look(far, move.name)
        return Step.CHANGED if there is None or not _looks_like(there, move) else Step.MOVED
    near, name = hands.source(move), move.file
    if move.has_begun:
        with suppress(FileNotFoundError):
            os.unlink(_part(move), dir_fd=far)
        _mend_aside(move, near, far, name)
    source, there = look(near, name), look(far, move.name)
    if there is not None and move.has_begun and _is_ours(there, source, move, near, far):
        step = Step.MOVED
        if source is not None and (_is_as_noted(source, move) or os.path.samestat(source, there)):
            step = Step.COPIED
    else:
        if not _is_as_noted(source, move):
            return Step.CHANGED
        step = _put(move, near, far, name, hands.beat)
    if step is not Step.CHANGED:
        _write_note(move, far)
    return step


def take_away(move: Move, hands: Hands) -> None:
    """Of a copied file, whose copy is durable: delete the source, unless it is another file by now.

    Raises `OSError`.
    """
    near, name = hands.source(move), move.file
    try:
        # What is deleted is looked at before, and cannot be exchanged in between.
        if look(near, _aside(move)) is not None:
            raise NameTakenError(errno.EEXIST, "its name is taken", _aside(move))
        os.rename(name, _aside(move), src_dir_fd=near, dst_dir_fd=near)
    except FileNotFoundError:
        return
    _mend_aside(move, near, hands.target(move), name)


def undo(move: Move, hands: Hands) -> bool:
    """Of a copied file whose source cannot be taken away: delete the copy, if the source is there
    under its name. Whether that is so; if not, the move has to be brought to its end.

    Raises `OSError`.
    """
    near, far = hands.source(move), hands.target(move)
    source = look(near, move.file)
    if source is None or not _is_same(source, move):
        return False
    _without(move.name, far)
    with suppress(OSError):
        if read_of(far, move.name + NOTE_SUFFIX, len(move.note) + 1) == move.note:
            _without(move.name + NOTE_SUFFIX, far)
    return True


def take_note_away(move: Move, hands: Hands) -> None:
    """Of a failed image that is where it was again: its reason beside it, if it is as written."""
    folder = hands.source(move)
    name = move.file + NOTE_SUFFIX
    with suppress(OSError):
        if read_of(folder, name, len(move.note) + 1) == move.note:
            os.unlink(name, dir_fd=folder)


def looks(move: Move, hands: Hands) -> Signature | None:
    """How the moved file looks there. Raises `OSError`."""
    found = look(hands.target(move), move.name)
    return None if found is None else Signature.of(found)


def sync_target(move: Move, hands: Hands) -> None:
    """Raises `SyncError`."""
    sync_names(hands.target(move), _path(move.folder))


def sync_source(move: Move, hands: Hands) -> None:
    """Raises `SyncError`."""
    if hands.has_source(move):
        sync_names(hands.source(move), _path(move.source_folder))


# Steps


def _put(move: Move, near: int, far: int, name: bytes, beat: Callable[[], None]) -> Step:
    try:
        renamed = rename_new(near, name, far, move.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copy(move, near, far, name, beat)
    if not renamed:
        try:
            os.link(name, move.name, src_dir_fd=near, dst_dir_fd=far, follow_symlinks=False)
        except FileExistsError:
            raise NameTakenError(errno.EEXIST, "its name is taken", move.target) from None
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return _copy(move, near, far, name, beat)
    there = look(far, move.name)
    if there is None or not _is_same(there, move):
        # Another file came under that name in this very moment.
        if renamed:
            with suppress(NameTakenError):
                rename_new(far, move.name, near, name)
        else:
            os.unlink(move.name, dir_fd=far)
        return Step.CHANGED
    return Step.MOVED if renamed else Step.COPIED


def _copy(move: Move, near: int, far: int, name: bytes, beat: Callable[[], None]) -> Step:
    part = _part(move)
    try:
        with opened(near, name) as source, created(far, part) as copy:
            before = os.fstat(source)
            if not _is_as_noted(before, move):
                return _without(part, far)
            while chunk := os.read(source, CHUNK):
                beat()
                while chunk:
                    chunk = chunk[os.write(copy, chunk) :]
            with suppress(PermissionError):  # not every file system has them
                os.fchmod(copy, stat.S_IMODE(before.st_mode) & 0o777)
                os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
            sync(copy, _path(move.target))
            if not _is_as_noted(os.fstat(source), move) or (
                os.fstat(copy).st_size != move.signature.size
            ):
                return _without(part, far)
        name_new(part, move.name, far, move.target)
    except BaseException:
        _without(part, far)
        raise
    return Step.COPIED


def _write_note(move: Move, far: int) -> None:
    """Of a failed one: why. One that is there already is of an earlier attempt."""
    if not _has_note(move):
        return
    name, part = move.name + NOTE_SUFFIX, _part(move)
    if look(far, name) is not None:
        return
    try:
        with created(far, part) as file:
            os.write(file, move.note)
            sync(file, _path(move.folder + b"/" + name))
        with suppress(NameTakenError):
            name_new(part, name, far, move.folder + b"/" + name)
    finally:
        _without(part, far)


def _mend_aside(move: Move, near: int, far: int, name: bytes) -> None:
    """A source that was put aside is deleted, if a copy of just its bytes is there. Else it gets
    its name back."""
    aside = look(near, _aside(move))
    if aside is None:
        return
    there = look(far, move.name)
    if (
        stat.S_ISREG(aside.st_mode)
        and there is not None
        and (os.path.samestat(there, aside) or same_bytes(near, _aside(move), far, move.name))
    ):
        os.unlink(_aside(move), dir_fd=near)
        return
    for free in (name, *names(move)[1:]):
        with suppress(NameTakenError):
            name_new(_aside(move), free, near, move.source)
            return


def _is_ours(
    there: os.stat_result, source: os.stat_result | None, move: Move, near: int, far: int
) -> bool:
    """Whether what has the noted name is the image: an earlier attempt has come so far."""
    if not stat.S_ISREG(there.st_mode) or there.st_size != move.signature.size:
        return False
    if _is_same(there, move):
        return True
    if _is_as_noted(source, move):  # only a copy, then
        return same_bytes(near, move.file, far, move.name)
    return _looks_like(there, move)


def _looks_like(there: os.stat_result, move: Move) -> bool:
    """Whether it may be the image that is at its source no more."""
    return (
        stat.S_ISREG(there.st_mode)
        and there.st_size == move.signature.size
        and abs(there.st_mtime_ns - move.signature.mtime_ns) < COARSE_NS
    )


# Is it the file?


def _is_as_noted(found: os.stat_result | None, move: Move) -> bool:
    """Whether a file was not touched since it was classified."""
    return (
        found is not None and stat.S_ISREG(found.st_mode) and Signature.of(found) == move.signature
    )


def _is_same(found: os.stat_result, move: Move) -> bool:
    """Whether it is the very file, though it may have got another name."""
    looks = found.st_ino, found.st_size, found.st_mtime_ns
    return stat.S_ISREG(found.st_mode) and looks == (
        move.inode, move.signature.size, move.signature.mtime_ns
    )  # fmt: skip


# Names


def _without(name: bytes, folder: int) -> Step:
    """Nothing is left of what was begun."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    return Step.CHANGED


def _has_note(move: Move) -> bool:
    return move.status == "failed" and not move.back


def _cut(stem: bytes, room: int) -> bytes:
    """So much of a name as there is room for, no character torn."""
    if len(stem) <= room:
        return stem
    cut = stem[:room]
    while cut and room < len(stem) and stem[len(cut)] & 0xC0 == 0x80:
        cut = cut[:-1]
    return cut


def _part(move: Move) -> bytes:
    return b"." + move.row_id.encode() + b".part"


def _aside(move: Move) -> bytes:
    return b"." + move.row_id.encode() + b".moved"


def _path(name: bytes) -> Path:
    return Path(os.fsdecode(name))
