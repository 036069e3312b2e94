"""Runs classifyd with `faults.c` loaded: what it changes under one folder is logged."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from trials.disk import Operation, Record, read_log
from trials.subject import Subject

SOURCE = Path(__file__).with_name("faults.c")
STATE = struct.Struct("=QQQQQ")  # records, fsyncs, failing, is_hidden, killing
KILLING = slice(32, 40)
# SQLite maps this one, and makes it anew whenever nobody has the journal open.
MAPPED = b"-shm"


def compiler() -> str | None:
    """A C compiler, without which there is no such trial."""
    return shutil.which(os.environ.get("CC", "cc"))


def built(folder: Path) -> Path:
    """The library to be loaded."""
    library = folder / "faults.so"
    command = [compiler() or "cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class Recording:
    """What processes that belong to a subject do to its home, from now on."""

    def __init__(
        self, library: Path, subject: Subject, failing: int = 0, *, is_hidden: bool = False
    ) -> None:
        """failing: this fsync fails. is_hidden: it is said to have been done all the same."""
        self._log, self._state = subject.folder / "faults.log", subject.folder / "faults.state"
        self._state.write_bytes(STATE.pack(0, 0, failing, is_hidden, 0))
        subject.variables.update(
            LD_PRELOAD=str(library),
            FAULTS_ROOT=str(subject.home.resolve()),
            FAULTS_LOG=str(self._log),
            FAULTS_STATE=str(self._state),
        )

    def kill_soon(self, records: int) -> None:
        """All processes die so many records from now on."""
        with self._state.open("r+b") as file, mmap.mmap(file.fileno(), STATE.size) as state:
            done, *_ = STATE.unpack(state)
            state[KILLING] = (done + records).to_bytes(8, "little")

    def kill_no_more(self) -> None:
        with self._state.open("r+b") as file, mmap.mmap(file.fileno(), STATE.size) as state:
            state[KILLING] = bytes(8)

    def records(self) -> list[Record]:
        """Raises `AssertionError` if something was done that the log does not tell of."""
        records = read_log(self._log)
        for record in records:
            if record.operation == Operation.UNSEEN:
                known = record.first == b"mmap" and record.second.endswith(MAPPED)
                assert known, f"faults.c cannot follow this: {record}"
        return records
