"""Is the configuration right? The model is opened as a worker would, nothing is classified."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.folders import prepare
from daemon.row import word
from daemon.service import program_of
from daemon.settings import Settings


def lines(settings: Settings) -> Iterator[str]:
    """What is in force, line by line. Raises `ModelError` if the model cannot be used."""
    prepare(settings.state, settings.results)
    program = program_of(settings)
    contract = program.contract
    yield f"inbox      {settings.inbox}"
    yield f"results    {settings.results}"
    yield f"state      {settings.state}"
    pinned = " (pinned)" if settings.model_sha256 else ""
    yield f"model      {word(program.digest, 12)}{pinned} {settings.model}"
    size = f"{contract.height}x{contract.width}x{contract.channels}"
    yield f"input      {size}, pixels scaled by: {contract.scaling}"
    yield f"classes    {len(contract.labels)}: {', '.join(contract.labels)}"
    yield f"runs on    {'LiteRT' if program.litert else 'Keras'}: {program.note}"
    yield f"workers    {settings.worker_count}"
    yield "The configuration is right."
