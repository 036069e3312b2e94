"""What a worker answers, and whether it is an answer. An image may have taken over the worker, and
then it says anything.

So answers are JSON, of which nothing but texts and numbers can come; and a worker may not speak of
images that it was not given, or in a way that harms the main process, the journal or results.csv.
That its own images may be misjudged cannot be helped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from classifier.read import Signature
from daemon.jobs import Job, Outcome, identifier, thumbnail_of
from daemon.messages import Ready, Trouble
from daemon.row import Row, escape, is_clean

# Of an answer, besides and for every image: a path of 4096 bytes that are all escaped takes 20 kB.
BASE_BYTES, IMAGE_BYTES = 1 << 20, 1 << 16
WIDTH, BYTES = Row._fields.index("width"), Row._fields.index("bytes")  # the numbers of a row
SHA256 = re.compile("(?:[0-9a-f]{64})?")
CONFIDENCE = re.compile(r"(?:[01]\.[0-9]{4})?")

Answer = Ready | Trouble | list[Outcome]


def encoded(answer: Answer) -> bytes:
    """An answer as a worker sends it."""
    said: dict[str, Any]
    if isinstance(answer, Ready):
        said = {"ready": answer.forces}
    elif isinstance(answer, Trouble):
        said = {"trouble": answer}
    else:
        said = {"outcomes": [[outcome.job.seq, *outcome[1:]] for outcome in answer]}
    return json.dumps(said).encode()


def understood(data: bytes, batch: Sequence[Job], model: str) -> Answer:
    """An answer to this batch. model: the digits that name it in rows.

    Raises `ValueError` or `RecursionError` for what is none.
    """
    match json.loads(data):
        case {"ready": str(forces)}:
            return Ready(forces)
        case {"trouble": [int(number), str(text), str(path), bool(failed_sync)]}:
            return Trouble(number, text, path, failed_sync)
        case {"outcomes": list(found)} if batch and len(found) == len(batch):
            return [_outcome(one, job, model) for one, job in zip(found, batch, strict=True)]
    raise ValueError("this is no answer")


def _outcome(said: Any, job: Job, model: str) -> Outcome:
    match said:
        case [job.seq, signature, cells, str() | None as sha256, bool(unsettled), bool(again)]:
            row = _row(cells, job, model)
            # Without a row for it, an image is done only if its content has one.
            if sha256 is None if row or unsettled else sha256 in job.known:
                return Outcome(job, _signature(signature), row, sha256, unsettled, again)
    raise ValueError("this is no outcome of the job")


def _signature(said: Any) -> Signature | None:
    match said:
        case None:
            return None
        case [size, mtime_ns, ctime_ns] if all(map(_is_int, said)):
            return Signature(size, mtime_ns, ctime_ns)
    raise ValueError("this is no signature of a file")


def _row(said: Any, job: Job, model: str) -> Row | None:
    if said is None:
        return None
    if isinstance(said, list) and len(said) == len(Row._fields):
        row = Row(*said)
        if _is_sound(row, job, model):
            return row
    raise ValueError("this is no row of the job")


def _is_sound(row: Row, job: Job, model: str) -> bool:
    """Whether every cell is of its kind, and what can be known of the row is so."""
    try:
        texts = "".join(row[:WIDTH] + row[BYTES + 1 :])  # type: ignore[arg-type]
    except TypeError:  # one of them is none
        return False
    return (
        is_clean(texts)
        and all(number is None or _is_int(number) for number in row[WIDTH : BYTES + 1])
        and row.path == escape(job.path)
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
