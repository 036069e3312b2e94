"""What an evaluation finds, as figures, lines, pictures and one page."""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.contract import Contract
from classifier.scores import energy, to_probabilities
from trainer import plot, report, report_plots
from trainer.errors import TrainerError
from trainer.evaluate import Evaluation, Mistake
from trainer.findings import findings, lines, metrics
from trainer.measure import accuracy_by_coverage, at_threshold, confusion_matrix

LABELS = ("cat", "<b>dog & co</b>", "owl")
CONTRACT = Contract(LABELS, 8, 8, 3, output="logits", temperature=1.6, energy_threshold=1.5)
VOID = ("meta", "img", "br")


def evaluation(contract: Contract = CONTRACT, count: int = 400, skill: float = 2.5) -> Evaluation:
    """Made-up logits, mostly right and too sure of it."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, count)
    logits = random.normal(0, 2, (count, 3)).astype(np.float32)
    logits[np.arange(count), labels] += skill
    strange = {
        kind: random.normal(0, width, (40, 3)).astype(np.float32)
        for kind, width in (("noise", 0.3), ("charts", 3.0))
    }
    if contract.output == "softmax":
        as_logits = replace(contract, output="logits")
        logits = to_probabilities(logits, as_logits)
        strange = {kind: to_probabilities(some, as_logits) for kind, some in strange.items()}
    mistakes = tuple(
        Mistake(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), *LABELS[:2], 0.9, f"<{n}>.png")
        for n in range(5)
    )
    return Evaluation(
        "some <data>", Path("model.keras"), "ab" * 32, contract, logits, labels,
        (("dog/half.png", "the image is incomplete or damaged"),), mistakes, strange,
    )  # fmt: skip


def json_of(found: Evaluation, target: float = 0.9) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(json.dumps(metrics(findings(found, target))))
    return said


def test_figures_agree_with_each_other() -> None:
    said = json_of(evaluation())
    images, right = said["summary"]["images"], np.trace(np.array(said["confusion"]))
    assert images == 400
    assert said["summary"]["accuracy"] == pytest.approx(right / images)
    assert sum(one["images"] for one in said["classes"]) == images
    assert [one["label"] for one in said["classes"]] == list(LABELS)
    for place, one in enumerate(said["classes"]):
        assert one["recall"] * one["images"] == pytest.approx(
            said["confusion"][place][place], abs=0.01
        )
    for which in ("with_temperature", "without_temperature"):
        assert sum(one["images"] for one in said["reliability"][which]["bins"]) == images
    calibrated, raw = (
        said["reliability"][which]["calibration_error"]
        for which in ("with_temperature", "without_temperature")
    )
    assert said["summary"]["calibration_error"] == calibrated < raw
    assert said["coverage"][-1]["coverage"] == 1
    assert said["coverage"][-1]["accuracy"] == said["summary"]["accuracy"]
    assert len(said["coverage"]) == 100


def test_the_named_min_confidence_does_what_is_said() -> None:
    found = evaluation()
    target = json_of(found)["target_precision"]
    confidences = to_probabilities(found.outputs, CONTRACT).max(axis=1)
    right = found.outputs.argmax(axis=1) == found.labels
    sure = np.array([float(value) >= target["min_confidence"] for value in confidences])
    assert target["reached"]
    assert target["withheld"] == (~sure).sum() > 0
    assert target["precision"] == pytest.approx(right[sure].mean(), abs=1e-5)
    assert target["precision"] >= 0.9
    assert target["precision_low"] < target["precision"] < target["precision_high"]


def test_strange_pictures_as_loops() -> None:
    found = evaluation()
    strange = json_of(found)["strange"]
    known = sorted(energy(found.outputs).tolist())
    for kind, outputs in found.strange.items():
        scores = energy(outputs).tolist()
        shares = strange["kinds"][kind]
        assert shares["passing"] == pytest.approx(np.mean([s >= 1.5 for s in scores]), abs=1e-5)
        # Of 400 known images, 380 lie at or above the 21st.
        assert shares["fpr95_energy"] == pytest.approx(
            np.mean([score >= known[20] for score in scores]), abs=1e-5
        )
    assert strange["kinds"]["noise"]["passing"] < strange["kinds"]["charts"]["passing"]
    assert strange["all"]["passing"] == pytest.approx(
        np.mean([shares["passing"] for shares in strange["kinds"].values()])
    )
    assert strange["known_passing"] == pytest.approx(np.mean(np.array(known) >= 1.5), abs=1e-5)


def test_a_model_of_probabilities_has_its_confidence_alone() -> None:
    plain = replace(CONTRACT, output="softmax", temperature=1.0, energy_threshold=None)
    found = findings(evaluation(plain), 0.9)
    said = metrics(found)
    assert said["strange"]["all"]["fpr95_energy"] is None
    assert said["strange"]["known_passing"] is None
    assert said["reliability"]["without_temperature"] is None
    text = lines(said)
    assert text[-1] == "confidence: where 95% of the labelled images pass (FPR95)"
    page = report.files(found)["index.html"].decode()
    assert "has no threshold for strange images" in page
    assert "<b>threshold</b>" not in page


def test_a_model_of_logits_without_a_threshold() -> None:
    """No column is explained by one that is not there."""
    page = report.files(findings(evaluation(replace(CONTRACT, energy_threshold=None)), 0.9))
    text = page["index.html"].decode()
    assert "<b>threshold</b>" not in text
    assert "<b>energy</b>: how much it looks like any class at all, at the threshold" in text


def test_lines_for_the_terminal() -> None:
    text = lines(metrics(findings(evaluation(), 0.9)))
    assert re.fullmatch(r"some <data>, 400 images: loss \d\.\d{4}, accuracy \d\d\.\d\d%", text[0])
    assert re.search(r"interval .* to \d\d\.\d\d%, calibration error \d+\.\d\d%$", text[1])
    assert "optimistic" in text[2] + text[3]
    assert re.match(
        r"min_confidence 0\.\d+: 90\.\d\d% of the answers are right \(95% interval", text[3]
    )
    assert [line.split()[0] for line in text[6:10]] == ["threshold", "noise", "charts", "all"]


def test_what_training_suggested_is_measured_here() -> None:
    suggested = replace(CONTRACT, evidence={"min_confidence": {"target": 0.99, "value": 0.8}})
    found = evaluation(suggested)
    said = json_of(found)
    sure = to_probabilities(found.outputs, CONTRACT).max(axis=1) >= 0.8
    right = found.outputs.argmax(axis=1) == found.labels
    assert said["suggested"]["precision"] == pytest.approx(right[sure].mean(), abs=1e-5)
    assert said["suggested"]["coverage"] == pytest.approx(sure.mean(), abs=1e-5)
    assert lines(said)[2].startswith("as training suggests")
    assert lines(said)[3].startswith("min_confidence 0.8: ")
    page = report.files(findings(found, 0.9))["index.html"].decode()
    assert "Training suggests <code>min_confidence: 0.8</code>" in page
    for nonsense in ({"value": "high"}, {}, 7, {"value": 2.0}):
        odd = evaluation(replace(CONTRACT, evidence={"min_confidence": nonsense}))
        assert json_of(odd)["suggested"] is None


def test_a_target_that_nothing_reaches() -> None:
    hopeless = evaluation(skill=-50)
    text = lines(metrics(findings(hopeless, 0.9)))
    assert text[2] == "no min_confidence makes 90% of the answers right"
    assert json_of(hopeless)["target_precision"] == {"target": 0.9, "reached": False}


def test_a_class_without_images_has_no_recall() -> None:
    found = evaluation()
    some = found.labels != 2
    found = replace(found, outputs=found.outputs[some], labels=found.labels[some])
    owl = json_of(found)["classes"][2]
    assert (owl["images"], owl["recall"], owl["precision"]) == (0, None, 0)


class Reader(HTMLParser):
    """Sees that every element ends where it should, and what the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.fetched = "", []  # type: str, list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag != "img" or dict(attrs)["alt"]  # for who cannot see it

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_in_itself() -> None:
    files = report.files(findings(evaluation(), 0.9))
    reader = Reader()
    reader.feed(files["index.html"].decode())
    assert reader.open == []
    pngs = [name for name in files if name.endswith(".png")]
    prefix = "data:image/png;base64,"
    assert json.loads(files["metrics.json"]) == json_of(evaluation())
    assert [base64.b64decode(src.removeprefix(prefix)) for src in reader.fetched] == [
        files[name] for name in pngs
    ]
    for text in ("some <data>", "<b>dog & co</b>", "<3>.png", "dog/half.png", "optimistic"):
        assert text in reader.text


def test_a_file_whose_name_is_not_utf8() -> None:
    found = evaluation()
    mistake = replace(found.worst[0], name=os.fsdecode(b"caf\xe9.png"))
    files = report.files(findings(replace(found, worst=(mistake,)), 0.9))
    name = json.loads(files["metrics.json"])["worst"][0]["name"]
    assert os.fsencode(name) == b"caf\xe9.png"
    assert rb"caf\udce9.png" in files["index.html"]


@pytest.mark.parametrize("classes", [2, 30, 150])
def test_confusion_of_few_and_many_classes(classes: int) -> None:
    """Names that matplotlib would warn about (an error here), or take for formulas."""
    names = ["$x^2$_a", "猫", "a very long name that does not end there"]
    names = (names + [f"class {n}" for n in range(classes)])[:classes]
    labels = np.arange(classes * 3) % classes
    png = report_plots.confusion(confusion_matrix(labels, (labels + 1) % classes, classes), names)
    height, width = size_of(png)
    assert 250 < height < 2000
    assert 250 < width < 2000


def size_of(png: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 1
    return image.shape[0], image.shape[1]


def test_the_curve_stays_in_its_picture() -> None:
    """Its first answers are wrong, which is far below what is shown."""
    right = np.arange(1000) >= 10
    confidences = np.linspace(1, 0.5, 1000)
    curve = accuracy_by_coverage(confidences, right)
    image = picture(report_plots.coverage(curve, None, at_threshold(confidences, right, 0.6)))
    blue = (image == (0xEB, 0x6F, 0x1F)).all(axis=2)  # BGR
    grid = (image == (0xEB, 0xE7, 0xE4)).all(axis=2)
    axis = np.flatnonzero(grid.sum(axis=1) > 300).max()
    # Left of column 40 is the legend's circle.
    assert 0 <= axis - np.flatnonzero(blue[:, 40:].any(axis=1)).max() < 5


def test_names_of_curves_that_end_together_are_apart() -> None:
    same = [0.4, 0.7, 0.9]
    keys = ("accuracy", "val_accuracy", "loss", "val_loss")
    image = picture(plot.curves(dict.fromkeys(keys, same), "same"))[:, :495]  # of the accuracy
    # One curve covers the other, so all that is grey is its name.
    grey, blue = ((image == bgr).all(axis=2) for bgr in ((0xB1, 0xA5, 0x9A), (0xEB, 0x6F, 0x1F)))
    columns = np.flatnonzero(grey.any(axis=0))
    beside = blue[:, columns[0] : columns[-1] + 1]
    assert beside.any()
    assert not (grey.any(axis=1) & beside.any(axis=1)).any()


def picture(png: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


@pytest.mark.parametrize(
    ("count", "shape"), [(0, (8, 8, 3)), (1, (8, 8, 1)), (6, (40, 10, 3)), (16, (10, 40, 1))]
)
def test_worst_of_any_number_and_shape(count: int, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    size_of(report_plots.worst([Mistake(pixels, "cat", "$dog$ 猫", 0.99999, "x")] * count))


def test_a_report_replaces_an_older_one(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model.report"
    report.check_place(folder, "cifar10")
    assert not folder.parent.exists()
    for found in (evaluation(), evaluation(count=50)):
        files = report.files(findings(found, 0.9))
        report.write(files, folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_where_a_report_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/here")):
        with pytest.raises(TrainerError, match=r"cannot be written here .* --report FOLDER"):
            report.check_place(folder, "cifar10")


def test_a_report_is_not_taken_for_a_class(tmp_path: Path) -> None:
    for classes in ("flat/cat", "split/train/cat", "split/test/cat"):
        (tmp_path / classes).mkdir(parents=True)
    flat, split = str(tmp_path / "flat"), str(tmp_path / "split")
    report.check_place(tmp_path / "split" / "model.report", split)
    for data, place in ((flat, "flat/report"), (split, "split/train/report"),
                        (split, "split/test/report")):  # fmt: skip
        with pytest.raises(TrainerError, match="taken for a class"):
            report.check_place(tmp_path / place, data)
