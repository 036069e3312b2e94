"""A process that shuts itself in and then tries something; and system calls by their names."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from daemon import seccomp

CONFINE = """
import ctypes, fcntl, os, resource, signal, socket, struct, subprocess, sys
import termios, threading, time
from pathlib import Path
from confined_process import system_call
writable, outside = Path(sys.argv[1]), Path(sys.argv[2])
from daemon.confine import ComputingTime, confine
def terminal():
    os.setsid()
    fd = os.openpty()[1]
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    return fd
ends = socket.socketpair()
fcntl.fcntl(ends[0], fcntl.F_SETFL, os.O_ASYNC)  # who is to be signalled is not said yet
if sys.argv[3] == "seccomp":  # alone, as where there is no Landlock
    from daemon import landlock
    landlock.SYS_CREATE_RULESET = 1000
if sys.argv[3] != "free":
    print(confine([writable], 200 << 20, 1 << 20), flush=True)
"""


def attempt(
    tmp_path: Path, code: str, *, confined: bool, by: str = "all", fds: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """by: `all` layers or `seccomp` alone. fds: what the process gets besides, by their numbers."""
    for name in ("writable", "outside"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "there").write_bytes(b"it is there")
    how = by if confined else "free"
    return subprocess.run(
        [sys.executable, "-c", CONFINE + code, tmp_path / "writable", tmp_path / "outside", how],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        pass_fds=fds,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lacks(layer: str, tmp_path: Path) -> bool:
    return f"no {layer}" in attempt(tmp_path, "", confined=True).stdout


def system_call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A call that seccomp has a rule for, without what the C library makes of it: that may take
    another one. Raises `OSError`."""
    numbers = dict(seccomp.FORBIDDEN)
    for what, unless in seccomp.conditions(0).items():
        numbers[what.split()[0]] = unless.numbers
    number = numbers[name][seccomp.MACHINES[platform.machine()][0]]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    words = (number, *arguments)
    result: int = libc.syscall(
        *(ctypes.c_long(word) if isinstance(word, int) else word for word in words)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    return result
