"""What the process that compiles a model may take from the machine, whatever the model asks for."""

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
    """Memory, time on a processor, no core files, no privileges from programs that it may start.

    RLIMIT_DATA counts what is really asked for. The address space (RLIMIT_AS) would count what
    TensorFlow and its threads only set aside, more on machines with more processors.
    """
    processors = len(os.sched_getaffinity(0))
    _lower(resource.RLIMIT_DATA, memory)
    _lower(resource.RLIMIT_CPU, seconds * processors)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _lower(which: int, limit: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))
