"""What runs on the nodes: a look around, and the actors that classify."""

from __future__ import annotations

import getpass
import logging
import os
import selectors
import shutil
import socket
import stat
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from classifier import compile as compiler
from classifier.compile import Program
from classifier.errors import ImageError, ModelError, UnreadableError
from classifier.read import Signature, too_large
from daemon.cluster import manifest, rows
from daemon.cluster.manifest import Entry
from daemon.cluster.sources import Bucket, is_url
from daemon.cluster.storage import Storage, read_table, write_table
from daemon.errors import DaemonError, SettingsError
from daemon.jobs import Job, Outcome, failed
from daemon.messages import Plan
from daemon.pool import Pool

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5
# A file that changes while it is read is tried again: so often, after so long.
TRIES, SETTLE_SECONDS = 3, 1.0
DONE = pa.schema({"status": pa.string(), "images": pa.int64()})


def unpacked(storage: Storage, digest: str, cache: Path) -> Program:
    """The compiled model of a job, which comes to a node once, whatever actors it has.

    storage: the folder it lies in, named as in the cache. Raises `OSError` or `ModelError`.
    """
    entry = cache / storage.place.rpartition("/")[2]
    if not entry.exists():
        draft = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=cache))
        try:
            for name in storage.names():
                (draft / name).write_bytes(storage.read(name) or b"")
            draft.rename(entry)
        except OSError:
            if not entry.exists():  # else another actor of this node was faster
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    try:
        return compiler.kept(digest, entry)
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{entry}: is not as it was sent ({error}): delete it and start again"
        ) from None


class Order(NamedTuple):
    """What an actor has to know. seen_at: when the images were listed, UTC, ISO 8601."""

    plan: Plan
    job: Storage
    model: Storage  # the folder of the compiled one
    urls: tuple[str, ...]  # of the buckets among the sources
    seen_at: str
    batch: int  # images that a worker process is given at once
    image_seconds: float
    worker_images: int
    module: str  # what a worker process runs


def scratch() -> Path:
    """A folder of this node for what it can make again, this user's alone. Raises `DaemonError`."""
    folder = Path(tempfile.gettempdir()) / f"classifyd-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise DaemonError(f"{folder} on {socket.gethostname()}: is another user's, or open to "
                          "others: delete it")  # fmt: skip
    (folder / "models").mkdir(exist_ok=True)
    return folder


class Look(NamedTuple):
    """What a node is asked for.

    release: of classifyd, that it has to have. folders: that it has to see. marked: files with what
    has to stand in them, which shows that a folder of this name is the same one. urls: buckets that
    it has to be able to list.
    """

    release: str
    folders: tuple[str, ...]
    marked: tuple[tuple[str, str], ...]
    urls: tuple[str, ...]


def look_around(look: Look) -> list[str]:
    """What is wrong with this node, each with what to do."""
    wrong = []
    if (here := version("classifyd")) != look.release:
        wrong.append(f"has classifyd {here}, and this machine {look.release}: install the same")
    for folder in look.folders:
        if not Path(folder).is_dir():
            wrong.append(f"does not see {folder}: mount it there, under the same name")
        elif not os.access(folder, os.R_OK | os.X_OK):
            wrong.append(f"cannot read {folder} as user {getpass.getuser()}")
    for name, content in look.marked:
        try:
            is_same = Path(name).read_text() == content
        except OSError:
            is_same = False
        if not is_same:
            wrong.append(
                f"does not see the {Path(name).parent} of this machine: name a folder on storage "
                "that all nodes share under one name, or, by --output, a bucket"
            )
    for url in look.urls:
        try:
            Bucket(url).look()
        except SettingsError as error:
            wrong.append(str(error))
    return wrong


class Seer:
    """An actor: parts of the manifest ▸ rows, by a pool of one worker process.

    The pool is that of the daemon: a decoder that crashes or hangs takes down that process, and no
    batch and no actor; the guilty image gets its row.
    """

    def __init__(self, order: Order) -> None:
        logging.basicConfig(level=logging.WARNING)
        self._scratch = scratch()
        self._order = order
        digest = order.plan.program.digest
        program = unpacked(order.model, digest, self._scratch / "models")
        self._plan = order.plan._replace(program=program, scratch=self._scratch)
        self._pool = Pool(
            self._plan, 1, order.image_seconds, order.worker_images, order.module
        )  # fmt: skip
        self._buckets = {len(url): Bucket(url) for url in order.urls}

    def __call__(self, parts: pa.Table) -> pa.Table:
        """names of parts ▸ what was done, by status; their rows are in the job's folder by then."""
        counts = Counter[str]()
        for name in parts.column("part").to_pylist():
            entries = manifest.entries(read_table(self._order.job, f"{manifest.FOLDER}/{name}"))
            became = list(self._classified(entries))
            done = rows.table(became)
            # As a whole, and last: a part is done when this file is there.
            write_table(self._order.job, f"{rows.FOLDER}/{name}", done)
            counts.update(done.column("status").to_pylist())
            counts["unsettled"] += len(entries) - len(became)
        return pa.table({"status": [*counts], "images": [*counts.values()]}, schema=DONE)

    def _classified(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Outcome]]:
        """Those that held still."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            waiting = {entry.number: entry for entry in entries}
            for again in range(TRIES):
                if again:
                    time.sleep(SETTLE_SECONDS)
                jobs, unread = self._jobs(list(waiting.values()), Path(folder))
                yield from unread
                moving = {}
                for outcome in self._worked(jobs):
                    entry = waiting[outcome.job.seq]
                    if outcome.unsettled:
                        looks = outcome.signature or entry.signature
                        moving[entry.number] = entry._replace(signature=looks)
                    else:
                        yield entry, outcome
                if not moving:
                    break
                waiting = moving

    def _jobs(
        self, entries: Sequence[Entry], folder: Path
    ) -> tuple[list[Job], list[tuple[Entry, Outcome]]]:
        """What the pool is given; and what has failed without it."""
        jobs, unread = [], []
        for entry in entries:
            number, path, root, signature, known = entry
            job = Job(number, path, signature, 0, self._order.seen_at, known, root)
            if is_url(os.fsdecode(path)):
                try:
                    job = self._fetched(job, folder)
                except ImageError as error:
                    again = isinstance(error, UnreadableError)
                    outcome = failed(job, str(error), self._plan.model, again=again)
                    unread.append((entry, outcome))
                    continue
            jobs.append(job)
        return jobs, unread

    def _fetched(self, job: Job, folder: Path) -> Job:
        """Of an object, with a copy of it here. Raises `ImageError`."""
        if job.signature.size > self._plan.max_bytes:
            raise ImageError(too_large(self._plan.max_bytes))
        copy = folder / uuid.uuid4().hex
        bucket = self._buckets[job.root]
        bucket.fetch(os.fsdecode(job.path[job.root + 1 :]), copy)
        return job._replace(
            copy=os.fsencode(copy),
            signature=Signature.of(copy.stat()),
            root=len(os.fsencode(folder)),
        )

    def _worked(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """By the pool, which is given more as soon as it has room."""
        size = self._order.batch
        batches = deque(jobs[start : start + size] for start in range(0, len(jobs), size))
        while batches or self._pool.in_hand:
            while batches and self._pool.room:
                self._pool.submit(batches.popleft())
            self._wait()
            yield from self._collected()

    def _collected(self) -> Iterator[Outcome]:
        for outcomes in self._pool.collect(time.monotonic()):
            yield from outcomes

    def _wait(self) -> None:
        with selectors.PollSelector() as selector:
            for fd, event in self._pool.events:
                selector.register(fd, event)
            selector.select(WAIT_SECONDS)
