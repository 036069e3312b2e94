"""One worker process as the pool sees it: started, given batches, listened to, ended."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from daemon.answers import BASE_BYTES, IMAGE_BYTES
from daemon.jobs import Job
from daemon.messages import Channel, Phase, Plan, Progress
from daemon.signals import STOPPING

log = logging.getLogger(__name__)

END_SECONDS = 2  # for a worker that closed its channel to be gone
WORDS_BYTES = 2000  # of what a worker printed, the end is kept
CHUNK_BYTES = 65536
MAX_ANSWERS = 4  # that it got ready, and two batches

Batch = Sequence[Job]


class WorkerProcess:
    """One worker process and what it has in hand, oldest first."""

    def __init__(self, plan: Plan, module: str) -> None:
        ours, theirs = socket.socketpair()
        # Not a file: on a full disk, touching a page of one that is mapped kills the process.
        shared = os.memfd_create("progress", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(shared, Progress.SIZE)
            # If it could be made shorter there, looking at it here would be fatal.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, seals)
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
        self._is_mute = False  # it closed its output
        ours.setblocking(False)
        self.channel = Channel(ours)
        self.batches: deque[Batch] = deque()
        self.is_ready = False
        self.folder: tuple[int, int] | None = None  # that it may write to, when it got ready
        self.images = 0  # done by it
        self.is_given_up = False  # it was killed as it waited for its disk, and may wait still
        self._seen: tuple[int, int] = (-1, Phase.WORKING)
        self._moved_at: float | None = None
        self.channel.send(plan)

    @property
    def events(self) -> Iterator[tuple[int, int]]:
        """What it is to be waited for on, as `selectors` has it."""
        writing = selectors.EVENT_WRITE if self.channel.has_unsent else 0
        yield self.channel.fileno(), selectors.EVENT_READ | writing
        if not self._is_mute:
            yield self._output, selectors.EVENT_READ

    def send(self, batch: Batch) -> None:
        if not self.batches:
            self._moved_at = None  # from the next look on: the pool, too, may wait for a disk
        self.batches.append(batch)
        self.channel.max_bytes = BASE_BYTES + IMAGE_BYTES * max(map(len, self.batches))
        self.channel.send(batch)

    def answers(self, now: float) -> Iterator[bytes]:
        """What it has to say, to be `understood`. Raises `EOFError` if it ended."""
        self._listen()
        self.channel.flush()
        # Never more at a time than there can be, or one that talks on would stop everything else.
        for answer in islice(self.channel.received(), MAX_ANSWERS):
            self._moved_at = now
            yield answer

    def stood_still(self, now: float) -> float:
        """Seconds since it last got ahead with what it has in hand."""
        if self._moved_at is None or self._seen != self.progress.seen:
            self._seen, self._moved_at = self.progress.seen, now
        return now - self._moved_at

    @property
    def phase(self) -> int:
        """What it was at when `stood_still` last looked."""
        return self._seen[1]

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> tuple[int, str]:
        """Reap it; its exit code and its last words."""
        self.channel.close()
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._killed()
        self._listen()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.progress.close()
        return code, self._words.decode(errors="replace").strip()

    def _killed(self) -> int:
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning(
                "process %d cannot be ended: it waits for a disk or a share. It is left alone",
                self._process.pid,
            )
            return -signal.SIGKILL

    def _listen(self) -> None:
        """Take what libraries print, and the traceback of a crash: a full pipe would block it."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):  # one that does nothing but print must not hold us up
                if not (chunk := os.read(self._output, CHUNK_BYTES)):
                    self._is_mute = True  # or we would be told so for ever
                    return
                self._words = (self._words + chunk)[-WORDS_BYTES:]
