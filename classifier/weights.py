"""model.weights.h5 of a `.keras` file: that all of it is in it, and no larger than it says.

HDF5 can take its numbers from other files: by links, by external storage, by virtual datasets. A
dataset can also claim terabytes of which nothing was ever written. Nothing of that is in what Keras
writes. Only the converter's process imports this: it brings h5py.
"""

from __future__ import annotations

import io
import math

import h5py  # type: ignore[import-untyped]

from classifier.archive import EXPANSION_FLOOR, MAX_EXPANSION
from classifier.errors import ModelError

MAX_OBJECTS = 100_000
AGAIN = "save the model again with model.save('NAME.keras')"


def check(content: bytes) -> None:
    """Raise `ModelError` if these weights are not all their own."""
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            declared = _declared_bytes(file)
    except ModelError:
        raise
    except Exception as error:  # h5py raises of every kind for a damaged file
        raise ModelError(f"its weights are damaged ({error}): copy or train it anew") from None
    if declared > EXPANSION_FLOOR + MAX_EXPANSION * len(content):
        raise ModelError(
            f"its weights claim {declared:,} bytes, and {len(content):,} are there: {AGAIN}"
        )


def _declared_bytes(file: h5py.File) -> int:
    total = 0
    seen = set()  # a group can be in itself, by a hard link
    waiting = [(file.id, "")]
    while waiting:
        group, path = waiting.pop()
        for name in group:
            shown = ascii(f"{path}/{name.decode(errors='replace')}"[:200])[1:-1]
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                raise ModelError(f"{shown} in its weights is a link to elsewhere: {AGAIN}")
            item = h5py.h5o.open(group, name)
            if (place := h5py.h5o.get_info(item).addr) in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_OBJECTS:
                raise ModelError(f"its weights are in more than {MAX_OBJECTS:,} pieces: {AGAIN}")
            if isinstance(item, h5py.h5g.GroupID):
                waiting.append((item, shown))
            elif isinstance(item, h5py.h5d.DatasetID):
                total += _size(item, shown)
            else:
                raise ModelError(f"{shown} in its weights is neither group nor numbers: {AGAIN}")
    return total


def _size(dataset: h5py.h5d.DatasetID, shown: str) -> int:
    """Bytes that a dataset claims. Where it takes them from comes first: asking can open a file."""
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ModelError(f"{shown} in its weights takes its numbers from another file: {AGAIN}")
    return int(math.prod(dataset.shape) * dataset.get_type().get_size())
