"""What a model is worth, as `status` and `check` say it: by evidence that nobody vouches for."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Project, wait_for

from classifier import modelfile
from daemon.lock import holder
from daemon.row import CONTROL, word
from daemon.worth import MAX_TEXT, UNKNOWN, worth

FIGURES = {
    "images": 10000, "accuracy": 0.6951, "accuracy_low": 0.686, "accuracy_high": 0.704,
    "loss": 0.89, "calibration_error": 0.0123,
}  # fmt: skip
EVIDENCE = {"data": "photos", "date": "2026-11-25", "network": "readme", "test": FIGURES}


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (EVIDENCE,
         "69.5% right on 10,000 test images (photos, 2026-11-25), calibration error 1.2%"),
        ({**EVIDENCE, "test": None, "validation": FIGURES},
         "69.5% right on 10,000 held-out training images, by which its best epoch was chosen "
         "(photos, 2026-11-25), calibration error 1.2%"),
        ({"data": "photos", "date": "2026-11-25", "test": {"loss": 0.9, "accuracy": 0.7}},
         "70.0% right on its test images (photos, 2026-11-25)"),
        ({"test": {"accuracy": 1}}, "100.0% right on its test images"),
        ({}, UNKNOWN),
        (None, UNKNOWN),
    ],
    ids=["full", "held out", "of old", "least", "none", "no contract"],
)  # fmt: skip
def test_evidence_in_words(evidence: object, expected: str) -> None:
    assert worth(evidence) == expected


# What a file may say in any of these places.
ODD: list[Any] = [
    None, True, -1, 2, 10**400, float("nan"), float("inf"), 0.5, "0.5", "", "x\ny", "a\x1b[2Jb",
    "\u202eexe", "\ud800", "\x00", "long" * 1000, [], [[]], {}, {"accuracy": "1"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:12])
def test_evidence_of_the_wrong_kind_is_passed_over(odd: object) -> None:
    """Whatever it says and wherever, there is one plain line of bounded length."""
    said = [worth(odd)]
    said += [worth({**EVIDENCE, key: odd}) for key in EVIDENCE]
    said += [worth({**EVIDENCE, "test": {**FIGURES, key: odd}}) for key in FIGURES]
    for text in said:
        assert text == UNKNOWN or "% right on " in text
        assert not CONTROL.search(text)
        assert len(text) < 150 + MAX_TEXT


def model_saying(path: Path, evidence: object) -> Path:
    """As much of a model file as `status` looks at."""
    contract = {"version": 1, "labels": ["a", "b"], "height": 8, "width": 8, "channels": 3,
                "evidence": evidence}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("contract.json", json.dumps(contract))
    return path


def test_status_of_models_that_are_not_as_they_should_be(
    tmp_path: Path, compiled_cache: Path
) -> None:
    project = Project(tmp_path, compiled_cache, model="m.keras")

    def said_of_model() -> str:
        done = project.classifyd("status")
        assert (done.returncode, done.stderr) == (0, "")
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("model ")]
        return line

    model = tmp_path / "m.keras"
    assert said_of_model().startswith(f"model      {model}: there is no model here")
    evil = {"test": FIGURES, "data": "\x1b]0;gone\x07\n\nrows       0", "date": 10**30}
    digest = modelfile.digest_of(model_saying(model, evil))
    assert said_of_model() == (
        f"model      {word(digest, 12)} m.keras: 69.5% right on 10,000 test images "
        r"(\x1b]0;gone\x07 rows 0), calibration error 1.2%"
    )
    model_saying(model, ["nothing"])
    assert "evidence must be names with their values" in said_of_model()
    model.write_bytes(b"cut")
    assert "the model file is damaged" in said_of_model()
    project.configure(model="m.keras", model_sha256=digest)
    assert f"and it is pinned to {digest}" in said_of_model()


def test_status_tells_of_the_model_that_runs(
    tmp_path: Path, compiled_cache: Path, shipped_model: Path
) -> None:
    model = tmp_path / "m.keras"
    model.write_bytes(shipped_model.read_bytes())
    running = modelfile.digest_of(model)
    project = Project(tmp_path, compiled_cache, model="m.keras")

    def said() -> list[str]:
        lines = project.classifyd("status").stdout.splitlines()
        return [line for line in lines[1:4] if not line.startswith(("ended", "inbox"))]

    with project.started("run") as daemon:
        wait_for(lambda: (at_work := holder(project.state)) and at_work.model, "a model is loaded")
        before = said()[0]
        assert before.startswith(f"model      {word(running, 12)} m.keras: ")
        assert "% right on " in before

        other = modelfile.digest_of(model_saying(tmp_path / "new.keras", EVIDENCE))
        (tmp_path / "new.keras").replace(model)
        assert said() == [
            before.replace(" m.keras", ""),
            f"configured {word(other, 12)} m.keras: {worth(EVIDENCE)}; it is taken once compiled",
        ]
        model.unlink()
        assert said()[0] == before.replace(" m.keras", "")
        assert said()[1].startswith(f"configured {model}: there is no model here")
        assert daemon.stop() == 0
    assert said()[0].startswith(f"model      {model}: there is no model here")
