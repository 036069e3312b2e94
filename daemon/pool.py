"""Worker processes: batches out, outcomes in; a worker that dies or hangs takes no row with it.

A batch whose worker died is tried again in halves, until the guilty image stands alone; that one
fails, with its reason, and all others are done.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import IO, Any

from daemon.errors import PoolError, StorageError
from daemon.journal import Job, Outcome, content_key, timestamp
from daemon.messages import Plan, Progress, Ready, Trouble
from daemon.row import Row, escape, row_id

log = logging.getLogger(__name__)

# One batch in work and one waiting in the pipe: no worker waits for the main process.
BATCHES_A_WORKER = 2
START_SECONDS = 120
MAX_FAILED_STARTS = 3

Batch = Sequence[Job]


class _Process:
    """One worker process and what it has in hand, oldest first."""

    def __init__(self, plan: Plan, module: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as progress:
            progress.truncate(Progress.SIZE)
            # What libraries print, and the traceback of a crash: read when the worker has died.
            self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), str(progress.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=(theirs.fileno(), progress.fileno()),
            )
            self.progress = Progress(progress.fileno())
        self.pipe: Connection = Connection(ours.detach())
        self.batches: deque[Batch] = deque()
        self.is_ready = False
        self._count = -1
        self._moved_at = 0.0
        with contextlib.suppress(BrokenPipeError):  # it died at once; `collect` sees it
            self.pipe.send(plan)

    def send(self, batch: Batch, now: float) -> None:
        if not self.batches:
            self._moved_at = now
        self.batches.append(batch)
        with contextlib.suppress(BrokenPipeError):  # it is dead; `collect` sees that and puts back
            self.pipe.send(batch)

    def stood_still(self, now: float) -> float:
        """Seconds since it last got ahead with what it has in hand."""
        if self._count != (count := self.progress.count) or not self._moved_at:
            self._count, self._moved_at = count, now
        return now - self._moved_at

    def moved(self, now: float) -> None:
        self._moved_at = now

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> tuple[int, str]:
        """Reap it; its exit code and its last words."""
        self.pipe.close()
        code = self._process.wait()
        self._stderr.seek(0)
        words = self._stderr.read()[-2000:].decode(errors="replace").strip()
        self._stderr.close()
        self.progress.close()
        return code, words


class Pool:
    """`submit` batches while there is `room`; `collect` what came back."""

    def __init__(
        self, plan: Plan, workers: int, image_seconds: float, module: str = "daemon.worker"
    ) -> None:
        """image_seconds: a worker that is at one image for longer is taken to hang.
        module: what a worker process runs."""
        self._plan = plan
        self._image_seconds = image_seconds
        self._module = module
        self._failed_starts = 0
        self._again: deque[Batch] = deque()  # of workers that died
        self._accused: set[int] = set()  # jobs whose worker died while they were alone with it
        self._processes = [self._started() for _ in range(workers)]

    @property
    def pipes(self) -> list[Connection]:
        """What to wait on: readable when there is something to collect."""
        return [process.pipe for process in self._processes]

    @property
    def in_hand(self) -> set[bytes]:
        """The paths that are being worked on."""
        batches = [*self._again, *(batch for p in self._processes for batch in p.batches)]
        return {job.path for batch in batches for job in batch}

    @property
    def idle_workers(self) -> int:
        """How many would begin a new batch at once."""
        return 0 if self._again else sum(not process.batches for process in self._processes)

    @property
    def room(self) -> bool:
        """Whether a full batch can be taken."""
        return not self._again and any(
            len(process.batches) < BATCHES_A_WORKER for process in self._processes
        )

    def submit(self, batch: Batch, now: float) -> None:
        """Give a batch to the worker with the least to do."""
        min(self._processes, key=lambda process: len(process.batches)).send(batch, now)

    def collect(self, now: float) -> Iterator[list[Outcome]]:
        """Batches that are done. Replaces workers that died or hang, and tries their work again.

        Raises `StorageError` if a worker could not write, `PoolError` if no worker comes up.
        """
        for index, process in enumerate(self._processes):
            yield from self._received(process, now)
            limit = self._image_seconds if process.is_ready else START_SECONDS
            if (process.batches or not process.is_ready) and process.stood_still(now) > limit:
                log.warning("a worker made no progress for %g s and is replaced", limit)
                process.kill()
                yield from self._replace(index, f"took longer than {limit:g} s to decode")
        while self._again and (free := [p for p in self._processes if not p.batches]):
            free[0].send(self._again.popleft(), now)

    def close(self) -> None:
        """End the workers. Batches in hand are given up; the journal still has them."""
        for process in self._processes:
            process.kill()
            process.end()
        self._processes = []

    def _started(self) -> _Process:
        return _Process(self._plan, self._module)

    def _received(self, process: _Process, now: float) -> Iterator[list[Outcome]]:
        try:
            while process.pipe.poll():
                answer: Any = process.pipe.recv()
                process.moved(now)
                if isinstance(answer, Ready):
                    process.is_ready = True
                    self._failed_starts = 0
                elif isinstance(answer, Trouble):
                    raise StorageError(
                        f"{answer.message}. Nothing is lost: mend the disk and start again"
                    )
                else:
                    self._accused.difference_update(job.seq for job in process.batches.popleft())
                    yield answer
        except (EOFError, ConnectionResetError):
            index = self._processes.index(process)
            yield from self._replace(index, "crashed the decoder")

    def _replace(self, index: int, what: str) -> Iterator[list[Outcome]]:
        """A new process in the place of one that ended; its work is tried again, its oldest batch
        in halves. An image that was alone in there has failed."""
        process = self._processes[index]
        code, words = process.end()
        if code < 0:
            with contextlib.suppress(ValueError):
                what += f" ({signal.Signals(-code).name})" if code != -signal.SIGKILL else ""
        if not process.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                last = words.splitlines()[-1] if words else f"exit code {code}"
                raise PoolError(f"the worker processes do not come up: {last}")
        log.warning("a worker ended with exit code %d%s", code, f": {words}" if words else "")
        suspect, *others = process.batches or [()]
        self._again.extend(others)
        if len(suspect) > 1:
            half = len(suspect) // 2
            self._again.extend([suspect[:half], suspect[half:]])
        elif suspect and suspect[0].seq not in self._accused:
            # Somebody may have killed the worker; an image is guilty if it happens again.
            self._accused.add(suspect[0].seq)
            self._again.append(suspect)
        elif suspect:
            self._accused.remove(suspect[0].seq)
            yield [self._guilty(suspect[0], f"the image {what}")]
        self._processes[index] = self._started()

    def _guilty(self, job: Job, reason: str) -> Outcome:
        model = self._plan.program.digest[:12]
        content = content_key(None, job.signature)
        row = Row(
            id=row_id(job.path, content, model, job.attempt),
            path=escape(job.path),
            label="",
            confidence="",
            alternatives="",
            status="failed",
            reason=reason,
            width=None,
            height=None,
            bytes=job.signature.size,
            sha256="",
            model=model,
            seen_at=job.seen_at,
            classified_at=timestamp(),
            thumbnail="",
        )
        return Outcome(job, None, row)
