"""The service in a real systemd: started, killed, hung, stopped, cut off, and given bad input.

One container for all of it, in the order of the tests; what they classify adds up.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, DrawImage
from daemon_process import SECONDS, wait_for
from nspawn import Container, missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
    pytest.mark.timeout(600),
]
CAMERAS = ("camera1", "camera2")
WATCHDOG_SECONDS = 12  # loaded machines are slow, but not that slow
SETTINGS = "rescan_seconds: 2\nsettle_seconds: 0.2\nlimits: {image_seconds: 3}\n"


class Host:
    """The container, and how many images each instance has been given."""

    def __init__(self, folder: Path, draw: DrawImage) -> None:
        self._draw = draw
        self.inboxes = folder / "srv"
        self.installed = folder / "installed"
        subprocess.run(
            ["make", "install", f"PYTHON={sys.executable}", f"DESTDIR={self.installed}",
             f"PACKAGES={sys.prefix}"],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip
        self.configurations = self.installed / "etc/classifyd"
        for name in CAMERAS:
            (self.inboxes / name).mkdir(parents=True)
            self.configure(name)
        self.container = Container(folder, self.installed, self.inboxes)
        self.given = dict.fromkeys(CAMERAS, 0)

    def configure(self, name: str, **instead: str) -> None:
        example = (self.configurations / "example.yaml.txt").read_text()
        text = example.replace("NAME", name) + SETTINGS
        for key, value in instead.items():
            lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "\n".join([*lines, f"{key}: {value}", ""])
        (self.configurations / f"{name}.yaml").write_text(text)

    def boot(self) -> None:
        self.container.boot()
        self.drop_in("classifyd@", f"WatchdogSec={WATCHDOG_SECONDS}", "RestartSec=100ms",
                     "StartLimitBurst=100")  # fmt: skip

    def drop_in(self, unit: str, *lines: str) -> None:
        of_unit = [line for line in lines if line.startswith("StartLimit")]
        of_service = [line for line in lines if line not in of_unit]
        text = "\\n".join(["[Unit]", *of_unit, "[Service]", *of_service])
        folder = f"/run/systemd/system/{unit}.service.d"
        done = self.container.run(
            "sh", "-c", f"mkdir -p {folder}; printf '{text}\\n' > {folder}/test.conf"
        )
        assert done.returncode == 0, done.stderr
        self.container.systemctl("daemon-reload")

    def drop(self, name: str, count: int) -> None:
        """Put so many images more into an inbox."""
        for number in range(self.given[name], self.given[name] + count):
            self._draw(self.inboxes / name / f"{number}.jpg", number)
        self.given[name] += count

    def rows(self, name: str) -> list[dict[str, str]]:
        try:
            data = (self.container.state / name / "results/results.csv").read_bytes()
        except FileNotFoundError:
            return []
        return list(csv.DictReader(data[: data.rfind(b"\n") + 1].decode().splitlines()))

    def pid(self, name: str) -> int:
        """Of the main process, as it is in there."""
        return int(self.container.shown(f"classifyd@{name}", "MainPID"))

    def signal(self, number: str, pid: int) -> None:
        done = self.container.run("kill", f"-{number}", str(pid))
        assert done.returncode == 0, done.stderr

    def is_exact(self, name: str) -> None:
        """Every image that was given has one row, and the service runs."""
        wait_for(lambda: len(self.rows(name)) >= self.given[name], f"{self.given[name]} rows")
        rows = self.rows(name)
        assert len(rows) == len({row["path"] for row in rows}) == self.given[name]
        assert {row["status"] for row in rows} == {"classified"}
        wait_for(
            lambda: self.container.shown(f"classifyd@{name}", "ActiveState") == "active", "active"
        )
        done = self.container.run("classifyd", "verify", "--config", f"/etc/classifyd/{name}.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

    def in_the_middle(self, name: str, count: int) -> None:
        """Give images, and come back when some have a row and others have none."""
        before = len(self.rows(name))
        self.drop(name, count)
        wait_for(lambda: before < len(self.rows(name)), "the first rows")

    def says(self, unit: str, text: str) -> None:
        """In the log and above it, as `systemctl status` shows it."""
        wait_for(lambda: "Main process exited" in self.container.log(unit), "its end")
        assert text in self.container.log(unit), self.container.log(unit)
        assert text in self.container.run("systemctl", "status", "--full", unit).stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, draw_image: DrawImage) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("systemd")
    for outer in (folder, folder.parent, folder.parent.parent):
        outer.chmod(0o755)
    host = Host(folder, draw_image)
    host.boot()
    try:
        yield host
    finally:
        host.container.end()


def test_two_instances(host: Host) -> None:
    for name in CAMERAS:
        host.drop(name, 500)
    host.container.systemctl("start", "classifyd@camera1")  # until it is ready: the model, a scan
    log = host.container.log("classifyd@camera1")
    assert log.index("compiling") < log.index("watching /srv/camera1") < log.index("Started")
    assert "confined by Landlock" in log, log
    state = "/var/lib/classifyd"
    host.container.run("sh", "-c", f"mkdir -p {state}/camera2/state && "
                       f"cp -a {state}/camera1/state/models {state}/camera2/state/ && "
                       f"chown -R classifyd: {state}/camera2")  # fmt: skip
    host.container.systemctl("start", "classifyd@camera2")
    for name in CAMERAS:
        host.is_exact(name)
    told = "watching /srv/camera1: 500 images since the start, the last at "
    wait_for(
        lambda: told in host.container.run("systemctl", "status", "classifyd@camera1").stdout, told
    )


def restarted(host: Host, name: str, before: int) -> None:
    """By itself, as another process."""
    wait_for(lambda: host.pid(name) not in (0, before), "another process", seconds=SECONDS)
    host.is_exact(name)


def test_killed_it_is_back_by_itself(host: Host) -> None:
    before = host.pid("camera1")
    host.in_the_middle("camera1", 300)
    host.signal("KILL", before)
    restarted(host, "camera1", before)


def test_a_worker_that_hangs_is_replaced(host: Host) -> None:
    before = host.pid("camera1")
    workers = host.container.run("pgrep", "-P", str(before)).stdout.split()
    host.signal("STOP", int(workers[0]))
    host.drop("camera1", 200)
    host.is_exact("camera1")
    assert host.pid("camera1") == before
    assert "made no progress for 3 s" in host.container.log("classifyd@camera1")


def test_a_loop_that_hangs_is_ended_and_begun_anew(host: Host) -> None:
    before = host.pid("camera2")
    host.in_the_middle("camera2", 300)
    began = time.monotonic()
    host.signal("STOP", before)
    restarted(host, "camera2", before)
    assert time.monotonic() - began < WATCHDOG_SECONDS + SECONDS
    assert "Watchdog timeout" in host.container.log("classifyd@camera2")


def test_stopped_in_the_middle_it_ends_cleanly(host: Host) -> None:
    host.in_the_middle("camera1", 500)
    began = time.monotonic()
    host.container.systemctl("stop", "classifyd@camera1")
    assert time.monotonic() - began < 10
    assert host.container.shown("classifyd@camera1", "Result") == "success"
    assert host.container.shown("classifyd@camera1", "ExecMainStatus") == "0"
    host.container.systemctl("start", "classifyd@camera1")
    host.is_exact("camera1")


def test_the_power_goes(host: Host) -> None:
    for name in CAMERAS:
        host.in_the_middle(name, 300)
    host.container.cut_power()
    host.drop("camera1", 50)
    host.boot()
    for name in CAMERAS:
        host.container.systemctl("start", f"classifyd@{name}")
        host.is_exact(name)


PROBE = """
import ctypes, os, socket, sys
def attempt(what, do):
    try:
        do()
        print(what, "allowed")
    except OSError as error:
        print(what, "denied:", error.strerror)
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
for path in sys.argv[1:]:
    attempt(f"write {path}", lambda: os.close(os.open(path + "/x", os.O_CREAT | os.O_WRONLY)))
for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
    attempt(family, lambda: socket.socket(getattr(socket, family), socket.SOCK_DGRAM))
attempt("mount", lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, 0))
attempt("unshare", lambda: call(272, 0x10000000))
attempt("ptrace", lambda: call(101, 16, os.getppid(), 0, 0))
attempt("reboot", lambda: call(169, 0, 0, 0, 0))
attempt("user", lambda: os.setuid(0))
print("as", os.getuid(), "with", open("/proc/self/status").read().split("CapEff:")[1].split()[0])
print("networks", *sorted(os.listdir("/sys/class/net")))
"""


def test_what_it_may_not_do(host: Host) -> None:
    """Another program in the same unit tries it."""
    (host.inboxes / "probe.py").write_text(PROBE)
    own = "/var/lib/classifyd/probe"
    places = [own, "/var/lib/classifyd/camera1", "/srv/camera1", "/etc", "/usr", "/opt/classifyd",
              "/var/lib", "/root", "/run", "/"]  # fmt: skip
    host.drop_in(
        "classifyd@probe", "Type=oneshot", "ExecStart=",
        f"ExecStart={sys.base_prefix}/bin/python3 /srv/probe.py {' '.join(places)}",
    )  # fmt: skip
    host.container.systemctl("start", "classifyd@probe")
    said = host.container.log("classifyd@probe")
    assert f"write {own} allowed" in said, said
    for place in places[1:]:
        assert f"write {place} denied:" in said, said
    for family in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
        assert f"{family} denied: Address family not supported" in said, said
    for call in ("mount", "unshare", "ptrace", "reboot", "user"):
        assert f"{call} denied: Operation not permitted" in said, said
    uid = host.container.run("id", "-u", "classifyd").stdout.strip()
    assert uid not in ("", "0")
    assert f"as {uid} with 0000000000000000" in said
    assert "networks lo\n" in said
    assert (host.container.state / "camera1").stat().st_uid == int(uid)


def refused(host: Host, name: str, text: str, code: str = "2") -> None:
    """It ends at once, says why in the log and above it, and is not started again."""
    unit = f"classifyd@{name}"
    assert host.container.run("systemctl", "start", unit).returncode != 0
    host.says(unit, text)
    assert host.container.shown(unit, "ExecMainStatus") == code
    assert host.container.shown(unit, "ActiveState") == "failed"
    assert host.container.shown(unit, "NRestarts") == "0"


def closed(host: Host) -> None:
    host.configure("closed")
    (host.inboxes / "closed").mkdir(mode=0o700)


def read_only(host: Host) -> None:
    host.configure("read_only", inbox="/srv/camera1", results="/usr/share/results")


def wrong(host: Host) -> None:
    host.configure("wrong", inbox="/srv/camera1", min_confidence="7")


def no_inbox(host: Host) -> None:
    host.configure("no_inbox")


def nothing(host: Host) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "prepare", "text"),
    [
        ("absent", nothing, "/etc/classifyd/absent.yaml: there is no configuration here. "),
        ("no_inbox", no_inbox, "there is no folder /srv/no_inbox: make it, or name another"),
        ("closed", closed, "the user classifyd may not read /srv/closed (drwx------ root)"),
        ("read_only", read_only, "/usr/share is on a file system that is read-only here"),
        ("wrong", wrong, "/etc/classifyd/wrong.yaml:17: min_confidence: input should be less"),
    ],
)
def test_bad_input(host: Host, name: str, prepare: Callable[[Host], None], text: str) -> None:
    prepare(host)
    refused(host, name, text)


def test_a_port_that_is_in_use(host: Host) -> None:
    for name in ("first", "second"):
        host.configure(name, inbox="/srv/camera1", metrics="{port: 9464}")
        host.drop_in(f"classifyd@{name}", "PrivateNetwork=no", "IPAddressAllow=localhost",
                     "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6")  # fmt: skip
        state = f"/var/lib/classifyd/{name}"
        host.container.run("sh", "-c", f"mkdir -p {state}/state && cp -a "
                           f"/var/lib/classifyd/camera1/state/models {state}/state/ && "
                           f"chown -R classifyd: {state}")  # fmt: skip
    host.container.systemctl("start", "classifyd@first")
    refused(host, "second", "9464")
    seen = host.container.run(
        f"{sys.base_prefix}/bin/python3", "-c",
        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464').read().decode())",
    )  # fmt: skip
    assert "classifyd_images_total" in seen.stdout, seen.stderr
    host.container.systemctl("stop", "classifyd@first")


def test_all_of_it_is_still_well(host: Host) -> None:
    for name in CAMERAS:
        host.is_exact(name)
        done = host.container.run(
            "classifyd", "status", "--check", "--config", f"/etc/classifyd/{name}.yaml"
        )
        assert done.returncode == 0, done.stdout
