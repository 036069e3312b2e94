"""A file ▸ its bytes, digest and signature: whole and unchanged, or an error that says why not."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import NamedTuple

from classifier.beneath import Folders, open_beneath
from classifier.errors import ImageError, UnreadableError, UnsettledError

MAX_BYTES = 256 << 20


class Signature(NamedTuple):
    """What `stat` tells of a file's content without reading it.

    The change time is part of it: a program can set the modification time back, but not this one.
    """

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Content(NamedTuple):
    """The whole of one file, and what it looked like when these bytes were in it."""

    data: bytes
    sha256: str
    signature: Signature


def read(
    path: str | bytes,
    max_bytes: int = MAX_BYTES,
    root: int | None = None,
    folders: Folders | None = None,
) -> Content:
    """Read a regular file once, and be sure that it held still meanwhile.

    root: how many bytes of an absolute path name the folder that it was found in; no link is
    followed beneath that. None: the file itself must be no link, what leads to it may be.
    folders: those that may be open already, for many files.

    Raises `UnsettledError` if it changed under our eyes, `ImageError` if it is gone, is no regular
    file, may not be read, or is larger than `max_bytes`.
    """
    # O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOFOLLOW: a link is not an image.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if root is None:
            fd = os.open(path, flags)
        else:
            fd = (folders.open if folders else open_beneath)(os.fsencode(path), root, flags)
    except FileNotFoundError:
        raise UnreadableError("the file was gone before it could be read") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EXDEV):  # the latter: out of the folder
            # It was a file when it was found, and may be one again.
            raise UnreadableError("a symbolic link, and links are not followed") from None
        if error.errno == errno.ENXIO:  # a socket
            raise ImageError("not a regular file") from None
        raise UnreadableError(f"the file cannot be opened: {error.strerror}") from None
    except ValueError:  # a NUL in it, say
        raise ImageError("no file can have this name") from None
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise ImageError("not a regular file")
        if before.st_size > max_bytes:
            raise ImageError(too_large(max_bytes))
        chunks = []
        left = before.st_size + 1  # one more than promised: a file that grew is noticed
        while chunk := os.read(fd, left):
            chunks.append(chunk)
            left -= len(chunk)
            if left <= 1:  # all that was promised; whether there is more now, its size tells
                break
        after = os.fstat(fd)
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    signature = Signature.of(after)
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if signature != Signature.of(before) or len(data) != signature.size:
        raise UnsettledError("the file changed while it was read")
    return Content(data, hashlib.sha256(data).hexdigest(), signature)


def too_large(max_bytes: int) -> str:
    """Why a file fails that is larger than that."""
    return f"the file is larger than the {max_bytes:,} bytes allowed (limits.megabytes)"
