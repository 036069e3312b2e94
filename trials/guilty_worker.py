"""A worker whose decoder does harm when an image asks for it; everything else is the real one.

`python -m trials.guilty_worker CHANNEL PROGRESS`, as the pool starts it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from typing import Any

from daemon import worker
from daemon.messages import Plan, Progress

MARK = b"guilty: "
LOOSE = "TRIAL_LOOSE_WORKERS"  # in the environment: they are not confined


def mark(jpeg: bytes, deed: str) -> bytes:
    """An image that asks for a deed, in a comment."""
    comment = MARK + deed.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def spoil_decoder() -> None:
    """From now on, decoding does what an image asks for."""
    from classifier import decode  # not before the worker has set what it reads

    honest = decode.decode

    def decoded(data: bytes, *arguments: Any, **options: Any) -> decode.Decoded:
        if data[6:].startswith(MARK):
            deed = data[6 + len(MARK) : 4 + int.from_bytes(data[4:6], "big")].decode()
            DEEDS[deed]()
        return honest(data, *arguments, **options)

    decode.decode = decoded


def _hang() -> None:
    time.sleep(1000)


def _spin() -> None:
    while True:
        pass


def _print() -> None:
    while True:
        os.write(2, b"Corrupt JPEG data: premature end of data segment\n" * 1000)


def _eat() -> None:
    eaten = []
    while True:
        eaten.append(bytes(64 << 20))


def _kill() -> None:
    ctypes.CDLL(None).kill(os.getppid(), signal.SIGKILL)
    os.abort()


def _sigio() -> None:
    libc = ctypes.CDLL(None)
    reading, writing = os.pipe()
    libc.fcntl(reading, fcntl.F_SETOWN, os.getppid())
    libc.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL)
    libc.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writing, b"now")
    os.abort()


def _scribble() -> None:
    libc = ctypes.CDLL(None)
    fd = libc.open(os.environ["TRIAL_RESULTS"].encode(), os.O_WRONLY | os.O_TRUNC)
    libc.write(fd, b"nothing to see here\n", 20)
    os.abort()


DEEDS = {
    "crash": lambda: ctypes.string_at(0), "abort": os.abort, "hang": _hang, "spin": _spin,
    "print": _print, "eat": _eat, "kill": _kill, "sigio": _sigio, "scribble": _scribble,
}  # fmt: skip


class GuiltyWorker(worker.Worker):
    def __init__(self, plan: Plan, progress: Progress) -> None:
        super().__init__(plan, progress)
        spoil_decoder()


if __name__ == "__main__":
    if LOOSE in os.environ:
        worker.confine = lambda *_: "nothing"
    worker.main(int(sys.argv[1]), int(sys.argv[2]), GuiltyWorker)
