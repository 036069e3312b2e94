"""Runs classifyd with `faults.c` loaded: what it changes under one folder is logged."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from unittest import SkipTest

from trials.disk import MAPPED, Operation, Record, read_log
from trials.subject import Subject

SOURCE = Path(__file__).with_name("faults.c")
STATE = struct.Struct("=QQQQQ")  # as `struct state`


def built(folder: Path) -> Path:
    """The library to be loaded. Raises `SkipTest` where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise SkipTest("there is no C compiler `cc` to make faults.so with")
    library = folder / "faults.so"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class Then(IntEnum):
    """What comes of an fsync that fails."""

    IT_IS_TOLD = 0
    IT_IS_HIDDEN = 1  # as if it had been tried again, and believed
    ALL_ARE_KILLED = 2


class Recording:
    """What processes that belong to a subject do to its home, from now on."""

    def __init__(self, library: Path, subject: Subject) -> None:
        self._log, self._state = subject.folder / "faults.log", subject.folder / "faults.state"
        self._state.write_bytes(bytes(STATE.size))
        subject.variables.update(
            LD_PRELOAD=str(library),
            FAULTS_ROOT=str(subject.home.resolve()),
            FAULTS_LOG=str(self._log),
            FAULTS_STATE=str(self._state),
        )

    def fail_fsync(self, number: int, then: Then) -> None:
        """The one of this number, from now on, fails."""
        self._change(lambda records, fsyncs: (records, fsyncs, fsyncs + number, then, 0))

    def kill_soon(self, records: int) -> None:
        """All processes die so many records from now on."""
        self._change(lambda done, fsyncs: (done, fsyncs, 0, 0, done + records))

    def fail_no_more(self) -> None:
        self._change(lambda records, fsyncs: (records, fsyncs, 0, 0, 0))

    def _change(self, change: Callable[[int, int], tuple[int, ...]]) -> None:
        with self._state.open("r+b") as file, mmap.mmap(file.fileno(), STATE.size) as state:
            now = STATE.unpack(state[:])
            # Not the counters: processes may be at work.
            state[16:] = STATE.pack(*change(*now[:2]))[16:]

    def records(self) -> list[Record]:
        """Raises `AssertionError` if something was done that the log does not tell of."""
        records = read_log(self._log)
        for record in records:
            if record.operation == Operation.UNSEEN:
                known = record.first == b"mmap" and record.second.endswith(MAPPED)
                assert known, f"faults.c cannot follow this: {record}"
        return records
