"""classifyd-train promote: a better model takes the place, a worse one does not."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from daemon_process import Project
from test_place import holder

from classifier import contract as contracts
from classifier import modelfile
from classifier.compile import compiled
from trainer.__main__ import main

COLOURS = ("blue", "green", "red")  # in OpenCV's order of channels
MODELS = ("right", "never_red", "never_green")


def draw(path: Path, colour: str, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 120, (40, 32, 3), dtype=np.uint8)
    image[..., COLOURS.index(colour)] += 60
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "colours"
    for colour in COLOURS:
        for seed in range(20):
            draw(folder / colour / f"{seed}.png", colour, seed)
    (folder / "red" / "half.png").write_bytes((folder / "red" / "0.png").read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, with a cache that holds them compiled where the commands look for it."""
    folder = tmp_path_factory.mktemp("home")
    script = Path(__file__).with_name("colour_models.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    for name in MODELS:
        compiled(folder / f"{name}.keras", folder / ".cache" / "classifyd")
    return folder


@pytest.fixture
def promote(home: Path, data: Path, monkeypatch: pytest.MonkeyPatch):
    """`promote(candidate, current, *options)` ▸ the exit code."""
    monkeypatch.setenv("HOME", str(home))

    def run(candidate: str, current: Path, *options: str) -> int:
        model = home / f"{candidate}.keras"
        return main(["promote", str(model), "--over", str(current), "--data", str(data), *options])

    return run


@pytest.fixture
def current(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "model.keras"


def keras_alone(source: Path, target: Path) -> None:
    """A model file as it was before its contract was added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in set(old.namelist()) - {"contract.json"}:
            new.writestr(name, old.read(name))


def serve(home: Path, name: str, current: Path) -> str:
    """Let a model be the current one; its digest."""
    current.parent.mkdir()
    shutil.copy(home / f"{name}.keras", current)
    return modelfile.digest_of(current)


def test_a_worse_model_is_refused_and_its_class_named(
    home: Path, current: Path, promote, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = serve(home, "right", current)
    assert promote("never_red", current) == 1
    said, error = capsys.readouterr()
    assert [line.split() for line in said.splitlines()[1:]] == [
        ["all", "60", "60", "40", "20", "0", "9.5e-07", "worse"],
        ["blue", "20", "20", "20", "0", "0", "1"],
        ["green", "20", "20", "20", "0", "0", "1"],
        ["red", "20", "20", "0", "20", "0", "9.5e-07", "worse"],
    ]
    assert error.splitlines()[-1] == (
        f"classifyd-train: {current} stays as it is: {home}/never_red.keras is worse in total "
        "(60 ▸ 40 of 60 right), and in these classes: red (20 ▸ 0 of 20 right)"
    )
    assert modelfile.digest_of(current) == digest
    assert [*current.parent.iterdir()] == [current]

    shutil.copy(home / "never_green.keras", current)  # as often right in total
    assert promote("never_red", current) == 1
    assert "is worse in these classes: red (20 ▸ 0 of 20 right)" in capsys.readouterr().err


def test_a_better_model_is_taken(
    home: Path, current: Path, promote, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one with the same classes in another order, and of another size."""
    old = serve(home, "never_red", current)
    current.chmod(0o640)
    os.chown(current, -1, os.getegid())
    link = current.with_name("link.keras")
    link.symlink_to(current.name)
    metrics = current.with_suffix(".metrics.json")
    metrics.write_text("of never_red")
    (home / "right.metrics.json").write_text("of right")
    new = modelfile.digest_of(home / "right.keras")
    assert promote("right", link) == 0
    said = capsys.readouterr().out
    kept = current.with_name(f"model.{old[:12]}.keras")
    assert said.splitlines()[-4:] == [
        f"{current} is now this model, and the old one is kept as {kept.name}",
        "`min_confidence:` in config.yaml was chosen for the old model; training suggests 0.25 for "
        "this",
        f"its SHA-256, for `model_sha256:` if config.yaml pins it: {new}",
        "A classifyd at work uses it from its next start on",
    ]
    assert modelfile.digest_of(current) == new
    assert modelfile.digest_of(kept) == old
    assert stat.S_IMODE(current.stat().st_mode) == stat.S_IMODE(kept.stat().st_mode) == 0o640
    kept_metrics = kept.with_suffix(".metrics.json")
    assert {*current.parent.iterdir()} == {link, kept, kept_metrics, current, metrics}
    assert (metrics.read_text(), kept_metrics.read_text()) == ("of right", "of never_red")
    assert link.readlink() == Path(current.name)

    metrics.unlink()  # as a killed promote leaves it
    assert promote("right", current) == 0
    assert capsys.readouterr().out == f"{current} is this very model already\n"
    assert metrics.read_text() == "of right"
    (home / "right.metrics.json").unlink()


@pytest.mark.parametrize(("images", "code"), [(6, 1), (4, 0)])
def test_a_class_of_few_images_that_is_lost_as_a_whole(
    home: Path, current: Path, data: Path, tmp_path: Path, promote,
    capsys: pytest.CaptureFixture[str], images: int, code: int,
) -> None:  # fmt: skip
    """Refused if that can be told at all; if not, that is said."""
    mine = tmp_path / "colours"
    shutil.copytree(data, mine)
    shutil.rmtree(mine / "red")
    for seed in range(images):
        draw(mine / "red" / f"{seed}.png", "red", seed)
    serve(home, "never_green", current)
    assert promote("never_red", current, "--data", str(mine)) == code
    said, error = capsys.readouterr()
    unjudged = (
        "NOT JUDGED, as they have too few images: a model that loses all of these classes would "
        "not be refused for it: red (4). Each needs 5 at least"
    )
    assert (unjudged in said.splitlines()) == (images == 4)
    assert ("worse in these classes: red (6 ▸ 0 of 6 right)" in error) == (images == 6)


def test_models_that_cannot_be_compared(
    home: Path, current: Path, promote, capsys: pytest.CaptureFixture[str], shipped_model: Path
) -> None:
    current.parent.mkdir()
    shutil.copy(shipped_model, current)
    assert promote("right", current) == 2
    sides = f"in {home}/right.keras alone: blue, green, red; in {current} alone: airplane,"
    assert f"do not tell the same classes apart; {sides}" in capsys.readouterr().err
    assert promote("missing", current) == 2
    assert f"{home}/missing.keras: there is no model here" in capsys.readouterr().err
    assert current.read_bytes() == shipped_model.read_bytes()

    keras_alone(home / "right.keras", current)
    assert promote("never_red", current) == 2
    assert "make a copy that does, with `classifyd-train describe`" in capsys.readouterr().err


def test_a_model_with_which_the_service_would_not_start(
    home: Path, current: Path, promote, capsys: pytest.CaptureFixture[str]
) -> None:
    current.parent.mkdir()
    contract = replace(contracts.read(home / "never_red.keras"), energy_threshold=1.0)
    keras_alone(home / "never_red.keras", current)
    with zipfile.ZipFile(current, "a") as archive:
        archive.writestr(contracts.MEMBER, contract.to_json())
    digest = modelfile.digest_of(current)
    assert promote("right", current) == 1
    said = capsys.readouterr().err
    assert f"{home}/right.keras has no threshold for what is none of its classes" in said
    assert "with `unknown: true`, classifyd would not start. Train it" in said
    assert modelfile.digest_of(current) == digest


def test_a_training_is_at_work_on_the_file(
    home: Path, current: Path, promote, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = serve(home, "never_red", current)
    with holder(current) as process:
        assert promote("right", current) == 2
        assert "another training or promote is at work on this model" in capsys.readouterr().err
        process.communicate()
    assert modelfile.digest_of(current) == digest


# Sends itself a signal when the file is about to be linked, or when it has its new name.
INTERRUPTED = """
import os, signal, sys
from trainer.__main__ import main
when, current = sys.argv[1:3]
happened = []
def hook(event, arguments):
    if event == "os.rename" and str(arguments[1]) == current:
        happened.append("renamed")
    due = event == "os.link" if when == "before" else event == "open" and happened == ["renamed"]
    if due and "signal" not in happened:
        happened.append("signal")
        os.kill(os.getpid(), signal.SIGTERM)
sys.addaudithook(hook)
sys.exit(main(["promote", *sys.argv[3:]]))
"""


@pytest.mark.parametrize(
    ("when", "name", "said"),
    [("before", "never_red", "is as it was"), ("after", "right", "is the new model already")],
)
def test_what_an_interrupted_promote_has_done(
    home: Path, current: Path, data: Path, promote, when: str, name: str, said: str
) -> None:
    serve(home, "never_red", current)
    arguments = [home / "right.keras", "--over", current, "--data", data]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, when, current, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"classifyd-train: stopped; {current} {said}"
    assert current.read_bytes() == (home / f"{name}.keras").read_bytes()
    assert not [*current.parent.glob(".promoting-*"), *current.parent.glob("*.lock")]


def test_an_image_that_is_exchanged_between_the_two_looks(
    home: Path, current: Path, data: Path, tmp_path: Path, promote,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Models of two sizes look at the images one after the other; each says what it left out."""
    serve(home, "never_red", current)
    mine = tmp_path / "colours"
    shutil.copytree(data, mine)

    class Exchanging(logging.Handler):
        looks = 0

        def emit(self, record: logging.LogRecord) -> None:
            if "half.png" in record.getMessage():
                self.looks += 1
                draw(mine / "red" / "0.png", "red", 1000)

    exchanging = Exchanging()
    monkeypatch.setattr(logging.getLogger("trainer.screening"), "handlers", [exchanging])
    assert promote("right", current, "--data", str(mine)) == 2
    assert exchanging.looks == 2
    assert caplog.text.count("it has no test/") == 1
    assert f"{mine}: images came, went or changed meanwhile" in capsys.readouterr().err


def test_a_daemon_at_work_takes_the_new_model_at_its_next_start(
    home: Path, current: Path, tmp_path: Path, promote
) -> None:
    old = serve(home, "never_red", current)
    new = modelfile.digest_of(home / "right.keras")
    (tmp_path / "project").mkdir()
    project = Project(
        tmp_path / "project", home / ".cache" / "classifyd", model=str(current), workers=1
    )
    with project.started("run") as daemon:
        draw(project.inbox / "before.png", "red", 100)
        project.wait_for_rows(1)
        assert promote("right", current) == 0
        draw(project.inbox / "meanwhile.png", "red", 101)
        project.wait_for_rows(2)
        status = project.classifyd("status").stdout
        assert f"\nmodel      {old[:11]}" in status
        assert f"\nconfigured {new[:11]}" in status
        assert "; it is taken once compiled\n" in status
        assert daemon.stop() == 0
    draw(project.inbox / "after.png", "red", 102)
    assert project.classifyd("run", "--once").returncode == 0
    rows = [project.row_of(f"{name}.png") for name in ("before", "meanwhile", "after")]
    assert [row["model"][:11] for row in rows] == [old[:11], old[:11], new[:11]]
    assert [row["label"] == "red" for row in rows] == [False, False, True]
    assert "restart" not in project.classifyd("status").stdout
