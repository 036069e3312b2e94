"""classifyd-train: interrupted and resumed, begun from another model, with no room to spare."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_trainer import COMMAND, draw_discs, weights

from classifier import contract as contracts
from trainer.__main__ import main
from trainer.checkpoint import Progress
from trainer.errors import TrainerError


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("goes_on") / "discs"
    draw_discs(folder, 40, seed=1)
    return folder


def trained(*arguments: str | Path, limit_bytes: int | None = None) -> tuple[int, str, str]:
    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    done = subprocess.run(
        [*COMMAND, "train", *arguments],
        capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_model(discs: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.keras", tmp_path / "cut.keras"
    options = ["--data", discs, "--epochs", "5", "--output"]
    assert trained(*options, whole)[0] == 0
    with subprocess.Popen(
        [*COMMAND, "train", *options, cut], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 3/") for line in process.stdout)
        process.kill()
    assert not cut.exists()

    code, _, said = trained(*options, cut)
    assert code == 2
    assert "Go on with it by --resume" in said

    code, out, said = trained(*options, cut, "--resume")
    assert code == 0, said
    assert "going on after epoch 2 of 5" in said
    assert "Epoch 2/" not in out
    for one, other in zip(weights(whole), weights(cut), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not cut.with_suffix(".training.npz").exists()


def test_what_cannot_be_gone_on_with(discs: Path, tmp_path: Path) -> None:
    output, data = tmp_path / "model.keras", tmp_path / "data"
    shutil.copytree(discs, data)
    for number in range(21):  # too many to be listed in the log
        (data / "red" / f"broken{number}.png").touch()
    options = ["--data", str(data), "--output", str(output), "--resume"]
    assert trained(*options)[:1] == (2,)
    checkpoint = output.with_suffix(".training.npz")
    Progress({"seed": 1}).save(checkpoint)
    code, _, said = trained(*options)
    assert code == 2
    assert "the beginning of another training; it differs in the version of classifyd, " in said
    assert "left out" not in said
    assert sorted(tmp_path.iterdir()) == [data, checkpoint]
    for damaged in (b"", b"no zip", checkpoint.read_bytes()[:-50]):
        checkpoint.write_bytes(damaged)
        with pytest.raises(TrainerError, match="damaged"):
            Progress.load(checkpoint)


BEFORE_THE_IMAGES = """
import sys
from pathlib import Path
from classifier.quiet import quiet
from trainer.__main__ import main
from trainer.checkpoint import Progress
from trainer.data import load
from trainer.errors import TrainerError
with quiet():  # the backend greets
    from trainer.network import new_network
    from trainer.start import Start
    from trainer.train import FORMAT, Options, train
    start = Start(Path("other.keras"), "0", ("blue", "red"), new_network("readme", (40, 40, 3), 2))
data, output = sys.argv[1], Path(sys.argv[2])
plan = {
    "format": FORMAT, "network": "readme", "height": 32, "width": 32, "channels": 3, "seed": 1,
    "mirror": True, "start": None, "classes": ["blue", "green", "red"], "epochs": 5,
}
Progress(plan).save(output.with_suffix(".training.npz"))
for options in (["--input-size", "40", "--grey"], ["--epochs", "7"]):
    main(["train", "--data", data, "--output", str(output), "--resume", *options])
try:
    train(load(data, (32, 32, 3)), output.with_name("new.keras"), Options(), start=start)
except TrainerError as error:
    print(error, file=sys.stderr)
"""


def test_what_needs_no_images_is_said_before_they_are_read(discs: Path, tmp_path: Path) -> None:
    data, output = tmp_path / "data", tmp_path / "made" / "model.keras"
    shutil.copytree(discs, data)
    (data / "red" / "broken.png").touch()  # would be told if it were looked at
    output.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_THE_IMAGES, data, output],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    other = f"classifyd-train: {output.with_suffix('.training.npz')}: this is the beginning of"
    same = "Give the same data and options again, or delete it and train without --resume"
    assert done.stderr.splitlines() == [
        f"{other} another training; it differs in --input-size, --grey. {same}",
        f"{other} another training; it differs in --epochs. {same}",
        "other.keras: --from takes a model that classifyd-train made with the same --network, "
        "--input-size and --grey; this one is 'readme' and takes 40x40x3",
    ]


def test_damage_anywhere_in_a_checkpoint_is_called_that(tmp_path: Path) -> None:
    """As a zip that is encrypted, or packed in an unknown way, or begins before the file does."""
    whole, damaged = tmp_path / "whole.npz", tmp_path / "damaged.npz"
    Progress({"seed": 1}, weights=[np.arange(4.0)], best=[np.arange(4.0)]).save(whole)
    content = whole.read_bytes()
    said = []
    for place in range(len(content)):
        for flipped in (0x01, 0x80, 0xFF):
            odd = content[place] ^ flipped
            damaged.write_bytes(content[:place] + bytes([odd]) + content[place + 1 :])
            try:
                loaded = Progress.load(damaged)  # some bytes, as those of dates, say nothing
                assert len(loaded.weights) == len(loaded.best) == 1
            except TrainerError as error:
                said.append(str(error))
    assert len(said) > len(content)
    assert all("this is damaged" in text for text in said)


def test_a_checkpoint_that_the_disk_does_not_give_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        Progress.load(tmp_path)


@pytest.mark.slow
def test_a_training_that_goes_astray_can_be_begun_anew(discs: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.keras"
    checkpoint = output.with_suffix(".training.npz")
    options = ["--data", discs, "--epochs", "9", "--output", output]
    with subprocess.Popen(
        [*COMMAND, "train", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 2/") for line in process.stdout)
        process.kill()
    progress = Progress.load(checkpoint)
    progress.weights[-1][:] = np.nan
    progress.save(checkpoint)
    code, _, said = trained(*options, "--resume")
    assert code == 2
    assert "went astray in epoch 2: its loss is no number. Try another --seed" in said
    assert not checkpoint.exists()  # it would only go astray again, and be in the way


@pytest.mark.slow
def test_a_checkpoint_that_has_no_room_ends_no_training(discs: Path, tmp_path: Path) -> None:
    """The model takes half a megabyte, a checkpoint four times that."""
    output = tmp_path / "model.keras"
    options = ["--data", discs, "--epochs", "2", "--output", output]
    code, _, said = trained(*options, limit_bytes=1_000_000)
    assert code == 0, said
    assert said.count("no checkpoint of epoch") == 2
    assert "File too large; the training goes on" in said
    assert contracts.read(output) is not None
    assert not [*tmp_path.glob("*.npz"), *tmp_path.glob(".saving-*")]

    output.write_bytes(b"the old model")
    code, _, said = trained(*options, limit_bytes=300_000)
    assert code == 1
    assert "File too large" in said.splitlines()[-1]
    assert output.read_bytes() == b"the old model"


@pytest.mark.slow
def test_a_training_begins_with_another_model(discs: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.keras", tmp_path / "second.keras"
    assert trained("--data", discs, "--epochs", "6", "--output", first)[0] == 0
    # Two more classes, and so the known ones are at other places.
    more = tmp_path / "more"
    shutil.copytree(discs, more)
    for name in ("azure", "coral"):
        (more / name).mkdir()
        for path in (discs / "blue").iterdir():
            (more / name / path.name).write_bytes(path.read_bytes() + name.encode())
    shutil.rmtree(more / "blue")
    arguments = ["--data", more, "--epochs", "1", "--output", second, "--from", first]
    code, _, said = trained(*arguments)
    assert code == 0, said
    known = contracts.read(second)
    assert known is not None
    assert known.labels == ("azure", "coral", "green", "red")
    # What red and green are is known from the start: half of all is right, a guess in a quarter.
    assert known.evidence["validation"]["accuracy"] >= 0.45

    code, _, said = trained(*arguments, "--input-size", "40")
    assert code == 2
    assert "--from takes a model that classifyd-train made with the same" in said


def test_sizes_that_no_network_takes(discs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(discs), "--input-size", "16"]) == 2
    assert "24 to 512 pixels a side, not 16: give another --input-size" in capsys.readouterr().err
    for side in ("0", "8", "513", "32.5"):
        with pytest.raises(SystemExit, match="2"):
            main(["train", "--data", str(discs), "--input-size", side])
        assert f"a whole number from 24 (accurate: 16) to 512, not '{side}'" in (
            capsys.readouterr().err
        )
