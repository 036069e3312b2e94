"""The model file may be replaced while its old content serves: the new one is prepared aside."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from classifier.compile import Program
from classifier.errors import CancelledError, ModelError
from daemon.errors import DiskFullError
from daemon.jobs import Outcome
from daemon.row import word
from daemon.troubles import Kind, Troubles

log = logging.getLogger(__name__)

# How often to look whether it is another file; one that is being written is not whole before it
# looks the same twice.
LOOK_SECONDS = 2.0
# A disk that was too full for a new model is tried again.
AGAIN_SECONDS = 60.0
# Programs of others are left alone for so long: somebody may just have made them.
PRUNE_SECONDS = 3600.0

Looks = tuple[int, int, int, int]
UNJUDGED: Looks = (0, 0, 0, 0)  # as no file looks


class Models:
    """A duty of the loop: sees that the file is another, has it judged and compiled by a thread,
    which waits for a process of its own, and hands on what comes of it."""

    def __init__(
        self,
        path: Path,
        judged: Looks | None,
        prepare: Callable[[Callable[[], bool]], Program],
        take: Callable[[Program], None],
        troubles: Troubles,
        wake: Callable[[], None],
    ) -> None:
        """judged: how the file looked when it was judged last.
        prepare: gives the program of the file, if it is good; called in the thread, with what
        asks whether it is wanted no more. take: called by `tick` with a program that is new.
        wake: called when there is something to be done, from the thread."""
        self._path = path
        self._prepare = prepare
        self._take = take
        self._troubles = troubles
        self._wake = wake
        self.judged = judged
        self._changing = judged  # as it looked at the last look
        self._next_look = 0.0
        self._again_at: float | None = None  # when what could not be judged is tried again
        self._thread: threading.Thread | None = None
        self._is_given_up = False
        self._found: Program | ModelError | DiskFullError | None = None

    def look_again(self, path: Path) -> None:
        """Judge the file anew, as it is now, whether it looks as before or not."""
        self._path = path
        self.judged = UNJUDGED
        self._changing = looks(path)
        self._next_look = 0.0
        self._give_up()

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:  # noqa: ARG002
        if self._thread is not None and not self._thread.is_alive():
            self._thread.join()
            self._thread = None
            self._judged(now)
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look(now)

    def next_due(self, now: float) -> float:  # noqa: ARG002
        return self._next_look

    @property
    def is_busy(self) -> bool:
        """Whether a file is being judged, or is about to be."""
        return self._thread is not None or self._changing != self.judged

    def close(self) -> None:
        """Give up what is being prepared."""
        self._give_up()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _look(self, now: float) -> None:
        now_looks, before = looks(self._path), self._changing
        self._changing = now_looks
        is_due = self._again_at is not None and now >= self._again_at
        if now_looks == self.judged and not is_due:
            return
        if now_looks != before:
            self._give_up()  # of what is no more there
            return
        if self._thread is None:
            self.judged, self._again_at = now_looks, None
            self._is_given_up, self._found = False, None
            self._thread = threading.Thread(target=self._judge, name="model", daemon=True)
            self._thread.start()

    def _give_up(self) -> None:
        self._is_given_up = True

    def _judge(self) -> None:
        """In the thread."""
        with suppress(CancelledError):
            try:
                self._found = self._prepare(lambda: self._is_given_up)
            except (ModelError, DiskFullError) as error:
                self._found = error
            except OSError as error:
                self._found = ModelError(f"{self._path}: {error}")
        self._wake()

    def _judged(self, now: float) -> None:
        found, self._found = self._found, None
        if self._is_given_up or found is None:
            return
        if isinstance(found, Program):
            self._troubles.note(Kind.MODEL_REFUSED, "")
            self._take(found)
            return
        if isinstance(found, DiskFullError):
            self._again_at = now + AGAIN_SECONDS
        what = f"the new model is not taken, the one before it serves on: {found}"
        if self._troubles.note(Kind.MODEL_REFUSED, what):
            log.error("%s", what)


def looks(path: Path) -> Looks | None:
    """What tells one file from another, and one that is written over from what it was."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def prune(folder: Path, keep: Collection[str]) -> None:
    """Delete compiled programs that nobody needs any more.

    folder: of all of them. keep: the digests, 64 hex digits, whose programs stay.
    """
    with suppress(OSError):
        for entry in folder.iterdir():
            digest, dash, _ = entry.name.partition("-")
            if len(digest) != 64 or not dash or digest in keep:
                continue
            if time.time() - entry.stat().st_mtime > PRUNE_SECONDS:
                log.info("the compiled program of the model %s is deleted", word(digest, 12))
                shutil.rmtree(entry, ignore_errors=True)
