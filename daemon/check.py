"""Is the configuration right? The model is opened as a worker would, nothing is classified."""

from __future__ import annotations

from collections.abc import Iterator

from classifier.contract import Contract
from daemon.fitting import program_of
from daemon.folders import prepare
from daemon.row import word
from daemon.settings import Settings
from daemon.worth import worth


def lines(settings: Settings) -> Iterator[str]:
    """What is in force, line by line. Raises `ModelError` if the model cannot be used."""
    prepare(settings.state, settings.results)
    program = program_of(settings)
    contract = program.contract
    yield f"inbox      {settings.inbox}"
    yield f"results    {settings.results}"
    yield f"state      {settings.state}"
    pinned = " (pinned)" if settings.model_sha256 else ""
    name = f"{word(program.digest, 12)}{pinned} {settings.model}"
    yield f"model      {name}: {worth(contract.evidence)}"
    size = f"{contract.height}x{contract.width}x{contract.channels}"
    yield f"input      {size}, pixels scaled by: {contract.scaling}"
    yield f"classes    {len(contract.labels)}: {', '.join(contract.labels)}"
    as_it_is = ", as the network gives it" if contract.temperature == 1 else ""
    yield f"confidence temperature {contract.temperature:g}{as_it_is}"
    yield f"unknown    {_unknown(contract, asked=settings.unknown)}"
    yield f"runs on    {'LiteRT' if program.litert else 'Keras'}: {program.note}"
    yield f"workers    {settings.worker_count}"
    if settings.after.do == "move":
        yield "after      moved to {to}, what has failed to {failed_to}".format_map(settings.ways)
    yield "The configuration is right."


def _unknown(contract: Contract, *, asked: bool) -> str:
    """Whether the model can tell what is none of its classes, and whether that is asked of it."""
    if contract.energy_threshold is None:
        return "it cannot tell what is none of its classes"
    told = f"it can tell what is none of its classes (energy below {contract.energy_threshold:g})"
    return told if asked else f"{told}; `unknown: true` asks it to"
