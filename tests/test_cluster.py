"""`backfill --engine ray` without Ray, and what of it needs none. With Ray: `make trial`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from daemon_process import Project


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(project: Project) -> None:
    done = project.classifyd("backfill", project.inbox, "--engine", "ray")
    assert done.returncode == 2
    assert "ray" in done.stderr
    assert "pip install 'classifyd[ray]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not project.csv.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--actors", "0"), "must be 1 or more, found '0'"),
        (("--cpus", "many"), "must be a number, 0 or more, found 'many'"),
        (("--gpus", "-1"), "must be a number, 0 or more, found '-1'"),
        (("--engine", "spark"), "invalid choice: 'spark'"),
    ],
)
def test_wrong_options(project: Project, arguments: tuple[str, ...], said: str) -> None:
    done = project.classifyd("backfill", project.inbox, "--engine", "ray", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_else_imports_it() -> None:
    """All of classifyd does without Ray, but for this."""
    daemon = Path(__file__).parent.parent / "daemon"
    users = {
        path.relative_to(daemon).as_posix()
        for path in daemon.rglob("*.py")
        if "daemon.cluster" in path.read_text(encoding="utf-8") and path.parent == daemon
    }
    assert users == {"__main__.py"}
    assert "daemon.cluster" not in sys.modules
