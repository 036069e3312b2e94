"""What is logged, and how it looks on standard error: for people, as key=value, or as JSON.

Whatever stands in a message, it does nothing to a terminal and makes no line of its own that could
pass for one of ours.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import NamedTuple, TextIO

from daemon.row import shown

# Of the journal of systemd; see sd-daemon(3).
PRIORITIES = {
    logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2,
}  # fmt: skip
FOLD_SECONDS = 60.0
MAX_FOLDED = 100  # messages that are remembered


def set_up(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Log to standard error from now on, whatever was set up before.

    form: text, logfmt, json or auto, which is text on a terminal and logfmt elsewhere.
    """
    stream = stream or sys.stderr
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, Folding):
            root.removeHandler(handler)
            handler.close()
    if stream is not None:  # as with `2>&-`
        handler = Folding(stream)
        handler.setFormatter(Form(chosen(form, stream), in_journal=is_journal(stream)))
        root.addHandler(handler)
    root.setLevel(level.upper())


def chosen(form: str, stream: TextIO) -> str:
    """What `auto` is, for a stream."""
    return form if form != "auto" else "text" if stream.isatty() else "logfmt"


def is_journal(stream: TextIO) -> bool:
    """Whether systemd's journal reads it: then it adds the time, and wants priorities."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class Form(logging.Formatter):
    """How one message looks. in_journal: with its priority, and without the time."""

    def __init__(self, form: str, *, in_journal: bool = False) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self._form = form
        self._in_journal = in_journal

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        text = shown(message)
        at = "" if self._in_journal else self.formatTime(record, self.datefmt) + "Z"
        if self._form == "json":
            fields = {"level": record.levelname.lower(), "logger": record.name, "msg": text}
            text = json.dumps(({"ts": at} if at else {}) | fields, ensure_ascii=False)
        elif self._form == "logfmt":
            fields = {"level": record.levelname.lower(), "logger": record.name, "msg": text}
            text = " ".join(f"{key}={quoted(value)}" for key, value in
                            (({"ts": at} if at else {}) | fields).items())  # fmt: skip
        else:
            text = f"{at + ' ' if at else ''}{record.levelname:<7} {text}"
        if not self._in_journal:
            return text
        mark = f"<{PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in text.split("\n"))


def quoted(value: str) -> str:
    """A value of logfmt: in quotes unless it is one plain word."""
    if value and all(sign.isalnum() or sign in "._:/+-" for sign in value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class _Fold(NamedTuple):
    """A message that may come again. began: when it was said last, or its repetitions were."""

    record: logging.LogRecord
    began: float
    repeated: int


class Folding(logging.StreamHandler[TextIO]):
    """A warning or an error that comes again and again is said once, and then how often it came."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._folds: dict[tuple[str, str], _Fold] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = record.created
        self.fold(now)
        if record.levelno < logging.WARNING:
            super().emit(record)
            return
        try:
            key = record.name, record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit
            super().emit(record)  # which says so
            return
        if (fold := self._folds.get(key)) is not None:
            self._folds[key] = fold._replace(repeated=fold.repeated + 1)
            return
        while len(self._folds) >= MAX_FOLDED:
            self._say(self._folds.pop(next(iter(self._folds))), now)
        self._folds[key] = _Fold(record, now, 0)
        super().emit(record)

    def fold(self, now: float) -> None:
        """Say how often messages have come again whose time is up. now: seconds since 1970."""
        for key, fold in list(self._folds.items()):
            if not 0 <= now - fold.began < FOLD_SECONDS:
                del self._folds[key]
                if fold.repeated:
                    self._say(fold, now)
                    self._folds[key] = _Fold(fold.record, now, 0)

    def close(self) -> None:
        now = time.time()
        folds, self._folds = self._folds, {}
        for fold in folds.values():
            self._say(fold, now)
        super().close()

    def _say(self, fold: _Fold, now: float) -> None:
        if not fold.repeated:
            return
        before = fold.record
        text = f"repeated {fold.repeated:,} times in {now - fold.began:.0f} s: "
        super().emit(
            logging.LogRecord(
                before.name, before.levelno, before.pathname, before.lineno,
                "%s%s", (text, before.getMessage()), None,
            )
        )  # fmt: skip


def fold() -> None:
    """Let nobody wait for how often the last error came again: called now and then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Folding):
            handler.acquire()
            try:
                handler.fold(time.time())
            finally:
                handler.release()


def complain(message: str, form: str = "auto") -> None:
    """The last words of a command: a line after the program's name, several below it."""
    if sys.stderr is None:  # as with `2>&-`
        return
    lines = shown(message).split("\n")
    text = "classifyd: " + "\n  ".join(lines if len(lines) == 1 else ["", *lines])
    if form == "json":
        fields = {"level": "error", "logger": "classifyd", "msg": shown(message)}
        text = json.dumps(fields, ensure_ascii=False)
    mark = "<3>" if is_journal(sys.stderr) else ""
    sys.stderr.write("".join(f"{mark}{line}\n" for line in text.split("\n")))
