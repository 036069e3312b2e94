"""Worker processes: batches out, outcomes in; a worker that dies or hangs takes no row with it.

A batch whose worker died is tried again in halves, until the guilty image stands alone; that one
fails, with its reason, and all others are done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from classifier.errors import ImageError, UnsettledError
from classifier.read import read
from daemon.errors import PoolError, StorageError
from daemon.journal import Job, Outcome, content_key, timestamp
from daemon.messages import Channel, Plan, Progress, Ready, Trouble
from daemon.row import Row, escape, row_id
from daemon.signals import STOPPING

log = logging.getLogger(__name__)

# One batch in work and one waiting in the channel: no worker waits for the main process.
BATCHES_A_WORKER = 2
START_SECONDS = 120
END_SECONDS = 2  # for a worker that closed its channel to be gone
MAX_FAILED_STARTS = 3
WORDS_BYTES = 2000  # of what a worker printed, the end is kept
CHUNK_BYTES = 65536

Batch = Sequence[Job]


class _Process:
    """One worker process and what it has in hand, oldest first."""

    def __init__(self, plan: Plan, module: str) -> None:
        ours, theirs = socket.socketpair()
        # Not a file: on a full disk, touching a page of one that is mapped kills the process.
        shared = os.memfd_create("progress")
        try:
            os.ftruncate(shared, Progress.SIZE)
            self.progress = Progress(shared)
            # A Ctrl-C reaches the whole group, a service manager's signal all its processes. The
            # daemon decides what is finished; so a worker is deaf to them from its birth.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
            try:
                self._process = subprocess.Popen(
                    # With -P and this process's own path, no module is taken from the current
                    # folder.
                    [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(shared)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(), shared),
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(shared)
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._words = b""
        ours.setblocking(False)
        self.channel = Channel(ours)
        self.batches: deque[Batch] = deque()
        self.is_ready = False
        self._count = -1
        self._moved_at: float | None = None
        self.channel.send(plan)

    @property
    def events(self) -> Iterator[tuple[int, int]]:
        """What it is to be waited for on, as `selectors` has it."""
        writing = selectors.EVENT_WRITE if self.channel.has_unsent else 0
        yield self.channel.fileno(), selectors.EVENT_READ | writing
        yield self._output, selectors.EVENT_READ

    def send(self, batch: Batch, now: float) -> None:
        if not self.batches:
            self._moved_at = now
        self.batches.append(batch)
        self.channel.send(batch)

    def answers(self, now: float) -> Iterator[Any]:
        """What it has to say. Raises `EOFError` if it ended."""
        self._listen()
        self.channel.flush()
        for answer in self.channel.received():
            self._moved_at = now
            yield answer

    def stood_still(self, now: float) -> float:
        """Seconds since it last got ahead with what it has in hand."""
        if self._moved_at is None or self._count != self.progress.count:
            self._count, self._moved_at = self.progress.count, now
        return now - self._moved_at

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> tuple[int, str]:
        """Reap it; its exit code and its last words."""
        self.channel.close()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._listen()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.progress.close()
        return code, self._words.decode(errors="replace").strip()

    def _listen(self) -> None:
        """Take what libraries print, and the traceback of a crash: a full pipe would block it."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):  # one that does nothing but print must not hold us up
                if not (chunk := os.read(self._output, CHUNK_BYTES)):
                    return
                self._words = (self._words + chunk)[-WORDS_BYTES:]


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
        self._processes: list[_Process] = []
        try:
            for _ in range(workers):
                self._processes.append(self._started())
        except BaseException:
            self.close()
            raise

    @property
    def events(self) -> list[tuple[int, int]]:
        """What to wait for, as `selectors` has it: then there is something to collect."""
        return [event for process in self._processes for event in process.events]

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
        for process in list(self._processes):
            try:
                for answer in process.answers(now):
                    yield from self._taken(process, answer)
            except EOFError:
                yield from self._replace(process)
                continue
            limit = self._image_seconds if process.is_ready else START_SECONDS
            if (process.batches or not process.is_ready) and process.stood_still(now) > limit:
                process.kill()
                yield from self._replace(process, hung_for=limit)
        while self._again and (free := [p for p in self._processes if not p.batches]):
            free[0].send(self._again.popleft(), now)

    def close(self) -> None:
        """End the workers. Batches in hand are given up; the journal still has them."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.end()
        self._processes = []

    def _started(self) -> _Process:
        try:
            return _Process(self._plan, self._module)
        except OSError as error:
            raise PoolError(
                f"a worker process could not be started: {error.strerror}. Nothing is lost: give "
                "the machine room, or set fewer `workers:` in config.yaml, and start again"
            ) from None

    def _taken(self, process: _Process, answer: Any) -> Iterator[list[Outcome]]:
        if isinstance(answer, Ready):
            process.is_ready = True
            self._failed_starts = 0
        elif isinstance(answer, Trouble):
            raise StorageError(f"{answer.message}. Nothing is lost: mend the disk and start again")
        else:
            self._accused.difference_update(job.seq for job in process.batches.popleft())
            yield answer

    def _replace(self, process: _Process, hung_for: float = 0) -> Iterator[list[Outcome]]:
        """A new process in the place of one that ended; its work is tried again, its oldest batch
        in halves. An image that was alone in there twice has failed."""
        self._processes.remove(process)
        code, words = process.end()
        end = f"made no progress for {hung_for:g} s" if hung_for else f"ended: {_cause(code)}"
        if not process.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                last = words.splitlines()[-1] if words else f"it {end}"
                raise PoolError(f"the worker processes do not come up: {last}")
        count = sum(map(len, process.batches))
        log.warning(
            "a worker %s; a new one takes its place%s%s",
            end,
            f"; images to try again: {count}" if count else "",
            f". Its last words:\n{words}" if words else "",
        )
        self._processes.append(self._started())

        suspect: Batch = ()
        if process.is_ready and process.batches:  # before, it cannot have looked at an image
            suspect = process.batches.popleft()
        self._again.extend(process.batches)
        if len(suspect) > 1:
            half = len(suspect) // 2
            self._again.extend([suspect[:half], suspect[half:]])
        elif suspect and suspect[0].seq not in self._accused:
            # Somebody may have killed the worker; an image is guilty if it happens again.
            self._accused.add(suspect[0].seq)
            self._again.append(suspect)
        elif suspect:
            self._accused.remove(suspect[0].seq)
            reason = f"the decoder crashed on this image ({_cause(code)})"
            if hung_for:
                reason = f"decoding took longer than {hung_for:g} s"
            elif code == -signal.SIGKILL:
                reason = "the process that decoded it was killed, perhaps for want of memory"
            yield [self._guilty(suspect[0], reason)]

    def _guilty(self, job: Job, reason: str) -> Outcome:
        sha256 = signature = None
        try:
            # Without its digest, the same bytes written once more would be news.
            content = read(job.path, self._plan.max_bytes)
        except UnsettledError:
            return Outcome(job, unsettled=True)
        except ImageError:
            pass  # it is gone meanwhile
        else:
            sha256, signature = content.sha256, content.signature
            if signature != job.signature:  # these bytes are not the guilty ones
                return Outcome(job, signature, unsettled=True)
            if sha256 in job.known:
                return Outcome(job, signature)
        model = self._plan.program.digest[:12]
        row = Row(
            id=row_id(job.path, content_key(sha256, job.signature), model, job.attempt),
            path=escape(job.path),
            label="",
            confidence="",
            alternatives="",
            status="failed",
            reason=reason,
            width=None,
            height=None,
            bytes=(signature or job.signature).size,
            sha256=sha256 or "",
            model=model,
            seen_at=job.seen_at,
            classified_at=timestamp(),
            thumbnail="",
        )
        return Outcome(job, signature, row)


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
