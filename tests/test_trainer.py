"""classifyd-train: a folder of class folders becomes a model file, and the evidence for it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from classifier import contract as contracts
from trainer.__main__ import main
from trainer.plot import curves

SHAPE = (32, 32, 3)
COLOURS = {"blue": (255, 60, 60), "green": (60, 255, 60), "red": (60, 60, 255)}
COMMAND = [sys.executable, "-m", "trainer"]
# As if no pixels fitted into memory: every image is read anew in every epoch.
FROM_DISK = (
    "import sys, trainer.screening; trainer.screening.KEPT_BYTES = 0; "
    "from trainer.__main__ import main; sys.exit(main())"
)


def draw_discs(folder: Path, count: int, seed: int) -> None:
    """For every class `count` pictures of a disc in its colour, on a noisy ground."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = random.integers(0, 120, SHAPE, dtype=np.uint8)
            centre = tuple(int(value) for value in random.integers(8, 24, 2))
            cv2.circle(image, centre, 6, colour, -1)
            cv2.imwrite(str(folder / name / f"{number}.png"), image)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "discs"
    draw_discs(folder / "train", 40, seed=1)
    draw_discs(folder / "test", 10, seed=2)
    whole = (folder / "train" / "red" / "0.png").read_bytes()
    (folder / "train" / "red" / "half.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Data that loads, to be spoilt."""
    draw_discs(tmp_path / "few" / "train", 2, seed=1)
    draw_discs(tmp_path / "few" / "test", 1, seed=2)
    return tmp_path / "few"


Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trained(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """The model file of a whole training, and what the command said."""
    output = tmp_path_factory.mktemp("trained") / "new" / "discs.keras"
    arguments = ["train", "--data", discs, "--epochs", "2", "--output", output]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output, done


def weights(model: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with zipfile.ZipFile(model) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(
            lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


def test_training_writes_the_model_its_metrics_and_its_curves(trained: tuple[Path, Run]) -> None:
    model, _ = trained
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "discs.curves.png", "discs.keras", "discs.metrics.json",
    ]  # fmt: skip
    contract = contracts.read(model)
    assert contract is not None
    assert contract.labels == tuple(COLOURS)
    metrics = json.loads(model.with_suffix(".metrics.json").read_text())
    assert contract.evidence["test"] == metrics["test"]
    assert metrics["training_images"] + metrics["validation_images"] == 120
    assert metrics["validation_images"] == 24
    assert len(metrics["history"]["val_accuracy"]) == 2
    assert metrics["test"]["accuracy"] > 0.6  # a guess is right in a third
    curves = cv2.imread(str(model.with_suffix(".curves.png")))
    assert curves is not None
    assert curves.std() > 10


def test_the_model_file_holds_no_optimizer_state(trained: tuple[Path, Run]) -> None:
    metrics = json.loads(trained[0].with_suffix(".metrics.json").read_text())
    assert sum(array.size for array in weights(trained[0])) == metrics["parameters"]


def test_what_training_says(trained: tuple[Path, Run], discs: Path) -> None:
    """In a pipe: a line or two an epoch, and not a moving bar; nothing of TensorFlow's."""
    model, done = trained
    assert "\b" not in done.stdout
    assert "\x1b" not in done.stdout
    epochs, result, saved = done.stdout.splitlines()[:-2], *done.stdout.splitlines()[-2:]
    assert len(epochs) == 4
    assert result.startswith("discs, 30 test images: loss ")
    assert saved == f"saved {model}"
    half = discs / "train" / "red" / "half.png"
    assert done.stderr.splitlines()[-4:] == [
        f"left out: '{half}': the image is incomplete or damaged",
        "discs: 3 classes, 96 images to learn from, 24 held out",
        "of so few images, --network accurate learns more; it takes longer",
        "confidences are not calibrated: that takes 50 held-out images, so 250 in all",
    ]
    assert "tensorflow" not in done.stderr.lower()
    assert "oneDNN" not in done.stderr


def test_evaluate_agrees_with_the_metrics(
    trained: tuple[Path, Run],
    discs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where the compiled model is kept
    report = ["--report", str(tmp_path / "report")]
    assert main(["evaluate", str(trained[0]), "--data", str(discs), *report]) == 0
    test = json.loads(trained[0].with_suffix(".metrics.json").read_text())["test"]
    said, loud = capfd.readouterr()
    assert said.startswith("discs, 30 images: loss ")
    assert said.splitlines()[0].endswith(f"accuracy {100 * test['accuracy']:.2f}%")
    assert float(said.split()[4].rstrip(",")) == pytest.approx(test["loss"], abs=2e-4)
    assert loud == ""

    # Class folders alone are all tested, and an image that cannot be read counts for nothing.
    assert main(["evaluate", str(trained[0]), "--data", str(discs / "train"), *report]) == 0
    assert capfd.readouterr().out.startswith("train, 120 images: ")

    shutil.copytree(discs / "test", tmp_path / "other")
    (tmp_path / "other" / "red").rename(tmp_path / "other" / "purple")
    assert main(["evaluate", str(trained[0]), "--data", str(tmp_path / "other")]) == 2
    assert "in the data alone: purple; in the model alone: red" in capfd.readouterr().err


@pytest.mark.slow
def test_the_seed_decides_the_weights(
    trained: tuple[Path, Run], discs: Path, tmp_path: Path
) -> None:
    for seed in ("1", "2"):
        arguments = ["--data", discs, "--epochs", "2", "--seed", seed, "--output"]
        command = [*COMMAND, "train", *arguments, tmp_path / f"{seed}.keras"]
        subprocess.run(command, capture_output=True, check=True)
    first, same, other = (
        weights(path) for path in (trained[0], tmp_path / "1.keras", tmp_path / "2.keras")
    )
    for one, two, three in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)


def interrupted(
    data: Path,
    output: Path,
    disturb: Callable[[subprocess.Popen[str]], None],
    command: Sequence[str] = COMMAND,
) -> tuple[int, str]:
    """Disturb a training that has got to its third epoch; its exit code and its last line."""
    arguments = ["train", "--data", data, "--epochs", "100000", "--output", output]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 3/") for line in process.stdout)
        disturb(process)
        _, said = process.communicate()
    return process.returncode, said.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_the_old_model(
    few: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "output" / "model.keras"
    output.parent.mkdir()
    output.write_bytes(b"the old model")
    code, said = interrupted(few, output, lambda process: process.send_signal(number))
    assert code == 1
    assert said == (
        f"classifyd-train: stopped; {output} is as it was. The training goes on from its last "
        "whole epoch with --resume"
    )
    assert output.read_bytes() == b"the old model"
    # Keras's own threads may have been in the midst of writing the checkpoint anew.
    there = {path.name for path in output.parent.iterdir() if not path.name.startswith(".saving-")}
    assert there == {"model.keras", "model.training.npz"}


def test_before_the_end_of_the_first_epoch_there_is_nothing_to_go_on_from(
    few: Path, tmp_path: Path
) -> None:
    output = tmp_path / "model.keras"
    with subprocess.Popen(
        [*COMMAND, "train", "--data", few, "--output", output],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("images to learn from" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 1
    assert said.splitlines()[-1] == f"classifyd-train: stopped; {output} was not written"


@pytest.mark.slow
def test_a_training_in_the_place_of_an_old_model(discs: Path, tmp_path: Path) -> None:
    """Of a folder that no terminal has letters for; the old model is named by a link."""
    data = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ph\xf6tos"))
    shutil.copytree(discs, data)
    old, link = tmp_path / "models" / "old.keras", tmp_path / "link.keras"
    old.parent.mkdir()
    old.write_bytes(b"the old model")
    old.chmod(0o640)
    old.with_suffix(".left_out.txt").write_text("what an older training left out")
    link.symlink_to(old)
    done = subprocess.run(
        [*COMMAND, "train", "--data", data, "--epochs", "1", "--output", link],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].startswith(r"ph\udcf6tos, 30 test images: loss ")
    contract = contracts.read(old)
    assert contract is not None
    assert contract.evidence["data"] == r"ph\udcf6tos"
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert link.readlink() == old
    assert sorted(path.name for path in old.parent.iterdir()) == [
        "old.curves.png", "old.keras", "old.metrics.json",
    ]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("title", [r"$\frac$", "ph\udcf6tos", "猫", "$$", "long" * 100])
def test_curves_of_data_of_any_name(title: str) -> None:
    history = {key: [0.5] for key in ("accuracy", "loss", "val_accuracy", "val_loss")}
    assert cv2.imdecode(np.frombuffer(curves(history, title), np.uint8), 1).std() > 10


def test_an_image_that_goes_away_meanwhile_is_named(few: Path, tmp_path: Path) -> None:
    gone = few / "train" / "red" / "1.png"
    output = tmp_path / "model.keras"
    code, said = interrupted(
        few,
        output,
        lambda _: gone.rename(tmp_path / "elsewhere.png"),
        [sys.executable, "-c", FROM_DISK],
    )
    assert code == 2
    # One of the two is held out, and either is looked at in every epoch.
    assert said == f"classifyd-train: '{gone}': the file was gone before it could be read"


def take_a_class_from_test(data: Path) -> None:
    shutil.rmtree(data / "test" / "red")


def empty_a_class(data: Path) -> None:
    for path in (data / "train" / "red").iterdir():
        path.rename(path.with_suffix(".txt"))


def leave_one_class(data: Path) -> None:
    for part in ("train", "test"):
        for name in ("red", "green"):
            shutil.rmtree(data / part / name)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "there is no such folder"),
        (take_a_class_from_test, "must hold the same classes, but in train/ alone: red"),
        (empty_a_class, "no image is in this class"),
        (leave_one_class, "at least two classes"),
    ],
)
def test_data_that_cannot_be_used(
    spoil: Callable[[Path], None],
    message: str,
    few: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(few)
    output = tmp_path / "model.keras"
    assert main(["train", "--data", str(few), "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"classifyd-train: {few}")
    assert message in said
    assert said.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["train", "--epochs", "0"], ["train", "--seed", "-1"], ["evaluate", "model.keras"]],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
