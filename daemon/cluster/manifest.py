"""What is still to be done ▸ Parquet files of a few images each, written as they are listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from classifier.read import Signature
from daemon.cluster.storage import Storage, write_table
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.walk import Found

SCHEMA = pa.schema(
    {
        "number": pa.int64(),  # of this job's images, from 0
        "path": pa.binary(),
        "root": pa.int32(),  # how many bytes of it are its source
        "size": pa.int64(), "mtime_ns": pa.int64(), "ctime_ns": pa.int64(),
        "known": pa.list_(pa.string()),  # contents of this path that have a row
    }
)  # fmt: skip
# A part is what an actor is given at a time and, after a crash, what is done again. A share of all
# that came before it is little either way, and no job has more than some thousand parts for it.
MIN_PART, MAX_PART, SHARE = 32, 10_000, 200
AT_ONCE = 5000  # of the journal's answers
FOLDER = "manifest"


class Entry(NamedTuple):
    """An image that is to be done: see `SCHEMA`."""

    number: int
    path: bytes
    root: int
    signature: Signature
    known: frozenset[str]


class Listed(NamedTuple):
    """What a listing came across."""

    images: int  # in the manifest
    known: int  # that are done, or wait in the queue
    ignored: Counter[str]  # by reason


def write(
    storage: Storage, found: Iterable[tuple[Found, int]], journal: Journal | None
) -> Iterator[Listed]:
    """List images into the manifest of a job; how far that is, after every part, and at the end.

    found: what a walk comes across, with the length of its source's name. journal: it knows what
    has a row already; None: nothing has.
    """
    ignored = Counter[str]()
    images = known = 0
    waiting: list[Entry] = []
    for some in _some(found):
        ignored.update(one.ignored or "" for one, _ in some if one.signature is None)
        sightings = [Sighting(one.path, one.signature, root) for one, root in some if one.signature]
        news = sightings if journal is None else journal.unseen(sightings)
        known += len(sightings) - len(news)
        rows = {} if journal is None else journal.contents([one.path for one in news])
        for path, signature, root in news:
            waiting.append(Entry(images, path, root, signature, rows.get(path, frozenset())))
            images += 1
            if len(waiting) >= min(max(MIN_PART, images // SHARE), MAX_PART):
                _write_part(storage, waiting)
                waiting = []
                yield Listed(images, known, ignored)
    if waiting:
        _write_part(storage, waiting)
    yield Listed(images, known, ignored)


def _write_part(storage: Storage, part: Sequence[Entry]) -> None:
    """Under the number of its first image."""
    write_table(storage, f"{FOLDER}/{part[0].number:012}.parquet", table(part))


def table(entries: Iterable[Entry]) -> pa.Table:
    """Entries in columns."""
    rows = [
        (number, path, root, *signature, sorted(known) or None)
        for number, path, root, signature, known in entries
    ]
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def entries(part: pa.Table) -> list[Entry]:
    """Columns as entries."""
    columns = (part.column(name).to_pylist() for name in SCHEMA.names)
    return [
        Entry(number, path, root, Signature(*looks), frozenset(known or ()))
        for number, path, root, *looks, known in zip(*columns, strict=True)
    ]


def _some(found: Iterable[tuple[Found, int]]) -> Iterator[list[tuple[Found, int]]]:
    rest = iter(found)
    while some := list(islice(rest, AT_ONCE)):
        yield some
