"""trainer.data: which files are images of which class, and what is said where none can be."""

from __future__ import annotations

import ast
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, DrawImage

from classifier.contract import Contract
from trainer import files
from trainer.data import FileSamples, load_folder
from trainer.errors import DataError
from trainer.labelled import labelled

SHAPE = (32, 32, 3)


@pytest.fixture
def pets(tmp_path: Path, draw_image: DrawImage) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            draw_image(tmp_path / "pets" / name / f"{number}.png", number)
    return tmp_path / "pets"


def names(samples: object) -> list[str]:
    assert isinstance(samples, FileSamples)
    paths = [Path(samples.path(index)) for index in range(len(samples.labels))]
    return [f"{path.parent.name}/{path.name}" for path in paths]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_class_folders_alone(pets: Path) -> None:
    data = load_folder(pets, SHAPE)
    assert (data.name, data.names, data.test) == ("pets", ("cat", "dog"), None)
    assert names(data.train) == [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(3)]
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.pixels([5, 0]).shape == (2, *SHAPE)


def test_a_class_may_be_called_train(pets: Path) -> None:
    (pets / "dog").rename(pets / "train")
    data = load_folder(pets, SHAPE)
    assert data.names == ("cat", "train")
    assert data.test is None


def test_files_that_programs_leave_behind_are_no_images(pets: Path, draw_image: DrawImage) -> None:
    draw_image(pets / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    draw_image(pets / "cat" / "._0.png")
    draw_image(pets / ".thumbnails" / "0.png")
    (pets / "cat" / "notes.txt").write_text("tabby")
    data = load_folder(pets, SHAPE)
    assert data.names == ("cat", "dog")
    assert len(data.train.labels) == 6


def test_images_lie_at_any_depth_and_may_be_links(pets: Path, draw_image: DrawImage) -> None:
    elsewhere = draw_image(pets.parent / "elsewhere.JPG", 7)
    (pets / "cat" / "more").mkdir()
    (pets / "cat" / "more" / "link.JPG").symlink_to(elsewhere)
    train = load_folder(pets, SHAPE).train
    assert "more/link.JPG" in names(train)
    assert len(train.readable().labels) == 7


def test_the_order_is_not_the_disk_s(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or labels and what is held out would depend on it."""
    (pets / "cat" / "more").mkdir()
    (pets / "cat" / "0.png").rename(pets / "cat" / "more" / "0.png")
    first = load_folder(pets, SHAPE)
    entries = files._entries
    monkeypatch.setattr(files, "_entries", lambda folder: reversed([*entries(folder)]))
    again = load_folder(pets, SHAPE)
    assert first.names == again.names == ("cat", "dog")
    assert names(first.train) == names(again.train)
    assert first.train.labels.tolist() == again.train.labels.tolist()


def test_links_to_folders_are_classes_but_not_followed_inside(
    pets: Path, draw_image: DrawImage, caplog: pytest.LogCaptureFixture
) -> None:
    (pets / "dog").rename(pets.parent / "real")
    (pets / "dog").symlink_to(pets.parent / "real")
    (pets / "cat" / "loop").symlink_to(pets)  # else dogs would be cats
    data = load_folder(pets, SHAPE)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert said(caplog) == [f"{pets}: links to folders inside a class are not followed: 1"]
    (pets / "all").symlink_to(pets)
    with pytest.raises(DataError, match="all: this is a link to a folder that it lies in"):
        load_folder(pets, SHAPE)


def test_what_is_passed_over_is_said(
    pets: Path, draw_image: DrawImage, caplog: pytest.LogCaptureFixture
) -> None:
    draw_image(pets / "stray.png")
    draw_image(pets / ".bird" / "0.png")
    (pets / "cat" / "scan.TIF").touch()
    (pets / "dog" / "moving.gif").touch()
    (pets / "dog" / "more.gif").touch()
    load_folder(pets, SHAPE)
    assert said(caplog) == [
        f"{pets}: hidden folders are no classes: .bird",
        f"{pets}: images in no class folder are left out: 1",
        f"{pets}: images of these kinds are not read: 2 .gif, 1 .tif. Convert them to JPEG or PNG",
    ]


def test_other_parts_of_a_data_set_are_named(
    pets: Path, draw_image: DrawImage, caplog: pytest.LogCaptureFixture
) -> None:
    whole = pets.parent / "whole"
    whole.mkdir()
    pets.rename(whole / "train")
    draw_image(whole / "val" / "cat" / "0.png")
    draw_image(whole / "test.png")
    assert load_folder(whole, SHAPE).test is None
    assert said(caplog) == [
        f"{whole}: not used, as they are neither train nor test: val",
        f"{whole}: images in no class folder are left out: 1",
    ]


def test_where_a_test_is_measured_no_image_of_train_is_needed(
    pets: Path, tmp_path: Path, draw_image: DrawImage
) -> None:
    data = tmp_path / "data"
    shutil.copytree(pets, data / "train")
    shutil.copytree(pets, data / "test")
    shutil.rmtree(data / "train" / "cat")
    (data / "train" / "cat").mkdir()
    draw_image(data / "test" / "dog" / "more.png", 7)
    found, samples = labelled(str(data), Contract(("dog", "cat"), *SHAPE))
    assert found == ("cat", "dog")
    assert names(samples)[2:] == ["cat/2.png", *(f"dog/{i}.png" for i in (0, 1, 2, "more"))]
    with pytest.raises(DataError, match="no image is in this class"):
        load_folder(data, SHAPE)


def take_class_folders_away(pets: Path) -> None:
    for image in [*pets.glob("*/*.png")]:
        image.rename(pets / f"{image.parent.name}-{image.name}")
    for folder in ("cat", "dog"):
        (pets / folder).rmdir()


def empty(pets: Path) -> None:
    take_class_folders_away(pets)
    for image in pets.iterdir():
        image.unlink()


def make_them_parts(pets: Path) -> None:
    (pets / "cat").rename(pets / "train")
    (pets / "dog").rename(pets / "Test")


def encode_a_name_twice(pets: Path) -> None:
    shutil.copytree(pets / "cat", pets / "caf\u00e9")
    (pets / "cat").rename(pets / "cafe\u0301")


def other_case_in_test(pets: Path) -> None:
    shutil.copytree(pets, pets / "train")
    (pets / "cat").rename(pets / "Cat")
    (pets / "test").mkdir()
    for name in ("Cat", "dog"):
        (pets / name).rename(pets / "test" / name)


def break_a_line(pets: Path) -> None:
    (pets / "cat").rename(pets / "c\nat")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "at least two folders of images here, each named after what it shows; found none"),
        (take_class_folders_away, "found none, and 6 images that are in no folder"),
        (lambda pets: shutil.rmtree(pets / "dog"), "found 1: cat"),
        (make_them_parts, "its folders are called Test, train, which are parts of a data set"),
        (encode_a_name_twice, "differ in how Unicode encodes them alone: rename one, or make"),
        (lambda pets: (pets / "cat").rename(pets / "dog "), "differ in spaces at an end alone"),
        (
            other_case_in_test,
            "must hold the same classes, but in train/ alone: cat; in test/ alone: Cat; "
            "'cat' and 'Cat' differ in upper and lower case alone: rename one",
        ),
        (break_a_line, r"one line of text, and 'c\nat' is not: rename this folder"),
    ],
)
def test_folders_that_are_not_as_they_should_be(
    spoil: Callable[[Path], object], message: str, pets: Path
) -> None:
    spoil(pets)
    with pytest.raises(DataError, match=f"^{re.escape(str(pets))}: .*{re.escape(message)}"):
        load_folder(pets, SHAPE)


def test_a_folder_that_cannot_be_read_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images are not left out silently."""
    (pets / "cat" / "private").mkdir()
    scandir = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"private"):  # permissions mean nothing to root, who may run this
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cat/private: .* \(Permission denied\): set its perm"):
        load_folder(pets, SHAPE)


def test_letters_may_be_classes(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pets / "cat").rename(pets / "a")
    (pets / "dog").rename(pets / "A")
    assert load_folder(pets, SHAPE).names == ("A", "a")
    assert said(caplog) == [f"{pets}: the classes 'A' and 'a' differ in upper and lower case alone"]


FAIL_LATE = """
import os, sys
from trainer.__main__ import main
data, output = sys.argv[1:]
main(["train", "--data", data, "--output", data])  # not *.keras
os.mkdir(data + ".keras")
main(["train", "--data", data, "--output", data + ".keras"])
main(["train", "--data", data, "--output", data + "/cat/0.png/model.keras"])
os.rename(os.fsencode(data + "/dog"), os.fsencode(data) + b"/d\\xf6g")
main(["train", "--data", data, "--output", output])
for name in os.listdir(data + "/cat"):
    os.truncate(data + "/cat/" + name, 0)
os.rename(os.fsencode(data) + b"/d\\xf6g", os.fsencode(data + "/dog"))
main(["train", "--data", data, "--output", output])
"""


def test_what_would_fail_at_the_end_fails_before_the_training(pets: Path) -> None:
    output = pets.parent / "output" / "model.keras"
    done = subprocess.run(
        [sys.executable, "-c", FAIL_LATE, pets, output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("left out")]
    assert [line.removeprefix("classifyd-train: ") for line in lines] == [
        f"--output {pets}: a model file's name ends in .keras",
        f"{pets}.keras: this is a folder; the model needs the name of a file",
        f"{pets}/cat/0.png/model.keras: the model could not be written here: File exists",
        rf"{pets}: a class name must be UTF-8 text, and 'd\udcf6g' is not: rename this "
        "folder",
        f"{output.parent}: this folder was made, as there was none",
        "none of the training images of these classes can be read: cat",
    ]
    assert done.stdout == ""
    assert not output.exists()


def test_cifar10_without_a_network(tmp_path: Path) -> None:
    with socket.socket() as nobody:  # bound, so nobody else gets it; not listening, so it refuses
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        environment = {**os.environ, **dict.fromkeys(names, proxy), "KERAS_HOME": str(tmp_path)}
        environment.pop("no_proxy", None)
        environment.pop("NO_PROXY", None)
        output = tmp_path / "model.keras"
        done = subprocess.run(
            [sys.executable, "-m", "trainer", "train", "--data", "cifar10", "--output", output],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("classifyd-train: CIFAR-10 could not be downloaded (")
    assert "Connection refused" in said
    assert said.endswith("put the images into folders, train/<class>/ and test/<class>/, and give "
                         "`--data FOLDER`")  # fmt: skip
    assert not output.exists()


def test_the_trainer_names_no_backend() -> None:
    files = sorted((ROOT / "trainer").glob("*.py"))
    assert len(files) > 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            else:
                continue
            roots = {name.split(".")[0] for name in imported}
            assert not roots & {"tensorflow", "jax", "torch"}, f"{path}:{node.lineno}"
