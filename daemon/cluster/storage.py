"""Where a job keeps its files: a folder that all nodes see, or a place in a bucket."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import BaseError

from daemon.cluster.sources import PAGE, is_url, opened, said
from daemon.errors import ClusterError


class Storage(Protocol):
    """Files by their names, such as manifest/0.parquet; each comes as a whole or not at all.

    What can be sent to a node. Raises `ClusterError`, and `OSError` where it is a folder.
    """

    place: str

    def beneath(self, name: str) -> Storage: ...

    def make(self, folder: str) -> None: ...

    def names(self, folder: str = "") -> list[str]: ...

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, data: bytes) -> None: ...

    def delete(self) -> None: ...


class Shared:
    """A folder that all nodes see under one name."""

    def __init__(self, place: str) -> None:
        self.place = place

    def beneath(self, name: str) -> Shared:
        return Shared(f"{self.place}/{name}")

    def make(self, folder: str) -> None:
        Path(self.place, folder).mkdir(parents=True, exist_ok=True)

    def names(self, folder: str = "") -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(
                path.name for path in Path(self.place, folder).iterdir() if path.is_file()
            )
        return []

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return Path(self.place, name).read_bytes()
        return None

    def write(self, name: str, data: bytes) -> None:
        draft = Path(self.place, f"{name}.{uuid.uuid4().hex}.draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(Path(self.place, name))

    def delete(self) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.place)


class InBucket:
    """A place in an object store, where what is put is there as a whole."""

    def __init__(self, place: str) -> None:
        """Raises `SettingsError`."""
        self.place = place
        self._store = opened(place)

    def __reduce__(self) -> tuple[type[InBucket], tuple[str]]:
        return InBucket, (self.place,)  # with the credentials of where it comes to

    def beneath(self, name: str) -> InBucket:
        return InBucket(f"{self.place}/{name}")

    def make(self, folder: str) -> None:
        pass  # there are none

    def names(self, folder: str = "") -> list[str]:
        start = f"{folder}/" if folder else ""
        with _told(self.place):
            pages = obstore.list(self._store, folder or None, chunk_size=PAGE)
            found = [meta["path"][len(start) :] for page in pages for meta in page]
        return sorted(name for name in found if "/" not in name)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError), _told(self.place):
            return bytes(obstore.get(self._store, name).bytes())
        return None

    def write(self, name: str, data: bytes) -> None:
        with _told(self.place):
            obstore.put(self._store, name, data)

    def delete(self) -> None:
        with _told(self.place):
            for page in obstore.list(self._store, chunk_size=PAGE):
                obstore.delete(self._store, [meta["path"] for meta in page])


def opened_storage(place: str) -> Storage:
    """place: a folder or a URL. Raises `SettingsError`."""
    return InBucket(place.rstrip("/")) if is_url(place) else Shared(str(Path(place).absolute()))


def read_json(storage: Storage, name: str) -> Any:
    """None if there is no such file, or no JSON in it."""
    with suppress(ValueError):
        return json.loads(storage.read(name) or b"")
    return None


def write_json(storage: Storage, name: str, value: object) -> None:
    storage.write(name, json.dumps(value).encode())


def read_table(storage: Storage, name: str, columns: list[str] | None = None) -> pa.Table:
    """Of a Parquet file. Raises `ClusterError` if there is none."""
    data = storage.read(name)
    if data is None:
        raise ClusterError(
            f"{storage.place}/{name} is gone: delete {storage.place}, and begin anew"
        )
    return pq.read_table(io.BytesIO(data), columns=columns)


def write_table(storage: Storage, name: str, table: pa.Table) -> None:
    """As Parquet."""
    file = io.BytesIO()
    pq.write_table(table, file)
    storage.write(name, file.getvalue())


def tables(storage: Storage, folder: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """What the Parquet files in a folder hold, one by one."""
    for name in storage.names(folder):
        if name.endswith(".parquet"):
            yield read_table(storage, f"{folder}/{name}", columns)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What an object store says becomes an error of ours, but for a file that is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise ClusterError(f"{place}: {said(error)}") from None
