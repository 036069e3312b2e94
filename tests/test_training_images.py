"""trainer.screening, samples, duplicates: every image is looked at once, and what is said of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import DrawImage
from PIL import Image

from trainer import screening
from trainer.data import DataSet, FileSamples, load_folder
from trainer.errors import DataError
from trainer.files import FileNames
from trainer.screening import tell_shrunk
from trials.pictures import jpegs_and_pngs

SHAPE = (32, 32, 3)


@pytest.fixture
def pets(tmp_path: Path, draw_image: DrawImage) -> Path:
    for seed, name in enumerate(("cat", "dog")):
        for number in range(3):
            draw_image(tmp_path / "pets" / name / f"{number}.png", 10 * seed + number)
    return tmp_path / "pets"


@pytest.fixture
def from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no pixels fitted into memory."""
    monkeypatch.setattr(screening, "KEPT_BYTES", 0)


def screened(folder: Path) -> FileSamples:
    samples = load_folder(folder, SHAPE).train.readable()
    assert isinstance(samples, FileSamples)
    return samples


def names(samples: FileSamples) -> list[str]:
    paths = [Path(samples.path(index)) for index in range(len(samples.labels))]
    return [f"{path.parent.name}/{path.name}" for path in paths]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
def test_pictures_of_any_kind(
    kept_bytes: int,
    pets: Path,
    draw_image: DrawImage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(screening, "KEPT_BYTES", kept_bytes)
    for name, data in jpegs_and_pngs().items():
        (pets / "cat" / name).write_bytes(data)
    draw_image(pets / "dog" / "photo.jpg", 4, size=(1600, 1200))
    Image.new("LA", (1, 300), (9, 0)).save(pets / "dog" / "line.png")
    samples = screened(pets)
    assert said(caplog) == []
    assert len(samples.labels) == 18
    pixels = samples.pixels(range(18))
    assert (pixels.shape, pixels.dtype) == ((18, *SHAPE), np.uint8)
    some = samples.subset(np.array([17, 3])).subset(np.array([1]))
    np.testing.assert_array_equal(some.pixels([0])[0], pixels[3])
    assert some.path(0) == samples.path(3)


def test_pixels_that_fit_are_kept(pets: Path) -> None:
    """Decoded once, they are there when their files are not."""
    before = load_folder(pets, SHAPE).train.pixels(range(6))
    samples = screened(pets)
    shutil.rmtree(pets)
    np.testing.assert_array_equal(samples.pixels(range(6)), before)
    assert samples.readable() is samples


@pytest.mark.usefixtures("from_disk")
def test_a_file_that_goes_or_changes_meanwhile_is_named(pets: Path, draw_image: DrawImage) -> None:
    samples = screened(pets)
    gone, changed = pets / "cat" / "1.png", pets / "dog" / "0.png"
    gone.unlink()
    draw_image(changed, 99)
    with pytest.raises(DataError, match=f"'{gone}': the file was gone"):
        samples.pixels([0, 1])
    with pytest.raises(DataError, match=f"'{changed}': this image has changed since it was first"):
        samples.pixels([2, 3])


def test_what_cannot_be_read_is_left_out_and_named(
    pets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pets / "cat" / "1.png").write_text("no image")
    (pets / "dog" / "été\n.jpg").write_bytes(b"")
    (pets / "dog" / "nowhere.jpg").symlink_to("elsewhere")
    os.mkfifo(pets / "dog" / "pipe.jpg")
    raw = os.fsencode(pets) + b"/dog/\xff.jpg"  # not UTF-8
    with open(raw, "wb") as file:
        file.write(b"\xff\xd8\xff")
    samples = screened(pets)
    assert names(samples) == ["cat/0.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png"]
    assert samples.labels.tolist() == [0, 0, 1, 1, 1]
    dog = f"left out: '{pets}/dog"
    assert said(caplog) == [
        f"left out: '{pets}/cat/1.png': the content is not a JPEG, PNG, WebP or BMP image, "
        "whatever its name says",
        f"{dog}/nowhere.jpg': the file was gone before it could be read",
        f"{dog}/pipe.jpg': not a regular file",
        f"{dog}/été\\n.jpg': the file is empty",
        f"{dog}/\\udcff.jpg': the image is incomplete or damaged",
    ]
    assert [path for path, _ in samples.left_out][-1] == os.fsdecode(raw)


def test_many_broken_files_are_counted(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(60):
        content = b"no image" if number % 3 else b""
        (pets / "cat" / f"{number:02}.jpg").write_bytes(content)
    samples = screened(pets)
    assert len(samples.labels) == 6
    assert len([*samples.left_out]) == 60
    assert [line.startswith(f"left out: '{pets}/cat/") for line in said(caplog)[:20]] == [True] * 20
    assert said(caplog)[20:] == [
        "left out: 40 more:",
        "        27 x the content is not a JPEG, PNG, WebP or BMP image, whatever its name says",
        "        13 x the file is empty",
    ]


def test_a_class_that_shrinks_a_lot_is_named(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(7):
        (pets / "cat" / f"broken{number}.png").touch()
    load_folder(pets, SHAPE).readable()
    assert said(caplog)[7:] == ["many training images cannot be read: cat lost 7 of 10"]


def test_a_few_of_many_are_no_loss_of_a_class(caplog: pytest.LogCaptureFixture) -> None:
    before = np.repeat([0, 1], 20)
    tell_shrunk(("cat", "dog"), before, before[2:])
    assert said(caplog) == []
    tell_shrunk(("cat", "dog"), before, before[:-3], "test ")
    assert said(caplog) == ["many test images cannot be read: dog lost 3 of 20"]


def test_a_class_that_is_all_broken_is_named(pets: Path) -> None:
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the training images of these classes .*: cat"):
        load_folder(pets, SHAPE).readable()


def test_the_same_image_in_two_classes(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(pets / "dog" / "1.png", pets / "cat" / "3.png")
    shutil.copy(pets / "dog" / "1.png", pets / "cat" / "4.png")
    shutil.copy(pets / "dog" / "2.png", pets / "dog" / "3.png")
    load_folder(pets, SHAPE).readable()
    assert said(caplog) == [
        "3 images are in several classes, byte for byte the same, so some of their labels are "
        f"wrong: '{pets}/cat/4.png' and '{pets}/dog/1.png', for one. Take away those that are in "
        "the wrong class",
        "2 training images are copies of others of their class, byte for byte. A picture "
        "counts as often as it is there",
    ]


def test_a_test_image_that_was_learnt_from(
    tmp_path: Path, pets: Path, draw_image: DrawImage, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    shutil.copytree(pets, data / "train")
    for seed, name in enumerate(("cat", "dog"), start=50):
        draw_image(data / "test" / name / "new.png", seed)
    shutil.copy(pets / "dog" / "1.png", data / "test" / "dog" / "old.png")
    loaded = load_folder(data, SHAPE).readable()
    assert isinstance(loaded, DataSet)
    assert said(caplog) == [
        "1 test images are training images, too, byte for byte, so the test accuracy is too good: "
        f"'{data}/test/dog/old.png' and '{data}/train/dog/1.png', for one. Take them out of one of "
        "the two"
    ]


def test_names_take_little_memory() -> None:
    count = 10_000
    names = b"".join(b"cat/%06d.jpg" % number for number in range(count))
    files = FileNames(b"/photos", names, np.arange(1, count + 1) * 14)
    assert files[0] == b"/photos/cat/000000.jpg"
    assert files[count - 1] == b"/photos/cat/009999.jpg"
    assert (sys.getsizeof(files.names) + files.ends.nbytes) / count < 25
    with pytest.raises(IndexError):
        files[-1]


def test_libpng_is_not_heard(pets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It complains of many a file that is whole, at every decoding."""
    picture = Image.open(pets / "cat" / "0.png")
    picture.save(pets / "cat" / "profile.png", icc_profile=b"no profile")
    whole = (pets / "cat" / "1.png").read_bytes()
    (pets / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    assert names(screened(pets))[:2] == ["cat/0.png", "cat/2.png"]
    assert "cat/profile.png" in names(screened(pets))
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("from_disk")
def test_damage_is_heard_from_two_threads(pets: Path) -> None:
    """libjpeg mends such a file, and says so on stderr, which the threads share."""
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))[1]
    for number in range(600):
        data = whole.tobytes()
        cut = data if number % 2 else data[:-100] + b"\xff\xd9"
        (pets / "cat" / f"{number:03}.jpg").write_bytes(cut)
    left_out = [Path(path).stem for path, _ in screened(pets).left_out]
    assert left_out == [f"{number:03}" for number in range(0, 600, 2)]
