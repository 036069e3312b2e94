"""A Keras classifier from elsewhere ▸ a copy that says itself what it is."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from classifier import archive, modelfile
from classifier import contract as contracts
from classifier.compile import Program, compiled
from classifier.contract import Contract, Description, first
from classifier.durable import name_new
from classifier.errors import ModelError
from classifier.trust import replaceable
from trainer.data import check_apart
from trainer.errors import DataError, TrainerError

log = logging.getLogger(__name__)

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
        names = (
            _in_order(json.loads(text)) if path.suffix.lower() == ".json" else _lines(text, path)
        )
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
    if not names:
        raise DataError(f"{path}: there is no class name in it")
    return names


def _lines(text: str, path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if blank := [str(number) for number, line in enumerate(lines, 1) if not line]:
        log.warning("%s: not counted as classes, because they are blank: lines %s", path,
                    ", ".join(blank))  # fmt: skip
    return tuple(line for line in lines if line)


def check_names(names: tuple[str, ...], where: str) -> None:
    """Raise `DataError` if classes cannot be called so, whatever the model: told before it is
    compiled. where: who gave the names."""
    try:
        Contract(names, 1, 1, 1)
    except ModelError as error:
        raise DataError(f"{where}: {error}") from None
    check_apart(names, where)


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
    """Write `output`, a copy of a model with its contract inside; its program and its digest.

    What the description does not say is read off the network, in the process that compiles it.
    cache: a folder for compiled programs; the user's cache folder by default.

    Raises `ModelError` if it cannot be used with this description, `TrainerError` if it has a
    contract already or `output` exists.
    """
    if output.suffix != ".keras":
        raise TrainerError(f"--output {output}: a model file's name ends in .keras")
    if not output.parent.is_dir():
        raise TrainerError(f"--output {output}: there is no such folder: make it")
    if how := replaceable(output):
        raise TrainerError(f"--output {output}: {how}")
    _refuse_existing(output)
    _refuse_described(model)
    folder = cache or Path.home() / ".cache" / "classifyd"
    program = compiled(model, folder, description)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".saving-") as drafts:
        draft = Path(drafts) / output.name
        with modelfile.opened(model) as (file, _):
            contracts.add(file, program.digest, draft, program.contract)
        # Its network is the one that was compiled, byte for byte, and so it is not compiled again.
        archive.check(draft)
        described = replace(program, digest=modelfile.digest_of(draft))
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
            f"{model}: it says itself what its classes are called ({first(own.labels)}), and runs "
            "as it is"
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
