"""results.csv: an outbox. What the journal has decided is made to stand there.

A row is appended after the journal holds it, in one write, and made durable. When the file and the
journal disagree, at the start or because somebody touched the file, the journal is right: the part
that agrees is kept, the rest is set aside and written anew.
"""

from __future__ import annotations

import datetime
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from daemon.errors import StorageError
from daemon.journal import Journal, Published
from daemon.row import HEADER

log = logging.getLogger(__name__)

FILE_NAME = "results.csv"


class Agreement(NamedTuple):
    """How far a results.csv agrees with the journal.

    good: bytes at its start that are as the journal has them, ending with a whole line.
    size: bytes in the file. rest_is_torn: what follows is the beginning of the very next line, as
        a write that was cut short leaves it. complete: no row is missing. last_seq: of the last
        good row.
    """

    good: int
    size: int
    rest_is_torn: bool
    complete: bool
    last_seq: int

    @property
    def exact(self) -> bool:
        return self.complete and self.good == self.size


def compare(path: Path, journal: Journal) -> Agreement:
    """Hold a results.csv against the journal, reading both as streams."""
    header = Published(0, HEADER)
    expected = chain([header], journal.lines())
    good, last_seq = 0, 0
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return Agreement(0, 0, False, False, 0)
    with file:
        size = os.fstat(file.fileno()).st_size
        for seq, line in expected:
            found = file.read(len(line))
            if found != line:
                return Agreement(good, size, line.startswith(found), False, last_seq)
            good += len(line)
            last_seq = seq
    return Agreement(good, size, False, True, last_seq)


class ResultsFile:
    """The open results.csv. Only the process that holds the state lock has one."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._path = folder / FILE_NAME
        self._journal = journal
        self._fd = -1
        self._size = 0
        self.mend()

    def append(self, rows: Sequence[Published]) -> None:
        """Write rows that the journal holds, and make them durable.

        Raises `StorageError` if that fails. The rows are not lost: the next start writes them.
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
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(0, f"only {written} of {len(data)} bytes were written")
            os.fdatasync(self._fd)
        except OSError as error:
            raise self._failed(error) from None
        self._size += len(data)

    def mend(self) -> None:
        """Make the file agree with the journal, byte for byte."""
        self.close()
        try:
            agreement = compare(self._path, self._journal)
            if agreement.size > len(HEADER) and not self._journal.results():
                raise StorageError(
                    f"{self._path} has rows, and the journal has none: it is not the journal of "
                    "these results. Put the state folder back, or move the results elsewhere"
                )
            new = agreement.size == 0
            if agreement.size > agreement.good and not agreement.rest_is_torn:
                self._set_aside()
            self._fd = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
            if not agreement.exact:
                os.ftruncate(self._fd, agreement.good)
                self._size = agreement.good
                missing = self._write(
                    chain(
                        [] if agreement.good else [Published(0, HEADER)],
                        self._journal.lines(agreement.last_seq),
                    )
                )
                os.fsync(self._fd)
                if not new or missing > 1:  # the header alone is how every file begins
                    log.warning(
                        "mended %s: kept %d bytes, cut %d, wrote %d lines",
                        self._path, agreement.good, agreement.size - agreement.good, missing,
                    )  # fmt: skip
            if new:
                sync_folder(self._path.parent)  # else the name could be lost in a power cut
            self._size = os.fstat(self._fd).st_size
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1

    def _write(self, rows: Iterator[Published]) -> int:
        count = 0
        with open(self._fd, "ab", closefd=False) as file:
            for count, row in enumerate(rows, 1):  # noqa: B007
                file.write(row.line)
        return count

    def _intact(self) -> bool:
        """Whether the name still leads to our file and nobody wrote to it."""
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(there, ours) and ours.st_size == self._size

    def _set_aside(self) -> None:
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = self._path.with_name(f"{FILE_NAME}.damaged-{stamp}")
        with self._path.open("rb") as damaged, aside.open("xb") as kept:
            shutil.copyfileobj(damaged, kept)
            kept.flush()
            os.fsync(kept.fileno())
        sync_folder(aside.parent)
        log.warning("%s is not as the journal has it; what was there is kept as %s",
                    self._path, aside.name)  # fmt: skip

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path} could not be written: {error.strerror or error}. Nothing is lost: mend "
            "the disk and start again"
        )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
