"""What a process may take from the machine, whatever a model or an image asks for."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_SET_NO_NEW_PRIVS = 38

# Compiling the model that comes along takes 0.6 GB; a large one is held a few times over.
MEMORY_BYTES = 4 << 30
MEMORY_FOR_EACH_BYTE = 10


def memory_for(model_bytes: int) -> int:
    """Bytes that compiling a model of this size may take: no more than the machine has."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(MEMORY_BYTES + MEMORY_FOR_EACH_BYTE * model_bytes, machine)


def limit_this_process(memory: int, seconds: int) -> None:
    """For the process that compiles a model: memory, time on a processor, no core files, no
    privileges from programs that it may start.

    RLIMIT_DATA counts what is really asked for. The address space (RLIMIT_AS) would count what
    TensorFlow and its threads only set aside, more on machines with more processors.
    """
    processors = len(os.sched_getaffinity(0))
    lower(resource.RLIMIT_DATA, memory)
    lower(resource.RLIMIT_CPU, seconds * processors)
    lower(resource.RLIMIT_CORE, 0)
    take_no_privileges()


def take_no_privileges() -> None:
    """A set-uid program is no way out any more."""
    if sys.platform == "linux":
        one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero)


def lower(which: int, limit: int) -> None:
    """Set a limit of this process for good, to no more than it is."""
    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))
