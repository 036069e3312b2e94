"""The moment in which a model takes another's place: whole at any time, nothing is written over."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from classifier import modelfile
from classifier.durable import name_new
from trainer.errors import RefusedError
from trainer.place import claimed
from trainer.promote import bring_along, put_in_place

# Somebody who asks for no lock puts another file there when all is copied.
OVERWRITTEN = """
import sys
from pathlib import Path
from classifier.modelfile import digest_of
from trainer.errors import RefusedError
from trainer.promote import put_in_place
new, now = Path("new.keras").resolve(), Path("now.keras").resolve()
def hook(event, _):
    if event == "os.link":
        now.write_bytes(b"theirs")
sys.addaudithook(hook)
try:
    put_in_place(new, digest_of(new), now, digest_of(now))
except RefusedError as error:
    print(error)
"""


def test_what_somebody_else_puts_there_meanwhile_stays(tmp_path: Path) -> None:
    for name in ("new", "now"):
        (tmp_path / f"{name}.keras").write_bytes(name.encode())
    done = subprocess.run(
        [sys.executable, "-c", OVERWRITTEN],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "somebody else has just changed it: start again" in done.stdout, done.stderr
    assert (tmp_path / "now.keras").read_bytes() == b"theirs"


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.keras" for name in ("new", "now")}
    for name, path in files.items():
        path.write_bytes(name.encode())
    new, now = map(modelfile.digest_of, files.values())
    kept = tmp_path / f"now.{now[:12]}.keras"
    kept.write_bytes(b"something else")
    with pytest.raises(RefusedError, match="is in the way"):
        put_in_place(files["new"], new, files["now"], now)
    with pytest.raises(RefusedError, match="written to while it was read"):
        put_in_place(files["new"], now, files["now"], now)
    assert files["now"].read_bytes() == b"now"
    assert kept.read_bytes() == b"something else"
    kept.write_bytes(b"now")  # as a killed promote leaves it
    assert put_in_place(files["new"], new, files["now"], now) == kept
    assert files["now"].read_bytes() == b"new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_service_can_read_the_new_file_as_the_old(tmp_path: Path) -> None:
    new, now = tmp_path / "new.keras", tmp_path / "now.keras"
    new.write_bytes(b"new")
    now.write_bytes(b"now")
    os.chown(now, 12345, 23456)
    now.chmod(0o440)
    kept = put_in_place(new, modelfile.digest_of(new), now, modelfile.digest_of(now))
    for path in (now, kept):
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o440)


# Ends the process at the n-th thing that it does to a file; exit code 0 if it got to its end.
KILLED = """
import os, signal, sys
from pathlib import Path
from classifier.modelfile import digest_of
from trainer.place import claimed
from trainer.promote import bring_along, put_in_place
folder, places = Path(sys.argv[1]), 0
while True:
    at = folder / str(places)
    at.mkdir()
    (at / "new.keras").write_bytes(b"new" * 1000)
    (at / "now.keras").write_bytes(b"now" * 1000)
    for name in ("new", "now"):
        (at / f"{name}.metrics.json").write_text(f"of {name}")
        (at / f"{name}.curves.png").write_text(f"of {name}")
    digests = [digest_of(at / name) for name in ("new.keras", "now.keras")]
    child = os.fork()
    if child == 0:
        left = places
        def hook(event, arguments):
            global left
            if event in ("os.mkdir", "os.chown", "os.chmod", "os.link", "os.rename", "os.remove",
                         "os.rmdir", "open"):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
        sys.addaudithook(hook)
        with claimed(at / "now.keras"):
            put_in_place(at / "new.keras", digests[0], at / "now.keras", digests[1])
            bring_along(at / "new.keras", at / "now.keras")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    places += 1
print(places)
"""


def test_a_promote_that_is_killed_leaves_the_old_or_the_new_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    places = int(done.stdout)
    assert places > 10
    found = []
    for place in range(places + 1):
        folder = tmp_path / str(place)
        content = (folder / "now.keras").read_bytes()
        kept = [*folder.glob("now.*.keras")]
        found.append((content[:3], len(kept)))
        assert content in (b"new" * 1000, b"now" * 1000)
        assert all(path.read_bytes() == b"now" * 1000 for path in kept)
        assert kept or content[:3] == b"now"  # the old one is never lost
        for suffix in (".metrics.json", ".curves.png"):
            beside = folder / f"now{suffix}"  # nothing lies there that is another's
            assert not beside.exists() or beside.read_bytes() == b"of " + content[:3]
            of_old = [*folder.glob(f"now*{suffix}")]
            assert "of now" in [path.read_text() for path in of_old]
        # What was cut short is completed by doing it again.
        new, now = (modelfile.digest_of(folder / f"{name}.keras") for name in ("new", "now"))
        with claimed(folder / "now.keras"):
            if new != now:
                put_in_place(folder / "new.keras", new, folder / "now.keras", now)
            bring_along(folder / "new.keras", folder / "now.keras")
        assert (folder / "now.keras").read_bytes() == b"new" * 1000
        (kept_as,) = folder.glob("now.*.keras")
        for suffix in (".metrics.json", ".curves.png"):
            assert (folder / f"now{suffix}").read_text() == "of new"
            assert kept_as.with_suffix(suffix).read_text() == "of now"
        assert len([*folder.iterdir()]) == 9
    assert found == sorted(found, key=lambda pair: (pair[0] == b"new", pair[1]))
    assert {*found} == {(b"now", 0), (b"now", 1), (b"new", 1)}


def test_what_lies_beside_goes_along(tmp_path: Path) -> None:
    """Also where the new model has nothing beside it; what is none of ours stays."""
    new, now = tmp_path / "runs" / "7.keras", tmp_path / "now.keras"
    new.parent.mkdir()
    new.write_bytes(b"new")
    now.write_bytes(b"now")
    new.with_suffix(".metrics.json").write_text("of new")
    for suffix in (".metrics.json", ".curves.png", ".left_out.txt", ".training.npz", ".md"):
        now.with_suffix(suffix).write_text("of now")
    link = tmp_path / "latest.keras"
    link.symlink_to(new)
    with claimed(now):
        kept = put_in_place(link, modelfile.digest_of(new), now, modelfile.digest_of(now))
        bring_along(link, now)
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert found == {
        "latest.keras": "new", "now.keras": "new", "now.metrics.json": "of new",
        "now.training.npz": "of now", "now.md": "of now", kept.name: "now",
        **{f"{kept.stem}{end}": "of now" for end in (".metrics.json", ".curves.png",
                                                     ".left_out.txt")},
    }  # fmt: skip


def test_a_name_is_given_once_without_hard_links_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:  # as on FAT
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    draft, target = tmp_path / "draft", tmp_path / "target"
    draft.write_text("mine")
    monkeypatch.setattr(os, "link", refused)
    name_new(draft, target)
    assert target.read_text() == "mine"
    draft.write_text("another")
    with pytest.raises(FileExistsError):
        name_new(draft, target)
    assert target.read_text() == "mine"
