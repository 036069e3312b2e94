"""Two that want to drain one queue, or write one results.csv, are started at the same instant."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from trials.patched import gated, tiny_jpegs
from trials.report import Report, Table
from trials.subject import compiled_cache

if TYPE_CHECKING:
    from daemon_process import Project

THERE, ARRIVING = 20, 20  # images in the inbox at the start, and coming while they start
FOLDER = 40  # images in the folder that is backfilled
SECONDS = 60
WITHOUT_LOCK = """
import os
from daemon.lock import Holder, Locks, StateLock
def acquire(self, command):
    self._holder = Holder(os.getpid(), command, "2026-01-01T00:00:00+00:00")
StateLock.acquire = acquire
StateLock._write = lambda self, holder: None
Locks.check = lambda self: None
"""
HELD = re.compile(r"`classifyd (run|backfill)`, process (\d+), since 20\d\d-\d\d-\d\dT[\d:]+\+")


class Contender:
    """One of the two: started, and waiting for the gun."""

    def __init__(self, folder: Path, config: Path, gun: int, patch: str, *words: str) -> None:
        self.name = words[0]
        self._log = folder / f"log-{config.stem}-{time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*gated(patch), *words, "--config", str(config)],
                stdin=gun, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def ended(self) -> int:
        return self.process.wait(SECONDS)

    def stopped(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


@contextmanager
def at_once(
    project: Project, patch: str, *commands: Sequence[str], config: Path | None = None
) -> Iterator[list[Contender]]:
    """Start commands at the same instant, while images arrive. config: the second one's own."""
    gun, trigger = os.pipe()
    configs = (project.config, config or project.config)
    both = [
        Contender(project.folder, its, gun, patch, *words)
        for its, words in zip(configs, commands, strict=True)
    ]
    os.close(gun)
    try:
        time.sleep(0.5)  # so that both have imported what they need, as a rule
        os.close(trigger)
        for number, image in enumerate(tiny_jpegs(ARRIVING, first=THERE)):
            draft = project.folder / "draft"
            draft.write_bytes(image)
            draft.rename(project.inbox / f"arriving{number}.jpg")
            time.sleep(0.02)
        yield both
    finally:
        for contender in both:
            contender.process.kill()
            contender.ended()


def fresh(work: Path, name: str) -> Project:
    """A project without a journal, some images in the inbox, and more in a folder beside it."""
    from daemon_process import Project

    (work / name).mkdir()
    project = Project(work / name, compiled_cache(), thumbnails={"when": "all"})
    images = tiny_jpegs(THERE + ARRIVING + FOLDER)
    for number, image in enumerate(images[:THERE]):
        (project.inbox / f"there{number}.jpg").write_bytes(image)
    (project.folder / "photos").mkdir()
    for number, image in enumerate(images[THERE + ARRIVING :]):
        (project.folder / "photos" / f"{number}.jpg").write_bytes(image)
    return project


def says_who(loser: Contender, winner: Contender) -> None:
    """The loser ends with 3 and names the one that holds the lock."""
    assert loser.process.returncode == 3, loser.log
    found = HELD.search(loser.log)
    assert found, loser.log
    assert found.groups() == (winner.name, str(winner.process.pid)), loser.log


def first_to_end(both: Sequence[Contender]) -> tuple[Contender, Contender]:
    """The one that ended by itself, and the other."""
    from daemon_process import wait_for

    wait_for(lambda: any(one.process.poll() is not None for one in both), "one of them ends")
    ended = sorted(both, key=lambda one: one.process.poll() is None)
    return ended[0], ended[1]


def two_daemons(project: Project) -> str:
    with at_once(project, "", ["run"], ["run"]) as both:
        loser, winner = first_to_end(both)
        says_who(loser, winner)
        project.wait_for_rows(THERE + ARRIVING)
        assert winner.stopped() == 0, winner.log
    project.check_rows(THERE + ARRIVING)
    return "the first" if winner is both[0] else "the second"


def daemon_and_backfill(project: Project) -> str:
    """Whichever is first drains; a backfill that is second fills the queue and is content."""
    from daemon_process import wait_for

    photos = str(project.folder / "photos")
    with at_once(project, "", ["run"], ["backfill", photos]) as (daemon, backfill):
        assert backfill.ended() == 0, backfill.log
        rows = project.rows
        assert sum(row["path"].startswith(photos + "/") for row in rows) == FOLDER, backfill.log
        followed = "does the work" in backfill.log
        if followed:
            found = HELD.search(backfill.log)
            assert found, backfill.log
            assert found.groups() == ("run", str(daemon.process.pid)), backfill.log
        wait_for(lambda: daemon.process.poll() is not None or "watching" in daemon.log, "either")
        if followed or daemon.process.poll() is None:
            project.wait_for_rows(THERE + ARRIVING + FOLDER)
            assert daemon.stopped() == 0, daemon.log
            project.check_rows(THERE + ARRIVING + FOLDER)
            # It waits for a second before it gives up; a backfill may be done by then.
            return "the daemon" if followed else "the backfill, done before the daemon gave up"
        says_who(daemon, backfill)
    project.check_rows(FOLDER)
    done = project.classifyd("run", "--once")  # what a user does then
    assert done.returncode == 0, done.stderr
    project.check_rows(THERE + ARRIVING + FOLDER)
    return "the backfill"


def two_states(project: Project, patch: str = "") -> str:
    """The same inbox, the same results, a state folder each."""
    shutil.copytree(project.state / "models", project.folder / "state2" / "models")
    config = project.folder / "config2.yaml"
    said = yaml.safe_load(project.config.read_text())
    config.write_text(yaml.safe_dump(said | {"state": "state2"}))
    with at_once(project, patch, ["run"], ["run"], config=config) as both:
        loser, winner = first_to_end(both)
        says_who(loser, winner)
        assert "with another state folder" in loser.log
        project.wait_for_rows(THERE + ARRIVING)
        assert winner.stopped() == 0, winner.log
    project.configure(state="state" if winner is both[0] else "state2")
    project.check_rows(THERE + ARRIVING)
    return "the first" if winner is both[0] else "the second"


def without_lock(project: Project, *, states: bool) -> str:
    """Two daemons that nothing keeps apart; what is wrong with results.csv then, or nothing."""
    config = project.folder / "config2.yaml"
    project.configure(batch={"size": 2})  # so that both have their turns
    said = yaml.safe_load(project.config.read_text())
    if states:
        shutil.copytree(project.state / "models", project.folder / "state2" / "models")
        said |= {"state": "state2"}
    config.write_text(yaml.safe_dump(said))
    with at_once(project, WITHOUT_LOCK, ["run"], ["run"], config=config) as both:
        # Slow is not wrong: it has its time, and some more once all rows are there.
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            text = project.csv.read_bytes() if project.csv.exists() else b""
            if wrong := harm(text, "".join(one.log for one in both)):
                return wrong
            if text.count(b"\n") > THERE + ARRIVING:
                deadline = min(deadline, time.monotonic() + 2)
            time.sleep(0.05)
    return ""


def harm(text: bytes, log: str) -> str:
    """What two writers did to results.csv."""
    lines = text.split(b"\r\n")[1:-1]
    paths = [line.split(b",")[1] for line in lines if line.count(b",") >= 14]
    if len(set(lines)) < len(lines):
        return "rows doubled"
    if len(set(paths)) < len(paths):
        return "images with two rows"
    if "is not as the journal has it" in log:
        return "lines of the one taken for damage by the other"
    if "was changed by somebody else" in log:
        return "results.csv written by both"
    return ""


PAIRS = {
    "two daemons": two_daemons,
    "a daemon and a backfill": daemon_and_backfill,
    "two daemons, each with a state folder, on one results folder": two_states,
}


def run(work: Path, *, short: bool) -> Report:
    times = 1 if short else 50
    table = []
    for pair, play in PAIRS.items():
        won: dict[str, int] = {}
        for number in range(times):
            winner = play(fresh(work, f"{play.__name__}{number}"))
            won[winner] = won.get(winner, 0) + 1
        outcome = ", ".join(f"{who} {count}" for who, count in sorted(won.items()))
        table.append([pair, times, times, outcome])

    broken: dict[str, int] = {}
    for number in range(3 if short else 10):
        wrong = without_lock(fresh(work, f"control{number}"), states=number % 2 == 1)
        broken[wrong] = broken.get(wrong, 0) + 1
        if short and wrong:
            break
    harmed = sum(count for wrong, count in broken.items() if wrong)
    assert harmed, "two daemons without a lock did no harm"
    return Report(
        title="Two at once",
        done=f"Two started at the same instant on fresh folders, {times} times each pair, with "
        f"{THERE} images there and {ARRIVING} arriving meanwhile ({FOLDER} more to backfill).",
        result="Every image had one row and one thumbnail every time, `verify` ended with 0. The "
        "loser ended with 3 and named the command, process and start of the one that holds the "
        "lock; a backfill that lost filled the queue, waited for its rows and ended with 0.",
        control="`StateLock.acquire` and `Locks.check` made to do nothing, two daemons: harm in "
        f"{harmed} of {sum(broken.values())} starts ("
        + ", ".join(f"{wrong or 'none'}: {count}" for wrong, count in sorted(broken.items()))
        + ").",
        table=Table(["Started together", "times", "held", "who won"], table),
    )
