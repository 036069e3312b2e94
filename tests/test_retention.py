"""Old thumbnails go, the oldest first, and nothing else does."""

from __future__ import annotations

import datetime
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project

from classifier.read import Signature
from daemon.census import Priority
from daemon.jobs import Outcome, Sighting
from daemon.journal import Journal
from daemon.retention import Keep, Retention
from daemon.row import Row

NOW = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)
BLOCK = 4096


class House:
    """results with thumbnails, one a day, the last one of today; and their journal."""

    def __init__(self, folder: Path, days: int) -> None:
        self.results = folder / "results"
        (folder / "state").mkdir()
        self.journal = Journal.open(folder / "state")
        self.thumbnails: list[Path] = []
        for ago in reversed(range(days)):
            self.draw(NOW - datetime.timedelta(days=ago))

    def draw(self, at: datetime.datetime) -> Outcome:
        number = len(self.thumbnails)
        path = b"/in/%d.jpg" % number
        self.journal.enqueue([Sighting(path, Signature(1, 1, 1))], Priority.LIVE)
        (job,) = self.journal.claim(1, ())
        name = f"thumbnails/{at.date()}/{number:020x}.jpg"
        row = Row(f"{number:020x}", path.decode(), "cat", "0.9", "", "classified", "", 1, 1, 1, "",
                  "", "", at.isoformat(timespec="milliseconds"), name)  # fmt: skip
        thumbnail = self.results / name
        thumbnail.parent.mkdir(parents=True, exist_ok=True)
        thumbnail.write_bytes(b"x" * BLOCK)
        self.thumbnails.append(thumbnail)
        outcome = Outcome(job, row=row)
        self.journal.finish([outcome], 0)
        return outcome

    def retention(self, **keep: float) -> Retention:
        return Retention(self.journal, self.results, Keep(**keep), NOW.timestamp)  # type: ignore[arg-type]

    @property
    def there(self) -> list[bool]:
        return [path.exists() for path in self.thumbnails]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, 10)
    yield built
    built.journal.close()


def work(retention: Retention, now: float = 0.0) -> None:
    retention.tick(now, [])
    while retention.next_due(now) <= now:
        retention.tick(now, [])


def test_by_days(house: House) -> None:
    strange = [
        house.thumbnails[0].with_name("a user's.jpg"),
        house.thumbnails[1].with_name("f" * 20 + ".jpg"),  # no row names it
        house.results / "thumbnails/holidays/00000000000000000000.jpg",
        house.results / "results.csv",
    ]
    strange[2].parent.mkdir()
    for path in strange:
        path.write_bytes(b"kept")
    work(house.retention(days=4.5))
    assert house.there == [False] * 5 + [True] * 5
    assert all(path.exists() for path in strange)
    days = {path.name for path in (house.results / "thumbnails").iterdir()}
    assert not house.thumbnails[3].parent.exists()
    assert days == {"2026-11-22", "2026-11-23", "holidays"} | {
        path.parent.name for path in house.thumbnails[5:]
    }
    assert len(list(house.journal.thumbnails())) == 5
    assert house.journal.retired_thumbnails() == 5


def test_by_size(house: House) -> None:
    retention = house.retention(size=6 * BLOCK)
    work(retention)
    assert house.there == [False] * 4 + [True] * 6
    for minute in range(1, 4):  # what comes is counted
        retention.tick(minute * 100.0 - 50, [house.draw(NOW)])
        work(retention, minute * 100.0)
    assert house.there == [False] * 7 + [True] * 6


def test_without_limits_nothing_goes(house: House) -> None:
    work(house.retention())
    assert all(house.there)


def test_idle_it_writes_nothing(house: House) -> None:
    retention = house.retention(days=5, size=3 * BLOCK)
    work(retention)
    changes = house.journal._db.total_changes
    for minute in range(1, 500):
        work(retention, minute * 100.0)
    assert house.journal._db.total_changes == changes


def test_cut_off_it_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted as retired is deleted after the next start."""
    unlink, calls = os.unlink, 0

    def dying(*arguments: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        unlink(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            work(house.retention(days=4.5))
    assert house.there == [False] * 2 + [True] * 8
    assert len(list(house.journal.thumbnails())) == 5  # no more are asked for
    work(house.retention(days=100))
    assert house.there == [False] * 5 + [True] * 5


def test_no_link_is_followed(house: House, tmp_path: Path) -> None:
    day = house.thumbnails[0].parent
    shutil.move(day, tmp_path / "elsewhere")
    day.symlink_to(tmp_path / "elsewhere")
    work(house.retention(days=4.5))
    assert (tmp_path / "elsewhere" / house.thumbnails[0].name).exists()


def test_a_folder_that_cannot_be_written_ends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    retention = house.retention(days=4.5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        work(retention)
        work(retention, 100.0)
    assert all(house.there)
    assert caplog.text.count("old thumbnails cannot be deleted") == 1
    work(retention, 200.0)
    assert house.there == [False] * 5 + [True] * 5


def test_a_day_that_is_waited_for_stays(house: House) -> None:
    house.journal.enqueue([Sighting(b"/in/old.jpg", Signature(1, 1, 1))], Priority.LIVE)
    house.journal._db.execute("UPDATE arrivals SET seen_at = '2026-11-23T00:00:00.000+00:00'")
    work(house.retention(days=4.5))
    days = {path.name for path in (house.results / "thumbnails").iterdir()}
    assert "2026-11-22" not in days
    assert "2026-11-23" in days


def test_verify_and_rebuild_know_of_it(
    tmp_path: Path, compiled_cache: Path, draw_image: DrawImage
) -> None:
    project = Project(tmp_path, compiled_cache, retention={"thumbnails_days": 30})
    for number in range(4):
        draw_image(project.inbox / f"{number}.jpg", number)
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(4)
    project.configure(retention={"thumbnails_days": 0.000001})
    draw_image(project.inbox / "new.jpg", 9)
    assert project.classifyd("run", "--once").returncode == 0
    thumbnails = [(project.results / row["thumbnail"]).exists() for row in project.rows]
    assert thumbnails[:4] == [False] * 4
    project.configure(retention={"thumbnails_days": 30})
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout
    assert "whose is retired" in verified.stdout
    (project.state / "journal.sqlite").write_bytes(b"damaged")
    for suffix in ("-wal", "-shm"):
        (project.state / f"journal.sqlite{suffix}").unlink(missing_ok=True)
    assert project.classifyd("rebuild").returncode == 0
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout


def test_what_no_row_names_counts_for_nothing(house: House) -> None:
    """As after a new state folder beside old thumbnails: the new ones must not go for these."""
    day = house.thumbnails[0].parent
    for number in range(300):
        (day / f"{number + 1000:020x}.jpg").write_bytes(b"x" * BLOCK)
    work(house.retention(size=6 * BLOCK))
    assert house.there == [False] * 4 + [True] * 6
    assert len([*day.iterdir()]) == 300


def test_the_thumbnails_may_be_on_another_disk(house: House, tmp_path: Path) -> None:
    (house.results / "thumbnails").rename(tmp_path / "large disk")
    (house.results / "thumbnails").symlink_to(tmp_path / "large disk")
    work(house.retention(days=4.5))
    assert house.there == [False] * 5 + [True] * 5
