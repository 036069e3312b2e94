"""A worker process: one batch, start to end: decode ▸ predict ▸ annotate ▸ findings.

`python -m daemon.worker CHANNEL PROGRESS` is started by `pool`; both are file descriptors. It takes
its plan and then batches from the channel, and answers each with its findings. When the channel is
closed, it ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.durable import sync_folder
from classifier.errors import ImageError, ModelError, UnreadableError, UnsettledError
from classifier.parent import die_with_parent
from classifier.read import read
from daemon.album import Album
from daemon.answers import encoded
from daemon.confine import ComputingTime, confine, identity, used_address_space
from daemon.jobs import Answer, Finding, Job, identifier, thumbnail_of
from daemon.messages import NO_MEMORY, Channel, Phase, Plan, Progress, Ready, Trouble
from daemon.row import THUMBNAILS

if TYPE_CHECKING:
    from classifier.classify import Classifier, Prediction
    from daemon.thumbnail import Thumbnailer

# What decoding takes at most of each pixel allowed: 11 bytes were measured, for a progressive CMYK
# JPEG at full size; one more copy, if EXIF turns it.
PIXEL_BYTES = 16
FILE_COPIES = 3
# For everything else, and for Keras, which lays out its graph anew for each size of batch.
ROOM_BYTES, KERAS_ROOM_BYTES = 1 << 30, 8 << 30
THUMBNAIL_BYTES = 64 << 20  # many times the largest file that a worker has to write


class Worker:
    """Turns jobs into findings with one model."""

    _folder_is: tuple[int, int] | None = None  # of the thumbnails, that may be written to

    def __init__(self, plan: Plan, progress: Progress) -> None:
        # Read by OpenCV when it is imported, so before the imports below.
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(plan.max_pixels)
        # By NumPy, too: no threads that do nothing here, and that Landlock would not reach.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        from classifier.classify import Classifier

        self._plan = plan
        self._progress = progress
        self._classifier: Classifier = Classifier.from_program(plan.program)
        self._at_once = self._images_at_once(plan.image_seconds)
        self._thumbnailer: Thumbnailer | None = None
        if plan.thumbnails != "none":
            # matplotlib makes itself a folder; a service has no home for it. It would make those
            # above it as well: a state folder that was moved away is not to be there once more.
            os.environ.setdefault("MPLCONFIGDIR", f"{_by_descriptor(plan.scratch)}/matplotlib")
            from daemon.thumbnail import Thumbnailer

            self._thumbnailer = Thumbnailer()
        # Keras computes with as many threads as there are processors.
        threads = (os.cpu_count() or 1) if plan.program.litert is None else 1
        self._time = ComputingTime(plan.image_seconds, threads)
        self._folder = plan.results / THUMBNAILS

    def confine(self) -> str:
        """Nothing was looked at yet, and all is loaded: give up all rights but the few needed."""
        folders = []
        if self._thumbnailer is not None:
            with contextlib.suppress(FileExistsError):  # a file may be in the way: `confine` tells
                self._folder.mkdir()
                sync_folder(self._folder.parent)  # or a power cut takes its name
            self._folder_is = identity(self._folder)
            folders.append(self._folder)
        room = PIXEL_BYTES * self._plan.max_pixels + FILE_COPIES * self._plan.max_bytes
        return confine(folders, room + self._room_to_run(), THUMBNAIL_BYTES)

    @property
    def has_lost_its_folder(self) -> bool:
        """Whether the thumbnails folder was made anew: no right goes over from the old one."""
        return self._folder_is is not None and self._folder_is != identity(self._folder)

    def _images_at_once(self, image_seconds: float) -> int:
        """As many as the network can do well within the time for one, after which a worker is
        taken to hang. Raises `ModelError` if it is too slow for that time."""
        self._classifier.warm_up()
        began = time.monotonic()
        self._classifier.warm_up()
        seconds = time.monotonic() - began
        if seconds > image_seconds:
            raise ModelError(
                f"the network takes {seconds:.1f} s for an image on this machine, and "
                f"`limits.image_seconds` allows {image_seconds:g} s: allow more"
            )
        most = max(1, image_seconds / 4 / seconds)
        return max(size for size in self._classifier.batch_sizes if size <= most)

    def _room_to_run(self) -> int:
        """Bytes for the network in all sizes of batch; each keeps its memory."""
        if self._plan.program.litert is None:
            return ROOM_BYTES + KERAS_ROOM_BYTES
        sizes = self._classifier.batch_sizes
        sample = sizes[:2][-1]
        before = used_address_space()
        self._classifier.warm_up(sample)
        return ROOM_BYTES + (used_address_space() - before) * sum(sizes) // sample

    def work(self, jobs: Sequence[Job]) -> list[Finding]:
        """One finding for every job. Raises `OSError` if a thumbnail cannot be written."""
        self._time.renew()
        predictions = self._classifier.classify(
            [job.copy or job.path for job in jobs],
            with_pictures=self._thumbnailer is not None,
            max_bytes=self._plan.max_bytes,
            formats=self._plan.formats,
            roots=[job.root for job in jobs],
            known=[job.known for job in jobs],
            at_once=self._at_once,
            on_file=partial(self._progress.step, Phase.READING),
            on_image=self._step,
        )
        storing = partial(self._step, Phase.STORING)
        with contextlib.closing(Album(self._plan.results, storing)) as album:
            findings = [
                self._finding(job, prediction, album)
                for job, prediction in zip(jobs, predictions, strict=True)
            ]
            storing()
            album.make_durable()
        self._step()
        return findings

    def judge(self, job: Job) -> Finding:
        """Of an image that no worker came back from. It is not decoded any more, only read: without
        its digest, the same bytes written once more would be news."""
        self._progress.step(Phase.READING)
        try:
            content = read(job.copy or job.path, self._plan.max_bytes, job.root)
        except UnsettledError:
            return Finding(job, unsettled=True)
        except ImageError:  # it is gone meanwhile
            return Finding(job, reason=job.verdict)
        finally:
            self._progress.step()
        if content.signature != job.signature:  # these bytes are not the guilty ones
            return Finding(job, unsettled=True, signature=content.signature)
        if content.sha256 in job.known:
            return Finding(job, content.sha256)
        return Finding(job, content.sha256, job.verdict)

    def _step(self, phase: Phase = Phase.WORKING) -> None:
        self._progress.step(phase)
        self._time.renew()

    def _finding(self, job: Job, prediction: Prediction, album: Album) -> Finding:
        sha256, signature, error = prediction.sha256, prediction.signature, prediction.error
        if signature not in (None, job.signature) or isinstance(error, UnsettledError):
            return Finding(job, unsettled=True, signature=signature)
        if sha256 is not None and sha256 in job.known:
            return Finding(job, sha256)
        if error is not None:
            return Finding(job, sha256, str(error), again=isinstance(error, UnreadableError))
        answer = Answer(
            [(prediction.label, prediction.confidence), *prediction.alternatives],
            prediction.unknown,
            prediction.width,
            prediction.height,
        )
        verdict = self._plan.verdict(answer)
        if verdict.is_drawn:
            self._annotate(job, prediction, verdict.uncertain, album)
            self._step()
        return Finding(job, sha256, answer=answer)

    def _annotate(self, job: Job, prediction: Prediction, uncertain: bool, album: Album) -> None:
        """Write the thumbnail.

        The day is that of the sighting: the same work done again writes the same file again.
        """
        assert self._thumbnailer is not None
        assert prediction.picture is not None
        row_id = identifier(job, prediction.sha256, self._plan.model)
        image = self._thumbnailer.render(
            prediction.picture,
            prediction.label,
            prediction.confidence,
            prediction.alternatives,
            uncertain=uncertain,
        )
        self._step(Phase.STORING)
        album.put(thumbnail_of(job, row_id), image)


def _by_descriptor(folder: Path) -> str:
    """A name of the folder itself, wherever it is moved, for as long as this process lives.

    Raises `ModelError` if it is gone.
    """
    try:
        return f"/proc/self/fd/{os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
    except OSError as error:
        raise ModelError(f"{folder}: {error.strerror}") from None


def main(channel_fd: int, progress_fd: int, kind: type[Worker] = Worker) -> None:
    """Serve batches until the channel is closed."""
    die_with_parent()  # or a closed channel tells
    channel = Channel(socket.socket(fileno=channel_fd), encoded)
    try:
        try:
            worker = kind(channel.receive(), Progress(progress_fd))
        except ModelError as error:
            sys.exit(str(error))
        try:
            forces = worker.confine()
        except OSError as error:
            channel.send(Trouble.of(error))
            return
        channel.send(Ready(forces))
        while True:
            jobs = channel.receive()
            answer: list[Finding] | Trouble
            try:
                answer = [worker.judge(jobs[0])] if jobs[0].verdict else worker.work(jobs)
            except OSError as error:
                if worker.has_lost_its_folder:
                    sys.exit("the thumbnails folder is another one now; the next worker opens it")
                answer = Trouble.of(error)
            except MemoryError:
                sys.exit(NO_MEMORY)
            channel.send(answer)
    except EOFError:
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
