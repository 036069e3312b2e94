"""Where events come from and where they do not: real mounts, real limits, real deafness."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project, wait_for
from test_watch import LONG, Eyes

from daemon import canary, observe, watch
from daemon.mounts import remote
from daemon.troubles import Kind

TABLE = rb"""22 27 0:20 / /sys rw,nosuid - sysfs sysfs rw
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 27 0:50 / /mnt/nas rw - nfs4 server:/export rw,vers=4.2
41 40 0:51 / /mnt/nas/fast rw - ext4 /dev/vdb1 rw
42 27 0:52 / /srv/two\040words rw - cifs //server/share rw
43 27 0:53 / /media/stick rw - fuseblk /dev/sdb1 rw
44 27 0:54 / /home/ann/remote rw - fuse.sshfs ann@server: rw
45 27 0:55 / /over rw - tmpfs none rw
46 27 0:56 / /over rw - 9p host rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        (b"/srv/camera1", ""),
        (b"/mnt/nas", "nfs4"),
        (b"/mnt/nas/2026/11", "nfs4"),
        (b"/mnt/nasty", ""),
        (b"/mnt/nas/fast/a", ""),  # a local disk below it
        (b"/mnt", "nfs4"),  # a share in it
        (b"/srv/two words/a", "cifs"),
        (b"/media/stick", ""),  # a program serves it, but to this host alone
        (b"/home/ann/remote/x", "fuse.sshfs"),
        (b"/over", "9p"),  # the later one lies on top
    ],
)
def test_shares_are_known_by_their_mounts(folder: bytes, kind: str) -> None:
    assert remote(folder, TABLE) == kind


def test_this_machine_has_a_table(tmp_path: Path) -> None:
    assert remote(os.fsencode(tmp_path)) == ""
    assert remote(b"/proc") == ""


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def eyes(inbox: Path) -> Iterator[Eyes]:
    """With a rescan that never comes by the clock."""
    seeing = Eyes(inbox, rescan=LONG)
    seeing.until(lambda: seeing.watcher.scans == 1)
    yield seeing
    seeing.watcher.close()


def test_a_canary_is_heard_and_leaves_nothing(eyes: Eyes, inbox: Path) -> None:
    held = eyes.watcher._hearing
    assert held._canary.deadline is not None
    eyes.until(lambda: held._canary.deadline is None)
    assert eyes.watcher.watching == ("events", "")
    assert not list(inbox.iterdir())
    assert eyes.watcher.found == 0


def test_one_that_was_left_behind_goes(inbox: Path) -> None:
    left = inbox / os.fsdecode(canary.NAME)
    left.touch()
    seeing = Eyes(inbox, rescan=LONG)
    seeing.until(lambda: seeing.watcher.scans == 1)
    seeing.watcher.close()
    assert not left.exists()


@pytest.mark.parametrize("kind", ["pipe", "file", "link"])
def test_what_is_not_one_of_ours_is_left_alone(inbox: Path, kind: str) -> None:
    """Nobody may ever read from a pipe: to open it would wait for ever."""
    there = inbox / os.fsdecode(canary.NAME)
    if kind == "pipe":
        os.mkfifo(there)
    elif kind == "file":
        there.write_text("a user's")
    else:
        there.symlink_to(inbox.parent / "absent")
    assert not canary.Canary().release(bytes(inbox), 0.0)
    assert there.is_fifo() or there.is_symlink() or there.read_text() == "a user's"
    assert not (inbox.parent / "absent").exists()


def test_when_it_is_not_heard_the_inbox_is_polled(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """watchdog is well, and what it hears gets lost."""
    monkeypatch.setattr(canary, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(observe.Events, "on_any_event", lambda events, event: None)
    eyes = Eyes(inbox, rescan=LONG)
    eyes.watcher._poll_seconds = 0.2
    eyes.until(lambda: eyes.watcher.watching[0] == "polling")
    assert eyes.watcher.watching[1] == "no event came of a file that was made there as a test"
    assert Kind.NO_EVENTS in eyes.watcher._troubles.all()
    (inbox / "a.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.watcher.found == 1)

    monkeypatch.undo()
    eyes.watcher._poll_seconds = 0.2
    eyes.until(lambda: eyes.watcher.watching[0] == "events")
    eyes.until(lambda: not eyes.watcher._troubles.all())
    eyes.watcher.close()


def test_files_that_no_event_told_of_raise_a_doubt(
    eyes: Eyes, inbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a folder whose watch is gone, as where there were too many."""
    monkeypatch.setattr(watch, "LATE_SECONDS", 0.1)
    (inbox / "sub").mkdir()
    eyes.watcher._next_scan = 0.0
    scans = eyes.watcher.scans
    eyes.until(lambda: eyes.watcher.scans > scans)
    observation = eyes.watcher._hearing._observation
    assert observation is not None
    eyes.watcher._hearing.events.on_any_event = lambda event: None  # type: ignore[method-assign]
    (inbox / "sub" / "a.jpg").write_bytes(b"1")
    time.sleep(0.3)
    for _ in range(2):  # one finds it, the next one listens anew
        scans = eyes.watcher.scans
        eyes.watcher._next_scan = 0.0
        eyes.until(lambda scans=scans: eyes.watcher.scans > scans)  # type: ignore[misc]
    assert eyes.watcher.found == 1
    assert "1 files came without an event, such as" in caplog.text
    assert eyes.watcher._hearing._observation is not observation
    (inbox / "sub" / "b.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.watcher.found == 2)  # by its event


LIMITED = """
import os, sys
from pathlib import Path
Path("/proc/sys/user/" + sys.argv[1]).write_text(sys.argv[2])
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def can_limit() -> bool:
    """A user namespace of its own, whose limits are nobody else's."""
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.run(
        [unshare, "--user", "--map-root-user", "sh", "-c",
         "echo 9 > /proc/sys/user/max_inotify_watches"],
        capture_output=True, check=False,
    ).returncode  # fmt: skip


@pytest.mark.skipif(not can_limit(), reason="no user namespace with limits of its own is to be had")
@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("max_inotify_instances", 0, "the limit fs.inotify.max_user_instances ("),
        ("max_inotify_watches", 5, "the limit fs.inotify.max_user_watches ("),
    ],
)
def test_a_limit_of_inotify_is_told_and_the_inbox_polled(
    tmp_path: Path, compiled_cache: Path, draw_image: DrawImage, limit: str, value: int, told: str
) -> None:
    project = Project(tmp_path, compiled_cache, rescan_seconds=3600, poll_seconds=1)
    for folder in range(8):
        (project.inbox / str(folder)).mkdir()
    ordinary = project.command("run")
    project.command = lambda name, *arguments: [  # type: ignore[method-assign]
        "unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED, limit, str(value),
        *ordinary[1:],
    ]  # fmt: skip
    with project.started("run") as daemon:
        daemon.says(told)
        assert (
            "and for good by this line in /etc/sysctl.d/classifyd.conf: fs.inotify." in daemon.log
        )
        for number in range(16):
            draw_image(project.inbox / str(number % 8) / f"{number}.jpg", number)
        project.wait_for_rows(16)
        assert daemon.stop() == 0


BINDFS = shutil.which("bindfs")
can_mount = BINDFS is not None and os.geteuid() == 0 and os.access("/dev/fuse", os.W_OK)


@pytest.mark.skipif(
    not can_mount, reason="it takes root, /dev/fuse and bindfs (of the package bindfs)"
)
def test_a_share_is_polled(tmp_path: Path, compiled_cache: Path, draw_image: DrawImage) -> None:
    """A FUSE mount: images come into it behind its back, as another host would write them."""
    assert BINDFS is not None
    project = Project(tmp_path, compiled_cache, rescan_seconds=3600, poll_seconds=1)
    behind = tmp_path / "behind"
    behind.mkdir()
    subprocess.run([BINDFS, behind, project.inbox], check=True)
    try:
        with project.started("run") as daemon:
            daemon.says("watching")
            wait_for(
                lambda: "watching   by polling (fuse" in project.classifyd("status").stdout,
                "polled",
            )
            for number in range(20):
                draw_image(behind / f"{number}.jpg", number)
            project.wait_for_rows(20)
            assert daemon.stop() == 0
        project.check_rows(20)
        # The control: by events alone, nothing is seen of it.
        project.configure(rescan_seconds=3600, watch="events")
        with project.started("run") as daemon:
            daemon.says("watching")
            wait_for(lambda: "by events" in project.classifyd("status").stdout, "scanned")
            draw_image(behind / "late.jpg", 99)
            draw_image(project.inbox / "here.jpg", 98)  # of this one, the kernel tells
            project.wait_for_rows(21)
            assert [row["path"] for row in project.rows[20:]] == [f"{project.inbox}/here.jpg"]
    finally:
        subprocess.run(["umount", project.inbox], check=True)


def test_an_idle_daemon_writes_nothing(tmp_path: Path, compiled_cache: Path) -> None:
    project = Project(tmp_path, compiled_cache, rescan_seconds=1)
    with project.started("run") as daemon:
        daemon.says("watching")
        io = Path(f"/proc/{daemon.pid}/io")

        def written() -> int:
            return int(io.read_text().split("\nwrite_bytes: ")[1].split()[0])

        before = [written()]

        def is_quiet() -> bool:
            before.append(written())
            return before[-1] == before[-2]

        wait_for(is_quiet, "the start is over")
        time.sleep(1.5)
        quiet = written()
        time.sleep(3.5)  # three rescans
        assert written() == quiet
