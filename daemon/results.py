"""results.csv: an outbox. What the journal has decided is made to stand there.

A row is appended after the journal holds it, in one write, and made durable. When the file and the
journal disagree, at the start or because somebody touched the file, the journal is right: the part
that agrees is kept, the rest is set aside and written anew.

What stands in the file may still not be on the disk: after a failed fsync the system counts it as
written. So the journal knows up to which row the file was made durable, and at the start the rows
after that are written once more in their place, which no reader notices.
"""

from __future__ import annotations

import datetime
import logging
import os
import shutil
import stat
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from classifier.durable import name_new, sync, sync_folder
from daemon.errors import JournalError, StorageError
from daemon.journal import Journal, Published
from daemon.parts import Part
from daemon.rotation import PART, begin_anew, free_name, is_same
from daemon.row import HEADER, cells, is_ours, parsed, unescape

log = logging.getLogger(__name__)

FILE_NAME = "results.csv"
LINES_LOST = 100  # of one path: so many may be deleted, and what is ours is known all the same


class Agreement(NamedTuple):
    """How far a results.csv agrees with the journal.

    safe, safe_seq: bytes at its start that are known to be on the disk, and the last row in them.
    good: bytes at its start that are as the journal has them, ending with a whole line.
    size: bytes in the file. rest_is_torn: what follows is the beginning of the very next line, as
        a write that was cut short leaves it. complete: no row is missing. last_seq: of the last
        good row.
    """

    safe: int
    safe_seq: int
    good: int
    size: int
    rest_is_torn: bool
    complete: bool
    last_seq: int

    @property
    def exact(self) -> bool:
        return self.complete and self.good == self.size


def open_results(path: Path) -> BinaryIO:
    """A results.csv to read. Raises `StorageError` for a pipe, a folder or the like."""
    # Opening a pipe would wait for its writer, perhaps for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StorageError(f"{path}: is not a file: move it elsewhere and start again")
    return os.fdopen(fd, "rb")


class Strangers:
    """Lines of a results.csv that its journal does not know, in their order in the file."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lines = Counter[bytes]()  # by path

    def is_ours(self, line: bytes) -> bool:
        """Whether classifyd wrote the next one of them: then the journal is older than the file."""
        try:
            row = parsed(line)
            path = unescape(row.path)
        except ValueError:
            return False
        # An attempt is the number of rows that its path had then: known ones, and these before it.
        rows = self._journal.rows_of(path) + self._lines[path]
        self._lines[path] += 1
        return is_ours(row, rows + LINES_LOST)


def first_unknown(path: Path, journal: Journal, start: int = 0) -> bytes | None:
    """The first whole line after so many bytes that classifyd wrote and the journal does not know:
    then the journal is older than the file. None if there is none."""
    with open_results(path) as file:
        file.seek(start)
        strangers = Strangers(journal)
        for line in file:
            if not line.endswith(b"\n") or seq_of(line, journal) is not None:
                continue
            if strangers.is_ours(line):
                return line
    return None


def seq_of(line: bytes, journal: Journal) -> int | None:
    """The number that the journal has for the row of a line, by its id, path and content: whatever
    else stands there."""
    try:
        row = cells(line)
        return journal.seq_of(unescape(row.path), row.sha256, row.id)
    except ValueError:
        return None


def id_of(line: bytes) -> str:
    """The first cell of a line."""
    return line.partition(b",")[0].decode(errors="replace")


def compare(path: Path, journal: Journal, after: int = 0, upto: int | None = None) -> Agreement:
    """Hold a file of rows against the journal, reading both as streams.

    after, upto: the numbers of the last row before it and of its own last one; None: all there are.
    """
    expected = chain([Published(after, HEADER)], journal.lines(after, upto))
    synced = journal.synced()
    safe = good = 0
    safe_seq = last_seq = after
    try:
        file = open_results(path)
    except FileNotFoundError:
        return Agreement(0, after, 0, 0, False, False, after)
    with file:
        size = os.fstat(file.fileno()).st_size
        for seq, line in expected:
            found = file.read(len(line))
            if found != line:
                torn = line.startswith(found)
                return Agreement(safe, safe_seq, good, size, torn, False, last_seq)
            good += len(line)
            last_seq = seq
            if after < seq <= synced:
                safe, safe_seq = good, seq
    return Agreement(safe, safe_seq, good, size, False, True, last_seq)


class ResultsFile:
    """The open results.csv. Only the process that holds the state lock has one.

    synced: the number of the last row in it that is known to be on the disk.
    """

    def __init__(self, folder: Path, journal: Journal, *, monthly: bool = False) -> None:
        """monthly: whether the file begins anew with every month. Raises what `mend` does."""
        self._path = folder / FILE_NAME
        self._monthly = monthly
        self._month = ""  # when that was looked at
        self._journal = journal
        self._fd = -1
        self._size = 0
        self.synced = 0
        self.mend()

    def append(self, rows: Sequence[Published]) -> None:
        """Write rows that the journal holds, and make them durable.

        Raises `OSError` if that fails. The rows are not lost: the next start writes them.
        """
        if not rows:
            return
        if not self._intact():
            log.warning(
                "%s was changed by somebody else; it is mended from the journal", self._path
            )
            self.mend()
            return  # mending wrote these rows too
        data = b"".join(row.line for row in rows)
        rest = data
        while rest:  # in one write, unless the disk is full: then the next one says so
            rest = rest[os.write(self._fd, rest) :]
        sync(self._fd, self._path, os.fdatasync)
        self._size += len(data)
        self.synced = rows[-1].seq

    def mend(self) -> None:
        """Make the file agree with the journal, byte for byte, and be on the disk.

        Raises `OSError`, `StorageError` if this is not the journal of these results, and
        `JournalError` if it is older or damaged: then the file is as it was.
        """
        self.close()
        self._mend_parts()
        last = self._journal.results()
        self._mend(self._path, self._journal.last_part(), None)
        self._open()
        self.synced = last
        self._journal.note_synced(last)

    def turn(self, month: str) -> None:
        """Begin a new file if the rows of the present one are of an earlier month.

        month: as 2026-12. Raises what `mend` does.
        """
        if not self._monthly or month == self._month:
            return
        self._month = month
        before = self._journal.open_month()
        if not before or before >= month:
            return
        if not self._intact():
            self.mend()
        self._journal.note_part(self._free_name(before))
        self.close()
        self._close_part(self._journal.parts()[-1])
        self._open()
        log.info("%s begins anew; the rows so far are in %s",
                 self._path, self._journal.parts()[-1].name)  # fmt: skip

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size

    def _mend_parts(self) -> None:
        """Make the files of closed months agree, and bring a change of months to its end.

        One that is not there any more was taken away, and stays away.
        """
        for part in self._journal.parts():
            path = self._path.with_name(part.name)
            if not part.is_closed:
                self._close_part(part)
            elif is_same(path, self._path):  # after a rebuild
                begin_anew(self._path)
            elif path.is_file() and not path.is_symlink():  # nothing is written through a link
                self._mend(path, part.after, part.last)

    def _close_part(self, part: Part) -> None:
        path = self._path.with_name(part.name)
        if is_same(path, self._path):
            begin_anew(self._path)
        elif compare(path, self._journal, part.after, part.last).exact:
            pass  # and results.csv, if it is not there, is made
        elif os.path.lexists(path):
            other = self._free_name(PART.fullmatch(part.name)[1])  # type: ignore[index]
            self._journal.rename_part(part.name, other)
            self._close_part(part._replace(name=other))
            return
        else:
            self._mend(self._path, part.after, part.last)
            name_new(self._path, path)
            begin_anew(self._path)
        self._journal.note_closed(part.name)

    def _free_name(self, month: str) -> str:
        taken = [part.name for part in self._journal.parts()]
        return free_name(self._path.parent, month, taken)

    def _mend(self, path: Path, after: int, upto: int | None) -> None:
        """`mend` of one file, which holds the rows after a number, up to one."""
        agreement = compare(path, self._journal, after, upto)
        if agreement.size > len(HEADER) and not self._journal.results():
            raise StorageError(
                f"{path} has rows, and the journal has none: it is not the journal of these "
                "results. Put the state folder back, or make a journal from the results with "
                "`classifyd rebuild`, or move the results elsewhere"
            )
        for _ in self._journal.lines(agreement.last_seq, upto):
            pass  # what is to be written is sound to the end, before anything is cut for it
        if agreement.size > agreement.good and not agreement.rest_is_torn:
            self._refuse_if_newer(path, agreement.good)
            self._set_aside(path)
        if not agreement.exact or agreement.safe < agreement.good:
            # Until the sync below, no row after that is known to be on the disk any more.
            self._journal.unsync(agreement.safe_seq)
            self._write_from(path, agreement, upto)
        if agreement.size == 0:
            sync_folder(path.parent)  # else the name could be lost in a power cut

    def _refuse_if_newer(self, path: Path, start: int) -> None:
        """A row that was read must not go, even if the journal knows nothing of it."""
        if line := first_unknown(path, self._journal, start):
            raise JournalError(
                f"{path} has rows that the journal does not know, such as {id_of(line)}: the "
                "journal is older, from a backup perhaps, or it was damaged. Put the right state "
                "folder back, or make a journal from results.csv with `classifyd rebuild`"
            )

    def _write_from(self, path: Path, agreement: Agreement, upto: int | None) -> None:
        """Write what is wrong or missing, and anew what may not be on the disk."""
        # Not to append: the rows that are right already are written over themselves.
        missing = 0
        path.touch()
        with path.open("r+b") as file:
            if not agreement.exact:
                file.truncate(agreement.good)
            file.seek(agreement.safe)
            if not agreement.safe:
                file.write(HEADER)
            for seq, line in self._journal.lines(agreement.safe_seq, upto):
                file.write(line)
                missing += seq > agreement.last_seq
            file.flush()
            sync(file.fileno(), path)
        cut = agreement.size - agreement.good
        if missing or cut:
            log.warning(
                "mended %s: kept %d bytes, cut %d, wrote %d lines",
                path, agreement.good, cut, missing,
            )  # fmt: skip

    def close(self) -> None:
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1

    def _intact(self) -> bool:
        """Whether the name still leads to our file and nobody wrote to it."""
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(there, ours) and ours.st_size == self._size

    def _set_aside(self, path: Path) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = path.with_name(f"{path.name}.damaged-{stamp}")
        try:
            with path.open("rb") as damaged, aside.open("xb") as kept:
                shutil.copyfileobj(damaged, kept)
                kept.flush()
                sync(kept.fileno(), aside)
        except OSError:
            aside.unlink(missing_ok=True)  # half of it would be of no use
            raise
        sync_folder(aside.parent)
        log.warning("%s is not as the journal has it; what was there is kept as %s",
                    path, aside.name)  # fmt: skip
