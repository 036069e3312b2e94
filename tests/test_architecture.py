"""Who may import whom, and how large a file may be: what keeps the house in order."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_process import SECONDS

HOME = Path(__file__).parent.parent
PACKAGES = ("classifier", "daemon", "trainer")
MODULES = [path for package in PACKAGES for path in sorted((HOME / package).glob("**/*.py"))]
ALL_FILES = [
    path
    for folder in (*PACKAGES, "tests", "tools", "bench")
    for path in sorted((HOME / folder).glob("**/*.py"))
]
MAX_LINES = 400
# The stages of the line are given plain values; the commands see the settings whole.
COMMANDS = {
    "__main__", "service", "backfill", "status", "verify", "retry", "rebuild", "check",
    # Between them and the stages.
    "fitting", "reload", "reclassify", "where",
    "job",  # of a cluster
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(HOME))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of all that a file imports, wherever in it; '' where no name is taken."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 30
    assert {path.relative_to(HOME).parts[0] for path in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_packages_stand_on_classifier_alone(path: Path) -> None:
    allowed = {path.relative_to(HOME).parts[0], "classifier"}
    used = {module.partition(".")[0] for module, _ in imports(path)} & set(PACKAGES)
    assert used <= allowed


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_commands_see_the_settings(path: Path) -> None:
    if path.is_relative_to(HOME / "daemon") and path.stem not in {*COMMANDS, "settings"}:
        assert "daemon.settings" not in {module for module, _ in imports(path)}


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_files_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_one_job(path: Path) -> None:
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & set(path.stem.split("_"))
    if path.stem not in ("__init__", "__main__"):
        assert path.stem not in sys.stdlib_module_names


def test_no_circle_of_imports() -> None:
    """Each module stands on others that do not stand on it."""
    names = {".".join(path.relative_to(HOME).with_suffix("").parts): path for path in MODULES}
    stands_on = {
        name: {
            target
            for module, taken in imports(path)
            for target in (module, f"{module}.{taken}")
            if target in names and target != name
        }
        for name, path in names.items()
    }
    while free := [name for name, targets in stands_on.items() if not targets & stands_on.keys()]:
        for name in free:
            del stands_on[name]
    assert stands_on == {}


HEAVY = {"numpy", "cv2", "matplotlib", "PIL", "tensorflow", "keras", "ai_edge_litert"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("daemon.__main__", HEAVY),
        ("daemon.service", HEAVY),
        ("daemon.backfill", HEAVY),
        ("daemon.status, daemon.places", {*HEAVY, "pydantic"}),  # a quarter of its time
    ],
)
def test_the_main_process_imports_nothing_heavy(module: str, heavy: set[str]) -> None:
    script = f"import sys, {module}; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=SECONDS, check=False, cwd=HOME,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
