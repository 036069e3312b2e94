"""The one judge of all trials of the promise: what has to hold when `run --once` has ended."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from daemon.row import HEADER, Row, unescape
from trials.subject import Subject

THUMBNAIL_SIZE = 256


class BrokenPromiseError(AssertionError):
    """Rows are missing, changed or there twice, or a thumbnail is. What a control has to raise."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise BrokenPromiseError(what)


def judge(subject: Subject, seen: bytes = b"") -> int:
    """Raises `BrokenPromiseError`; else how many rows there are.

    seen: the longest beginning of results.csv, in whole lines, that anybody saw before.
    """
    text = subject.csv.read_bytes() if subject.csv.exists() else b""
    hold(text.startswith(HEADER), "results.csv does not begin with its header")
    hold(text.endswith(b"\r\n") and text.count(b"\n") == text.count(b"\r\n"), "a line is torn")
    hold(text.startswith(seen), _difference(seen, text))
    rows = list(csv.DictReader(text.decode().splitlines()))
    hold(len(rows) == text.count(b"\r\n") - 1, "there are lines that are no rows")
    hold(all(set(row) == set(Row._fields) for row in rows), "a row has other columns")
    _once("id", [row["id"] for row in rows])
    _once("path and content", [(row["path"], row["sha256"]) for row in rows])
    contents: dict[str, list[str]] = {}
    for row in rows:
        path = unescape(row["path"]).decode()
        name = Path(path).name
        hold(row["status"] == "classified", f"{name}: {row['status']}: {row['reason']}")
        hold(row["sha256"] in subject.contents.get(path, ()), f"{name} never had such a content")
        contents.setdefault(path, []).append(row["sha256"])
        _whole(subject.results / row["thumbnail"])
    for path, ever in subject.contents.items():
        hold(ever[-1] in contents.get(path, ()), f"{Path(path).name} has no row for what it holds")
    verified = subject.finished("verify")
    hold(verified.process.returncode == 0, f"verify says:\n{verified.output}")
    return len(rows)


def hold_what_counts_as_synced(subject: Subject, live: bytes) -> None:
    """Before a start that would mend it: of what the journal calls synced, results.csv lacks
    nothing that stood there when the power went. Raises `BrokenPromiseError`."""
    with tempfile.TemporaryDirectory() as folder:
        for path in subject.state.glob("journal.sqlite*"):  # to read it is to change it
            shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder) / "journal.sqlite")) as journal:
            try:
                ((synced,),) = journal.execute("SELECT synced FROM outbox")
                lines = journal.execute(
                    "SELECT line FROM results WHERE seq <= ? ORDER BY seq", [synced]
                )
                rows = HEADER + b"".join(line for (line,) in lines)
            except sqlite3.DatabaseError:
                return  # it was not begun yet, or is damaged: the start shows it
    if synced and live.startswith(rows):  # else somebody had cut it just before
        text = subject.csv.read_bytes() if subject.csv.exists() else b""
        hold(text.startswith(rows), f"{synced} rows count as synced: {_difference(rows, text)}")


def _once(what: str, values: list[object] | list[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    hold(not twice, f"{what} twice: {len(twice)} of them, such as {twice[:1]}")


def _whole(path: Path) -> None:
    """A thumbnail is there, and decodes to a picture of its size."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BrokenPromiseError(f"the thumbnail {path.name} is not there") from None
    hold(data.endswith(b"\xff\xd9"), f"the thumbnail {path.name} is cut short: {len(data)} bytes")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    hold(image is not None, f"the thumbnail {path.name} does not decode")
    assert image is not None
    hold(THUMBNAIL_SIZE in image.shape, f"the thumbnail {path.name} has the size {image.shape}")


def _difference(seen: bytes, text: bytes) -> str:
    for number, (was, there) in enumerate(
        zip(seen.splitlines(), text.splitlines(), strict=False), 1
    ):
        if was != there:
            cells = zip(was.decode().split(","), there.decode().split(","), strict=False)
            changed = " ".join(f"{old} ▸ {new}," for old, new in cells if old != new)
            return f"line {number} is not as it was seen: {changed[:200]}"
    before, now = len(seen.splitlines()), len(text.splitlines())
    return f"{before} lines were seen, {now} are there"


class Reader:
    """Somebody who reads results.csv again and again, and remembers."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.seen = b""
        self.torn = 0  # how often a line was cut short at the end of the file

    def look(self) -> None:
        """Raises `BrokenPromiseError` if what was seen is not there as it was.

        A file that is just being mended may be shorter for a moment.
        """
        try:
            data = self._subject.csv.read_bytes()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.torn += whole != data
        if len(whole) >= len(self.seen):
            hold(whole.startswith(self.seen), _difference(self.seen, whole))
            self.seen = whole
        else:
            hold(self.seen.startswith(whole), _difference(whole, self.seen))
