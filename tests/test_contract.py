"""classifier.contract: what a model file promises, inside the file itself."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from classifier import contract as contracts
from classifier.contract import Contract
from classifier.errors import ModelError

GOOD: dict[str, Any] = {"version": 1, "labels": ["cat", "dog"], "height": 32, "width": 24,
                        "channels": 3, "scaling": "0..1", "output": "softmax"}  # fmt: skip


class Saved:
    """What `write` needs of a Keras model: its file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def save(self, filepath: str) -> None:
        shutil.copy(self._file, filepath)


class Failing:
    """A model whose save comes to a full disk after some bytes."""

    def save(self, filepath: str) -> None:
        Path(filepath).write_bytes(b"half a mo")
        raise OSError(28, "No space left on device")


def keras_zip(path: Path, **members: str) -> Path:
    """A zip with the members of a Keras file, as far as this module looks at them."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"config": "{}", **members}.items():
            archive.writestr(f"{name}.json", text)
    return path


def plain(shipped: Path, path: Path) -> Path:
    """The shipped model as Keras alone would have saved it."""
    with zipfile.ZipFile(shipped) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != contracts.MEMBER:
                target.writestr(name, source.read(name))
    return path


def test_what_is_written_is_read(shipped_model: Path, tmp_path: Path) -> None:
    contract = Contract(
        ("Katze", "犬", "क्\u200dष"), 32, 24, 1, "-1..1", "logits", {"accuracy": 0.5}
    )
    foreign = plain(shipped_model, tmp_path / "foreign.keras")
    assert contracts.read(foreign) is None
    path = tmp_path / "new" / "model.keras"
    contracts.write(Saved(foreign), path, contract)
    assert contracts.read(path) == contract
    assert contracts.read(path).evidence == {"accuracy": 0.5}  # type: ignore[union-attr]
    with zipfile.ZipFile(path) as written, zipfile.ZipFile(foreign) as source:
        assert written.namelist() == [*source.namelist(), "contract.json"]
        assert written.testzip() is None
    assert [p.name for p in path.parent.iterdir()] == ["model.keras"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_new_file_is_for_whom_the_old_one_was(shipped_model: Path, tmp_path: Path) -> None:
    foreign = plain(shipped_model, tmp_path / "foreign.keras")
    path = tmp_path / "model.keras"
    path.touch()
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    assert contracts.write(Saved(foreign), path, Contract(("a", "b"), 32, 32, 3))
    found = path.stat()
    assert found.st_size > 0
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


def test_a_save_that_fails_leaves_the_old_file(shipped_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    shutil.copy(shipped_model, path)
    with pytest.raises(OSError, match="No space left"):
        contracts.write(Failing(), path, Contract(("a", "b"), 32, 32, 3))
    assert path.read_bytes() == shipped_model.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_the_shipped_model_names_the_classes_of_cifar10(shipped_model: Path) -> None:
    contract = contracts.read(shipped_model)
    assert contract is not None
    assert (contract.height, contract.width, contract.channels) == (32, 32, 3)
    assert contract.labels[::9] == ("airplane", "truck")
    assert len(contract.labels) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3, and this classifyd reads up to 2: update"),
        ({"version": "1"}, "version '1'"),
        ({"version": None}, "does not say its version"),
        ({"colour": "blue"}, "not known here: colour"),
        ({"labels": None}, "does not say: labels"),
        ({"labels": "catdog"}, "a list of labels"),
        ({"labels": ["cat"]}, "at least two"),
        ({"labels": ["cat", " "]}, "one line of text, and ' ' is not"),
        ({"labels": ["cat", 7]}, "one line of text, and 7 is not"),
        ({"labels": ["cat", ["dog"]]}, "one line of text"),
        ({"labels": ["cat", "a\nb"]}, "one line of text"),
        ({"labels": ["cat", "\ud800"]}, "must be UTF-8 text"),
        ({"labels": ["cat", "a\u202egpj"]}, "one line of text"),  # turns the writing round
        ({"labels": ["cat", "\ufeffdog"]}, "one line of text"),
        ({"labels": ["cat", "\uffff"]}, "one line of text"),
        ({"\x1b[2J": 1}, r"what is not known here: \x1b[2J"),
        ({"labels": ["cat", "dog", "cat"]}, "twice: cat"),
        ({"height": None}, "does not say: height"),
        ({"height": "32"}, "whole numbers"),
        ({"height": 32.0}, "whole numbers"),
        ({"channels": True}, "whole numbers"),
        ({"height": 0}, "0x24 pixels is out of range"),
        ({"width": 5000}, "out of range"),
        ({"channels": 4}, "1 channel (grey) or 3 (RGB), not 4"),
        ({"scaling": "0-1"}, "scaling is one of graph, 0..1, -1..1"),
        ({"scaling": ["0..1"]}, "scaling is one of"),
        ({"output": "argmax"}, "output is one of softmax, logits, sigmoid"),
        ({"output": "sigmoid", "labels": ["a", "b", "c"]}, "two classes apart, not 3"),
        ({"evidence": 0.99}, "evidence"),
        ({"temperature": 0}, "temperature of 0 is out of range"),
        ({"temperature": True}, "temperature of True is out of range"),
        ({"temperature": float("nan")}, "temperature of nan is out of range"),
        ({"energy_threshold": "high", "output": "logits"}, "must be a number"),
        ({"energy_threshold": 1.5, "output": "softmax"}, "networks that give logits"),
    ],
)
def test_a_wrong_contract_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """None takes the key away."""
    said = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    path = keras_zip(tmp_path / "model.keras", contract=json.dumps(said))
    with pytest.raises(ModelError, match=re.escape(message)):
        contracts.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000, '{"labels": ["a"]}'])
def test_a_contract_that_is_no_contract(text: str, tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "model.keras", contract=text)
    with pytest.raises(ModelError, match="contract"):
        contracts.read(path)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "model.keras", contract=json.dumps(GOOD))
    assert contracts.read(path) == Contract(("cat", "dog"), 32, 24, 3, "0..1")


def test_a_contract_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("contract.json", " " * (64 << 20))
    with pytest.raises(ModelError, match="too large"):
        contracts.read(path)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", b"")
    with pytest.raises(ModelError, match="no Keras model is in it"):
        contracts.read(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\5\6" + b"\0" * 17, b"\0" * 99])
def test_what_is_no_zip(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        contracts.read(path)


def test_damage_anywhere_is_a_model_error_or_no_matter(shipped_model: Path, tmp_path: Path) -> None:
    whole = contracts.read(shipped_model)
    content = shipped_model.read_bytes()
    path = tmp_path / "model.keras"
    chance = random.Random(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 3, 20))):
            # Near the end are the zip's directory and our contract.
            damaged[chance.randrange(len(content) - 1500, len(content))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            assert contracts.read(path) in (whole, None)
        except ModelError:
            refused += 1
    assert refused > 100
