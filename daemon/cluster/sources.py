"""A bucket ▸ the images in it, in a stream, and each of them as a file.

By obstore, which lists page by page, where pyarrow and fsspec hold a whole folder of a bucket in
memory, and which tries again by itself, with more and more patience, what a server refuses for the
moment.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from classifier.errors import UnreadableError
from classifier.read import Signature
from daemon.errors import SettingsError
from daemon.row import shown
from daemon.walk import HIDDEN, NOT_AN_IMAGE, Found

URL = re.compile("[a-z][a-z0-9+.-]*://.+", re.ASCII)
PAGE = 1000  # objects, as servers give them
PATIENCE = {
    "max_retries": 20,
    "retry_timeout": timedelta(minutes=5),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=15),
        "base": 2,
    },
}
FAILED = (BaseError, OSError)  # it takes the system's names for some of what a server says
LINE = 300  # characters of what a server says


def is_url(source: str) -> bool:
    """Whether a source is no folder."""
    return bool(URL.fullmatch(source))


def opened(url: str) -> Any:
    """An object store, or a part of one. Raises `SettingsError`."""
    try:
        return from_url(url, retry_config=PATIENCE)
    except (*FAILED, ValueError, TypeError) as error:
        raise SettingsError(f"{url}: cannot be opened: {said(error)}") from None


class Bucket:
    """A part of an object store, by its URL, such as s3://bucket/folder.

    Credentials and the like are those of the machine, as the provider's own tools take them from
    the environment. Raises `SettingsError` for a URL that is none of those that are known.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._store = opened(self.url)

    def walk(self, extensions: frozenset[bytes]) -> Iterator[Found]:
        """Everything in it, as `walk.walk` tells of a folder. Raises `SettingsError` if it cannot
        be listed."""
        try:
            for page in obstore.list(self._store, chunk_size=PAGE):
                for meta in page:
                    yield self._looked_at(dict(meta), extensions)
        except FAILED as error:
            self._refuse("listed", error)

    def look(self) -> None:
        """Raises `SettingsError` if it cannot be listed."""
        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except FAILED as error:
            self._refuse("listed", error)

    def fetch(self, name: str, file: Path) -> None:
        """Write an object into a file. Raises `UnreadableError`, and `OSError` of the file."""
        with file.open("wb") as copy:
            for chunk in self._chunks(name):
                copy.write(chunk)

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            yield from obstore.get(self._store, name).stream()
        except FileNotFoundError:
            raise UnreadableError("the file was gone before it could be read") from None
        except FAILED as error:
            raise UnreadableError(f"the file cannot be read: {said(error)}") from None

    def _looked_at(self, meta: dict[str, Any], extensions: frozenset[bytes]) -> Found:
        path = f"{self.url}/{meta['path']}".encode()
        name = os.path.basename(path)  # noqa: PTH119 - bytes
        if name.startswith(b"."):
            return Found(path, None, HIDDEN)
        if b"." not in name or name.rpartition(b".")[2].lower() not in extensions:
            return Found(path, None, NOT_AN_IMAGE)
        return Found(path, signature_of(meta), None)

    def _refuse(self, what: str, error: Exception) -> NoReturn:
        raise SettingsError(
            f"{self.url}: cannot be {what}: {said(error)}. See that the bucket is there, and that "
            "this machine has credentials for it, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        ) from None


def signature_of(meta: dict[str, Any]) -> Signature:
    """What an object looks like: its etag, a name of its content, stands for the change time."""
    tag = hashlib.sha256((meta.get("e_tag") or "").encode()).digest()[:8]
    modified = int(meta["last_modified"].timestamp() * 1e6) * 1000
    return Signature(meta["size"], modified, int.from_bytes(tag) >> 1)


def said(error: Exception) -> str:
    """What an object store said, as one line."""
    text = " ".join(shown(str(error)).split())
    return text if len(text) <= LINE else text[:LINE] + " ..."
