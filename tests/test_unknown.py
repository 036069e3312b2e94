"""`unknown: true`: what looks like none of the classes is uncertain, however sure the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import DrawImage
from daemon_process import Project

from classifier import contract as contracts
from classifier import modelfile
from classifier.classify import Classifier
from classifier.contract import Contract, Description
from classifier.decode import decode
from classifier.scores import energy

COUNT = 9
LABELS = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unknown") / "cache"


@pytest.fixture
def project(tmp_path: Path, cache: Path, small_models: Path, draw_image: DrawImage) -> Project:
    """With a model to which three of its images look strange: `strange` in their names."""
    plain = small_models / "logits.keras"
    if not cache.exists():
        Classifier.open(plain, cache, Description(LABELS))
    project = Project(tmp_path, cache)
    images = [draw_image(project.inbox / f"{number}.png", number) for number in range(COUNT)]
    classifier = Classifier.open(plain, cache, Description(LABELS))
    pixels = np.stack([decode(path.read_bytes(), 32, 32, 3).pixels for path in images])
    energies = energy(classifier.outputs(pixels))
    order = np.argsort(energies)
    threshold = float(energies[order[2]] + energies[order[3]]) / 2
    for place in order[:3]:
        images[place].rename(images[place].with_name(f"strange{place}.png"))
    contract = Contract(LABELS, 32, 32, 3, output="logits", energy_threshold=threshold)
    with modelfile.opened(plain) as (file, digest):
        contracts.add(file, digest, tmp_path / "told.keras", contract)
    return project


@pytest.mark.parametrize("unknown", [True, False])
def test_a_strange_image_is_uncertain_if_asked_for(
    project: Project, tmp_path: Path, unknown: bool
) -> None:
    project.configure(model=str(tmp_path / "told.keras"), unknown=unknown)
    assert project.classifyd("run", "--once").returncode == 0
    rows = project.rows
    assert len(rows) == COUNT
    for row in rows:
        strange = Path(row["path"]).name.startswith("strange")
        assert row["label"] in LABELS
        assert (row["status"] == "uncertain") == (unknown and strange)
        assert row["reason"] == ("it looks like none of the classes" if unknown and strange else "")
        assert row["thumbnail"]
    assert project.classifyd("verify").returncode == 0
    assert "it can tell what is none of its classes" in project.classifyd("check").stdout


def test_a_model_that_cannot_tell_is_refused(project: Project, small_models: Path) -> None:
    plain = str(small_models / "logits.keras")
    project.configure(model=plain, labels={"names": [*LABELS]}, unknown=True)
    checked = project.classifyd("check")
    assert checked.returncode == 2
    assert "it cannot tell what is none of its classes" in checked.stderr
    assert "`unknown: false`" in checked.stderr
