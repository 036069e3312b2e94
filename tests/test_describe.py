"""classifyd-train describe: a Keras file from elsewhere gets a copy that runs as it is."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier import contract as contracts
from classifier import modelfile
from classifier.classify import Classifier
from classifier.contract import Contract
from classifier.errors import ModelError
from trainer.__main__ import main
from trainer.describe import read_labels
from trainer.errors import DataError

Describe = Callable[..., int]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def describe(
    home: Path, small_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Describe:
    """`describe(name, *options)`, into copy.keras ▸ the exit code."""
    monkeypatch.setenv("HOME", str(home))

    def run(name: str, *options: str, output: str = "copy.keras") -> int:
        model = str(small_models / f"{name}.keras")
        return main(["describe", model, *options, "--output", str(tmp_path / output)])

    return run


@pytest.mark.parametrize(
    ("name", "options", "contract"),
    [
        ("grey", ("--labels", "names.txt"), Contract(("Katze", "犬", "an owl"), 28, 28, 1)),
        ("centred", ("--names", "a", "b", "c", "--scaling", "-1..1"),
         Contract(("a", "b", "c"), 32, 32, 3, "-1..1")),
        ("sigmoid", ("--names", "no", "yes"),
         Contract(("no", "yes"), 32, 32, 3, output="sigmoid")),
        ("logits", ("--names", "a", "b", "c", "--output-kind", "logits"),
         Contract(("a", "b", "c"), 32, 32, 3, output="logits")),
    ],
)  # fmt: skip
def test_a_copy_runs_without_a_description(
    name: str,
    options: tuple[str, ...],
    contract: Contract,
    describe: Describe,
    home: Path,
    small_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_bytes("\ufeffKatze\r\n\r\n 犬 \r\nan owl".encode())
    model, copy = small_models / f"{name}.keras", tmp_path / "copy.keras"
    before = model.read_bytes()
    assert describe(name, *options) == 0
    assert contracts.read(copy) == contract
    assert model.read_bytes() == before
    assert copy.stat().st_mode == model.stat().st_mode
    assert [*tmp_path.glob(".*")] == []

    # All that was in the file is there as it was, byte for byte, and before what was added.
    with zipfile.ZipFile(model) as archive:
        assert copy.read_bytes()[: archive.start_dir] == before[: archive.start_dir]
        names = archive.namelist()
    with zipfile.ZipFile(copy) as archive:
        assert archive.namelist() == [*names, "contract.json"]

    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"saved {copy}"
    assert f"classes    {len(contract.labels)}: {', '.join(contract.labels)}" in said
    assert f"output     {contract.output}" in said
    assert said[-1] == f"SHA-256    {modelfile.digest_of(copy)}"
    assert [line for line in caplog.messages if "compiling" in line] == [
        f"compiling {model}: once for each model, some ten seconds"
    ]

    classifier = Classifier.open(copy, home / ".cache" / "classifyd")
    outputs = classifier.outputs(np.load(small_models / f"{name}.images.npy"))
    np.testing.assert_allclose(outputs, np.load(small_models / f"{name}.answers.npy"), atol=1e-4)


def test_what_is_refused(
    describe: Describe,
    tmp_path: Path,
    small_models: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def complaint(name: str, *options: str, output: str = "copy.keras") -> str:
        assert describe(name, *options, output=output) == 2
        return capsys.readouterr().err.splitlines()[-1]

    two = ("--names", "cat", "dog")
    assert "2 class names (cat, dog), but the network has 3 outputs" in complaint("grey", *two)
    assert f"{small_models}/turned.keras: it says itself what its classes are called " in complaint(
        "turned", *two
    )
    assert "a model file's name ends in .keras" in complaint("grey", *two, output="copy.h5")
    assert "there is no such folder" in complaint("grey", *two, output="none/copy.keras")
    assert f"{small_models}/none.keras: there is no model here" in complaint("none", *two)
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "copy.keras").write_text("mine")
    assert "is there already: name another file" in complaint("grey", *two)
    assert (tmp_path / "copy.keras").read_text() == "mine"
    with pytest.raises(SystemExit, match="2"):
        describe("grey")
    with pytest.raises(SystemExit, match="2"):
        describe("grey", "--labels", "a", *two)


def test_what_is_wrong_with_names_is_told_before_compiling(
    describe: Describe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")  # nothing can be compiled
    (tmp_path / "twice.txt").write_text("cat\nowl\ncat\n")

    def complaint(*options: str) -> str:
        assert describe("grey", *options) == 2
        return capsys.readouterr().err.splitlines()[-1].removeprefix("classifyd-train: ")

    twice = str(tmp_path / "twice.txt")
    assert complaint("--labels", twice) == f"{twice}: class names come twice: cat"
    assert complaint("--names", "a", "b", "a") == "--names: class names come twice: a"
    assert "--names: a class name must be one line of text" in complaint(
        "--names", "a", "b\nc", "d"
    )
    assert "--names: a classifier needs at least two" in complaint("--names", "a")
    assert complaint("--names", "a", "b", "a ") == (
        "--names: the classes 'a' and 'a ' differ in spaces at an end alone: rename one, or make "
        "them one"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["twice.txt"]


def test_blank_lines_among_class_names_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n \nowl\n\n\n")
    assert read_labels(names) == ("cat", "dog", "owl")
    assert caplog.messages == [
        f"{names}: not counted as classes, because they are blank: lines 2, 4"
    ]


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("names.txt", b"cat\ndog\n", ("cat", "dog")),
        ("names", b"\xef\xbb\xbf[cat]\r\n\r\n  \r\n dog \r\n", ("[cat]", "dog")),
        ("names.json", b'["cat", "dog"]', ("cat", "dog")),
        ("names.json", b'\xef\xbb\xbf{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ("class_indices.JSON", b'{"dog": 1, "cat": 0, "10": 2}', ("cat", "dog", "10")),
        ("names.txt", b" \n\n", "there is no class name in it"),
        ("names.json", b"[]", "there is no class name in it"),
        ("names.txt", b"caf\xe9", "is not UTF-8 text"),
        ("names.txt", b"a" * (1 << 21), "too large"),
        ("names.json", b'["cat"', "is not JSON"),
        ("names.json", b"[" * 100_000, "is not JSON"),
        ("names.json", b'["cat", 7]', "must hold"),
        ("names.json", b'{"1": "cat", "2": "dog"}', "counted from 0"),
        ("names.json", b'{"cat": 0, "dog": 0}', "must hold"),
        ("names.json", b"7", "must hold"),
        ("none.txt", None, "cannot be read: No such file"),
    ],
)  # fmt: skip
def test_files_of_class_names(
    file: str, content: bytes | None, expected: tuple[str, ...] | str, tmp_path: Path
) -> None:
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    if isinstance(expected, tuple):
        assert read_labels(path) == expected
    else:
        with pytest.raises(DataError, match=expected):
            read_labels(path)


def test_a_contract_is_not_added_twice(shipped_model: Path, tmp_path: Path) -> None:
    contract = Contract(("a", "b"), 32, 32, 3)
    with (
        modelfile.opened(shipped_model) as (file, digest),
        pytest.raises(ModelError, match="carries a contract already"),
    ):
        contracts.add(file, digest, tmp_path / "copy.keras", contract)
