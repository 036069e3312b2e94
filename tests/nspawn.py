"""A systemd of its own in a container, with classifyd installed: the host is not touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from daemon_process import SECONDS, children, wait_for

SITE = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"

# /etc is empty in there: nothing is there that could disturb, and nothing has to be waited for.
QUIET = (
    "systemd-journal-flush.service", "systemd-update-utmp.service", "getty.target",
    "getty@.service", "console-getty.service", "systemd-logind.service", "dbus.service",
    "dbus.socket", "cron.service", "postgresql.service", "e2scrub_reap.service",
    "apt-daily.timer", "apt-daily-upgrade.timer", "ldconfig.service",
    "systemd-hwdb-update.service", "systemd-journal-catalog-update.service",
    "systemd-networkd.service", "systemd-resolved.service", "networking.service",
    "systemd-update-done.service", "systemd-firstboot.service", "systemd-random-seed.service",
)  # fmt: skip


def missing() -> str:
    """Why there can be no container here, '' if there can be one."""
    if os.geteuid() != 0:
        return "only root may start a container"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (Debian: systemd-container)"
    return ""


class Container:
    """Booted from the host's /usr. What has to outlive a power cut is in folders of the host."""

    def __init__(self, folder: Path, installed: Path, inboxes: Path) -> None:
        """folder: for its disks. installed: a DESTDIR. inboxes: what is /srv in there."""
        self._folder = folder
        self.installed = installed
        self._inboxes = inboxes
        self.state = folder / "var-lib-classifyd"
        self.state.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._console = folder / "console"
        self._preset = folder / "preset"
        self._preset.write_text("disable *\n")  # all in /etc would be started at a first boot

    def boot(self) -> None:
        """Until all of its services are up. Raises if they do not come up."""
        binds = {
            Path(sys.base_prefix): Path(sys.base_prefix),
            SITE: SITE,
            self.installed / "opt/classifyd": Path("/opt/classifyd"),
            self.installed / "usr/local/bin": Path("/opt/bin"),
        }
        for needed in ("/etc/pam.d", "/etc/security"):  # by runuser
            if Path(needed).exists():
                binds[Path(needed)] = Path(needed)
        for kind in ("systemd/system", "sysusers.d", "tmpfiles.d"):
            binds |= {
                file: Path("/etc") / kind / file.relative_to(self.installed / "etc" / kind)
                for file in (self.installed / "etc" / kind).rglob("*.*")
                if file.is_file()
            }
        command = [
            "systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--register=no",
            "--keep-unit", "--boot", "--console=pipe", "--private-network", "--machine=classifyd",
            f"--bind={self.state}:/var/lib/classifyd", f"--bind={self._inboxes}:/srv",
            f"--bind={self.installed / 'etc/classifyd'}:/etc/classifyd",
            *(f"--bind-ro={here}:{there}" for here, there in binds.items()),
            *(f"--bind-ro=/dev/null:/etc/systemd/system/{name}" for name in QUIET),
            f"--bind-ro={self._preset}:/etc/systemd/system-preset/00-nothing.preset",
            # What workers shut themselves in with; the container forbids it unless told.
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
            "--", "systemd.unit=multi-user.target", "systemd.journald.forward_to_console=0",
        ]  # fmt: skip
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_SECCOMP": "1"},
            )  # fmt: skip
        wait_for(lambda: self._ended() or self._first(), "the container's first process")
        assert not self._ended(), self.console
        self._leader = self._first()
        wait_for(
            lambda: (
                self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
            ),
            "the container is up",
        )
        # Where the Python of these tests is may be closed to others; that of a system is not.
        for folder in reversed(Path(sys.base_prefix).parents):
            self.run("chmod", "a+rx", str(folder))

    def run(self, *command: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """A command in there, as root."""
        return subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", *command],
            capture_output=True, text=True, timeout=seconds, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    def systemctl(self, *words: str) -> str:
        """Raises if it does not succeed."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    def log(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def cut_power(self) -> None:
        """Nothing in there gets a signal that it could answer."""
        assert self._process is not None
        os.kill(self._leader, 9)
        self._process.wait(SECONDS)

    def end(self) -> None:
        if self._process is not None and not self._ended():
            self._process.kill()  # and with it all that is in there
            self._process.wait(SECONDS)

    @property
    def console(self) -> str:
        return self._console.read_text(errors="replace")

    def _first(self) -> int:
        """The process that is number 1 in there; 0 before there is one. systemd-nspawn has it
        started by another one, which ends."""
        assert self._process is not None
        for child in children(self._process.pid):
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
                numbers = next(line for line in lines if line.startswith("NSpid:")).split()
                if numbers[2:] == ["1"]:
                    return child
        return 0

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None
