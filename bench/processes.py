"""Whole processes: run to their end, or watched while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, NamedTuple

from bench.setup import ROOT, processors

PATIENCE_SECONDS = 60.0  # for a process that was asked to end


class Finished(NamedTuple):
    """seconds: from its start to its end, by the clock. cpu: seconds of processors, of it and all
    that it has started and waited for. said: the last line of its output, if that is JSON."""

    seconds: float
    cpu: float
    said: dict[str, Any]


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this project."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def finished(
    command: Sequence[str],
    watching: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Finished:
    """Run a command to its end. watching: given its number, a block to be in meanwhile.

    Raises `RuntimeError` if it fails.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=ROOT
        )
        try:
            with watching(process.pid):
                _, status, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - began
                process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            process.kill()  # if it is there still: Ctrl-C, say
        if process.returncode:
            errors.seek(0)
            words = errors.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
        output.seek(0)
        last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
        said = json.loads(last) if last.startswith("{") else {}
    return Finished(seconds, usage.ru_utime + usage.ru_stime, said)


@contextmanager
def started(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; at the end of the block it is asked to end, and waited for."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def on_every_processor(name: str, *arguments: object) -> list[dict[str, Any]]:
    """What each of as many processes says as there are processors, each pinned to its own.

    The module `name` gets its processor, its number, how many there are, and the arguments. It
    says `ready`, goes on when it is told to, so that all measure at the same time, and says JSON.
    """
    with tempfile.TemporaryFile("w+") as errors:
        try:
            return _together(name, arguments, errors)
        except (json.JSONDecodeError, BrokenPipeError):
            errors.seek(0)
            raise RuntimeError(f"{name} failed:\n{errors.read()}") from None


def _together(name: str, arguments: Sequence[object], errors: IO[str]) -> list[dict[str, Any]]:
    cores = processors()
    running = [
        subprocess.Popen(
            module(name, core, number, len(cores), *arguments),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, text=True,
        )
        for number, core in enumerate(cores)
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()  # `ready`
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
