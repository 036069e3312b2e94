"""While `run` works, TensorFlow is loaded in no process of it, and the main process stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Daemon, Project

MEGABYTE = 1 << 20
IN_NO_PROCESS = {"tensorflow", "keras", "h5py"}  # Keras has no library of its own, but brings h5py
IN_WORKERS_ONLY = {"cv2", "numpy", "matplotlib", "PIL", "ai_edge_litert"}


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


def packages(pid: int) -> set[str]:
    """The installed packages of which a library is mapped into a process."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"/site-packages/(\w+?)(?:\.libs)?/", maps))


def proportional_set_size(pid: int) -> int:
    """Bytes of memory, those that are shared by n processes counted as an nth."""
    (size,) = re.findall(
        r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
    )
    return int(size) * 1024


def work(project: Project, draw_image: DrawImage, daemon: Daemon) -> None:
    """Until every worker has made thumbnails, and batches of all sizes were worked on."""
    daemon.says("watching")
    for number in range(400):
        draw_image(project.inbox / f"{number}.jpg", number)
    project.wait_for_rows(400)


def test_what_is_loaded_where(project: Project, draw_image: DrawImage) -> None:
    with project.started("run") as daemon:
        work(project, draw_image, daemon)
        workers = daemon.workers
        assert len(workers) == 2
        for worker in workers:
            assert packages(worker) >= IN_WORKERS_ONLY  # so this way of looking sees them
            assert not packages(worker) & IN_NO_PROCESS
        assert "pydantic_core" in packages(daemon.pid)
        assert not packages(daemon.pid) & (IN_NO_PROCESS | IN_WORKERS_ONLY)
        memory = sum(map(proportional_set_size, [daemon.pid, *workers]))
        assert memory <= 350 * MEGABYTE
        assert daemon.stop() == 0
