"""classifier.classify: a prediction for every path, in order, whatever the files are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import DrawImage

from classifier.classify import ALTERNATIVES, Classifier
from classifier.contract import Description
from classifier.decode import decode
from classifier.engine import BATCH_SIZES
from classifier.quiet import quiet
from classifier.read import Signature


@pytest.fixture(scope="module")
def classifier(shipped_model: Path, compiled_cache: Path) -> Classifier:
    return Classifier.open(shipped_model, compiled_cache)


@pytest.fixture(scope="module")
def images(draw_image: DrawImage, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More than one batch holds."""
    folder = tmp_path_factory.mktemp("images")
    return [
        draw_image(folder / f"{seed}.{'png' if seed % 2 else 'jpg'}", seed, (40, 30))
        for seed in range(BATCH_SIZES[-1] + 9)
    ]


def test_a_prediction_is_the_best_of_the_probabilities(
    classifier: Classifier, images: list[Path]
) -> None:
    (prediction,) = classifier.classify(images[:1])
    pixels = decode(images[0].read_bytes(), 32, 32, 3).pixels
    scores = classifier.probabilities(pixels[np.newaxis])[0]
    assert prediction.error is None
    assert prediction.label == classifier.contract.labels[scores.argmax()]
    assert prediction.confidence == scores.max()
    assert (prediction.width, prediction.height) == (40, 30)
    assert prediction.signature == Signature.of(images[0].stat())
    assert prediction.picture is None


@pytest.mark.parametrize("size", [1, 3, 5, 23, BATCH_SIZES[-1], BATCH_SIZES[-1] + 22])
def test_a_batch_of_any_size_gives_what_each_image_gives_alone(
    classifier: Classifier, size: int
) -> None:
    batch = np.random.default_rng(size).integers(0, 256, (size, 32, 32, 3), np.uint8)
    alone = np.concatenate([classifier.outputs(batch[place : place + 1]) for place in range(size)])
    np.testing.assert_allclose(classifier.outputs(batch), alone, rtol=0, atol=1e-5)


def test_alternatives_are_the_next_best(classifier: Classifier, images: list[Path]) -> None:
    for prediction in classifier.classify(images):
        labels, shares = zip(*prediction.alternatives, strict=True)
        assert len(labels) == ALTERNATIVES
        assert len({prediction.label, *labels}) == 1 + ALTERNATIVES
        assert [prediction.confidence, *shares] == sorted(
            [prediction.confidence, *shares], reverse=True
        )
        assert prediction.confidence + sum(shares) <= 1 + 1e-6


def test_alone_or_in_a_batch_the_answer_is_the_same(
    classifier: Classifier, images: list[Path]
) -> None:
    together = classifier.classify(images)
    assert len({prediction.label for prediction in together}) > 1
    for path, prediction in zip(images, together, strict=True):
        (alone,) = classifier.classify([path])
        assert alone.path == prediction.path == str(path)
        assert alone.label == prediction.label
        assert alone.confidence == pytest.approx(prediction.confidence, abs=1e-6)
        assert alone.sha256 == prediction.sha256


def test_threads_do_not_change_the_answer(
    classifier: Classifier, images: list[Path], shipped_model: Path, compiled_cache: Path
) -> None:
    threaded = Classifier.open(shipped_model, compiled_cache, threads=2).classify(images)
    for one, other in zip(classifier.classify(images), threaded, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-6)


def test_errors_stand_in_their_place(
    classifier: Classifier, images: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("I am no image")
    half = tmp_path / "half.jpg"
    half.write_bytes(images[0].read_bytes()[:300])
    gone = tmp_path / "gone.jpg"
    paths = [images[0], text, images[1], gone, half, tmp_path, images[2]]
    predictions = classifier.classify(paths)
    assert [prediction.path for prediction in predictions] == [str(path) for path in paths]
    assert [bool(prediction.error) for prediction in predictions] == [0, 1, 0, 1, 1, 1, 0]
    assert "not a JPEG" in str(predictions[1].error)
    assert predictions[1].sha256 is not None  # the bytes were read; they are no image
    assert "gone" in str(predictions[3].error)
    assert predictions[3].sha256 is None
    assert "incomplete" in str(predictions[4].error)
    assert (predictions[4].label, predictions[4].confidence) == ("", 0)
    assert predictions[2].label == classifier.classify(images[1:2])[0].label


def test_paths_of_every_type(classifier: Classifier, images: list[Path]) -> None:
    paths = [images[0], str(images[0]), os.fsencode(images[0])]
    first, *others = classifier.classify(paths)
    assert [other.confidence for other in others] == [first.confidence] * 2
    assert others[1].path == os.fsencode(images[0])


def test_nothing_but_errors_and_nothing_at_all(classifier: Classifier, tmp_path: Path) -> None:
    assert classifier.classify([]) == []
    assert classifier.classify([tmp_path / "gone.jpg"])[0].error is not None


def test_a_sign_of_life_for_every_image(classifier: Classifier, images: list[Path]) -> None:
    files: list[None] = []
    signs: list[None] = []
    classifier.classify(
        [*images, "gone.jpg"],
        on_file=lambda: files.append(None),
        on_image=lambda: signs.append(None),
    )
    assert len(files) == len(images) + 1
    # Read and decoded; one for the file that is gone, and one for each of the two batches.
    assert len(signs) == 2 * len(images) + 1 + 2


def test_the_network_gets_as_many_as_it_is_to(classifier: Classifier, images: list[Path]) -> None:
    signs: list[None] = []
    few = classifier.classify(images, at_once=4, on_image=lambda: signs.append(None))
    assert len(signs) == 2 * len(images) + -(-len(images) // 4)
    many = classifier.classify(images)
    assert [p.label for p in few] == [p.label for p in many]


def test_contents_that_are_known_are_not_looked_at(
    classifier: Classifier, images: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(images[0].read_bytes()[:400])
    paths = [images[0], broken, images[2]]
    first = classifier.classify(paths)
    digests = [prediction.sha256 or "" for prediction in first]
    again = classifier.classify(paths, known=[{digests[0]}, {digests[1]}, {"other"}])
    assert [prediction.sha256 for prediction in again] == digests
    assert [prediction.label for prediction in again] == ["", "", first[2].label]
    assert first[1].error is not None
    assert again[1].error is None  # it was not decoded


def test_limits_and_pictures_are_passed_on(classifier: Classifier, images: list[Path]) -> None:
    (small,) = classifier.classify(images[:1], max_bytes=10)
    assert "larger than the 10 bytes allowed" in str(small.error)
    (shown,) = classifier.classify(images[:1], with_pictures=True)
    assert shown.picture is not None
    assert shown.picture.shape == (30, 40, 3)


def test_an_answer_that_is_not_a_number_is_an_error(small_models: Path, tmp_path: Path) -> None:
    description = Description(("cat", "dog", "owl"))
    classifier = Classifier.open(small_models / "overflows.keras", tmp_path / "cache", description)
    paths = []
    for name, value in (("black", 0), ("white", 255), ("grey", 128)):
        paths.append(tmp_path / f"{name}.png")
        cv2.imwrite(str(paths[-1]), np.full((32, 32, 3), value, np.uint8))
    black, white, grey = classifier.classify(paths)
    assert black.confidence == pytest.approx(1 / 3)
    assert "not a number" in str(white.error)
    assert (white.label, white.alternatives, white.confidence) == ("", (), 0)
    assert white.sha256 is not None
    assert (grey.label, grey.confidence) == ("cat", 1)


def test_opening_it_says_nothing_on_the_terminal(shipped_model: Path, compiled_cache: Path) -> None:
    """In a process of its own: LiteRT greets but once."""
    script = """
import sys
from classifier.classify import Classifier
Classifier.open(*sys.argv[1:]).warm_up()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, shipped_model, compiled_cache],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_kept_back_is_shown_when_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with quiet():
            os.write(2, b"the reason\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    os.write(2, b"and on\n")
    assert capfd.readouterr().err == "the reason\nand on\n"
