"""The steps from a file to its row, as points at which a process can be made to die.

Nothing in classifyd knows of them: its methods are wrapped here, from outside, in the process that
`trials.weakened` starts and in its workers. A point is named after the step and what is just done
in it; at `torn`, half of a write is done.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

REACHED = "CLASSIFYD_TRIAL_REACHED"  # the file that gets the name of the point
GROUP = "CLASSIFYD_TRIAL_GROUP"

MAIN = (
    "examine:before", "examine:after",
    "enqueue:before", "enqueue:before-commit", "enqueue:after-commit",
    "claim:before", "claim:after",
    "submit:before", "submit:after",
    "finish:before", "finish:before-commit", "finish:after-commit",
    "append:before", "append:torn", "append:before-fsync", "append:after-fsync", "append:after",
)  # fmt: skip
WORKER = (
    "work:before", "work:decoded", "work:thumbnail-torn", "work:thumbnail-written",
    "work:thumbnails-durable", "work:before-answer", "work:after-answer",
)  # fmt: skip
# Reached only if results.csv is not as the journal has it when the daemon starts.
MEND = (
    "mend:before", "mend:before-set-aside", "mend:set-aside", "mend:truncated", "mend:torn",
    "mend:before-fsync", "mend:after-fsync", "mend:after",
)  # fmt: skip
# Reached only if images are moved when they are done; the copies only on another file system.
MOVE = (
    "begin_moves:before", "begin_moves:after", "carry:before", "carry:after", "sync_target:before",
    "take_away:before", "take_away:after", "sync_source:after", "end_moves:before",
    "end_moves:after",
)  # fmt: skip

_armed, _left = "", 0
_steps: list[str] = []  # that are gone through now, the innermost last


def arm(point: str, count: int) -> None:
    """Die when this point is reached for the count-th time."""
    global _armed, _left
    _armed, _left = point, count
    (_instrument_worker if point in WORKER else _instrument_main)()


def _at(point: str) -> bool:
    """Die here, if asked to."""
    if _is_due(point):
        _die(point)
    return False


def _is_due(point: str) -> bool:
    global _left
    if point != _armed:
        return False
    _left -= 1
    return _left == 0


def _die(point: str) -> None:
    fd = os.open(os.environ[REACHED], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, f"{point}\n".encode())
    os.killpg(int(os.environ[GROUP]), signal.SIGKILL)
    signal.pause()


def _wrap(owner: Any, name: str, step: str, before: str = "before", after: str = "after") -> None:
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        _at(f"{step}:{before}")
        _steps.append(step)
        try:
            value = function(*arguments, **named)
        finally:
            _steps.pop()
        _at(f"{step}:{after}")
        return value

    setattr(owner, name, wrapped)


class _System:
    """The module `os`, as daemon.results is given it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        if _steps and _is_due(f"{_steps[-1]}:torn"):
            os.write(fd, data[: len(data) // 2])
            _die(_armed)
        return os.write(fd, data)


class _File:
    """A results.csv that is being mended."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def truncate(self, size: int) -> None:
        self._file.truncate(size)
        _at("mend:truncated")

    def write(self, data: bytes) -> None:
        if _is_due("mend:torn"):
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            _die("mend:torn")
        self._file.write(data)


class _Connection:
    """A connection of SQLite, with a point on either side of every COMMIT."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *rest: Any) -> Any:
        step = _steps[-1] if _steps else ""
        if statement == "COMMIT":
            _at(f"{step}:before-commit")
        value = self._connection.execute(statement, *rest)
        if statement == "COMMIT":
            _at(f"{step}:after-commit")
        return value


def _instrument_main() -> None:
    from daemon import moving, results
    from daemon.journal import Journal
    from daemon.pool import Pool

    results.os = _System()  # type: ignore[assignment]
    open_journal = Journal.open

    def opened(*arguments: Any, **named: Any) -> Journal:
        journal = open_journal(*arguments, **named)
        journal._db = _Connection(journal._db)  # type: ignore[assignment]
        return journal

    Journal.open = opened  # type: ignore[method-assign]
    for name in ("examine", "enqueue", "claim", "finish", "begin_moves", "end_moves"):
        _wrap(Journal, name, name)
    for name in ("carry", "sync_target", "take_away", "sync_source"):
        _wrap(moving, name, name)
    _wrap(Pool, "submit", "submit")
    _wrap(results.ResultsFile, "append", "append")
    _wrap(results.ResultsFile, "mend", "mend")
    _wrap(results.ResultsFile, "_set_aside", "mend", "before-set-aside", "set-aside")
    sync, open_path = results.sync, Path.open

    def syncing(*arguments: Any, **named: Any) -> None:
        step = _steps[-1] if _steps else ""
        _at(f"{step}:before-fsync")
        sync(*arguments, **named)
        _at(f"{step}:after-fsync")

    def opening(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        file = open_path(self, mode, *rest, **named)
        return _File(file) if mode == "r+b" and _steps[-1:] == ["mend"] else file

    results.sync, Path.open = syncing, opening  # type: ignore[assignment,method-assign]


def _instrument_worker() -> None:
    from classifier.classify import Classifier
    from daemon import messages, worker
    from daemon.album import Album

    # Shut in, it could neither note that a point was reached nor kill its group.
    worker.confine = lambda *_: "nothing"

    def send(self: messages.Channel, message: object) -> None:
        is_answer = isinstance(message, list)
        if is_answer:
            _at("work:before-answer")
        deliver(self, message)
        if is_answer:
            _at("work:after-answer")

    def put(self: Album, name: str, image: bytes) -> None:
        if _is_due("work:thumbnail-torn"):
            write(self, name, image[: len(image) // 2])
            _die("work:thumbnail-torn")
        write(self, name, image)
        _at("work:thumbnail-written")

    def classify(self: Classifier, paths: Sequence[bytes], *rest: Any, **named: Any) -> Any:
        predictions = list(recognise(self, paths, *rest, **named))
        if paths:  # it warms up without any
            _at("work:decoded")
        return predictions

    deliver, messages.Channel.send = messages.Channel.send, send  # type: ignore[method-assign]
    write, Album.put = Album.put, put  # type: ignore[method-assign]
    recognise, Classifier.classify = Classifier.classify, classify  # type: ignore[assignment]
    _wrap(worker.Worker, "work", "work")
    _wrap(Album, "make_durable", "work", "thumbnails-written", "thumbnails-durable")
