"""The observer and the scans, with real inotify."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classifier.read import Signature
from daemon import observe
from daemon.jobs import Sighting
from daemon.settle import WRITER_PATIENCE_SECONDS, is_being_written
from daemon.watch import Watcher

LONG = 3600.0  # a rescan that does not come
DEADLINE = 20.0  # for what the system does in its own time


class Eyes:
    """A watcher with what it needs around it, and a memory of what it gave."""

    def __init__(self, folder: Path, *, settle: float = 0.3, rescan: float = LONG) -> None:
        self.given: Counter[str] = Counter()
        self.last: dict[str, Signature] = {}
        self.ahead = 0.0  # how far the clock is set forward, instead of waiting
        self._root = folder
        self._known: dict[bytes, Signature] = {}
        self.watcher = Watcher(
            os.fsencode(folder), frozenset({b"jpg"}), settle, rescan, self._unseen, lambda: None
        )  # fmt: skip

    def _unseen(self, sightings: object) -> list[Sighting]:
        assert isinstance(sightings, list)
        return [s for s in sightings if self._known.get(s.path) != s.signature]

    def tick(self, now: float | None = None) -> list[str]:
        found = self.watcher.tick(time.monotonic() + self.ahead if now is None else now)
        names = [os.path.relpath(os.fsdecode(s.path), self._root) for s in found]
        self.given.update(names)
        self.last.update({name: s.signature for name, s in zip(names, found, strict=True)})
        self._known.update({s.path: s.signature for s in found})
        return names

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not done():
            assert time.monotonic() < deadline, self.given
            self.tick()
            time.sleep(0.01)

    def quiet(self, seconds: float) -> None:
        """Go on for a while, for what should not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tick()
            time.sleep(0.01)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def eyes(inbox: Path) -> Iterator[Eyes]:
    seeing = Eyes(inbox)
    seeing.until(lambda: seeing.watcher.scans == 1)
    yield seeing
    seeing.watcher.close()


def test_what_is_there_before_is_found_by_the_scan(inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"1")
    seeing = Eyes(inbox)
    seeing.until(lambda: seeing.given == {"a.jpg": 1})
    assert seeing.watcher.scans == 1
    seeing.watcher.close()


def test_a_file_that_is_closed_after_writing_is_taken_at_once(inbox: Path) -> None:
    eyes = Eyes(inbox, settle=LONG)  # nothing but the event can make it whole
    eyes.until(lambda: eyes.watcher.scans == 1)
    (inbox / "a.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    eyes.watcher.close()


def test_a_writer_that_pauses_is_not_taken_before_it_closes(eyes: Eyes, inbox: Path) -> None:
    with (inbox / "a.jpg").open("wb", buffering=0) as file:
        file.write(b"half")
        if is_being_written(os.fsencode(inbox / "a.jpg")) is None:
            pytest.skip("the file system of the temporary folder does not tell of writers")
        eyes.quiet(1.0)  # three times as long as a file has to be quiet
        eyes.ahead = WRITER_PATIENCE_SECONDS - 2  # and by the clock much longer
        eyes.quiet(0.1)
        assert not eyes.given
        file.write(b"whole")
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    assert eyes.last["a.jpg"].size == len(b"halfwhole")


def test_a_writer_that_opens_it_again_is_waited_for(inbox: Path) -> None:
    eyes = Eyes(inbox, settle=LONG)
    eyes.until(lambda: eyes.watcher.scans == 1)
    path = inbox / "a.jpg"
    path.write_bytes(b"half")  # that is an event, and read only after the next line
    with path.open("ab", buffering=0) as file:
        if is_being_written(os.fsencode(path)) is None:
            pytest.skip("the file system of the temporary folder does not tell of writers")
        eyes.quiet(0.3)
        assert not eyes.given
        file.write(b"whole")
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    assert eyes.last["a.jpg"].size == len(b"halfwhole")
    eyes.watcher.close()


def test_renames_and_links_are_taken_at_once(inbox: Path, tmp_path: Path) -> None:
    eyes = Eyes(inbox, settle=LONG)
    eyes.until(lambda: eyes.watcher.scans == 1)
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "b").rename(inbox / "in.jpg")
    (tmp_path / "c").write_bytes(b"1")
    (inbox / "hard.jpg").hardlink_to(tmp_path / "c")
    (inbox / "part").write_bytes(b"1")
    (inbox / "part").rename(inbox / "done.jpg")
    eyes.until(lambda: eyes.given == {"in.jpg": 1, "hard.jpg": 1, "done.jpg": 1})
    (inbox / "part").write_bytes(b"22")
    (inbox / "part").rename(inbox / "done.jpg")  # over one that is there
    eyes.until(lambda: eyes.given["done.jpg"] == 2)
    eyes.watcher.close()


def test_folders_bring_their_files_along(eyes: Eyes, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "moved" / "deep").mkdir(parents=True)
    for number in range(20):
        (tmp_path / "moved" / "deep" / f"{number}.jpg").write_bytes(b"1")
    (tmp_path / "moved").rename(inbox / "moved")
    (inbox / "made").mkdir()
    for number in range(20):
        (inbox / "made" / f"{number}.jpg").write_bytes(b"1")
    eyes.until(lambda: len(eyes.given) == 40)
    (inbox / "moved" / "deep" / "later.jpg").write_bytes(b"1")
    eyes.until(lambda: len(eyes.given) == 41)
    assert set(eyes.given.values()) == {1}


def test_an_empty_file_is_given_time_to_be_filled(inbox: Path) -> None:
    eyes = Eyes(inbox, settle=30)
    eyes.until(lambda: eyes.watcher.scans == 1)
    (inbox / "a.jpg").touch()
    (inbox / "empty.jpg").touch()
    eyes.until(lambda: eyes.watcher.settling == 2)
    assert not eyes.given
    (inbox / "a.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    assert eyes.last["a.jpg"].size == 1
    eyes.ahead = 30
    eyes.until(lambda: eyes.given["empty.jpg"] == 1)
    eyes.watcher.close()


def test_a_file_that_goes_before_it_is_whole_is_forgotten(inbox: Path) -> None:
    eyes = Eyes(inbox, settle=30)
    eyes.until(lambda: eyes.watcher.scans == 1)
    (inbox / "a.jpg").touch()
    eyes.until(lambda: eyes.watcher.settling == 1)
    (inbox / "a.jpg").unlink()
    eyes.ahead = 30
    eyes.until(lambda: eyes.watcher.settling == 0)
    assert not eyes.given
    eyes.watcher.close()


def test_a_touched_file_is_seen_by_the_next_scan(eyes: Eyes, inbox: Path) -> None:
    (inbox / "a.jpg").write_bytes(b"1")
    eyes.until(lambda: eyes.given == {"a.jpg": 1})
    os.utime(inbox / "a.jpg", (1e9, 1e9))  # no event tells of it; the journal knows the content
    eyes.ahead = LONG
    eyes.until(lambda: eyes.given == {"a.jpg": 2})
    eyes.ahead *= 2
    eyes.until(lambda: eyes.watcher.scans == 3)
    assert eyes.given == {"a.jpg": 2}


def test_a_name_that_is_not_text(eyes: Eyes, inbox: Path) -> None:
    with open(os.fsencode(inbox) + b"/\xff\n.jpg", "wb") as file:
        file.write(b"1")
    eyes.until(lambda: eyes.given == {"\udcff\n.jpg": 1})


def test_what_is_not_an_image_file_is_left_alone(eyes: Eyes, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_bytes(b"1")
    (inbox / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (inbox / "broken.jpg").symlink_to("nowhere")
    (inbox / "folder.jpg").symlink_to(tmp_path)
    os.mkfifo(inbox / "pipe.jpg")
    (inbox / "x.jpg").mkdir()
    (inbox / ".hidden").mkdir()
    (inbox / ".hidden" / "a.jpg").write_bytes(b"1")
    (inbox / ".part.jpg").write_bytes(b"1")
    (inbox / "x.jpg" / "inside.jpg").write_bytes(b"1")
    eyes.until(lambda: "x.jpg/inside.jpg" in eyes.given)
    eyes.ahead = LONG  # and what a scan says of it
    eyes.until(lambda: eyes.watcher.scans == 2)
    eyes.quiet(0.5)
    assert eyes.given == {"x.jpg/inside.jpg": 1}


def test_a_storm_is_seen_whole_and_once(inbox: Path) -> None:
    eyes = Eyes(inbox, rescan=1.0)
    eyes.until(lambda: eyes.watcher.scans == 1)
    writer = threading.Thread(
        target=lambda: [(inbox / f"{n}.jpg").write_bytes(b"1") for n in range(5000)]
    )
    writer.start()
    eyes.until(lambda: len(eyes.given) == 5000)
    writer.join()
    assert set(eyes.given.values()) == {1}
    eyes.watcher.close()


def test_events_that_are_lost_are_made_up_for_by_a_scan(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "MAX_EVENTS", 50)
    eyes = Eyes(inbox)  # a rescan by the clock never comes
    eyes.until(lambda: eyes.watcher.scans == 1)
    for number in range(500):
        (inbox / f"{number}.jpg").write_bytes(b"1")
    eyes.until(lambda: len(eyes.given) == 500)
    assert set(eyes.given.values()) == {1}
    eyes.watcher.close()


def test_without_events_the_scan_finds_everything(inbox: Path) -> None:
    """The kernel refuses to watch, as it does when its limits are reached: it has no descriptor."""
    program = (
        "import logging, os, resource, sys, time\n"
        "from daemon import hearing, watch\n"
        "logging.basicConfig()\n"
        "real, (soft, hard) = hearing.observe, resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "def observe(*arguments):\n"
        "    free = os.dup(0); os.close(free)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, hard))\n"
        "    try: return real(*arguments)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "hearing.observe = observe\n"
        "w = watch.Watcher(sys.argv[1].encode(), frozenset({b'jpg'}), 0, 0.2, list, lambda: None)\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        "    found = w.tick(time.monotonic())\n"
        "    if found: print(found[0].path); break\n"
        "    time.sleep(0.05)\n"
    )
    (inbox / "a.jpg").write_bytes(b"1")
    done = subprocess.run(
        [sys.executable, "-c", program, str(inbox)], capture_output=True, text=True, timeout=60
    )
    assert "a.jpg" in done.stdout, done.stderr
    assert "It is looked through every `poll_seconds` instead" in done.stderr


def test_what_a_scan_passed_over_is_counted(inbox: Path) -> None:
    (inbox / "a.txt").touch()
    (inbox / "b.txt").touch()
    eyes = Eyes(inbox)
    eyes.until(lambda: eyes.watcher.scans == 1)
    ((reason, (count, example)),) = eyes.watcher.ignored.items()
    assert (reason, count) == ("not an image by its extension", 2)
    assert example.endswith(b".txt")
    eyes.watcher.close()


def test_closing_leaves_no_thread(inbox: Path) -> None:
    before = threading.active_count()
    eyes = Eyes(inbox)
    eyes.tick()
    assert threading.active_count() > before
    eyes.watcher.close()
    assert threading.active_count() == before
