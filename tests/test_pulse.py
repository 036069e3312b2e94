"""What the service manager is told by a real daemon, and by one whose workers get nowhere."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, wait_for

from classifier.read import Signature
from daemon.__main__ import main
from daemon.census import Priority
from daemon.jobs import Outcome, Sighting
from daemon.journal import Journal
from daemon.pulse import Alive, Pulse
from daemon.troubles import Kind, Troubles


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        """All assignments so far."""
        while True:
            try:
                self._told += self._socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return self._told

    def waits_for(self, start: str) -> str:
        wait_for(lambda: any(word.startswith(start) for word in self.told), start)
        return next(word for word in self.told if word.startswith(start))

    def forget(self) -> None:
        self.told.clear()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with closing(Manager(tmp_path / "notify")) as manager:
        yield manager


def test_a_daemon_tells_how_it_goes(
    manager: Manager, tmp_path: Path, compiled_cache: Path, draw_image: DrawImage
) -> None:
    project = Project(tmp_path, compiled_cache)
    with project.started("run") as daemon:
        manager.waits_for("READY=1")
        daemon.says("watching")
        assert not any(word.startswith("WATCHDOG") for word in manager.told[:1])
        draw_image(project.inbox / "a.jpg")
        manager.waits_for(f"STATUS=watching {project.inbox}: 1 images since the start, the last at")
        manager.forget()
        manager.waits_for("WATCHDOG=1")

        daemon.process.send_signal(signal.SIGSTOP)  # the loop hangs: it says nothing any more
        wait_for(lambda: manager.forget() or time.sleep(0.6) or not manager.told, "silence")
        daemon.process.send_signal(signal.SIGCONT)
        manager.waits_for("WATCHDOG=1")

        project.inbox.rename(tmp_path / "away")
        manager.waits_for(f"STATUS={project.inbox} cannot be read: No such file")
        manager.forget()
        manager.waits_for("WATCHDOG=1")  # it does what it can
        assert daemon.stop() == 0
        assert "STOPPING=1" in manager.told
    assert manager.told.count("READY=1") == 0  # since it was forgotten: told once


def test_not_ready_before_the_first_scan(
    manager: Manager, tmp_path: Path, compiled_cache: Path
) -> None:
    """No worker comes up as they stand still: a long start is no reason to be killed."""
    project = Project(tmp_path, compiled_cache)
    with project.started("run") as daemon:
        wait_for(lambda: daemon.workers, "workers")
        for worker in daemon.workers:
            os.kill(worker, signal.SIGSTOP)
        if "READY=1" in manager.told:
            pytest.skip("they were up already")
        manager.waits_for("EXTEND_TIMEOUT_USEC=")
        assert "READY=1" not in manager.told
        for worker in daemon.workers:
            os.kill(worker, signal.SIGCONT)
        manager.waits_for("READY=1")


def test_a_wrong_configuration_is_told(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("inbox: nowhere\nresults: r\nstate: s\n")
    assert main(["run", "--config", str(tmp_path / "config.yaml")]) == 2
    assert manager.waits_for("STATUS=").startswith(
        f"STATUS={tmp_path}/config.yaml:1: inbox: there is no folder {tmp_path}/nowhere"
    )


class Crew:
    image_seconds = 10.0


class StillPool:
    """Workers that are up and get nowhere, without any reason."""

    crew = Crew
    is_up = True
    moving = False

    def is_moving(self, now: float) -> bool:
        return self.moving


class Eyes:
    scans = 1
    folder = b"/inbox"


def test_when_nothing_gets_done_nothing_is_fed(manager: Manager, tmp_path: Path) -> None:
    troubles, pool = Troubles(), StillPool()
    with closing(Journal.open(tmp_path)) as journal:
        pulse = Pulse(Alive(), journal, pool, troubles)  # type: ignore[arg-type]
        pulse.watcher = Eyes()  # type: ignore[assignment]
        now = time.monotonic()
        pulse.tick(now, [])
        assert manager.told[0] == "READY=1"
        assert "WATCHDOG=1" in manager.told

        later = now + 1000  # nothing waits: there is nothing to be done
        pulse.tick(later, [])
        assert not pulse.is_stuck

        seen = Sighting(b"/inbox/a.jpg", Signature(1, 2, 3))
        journal.enqueue([seen], Priority.LIVE)
        journal._db.execute("UPDATE arrivals SET seen_at = '2026-01-01T00:00:00.000+00:00'")
        pool.moving = True  # at an image, or waiting for a slow disk
        pulse.tick(later + 1000, [])
        assert not pulse.is_stuck
        pool.moving = False
        pulse.tick(later + 1100, [])  # not for long yet
        assert not pulse.is_stuck
        manager.forget()
        pulse.tick(later + 2000, [])
        assert pulse.is_stuck
        assert "images wait, and none was done for 1000 s" in troubles.text(Kind.STUCK)
        assert "WATCHDOG=1" not in manager.told
        assert manager.told[0].startswith("STATUS=images wait")

        (job,) = journal.claim(1, [])
        pulse.tick(later + 2001, [Outcome(job)])
        assert not pulse.is_stuck
        assert not troubles.text(Kind.STUCK)
        assert "WATCHDOG=1" in manager.told
