"""An inbox, a journal and a sorter, with real files and no model: images are done by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

from classifier.read import Signature
from daemon.census import Priority
from daemon.jobs import Job, Outcome, Sighting, identifier, timestamp
from daemon.journal import Journal
from daemon.row import Row, escape
from daemon.sorter import Sorter
from daemon.sorting import Sorting
from daemon.troubles import Kind, Troubles

ALL = 1 << 60
MODEL = "0123456789ab"


class Bench:
    """`put` an image into the inbox, have it `done`, and `sort`."""

    def __init__(self, folder: Path, to: Path | None = None) -> None:
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.to = to or folder / "sorted"
        (folder / "state").mkdir()
        self.state = folder / "state"
        self.troubles = Troubles()
        self.now = 0.0
        self.open()

    def open(self) -> None:
        """As at the start of the daemon."""
        self.journal = Journal.open(self.state)
        self.journal.sorting = Sorting(
            bytes(self.inbox), f"{self.to}/{{label}}", f"{self.to}/failed"
        )
        self.sorter = Sorter(self.journal, self.troubles, lambda: ALL)

    def reopen(self) -> None:
        self.journal.close()
        self.open()

    def put(self, name: str | bytes, content: bytes = b"an image") -> Path:
        path = self.inbox / (
            name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        )
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
        return path

    def done(self, path: Path, label: str = "cat", status: str = "classified") -> Row | None:
        """See a file and note what came of it; its row, if that is a new one."""
        sighting = Sighting(bytes(path), Signature.of(path.stat()), len(bytes(self.inbox)))
        self.journal.enqueue([sighting], Priority.LIVE)
        (job,) = [job for job in self.journal.claim(100, ()) if job.path == bytes(path)]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if sha256 in job.known:
            self.journal.finish([Outcome(job, sha256=sha256)], 0)
            return None
        row = row_of(job, sha256, label, status)
        self.journal.finish([Outcome(job, row=row)], 0)
        return row

    def sort(self) -> None:
        self.now += 100
        self.sorter.tick(self.now, [])

    def came(self, name: str | bytes, label: str = "cat", content: bytes = b"an image") -> Path:
        path = self.put(name, content)
        self.done(path, label)
        return path

    @property
    def files(self) -> dict[str, bytes]:
        """Every file there is, hidden ones too, but for the state."""
        return {
            str(path.relative_to(base)): path.read_bytes()
            for base in (self.inbox.parent, self.to.parent)
            for path in sorted(base.rglob("*"))
            if path.is_file() and not path.is_relative_to(self.state)
        }

    @property
    def trouble(self) -> str:
        return self.troubles.text(Kind.UNMOVED)


def row_of(job: Job, sha256: str, label: str, status: str) -> Row:
    failed = status == "failed"
    return Row(
        id=identifier(job, sha256, MODEL), path=escape(job.path),
        label="" if failed else label, confidence="" if failed else "0.9000", alternatives="",
        status=status, reason="it is torn" if failed else "", width=1, height=1,
        bytes=job.signature.size, sha256=sha256, model=MODEL, seen_at=job.seen_at,
        classified_at=timestamp(), thumbnail="",
    )  # fmt: skip
