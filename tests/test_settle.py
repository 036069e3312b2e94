"""When a file is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from classifier.read import Signature
from daemon.jobs import Sighting
from daemon.settle import RECHECK_SECONDS, WRITER_PATIENCE_SECONDS, Settling, is_being_written

SETTLE = 2.0


def write(path: Path, content: bytes = b"content") -> Sighting:
    path.write_bytes(content)
    return Sighting(os.fsencode(path), Signature.of(path.lstat()))


def test_the_system_tells_whether_somebody_writes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "a.jpg")
    with open(path, "wb"):
        answer = is_being_written(path)
        if answer is None:
            pytest.skip("the file system of the temporary folder does not tell of writers")
        assert answer is True
    assert is_being_written(path) is False
    with open(path, "rb"):
        assert is_being_written(path) is False
    assert is_being_written(path + b".gone") is None


def test_another_process_that_writes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    program = "import sys; file = open(sys.argv[1], 'wb'); print('open', flush=True); input()"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        if is_being_written(os.fsencode(path)) is None:
            pytest.skip("the file system of the temporary folder does not tell of writers")
        assert is_being_written(os.fsencode(path)) is True
        writer.communicate(b"\n", timeout=60)
    assert is_being_written(os.fsencode(path)) is False


def test_a_writer_that_comes_while_it_is_asked_does_not_end_the_process(tmp_path: Path) -> None:
    """The kernel sends a signal then: here it is counted, so that it is seen to have come."""
    program = (
        "import os, signal, sys, threading, time\n"
        "from daemon.settle import is_being_written\n"
        "came = []\n"
        "signal.signal(signal.SIGURG, lambda *_: came.append(1))\n"
        "path = os.fsencode(sys.argv[1])\n"
        "def write():\n"
        "    while True:\n"
        "        os.close(os.open(path, os.O_WRONLY))\n"
        "threading.Thread(target=write, daemon=True).start()\n"
        "end = time.monotonic() + 30\n"
        "while not came and time.monotonic() < end:\n"
        "    is_being_written(path)\n"
        "print(len(came))\n"
    )
    write(tmp_path / "a.jpg")
    if is_being_written(os.fsencode(tmp_path / "a.jpg")) is None:
        pytest.skip("the file system of the temporary folder does not tell of writers")
    command = [sys.executable, "-c", program, str(tmp_path / "a.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 0


def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert is_being_written(os.fsencode(tmp_path / "pipe.jpg")) in (None, False)
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    assert is_being_written(os.fsencode(tmp_path / "link.jpg")) is None


def test_a_quiet_file_is_whole_after_its_time(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    sighting = write(tmp_path / "a.jpg")
    assert not settling.add(sighting, 100)
    assert settling.next_due() == 100 + SETTLE
    assert settling.due(100 + SETTLE - 0.1) == []
    assert settling.due(100 + SETTLE) == [sighting]
    assert len(settling) == 0
    assert settling.next_due() is None


def test_a_file_that_has_long_been_quiet_is_whole_at_once(tmp_path: Path) -> None:
    assert Settling(SETTLE).add(write(tmp_path / "a.jpg"), 100, age_seconds=3)


def test_a_date_in_the_future_is_waited_for_like_any_other(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    sighting = write(tmp_path / "a.jpg")
    assert not settling.add(sighting, 100, age_seconds=-10_000)
    assert settling.due(100 + SETTLE) == [sighting]


def test_a_file_that_grows_waits_anew(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    settling.add(write(tmp_path / "a.jpg", b"1"), 100)
    grown = write(tmp_path / "a.jpg", b"12")
    assert settling.due(101.9) == []
    assert settling.due(102) == []  # it is seen to have grown
    assert settling.due(103.9) == []
    assert settling.due(104) == [grown]


def test_seeing_it_again_unchanged_does_not_make_it_wait_longer(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    sighting = write(tmp_path / "a.jpg")
    settling.add(sighting, 100)
    settling.add(sighting, 101)
    assert settling.due(102) == [sighting]


def test_a_writer_that_pauses_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    sighting = write(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab"):
        if is_being_written(sighting.path) is None:
            pytest.skip("the file system of the temporary folder does not tell of writers")
        settling.add(sighting, 100)
        assert settling.due(100 + 10 * SETTLE) == []
        assert settling.next_due() == 100 + 10 * SETTLE + RECHECK_SECONDS  # not all the time
        assert settling.due(100 + WRITER_PATIENCE_SECONDS) == [sighting]


def test_what_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    settling.add(write(tmp_path / "a.jpg"), 100)
    (tmp_path / "a.jpg").unlink()
    assert settling.due(102) == []
    assert len(settling) == 0


def test_what_is_no_file_any_more_is_not_waited_for(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    settling.add(write(tmp_path / "a.jpg"), 100)
    (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    assert settling.due(102) == []
    assert len(settling) == 0


def test_no_waiting_at_all_if_so_asked(tmp_path: Path) -> None:
    assert Settling(0).add(write(tmp_path / "a.jpg"), 100)
