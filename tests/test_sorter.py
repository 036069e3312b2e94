"""Images that are done are moved to where they belong, and nothing is lost or overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deaths import Death, DiedError
from sorting_bench import Bench

from daemon import inside, moving
from daemon.sorter import Sorter
from daemon.sorting import Answered, Sorting, Template, folder_name

SHM = Path("/dev/shm")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    if not SHM.is_dir() or SHM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no other file system than that of the tests")
    folder = Path(tempfile.mkdtemp(dir=SHM))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["renamed", "linked", "copied"])
def ways(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Moved by a rename, by a link where no rename can be told not to replace, by a copy."""
    if request.param == "copied":
        return Bench(tmp_path, request.getfixturevalue("elsewhere") / "sorted")
    if request.param == "linked":
        monkeypatch.setattr(inside, "_renameat2", lambda: None)
    return Bench(tmp_path)


def test_each_goes_into_the_folder_of_its_label(ways: Bench) -> None:
    for number, label in enumerate(("cat", "dog", "cat")):
        ways.came(f"{number}.jpg", label, b"%d" % number)
    odd = ways.put(b"deep/\xff\xfe odd.jpg", b"odd")
    os.utime(odd, ns=(1, 123456789))
    ways.done(odd, "dog")
    unsure = ways.put("unsure.jpg", b"unsure")
    ways.done(unsure, "dog", "uncertain")
    ways.sort()
    assert ways.files == {
        "sorted/cat/0.jpg": b"0", "sorted/dog/1.jpg": b"1", "sorted/cat/2.jpg": b"2",
        "sorted/dog/\udcff\udcfe odd.jpg": b"odd", "sorted/uncertain/unsure.jpg": b"unsure",
    }  # fmt: skip
    moved = ways.to / "dog" / "\udcff\udcfe odd.jpg"
    assert moved.stat().st_mtime_ns == 123456789
    assert ways.trouble == ""
    assert ways.journal.moves_waiting() == 0


def test_a_name_that_is_taken_is_not_overwritten(ways: Bench) -> None:
    (ways.to / "cat").mkdir(parents=True)
    (ways.to / "cat/image.jpg").write_bytes(b"somebody's")
    rows = []
    for number in range(5):  # a camera that writes one name over and over
        path = ways.put("image.jpg", b"%d" % number)
        rows.append(ways.done(path))
        ways.sort()
    rows += [ways.done(ways.put(f"{name}/image.jpg", name.encode())) for name in ("a", "b")]
    ways.sort()
    expected = {"sorted/cat/image.jpg": b"somebody's"}
    for row, content in zip(rows, (b"0", b"1", b"2", b"3", b"4", b"a", b"b"), strict=True):
        assert row is not None
        expected[f"sorted/cat/image-{row.id[:8]}.jpg"] = content
    assert ways.files == expected


def test_a_name_that_is_taken_at_the_last_moment(
    ways: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ways.came("a.jpg")
    carry = moving.carry

    def late(move: moving.Move, hands: moving.Hands) -> moving.Step:
        if move.name == b"a.jpg":
            (ways.to / "cat/a.jpg").write_bytes(b"somebody's")
        return carry(move, hands)

    monkeypatch.setattr(moving, "carry", late)
    ways.sort()
    assert path.exists()
    ways.sort()
    assert (ways.to / "cat/a.jpg").read_bytes() == b"somebody's"
    assert sorted(ways.files.values()) == [b"an image", b"somebody's"]


def test_what_changed_since_stays(ways: Bench) -> None:
    changed = ways.came("changed.jpg")
    changed.write_bytes(b"another")
    touched = ways.came("touched.jpg")
    touched.touch()
    gone = ways.came("gone.jpg")
    gone.unlink()
    replaced = ways.came("replaced.jpg")
    replaced.unlink()
    replaced.symlink_to("changed.jpg")
    ways.sort()
    assert set(ways.files) == {"inbox/changed.jpg", "inbox/touched.jpg", "inbox/replaced.jpg"}
    assert ways.journal.moves_waiting() == 0
    # What was only touched has its row, and is moved when it was seen again.
    assert ways.done(touched) is None
    ways.sort()
    assert "sorted/cat/touched.jpg" in ways.files
    assert "inbox/touched.jpg" not in ways.files


def test_what_changes_in_the_very_moment_stays(
    ways: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file takes the name between the look and the step."""
    path = ways.came("a.jpg", content=b"1" * 3000000)

    def exchange() -> None:
        new = ways.put("aside.jpg", b"2" * 3000000)
        new.rename(path)

    for name in ("rename_new", "take_away"):
        function = getattr(moving, name)

        def exchanging(*arguments: object, _function: object = function) -> object:
            if path.exists() and path.read_bytes()[:1] == b"1":
                exchange()
            return _function(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(moving, name, exchanging)
    link = os.link

    def linking(*arguments: object, **named: object) -> None:
        if path.exists() and path.read_bytes()[:1] == b"1":
            exchange()
        link(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", linking)
    ways.sort()
    monkeypatch.undo()
    assert path.read_bytes()[:1] == b"2"
    assert set(ways.files) <= {"inbox/a.jpg", "sorted/cat/a.jpg"}
    assert ways.files.get("sorted/cat/a.jpg", b"1")[:1] == b"1"


def test_failed_ones_have_their_reason_beside_them(ways: Bench) -> None:
    (ways.to / "failed").mkdir(parents=True)
    (ways.to / "failed/b.jpg.reason.txt").write_bytes(b"somebody's")
    long = "x" * 251 + ".jpg"
    rows = {
        name: ways.done(ways.put(name, name.encode()), status="failed")
        for name in ("a.jpg", "b.jpg", long)
    }
    ways.sort()
    failed = ways.to / "failed"
    reason = (failed / "a.jpg.reason.txt").read_text()
    assert reason.startswith("it is torn\n")
    assert rows["a.jpg"] is not None
    assert rows["a.jpg"].id in reason
    assert rows["b.jpg"] is not None
    assert (failed / "b.jpg.reason.txt").read_bytes() == b"somebody's"
    assert (failed / f"b-{rows['b.jpg'].id[:8]}.jpg.reason.txt").exists()
    (shortened,) = failed.glob("xxx*.jpg")
    assert shortened.read_bytes() == long.encode()
    assert len(list(failed.iterdir())) == 7


def test_no_link_is_followed(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    bench.to.mkdir()
    (bench.to / "cat").symlink_to(tmp_path / "elsewhere")
    path = bench.came("a.jpg")
    deep = bench.came("deep/b.jpg", "dog")
    shutil.move(deep.parent, tmp_path / "outside")
    deep.parent.symlink_to(tmp_path / "outside")
    bench.sort()
    assert path.exists()
    assert (tmp_path / "outside/b.jpg").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert "a link, which is not followed" in bench.trouble
    (bench.to / "cat").unlink()
    bench.sort()
    assert (bench.to / "cat/a.jpg").exists()
    assert bench.trouble == ""  # what lies behind the other one is not in the inbox any more
    assert (tmp_path / "outside/b.jpg").exists()


def test_a_folder_that_may_not_be_written(bench: Bench) -> None:
    bench.to.mkdir()
    (bench.to / "cat").write_bytes(b"no folder")
    first = bench.came("a.jpg")
    other = bench.came("b.jpg", "dog")
    bench.sort()
    assert first.exists()
    assert not other.exists()
    assert "inbox/a.jpg could not be moved to" in bench.trouble
    assert "it is tried again" in bench.trouble
    bench.reopen()
    bench.sort()
    assert first.exists()
    (bench.to / "cat").unlink()
    bench.sort()
    assert (bench.to / "cat/a.jpg").exists()
    assert bench.trouble == ""


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_an_inbox_that_may_only_be_read(
    ways: Bench, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root may write anywhere, the system's answer is played."""
    path = ways.came("a.jpg")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_, **__: False)
        ways.sort()
    assert set(ways.files) == {"inbox/a.jpg"}
    assert "inbox/a.jpg could not be moved" in ways.trouble
    with monkeypatch.context() as patch:  # it says so only when the source is to go
        patch.setattr(os, "rename", refuse)
        patch.setattr(moving, "rename_new", lambda *a: a[0] == a[2] and inside.rename_new(*a))
        ways.sort()
    assert set(ways.files) == {"inbox/a.jpg"}
    assert path.exists()
    ways.sort()
    if path.exists():  # a link has changed how it looks, so it is seen again
        assert ways.done(path) is None
        ways.sort()
    assert set(ways.files) == {"sorted/cat/a.jpg"}
    assert ways.trouble == ""


def test_a_copy_that_somebody_changed_is_no_copy(
    bench: Bench, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the source is not deleted."""
    bench.journal.sorting = Sorting(bytes(bench.inbox), f"{elsewhere}/{{label}}", "/failed")
    path = bench.came("a.jpg")
    take_away = moving.take_away

    def late(move: moving.Move, hands: moving.Hands) -> None:
        (elsewhere / "cat/a.jpg").write_bytes(b"AN IMAGE")
        take_away(move, hands)

    monkeypatch.setattr(moving, "take_away", late)
    bench.sort()
    assert path.read_bytes() == b"an image"


def test_nothing_is_moved_before_its_row_is_safe(bench: Bench) -> None:
    synced = 0
    bench.sorter = Sorter(bench.journal, bench.troubles, lambda: synced)
    first, second = bench.came("a.jpg"), bench.came("b.jpg")
    bench.sort()
    assert (first.exists(), second.exists()) == (True, True)
    synced = 1
    bench.sort()
    assert (first.exists(), second.exists()) == (False, True)


def test_only_files_of_the_inbox_are_moved(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "inbox2/a.jpg"
    other.parent.mkdir()
    other.write_bytes(b"an image")
    bench.done(other)
    bench.sort()
    assert other.exists()


STEPS = (
    "begin_moves", "rename_new", "link", "unlink", "rename", "mkdir",
    "sync", "sync_names", "end_moves",
    "_write_note", "take_away", "utime",
)  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_cut_off_at_any_step_it_goes_on(
    ways: Bench, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process had died there; every file is in one place in the end."""
    for number in range(3):
        status = "failed" if number == 1 else "classified"
        ways.done(ways.put(f"{number}.jpg", b"%d" % number), status=status)
    deaths = 0
    for nth in range(1, 12):
        death = Death(nth, before=before)
        with monkeypatch.context() as patch:
            for owner in (os, moving, inside, ways.journal):
                if hasattr(owner, step):
                    patch.setattr(owner, step, death.wrap(getattr(owner, step)))
            # What tidies up after an error does not run in a process that is dead.
            if step != "unlink":
                patch.setattr(moving, "_without", lambda *_: None)
            try:
                ways.sort()
            except DiedError:
                deaths += 1
        ways.reopen()
    ways.sort()
    ways.sort()
    assert deaths or step not in ("begin_moves", "end_moves", "mkdir", "sync_names")
    assert {name for name in ways.files if "reason" not in name} == {
        "sorted/cat/0.jpg", "sorted/failed/1.jpg", "sorted/cat/2.jpg",
    }  # fmt: skip
    assert (ways.to / "failed/1.jpg.reason.txt").read_text().startswith("it is torn")
    assert not [name for name in ways.files if "/." in name]
    assert ways.journal.moves_waiting() == 0


def test_idle_it_writes_nothing(bench: Bench) -> None:
    bench.came("a.jpg")
    bench.sort()
    changes = bench.journal._db.total_changes
    for _ in range(5):
        bench.sort()
    assert bench.journal._db.total_changes == changes


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cat", "cat"), ("a/b", "a_b"), ("..", "_"), (".", "_"), ("", "_"),
        ("../../etc", "__.._etc"),
        ("Häuser 1", "Häuser 1"), ("a\nb\0", "a_b_"), ("x" * 300, "x" * 200),
        ("ä" * 200, "ä" * 100),
        (" x. ", "_x_"), ("C:", "C_"),
    ],
)  # fmt: skip
def test_a_label_is_made_a_safe_name(label: str, name: str) -> None:
    assert folder_name(label) == name


def test_templates() -> None:
    cat = Answered("cat", "classified", "abc", "2026-12-01T11:00:00.000+00:00")
    unsure = cat._replace(status="uncertain")
    place = Template("/s/{year}-{month}-{day}/{label}").place(cat)
    assert place == (b"/s/2026-12-01/cat", 2)
    assert Template("/s/{label}").place(unsure).folder == b"/s/uncertain"
    assert Template("/s/{status}/{label}").place(unsure).folder == b"/s/uncertain/cat"
    assert Template("/s/x{label}").place(cat) == (b"/s/xcat", 2)
    assert Template("/s/failed/").place(cat) == (b"/s/failed", 9)
    assert Template("/a{{b}}/{model}").place(cat) == (b"/a{b}/abc", 5)
    for wrong in ("{nothing}", "{", "{label!r}", "{label:3}", "{label.x}", "{}"):
        with pytest.raises(ValueError, match=r"brace|there is no"):
            Template(wrong)


def test_a_source_that_was_put_aside_is_not_forgotten(
    bench: Bench, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.journal.sort_by(Sorting(bytes(bench.inbox), f"{elsewhere}/{{label}}", "/failed"))
    bench.came("a.jpg")

    def fails(*_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(moving, "same_bytes", fails)  # the disk cannot read it back, for now
        bench.sort()
    assert bench.journal.moves_waiting() == 1
    bench.sort()
    assert [path.name for path in elsewhere.rglob("*.jpg")] == ["a.jpg"]
    assert not [*bench.inbox.iterdir()]
    assert bench.journal.moves_waiting() == 0


def test_a_long_copy_gives_signs_of_life(bench: Bench, elsewhere: Path) -> None:
    bench.journal.sort_by(Sorting(bytes(bench.inbox), f"{elsewhere}/{{label}}", "/failed"))
    bench.came("a.jpg", content=bytes(5 << 20))
    beats: list[int] = []
    sorter = Sorter(bench.journal, bench.troubles, lambda: 1 << 60, lambda: beats.append(1))
    sorter.tick(1.0, [])
    assert len(beats) == 5
