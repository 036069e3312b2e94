"""A new file in the place of an old one is for whom the old one was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from classifier.inherit import inherit


def test_the_right_of_everybody_to_write_is_not_passed_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, mode in ((old, 0o626), (new, 0o600)):
        path.touch()
        path.chmod(mode)
    assert inherit(new, old.stat())
    assert stat.S_IMODE(new.stat().st_mode) == 0o624


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_who_may_not_give_files_away_keeps_the_group_at_least(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    old = tmp_path / "old"
    old.touch()
    os.chown(old, 12345, 23456)
    old.chmod(0o640)
    child = os.fork()
    if child == 0:
        kept = True
        try:
            os.chdir(tmp_path)  # what is above may be closed to others
            os.setgroups([23456])
            os.setgid(34567)
            os.setuid(34567)
            Path("new").touch()
            kept = inherit(Path("new"), Path("old").stat())
        finally:
            os._exit(int(kept))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    found = (tmp_path / "new").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (34567, 23456, 0o640)
