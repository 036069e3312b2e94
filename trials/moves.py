"""kill -9 while images are moved to where they belong: every file is in exactly one place."""

from __future__ import annotations

import csv
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daemon.row import unescape
from trials.oracle import BrokenPromiseError, Reader, hold, judge
from trials.points import MOVE, REACHED
from trials.report import Report, Table
from trials.subject import Subject, digest, jpeg

SEED = 20261
OTHER_DISK = Path("/dev/shm")
NAMES = 40  # so many different ones: most find theirs taken
COPIED = ("take_away:before",)  # some are in both places

CONTROLS = {
    "moves_are_not_noted": "the name that a file gets is noted only once it has got it",
    "moves_replace": "a rename that replaces",
}
ON_OTHER_DISK = ("moves_are_not_noted",)


class Sorted:
    """A subject whose images are moved, by the digest of their content."""

    def __init__(self, folder: Path, to: Path) -> None:
        self.subject = Subject(
            folder, after={"do": "move", "to": f"{to}/{{label}}", "failed_to": f"{to}/failed"}
        )
        self.to = to
        self.is_other_disk = folder.stat().st_dev != to.parent.stat().st_dev
        self.come = 0

    def put(self, count: int) -> None:
        """More images come, by rename, as nobody is to take one that is half written."""
        for _ in range(count):
            name = f"{self.come // NAMES}/{self.come % NAMES}.jpg"
            (self.subject.inbox / name).parent.mkdir(exist_ok=True)
            data = jpeg(self.come)
            self.subject.contents[str(self.subject.inbox / name)] = [digest(data)]
            draft = self.subject.folder / "draft"
            draft.write_bytes(data)
            draft.rename(self.subject.inbox / name)
            self.come += 1

    def places(self) -> dict[str, list[Path]]:
        """Where each content is now, whole and under a name that is no hidden one."""
        found: dict[str, list[Path]] = {}
        for folder in (self.subject.inbox, self.to):
            for path in folder.rglob("*"):
                if path.is_file() and not path.name.startswith("."):
                    found.setdefault(digest(path.read_bytes()), []).append(path)
        return found

    def look(self) -> None:
        """After a kill: nothing is lost, and on one disk nothing is there twice."""
        places = self.places()
        for path, (content,) in self.subject.contents.items():
            there = places.get(content, [])
            hold(there, f"{path} is nowhere")
            hold(self.is_other_disk or len(there) == 1, f"{path} is in {len(there)} places")

    def judge(self, seen: bytes) -> int:
        """After the last run: each is in the folder of its label, once."""
        rows = judge(self.subject, seen)
        places = self.places()
        hold(len(places) == self.come, f"{len(places)} contents for {self.come} images")
        twice = Counter(len(there) for there in places.values())
        hold(set(twice) == {1}, f"{self.come - twice[1]} images are in more than one place")
        for row in csv.DictReader(self.subject.csv.read_text().splitlines()):
            (there,) = places[row["sha256"]]
            was = Path(unescape(row["path"]).decode())
            hold(there.parent == self.to / row["label"], f"{was} is in {there.parent}")
            hold(there.name.startswith(was.stem), f"{was} is called {there.name}")
        for folder in (self.subject.inbox, self.to):
            left = [path for path in folder.rglob(".*") if path.is_file()]
            hold(not left, f"{len(left)} hidden files are left, such as {left[:1]}")
        return rows


def trial(
    where: Sorted,
    files: int,
    kills: int,
    seed: int,
    patches: Sequence[str] = (),
    points: Sequence[str] = MOVE,
) -> Counter[str]:
    """How many kills fell into what. Raises `BrokenPromiseError`."""
    chance = random.Random(seed)
    reader = Reader(where.subject)
    reached = where.subject.folder / "reached"
    where.subject.variables[REACHED] = str(reached)
    fell = Counter[str]()
    if not where.is_other_disk:  # there is no copy whose source would have to be taken away
        points = [point for point in points if "take_away" not in point] or MOVE[:2]
    for number in range(kills):
        where.put(files // kills)
        if number % 2:  # at any instant
            daemon = where.subject.start("run", patches=patches)
            time.sleep(1.0 + 2.0 * chance.random())
            assert daemon.process.poll() is None, daemon.output
            daemon.kill()
            fell["at random"] += 1
        else:
            point = points[(number // 2 + 2) % len(points)]
            # A turn makes many moves, but is begun and ended once, and a folder synced once.
            several = "carry" in point or "take_away" in point
            count = chance.randint(1, max(1, files // kills // 2)) if several else 1
            kill = f"kill:{point}:{count}"
            ended = where.subject.finished("run", "--once", patches=[*patches, kill])
            if "moves_replace" not in patches:
                assert reached.exists(), f"{point} was not reached {count} times:\n{ended.output}"
            reached.unlink(missing_ok=True)
            fell[point] += 1
        reader.look()
        where.look()
    where.put(files - where.come)
    ended = where.subject.finished("run", "--once", patches=patches)
    assert ended.process.returncode == 0, ended.output
    hold(where.judge(reader.seen) == files, "not one row for each image")
    return fell


@contextmanager
def other_disk(work: Path) -> Iterator[Path | None]:
    """A folder on another file system, if there is one."""
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == work.stat().st_dev:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="classifyd-trial-", dir=OTHER_DISK))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _control(work: Path, disk: Path, patch: str, what: str) -> str:
    try:
        trial(Sorted(work / patch, disk / f"to_{patch}"), 60, 1, SEED, [patch], COPIED)
    except BrokenPromiseError as error:
        return f"{what}: {str(error).replace(str(work), '')}"
    raise AssertionError(f"the control held: {what}, and nothing was noticed")


def run(work: Path, *, short: bool) -> Report:
    files, kills = (24, 2) if short else (2500, 50)
    fell = Counter[str]()
    with other_disk(work) as elsewhere:
        places = {"in the file system of the inbox": work / "sorted"}
        if elsewhere is not None:
            places["in another one"] = elsewhere / "sorted"
        if short:
            places = dict(list(places.items())[-1:])
        for number, to in enumerate(places.values()):
            fell += trial(Sorted(work / f"whole{number}", to), files, kills, SEED + number)
        controls = dict(CONTROLS)
        if elsewhere is None:
            controls = {patch: controls[patch] for patch in controls if patch not in ON_OTHER_DISK}
        if short:
            controls = dict(list(controls.items())[:1])
        broken = [
            _control(work, elsewhere if elsewhere and patch in ON_OTHER_DISK else work, patch, what)
            for patch, what in controls.items()
        ]
    total = files * len(places)
    return Report(
        title="Images are moved when they are done, and the process is killed meanwhile",
        done=f"{total:,} images of {NAMES} names in many subfolders came while the daemon was "
        f"killed {kills * len(places)} times, half of them at random instants, half between two "
        f"steps of a move; to folders by label {' and '.join(places)}. Then `run --once`. After "
        "every kill it was looked whether each content is there.",
        result=f"{total:,} rows, one for each image; every image is in the folder of its label, "
        "and nowhere else, under its name or with its row's number behind it; nothing was "
        "overwritten, nothing hidden is left; no content was missing after any kill",
        control="; ".join(broken),
        table=Table(("the kill came", "times"), sorted(fell.items())),
    )
