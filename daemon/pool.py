"""Worker processes: batches out, outcomes in; a worker that dies or hangs takes no row with it.

A batch whose worker died is tried again in halves, until the guilty image stands alone; that one
fails, with its reason, and all others are done. No image is guilty of a disk that does not answer.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Iterator
from textwrap import indent

from daemon.answers import Listener
from daemon.confine import identity
from daemon.errors import PoolError
from daemon.jobs import Job, Outcome, failed
from daemon.messages import NO_MEMORY, Phase, Plan, Ready, Trouble
from daemon.row import THUMBNAILS
from daemon.worker_process import Batch, WorkerProcess

log = logging.getLogger(__name__)

# One batch in work and one waiting in the channel: no worker waits for the main process.
BATCHES_A_WORKER = 2
START_SECONDS = 120
MAX_FAILED_STARTS = 3
# For one write or fsync of a thumbnail. A disk that writes back much, wakes up or is on the network
# may take minutes; the kernel itself gives a request to a disk 30 s, and up to six tries.
STORE_SECONDS = 300
# A worker that got ahead so lately is at work.
LOOK_SECONDS = 2.0


class Pool:
    """`submit` batches while there is `room`; `collect` what came back."""

    def __init__(
        self,
        plan: Plan,
        workers: int,
        image_seconds: float,
        worker_images: int,
        module: str = "daemon.worker",
    ) -> None:
        """image_seconds: a worker that is at one image for longer is taken to hang; the time to
        store its thumbnail is not counted.
        worker_images: after so many, a worker is replaced by a new one.
        module: what a worker process runs."""
        self._plan = plan
        self._listener = Listener(plan)
        self._folder = plan.results / THUMBNAILS
        self._image_seconds = image_seconds
        self._worker_images = worker_images
        self._module = module
        self._failed_starts = 0
        self._forces = ""  # that keep a worker in
        self._again: deque[Batch] = deque()  # of workers that died
        self._accused: set[int] = set()  # jobs whose worker died while they were alone with it
        self._unconfirmed: set[int] = set()  # jobs whose worker waited for its disk in vain
        self._processes: list[WorkerProcess] = []
        self.restarts = 0  # of workers that died or hung
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
    def in_hand(self) -> list[Job]:
        """The jobs that are being worked on."""
        batches = [*self._again, *(batch for p in self._processes for batch in p.batches)]
        return [job for batch in batches for job in batch]

    @property
    def idle_workers(self) -> int:
        """How many would begin a new batch at once."""
        return 0 if self._again else sum(not process.batches for process in self._serving)

    @property
    def room(self) -> bool:
        """Whether a full batch can be taken."""
        return not self._again and any(
            len(process.batches) < BATCHES_A_WORKER for process in self._serving
        )

    def submit(self, batch: Batch) -> None:
        """Give a batch to the worker with the least to do."""
        min(self._serving, key=lambda process: len(process.batches)).send(batch)

    def collect(self, now: float) -> Iterator[list[Outcome]]:
        """Batches that are done. Replaces workers that died or hang, and tries their work again.

        Raises `OSError` if a worker could not write, `PoolError` if no worker comes up.
        """
        for process in list(self._processes):
            try:
                for answer in process.answers(now):
                    yield from self._taken(process, answer)
            except EOFError:
                yield from self._replace(process)
                continue
            if process.batches or not process.is_ready:
                yield from self._watch(process, now)
            elif self._has_served(process):
                self._retire(process)
        while self._again and (free := [p for p in self._serving if not p.batches]):
            free[0].send(self._again.popleft())

    def close(self) -> None:
        """End the workers. Batches in hand are given up; the journal still has them."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.end()
        self._processes = []

    @property
    def stall(self) -> str:
        """Why images wait that are tried again and again, '' if none does."""
        if not self._unconfirmed:
            return ""
        return f"the disk of {self._plan.results} does not confirm writes"

    @property
    def model(self) -> str:
        """The digits that name the model."""
        return self._plan.model

    @property
    def is_up(self) -> bool:
        """Whether a worker has loaded the model."""
        return any(process.is_ready for process in self._processes)

    def is_moving(self, now: float) -> bool:
        """Whether a worker got ahead with what it has in hand since the last look, or waits for its
        disk, whose patience is counted here; True if nothing is in hand."""
        busy = [process for process in self._processes if process.batches]
        if not busy:
            return not self._again
        return bool(self._unconfirmed) or any(
            process.stood_still(now) < LOOK_SECONDS
            or (process.is_ready and process.phase == Phase.STORING)
            for process in busy
        )

    @property
    def _serving(self) -> list[WorkerProcess]:
        """The workers that get new batches."""
        return [p for p in self._processes if not (self._has_served(p) or p.is_given_up)]

    def _watch(self, process: WorkerProcess, now: float) -> Iterator[list[Outcome]]:
        """Replace a worker that hangs, and end one that waits for its disk for too long."""
        still = process.stood_still(now)
        if process.is_given_up:
            return
        if process.is_ready and process.phase == Phase.STORING:
            if still > STORE_SECONDS:
                self._give_up(process)
            return
        limit = self._image_seconds if process.is_ready else START_SECONDS
        if still > limit:
            process.kill()
            yield from self._replace(process, hung_for=limit)

    def _give_up(self, process: WorkerProcess) -> None:
        """End a worker that waits for its disk. It is replaced when it is gone: the kernel may not
        let it go before the disk answers, and with one more each time they would fill the memory.
        """
        process.is_given_up = True
        process.kill()
        self._unconfirmed.update(job.seq for job in process.batches[0])
        log.error(
            "%s: a worker has waited for %g s and is ended; its images are tried again, none fails "
            "for this, and it goes on by itself",
            self.stall,
            STORE_SECONDS,
        )

    def _has_served(self, process: WorkerProcess) -> bool:
        return process.images >= self._worker_images

    def _retire(self, process: WorkerProcess) -> None:
        """A new process in the place of one that has done its share."""
        self._processes.remove(process)
        process.end()
        log.debug("a worker has done %d images; a new one takes its place", process.images)
        self._processes.append(self._started())

    def _started(self) -> WorkerProcess:
        try:
            return WorkerProcess(self._plan, self._module)
        except OSError as error:
            raise PoolError(
                f"a worker process could not be started: {error.strerror}. Nothing is lost: give "
                "the machine room, or set fewer `workers:` in the configuration, and start again"
            ) from None

    def _taken(self, process: WorkerProcess, data: bytes) -> Iterator[list[Outcome]]:
        batch = process.batches[0] if process.batches else ()
        try:
            answer = self._listener.understood(data, batch)
            if isinstance(answer, Ready) and process.is_ready:
                raise ValueError("it is ready already")
        except (ValueError, RecursionError) as error:
            log.error("a worker said what none of ours says (%s); it is ended", error)
            raise EOFError from None
        if isinstance(answer, Ready):
            process.is_ready = True
            process.folder = identity(self._folder)
            self._failed_starts = 0
            if not self._forces:
                self._forces = answer.forces
                missing = "no Landlock" in answer.forces or "no seccomp" in answer.forces
                level = logging.WARNING if missing else logging.INFO
                log.log(level, "each worker is confined by %s", answer.forces)
        elif isinstance(answer, Trouble):
            raise answer.error
        else:
            process.batches.popleft()
            process.images += len(batch)
            self._accused.difference_update(job.seq for job in batch)
            self._unconfirmed.difference_update(job.seq for job in batch)
            yield answer

    def _replace(self, process: WorkerProcess, hung_for: float = 0) -> Iterator[list[Outcome]]:
        """A new process in the place of one that ended; its work is tried again, its oldest batch
        in halves. An image that was alone in there twice has failed; one that a worker could not
        even read within its time is done for now, as if the system had refused its bytes."""
        self._processes.remove(process)
        self.restarts += 1
        code, words = process.end()
        end = f"made no progress for {hung_for:g} s" if hung_for else f"ended: {_cause(code)}"
        late = bool(hung_for) and process.phase == Phase.READING
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
            # Set off, so that no line of it passes for one of ours.
            ". Its last words:\n" + indent(words, "  | ") if words else "",
        )
        self._processes.append(self._started())

        suspect: Batch = ()
        # Before it was ready, it cannot have looked at an image; and without the folder that it
        # may write to, no worker gets any further, whatever the image. Nor is it the image's fault
        # that a disk does not answer.
        accusing = process.is_ready and not process.is_given_up
        if accusing and process.batches and process.folder == identity(self._folder):
            suspect = process.batches.popleft()
        self._again.extend(process.batches)
        if len(suspect) > 1:
            half = len(suspect) // 2
            self._again.extend([suspect[:half], suspect[half:]])
        elif suspect:
            yield from self._judge(suspect[0], self._reason(code, hung_for, late=late), late=late)

    def _judge(self, job: Job, reason: str, *, late: bool) -> Iterator[list[Outcome]]:
        """What comes next for an image whose worker ended while it was alone with it.

        late: it could not be read within the time."""
        if not job.verdict and job.seq not in self._accused:
            # Somebody may have killed the worker; an image is guilty if it happens again.
            self._accused.add(job.seq)
            self._again.append([job])
            return
        self._accused.discard(job.seq)
        if late or job.verdict:  # not even its bytes could be read, for its digest
            self._unconfirmed.discard(job.seq)
            yield [failed(job, reason if late else job.verdict, self._plan.model, again=late)]
        else:
            self._again.append([job._replace(verdict=reason)])

    def _reason(self, code: int, hung_for: float, *, late: bool) -> str:
        """Why an image fails whose worker ended."""
        if late:
            return f"the file cannot be read: that took longer than {hung_for:g} s"
        if hung_for:
            return f"decoding took longer than {hung_for:g} s"
        if code == -signal.SIGKILL:
            return "the process that decoded it was killed, perhaps for want of memory"
        if code == -signal.SIGXCPU:
            return f"decoding took more than {self._image_seconds:g} s of computing"
        if code == NO_MEMORY:
            return "decoding takes more memory than a worker may have"
        return f"the decoder crashed on this image ({_cause(code)})"


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
