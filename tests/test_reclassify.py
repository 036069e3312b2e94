"""classifyd reclassify: rows of a new model for old images, and what the labels would become."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import Project
from variants import variant

from classifier import modelfile
from classifier.read import Signature
from daemon.conditions import parsed
from daemon.errors import ConditionError
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.row import word
from daemon.settings import DEFAULT_MODEL

MARK = "new_"
IMAGES = 30


@pytest.fixture
def project(
    tmp_path: Path, compiled_cache: Path, shipped_model: Path, draw_image: DrawImage
) -> Project:
    """Classified by one model, with one failed image; another model stands in its place now."""
    shutil.copy(shipped_model, tmp_path / "model.keras")
    project = Project(tmp_path, compiled_cache, model="model.keras")
    for number in range(IMAGES):
        draw_image(project.inbox / "a" / f"{number}.jpg", number)
    (project.inbox / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    assert project.classifyd("run", "--once").returncode == 0
    variant(
        project.folder / "model.keras", project.state / "models", tmp_path / "other.keras", MARK
    )
    (tmp_path / "other.keras").rename(tmp_path / "model.keras")
    return project


def model_of(project: Project) -> str:
    return word(modelfile.digest_of(project.folder / "model.keras"), 12)


def test_a_new_row_of_the_new_model(project: Project) -> None:
    before = project.csv.read_bytes()
    said = project.classifyd("reclassify", "--where", "model!=current", "--dry-run")
    assert said.returncode == 0, said.stderr
    assert f"matching   {IMAGES + 1:,} images" in said.stdout
    assert "the same   1\n" in said.stdout  # it fails as before
    assert f"other      {IMAGES}, from ▸ to:" in said.stdout
    table = re.findall(r"^ +(\w+) +▸ (\w+) +(\d+)$", said.stdout, re.MULTILINE)
    assert sum(int(count) for *_, count in table) == IMAGES
    assert all(after == MARK + label for label, after, _ in table)
    assert project.csv.read_bytes() == before

    queued = project.classifyd("reclassify", "--where", "model!=current")
    assert f"queued     {IMAGES + 1}; `classifyd run` does them" in queued.stdout
    status = project.classifyd("status").stdout
    assert f"waiting    {IMAGES + 1} (0 from the inbox, {IMAGES + 1} to be reclassified)" in status
    again = project.classifyd("reclassify", "--where", "model!=current")
    assert "queued     0" in again.stdout
    assert f"waiting    {IMAGES + 1} already" in again.stdout

    assert project.classifyd("run", "--once").returncode == 0
    after = project.csv.read_bytes()
    assert after.startswith(before)  # the old ones stay
    rows = project.rows[IMAGES + 1 :]
    assert Counter(row["path"] for row in rows) == Counter(
        row["path"] for row in project.rows[: IMAGES + 1]
    )
    assert {row["model"] for row in rows} == {model_of(project)}
    assert sum(row["label"].startswith(MARK) for row in rows) == IMAGES
    assert project.classifyd("verify").returncode == 0, project.classifyd("verify").stdout

    # Once more, all of them by any condition: there is a row of this model, and none comes.
    queued = project.classifyd("reclassify", "--where", "model=current")
    assert f"queued     {IMAGES + 1}" in queued.stdout
    assert project.classifyd("run", "--once").returncode == 0
    assert project.csv.read_bytes() == after
    assert (
        "matching   0 images" in project.classifyd("reclassify", "--where", "model!=current").stdout
    )


def test_beside_a_daemon(project: Project, draw_image: DrawImage) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        queued = project.classifyd("reclassify", "--where", "model!=current and label!=cat")
        assert "does them after all others" in queued.stdout
        expected = IMAGES + 1 + int(re.search(r"queued +(\d+)", queued.stdout)[1])  # type: ignore[index]
        draw_image(project.inbox / "live.jpg", 999)
        project.wait_for_rows(expected + 1)
        assert daemon.stop() == 0
    assert len(project.rows) == expected + 1
    assert project.row_of("live.jpg")["label"].startswith(MARK)
    assert project.classifyd("verify").returncode == 0


def test_gone_and_changed_ones_are_told(project: Project, draw_image: DrawImage) -> None:
    (project.inbox / "a" / "0.jpg").unlink()
    draw_image(project.inbox / "a" / "1.jpg", 1000)
    said = project.classifyd("reclassify", "--where", "status=classified").stdout
    assert f"matching   {IMAGES} images" in said
    assert f"gone       1: not there any more, such as {project.inbox}/a/0.jpg" in said
    assert "changed    1 since then" in said
    assert f"queued     {IMAGES - 2}" in said
    # What waits is written over: it is new, and gets its one row.
    draw_image(project.inbox / "a" / "2.jpg", 2000)
    assert project.classifyd("run", "--once").returncode == 0
    counts = Counter(row["path"] for row in project.rows)
    assert counts[f"{project.inbox}/a/0.jpg"] == 1
    assert set(counts.values()) == {1, 2}
    assert len(project.rows) == IMAGES + 1 + IMAGES - 1
    assert project.classifyd("verify").returncode == 0


@pytest.mark.parametrize(
    ("text", "sql", "values"),
    [
        ("model!=current", "r.model != ?", ("abc",)),
        ("model = 0123456789ab", "r.model = ?", ("0123456789ab",)),
        ("label=cat and confidence<0.6", "r.label = ? AND r.confidence < ?", ("cat", 0.6)),
        ("date>=2026-02", "substr(r.classified_at, 1, 7) >= ?", ("2026-02",)),
        ("folder=/srv/a/", "substr(r.path, 1, 7) = ?", (b"/srv/a/",)),
        ("label>cat", None, "label has no order"),
        ("status=good", None, "a status is one of classified, uncertain, failed"),
        ("confidence<low", None, "a confidence is a number"),
        ("date=yesterday", None, "a date is 2026-01-31"),
        ("colour=red", None, "'colour=red' is no condition. Allowed are model=current"),
        ("label=", None, "is no condition"),
        ("1=1; DROP TABLE results", None, "is no condition"),
    ],
)
def test_conditions(text: str, sql: str | None, values: object) -> None:
    if sql is None:
        with pytest.raises(ConditionError, match=re.escape(str(values))):
            parsed([text], "abc")
    else:
        assert parsed([text], "abc") == (sql, values)


def test_a_condition_that_is_none_ends_with_2(project: Project) -> None:
    said = project.classifyd("reclassify", "--where", "colour=red")
    assert said.returncode == 2
    assert "'colour=red' is no condition" in said.stderr


def test_a_journal_of_the_version_before_is_brought_up(project: Project) -> None:
    """As an upgrade finds it: with what waits."""
    with sqlite3.connect(project.state / "journal.sqlite") as db:
        db.execute("ALTER TABLE arrivals DROP COLUMN anew")
        db.execute("ALTER TABLE arrivals DROP COLUMN wanted")
        db.execute("DROP TABLE deliveries")
        db.execute("DROP TABLE moves")
        db.execute("DROP TABLE retired")
        db.execute("DROP TABLE parts")
        db.execute("PRAGMA user_version = 5")
    db.close()
    said = project.classifyd("status")
    assert said.returncode == 1
    assert "`classifyd run` brings it there at its start" in said.stderr
    run = project.classifyd("run", "--once")
    assert run.returncode == 0, run.stderr
    assert "journal.sqlite is of version 7 now" in run.stderr
    assert len(project.rows) == IMAGES + 1
    assert project.classifyd("verify").returncode == 0


def test_it_waits_until_the_new_model_serves(project: Project, draw_image: DrawImage) -> None:
    """The order of an upgrade: the file is put in place, and the command given at once."""
    (new, old) = (project.folder / "model.keras", project.folder / "old.keras")
    shutil.copy(new, project.folder / "new.keras")
    digest = word(modelfile.digest_of(new), 12)
    shutil.copy(Path(DEFAULT_MODEL), old)
    old.rename(new)
    with project.started("run") as daemon:
        daemon.says("watching")
        (project.folder / "new.keras").rename(new)
        queued = project.classifyd("reclassify", "--where", "model!=current")
        assert f"queued     {IMAGES + 1}" in queued.stdout
        project.wait_for_rows(2 * (IMAGES + 1))
        assert daemon.stop() == 0
    assert Counter(row["model"] for row in project.rows)[digest] == IMAGES + 1
    assert project.classifyd("verify").returncode == 0


def test_one_that_waits_already_is_done_anew(project: Project) -> None:
    digest = model_of(project)
    path = project.inbox / "a" / "0.jpg"
    sighting = Sighting(bytes(path), Signature.of(path.stat()), len(bytes(project.inbox)))
    with closing(Journal.open(project.state)) as journal:
        assert journal.enqueue_again([sighting]) == 1
        assert journal.enqueue_anew([sighting], digest) == 1
        assert journal.enqueue_anew([sighting], digest) == 0
        assert journal.claim(1, (), model="0123456789ab") == []
        (job,) = journal.claim(1, (), model=digest)
        assert (job.anew, job.attempt) == (True, 1)


def test_names_may_have_the_word_in_them() -> None:
    found = parsed(["label=rock and roll and folder=/srv/cats and dogs and confidence<0.5"], "x")
    assert found.values == ("rock and roll", b"/srv/cats and dogs/", 0.5)
    assert parsed(["folder=inbox"], "x").values == (bytes(Path("inbox").absolute()) + b"/",)
