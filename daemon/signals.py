"""Signals ▸ flags, and one place to sleep until anything happens."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Inside `with`, the stopping signals are counted instead of ending the process.

    First signal: finish the batches in hand; second: stop now.
    """

    def __init__(self, *, hangup_reloads: bool = False) -> None:
        """hangup_reloads: SIGHUP does not stop, but is counted in `reloads`."""
        self.stops = 0
        self.reloads = 0
        self._hangup_reloads = hangup_reloads
        self.last = ""  # the name of the signal that came last

    def __enter__(self) -> Signals:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        # A signal writes a byte here, so it ends a `wait` even if it came just before it.
        self._wakeup_fd = signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
        self._handlers: dict[signal.Signals, Any] = {}
        for number in STOPPING:
            self._handlers[number] = signal.signal(number, self._count)
        if self._handlers[signal.SIGHUP] == signal.SIG_IGN and not self._hangup_reloads:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # `nohup` asked for that
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._inner.close()
        self._outer.close()

    def _count(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGHUP and self._hangup_reloads:
            self.reloads += 1
            return
        self.stops += 1
        self.last = signal.Signals(number).name

    def wake(self) -> None:
        """End a `wait`; from any thread."""
        with contextlib.suppress(BlockingIOError):  # enough bytes are waiting already
            self._outer.send(b"\0")

    def wait(self, events: Iterable[tuple[int, int]], timeout: float) -> None:
        """Sleep until something happens, a signal or a `wake` comes, or seconds have passed.

        events: file descriptors with what is waited for, as `selectors` has it.
        """
        with selectors.PollSelector() as selector:
            selector.register(self._inner, selectors.EVENT_READ)
            for fd, event in events:
                selector.register(fd, event)
            ready = [key.fileobj for key, _ in selector.select(max(timeout, 0))]
        if self._inner in ready:
            with contextlib.suppress(BlockingIOError):
                while self._inner.recv(4096):
                    pass
