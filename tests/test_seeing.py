"""Wrong states, made to happen: each is seen by `status --check`, in the metrics and in the log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conftest import DrawImage
from daemon_process import SECONDS, Daemon, Project, is_stopped, wait_for
from test_storage import on_a_small_disk

from daemon import record

HOME = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Seen:
    """What the three of them say."""

    def __init__(self, project: Project, port: int, config: Path | None = None) -> None:
        self._command = [sys.executable, "-m", "daemon", "status", "--config"]
        self._command += [str(config or project.config)]
        self._url = f"http://127.0.0.1:{port}/metrics"

    def check(self) -> tuple[int, str]:
        done = subprocess.run(
            [*self._command, "--check"], capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        # A disk of the machine that tests run on may be nearly full, as a small one is.
        told = [line for line in lines if "disk_low" not in line]
        return (done.returncode if told == lines else 0 if not told else done.returncode), (
            "\n".join(told)
        )

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(self._url, timeout=SECONDS) as answer:
            text = answer.read().decode()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def trouble(self, kind: str) -> bool:
        return self.metrics()[f'classifyd_trouble{{kind="{kind}"}}'] == 1

    def wait_for(self, kind: str, code: int) -> None:
        """Both say so."""
        wait_for(lambda: self.trouble(kind), f"the metrics tell of {kind}")
        # What the process knows already is written down a little later.
        wait_for(lambda: f"{kind}: " in self.check()[1], f"the check tells of {kind}")
        assert self.check()[0] == code


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path, port: int) -> Project:
    return Project(tmp_path, compiled_cache, workers=1, metrics={"port": port})


@pytest.fixture
def seen(project: Project, port: int) -> Seen:
    return Seen(project, port)


def test_a_life(project: Project, seen: Seen, port: int, draw_image: DrawImage) -> None:
    assert seen.check()[0] == 2
    assert "CRITICAL - not_running: it is not running: start it" in seen.check()[1]
    with project.started("run") as daemon:
        daemon.says("watching")
        for number in range(3):
            draw_image(project.inbox / f"{number}.jpg", number)
        (project.inbox / "text.jpg").write_text("no image")
        project.wait_for_rows(4)
        all_is_well(project, seen, daemon)
        idle_writes_nothing(project, seen)
        a_port_in_use(project, port)
        an_inbox_that_is_gone(project, seen, daemon)
        a_process_that_stands_still(seen, daemon)
        a_killed_process(seen, daemon)
    with project.started("run") as daemon:
        daemon.says("watching")
        assert daemon.stop() == 0
    code, told = seen.check()
    assert code == 2
    assert "ended at 2" in told
    assert ": stopped by SIGTERM: start it" in told


def all_is_well(project: Project, seen: Seen, daemon: Daemon) -> None:
    wait_for(lambda: seen.check()[0] == 0, "all is well")
    line = seen.check()[1]
    assert line.startswith(f"OK - `classifyd run`, process {daemon.pid}, since 2") or not line
    found = json.loads(project.classifyd("status", "--json").stdout)
    assert found["running"]["pid"] == daemon.pid
    assert found["running"]["watching"] == "events"
    assert found["queue"]["rows"] == {"classified": 3, "failed": 1}
    assert found["queue"]["waiting"] == {"inbox": 0, "backfill": 0, "reclassify": 0}
    assert found["queue"]["images_per_second"] > 0
    (failure,) = found["queue"]["failures"]
    assert failure["example"] == f"{project.inbox}/text.jpg"
    metrics = seen.metrics()
    for name, value in {
        "classifyd_up": 1,
        'classifyd_images_total{status="classified"}': 3,
        'classifyd_images_total{status="failed"}': 1,
        'classifyd_failed_images_total{kind="not_an_image"}': 1,
        'classifyd_failed_images_total{kind="crashed"}': 0,
        'classifyd_waiting{source="inbox"}': 0,
        "classifyd_oldest_waiting_seconds": 0,
        'classifyd_watching_mode{mode="events"}': 1,
        'classifyd_watching_mode{mode="polling"}': 0,
        "classifyd_worker_restarts_total": 0,
        f'classifyd_disk_free_bytes{{folder="{project.results}"}}': None,
        "classifyd_last_row_timestamp_seconds": None,
        "process_resident_memory_bytes": None,
    }.items():
        assert name in metrics
        assert value is None or metrics[name] == value, name
    page = (HOME / "docs" / "MONITORING.md").read_text()
    documented = set(re.findall(r"^\| `(classifyd_\w+)", page, re.MULTILINE))
    assert documented == {name.partition("{")[0] for name in metrics if "classifyd" in name[:9]}
    (digest,) = [model["digest"] for model in found["models"]]
    assert any(digest in name for name in metrics if name.startswith("classifyd_model_info{"))
    assert not any(seen.trouble(kind) for kind in ("stuck", "no_events", "not_running"))


def idle_writes_nothing(project: Project, seen: Seen) -> None:
    ours = [project.state / record.FILE_NAME, project.state / "lock"]
    scans = seen.metrics()["classifyd_scans_total"]
    # What there was to do is written down, a few seconds later.
    wait_for(lambda: seen.metrics()["classifyd_scans_total"] >= scans + 4, "some scans")
    before = [path.stat().st_mtime_ns for path in ours]
    scans = seen.metrics()["classifyd_scans_total"]
    wait_for(lambda: seen.metrics()["classifyd_scans_total"] >= scans + 3, "three more scans")
    assert [path.stat().st_mtime_ns for path in ours] == before


def a_port_in_use(project: Project, port: int) -> None:
    other = project.folder / "other.yaml"
    said = yaml.safe_load(project.config.read_text())
    other.write_text(yaml.safe_dump(said | {"state": "other", "results": "elsewhere"}))
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "run", "--config", str(other)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"metrics: 127.0.0.1, port {port} cannot be used: Address already in use" in done.stderr
    assert "Name another `port:`" in done.stderr
    # Not on every address of the machine.
    with socket.socket() as beside:
        beside.bind(("127.0.0.2", port))
    for method in ("HEAD", "POST"):
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", method=method)
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(asked, timeout=SECONDS)


def an_inbox_that_is_gone(project: Project, seen: Seen, daemon: Daemon) -> None:
    away = project.folder / "away"
    project.inbox.rename(away)
    seen.wait_for("inbox_unreadable", 2)
    assert "trouble    inbox_unreadable: since 2" in project.classifyd("status").stdout
    daemon.says("cannot be read: No such file or directory")
    away.rename(project.inbox)
    daemon.says("is back")
    wait_for(lambda: seen.check()[0] == 0, "all is well again")


def a_process_that_stands_still(seen: Seen, daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: is_stopped(daemon.pid), "it stands still")
    code, told = seen.check()
    assert code == 2
    assert f"CRITICAL - stuck: process {daemon.pid} stands still" in told
    daemon.process.send_signal(signal.SIGCONT)
    wait_for(lambda: seen.check()[0] == 0, "all is well again")


def a_killed_process(seen: Seen, daemon: Daemon) -> None:
    daemon.process.kill()
    daemon.process.wait()
    code, told = seen.check()
    assert code == 2
    assert "not_running: it is not running; `classifyd run`, begun at 2" in told
    assert "ended without a word: it was killed (kill -9, or for want of memory)" in told
    with pytest.raises(urllib.error.URLError):
        seen.metrics()


@contextmanager
def deaf(project: Project) -> Iterator[Daemon]:
    """`run` where the kernel grants no inotify, and nobody else notices."""
    script = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    if subprocess.run([*unshare, script, "sh", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    log = project.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*unshare, script, "sh", *project.command("run")],
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    daemon = Daemon(process, log)
    daemon._begin = 0
    try:
        yield daemon
    finally:
        daemon.end()


def test_a_deaf_watcher(project: Project, seen: Seen) -> None:
    with deaf(project) as daemon:
        daemon.says("no events from")
        seen.wait_for("no_events", 1)
        assert seen.metrics()['classifyd_watching_mode{mode="polling"}'] == 1
        assert "watching   by polling (" in project.classifyd("status").stdout


def test_a_full_disk(tmp_path: Path, compiled_cache: Path, port: int) -> None:
    project = Project(tmp_path, compiled_cache)
    said = tmp_path / "log"
    with on_a_small_disk(project, "run", ballast=True, metrics={"port": port}) as disk:
        wait_for(lambda: "is full: make room" in said.read_text(), "it says that the disk is full")
        config = tmp_path / "outside.yaml"
        settings = yaml.safe_load(project.config.read_text())
        folders = {"state": str(disk / "state"), "results": str(disk / "results")}
        config.write_text(yaml.safe_dump(settings | folders))
        seen = Seen(project, port, config)
        seen.wait_for("disk_full", 2)
        assert seen.metrics()["classifyd_up"] == 0
        (disk / "ballast").unlink()
        wait_for(lambda: "there is room again" in said.read_text(), "it goes on")
        wait_for(lambda: not seen.trouble("disk_full"), "the metrics tell that it is over")


# The pool ends workers that hang sooner than this trouble is noted: here, it does so later.
HASTY = """
import sys
from daemon import pulse
from daemon.__main__ import main
pulse.GRACE_SECONDS, pulse.OVERDUE_SECONDS, pulse.TELL_SECONDS = -58.0, 1.0, 1.0
sys.exit(main(sys.argv[1:]))
"""


def test_workers_that_get_nowhere(
    project: Project, seen: Seen, port: int, draw_image: DrawImage
) -> None:
    project.configure(workers=1, metrics={"port": port}, limits={"image_seconds": 60})
    ordinary = project.command("run")
    project.command = lambda *_: [  # type: ignore[method-assign]
        ordinary[0], "-c", HASTY, *ordinary[3:]
    ]  # fmt: skip
    with project.started("run") as daemon:
        wait_for(lambda: seen_up(seen), "it is up")
        (worker,) = daemon.workers
        os.kill(worker, signal.SIGSTOP)
        draw_image(project.inbox / "a.jpg")
        seen.wait_for("stuck", 2)
        daemon.says("images wait, and none was done for")
        os.kill(worker, signal.SIGCONT)
        project.wait_for_rows(1)
        wait_for(lambda: not seen.trouble("stuck"), "it is over")
        daemon.says("images get done again")


def seen_up(seen: Seen) -> bool:
    try:
        return seen.metrics()["classifyd_up"] == 1
    except urllib.error.URLError:
        return False


def test_a_model_that_is_refused(
    project: Project, seen: Seen, port: int, shipped_model: Path
) -> None:
    model = project.folder / "model.keras"
    model.write_bytes(shipped_model.read_bytes())
    project.configure(workers=1, metrics={"port": port}, model="model.keras")
    with project.started("run") as daemon:
        daemon.says("watching")
        model.write_bytes(b"no model")
        seen.wait_for("model_refused", 1)
        daemon.says("the new model is not taken, the one before it serves on")
        model.write_bytes(shipped_model.read_bytes())
        wait_for(lambda: not seen.trouble("model_refused"), "it is over")


def test_a_check_of_what_cannot_be_read(project: Project, seen: Seen, tmp_path: Path) -> None:
    assert Seen(project, 1, tmp_path / "nowhere.yaml").check()[0] == 3
    project.configure(min_confidence=7)
    code, told = seen.check()
    assert code == 3
    assert told.startswith("UNKNOWN - ")
    assert "\n" not in told
    project.configure()
    (project.state / "journal.sqlite").write_bytes(b"no journal" * 1000)
    code, told = seen.check()
    assert code == 2
    assert told.startswith("CRITICAL - ")
    assert "the journal is damaged" in told
