"""What every command does at its edges: odd streams, an early Ctrl-C, folders that do not belong
together."""

from __future__ import annotations

import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import SECONDS, Project


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


@pytest.mark.parametrize("arguments", [("run", "--once"), ("status",), ("verify",), ("check",)])
def test_a_closed_output_is_no_failure(
    project: Project, draw_image: DrawImage, arguments: tuple[str, ...]
) -> None:
    draw_image(project.inbox / "a.jpg")
    project.classifyd("run", "--once")
    command = ["sh", "-c", '"$@" >&-', "sh", *project.command(*arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_an_early_ctrl_c_is_no_traceback() -> None:
    program = (
        "import os, signal, sys\n"
        "from daemon.__main__ import main\n"
        "class Loading:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'daemon.settings': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Loading())\n"
        "main(['status'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_results_of_another_project_are_refused(project: Project, draw_image: DrawImage) -> None:
    draw_image(project.inbox / "a.jpg")
    assert project.classifyd("run", "--once").returncode == 0
    before = project.csv.read_bytes()
    project.configure(results="elsewhere")
    done = project.classifyd("run", "--once")
    assert done.returncode == 2
    assert f"belongs to the results in {project.results}" in done.stderr
    check = project.classifyd("check")
    assert check.returncode == 2
    assert "belongs to the results in" in check.stderr
    assert not (project.folder / "elsewhere").exists()

    project.results.rename(project.folder / "elsewhere")  # as the message says
    assert project.classifyd("run", "--once").returncode == 0
    assert (project.folder / "elsewhere" / "results.csv").read_bytes() == before
    assert not project.results.exists()


def test_the_version_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.startswith("classifyd ")


def test_others_can_write_to_nothing_that_is_made(
    tmp_path: Path, compiled_cache: Path, draw_image: DrawImage
) -> None:
    """Even where the user's umask would let them."""
    project = Project(tmp_path, compiled_cache)
    shutil.rmtree(project.state)  # its models came along with permissions of their own
    shutil.copytree(compiled_cache, project.state / "models")
    draw_image(project.inbox / "a.jpg")
    words = shlex.join(project.command("run", "--once"))
    subprocess.run(["sh", "-c", f"umask 0; exec {words}"], check=True, timeout=SECONDS)
    made = [project.results, project.state, *project.results.rglob("*"), *project.state.iterdir()]
    assert len(made) > 8
    for path in made:
        assert path.is_symlink() or not path.stat().st_mode & stat.S_IWOTH, path
