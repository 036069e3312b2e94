"""What these processors allow at all: decoding alone, the network alone, one loop a processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import on_every_processor
from bench.setup import MODEL, Setup
from bench.subject import program_of
from classifier import contract as contracts
from classifier.engine import batch_sizes


class Limit(NamedTuple):
    """Images a second: of a processor that only decodes, of one that only runs the network, and of
    all processors that do both and nothing else."""

    decode: float
    network: float
    both: float


def rate_of(said: dict[str, Any]) -> float:
    """Images a second, of what a loop says."""
    return float(said["images"] / said["seconds"])


def mean_rate(said: Sequence[dict[str, Any]]) -> float:
    """Images a second of each processor."""
    return sum(map(rate_of, said)) / len(said)


def largest_batch(model: Path) -> int:
    """How many images classifyd gives this network at once."""
    contract = contracts.read(model)
    assert contract is not None
    return batch_sizes(contract)[-1]


def measured(setup: Setup, images: Path, model: Path = MODEL) -> Limit:
    """Measure it now, on these images."""
    contract = contracts.read(model)
    assert contract is not None
    seconds = 0.2 if setup.short else 3.0
    size = contract.height, contract.width
    decode = on_every_processor("bench.peers.decode_loop", images, *size, seconds)
    program, batch = program_of(setup, model), largest_batch(model)
    network = on_every_processor("bench.peers.network_loop", program, batch, seconds)
    one, other = mean_rate(decode), mean_rate(network)
    return Limit(one, other, len(decode) / (1 / one + 1 / other))
