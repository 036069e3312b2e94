"""What goes wrong with watching, made to happen for real; every file is found all the same."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_watch import LONG, Eyes

from daemon import watch

DEADLINE = 60.0
# A watcher in a process of its own, which a test can stop or take its means from. It says when its
# first scan is done, and goes on until it has found so many files.
PROGRAM = """
import logging, os, sys, threading, time
from daemon.watch import Watcher
inbox, wanted, rescan = os.fsencode(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
logging.basicConfig(level="WARNING", format="%(message)s")
known = {}
unseen = lambda found: [f for f in found if known.get(f.path) != f.signature]
watcher = Watcher(inbox, frozenset({b"jpg"}), 0.1, rescan, unseen, lambda: None)
given = said = 0
while given < wanted:
    for found in watcher.tick(time.monotonic()):
        known[found.path] = found.signature
        given += 1
    if watcher.scans and not said:
        said = 1
        print("ready", flush=True)
    time.sleep(0.005)
threads = threading.active_count()
watcher.close()
print(len(known), given, watcher.scans, threads, threading.active_count())
"""


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


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_events_that_the_kernel_dropped_are_made_up_for_at_once(inbox: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    files = limit + 1000
    if files > 60_000:
        pytest.skip(f"{limit:,} events fit into the kernel's queue: too many for a test")
    (inbox / "0.jpg").write_bytes(b"1")
    command = [sys.executable, "-c", PROGRAM, str(inbox), str(files), str(LONG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == b"ready\n"
        watcher.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, watcher.pid, os.WSTOPPED | os.WNOWAIT)
        for number in range(1, files):  # nobody reads what the kernel has to tell
            os.link(inbox / "0.jpg", inbox / f"{number}.jpg")
        watcher.send_signal(signal.SIGCONT)
        output, errors = watcher.communicate(timeout=DEADLINE)
    found, _, scans, _, _ = map(int, output.split())
    assert found == files
    assert scans == 2
    assert b"events were lost" in errors


def test_an_inbox_behind_a_link_is_watched_under_the_name_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to("true")
    eyes = Eyes(tmp_path / "link", settle=LONG)  # nothing but an event can make a file whole
    eyes.until(lambda: eyes.watcher.scans == 1)
    (tmp_path / "link" / "a.jpg").write_bytes(b"1")
    (tmp_path / "true" / "folder").mkdir()
    (tmp_path / "true" / "folder" / "b.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given == {"a.jpg": 1, "folder/b.jpg": 1})
    (tmp_path / "other").mkdir()
    (tmp_path / "new").symlink_to("other")
    (tmp_path / "new").rename(tmp_path / "link")  # it leads elsewhere now
    eyes.ahead = watch.LOOK_SECONDS
    eyes.until(lambda: eyes.watcher.scans == 2)
    (tmp_path / "other" / "c.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given["c.jpg"] == 1)
    eyes.watcher.close()


@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_an_inbox_that_was_made_anew_is_watched_before_the_next_rescan(
    eyes: Eyes, inbox: Path, tmp_path: Path, how: str
) -> None:
    if how == "deleted":
        inbox.rmdir()
    else:
        inbox.rename(tmp_path / "away")
    eyes.ahead = watch.LOOK_SECONDS
    eyes.until(lambda: eyes.watcher.trouble == "No such file or directory")
    inbox.mkdir()
    (inbox / "a.jpg").write_bytes(b"1")
    eyes.ahead *= 2
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    assert eyes.watcher.trouble == ""
    # The thread that hears events may notice only now that its folder went; then the next scan
    # gives it the new one, which may have the very number of the old.
    for name in "bcdef":
        scans = eyes.watcher.scans
        (inbox / f"{name}.jpg").write_bytes(b"1")
        eyes.until(lambda name=name: eyes.given[f"{name}.jpg"] == 1)
        if eyes.watcher.scans == scans:  # it was an event that told of it
            return
    pytest.fail("no event told of a new file")


def test_a_folder_that_vanishes_while_it_is_scanned_loses_nothing_that_was_found(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SLICE", 3)
    for number in range(10):
        (inbox / str(number)).mkdir()
        (inbox / str(number) / "a.jpg").write_bytes(b"1")
    eyes = Eyes(inbox, settle=0)
    first = eyes.tick()
    assert len(first) == 3
    inbox.rename(tmp_path / "away")
    eyes.until(lambda: eyes.watcher.trouble != "")
    (tmp_path / "away").rename(inbox)
    eyes.ahead = watch.LOOK_SECONDS
    eyes.until(lambda: len(eyes.given) == 10)
    assert set(eyes.given.values()) == {1}
    eyes.watcher.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_whose_reader_died_is_replaced_by_the_rescan(eyes: Eyes, inbox: Path) -> None:
    """A folder that somebody holds open, deleted and made anew twice: watchdog 7.1 trips over it,
    and its thread that reads inotify ends while all that it shows of itself is alive."""
    folder = inbox / "folder"
    observation = eyes.watcher._hearing._observation
    assert observation is not None
    watched = next(iter(observation.observer.emitters))._inotify._active_callbacks_by_watch
    folder.mkdir()
    wait_until(lambda: len(watched) == 2)
    held = os.open(folder, os.O_RDONLY)
    folder.rmdir()
    folder.mkdir()
    wait_until(lambda: len(watched) == 3)
    folder.rmdir()
    wait_until(lambda: len(watched) == 2)
    os.close(held)
    wait_until(lambda: not observation.is_alive)
    assert observation.observer.is_alive()
    (inbox / "a.jpg").write_bytes(b"1")  # no event
    eyes.ahead = LONG
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    assert eyes.watcher._hearing._observation is not observation
    (inbox / "b.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given["b.jpg"] == 1)


def test_an_observer_that_trips_over_its_end_does_not_take_us_along(
    eyes: Eyes, inbox: Path
) -> None:
    """Its notes hold two folders of one name then: one was deleted while somebody held it open."""
    observation = eyes.watcher._hearing._observation
    assert observation is not None
    group = next(iter(observation.observer.emitters))._inotify
    (inbox / "b").mkdir()
    (inbox / "a").mkdir()
    wait_until(lambda: len(group._active_callbacks_by_watch) == 3)
    held = os.open(inbox / "a", os.O_RDONLY)
    (inbox / "a").rmdir()
    (inbox / "b").rename(inbox / "a")
    wait_until(lambda: len(set(group._active_callbacks_by_watch.values())) == 2)
    eyes.watcher.close()  # KeyError inside
    os.close(held)


def in_a_user_namespace(limit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where the kernel grants nothing of a kind, and nobody else notices."""
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    try:
        return subprocess.run(
            [*unshare, sys.executable, "-c", PROGRAM, *arguments],
            capture_output=True, text=True, timeout=DEADLINE, check=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    except subprocess.CalledProcessError as error:
        if "unshare failed" in error.stderr or "/proc/sys/user" in error.stderr:
            pytest.skip(f"no user namespaces here: {error.stderr}")
        raise


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_at_the_limits_of_inotify_the_scans_go_on(inbox: Path, tmp_path: Path, limit: str) -> None:
    (inbox / "a.jpg").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")

    def later() -> None:
        time.sleep(1)  # some rescans
        (tmp_path / "b").rename(inbox / "b.jpg")

    thread = threading.Thread(target=later)
    thread.start()
    done = in_a_user_namespace(limit, str(inbox), "2", "0.05")
    thread.join()
    found, given, scans, threads, _ = map(int, done.stdout.removeprefix("ready\n").split())
    assert (found, given) == (2, 2)
    assert scans > 5
    assert threads == 1  # none is left behind by the attempts to watch again
    assert done.stderr.count("no events from") == 1


def test_folders_that_are_too_deep_for_watchdog_are_scanned(
    inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = inbox
    for _ in range(1100):  # os.walk, which watchdog uses, calls itself for every level
        deep = deep / "d"
        deep.mkdir()
    (deep / "a.jpg").write_bytes(b"1")
    eyes = Eyes(inbox, rescan=0.2)
    before = threading.active_count()
    try:
        with caplog.at_level(logging.WARNING):
            eyes.until(lambda: eyes.watcher.scans >= 3 and len(eyes.given) == 1)
        assert caplog.text.count("It is looked through every") <= 1
        # Python 3.12 walks without calling itself: there, it is watched.
        assert (threading.active_count() == before) == ("It is looked through" in caplog.text)
        eyes.watcher.close()
    finally:
        subprocess.run(["rm", "-rf", inbox / "d"], check=True, timeout=DEADLINE)  # any depth


def test_more_events_than_one_turn_takes_wait_for_the_next(
    eyes: Eyes, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SLICE", 10)
    for number in range(25):
        (inbox / f"{number}.jpg").write_bytes(b"1")
    wait_until(lambda: len(eyes.watcher._hearing.events.waiting) >= 25)
    now = time.monotonic()
    assert len(eyes.tick(now)) <= 10
    assert eyes.watcher.next_due(now) == now
    eyes.until(lambda: len(eyes.given) == 25)
    assert set(eyes.given.values()) == {1}
