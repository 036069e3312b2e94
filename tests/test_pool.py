"""The pool with real processes that really crash and hang: the guilty image fails, and only it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from daemon_process import SECONDS, children, is_running, wait_for
from strange_worker import FORGERIES

from classifier.compile import Program
from classifier.contract import Contract
from classifier.header import DEFAULT_FORMATS
from classifier.read import Signature
from daemon.errors import PoolError
from daemon.jobs import Job, Outcome, identifier
from daemon.messages import Plan
from daemon.pool import Pool
from daemon.signals import Signals
from daemon.worker_process import WORDS_BYTES

MakePool = Callable[..., Pool]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    program = Program(Path("a.keras"), "0" * 64, Contract(("a", "b"), 8, 8, 3), None, "")
    return Plan(
        program, tmp_path, tmp_path, "none", 0.0, False, 1_000_000, 1_000_000, 10, DEFAULT_FORMATS
    )


@pytest.fixture
def make_pool(plan: Plan) -> Iterator[MakePool]:
    pools: list[Pool] = []

    def make(
        workers: int = 1,
        image_seconds: float = 20.0,
        module: str = "strange_worker",
        worker_images: int = 1000,
    ) -> Pool:
        pools.append(Pool(plan, workers, image_seconds, worker_images, module))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    assert children(os.getpid()) == []


def jobs_of(folder: Path, names: Sequence[str]) -> list[Job]:
    jobs = []
    for seq, name in enumerate(names, 1):
        path = folder / name
        path.write_text(name)
        known = frozenset({"a" * 64})  # else a worker could not do without a row
        jobs.append(Job(seq, os.fsencode(path), Signature.of(path.stat()), 0, "2026-01-01", known))
    return jobs


def finish(pool: Pool, *batches: Sequence[Job]) -> dict[str, Outcome]:
    """Put batches through the pool, as the service does; the outcomes by the files' names."""
    waiting = list(batches)
    outcomes: dict[str, Outcome] = {}
    deadline = time.monotonic() + SECONDS
    with Signals() as signals:
        while len(outcomes) < sum(map(len, batches)):
            now = time.monotonic()
            assert now < deadline, f"only {len(outcomes)} after {SECONDS} s"
            for batch in pool.collect(now):
                for outcome in batch:
                    name = Path(os.fsdecode(outcome.job.path)).name
                    assert name not in outcomes, "done twice"
                    outcomes[name] = outcome
            while waiting and pool.room:
                pool.submit(waiting.pop(0))
            signals.wait(pool.events, 0.1)
    assert not pool.in_hand
    return outcomes


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def reasons(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.row.reason for name, outcome in outcomes.items() if outcome.row}


def test_exactly_the_guilty_images_fail(make_pool: MakePool, tmp_path: Path) -> None:
    names = [f"{number:02}.jpg" for number in range(40)]
    names[3], names[4], names[30] = "segv.jpg", "exit.jpg", "raise.jpg"
    jobs = jobs_of(tmp_path, names)
    outcomes = finish(make_pool(workers=2), *(jobs[start : start + 8] for start in range(0, 40, 8)))
    assert reasons(outcomes) == {
        "segv.jpg": "the decoder crashed on this image (SIGSEGV)",
        "exit.jpg": "the decoder crashed on this image (exit code 7)",
        "raise.jpg": "the decoder crashed on this image (exit code 1)",
    }
    row = outcomes["segv.jpg"].row
    assert row is not None
    assert (row.status, row.path) == ("failed", str(tmp_path / "segv.jpg"))
    assert row.bytes == len("segv.jpg")
    assert len(row.sha256) == 64


def test_every_image_of_a_batch_is_guilty(make_pool: MakePool, tmp_path: Path) -> None:
    names = [f"segv{number}.jpg" for number in range(4)]
    assert len(reasons(finish(make_pool(), jobs_of(tmp_path, names)))) == 4


def test_a_worker_that_hangs_is_killed(make_pool: MakePool, tmp_path: Path) -> None:
    names = ["a.jpg", "hang.jpg", "b.jpg", "c.jpg"]
    pool = make_pool(workers=2, image_seconds=1)
    finish(pool, jobs_of(tmp_path, ["warm.jpg"]))  # starting is no part of the test
    outcomes = finish(pool, jobs_of(tmp_path, names))
    assert reasons(outcomes) == {"hang.jpg": "decoding took longer than 1 s"}


def test_a_slow_batch_is_no_hanging_image(make_pool: MakePool, tmp_path: Path) -> None:
    """Eight images of 0.3 s each, and 1 s allowed: for each, not for all."""
    pool = make_pool(image_seconds=1)
    names = [f"slow{number}.jpg" for number in range(8)]
    assert reasons(finish(pool, jobs_of(tmp_path, names))) == {}
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_a_main_process_that_stood_still_is_no_hanging_image(
    make_pool: MakePool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its journal may have waited for the disk since it handed out the batch."""
    caplog.set_level("INFO")
    pool = make_pool(image_seconds=1)

    def is_ready() -> bool:
        assert list(pool.collect(time.monotonic())) == []
        return "each worker is confined" in caplog.text

    wait_for(is_ready, "the worker is ready")
    pool.submit(jobs_of(tmp_path, ["slow.jpg"]))
    (worker,) = children(os.getpid())
    assert list(pool.collect(time.monotonic() + 100)) == []
    assert children(os.getpid()) == [worker]


def test_a_crash_before_any_image_was_looked_at_blames_none(
    make_pool: MakePool, tmp_path: Path
) -> None:
    (tmp_path / "crash_at_start_2").touch()
    pool = make_pool()
    assert reasons(finish(pool, jobs_of(tmp_path, ["a.jpg"]))) == {}
    assert len((tmp_path / "starts").read_text().splitlines()) == 3


def test_a_worker_killed_once_blames_none(make_pool: MakePool, tmp_path: Path) -> None:
    """An operator or the kernel may kill it at whatever image it is."""
    pool = make_pool(image_seconds=1)
    finish(pool, jobs_of(tmp_path, ["warm.jpg"]))
    (victim,) = children(os.getpid())
    jobs = jobs_of(tmp_path, ["slow.jpg"])
    pool.submit(jobs)
    os.kill(victim, 9)
    wait_for(lambda: not is_running(victim), "it is dead")
    outcomes: list[Outcome] = []

    def collected() -> bool:
        outcomes.extend(outcome for batch in pool.collect(time.monotonic()) for outcome in batch)
        return bool(outcomes)

    wait_for(collected, "the image is done")
    assert [outcome.row for outcome in outcomes] == [None]


def test_workers_that_never_come_up(make_pool: MakePool, tmp_path: Path) -> None:
    (tmp_path / "crash_at_start_99").touch()
    pool = make_pool(workers=2)
    with pytest.raises(PoolError) as caught:
        finish(pool, jobs_of(tmp_path, ["a.jpg"]))
    assert str(caught.value) == (
        "the worker processes do not come up: the library libstrange.so is missing"
    )


def test_a_module_that_is_not_there(make_pool: MakePool, tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="No module named no_such_worker"):
        finish(make_pool(module="no_such_worker"), jobs_of(tmp_path, ["a.jpg"]))


def test_trouble_with_the_disk_is_not_the_images_fault(make_pool: MakePool, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        finish(make_pool(), jobs_of(tmp_path, ["a.jpg", "disk.jpg"]))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/results/thumbnails/a.jpg"


def test_much_output_neither_blocks_nor_is_kept(
    make_pool: MakePool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["noise1.jpg", "noise2.jpg", "noise3.jpg", "noise4_exit.jpg"]
    outcomes = finish(make_pool(image_seconds=5), jobs_of(tmp_path, names))
    assert list(reasons(outcomes)) == ["noise4_exit.jpg"]
    assert "premature end of data segment" in caplog.text
    assert max(len(record.getMessage()) for record in caplog.records) < WORDS_BYTES + 500


def test_a_batch_larger_than_the_pipe_to_a_worker_that_hangs(
    make_pool: MakePool, tmp_path: Path
) -> None:
    """Handing it out must not wait for the worker: nobody would be left to see that it hangs."""
    hanging, *others = jobs_of(tmp_path, ["hang.jpg", *(f"{number}.jpg" for number in range(50))])
    known = frozenset(f"{number:064x}" for number in range(200))
    large = [job._replace(known=known) for job in others]  # 700 kB
    pool = make_pool(image_seconds=1)
    finish(pool, jobs_of(tmp_path, ["warm.jpg"]))
    outcomes = finish(pool, [hanging], large)
    assert reasons(outcomes) == {"hang.jpg": "decoding took longer than 1 s"}


def test_an_image_that_takes_its_judge_along_has_no_digest(
    make_pool: MakePool, tmp_path: Path
) -> None:
    """Even to read it, a worker dies: then its looks stand for its content."""
    row = finish(make_pool(), jobs_of(tmp_path, ["segv_unreadable.jpg"]))["segv_unreadable.jpg"].row
    assert row is not None
    assert (row.status, row.sha256) == ("failed", "")
    assert row.reason == "the decoder crashed on this image (SIGSEGV)"


def test_an_image_that_its_judge_cannot_read_in_time(make_pool: MakePool, tmp_path: Path) -> None:
    """Its digest may be had later: it is taken up once more."""
    pool = make_pool(image_seconds=1)
    outcome = finish(pool, jobs_of(tmp_path, ["segv_stalled.jpg"]))["segv_stalled.jpg"]
    assert outcome.again
    assert outcome.row is not None
    assert outcome.row.reason == "the file cannot be read: that took longer than 1 s"


def test_a_worker_that_has_done_its_share_is_replaced(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=2, worker_images=10)
    jobs = jobs_of(tmp_path, [f"{number}.jpg" for number in range(80)])
    outcomes = finish(pool, *(jobs[start : start + 5] for start in range(0, 80, 5)))
    assert reasons(outcomes) == {}
    starts = (tmp_path / "starts").read_text().splitlines()
    assert 4 <= len(starts) <= 10  # at most 20 images each: two batches may be on their way
    assert len(set(starts)) == len(starts)


def test_the_same_guilty_bytes_are_no_news(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool()
    (job,) = jobs_of(tmp_path, ["segv.jpg"])
    row = finish(pool, [job])["segv.jpg"].row
    assert row is not None
    known = job._replace(known=frozenset([row.sha256]))
    outcome = finish(pool, [known])["segv.jpg"]
    assert outcome.row is None


def test_a_guilty_image_that_is_gone_meanwhile(make_pool: MakePool, tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, ["segv.jpg"])
    (tmp_path / "segv.jpg").unlink()
    row = finish(make_pool(), [job])["segv.jpg"].row
    assert row is not None
    assert (row.status, row.sha256, row.bytes) == ("failed", "", job.signature.size)


def test_replaced_workers_leave_nothing_behind(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(workers=2)
    finish(pool, jobs_of(tmp_path, ["warm.jpg"]))
    before = open_files()
    guilty = [f"exit{number}.jpg" for number in range(25)]  # each of them takes two workers
    batches = ([job] for job in jobs_of(tmp_path, guilty))
    assert len(reasons(finish(pool, *batches))) == 25
    assert len((tmp_path / "starts").read_text().splitlines()) >= 50
    assert open_files() == before
    with_zombies = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert len(with_zombies) == 2


def test_close_ends_the_workers_whatever_they_do(make_pool: MakePool, tmp_path: Path) -> None:
    before = open_files()
    pool = make_pool(workers=2)
    finish(pool, jobs_of(tmp_path, ["warm.jpg"]))
    pool.submit(jobs_of(tmp_path, ["hang.jpg"]))
    workers = children(os.getpid())
    assert len(workers) == 2
    pool.close()
    assert not any(map(is_running, workers))
    assert open_files() == before


def test_no_room_for_a_process(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    before = open_files()
    with pytest.raises(PoolError, match="could not be started: No such file or directory"):
        make_pool()
    assert open_files() == before


def test_an_answer_becomes_a_row_with_all_that_is_known_of_the_job(
    make_pool: MakePool, tmp_path: Path
) -> None:
    (job,) = jobs_of(tmp_path, ["answer"])
    row = finish(make_pool(), [job])["answer"].row
    assert row is not None
    assert (row.label, row.confidence, row.alternatives) == ("a", "0.7500", "b:0.25")
    assert (row.path, row.bytes, row.sha256) == (str(tmp_path / "answer"), 6, "a" * 64)
    assert (row.status, row.reason, row.thumbnail) == ("classified", "", "")
    assert row.id == identifier(job, "a" * 64, row.model)


@pytest.mark.parametrize(
    "name", ["pickle", "endless", "kind", "nested", "ready", "shrink", *FORGERIES]
)
def test_a_worker_that_was_taken_over_is_not_believed(
    make_pool: MakePool, tmp_path: Path, name: str
) -> None:
    """An image that runs code in a worker would like to run some in the main process, too."""
    names = ["a.jpg", "b.jpg", name, "c.jpg"]
    outcomes = finish(make_pool(), jobs_of(tmp_path, names))
    assert list(reasons(outcomes)) == [name]
    assert outcomes[name].job.path == os.fsencode(tmp_path / name)
    assert not (tmp_path / "harm").exists()
