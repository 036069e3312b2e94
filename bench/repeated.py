"""A look at something that changes, taken again and again beside what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def repeated(look: Callable[[], None], every: float) -> Iterator[None]:
    """Call it in a thread of its own as long as the block runs. every: seconds between."""
    ended = Event()

    def keep_looking() -> None:
        while not ended.wait(every):
            look()

    thread = Thread(target=keep_looking)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
