"""What the service manager is told, by the protocol of sd_notify(3). Without one, nothing."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(*assignments: str) -> None:
    """Tell `READY=1`, `STATUS=scanning` and the like; all of them at once.

    A manager that does not listen is no reason to end: its own time limits tell it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            # Never for long: a manager that is slow must not slow down the work.
            channel.settimeout(1.0)
            channel.connect(address)
            channel.send("\n".join(assignments).encode(errors="backslashreplace"))
    except OSError as error:
        log.debug("the service manager could not be told %s: %s", assignments, error)


def watchdog_seconds() -> float | None:
    """After how long without `WATCHDOG=1` the manager ends this process, None for never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return None
    return int(microseconds) / 1e6 or None
