"""Somebody who may write to the inbox swaps folders and files in it for links that lead outside.

Another process does it as fast as the kernel can, each swap in one step (`RENAME_EXCHANGE`), while
files are found and read beneath the inbox: first by the functions that do it in the daemon, in a
loop, then by a daemon at work.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trials.report import Report, Table
from trials.subject import MODEL, ROOT, compiled_cache

if TYPE_CHECKING:
    from daemon_process import Project

TRIES = {True: 3_000, False: 100_000}
DAEMON_SECONDS = {True: 2.0, False: 60.0}
NAMES = [f"{number}.jpg" for number in range(4)]
EXTENSIONS = frozenset({b"jpg"})
AT_FDCWD, RENAME_EXCHANGE = -100, 2
WALK_EVERY = 4  # tries
SECONDS = 30  # for a daemon to write its first row

# Taken out: the way down is followed wherever it leads, as `open` does with O_NOFOLLOW.
UNGUARDED = """
import os
import classifier.beneath
classifier.beneath.open_beneath = lambda path, root, flags: os.open(path, flags | os.O_CLOEXEC)
"""


class Place(NamedTuple):
    """inbox/sub/deep and inbox/single.jpg are ours; outside holds the same names, and more."""

    inbox: Path
    outside: Path
    aside: Path  # holds at any time what is not in the inbox: the link, or the real thing

    @property
    def swaps(self) -> list[tuple[Path, Path]]:
        return [(self.inbox / name, self.aside / name) for name in ("sub", "single.jpg")]

    @property
    def secrets(self) -> set[str]:
        return {digest(path.read_bytes()) for path in self.outside.rglob("*.jpg")}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jpeg(number: int, digits: int = 8) -> bytes:
    """Small pictures that are all different, by a comment in each; its digits make their size."""
    import cv2
    import numpy as np

    pixels = np.full((8, 8, 3), number % 251, np.uint8)
    whole = cv2.imencode(".jpg", pixels)[1].tobytes()
    comment = f"{number:0{digits}}".encode()
    return whole[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + whole[2:]


def placed(inbox: Path, beside: Path) -> Place:
    place = Place(inbox, beside / "outside", beside / "aside")
    for folder, digits in ((inbox, 8), (place.outside, 80)):
        (folder / "sub" / "deep").mkdir(parents=True)
        for number, name in enumerate(NAMES):
            (folder / "sub" / "deep" / name).write_bytes(jpeg(number, digits))
        (folder / "single.jpg").write_bytes(jpeg(500, digits))
    # By this name nothing was ever in the inbox.
    (place.outside / "sub" / "deep" / "secret.jpg").write_bytes(jpeg(2000, 80))
    place.aside.mkdir()
    for _, elsewhere in place.swaps:
        elsewhere.symlink_to(place.outside / elsewhere.name)
    return place


def swap_for_ever(swaps: list[tuple[str, str]]) -> None:
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    print("swapping", flush=True)
    while True:
        for one, other in swaps:
            if renameat2(AT_FDCWD, one.encode(), AT_FDCWD, other.encode(), RENAME_EXCHANGE):
                raise OSError(ctypes.get_errno(), "renameat2", one)


@contextmanager
def swapping(place: Place) -> Iterator[None]:
    """Another process swaps, until the end of the block; then all is as it was."""
    pairs = [(str(one), str(other)) for one, other in place.swaps]
    program = f"from trials.link_swap import swap_for_ever; swap_for_ever({pairs!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "the process that swaps did not start"
        yield
        assert process.poll() is None, "the process that swaps has ended"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for one, other in place.swaps:
            if one.is_symlink():
                one.rename(other.with_suffix(".link"))
                other.rename(one)
                other.with_suffix(".link").rename(other)


def tried(place: Place, tries: int) -> Counter[str]:
    """Look, read and walk beneath the inbox so many times; what came of it."""
    from classifier.errors import ImageError
    from classifier.read import read
    from daemon.walk import LINK, walk

    inbox = os.fsencode(place.inbox)
    paths = [os.fsencode(place.inbox / "sub" / "deep" / name) for name in NAMES]
    paths.append(os.fsencode(place.inbox / "single.jpg"))
    secrets, seen = place.secrets, Counter[str]()
    for number in range(tries):
        try:
            content = read(paths[number % len(paths)], root=len(inbox))
        except ImageError as error:
            seen["refused" if "link" in str(error) else str(error)] += 1
        else:
            seen["outside" if content.sha256 in secrets else "read"] += 1
        if number % WALK_EVERY:
            continue
        seen["walks"] += 1
        for found in walk(inbox, EXTENSIONS):
            seen["links passed over"] += found.ignored == LINK
            seen["listed outside"] += found.path.endswith(b"secret.jpg")
    return seen


def tried_unguarded(place: Place, tries: int) -> Counter[str]:
    """The same in a process without the guard."""
    program = (
        f"{UNGUARDED}\nfrom pathlib import Path\nfrom trials.link_swap import Place, tried\n"
        f"place = Place(*map(Path, {list(map(str, place))!r}))\nprint(dict(tried(place, {tries})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return Counter(eval(done.stdout))


class Found(NamedTuple):
    """What a daemon made of it."""

    rows: int
    refused: int
    outside: list[str]  # every trace of what lies outside


def daemon_at_work(folder: Path, seconds: float, *, guarded: bool) -> Found:
    from daemon_process import Project

    folder.mkdir()
    if not guarded:  # found by every Python that is started, the workers too
        (folder / "sitecustomize.py").write_text(UNGUARDED)
    project = Project(folder, compiled_cache(), settle_seconds=0, rescan_seconds=1)
    place = placed(project.inbox, folder)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT)])
    try:
        with project.started("run") as daemon:
            daemon.says("watching")
            ours = os.open(place.inbox / "sub" / "deep", os.O_PATH)
            with swapping(place):
                _stir(ours, project, seconds)
            os.close(ours)
            daemon.stop()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return _what_came_of_it(project, place)


def _stir(ours: int, project: Project, seconds: float) -> None:
    """New files in our own folder, wherever it is just now: there is always something to read."""
    number = 10_000
    end = time.monotonic() + seconds
    while time.monotonic() < end or (not project.rows and time.monotonic() < end + SECONDS):
        number += 1
        fd = os.open(f"{number}.jpg", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=ours)
        with open(fd, "wb") as file:
            file.write(jpeg(number))
        time.sleep(0.01)


def _what_came_of_it(project: Project, place: Place) -> Found:
    from daemon.row import row_id

    secrets, rows = place.secrets, project.rows
    secret_files = list(place.outside.rglob("*.jpg"))
    outside = [f"row of {row['path']}" for row in rows if row["sha256"] in secrets]
    outside += [f"listed {row['path']}" for row in rows if row["path"].endswith("secret.jpg")]
    sizes = {str(path.stat().st_size) for path in secret_files}
    outside += [f"size of {row['path']}" for row in rows if row["bytes"] in sizes]
    # A thumbnail's name follows from its path and content: these are the ones that must not be.
    model = digest(MODEL.read_bytes())[:12]
    paths = [os.fsencode(place.inbox / path.relative_to(place.outside)) for path in secret_files]
    names = {row_id(path, secret, model, 0) for path in paths for secret in secrets}
    drawn = {path.stem for path in (project.results / "thumbnails").rglob("*.jpg")}
    outside += [f"thumbnail {name}" for name in drawn & names]
    refused = sum("link" in row["reason"] for row in rows)
    return Found(len(rows), refused, outside)


def run(work: Path, *, short: bool) -> Report:
    """Nothing outside is ever read, looked at or listed; without the guard it is."""
    tries, seconds = TRIES[short], DAEMON_SECONDS[short]
    inbox = work / "inbox"
    place = placed(inbox, work)
    with swapping(place):
        guarded = tried(place, tries)
    assert guarded["outside"] == guarded["listed outside"] == 0, guarded
    assert guarded["refused"] >= tries / 100, f"the race was hardly hit: {guarded}"
    assert guarded["read"] >= tries / 100, f"the race was hardly hit: {guarded}"
    with swapping(place):
        control = tried_unguarded(place, tries)
    assert control["outside"], f"the control read nothing outside: {control}"
    assert short or control["listed outside"], f"the control listed nothing outside: {control}"

    daemon = daemon_at_work(work / "daemon", seconds, guarded=True)
    assert not daemon.outside, daemon.outside[:10]
    assert daemon.rows, "the daemon read nothing"
    loose = Found(0, 0, [])
    if not short:
        loose = daemon_at_work(work / "loose", seconds, guarded=False)
        assert loose.outside, f"the daemon without the guard read nothing outside: {loose}"

    columns = ("read", "refused", "walks", "links passed over", "outside", "listed outside")
    rows = [
        [name, *(f"{seen[column]:,}" for column in columns)]
        for name, seen in (("as it is", guarded), ("control", control))
    ]
    return Report(
        title="No link is followed out of the inbox",
        done=f"{tries:,} files read beneath the inbox and {guarded['walks']:,} walks of it, while "
        "another process swapped a folder and a file of it for links that lead outside; the same "
        f"with a daemon at work for {seconds:g} s.",
        result=f"nothing outside was read, looked at or listed; {guarded['refused']:,} links were "
        f"refused on the way. The daemon wrote {daemon.rows:,} rows, {daemon.refused:,} of them "
        "for links that it met; none tells of anything outside.",
        control="with O_NOFOLLOW on the last part of the path alone, "
        f"{control['outside']:,} of {tries:,} reads were of outside content, and files outside "
        f"were listed {control['listed outside']:,} times"
        + (f"; the daemon wrote {len(loose.outside):,} traces of it." if loose.outside else "."),
        table=Table(["", *columns], rows),
    )
