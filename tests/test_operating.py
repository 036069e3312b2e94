"""Every command of docs/OPERATING.md, in its order, in a real systemd."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from daemon_process import wait_for
from nspawn import Container, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.timeout(600),
]
PAGE = ROOT / "docs/OPERATING.md"
# Those of a block without a language are given to make outside of the container, or at its boot.
# Others (yaml, ini) are no commands.
BLOCKS = [
    text
    for language, text in re.findall(
        r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    if language in ("", "sh")
]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("operating")
    for outer in (folder, folder.parent, folder.parent.parent):
        outer.chmod(0o755)
    (folder / "srv").mkdir()
    make("install", folder / "installed")
    container = Container(folder, folder / "installed", folder / "srv")
    container.boot()
    try:
        yield container
    finally:
        container.end()


def make(what: str, destination: Path) -> None:
    subprocess.run(
        ["make", what, f"PYTHON={sys.executable}", f"DESTDIR={destination}",
         f"PACKAGES={sys.prefix}"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip


def test_the_page_is_walked_through(container: Container) -> None:
    ran = []
    for command in "".join(BLOCKS).splitlines():
        if command in ("make install", "make uninstall"):
            make(command.split()[1], container.installed)
        else:
            done = container.run("sh", "-ec", command)
            # `systemctl status` and `status` tell how it is; nothing else may go wrong.
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            after(command, container, done.stdout)
        ran.append(command)
    assert len(ran) >= 15
    assert not (container.installed / "usr/local/bin/classifyd").is_symlink()
    assert rows(container) == 20
    assert (container.installed / "etc/classifyd/camera1.yaml").exists()


def rows(container: Container) -> int:
    results = container.state / "camera1/results/results.csv"
    return results.read_bytes().count(b"\n") - 1 if results.exists() else 0


def after(command: str, container: Container, said: str) -> None:
    """What a reader expects to see."""
    if command.startswith("cp "):
        wait_for(lambda: rows(container) == 10, "10 rows")
    elif command.startswith("classifyd status") and "grep" not in command:
        assert "rows       10 (10 classified)" in said
    elif "verify" in command:
        assert "20 in the journal" in said
    elif command.startswith("mv "):  # a large one is compiled
        wait_for(
            lambda: "a new model serves" in container.log("classifyd@camera1"), "the new model"
        )
    elif "reclassify" in command and "--dry-run" in command:
        assert "matching   10 images" in said
    elif "reclassify" in command:
        wait_for(lambda: rows(container) == 20, "new rows")
    elif command.startswith("journalctl") and "grep" in command:
        assert "changed: min_confidence" in said
    elif command.startswith("systemctl status"):
        assert "active (running)" in said
