"""What is passed along the line: a sighting is queued, a job is worked on by a worker, which tells
its finding, and an outcome is noted."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

from classifier.read import Signature
from daemon.row import THUMBNAILS, Row, escape, row_id


class Sighting(NamedTuple):
    """A file as a scan or an event found it."""

    path: bytes
    signature: Signature
    root: int = 0  # how much of the path is the watched folder; no link is followed after that


class Job(NamedTuple):
    """An arrival that is to be worked on now."""

    seq: int
    path: bytes
    signature: Signature  # as it was seen
    attempt: int
    seen_at: str
    known: frozenset[str]  # contents (SHA-256) of this path with a row: of many, its present one
    # and some more
    root: int = 0  # how much of the path is the watched folder
    verdict: str = ""  # why it has failed already; it is read once more only for its digest
    copy: bytes = b""  # where its bytes are, if not under its path: of an object in a bucket
    anew: bool = False  # a row of another model makes none of the present one superfluous


class Answer(NamedTuple):
    """What the model says of an image.

    ranking: the most probable classes with their probabilities, most probable first.
    unknown: whether the image looks like none of the classes.
    width, height: of the image, in pixels.
    """

    ranking: Sequence[tuple[str, float]]
    unknown: bool
    width: int
    height: int


class Verdict(NamedTuple):
    """What the user's settings make of an answer: see `Plan.verdict`."""

    uncertain: bool
    reason: str  # why, if not for want of confidence
    is_drawn: bool  # whether it gets a thumbnail


class Finding(NamedTuple):
    """What a worker found out about a job, and nothing that is known without it.

    sha256: of the bytes that were read; None if they could not be. They looked as the job says.
    reason: why the image cannot be classified. answer: if it can. Neither: there is a row for it.
    again, unsettled: see `Outcome`. signature: how an unsettled file looks now, if it can be seen.
    """

    job: Job
    sha256: str | None = None
    reason: str = ""
    answer: Answer | None = None
    again: bool = False
    unsettled: bool = False
    signature: Signature | None = None


class Outcome(NamedTuple):
    """What became of a job.

    signature: how an unsettled file looks now, if it can be seen.
    row: None if this content has one already.
    sha256: of a content that has one already.
    unsettled: the file does not look as it did when it was seen, or was being written; it is to be
        tried again later.
    again: it could not be read; a scan that finds it takes it up once more.
    """

    job: Job
    signature: Signature | None = None
    row: Row | None = None
    sha256: str | None = None
    unsettled: bool = False
    again: bool = False


def failed(
    job: Job, reason: str, model: str, *, sha256: str | None = None, again: bool = False
) -> Outcome:
    """The outcome of a job whose image cannot be classified.

    model: the first 12 hex digits of its digest. sha256: of the bytes, if they were read.
    """
    row = Row(
        id=identifier(job, sha256, model),
        path=escape(job.path),
        label="",
        confidence="",
        alternatives="",
        status="failed",
        reason=reason,
        width=None,
        height=None,
        bytes=job.signature.size,
        sha256=sha256 or "",
        model=model,
        seen_at=job.seen_at,
        classified_at=timestamp(),
        thumbnail="",
    )
    return Outcome(job, row=row, again=again)


def classified(
    job: Job, answer: Answer, model: str, sha256: str, now: str, *, verdict: Verdict
) -> Outcome:
    """The outcome of a job whose image has its answer. now: when that was, as `timestamp` tells."""
    (label, confidence), *others = answer.ranking
    row_id = identifier(job, sha256, model)
    row = Row(
        id=row_id,
        path=escape(job.path),
        label=label,
        confidence=f"{confidence:.4f}",
        alternatives=" ".join([f"{name}:{share:.2f}" for name, share in others]),
        status="uncertain" if verdict.uncertain else "classified",
        reason=verdict.reason,
        width=answer.width,
        height=answer.height,
        bytes=job.signature.size,
        sha256=sha256,
        model=model,
        seen_at=job.seen_at,
        classified_at=now,
        thumbnail=thumbnail_of(job, row_id) if verdict.is_drawn else "",
    )
    return Outcome(job, row=row)


def identifier(job: Job, sha256: str | None, model: str) -> str:
    """The id of a job's row. A file that was never read is known by its looks."""
    content = sha256 or "unread " + " ".join(map(str, job.signature))
    return row_id(job.path, content, model, job.attempt)


def thumbnail_of(job: Job, row_id: str) -> str:
    """Where the thumbnail of a row goes, relative to the results folder.

    The day is that of the sighting: the same work done again writes the same file again.
    """
    return f"{THUMBNAILS}/{job.seen_at[:10]}/{row_id}.jpg"


def timestamp() -> str:
    """Now, in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
