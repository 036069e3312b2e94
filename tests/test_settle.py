"""When a file is whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from classifier.read import Signature
from daemon.journal import Sighting
from daemon.settle import WRITER_PATIENCE_SECONDS, Settling, is_being_written

SETTLE = 2.0


@pytest.fixture(autouse=True)
def leases() -> Iterator[None]:
    """As the service has it: the signal of a lease that is broken must not end the process."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


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
        assert settling.due(100 + WRITER_PATIENCE_SECONDS) == [sighting]


def test_what_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    settling = Settling(SETTLE)
    settling.add(write(tmp_path / "a.jpg"), 100)
    (tmp_path / "a.jpg").unlink()
    assert settling.due(102) == []
    assert len(settling) == 0
