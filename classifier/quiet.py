"""Native libraries greet on stderr as they start; they are heard only if they fail."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
