"""What seccomp alone keeps from other processes of the same user: signals that the kernel sends for
somebody, and what has a number or a key instead of a path. Each is tried on a process or an object
that is there; and that it could be done before."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from confined_process import attempt, lacks, system_call

from daemon import seccomp

if platform.machine() not in seccomp.MACHINES:
    pytest.skip("seccomp is not used on this machine", allow_module_level=True)

SIT = """
import fcntl, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
print("there", flush=True)
time.sleep(60)
"""


class Victim(NamedTuple):
    """A process that sits at a terminal."""

    process: subprocess.Popen[str]
    keyboard: int
    terminal: str


@pytest.fixture
def victim() -> Iterator[Victim]:
    keyboard, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SIT],
        stdin=terminal,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield Victim(process, keyboard, os.ttyname(terminal))
        process.kill()
    os.close(keyboard)
    os.close(terminal)


BEFORE = """
victim, keyboard = {victim.process.pid}, {victim.keyboard}
terminal = os.open({victim.terminal!r}, os.O_RDWR | os.O_NOCTTY)
for fd in (ends[0], terminal):
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
"""
AFTER = """
ends[1].send(b"x")
os.write(keyboard, b"x\\n")
"""
SIGNALS = [
    "fcntl.fcntl(ends[0], fcntl.F_SETOWN, victim)",
    "fcntl.fcntl(ends[0], fcntl.F_SETOWN, -victim)",  # its group
    "fcntl.fcntl(ends[0], 15, struct.pack('ii', 1, victim))",  # F_SETOWN_EX
    "fcntl.ioctl(ends[0], 0x8901, struct.pack('i', victim))",  # FIOSETOWN
    "fcntl.ioctl(ends[0], 0x8902, struct.pack('i', victim))",  # SIOCSPGRP
    # Of a terminal the kernel itself takes those for the owner who are at work there.
    "fcntl.fcntl(terminal, fcntl.F_SETFL, os.O_ASYNC)",
    "fcntl.fcntl(terminal, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)",
    "fcntl.ioctl(terminal, 0x5452, struct.pack('i', 1))",  # FIOASYNC
    # The kernel looks at the low 32 bits of a command.
    "system_call('fcntl', ends[0].fileno(), 1 << 32 | fcntl.F_SETOWN, victim)",
    "system_call('fcntl', ends[0].fileno(), 1 << 63 | 15, struct.pack('ii', 1, victim))",
    "system_call('fcntl', terminal, 1 << 32 | fcntl.F_SETFL, 1 << 32 | os.O_ASYNC)",
    "system_call('ioctl', ends[0].fileno(), 1 << 32 | 0x8901, struct.pack('i', victim))",
    "system_call('ioctl', ends[0].fileno(), 1 << 63 | 0x8902, struct.pack('i', victim))",
    "system_call('ioctl', terminal, 1 << 32 | 0x5452, struct.pack('i', 1))",
]


@pytest.mark.parametrize("deed", SIGNALS)
def test_the_kernel_signals_nobody_for_it(deed: str, victim: Victim, tmp_path: Path) -> None:
    if lacks("seccomp", tmp_path):
        pytest.skip("the kernel has no seccomp")
    code = BEFORE.format(victim=victim) + deed + AFTER
    fds = (victim.keyboard,)
    confined = attempt(tmp_path, code, confined=True, by="seccomp", fds=fds)
    assert "PermissionError" in confined.stderr
    assert victim.process.poll() is None
    free = attempt(tmp_path, code, confined=False, fds=fds)
    assert free.returncode == 0, free.stderr
    assert victim.process.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    "code",
    [
        "assert fcntl.fcntl(ends[0], fcntl.F_GETFL) & os.O_ASYNC",
        "fcntl.fcntl(ends[1], fcntl.F_SETFL, os.O_NONBLOCK)",
        "os.set_inheritable(ends[1].fileno(), True)",
        "assert os.isatty(os.openpty()[1])",
        # The bit of O_ASYNC in what is a size, no flags.
        "assert fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, os.O_ASYNC) == os.O_ASYNC",
    ],
)
def test_what_a_worker_does_with_files(code: str, tmp_path: Path) -> None:
    done = attempt(tmp_path, code, confined=True, by="seccomp")
    assert done.returncode == 0, done.stderr


class Objects(NamedTuple):
    """Of another process. The first three have the key, too."""

    segment: int
    semaphores: int
    queue: int
    key: int
    name: str  # of a queue of POSIX
    address: int  # of the segment, here


CREATE, REMOVE = 0o1600 | 0o2000, 0  # IPC_CREAT | IPC_EXCL, for the owner alone; IPC_RMID
TEXT = b"it is there"


@pytest.fixture
def objects() -> Iterator[Objects]:
    key, name = secrets.randbits(30) | 1, f"classifyd-{secrets.token_hex(8)}"

    def remove(call: str, *arguments: int | bytes | None) -> None:
        with suppress(OSError):  # that was the deed
            system_call(call, *arguments)

    with ExitStack() as stack:
        try:
            segment = system_call("shmget", key, 4096, CREATE)
            stack.callback(remove, "shmctl", segment, REMOVE, None)
            semaphores = system_call("semget", key, 1, CREATE)
            stack.callback(remove, "semctl", semaphores, 0, REMOVE, None)
            queue = system_call("msgget", key, CREATE)
            stack.callback(remove, "msgctl", queue, REMOVE, None)
            flags = os.O_CREAT | os.O_EXCL
            os.close(system_call("mq_open", name.encode(), flags, 0o600, None))
            stack.callback(remove, "mq_unlink", name.encode())
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            pytest.skip("the kernel does not have all of them")
        address = system_call("shmat", segment, None, 0)
        ctypes.memmove(address, TEXT, len(TEXT))
        system_call("msgsnd", queue, (1).to_bytes(8, sys.byteorder) + TEXT, len(TEXT), 0)
        yield Objects(segment, semaphores, queue, key, name, address)


DEEDS = {
    "shmget": "system_call('shmget', {it.key}, 0, 0)",
    "shmat": "ctypes.memmove(system_call('shmat', {it.segment}, None, 0), b'no more', 7)",
    "shmctl": "system_call('shmctl', {it.segment}, 0, None)",
    "semget": "system_call('semget', {it.key}, 0, 0)",
    "semop": "system_call('semop', {it.semaphores}, struct.pack('Hhh', 0, 1, 0), 1)",
    "semtimedop": (
        "system_call('semtimedop', {it.semaphores}, struct.pack('Hhh', 0, 1, 0), 1, None)"
    ),
    "semctl": "system_call('semctl', {it.semaphores}, 0, 0, None)",
    "msgget": "system_call('msgget', {it.key}, 0)",
    "msgsnd": "system_call('msgsnd', {it.queue}, struct.pack('l4s', 1, b'mine'), 4, 0)",
    "msgrcv": "system_call('msgrcv', {it.queue}, ctypes.create_string_buffer(64), 56, 0, 0)",
    "msgctl": "system_call('msgctl', {it.queue}, 0, None)",
    "mq_open": "system_call('mq_open', b'{it.name}', os.O_RDWR, 0, None)",
    "mq_unlink": "system_call('mq_unlink', b'{it.name}')",
}


@pytest.mark.parametrize("name", DEEDS)
def test_what_has_no_path_is_left_alone(name: str, objects: Objects, tmp_path: Path) -> None:
    if lacks("seccomp", tmp_path):
        pytest.skip("the kernel has no seccomp")
    code = DEEDS[name].format(it=objects)
    confined = attempt(tmp_path, code, confined=True, by="seccomp")
    assert "PermissionError" in confined.stderr
    assert ctypes.string_at(objects.address, len(TEXT)) == TEXT
    free = attempt(tmp_path, code, confined=False)
    assert free.returncode == 0, free.stderr
    assert (ctypes.string_at(objects.address, 7) == b"no more") == (name == "shmat")
