"""`after: {do: move}` with the real daemon, killed and started again."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT, DrawImage
from daemon_process import Project, wait_for
from sorting_bench import Bench

from classifier.read import Signature
from daemon.census import Priority
from daemon.errors import SettingsError
from daemon.jobs import Outcome, Sighting
from daemon.journal import Journal
from daemon.moves import Back
from daemon.schema import SCHEMA, TABLES_OF_6, TABLES_OF_7
from daemon.settings import load
from daemon.sorting import Answered

MOVE = {"do": "move"}


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache, after=MOVE)


def everywhere(project: Project) -> Counter[str]:
    """How often a file of each name is anywhere, hidden ones counted under theirs."""
    folders = project.inbox, project.folder / "sorted"
    return Counter(
        path.name for folder in folders for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".reason.txt")
    )  # fmt: skip


def test_killed_again_and_again_every_file_is_in_one_place(
    project: Project, draw_image: DrawImage
) -> None:
    names = [f"{number}.jpg" for number in range(60)]
    for number, name in enumerate(names):
        draw_image(project.inbox / name, number)
    for moved in (1, 20, 40):
        with project.started("run") as daemon:
            wait_for(lambda n=moved: 60 - len(list(project.inbox.iterdir())) >= n, "some moved")
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.process.wait()
        assert sum(everywhere(project).values()) == 60
    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    assert everywhere(project) == Counter(names)
    assert list(project.inbox.iterdir()) == []
    for row in project.rows:
        assert (project.folder / "sorted" / row["label"] / Path(row["path"]).name).is_file()
    project.check_rows(60)
    assert "60, of which 0 are not there" in project.classifyd("verify").stdout


def test_it_takes_hold_with_a_reload(project: Project, draw_image: DrawImage) -> None:
    project.configure()
    with project.started("run") as daemon:
        kept = draw_image(project.inbox / "kept.jpg", 1)
        project.wait_for_rows(1)
        project.configure(after=MOVE)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("changed: after")
        moved = draw_image(project.inbox / "moved.jpg", 2)
        wait_for(lambda: not moved.exists(), "it was moved")
        assert kept.exists()
        assert daemon.stop() == 0
    project.check_rows(2)
    checked = project.classifyd("check").stdout
    assert f"after      moved to {project.folder}/sorted/{{label}}, what" in checked


def test_where_it_is_and_how_it_is_tried_again(project: Project, draw_image: DrawImage) -> None:
    cat = draw_image(project.inbox / "cat.jpg", 1)
    bad = project.inbox / "bad.jpg"
    bad.write_bytes(b"no image")
    again = project.inbox / "again.jpg"
    again.write_bytes(b"no image either")
    assert project.classifyd("run", "--once").returncode == 0
    label = project.row_of("cat.jpg")["label"]
    there = project.folder / "sorted" / label / "cat.jpg"
    for asked in (cat, there, project.row_of("cat.jpg")["id"]):
        where = project.classifyd("where", asked)
        assert where.returncode == 0, where.stderr
        assert f"is         {there}\n" in where.stdout
        assert f"was        {cat}\n" in where.stdout
    assert project.classifyd("where", "nothing").returncode == 1
    there.rename(there.with_name("taken.jpg"))
    assert f"not there any more: {there}" in project.classifyd("where", cat).stdout

    failed = project.folder / "sorted/failed"
    assert project.row_of("bad.jpg")["reason"] in (failed / "bad.jpg.reason.txt").read_text()
    again.write_bytes(b"no image at all")  # the name is not free any more
    retried = project.classifyd("retry")
    assert "put back   1 that were moved away" in retried.stdout, retried.stdout
    assert project.classifyd("run", "--once").returncode == 0
    rows = [row for row in project.rows if row["path"] == str(bad)]
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert (failed / "bad.jpg").exists()
    assert rows[1]["id"] in (failed / "bad.jpg.reason.txt").read_text()
    assert not bad.exists()
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout


def test_what_is_put_back_does_not_replace_what_came_since(bench: Bench) -> None:
    path = bench.put("a.jpg", b"first")
    row = bench.done(path, status="failed")
    bench.sort()
    assert row is not None
    moved = bench.to / "failed/a.jpg"
    (found,) = bench.journal.failed_and_moved(bytes(path))
    looks = Signature.of(moved.stat())
    root = len(bytes(bench.inbox))
    assert bench.journal.put_back([Back(*found, looks, bytes(path), root)]) == 1
    assert bench.journal.put_back([Back(*found, looks, bytes(path), root)]) == 0
    bench.put("a.jpg", b"second")
    bench.sort()
    assert path.read_bytes() == b"second"
    assert moved.read_bytes() == b"first"
    path.unlink()
    assert bench.journal.put_back([Back(*found, looks, bytes(path), root)]) == 1
    bench.sort()
    assert path.read_bytes() == b"first"
    assert set(bench.files) == {"inbox/a.jpg"}
    (job,) = bench.journal.claim(10, ())
    assert (job.attempt, job.known) == (1, frozenset())


def test_what_is_to_be_tried_again_is_not_moved_before(bench: Bench) -> None:
    """A job in hand ends while another one of the same image waits."""
    sorting, bench.journal.sorting = bench.journal.sorting, None
    path = bench.came("a.jpg")
    bench.journal.sorting = sorting
    sighting = Sighting(bytes(path), Signature.of(path.stat()), len(bytes(bench.inbox)))
    bench.journal.enqueue_again([sighting])
    (job,) = bench.journal.claim(10, ())
    bench.journal.enqueue([sighting._replace(signature=Signature(1, 1, 1))], Priority.LIVE)
    bench.journal.finish([Outcome(job, sha256=hashlib.sha256(b"an image").hexdigest())], 0)
    bench.sort()
    assert path.exists()
    (job,) = bench.journal.claim(10, ())
    job = job._replace(signature=sighting.signature)
    bench.journal.finish([Outcome(job, sha256=hashlib.sha256(b"an image").hexdigest())], 0)
    bench.sort()
    assert not path.exists()


def test_what_waits_to_be_moved_stays_while_it_is_tried_again(bench: Bench) -> None:
    path = bench.came("a.jpg")  # done, and not moved yet
    sighting = Sighting(bytes(path), Signature.of(path.stat()), len(bytes(bench.inbox)))
    bench.journal.enqueue_anew([sighting], "ba9876543210")
    bench.sort()
    assert path.exists()
    bench.journal.want("ba9876543210")
    (job,) = bench.journal.claim(10, (), model="ba9876543210")
    bench.journal.finish([Outcome(job, sha256=hashlib.sha256(b"an image").hexdigest())], 0)
    bench.sort()
    assert not path.exists()


def test_a_sorted_image_is_not_put_back_for_another_that_failed(bench: Bench) -> None:
    path = bench.came("a.jpg")
    bench.sort()
    bench.done(bench.put("a.jpg", b"a bad one"), status="failed")
    bench.sort()
    (found,) = bench.journal.failed_and_moved(bytes(path))
    assert found[1] == bytes(bench.to / "failed/a.jpg")
    bench.done(bench.put("a.jpg", b"another good one"))
    bench.sort()
    assert bench.journal.failed_and_moved(bytes(path)) == []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("to: in/x", "after.to: leads into our own inbox"),
        ("to: out/thumbnails", "after.to: leads into our own thumbnails"),
        ("failed_to: state/x", "after.failed_to: leads into our own state"),
        ("to: '{label}'", "after.to: could lead into our own inbox"),
        ("to: link/{label}", "after.to: leads into our own inbox"),
        ("failed_to: sorted/{label}", "after.failed_to: what has failed has no {label}"),
        ("to: sorted/{colour}", "after.to: there is no {colour}; there are {label}, {status}"),
        ("to: sorted/{label", "after.to: a brace is not closed"),
        ("to: ''", "after.to: should have at least 1 character"),
        ("do: copy", "after.do: should be 'keep' or 'move'; found 'copy'"),
    ],
)  # fmt: skip
def test_a_wrong_destination_is_refused(tmp_path: Path, after: str, said: str) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("in")
    config = tmp_path / "config.yaml"
    do = "" if after.startswith("do:") else "  do: move\n"
    config.write_text(f"inbox: in\nresults: out\nstate: state\nafter:\n{do}  {after}\n")
    with pytest.raises(SettingsError) as caught:
        load(config)
    assert said in str(caught.value).replace("string should", "should")
    assert f"{config}:{5 if not do else 6}: " in str(caught.value)


def test_relative_ones_begin_at_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "with {braces}"
    (folder / "in").mkdir(parents=True)
    config = folder / "config.yaml"
    config.write_text("inbox: in\nresults: out\nstate: state\nafter: {do: move}\n")
    settings = load(config)
    assert settings.sorting is not None
    place = settings.sorting.place(
        bytes(folder / "in/a.jpg"), Answered("cat", "classified", "", "")
    )
    assert place is not None
    assert place.folder == bytes(folder / "sorted/cat")


NEW = re.compile(r"\s+(anew|wanted) ")  # columns


def test_a_journal_of_version_5_is_brought_along(tmp_path: Path) -> None:
    old = SCHEMA.replace(TABLES_OF_6 + TABLES_OF_7, "")
    lines = [line for line in old.splitlines() if not NEW.match(line)]
    old = "\n".join(lines).replace("not_before REAL NOT NULL,", "not_before REAL NOT NULL")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        db.executescript(old)
        db.execute("INSERT INTO folders VALUES (x'61', 'then')")
        db.execute("PRAGMA user_version = 5")
        db.commit()
    with closing(Journal.open(tmp_path)) as journal:
        journal.examine()
        assert journal.folders() == [b"a"]
        assert journal.moves_waiting() == 0
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Journal.open(fresh).close()
    tables = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY name"
    with (
        closing(sqlite3.connect(tmp_path / "journal.sqlite")) as one,
        closing(sqlite3.connect(fresh / "journal.sqlite")) as other,
    ):
        assert one.execute(tables).fetchall() == other.execute(tables).fetchall()


ON_A_FULL_DISK = """
import os, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from sorting_bench import Bench
folder = Path(sys.argv[3])
disk = folder / "disk"
bench = Bench(folder, disk / "sorted")
for name in ("a", "b"):
    bench.came(f"{name}.jpg", content=name.encode() * 700_000)
bench.sort()
bench.sort()
there = {"disk/sorted/cat/a.jpg", "sorted/cat/a.jpg", "inbox/b.jpg"}
assert set(bench.files) == there, set(bench.files)
assert "is full: make room" in bench.trouble, bench.trouble
(disk / "sorted/cat/a.jpg").unlink()
bench.sort()
assert set(bench.files) == {"disk/sorted/cat/b.jpg", "sorted/cat/b.jpg"}, set(bench.files)
assert bench.trouble == ""
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk that gets full")
def test_a_full_disk_at_the_destination(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk && exec "$@"'
    command = [
        "unshare", "--mount", "sh", "-c", script, "sh",
        sys.executable, "-c", ON_A_FULL_DISK, str(ROOT), str(ROOT / "tests"), str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr and done.returncode:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
