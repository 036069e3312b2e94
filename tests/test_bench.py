"""`make bench` at sizes that only show that it works. No figure is held to anything here."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import images
from bench.__main__ import PARTS, command, main, measured
from bench.growth import Growth, Sample
from bench.page import note, number
from bench.report import Figure, Figures
from bench.setup import MODEL, ROOT, Setup

WITHOUT_KERAS = "photos", "latency", "scale", "idle"  # to start it takes many seconds


@pytest.fixture(scope="module")
def setup(compiled_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    setup = Setup(tmp_path_factory.mktemp("bench"), repeats=1, short=True)
    shutil.copytree(compiled_cache, setup.shared / MODEL.stem / "models")
    return setup


@pytest.mark.parametrize("name", WITHOUT_KERAS)
def test_a_part_writes_its_page(name: str, setup: Setup, tmp_path: Path) -> None:
    report = measured(name, setup)
    note(tmp_path, name, report, PARTS)
    page = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert f"## {report['title']}\n\n{report['done']}\n" in page
    assert f"`make bench PARTS={name}`: {report['seconds']} s, {report['date']}" in page
    assert report["figures"]
    for figure in report["figures"]:
        assert f"\n| {figure['name']} | {number(figure['median'])} | " in page
    assert str(setup.scratch) not in page


def said(title: str) -> dict[str, Any]:
    return {
        "title": title, "done": "", "figures": [], "notes": [], "command": "make bench",
        "seconds": 1, "date": "", "commit": "", "changed": "", "machine": "", "versions": "",
    }  # fmt: skip


def test_a_part_that_is_run_anew_changes_its_own_figures_only(tmp_path: Path) -> None:
    for name, title in (("idle", "Idle"), ("small", "Small"), ("idle", "Idle anew")):
        note(tmp_path, name, said(title), PARTS)
    known = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert {name: report["title"] for name, report in known.items()} == {
        "small": "Small", "idle": "Idle anew",
    }  # fmt: skip
    page = (tmp_path / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert re.findall("^## (.+)$", page, re.MULTILINE) == ["Small", "Idle anew"]


@pytest.mark.parametrize("name", PARTS)
def test_every_part_can_be_run(name: str) -> None:
    assert callable(importlib.import_module(f"bench.parts.{name}").run)


def test_there_is_no_part_besides() -> None:
    assert {path.stem for path in (ROOT / "bench" / "parts").glob("[a-z]*.py")} == set(PARTS)
    with pytest.raises(SystemExit, match="2"):
        main(["everything"])


def test_given_images_are_of_all_folders(tmp_path: Path) -> None:
    setup = Setup(tmp_path, data=tmp_path / "data")
    for name in ("cat/1.jpg", "cat/2.jpg", "cat/3.jpeg", "dog/1.jpg", "dog/notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    folder = images.small(setup, 3, settled=False)
    contents = [path.read_text() for path in sorted(folder.iterdir())]
    assert contents == ["cat/1.jpg", "dog/1.jpg", "cat/2.jpg"]
    assert len(list(images.small(setup, 100, settled=False).iterdir())) == 4


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SystemExit, match="2"):
            main(["idle", "--data", str(folder)])


def test_the_command_is_the_one_that_was_given(tmp_path: Path) -> None:
    setup = Setup(tmp_path, data=tmp_path, million=True)
    assert command("scale", setup) == "make bench PARTS=scale DATA=FOLDER MILLION=1"
    assert command("idle", Setup(tmp_path)) == "make bench PARTS=idle"


def test_ratios_are_taken_repeat_by_repeat() -> None:
    figures = Figures()
    for ours, theirs in ((10, 1), (40, 2), (6, 2)):
        figures.add("ours", ours, "images/s")
        figures.add("theirs", theirs, "images/s")
    figures.ratio("ours / theirs", "ours", "theirs")
    figures.share("theirs, of ours", "theirs", "ours")
    assert list(figures)[2:] == [
        Figure("ours / theirs", "times", [10, 20, 3]),
        Figure("theirs, of ours", "%", [10, 5, pytest.approx(100 / 3)]),
    ]
    assert list(figures)[2].median == 10


def test_the_steady_state_leaves_out_start_and_end(tmp_path: Path) -> None:
    growth = Growth(tmp_path / "results.csv")
    sizes = [(0, 0), (5, 0), (6, 200), (7, 500), (8, 900), (20, 1000)]
    growth._samples = [Sample(*sample) for sample in sizes]
    assert growth.steady(1000) == pytest.approx(700 / 2)
    assert growth.first_row(100) == 6


def test_a_run_too_short_to_be_seen_growing_is_taken_whole(tmp_path: Path) -> None:
    growth = Growth(tmp_path / "results.csv")
    growth._samples = [Sample(0, 0), Sample(4, 1000)]
    assert growth.steady(100) == 25


def test_architecture_names_every_module() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(\w+\.py)", text[text.index("\nbench/") :].split("\n```")[0]))
    there = {path.name for path in (ROOT / "bench").rglob("*.py")}
    assert there - {"__init__.py"} <= named
