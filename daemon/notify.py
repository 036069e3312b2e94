"""What a service manager is told: the protocol of sd_notify(3), a datagram to a socket it names."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

PATIENCE_SECONDS = 1.0


def notify(**fields: str) -> None:
    """Tell it, such as READY="1", STATUS="watching"; without one that wants to know, do nothing.

    A manager that does not listen is not waited for for long, and nothing here fails for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    message = "\n".join(f"{name}={' '.join(value.split())}" for name, value in fields.items())
    if address.startswith("@"):  # a name that no file has
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(PATIENCE_SECONDS)  # a busy one has a full queue, and READY must not be lost
        end.sendto(message.encode(errors="backslashreplace"), address)
