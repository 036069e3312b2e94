"""Landlock: a process takes from itself, for good, the right to write anywhere but beneath some
folders, to start programs, to use TCP and to signal others. Linux 5.13 and later; each version of
its interface (ABI) can forbid more than the one before.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

# The same on all architectures.
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1
RESTRICT_SELF_TSYNC = 1 << 3  # all threads, from ABI 8

EXECUTE, WRITE_FILE = 1 << 0, 1 << 1
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (
    1 << bit for bit in range(6, 13)
)
REFER = 1 << 13  # to link or rename into another folder, from ABI 2
TRUNCATE = 1 << 14  # from ABI 3
IOCTL_DEV = 1 << 15  # from ABI 5
# Reading is left alone: images lie anywhere, and Python loads modules when it first needs them.
HANDLED = (
    EXECUTE | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_CHAR | MAKE_DIR | MAKE_REG | MAKE_SOCK
    | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM
)  # fmt: skip
ALLOWED = WRITE_FILE | TRUNCATE | MAKE_REG | MAKE_DIR
BIND_TCP, CONNECT_TCP = 1, 2  # from ABI 4
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1, 2  # from ABI 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),  # from ABI 4
        ("scoped", ctypes.c_uint64),  # from ABI 6
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def restrict(writable: Sequence[Path]) -> str:
    """Restrict this thread and what it will start, and all threads where the kernel can; what is in
    force. `PR_SET_NO_NEW_PRIVS` must have been set.

    Raises `OSError` where there is no Landlock, or a folder is not there.
    """
    abi = _call(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION)
    handled = HANDLED
    for since, access in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        if abi >= since:
            handled |= access
    ruleset = _Ruleset(
        handled,
        BIND_TCP | CONNECT_TCP if abi >= 4 else 0,
        SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0,
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8  # an older kernel refuses what it knows not
    rules = _call(SYS_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    try:
        for folder in writable:
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                rule = _PathBeneath(ALLOWED & handled, fd)
                _call(SYS_ADD_RULE, rules, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
            finally:
                os.close(fd)
        _call(SYS_RESTRICT_SELF, rules, RESTRICT_SELF_TSYNC if abi >= 8 else 0)
    finally:
        os.close(rules)
    threads = len(list(Path("/proc/self/task").iterdir())) if abi < 8 else 1
    return f"Landlock {abi}" + (f" (one of {threads} threads)" if threads > 1 else "")


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
