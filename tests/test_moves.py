"""Moves that wait: for another configuration, or for somebody to open a folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sorting_bench import Bench

from daemon.sorter import why
from daemon.sorting import Sorting


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_waits_is_moved_by_the_templates_of_now(bench: Bench, tmp_path: Path) -> None:
    path = bench.came("a.jpg")
    bench.journal.sort_by(Sorting(bytes(bench.inbox), f"{tmp_path}/new/{{label}}", "/failed"))
    bench.sort()
    assert bench.files == {"new/cat/a.jpg": b"an image"}
    path = bench.came("b.jpg")
    bench.journal.sort_by(None)
    bench.sort()
    assert path.exists()
    assert bench.journal.moves_waiting() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_is_told(bench: Bench) -> None:
    bench.to.mkdir()
    bench.came("a.jpg")
    bench.to.chmod(0)
    bench.sort()
    bench.to.chmod(0o700)
    assert "could not be moved" in bench.trouble


def test_why_never_raises(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root cannot be shut out, the error is made."""
    bench.came("a.jpg")
    (move,) = bench.journal.open_moves(0, 1 << 60, 10)

    def refused(*_: object, **__: object) -> bool:
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr(Path, "is_dir", refused)
    assert why(move, PermissionError(errno.EACCES, "Permission denied"))
