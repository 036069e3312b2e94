"""results.csv by months: no row is lost or comes twice, whenever the process ends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project
from deaths import Death, DiedError

from classifier.read import Signature
from daemon import results as results_module
from daemon import rotation
from daemon.census import Priority
from daemon.jobs import Outcome, Sighting
from daemon.journal import Journal, Published
from daemon.results import FILE_NAME, ResultsFile
from daemon.row import HEADER, Row
from daemon.verify import row_faults


class House:
    """results and their journal; rows of any month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        self.lines: list[bytes] = []
        self.count = 0
        self.open()

    def open(self) -> None:
        self.journal = Journal.open(self.folder / "state")
        self.results = ResultsFile(self.folder, self.journal, monthly=True)

    def close(self) -> None:
        self.results.close()
        self.journal.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def commit(self, month: str) -> list[Published]:
        self.count += 1
        path = b"/in/%d.jpg" % self.count
        self.journal.enqueue([Sighting(path, Signature(1, 1, 1))], Priority.LIVE)
        (job,) = self.journal.claim(1, ())
        row = Row(f"{self.count:020x}", path.decode(), "cat", "0.9", "", "classified", "", 1, 1, 1,
                  f"{self.count}", "", "", f"{month}-15T00:00:00.000+00:00", "")  # fmt: skip
        published = self.journal.finish([Outcome(job, row=row)], 0, self.results.synced)
        self.lines += [one.line for one in published]
        return published

    def row(self, month: str) -> None:
        self.results.turn(month)
        self.results.append(self.commit(month))

    @property
    def files(self) -> dict[str, int]:
        """Rows by file, each of which begins with a header."""
        found = {}
        for path in sorted(self.folder.glob("*.csv*")):
            first, *lines = path.read_bytes().splitlines(keepends=True)
            assert first == HEADER, path
            found[path.name] = len(lines)
        return found

    def check(self) -> None:
        """All rows are there, in their order, each once; and `verify` finds so, too."""
        paths = [*rotation.part_files(self.folder), self.folder / FILE_NAME]
        whole = [path.read_bytes().splitlines(keepends=True) for path in paths]
        lines = [line for lines in whole for line in lines[1:]]
        assert lines == self.lines
        for part in self.journal.parts():
            path = self.folder / part.name
            assert row_faults(path, self.journal, part.last, part.after, part.last).count == 0
        path, after = self.folder / FILE_NAME, self.journal.last_part()
        assert row_faults(path, self.journal, len(self.lines), after).count == 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    built.close()


@pytest.fixture(params=["links", "no links"])
def any_disk(
    request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch
) -> House:
    if request.param == "no links":

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "no links here")

        monkeypatch.setattr(os, "link", refuse)
    return house


def test_a_file_for_each_month(any_disk: House) -> None:
    house = any_disk
    house.results.turn("2026-10")
    assert house.files == {FILE_NAME: 0}
    for month in ("2026-10", "2026-10", "2026-11", "2026-12", "2026-12", "2027-02"):
        house.row(month)
        house.check()
    assert house.files == {
        "results-2026-10.csv": 2, "results-2026-11.csv": 1, "results-2026-12.csv": 2, FILE_NAME: 1,
    }  # fmt: skip
    house.results.turn("2027-03")  # a month ends, and nothing comes
    assert house.files["results-2027-02.csv"] == 1
    assert house.files[FILE_NAME] == 0
    house.results.turn("2027-05")
    house.reopen()
    house.check()
    house.row("2027-05")
    house.check()
    assert len(house.files) == 5


def test_a_clock_that_is_set_back(house: House) -> None:
    house.row("2026-11")
    house.row("2027-03")  # it ran ahead
    house.row("2026-11")
    house.row("2026-12")
    house.row("2027-01")
    house.check()
    assert house.files == {
        "results-2026-11.csv": 1, "results-2026-11-2.csv": 2, "results-2026-12.csv": 1,
        FILE_NAME: 1,
    }  # fmt: skip


def test_nothing_is_overwritten(house: House) -> None:
    theirs = house.folder / "results-2026-10.csv"
    theirs.write_bytes(HEADER)
    house.row("2026-10")
    house.row("2026-11")
    assert theirs.read_bytes() == HEADER
    assert house.files == {"results-2026-10.csv": 0, "results-2026-10-2.csv": 1, FILE_NAME: 1}


def test_idle_it_writes_nothing(house: House) -> None:
    house.row("2026-10")
    house.row("2026-11")
    changes = house.journal._db.total_changes
    for _ in range(3):
        house.results.turn("2026-11")
    assert house.journal._db.total_changes == changes


STEPS = ("note_part", "note_closed", "link", "rename", "replace", "begin_anew", "name_new", "sync",
         "sync_folder")  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_cut_off_at_any_step_it_goes_on(
    any_disk: House, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = any_disk
    deaths = 0
    months = [f"2026-{month:02}" for month in range(1, 9)]
    for nth, month in enumerate(months):
        house.row(month)
        with monkeypatch.context() as patch:
            death = Death(1 + nth // 2, before=before)
            for owner in (os, Path, results_module, rotation, house.journal):
                if hasattr(owner, step):
                    patch.setattr(owner, step, death.wrap(getattr(owner, step)))
            try:
                house.row(f"2026-{int(month[5:]) + 1:02}")
            except DiedError:
                deaths += 1
        # What a reader finds in the meantime is whole, too.
        seen = [
            line
            for path in house.folder.glob("*.csv")
            for line in path.read_bytes().splitlines(keepends=True)[1:]
        ]
        assert set(house.lines[:-1]) <= set(seen)
        house.reopen()
        house.check()
    house.reopen()
    house.check()
    assert deaths or step in ("link", "rename")  # one or the other
    assert not list(house.folder.glob("*damaged*"))


def test_a_part_that_was_damaged_is_mended(house: House) -> None:
    for month in ("2026-10", "2026-10", "2026-11"):
        house.row(month)
    part = house.folder / "results-2026-10.csv"
    whole = part.read_bytes()
    part.write_bytes(whole.replace(b"cat", b"dog"))
    faults = row_faults(part, house.journal, 2, 0, 2)
    assert faults.count == 2
    house.reopen()
    assert part.read_bytes() == whole
    assert len(list(house.folder.glob("results-2026-10.csv.damaged-*"))) == 1


def test_a_part_that_was_taken_away_stays_away(house: House) -> None:
    for month in ("2026-10", "2026-11", "2026-12"):
        house.row(month)
    (house.folder / "results-2026-10.csv").unlink()
    house.reopen()
    assert house.files == {"results-2026-11.csv": 1, FILE_NAME: 1}


def test_nothing_is_written_through_a_link(house: House, tmp_path: Path) -> None:
    for month in ("2026-10", "2026-11", "2026-12"):
        house.row(month)
    other = tmp_path / "others.txt"
    other.write_text("somebody's")
    part = house.folder / "results-2026-10.csv"
    part.unlink()
    part.symlink_to(other)
    house.reopen()
    assert other.read_text() == "somebody's"


def test_a_row_in_another_file_is_a_fault(house: House) -> None:
    for month in ("2026-10", "2026-11"):
        house.row(month)
    path = house.folder / FILE_NAME
    with path.open("ab") as file:
        file.write(house.lines[0])
    (said,) = row_faults(path, house.journal, 2, 1).named
    assert "belongs into another file" in said


def test_with_the_real_daemon(tmp_path: Path, compiled_cache: Path, draw_image: DrawImage) -> None:
    """From never to monthly, to never, and through a rebuild."""
    project = Project(tmp_path, compiled_cache)
    for number in range(5):
        draw_image(project.inbox / f"{number}.jpg", number)
    assert project.classifyd("run", "--once").returncode == 0
    lines = project.csv.read_bytes().splitlines()[1:]
    with closing(sqlite3.connect(project.state / "journal.sqlite")) as db:
        db.execute("UPDATE results SET classified_at = '2026-01-31T23:59:59.999+00:00'")
        db.commit()
    project.configure(rotate="monthly")
    draw_image(project.inbox / "new.jpg", 9)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        daemon.says("begins anew; the rows so far are in results-2026-01.csv")
        verified = project.classifyd("verify")
        assert verified.returncode == 0, verified.stdout
        assert daemon.stop() == 0
    part = project.results / "results-2026-01.csv"
    assert part.read_bytes().splitlines()[1:] == lines
    assert len(project.rows) == 1

    for suffix in ("", "-wal", "-shm"):
        (project.state / f"journal.sqlite{suffix}").unlink(missing_ok=True)
    rebuilt = project.classifyd("rebuild")
    assert "rows       6 taken over" in rebuilt.stdout, rebuilt.stderr
    project.configure(rotate="never")
    assert project.classifyd("run", "--once").returncode == 0
    assert part.read_bytes().splitlines()[1:] == lines
    assert len(project.rows) == 1
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout
    assert "6 in the journal" in verified.stdout
    part.unlink()
    assert "taken away results-2026-01.csv" in project.classifyd("verify").stdout
