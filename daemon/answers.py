"""Is a worker's answer one to its batch? A worker that an image has taken over may say anything.

What it may not do is to speak of images that it was not given, or in a way that harms the main
process, the journal or results.csv. That its own images may be misjudged cannot be helped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from classifier.read import Signature
from daemon.jobs import Job, Outcome, identifier, thumbnail_of
from daemon.row import Row, escape

NUMBERS = ("width", "height", "bytes")
SHA256 = re.compile("(?:[0-9a-f]{64})?")
CONFIDENCE = re.compile(r"(?:[01]\.[0-9]{4})?")
# Whatever would make two lines of one, or no UTF-8. No label and no reason has it.
NO_LINE = re.compile(r"[\x00-\x1f\ud800-\udfff]")


def is_answer(found: object, batch: Sequence[Job], model: str) -> bool:
    """model: the digits that name it in rows."""
    return (
        isinstance(found, list)
        and len(found) == len(batch)
        and all(_is_outcome(outcome, job, model) for outcome, job in zip(found, batch, strict=True))
    )


def _is_outcome(outcome: object, job: Job, model: str) -> bool:
    if not isinstance(outcome, Outcome) or not isinstance(outcome.job, Job):
        return False
    signature, row = outcome.signature, outcome.row
    return (
        outcome.job.seq == job.seq
        and (
            signature is None or (isinstance(signature, Signature) and all(map(_is_int, signature)))
        )
        and (row is None or (isinstance(row, Row) and _is_sound(row, job, model)))
        and isinstance(outcome.unsettled, bool)
        and isinstance(outcome.again, bool)
    )


def _is_sound(row: Row, job: Job, model: str) -> bool:
    for name, value in zip(Row._fields, row, strict=True):
        if name in NUMBERS:
            if value is not None and not _is_int(value):
                return False
        elif not isinstance(value, str) or NO_LINE.search(value):
            return False
    return (
        row.path == escape(job.path)
        and row.model == model
        and row.seen_at == job.seen_at
        and row.status in ("classified", "uncertain", "failed")
        and SHA256.fullmatch(row.sha256) is not None
        and CONFIDENCE.fullmatch(row.confidence) is not None
        and row.id == identifier(job, row.sha256 or None, model)
        and row.thumbnail in ("", thumbnail_of(job, row.id))
    )


def _is_int(value: object) -> bool:
    """One that SQLite can hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63
