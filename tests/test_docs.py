"""The documentation is held to what is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [HOME / "README.md", HOME / "CHANGELOG.md", *sorted((HOME / "docs").glob("*.md"))]
PACKAGES = ("classifier", "daemon", "trainer")


def help_of(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=HOME,
    )
    return done.stdout


def commands_of(package: str) -> set[str]:
    return set(re.findall(r"^    ([a-z]+) ", help_of(package), re.MULTILINE))


def test_readme_tells_of_every_command_and_of_no_other() -> None:
    table = set(re.findall(r"^\| `(classifyd(?:-train)?) ([a-z]+)", README, re.MULTILINE))
    real = {("classifyd", name) for name in commands_of("daemon")}
    real |= {("classifyd-train", name) for name in commands_of("trainer")}
    assert table == real


def test_every_option_in_the_readme_exists() -> None:
    shown = re.findall(r"(classifyd(?:-train)?) ([a-z]+)((?: [^`\n#]+)?)", README)
    checked = 0
    for program, command, rest in shown:
        package = "daemon" if program == "classifyd" else "trainer"
        if command not in commands_of(package):
            continue
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in help_of(package, command), f"{program} {command} {option}"
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_architecture_names_every_module() -> None:
    text = (HOME / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        part = text[text.index(f"{package}/  ") :]
        named = set(re.findall(r"(\w+\.py)", part.split("\n```")[0]))
        there = {path.name for path in (HOME / package).glob("*.py")}
        assert there - {"__init__.py", "errors.py"} <= named | {"__main__.py"}, package


def test_the_accuracy_in_the_readme_is_the_measured_one() -> None:
    metrics = json.loads((HOME / "models" / "image_classifier.metrics.json").read_bytes())
    assert metrics["data"] == "JPEG copy of CIFAR-10"
    assert f"**{100 * metrics['test']['accuracy']:.1f}%**" in README


def test_decisions_give_a_reason_for_every_dependency() -> None:
    import tomllib

    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    decisions = (HOME / "docs" / "DECISIONS.md").read_text(encoding="utf-8")
    for dependency in project["dependencies"]:
        name = re.split(r"[<>=; ]", dependency)[0]
        assert f"`{name}`" in decisions, name


def test_locks_are_hashed_and_name_no_host() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (HOME / lock).read_text(encoding="utf-8")
        pins = re.findall(r"^[a-z0-9.-]+==", text, re.MULTILINE | re.IGNORECASE)
        assert len(pins) > 5
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
        assert "--index-url" not in text


def test_keras_has_every_published_fix() -> None:
    lock = (HOME / "requirements.lock").read_text(encoding="utf-8")
    (version,) = re.findall(r"^keras==(\S+)", lock, re.MULTILINE)
    assert tuple(map(int, version.split("."))) >= (3, 15, 1)
