"""classifyd-train evaluate: from files on disk to a report, by the program that serves."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from classifier import contract as contracts
from classifier.classify import Classifier
from classifier.compile import compiled
from classifier.contract import Contract
from trainer.__main__ import main
from trainer.errors import DataError
from trainer.evaluate import NOT_A_NUMBER, evaluate
from trainer.strange import KINDS

if TYPE_CHECKING:
    from conftest import DrawImage

LABELS = ("owl", "cat & co", "dog")  # not in the order of their folders
REPORT = [
    "confusion.png", "coverage.png", "index.html", "metrics.json", "reliability.png", "worst.png",
]  # fmt: skip


class Copied:
    """A Keras model that is saved by copying its file: tests load no Keras."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def save(self, filepath: str) -> None:
        shutil.copy(self.source, filepath)


@pytest.fixture(scope="module")
def home(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a model of logits in it, which is compiled already."""
    folder = tmp_path_factory.mktemp("home")
    contract = Contract(LABELS, 32, 32, 3, output="logits", temperature=1.5, energy_threshold=0.9)
    contracts.write(Copied(small_models / "logits.keras"), folder / "made.keras", contract)
    compiled(folder / "made.keras", folder / ".cache" / "classifyd")
    return folder


@pytest.fixture
def model(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """That model in a folder of its own, where its report will be."""
    monkeypatch.setenv("HOME", str(home))
    return shutil.copy(home / "made.keras", tmp_path / "made.keras")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, draw_image: DrawImage) -> Path:
    """70 images, more than a batch, and a damaged one."""
    folder = tmp_path_factory.mktemp("data") / "drawn"
    for number in range(70):
        draw_image(folder / sorted(LABELS)[number % 3] / f"{number}.png", seed=number)
    damaged = folder / "dog" / "half.png"
    damaged.write_bytes((folder / "dog" / "1.png").read_bytes()[:300])
    return folder


def test_it_says_what_the_serving_program_says(model: Path, data: Path) -> None:
    found = evaluate(model, str(data), each=3)
    paths = [path for path in sorted(data.glob("*/*.png")) if path.stem != "half"]
    predictions = Classifier.open(model).classify(paths)
    assert [LABELS[label] for label in found.labels] == [path.parent.name for path in paths]
    answers = [LABELS[answer] for answer in found.outputs.argmax(axis=1)]
    assert answers == [prediction.label for prediction in predictions]
    assert found.left_out == (("dog/half.png", "the image is incomplete or damaged"),)
    mistakes = [
        (prediction.confidence, str(path.relative_to(data)), path.parent.name, prediction.label)
        for path, prediction in zip(paths, predictions, strict=True)
        if prediction.label != path.parent.name
    ]
    surest = sorted(mistakes, reverse=True)[:16]
    assert [(m.confidence, m.name, m.truth, m.given) for m in found.worst] == surest
    assert all(mistake.pixels.shape == (32, 32, 3) for mistake in found.worst)
    assert {kind: outputs.shape for kind, outputs in found.strange.items()} == dict.fromkeys(
        KINDS, (3, 3)
    )


def test_the_command(
    model: Path,
    data: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    arguments = ["evaluate", str(model), "--data", str(data), "--data-name", "Drawn"]
    assert main([*arguments, "--target-precision", "0.5"]) == 0
    folder = model.with_suffix(".report")
    assert sorted(path.name for path in folder.iterdir()) == REPORT
    said, loud = capfd.readouterr()
    assert loud == ""
    whole, left_out = caplog.messages
    assert whole.startswith(
        f"{data}: it has no test/, so all its images are measured. If the model"
    )
    assert left_out.startswith("left out: ")
    assert said.startswith("Drawn, 70 images: loss ")
    assert said.endswith(f"report: {folder / 'index.html'}\n")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"accuracy {100 * metrics['summary']['accuracy']:.2f}%\n" in said
    assert metrics["target_precision"]["target"] == 0.5
    assert len(metrics["left_out"]) == 1
    assert metrics["strange"]["kinds"].keys() == KINDS.keys()
    assert metrics["strange"]["each"] == 200
    for kind in KINDS:
        assert f"\n{kind} " in said


def test_a_folder_that_no_terminal_has_letters_for(model: Path, data: Path, tmp_path: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ph\xf6tos"))
    shutil.copytree(data, named)
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "evaluate", model, "--data", named],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"ph\udcf6tos, 70 images: loss ")
    assert json.loads((tmp_path / "made.report" / "metrics.json").read_text())["data"] == (
        r"ph\udcf6tos"
    )


def test_answers_that_are_no_number_are_left_out(small_models: Path, tmp_path: Path) -> None:
    """As serving fails such images."""
    model = tmp_path / "overflows.keras"
    contract = Contract(("a", "b", "c"), 32, 32, 3, output="logits")
    contracts.write(Copied(small_models / "overflows.keras"), model, contract)
    for name in contract.labels:
        (tmp_path / "data" / name).mkdir(parents=True)
        for shade in (0, 255):
            path = tmp_path / "data" / name / f"{shade}.png"
            cv2.imwrite(str(path), np.full((32, 32, 3), shade, np.uint8))
    found = evaluate(model, str(tmp_path / "data"), tmp_path / "cache", each=2)
    assert found.labels.tolist() == [0, 1, 2]
    assert found.left_out == tuple((f"{name}/255.png", NOT_A_NUMBER) for name in "abc")


def test_data_that_cannot_be_read_at_all(model: Path, tmp_path: Path) -> None:
    for name in LABELS:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "text.png").write_text("no image")
    with pytest.raises(DataError, match="none of its images can be read"):
        evaluate(model, str(tmp_path / "data"))


def test_a_report_that_cannot_be_written(
    model: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    arguments = ["evaluate", str(model), "--data", str(data)]
    assert main([*arguments, "--report", str(tmp_path / "taken")]) == 2
    said, loud = capfd.readouterr()
    assert said == ""
    assert loud == (
        f"classifyd-train: {tmp_path / 'taken'}: the report cannot be written here (Not a "
        "directory). Name another folder with --report FOLDER\n"
    )


def small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_disk_that_takes_no_more_leaves_the_old_report(
    model: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    for name in REPORT:
        (folder / name).write_text("old")
    arguments: list[str | Path] = ["evaluate", model, "--data", data, "--report", folder]
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        capture_output=True, text=True, check=False, preexec_fn=small_files_only,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"classifyd-train: {folder}: File too large"
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(
        REPORT, "old"
    )


@pytest.mark.parametrize("share", ["0", "1.01", "99", "nan", "most"])
def test_a_precision_that_is_none(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "model.keras", "--data", "data", "--target-precision", share])
    assert "--target-precision" in capsys.readouterr().err
