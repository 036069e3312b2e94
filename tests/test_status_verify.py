"""`classifyd status` and `verify`: what they say is so, and nothing that is wrong escapes them."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import SECONDS, Project

from classifier import contract as contracts
from classifier.modelfile import digest_of
from daemon.census import Priority
from daemon.jobs import Sighting, failed
from daemon.journal import Journal
from daemon.row import word
from daemon.settings import DEFAULT_MODEL, load
from daemon.verify import MAX_NAMED, row_faults, verify
from daemon.walk import walk
from daemon.worth import worth

COUNT = 12
SHIPPED = contracts.read(DEFAULT_MODEL) or pytest.fail("the shipped model carries a contract")
MODEL = word(digest_of(DEFAULT_MODEL), 12)


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


@pytest.fixture
def done(project: Project, draw_image: DrawImage) -> Project:
    """A project with COUNT images classified."""
    for number in range(COUNT):
        draw_image(project.inbox / f"{number:02}.jpg", number)
    assert project.classifyd("run", "--once").returncode == 0
    return project


def lines_of(project: Project) -> list[bytes]:
    """The lines of results.csv, the header first."""
    return project.csv.read_bytes().splitlines(keepends=True)


def write_lines(project: Project, lines: list[bytes]) -> None:
    project.csv.write_bytes(b"".join(lines))


def id_of(line: bytes) -> str:
    return next(csv.reader([line.decode()]))[0]


def faults(project: Project) -> list[str]:
    """What `verify` finds wrong; none, or it must exit with 1."""
    verified = project.classifyd("verify")
    found = [line[11:] for line in verified.stdout.splitlines() if line.startswith("fault ")]
    assert verified.returncode == (1 if found else 0)
    assert ("It adds up" in verified.stdout) == (not found)
    assert verified.stderr == ""
    return [fault.removeprefix(f"{project.csv}:") for fault in found]


def test_status_tells_what_is_going_on(project: Project, draw_image: DrawImage) -> None:
    before = project.classifyd("status")
    assert before.returncode == 0
    assert before.stdout.startswith(
        "running    no\n"
        f"model      {MODEL} image_classifier.keras: {worth(SHIPPED.evidence)}\n"
        f"inbox      {project.inbox}\n"
        f"rows       none: nothing was classified yet into {project.results}\n"
    )
    project.configure(workers=1, batch={"size": 1})
    for number in range(1200):
        draw_image(project.inbox / f"{number:04}.jpg", number)
    (project.inbox / "text.jpg").write_text("no image")
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        during = project.classifyd("status").stdout
        assert f"running    `classifyd run`, process {daemon.pid}, since 2" in during
        assert daemon.stop() == 0
    rows = len(project.rows)
    assert 0 < rows < 1201
    stopped = project.classifyd("status").stdout
    assert f"rows       {rows:,} (" in stopped
    assert re.search(
        rf"^waiting    {1201 - rows:,}, the oldest since .*; `classifyd run` goes on with them$",
        stopped, re.MULTILINE,
    )  # fmt: skip

    assert project.classifyd("run", "--once").returncode == 0
    after = project.classifyd("status").stdout.splitlines()
    assert after[0] == "running    no"
    assert re.fullmatch(r"ended      `classifyd run --once` ended at 2\S+: it was done", after[1])
    assert after[5] == "rows       1,201 (1,200 classified, 1 failed)"
    assert re.fullmatch(r"today      [\d,]+ \(UTC\)", after[6])
    assert after[7].startswith("last row   2")
    assert after[8] == "waiting    0"
    assert after[9].startswith("failed     1: the content is not a JPEG")
    assert after[9].endswith(f", such as {project.inbox}/text.jpg")
    assert re.fullmatch(rf"disk       \S+ .B of \S+ .B left for {project.results}", after[10])


def test_status_without_a_daemon_tells_what_would_keep_one_from_starting(done: Project) -> None:
    done.configure(workers="many", model=7)
    status = done.classifyd("status")
    assert status.returncode == 2
    assert "workers: input should be a valid integer; found 'many'" in status.stderr
    assert "model: should be a path; found 7" in status.stderr
    check = done.classifyd("status", "--check")
    assert check.returncode == 3
    assert check.stdout.startswith("UNKNOWN - ")


def test_status_of_a_daemon_at_work_asks_for_its_places_alone(done: Project) -> None:
    """What the file says by now of anything else has no part in how the daemon is."""
    with done.started("run") as daemon:
        daemon.says("watching")
        done.configure(workers="many")
        status = done.classifyd("status")
        assert status.returncode == 0, status.stderr
        assert f"process {daemon.pid}," in status.stdout
        assert f"rows       {COUNT} (" in status.stdout
        for wrong in ({"results": 7}, {"state": "a\0b"}, {"model_sha256": ["x"]}):
            done.configure(**wrong)
            status = done.classifyd("status")
            assert status.returncode == 2
            assert "config.yaml:" in status.stderr
            assert f"{next(iter(wrong))}: " in status.stderr
        done.configure()
        assert daemon.stop() == 0


def test_status_into_a_pipe_that_is_closed(done: Project) -> None:
    status = subprocess.Popen(
        done.command("status"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert status.stdout
    assert status.stderr
    status.stdout.close()
    said = status.stderr.read()
    status.stderr.close()
    assert status.wait(SECONDS) == 1
    assert said == b""


def test_verify_without_a_journal(project: Project) -> None:
    verified = project.classifyd("verify")
    assert verified.returncode == 1
    assert "there is no journal yet: nothing was classified so far" in verified.stderr
    assert "Traceback" not in verified.stderr


def test_a_deleted_row_is_named(done: Project) -> None:
    lines = lines_of(done)
    deleted = lines.pop(5)
    write_lines(done, lines)
    (fault,) = faults(done)
    row = dict(zip(lines[0].decode().strip().split(","), next(csv.reader([deleted.decode()])),
                   strict=True))  # fmt: skip
    assert fault == f"row {row['id']} is missing: {row['path']} ({row['label']})"


EVERY_ROW_IS_MISSING = [f"row {{{number}}} is missing: " for number in range(1, COUNT + 1)]
Change = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines, []),
        (lambda lines: [*lines[:5], lines[5].replace(b"0.", b"9."), *lines[6:]],
         ["6: row {5} was changed"]),
        (lambda lines: [*lines, lines[5]], ["14: row {5} stands there again"]),
        (lambda lines: [*lines[:6], lines[5], *lines[6:]], ["7: row {5} stands there again"]),
        (lambda lines: [*lines[:6], b"a,b\r\n", *lines[6:]],
         ["7: a line that classifyd did not write"]),
        (lambda lines: [*lines, b"by hand"], ["14: a line that classifyd did not write"]),
        (lambda lines: [*lines[:-1], lines[-1][:30]], ["13: row {12} is cut short"]),
        (lambda lines: lines[1:], ["1: is not the header"]),
        (lambda lines: [b"a;b\r\n", *lines[1:]], ["1: is not the header"]),
        (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
         ["row {5} is missing: ", "7: row {5} stands there again"]),
        (lambda lines: lines[:1], EVERY_ROW_IS_MISSING),
        (lambda lines: [], EVERY_ROW_IS_MISSING),
    ],
    ids=["nothing", "changed", "repeated at the end", "repeated", "foreign", "foreign tail",
         "torn", "no header", "other header", "order", "header only", "empty"],
)  # fmt: skip
def test_what_can_be_wrong_with_the_file(
    done: Project, change: Change, expected: list[str]
) -> None:
    lines = lines_of(done)
    write_lines(done, change(lines))
    named = [fault.format(*map(id_of, lines)) for fault in expected]
    found = faults(done)
    assert len(found) == len(named)
    for fault, start in zip(found, named, strict=True):
        assert fault.startswith(start)

    # And what it says of mending is so.
    assert done.classifyd("run", "--once").returncode == 0
    assert lines_of(done) == lines
    assert faults(done) == []


def test_no_results_file_and_no_thumbnail(done: Project) -> None:
    lines = lines_of(done)
    done.csv.unlink()
    assert f"rows       {COUNT} (" in done.classifyd("status").stdout  # it needs no results.csv
    gone = min((done.results / "thumbnails").rglob("*.jpg"))
    gone.unlink()
    assert faults(done) == [
        f"{done.csv} is not there",
        f"row {gone.stem}: its thumbnail {gone.relative_to(done.results)} is not there",
    ]
    assert done.classifyd("run", "--once").returncode == 0
    assert lines_of(done) == lines


def test_everything_at_once(done: Project) -> None:
    lines = lines_of(done)
    ids = list(map(id_of, lines))
    (done.results / done.rows[11]["thumbnail"]).unlink()
    changed = lines[4].replace(b"0.", b"9.")
    torn = lines[12][:40]
    write_lines(done, [*lines[:3], changed, *lines[5:8], lines[2], b"x\r\n", *lines[8:12], torn])
    assert [fault.partition(": /")[0] for fault in faults(done)] == [
        f"row {ids[3]} is missing",
        f"4: row {ids[4]} was changed",
        f"8: row {ids[2]} stands there again",
        "9: a line that classifyd did not write",
        f"14: row {ids[12]} is cut short",
        f"row {ids[12]}: its thumbnail thumbnails/{done.rows[0]['seen_at'][:10]}/{ids[12]}.jpg "
        "is not there",
    ]


def test_many_faults_are_counted(done: Project) -> None:
    write_lines(done, [*lines_of(done), *[b"by hand\r\n"] * 50])
    verified = done.classifyd("verify")
    assert verified.stdout.count("\nfault ") == MAX_NAMED + 1
    assert f"... and {50 - MAX_NAMED} more" in verified.stdout
    assert "It does not add up: 50 faults." in verified.stdout


def test_a_file_that_was_never_seen_is_told_of(done: Project, draw_image: DrawImage) -> None:
    new = draw_image(done.inbox / "new.jpg", 99)
    verified = done.classifyd("verify")
    assert verified.returncode == 0
    assert f"files      {COUNT + 1}: {COUNT} classified, 1 not seen" in verified.stdout
    assert f"not seen   such as {new}" in verified.stdout


def test_what_cannot_be_read_has_failed_and_is_not_unseen(
    done: Project, draw_image: DrawImage
) -> None:
    """Root can read everything, so the journal is told what a worker would tell it."""
    shut = draw_image(done.inbox / "shut.jpg", 99)
    (found,) = (found for found in walk(bytes(done.inbox), frozenset([b"jpg"]))
                if found.path == bytes(shut))  # fmt: skip
    assert found.signature is not None
    journal = Journal.open(done.state)
    journal.enqueue([Sighting(found.path, found.signature)], Priority.LIVE)
    (job,) = journal.claim(1, ())
    journal.finish([failed(job, "the file cannot be opened", MODEL, again=True)], 0)
    assert journal.unseen([Sighting(found.path, found.signature)])  # the next scan takes it again
    journal.close()
    verdict = verify(load(done.config))
    assert verdict.files == {"classified": COUNT, "failed": 1}
    assert verdict.file_faults.named == []


def test_verify_never_blames_a_daemon_at_work(project: Project, draw_image: DrawImage) -> None:
    """It reads while rows are on their way from the journal to the file."""
    project.configure(batch={"size": 1}, thumbnails={"when": "none"})
    for number in range(1500):
        draw_image(project.inbox / f"{number:04}.jpg", number)
    settings = load(project.config)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        journal = Journal.open(project.state, read_only=True)
        beside = 0
        while (seen := project.csv.read_bytes().count(b"\n") - 1) < 1500:
            assert daemon.process.poll() is None
            # Without the patience that `verify` has on top of it.
            assert row_faults(project.csv, journal, seen).named == []
            if beside % 20 == 0:
                verdict = verify(settings)
                assert verdict.adds_up, list(verdict.lines())
            beside += 1
        journal.close()
        assert beside > 100
        assert daemon.stop() == 0
    assert faults(project) == []
