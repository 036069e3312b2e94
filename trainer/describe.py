"""A Keras classifier from elsewhere ▸ a copy that says itself what it is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classifier import contract as contracts
from classifier import modelfile
from classifier.compile import Program, compiled
from classifier.contract import Description
from classifier.durable import name_new
from classifier.errors import ModelError
from trainer.errors import DataError, TrainerError

MAX_BYTES = 1 << 20  # of a file of names; a contract may have no more


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names in the order of the outputs. Raises `DataError`.

    A `.json` file holds a list, `{"0": "cat", …}` or Keras's `class_indices`, `{"cat": 0, …}`; any
    other one a name on each line that is not blank.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DataError(f"{path}: is too large to be a list of class names")
        text = content.decode("utf-8-sig")
        if path.suffix.lower() != ".json":
            return tuple(line.strip() for line in text.split("\n") if line.strip())
        names = _in_order(json.loads(text))
    except OSError as error:
        raise DataError(f"{path}: the class names cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text: save it as such") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON: {error}") from None
    if names is None:
        raise DataError(
            f'{path}: must hold ["cat", "dog"], {{"0": "cat", "1": "dog"}} or '
            '{"cat": 0, "dog": 1}: a name for every output, counted from 0'
        )
    return names


def _in_order(said: Any) -> tuple[str, ...] | None:
    """The names of a list or a mapping, or None if it is neither of the right kind."""
    if isinstance(said, dict):
        by_place = said
        if all(type(value) is int for value in said.values()):
            by_place = {str(place): name for name, place in said.items()}
        said = [by_place.get(str(place)) for place in range(len(said))]
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        return None
    return tuple(said)


def describe(
    model: Path, description: Description, output: Path, cache: Path | None = None
) -> Program:
    """Write `output`, a copy of a model with its contract inside; the copy, as it will be served.

    What the description does not say is read off the network, in the process that compiles it.
    cache: a folder for compiled programs; the user's cache folder by default.

    Raises `ModelError` if it cannot be used with this description, `TrainerError` if it has a
    contract already or `output` exists.
    """
    if output.suffix != ".keras":
        raise TrainerError(f"--output {output}: a model file's name ends in .keras")
    if not output.parent.is_dir():
        raise TrainerError(f"--output {output}: there is no such folder: make it")
    _refuse_existing(output)
    _refuse_described(model)
    folder = cache or Path.home() / ".cache" / "classifyd"
    program = compiled(model, folder, description)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".saving-") as drafts:
        draft = Path(drafts) / output.name
        with modelfile.opened(model) as (file, _):
            contracts.add(file, program.digest, draft, program.contract)
        described = compiled(draft, folder)  # as serving opens it
        try:
            name_new(draft, output)
        except FileExistsError:
            _refuse_existing(output)
            raise
    return described


def _refuse_existing(output: Path) -> None:
    if os.path.lexists(output):
        raise TrainerError(f"--output {output}: is there already: name another file")


def _refuse_described(model: Path) -> None:
    try:
        with modelfile.opened(model):
            own = contracts.read(model)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None
    if own is not None:
        raise TrainerError(
            f"{model}: it says itself what its classes are called ({', '.join(own.labels[:3])}"
            f"{', ...' if len(own.labels) > 3 else ''}), and runs as it is"
        )


def lines(program: Program) -> Iterator[str]:
    """What is in force for a model, line by line."""
    contract = program.contract
    size = f"{contract.height}x{contract.width}x{contract.channels}"
    yield f"input      {size}, pixels scaled by: {contract.scaling}"
    yield f"output     {contract.output}"
    yield f"classes    {len(contract.labels)}: {', '.join(contract.labels)}"
    yield f"runs on    {'LiteRT' if program.litert else 'Keras'}: {program.note}"
    yield f"SHA-256    {program.digest}"
