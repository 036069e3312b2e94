"""Ctrl-C or SIGTERM ends a command. What it leaves is looked up then, and told as it is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class _Model:
    """A model file that the command is about to write, and which file it was before."""

    path: Path
    before: tuple[int, int] | None
    checkpoint: Path | None

    def state(self) -> str:
        now = _which(self.path)
        if now != self.before:
            said = f"; {self.path} is the new model already"
        elif now is None:
            said = f"; {self.path} was not written"
        else:
            said = f"; {self.path} is as it was"
        if self.checkpoint is not None and self.checkpoint.exists():
            said += ". The training goes on from its last whole epoch with --resume"
        return said


class Interruption:
    """One command's. Its signals are caught from `watch` on."""

    def __init__(self) -> None:
        self.came = False
        self._model: _Model | None = None

    def watch(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def expect(self, model: Path, checkpoint: Path | None = None) -> None:
        """From now on the command may write this model.

        checkpoint: where it keeps how far it got, if it can go on from there.
        """
        self._model = _Model(model, _which(model), checkpoint)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The threads that feed Keras can keep it from ending: they get some time, no more."""
        self.came = True
        reminder = threading.Timer(GRACE_SECONDS, self.end)
        reminder.daemon = True
        reminder.start()
        raise KeyboardInterrupt

    def end(self) -> None:
        """Say what there is, and end the process with 1."""
        state = self._model.state() if self._model else ""
        print(f"\nclassifyd-train: stopped{state}", file=sys.stderr, flush=True)  # noqa: T201
        # The backend's threads are in the middle of something, and may abort if Python takes
        # itself down around them.
        os._exit(1)


def _which(path: Path) -> tuple[int, int] | None:
    """Another one for another file of that name; None for none. Models are never written in
    place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
