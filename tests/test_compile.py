"""classifier.compile: a `.keras` file becomes a LiteRT program that answers as Keras does."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from classifier import contract as contracts
from classifier import modelfile
from classifier.classify import Classifier
from classifier.compile import DRAFT, Program, compiled
from classifier.contract import Contract, Description
from classifier.durable import SyncError
from classifier.errors import ModelError

THREE = ("cat", "dog", "owl")
Convert = Callable[[str, Description], Classifier]

# Small models with what their owner says of them.
SCALED = [
    ("unscaled", Description(THREE, "0..1")),
    ("centred", Description(THREE, "-1..1")),
    ("grey", Description(THREE)),
    ("oblong", Description(THREE)),
]
WRONGLY_SCALED = ("unscaled", Description(THREE))
REFUSED = {
    "one_sigmoid_each": (Description(THREE), "not probabilities that add up to 1"),
    "centred": (
        Description(THREE, output="logits"),
        "gives probabilities, not logits: .* Say `softmax`",
    ),
    "lambda": (Description(THREE), "Python code along .* never run here"),
    "any_size": (Description(THREE), r"input is \(None, None, None, 3\)"),
    "batch_of_one": (Description(THREE), r"input is \(1, 32, 32, 3\)"),
    "never_built": (Description(THREE), "of known shape"),
    "two_heads": (Description(THREE), "one output"),
    "picture_to_picture": (Description(THREE), r"must be \(None, classes\)"),
    "damaged": (Description(THREE), "the model file is damaged"),
    "grey": (Description(("cat", "dog")), r"2 class names \(cat, dog\), .* 3 outputs"),
    # It carries a contract of its own, a wrong one, and that goes before the description.
    "turned": (Description(THREE), r"an input of \[40, 24, 3\] .* takes \[24, 40, 3\]"),
}
CASES = [
    *SCALED,
    WRONGLY_SCALED,
    ("logits", Description(THREE)),
    ("sigmoid", Description(("no", "yes"))),
    *((name, description) for name, (description, _) in REFUSED.items()),
]

CONVERT = """
import json, sys
from pathlib import Path
from classifier.contract import Description
from classifier.convert import convert
from classifier.errors import ModelError
models, folder, errors = Path(sys.argv[1]), Path(sys.argv[2]), []
for number, (name, said) in enumerate(json.loads(sys.argv[3])):
    draft = folder / str(number)
    draft.mkdir()
    try:
        convert(models / f"{name}.keras", draft, Description(**said))
        errors.append(None)
    except ModelError as error:
        errors.append(str(error))
(folder / "errors.json").write_text(json.dumps(errors))
"""

COMPILE = """
import sys
from pathlib import Path
from classifier.compile import compiled
compiled(Path(sys.argv[1]), Path(sys.argv[2]))
heavy = {"tensorflow", "keras", "cv2", "numpy", "ai_edge_litert"} & set(sys.modules)
print(*sorted(heavy))
"""


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def answers(classifier: Classifier, models: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier says of the images of a small model, and what Keras said."""
    images = np.load(models / f"{name}.images.npy")
    return classifier.probabilities(images), np.load(models / f"{name}.answers.npy")


@pytest.fixture(scope="module")
def convert(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """`convert(name, description)`: the compiler alone, with all of CASES in one go."""
    folder = tmp_path_factory.mktemp("converted")
    cases = [(name, asdict(description)) for name, description in CASES]
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, small_models, folder, json.dumps(cases)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = json.loads((folder / "errors.json").read_text())

    def result(name: str, description: Description) -> Classifier:
        number = CASES.index((name, description))
        if errors[number] is not None:
            raise ModelError(errors[number])
        draft = folder / str(number)
        contract = Contract.from_json((draft / "contract.json").read_bytes())
        model = small_models / f"{name}.keras"
        return Classifier.from_program(Program(model, "", contract, draft / "model.litert", ""))

    return result


@pytest.mark.slow
def test_the_shipped_model_agrees_with_keras(
    shipped_model: Path, compiled_cache: Path, small_models: Path
) -> None:
    program = compiled(shipped_model, compiled_cache)
    assert program.litert is not None
    assert "agrees with Keras" in program.note
    assert program.digest == modelfile.digest_of(shipped_model)
    assert program.contract == contracts.read(shipped_model)
    got = Classifier.from_program(program).outputs(np.load(small_models / "shipped.images.npy"))
    expected = np.load(small_models / "shipped.answers.npy")  # logits
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert len(set(expected.argmax(axis=1))) > 1  # else it would agree with anything


@pytest.mark.parametrize(("name", "description"), SCALED)
def test_a_model_without_a_contract_by_its_description(
    name: str, description: Description, small_models: Path, convert: Convert
) -> None:
    classifier = convert(name, description)
    got, expected = answers(classifier, small_models, name)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert classifier.contract.labels == THREE
    assert got.std(axis=0).max() > 0.01


def test_the_wrong_scaling_gives_other_answers(small_models: Path, convert: Convert) -> None:
    """Or the test above would say nothing of scaling."""
    got, expected = answers(convert(*WRONGLY_SCALED), small_models, "unscaled")
    assert np.abs(got - expected).max() > 0.1


def test_logits_become_probabilities(small_models: Path, convert: Convert) -> None:
    classifier = convert("logits", Description(THREE))
    assert classifier.contract.output == "logits"  # read off the last layer
    got, logits = answers(classifier, small_models, "logits")
    odds = np.exp(logits.astype(float))
    np.testing.assert_allclose(got, odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


def test_one_sigmoid_is_the_second_of_two_classes(small_models: Path, convert: Convert) -> None:
    classifier = convert("sigmoid", Description(("no", "yes")))
    assert classifier.contract.output == "sigmoid"
    got, yes = answers(classifier, small_models, "sigmoid")
    np.testing.assert_allclose(got, np.concatenate([1 - yes, yes], axis=1), atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_does_not_fit_is_refused(
    name: str, small_models: Path, convert: Convert
) -> None:
    description, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        convert(name, description)


def test_a_refusal_reaches_the_caller_and_leaves_nothing(
    small_models: Path, tmp_path: Path
) -> None:
    model = small_models / "lambda.keras"
    with pytest.raises(ModelError, match="never run here") as caught:
        compiled(model, tmp_path, Description(THREE))
    assert str(caught.value).startswith(f"{model}: the layer 'lambda' brings ")
    assert entries(tmp_path) == []


@pytest.mark.slow
def test_what_litert_cannot_take_runs_on_keras(small_models: Path, tmp_path: Path) -> None:
    """In a process of its own: this one shall stay free of Keras."""
    model = small_models / "bicubic.keras"
    program = compiled(model, tmp_path, Description(THREE))
    assert program.litert is None
    assert program.note.startswith("LiteRT cannot take this network, it runs on Keras: ")
    script = """
import sys
from pathlib import Path
import numpy as np
from classifier.classify import Classifier
from classifier.contract import Description
folder, cache = map(Path, sys.argv[1:])
classifier = Classifier.open(folder / "bicubic.keras", cache, Description(("cat", "dog", "owl")))
got = classifier.probabilities(np.load(folder / "bicubic.images.npy"))
np.testing.assert_allclose(got, np.load(folder / "bicubic.answers.npy"), atol=1e-5)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, small_models, tmp_path], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # TensorFlow's greetings are kept back

    # What runs is the copy that is kept with the program; a damaged one is made anew.
    assert program.model.parent == next(tmp_path.iterdir())
    program.model.write_bytes(b"cut")
    again = compiled(model, tmp_path, Description(THREE))
    assert again == program
    assert again.model.read_bytes() == model.read_bytes()


def test_a_model_that_nobody_described(small_models: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"with `classifyd-train describe`; .* `labels:` in its configuration"
    ):
        compiled(small_models / "grey.keras", tmp_path)


def test_the_calling_process_stays_small(shipped_model: Path, tmp_path: Path) -> None:
    # A folder with modules of these names must not lend them to the compiler.
    for name in ("keras", "tensorflow", "classifier", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", COMPILE, shipped_model.absolute(), "cache"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "HOME": str(home)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    assert list(home.iterdir()) == []  # where Keras keeps its settings, if it is let
    assert len(entries(tmp_path / "cache")) == 1


def test_the_second_time_comes_from_the_cache(
    shipped_model: Path, compiled_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert compiled(shipped_model, compiled_cache).litert is not None


def test_a_cache_that_cannot_be_written(shipped_model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be kept here"):
        compiled(shipped_model, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "content"),
    [("report.json", b"{}"), ("contract.json", b"x"), ("model.litert", b"cut"),
     ("model.litert", None), ("report.json", b"")],
)  # fmt: skip
def test_a_damaged_cache_is_made_anew(
    name: str, content: bytes | None, shipped_model: Path, compiled_cache: Path, tmp_path: Path
) -> None:
    cache = shutil.copytree(compiled_cache, tmp_path / "cache")
    (entry,) = cache.iterdir()
    whole = {path.name: path.read_bytes() for path in entry.iterdir()}
    if content is None:
        (entry / name).unlink()
    else:
        (entry / name).write_bytes(content)
    program = compiled(shipped_model, cache)
    assert program.litert == entry / "model.litert"
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == whole


def test_labels_for_a_model_that_has_its_own_are_refused(
    shipped_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="take `labels:` out"):
        compiled(shipped_model, tmp_path, Description(("cat", "dog")))


def test_two_processes_at_once(shipped_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMPILE, shipped_model, tmp_path]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(entries(tmp_path)) == 1
    assert compiled(shipped_model, tmp_path).litert is not None


def converter_of(process: subprocess.Popen[bytes]) -> int:
    """The id of the process that converts for this one, as soon as it has begun to."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for child in map(int, children.read_text().split()):
            if b"classifier.convert" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.01)
    raise AssertionError("it ended before it converted anything")


def has_ended(process: int) -> bool:
    """Its last thread, too: one that still ends holds its files open."""
    folder = Path(f"/proc/{process}")
    try:
        state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return state == "Z" and len(list((folder / "task").iterdir())) == 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def compile_what_is_no_model(folder: Path, cache: Path) -> None:
    """The least that a compilation can be."""
    (folder / "no.keras").write_bytes(b"no zip")
    with pytest.raises(ModelError):
        compiled(folder / "no.keras", cache, Description(THREE))


@pytest.mark.parametrize("seconds", [0.0, 1.5], ids=["at its beginning", "at work"])
def test_a_killed_compiler_leaves_no_process_and_no_folder(
    seconds: float, shipped_model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen([sys.executable, "-c", COMPILE, shipped_model, cache])
    converter = converter_of(process)
    time.sleep(seconds)
    process.kill()  # itself alone, as `kill -9` does
    process.wait()
    deadline = time.monotonic() + 10
    while not has_ended(converter):
        assert time.monotonic() < deadline, "the converter works on for nobody"
        time.sleep(0.05)
    (draft,) = entries(cache)
    assert draft.startswith(DRAFT)
    compile_what_is_no_model(tmp_path, cache)
    assert entries(cache) == []


def test_what_another_compiler_is_at_is_not_cleared_away(
    shipped_model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    other = subprocess.Popen([sys.executable, "-c", COMPILE, shipped_model, cache])
    converter_of(other)
    draft = entries(cache)
    compile_what_is_no_model(tmp_path, cache)
    assert entries(cache) == draft
    other.terminate()
    other.wait()


def test_a_failed_sync_is_no_fault_of_the_model(
    shipped_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon ends then, and does not say that the model cannot be used."""

    def failing(*_: object) -> None:
        raise SyncError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("classifier.compile.sync_file", failing)
    with pytest.raises(SyncError):
        compiled(shipped_model, tmp_path)
    assert entries(tmp_path) == []
