"""Rows of a job, as Parquet: the columns of results.csv, and what the journal needs besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from classifier.read import Signature
from daemon.cluster.manifest import Entry
from daemon.deliveries import Delivery
from daemon.jobs import Outcome
from daemon.row import Row, unescape

NUMBERS = {"width": pa.int32(), "height": pa.int32(), "bytes": pa.int64()}
SCHEMA = pa.schema(
    {
        "number": pa.int64(),  # in the manifest
        **{name: NUMBERS.get(name, pa.string()) for name in Row._fields},
        "root": pa.int32(),  # how many bytes of the path's name are its source
        "size": pa.int64(), "mtime_ns": pa.int64(), "ctime_ns": pa.int64(),  # when it was listed
        "again": pa.bool_(),  # it could not be read: a later backfill tries again
    }
)  # fmt: skip
FOLDER = "rows"


def table(done: Iterable[tuple[Entry, Outcome]]) -> pa.Table:
    """What became of images, in columns: those of them that have a row now."""
    rows = [
        (entry.number, *outcome.row, entry.root, *entry.signature, outcome.again)
        for entry, outcome in done
        if outcome.row is not None
    ]
    columns = zip(*rows, strict=True) if rows else ((),) * len(SCHEMA)
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def deliveries(part: pa.Table) -> Iterator[Delivery]:
    """The same for the journal."""
    columns = (part.column(name).to_pylist() for name in SCHEMA.names)
    for _, *cells, root, size, mtime_ns, ctime_ns, again in zip(*columns, strict=True):
        row = Row(*cells)
        looks = Signature(size, mtime_ns, ctime_ns)
        yield Delivery(unescape(row.path), looks, root, again, row)
