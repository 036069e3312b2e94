"""A cluster: joined, asked what it has, and whether each of its nodes sees what it has to."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from daemon.cluster.node import Look, look_around
from daemon.errors import ClusterError

log = logging.getLogger(__name__)

JOIN_SECONDS, LOOK_SECONDS = 60, 120
LOCAL = "local"
MANY = 16  # actors on a node, of such as take nothing of it


class Size(NamedTuple):
    """How many actors, and what each of them takes of a node."""

    actors: int
    cpus: float
    gpus: float


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """Within it, this process is part of a cluster; address: as `ray.init` has it.

    Raises `ClusterError`.
    """
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    local = {"include_dashboard": False}
    logging.getLogger("ray").setLevel(logging.WARNING)
    # Of Ray's own parts in this process: what is wrong comes as an exception as well.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(address=address, **quiet, **(local if address == LOCAL else {}))
    except (ConnectionError, RuntimeError, ValueError, RayError, OSError) as error:
        raise ClusterError(
            f"--address {address}: there is no cluster: {_line(error)}. Start one with `ray start "
            "--head`, name its address, or take this machine alone with --address local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def alive() -> list[dict[str, Any]]:
    """The nodes, as `ray.nodes` tells of them."""
    return [node for node in ray.nodes() if node["Alive"]]


def sized(actors: int | None, cpus: float, gpus: float) -> Size:
    """How many actors there is room for, or whether there is for those that are asked for.

    Raises `ClusterError`: with too little, the job would wait for ever.
    """
    nodes = [node["Resources"] for node in alive()]
    room = sum(_fits(node, cpus, gpus) for node in nodes)
    each = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
    has = ", ".join(
        f"{sum(node.get(kind, 0.0) for node in nodes):g} {kind}s" for kind in ("CPU", "GPU")
    )
    if (actors or 1) > room:
        raise ClusterError(
            f"{actors or 1} actors of {each} each do not find room, {room} do: the cluster has "
            f"{has} on {len(nodes)} nodes. Add nodes, or ask for less"
        )
    return Size(actors or room, cpus, gpus)


def look_at_all(folders: Sequence[str], marked: Sequence[Path], urls: Sequence[str]) -> None:
    """See that every node sees what it has to.

    marked: folders of ours that have to be the same ones there. Raises `ClusterError` that names
    every node with what is wrong.
    """
    with contextlib.ExitStack() as stack:
        marks = tuple(stack.enter_context(_mark(folder)) for folder in marked)
        look = Look(version("classifyd"), tuple(folders), marks, tuple(urls))
        asked = {}
        for node in alive():
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, scheduling_strategy=there, max_retries=0)(look_around)
            asked[task.remote(look)] = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
        wrong = []
        for answer, name in asked.items():
            try:
                wrong += [f"node {name} {what}" for what in ray.get(answer, timeout=LOOK_SECONDS)]
            except GetTimeoutError:
                wrong.append(f"node {name} does not answer within {LOOK_SECONDS} s")
            except RayError as error:
                wrong.append(f"node {name} cannot run classifyd: {_line(error)}")
    if wrong:
        raise ClusterError("\n".join(wrong))


@contextlib.contextmanager
def _mark(folder: Path) -> Iterator[tuple[str, str]]:
    """A file with a word in it that nobody can guess."""
    word = secrets.token_hex(16)
    file = folder / f".seen-{word[:8]}"
    file.write_text(word)
    try:
        yield str(file), word
    finally:
        file.unlink(missing_ok=True)


def _fits(node: dict[str, float], cpus: float, gpus: float) -> int:
    rooms = [
        node.get(kind, 0.0) // each for kind, each in (("CPU", cpus), ("GPU", gpus)) if each > 0
    ]
    return int(min(rooms, default=MANY))


def _line(error: BaseException) -> str:
    """The last line of what it says: those before it tell where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
