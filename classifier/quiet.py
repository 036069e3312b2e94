"""What native libraries write to stderr, turned aside: to be heard only if they fail, or judged."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Where stderr leads is a matter of the whole process, so both ways of turning it aside share this.
_one_at_a_time = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what is written to stderr meanwhile; show it if an exception comes out.

    LiteRT and TensorFlow have no setting for it, so the file descriptor is turned aside, and that
    goes for the whole process: use it for the moment in which they are loaded, no longer.
    """
    # In memory: a process that has shut itself in may make no files.
    with _one_at_a_time, open(os.memfd_create("quiet"), "w+b") as aside:  # noqa: PTH123
        if sys.stderr is not None:
            sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


# In memory: a full disk must not hide a warning.
_aside = os.memfd_create("stderr")


def _begin_anew() -> None:
    """In a forked process: the parent's file would mix its words with ours."""
    global _aside, _one_at_a_time
    os.close(_aside)
    _aside = os.memfd_create("stderr")
    _one_at_a_time = threading.Lock()  # a thread that is not here may have held it


os.register_at_fork(after_in_child=_begin_anew)


class Overheard:
    """`with Overheard() as stderr: ...`, and `stderr.words` is what was written to it meanwhile.

    Some 10 microseconds, for libraries that tell what they found in no other way. Threads take
    turns. What the words do not explain is to be given back with `pass_on`: another thread may have
    written it.
    """

    def __init__(self) -> None:
        self.words = b""
        self._stderr: int | None

    def __enter__(self) -> Overheard:
        _one_at_a_time.acquire()
        try:
            try:
                self._stderr = os.dup(2)
            except OSError:
                self._stderr = None  # closed: then it is closed again
            os.dup2(_aside, 2)
        except BaseException:
            _one_at_a_time.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._stderr is None:
                os.close(2)
            else:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
            if written := os.lseek(_aside, 0, os.SEEK_CUR):
                self.words = os.pread(_aside, written, 0)
                os.lseek(_aside, 0, os.SEEK_SET)
                os.ftruncate(_aside, 0)
        finally:
            _one_at_a_time.release()


def pass_on(words: bytes) -> None:
    """Write what was overheard to stderr after all, as far as there is one."""
    if not words:
        return
    with suppress(OSError):
        os.write(2, words)
