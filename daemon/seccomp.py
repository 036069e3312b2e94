"""seccomp: system calls that no decoder needs are refused, for good and for every thread.

A list of what is forbidden, not of what is allowed: the libraries may change what they use, and a
call that nobody thought of must not fail on somebody's machine. Whoever takes over a decoder finds
no network, no new programs or processes, no other process's memory, nothing shared by its number or
key, no signals to others, no change to a file's owner, mode or dates (Landlock leaves those alone),
and none of the kernel's stranger doors. What `openat2` is asked for cannot be seen from here: that
is left to Landlock.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple

# name: number on x86-64, on AArch64; None where there is no such call.
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    # the network
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    # programs and processes; of clone, see below
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "process_madvise": (440, 440), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # memory, semaphores and queues of other processes: no files, so Landlock does not see them
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    # files that are not ours
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "open_by_handle_at": (304, 265), "truncate": (76, 45),
    # the machine
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    # wide and often broken
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "personality": (135, 92),
}  # fmt: skip


class Unless(NamedTuple):
    """A call that is forbidden but for some values of an argument, or only for some.

    argument: its place, from 0; of its low 32 bits those of `mask` are compared with `value`.
    allowed: whether the call is let through if they are equal, or else.
    command: if given, only calls whose argument 1 is this, in its low 32 bits, are looked at.
    """

    numbers: tuple[int | None, int | None]
    argument: int
    mask: int
    value: int
    allowed: bool
    command: int | None = None


CLONE_THREAD = 0x10000
ALL_BITS = 0xFFFFFFFF
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # types into a terminal, for the shell to obey
# Whom the kernel signals when there is something to read, SIGKILL if that is asked for: anybody of
# the same user.
F_SETOWN, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 15, 0x8901, 0x8902
# That it does; for a terminal, it takes those who are at work there without being told whom.
F_SETFL, FIOASYNC = 4, 0x5452
# To cut a file to nothing, the kernel does not ask whether it was opened for writing.
TRUNCATING, ONLY_READ = os.O_TRUNC | os.O_ACCMODE, os.O_TRUNC | os.O_RDONLY


def conditions(pid: int) -> dict[str, Unless]:
    """What is forbidden by its arguments, to the process with this number."""
    fcntl, ioctl = (72, 25), (16, 29)
    return {
        "clone": Unless((56, 220), 0, CLONE_THREAD, CLONE_THREAD, True),  # no processes
        "kill": Unless((62, 129), 0, ALL_BITS, pid, True),
        "tgkill": Unless((234, 131), 0, ALL_BITS, pid, True),
        "prlimit64": Unless((302, 261), 0, ALL_BITS, 0, True),
        "open": Unless((2, None), 1, TRUNCATING, ONLY_READ, False),
        "openat": Unless((257, 56), 2, TRUNCATING, ONLY_READ, False),
        "ioctl TIOCSTI": Unless(ioctl, 1, ALL_BITS, TIOCSTI, False),
        "ioctl TIOCLINUX": Unless(ioctl, 1, ALL_BITS, TIOCLINUX, False),
        "fcntl F_SETOWN": Unless(fcntl, 1, ALL_BITS, F_SETOWN, False),
        "fcntl F_SETOWN_EX": Unless(fcntl, 1, ALL_BITS, F_SETOWN_EX, False),
        "fcntl O_ASYNC": Unless(fcntl, 2, os.O_ASYNC, os.O_ASYNC, False, command=F_SETFL),
        "ioctl FIOSETOWN": Unless(ioctl, 1, ALL_BITS, FIOSETOWN, False),
        "ioctl SIOCSPGRP": Unless(ioctl, 1, ALL_BITS, SIOCSPGRP, False),
        "ioctl FIOASYNC": Unless(ioctl, 1, ALL_BITS, FIOASYNC, False),
    }


# machine: its place in the tuples above, its AUDIT_ARCH, the number of seccomp
MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
CLONE3 = 435
X32_BIT = 0x40000000  # x86-64 has a second set of numbers for the same calls

# Of <linux/bpf_common.h> and <linux/seccomp.h>.
LOAD, EQUALS, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # where they are in what a filter sees
SET_MODE_FILTER, FILTER_FLAG_TSYNC = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid() -> str:
    """Put the list in force; says so. `PR_SET_NO_NEW_PRIVS` must have been set.

    Raises `OSError` where there is no seccomp, or the machine is not one of those above.
    """
    machine = platform.machine()
    if sys.maxsize < 1 << 32 or machine not in MACHINES:
        raise OSError(errno.EOPNOTSUPP, f"not known on {machine}")
    seccomp = MACHINES[machine][2]
    code = filter_of(machine, os.getpid())
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (SET_MODE_FILTER, FILTER_FLAG_TSYNC, ctypes.byref(program))
    result = libc.syscall(ctypes.c_long(seccomp), *arguments)
    if result:  # above 0: a thread that has another filter already
        error = ctypes.get_errno() if result < 0 else errno.EBUSY
        raise OSError(error, os.strerror(error))
    return "seccomp"


def filter_of(machine: str, pid: int) -> bytes:
    """The program that the kernel runs at every system call of the process with this number."""
    column, architecture, _ = MACHINES[machine]
    refuse = _step(RETURN, ERROR | errno.EPERM)
    code = [
        _step(LOAD, ARCHITECTURE),
        _step(EQUALS, architecture, then=1),
        _step(RETURN, KILL),  # numbers of another architecture: nothing of ours makes such calls
        _step(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(AT_LEAST, X32_BIT, otherwise=1), refuse]
    for numbers in FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            code += [_step(EQUALS, number, otherwise=1), refuse]
    for unless in conditions(pid).values():
        if (number := unless.numbers[column]) is not None:
            compared = [
                _step(LOAD, ARGUMENTS + 8 * unless.argument),
                _step(AND, unless.mask),
                _step(EQUALS, unless.value, unless.allowed, not unless.allowed),
                refuse,
            ]
            if unless.command is not None:
                compared = [
                    _step(LOAD, ARGUMENTS + 8),
                    _step(EQUALS, unless.command, otherwise=len(compared)),
                    *compared,
                ]
            code += [
                _step(EQUALS, number, otherwise=len(compared) + 1),
                *compared,
                _step(LOAD, NUMBER),
            ]
    code += [
        # Its flags cannot be seen from here; without it, the C library takes clone.
        _step(EQUALS, CLONE3, otherwise=1),
        _step(RETURN, ERROR | errno.ENOSYS),
        _step(RETURN, ALLOW),
    ]
    return b"".join(code)


def _step(operation: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """then, otherwise: how many steps to leave out after a comparison."""
    return struct.pack("=HBBI", operation, then, otherwise, value)
