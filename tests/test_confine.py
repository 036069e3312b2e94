"""What a confined process cannot do, each tried in a real one; and that it could before."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import signal
from pathlib import Path

import pytest
from confined_process import attempt, lacks
from conftest import DrawImage
from daemon_process import Project

from daemon import seccomp

GIGABYTE = "bytearray(1 << 30)"


def _says(path: str) -> str:
    """The content of a file of the kernel; nothing if there is none."""
    return Path(path).read_text().strip() if Path(path).exists() else ""


FORBIDDEN = {
    "Landlock": [
        "(outside / 'new').write_bytes(b'')",
        "(outside / 'there').write_bytes(b'')",
        "os.truncate(outside / 'there', 0)",
        "(outside / 'there').unlink()",
        "(outside / 'there').rename(writable / 'there')",
        "(writable / 'there').hardlink_to(outside / 'there')",
        "(outside / 'new').mkdir()",
        "(outside / 'new').symlink_to('there')",
        "(writable / 'new').symlink_to('there')",
        "os.mkfifo(writable / 'new')",
        "os.kill(os.getppid(), 0)",
    ],
    "seccomp": [
        "socket.socket()",
        "socket.socketpair()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.fork() or os._exit(0)",
        "(outside / 'there').chmod(0o600)",
        "os.utime(outside / 'there')",
        "os.chown(outside / 'there', -1, os.getgid())",
        "os.kill(os.getppid(), 0)",
        "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
        "os.truncate(outside / 'there', 0)",
        "os.open(outside / 'there', os.O_RDONLY | os.O_TRUNC)",
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)",
        "fcntl.ioctl(terminal(), termios.TIOCSTI, b'x')",
    ],
    "limits": [
        GIGABYTE,
        "(writable / 'large').write_bytes(bytes(2 << 20))",
        "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    ],
}


@pytest.mark.parametrize(
    ("layer", "code"), [(layer, code) for layer, codes in FORBIDDEN.items() for code in codes]
)
def test_what_is_forbidden(layer: str, code: str, tmp_path: Path) -> None:
    if lacks(layer, tmp_path):
        pytest.skip(f"the kernel has no {layer}")
    if "setrlimit" in code and os.geteuid() == 0:
        pytest.skip("root may raise limits")
    if "TIOCSTI" in code and _says("/proc/sys/dev/tty/legacy_tiocsti") != "1":
        pytest.skip("this kernel lets nobody type into a terminal")
    if "RLIMIT_CORE" in code and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("core files are forbidden here already")
    by = "seccomp" if layer == "seccomp" else "all"
    confined = attempt(tmp_path, code, confined=True, by=by)
    assert confined.returncode != 0, confined.stdout
    assert re.search(
        r"PermissionError|MemoryError|File too large|cross-device|not allowed", confined.stderr
    )
    free = attempt(tmp_path, code, confined=False)
    assert free.returncode == 0, free.stderr


@pytest.mark.parametrize(
    "code",
    [
        "(writable / 'day').mkdir(); (writable / 'day' / 'a.jpg').write_bytes(bytes(1000))",
        "(writable / 'a').write_bytes(b'1'); (writable / 'a').write_bytes(b'2')",
        "assert (outside / 'there').read_bytes()",
        "thread = threading.Thread(target=print); thread.start(); thread.join()",
        "bytearray(100 << 20)",
        "os.kill(os.getpid(), 0); signal.raise_signal(signal.SIGCONT)",
        "resource.setrlimit(resource.RLIMIT_CPU, (100, 100))",
        "assert os.open(writable / 'a', os.O_RDWR | os.O_CREAT | os.O_TRUNC)",
        "import decimal, sqlite3, _ctypes",
    ],
)
def test_what_a_worker_needs(code: str, tmp_path: Path) -> None:
    done = attempt(tmp_path, code, confined=True)
    assert done.returncode == 0, done.stderr


def test_threads_that_run_already_are_under_seccomp_too(tmp_path: Path) -> None:
    if lacks("seccomp", tmp_path):
        pytest.skip("the kernel has no seccomp")
    code = """
go, said = threading.Event(), []
def later():
    go.wait()
    try: socket.socket()
    except PermissionError: said.append("refused")
thread = threading.Thread(target=later); thread.start()
print(confine([writable], 200 << 20, 1 << 20))
go.set(); thread.join(); print(*said)
"""
    done = attempt(tmp_path, code, confined=False)
    assert "refused" in done.stdout, done.stderr
    if "Landlock" in done.stdout and "no Landlock" not in done.stdout:
        abi = int(re.findall(r"Landlock (\d+)", done.stdout)[0])
        assert abi >= 8 or "(one of 2 threads)" in done.stdout


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    done = attempt(tmp_path, "print(resource.getrlimit(resource.RLIMIT_CORE))", confined=True)
    assert "(0, 0)" in done.stdout


def test_a_process_that_computes_too_long_is_ended_by_the_kernel(tmp_path: Path) -> None:
    spin = "limit = ComputingTime(0.1); limit.renew()\nwhile True: pass"
    assert attempt(tmp_path, spin, confined=True).returncode == -signal.SIGXCPU
    done = attempt(
        tmp_path,
        "limit = ComputingTime(0.1)\nwhile time.process_time() < 4: limit.renew()",
        confined=True,
    )
    assert done.returncode == 0, done.stderr


def test_computing_time_is_given_for_every_thread(tmp_path: Path) -> None:
    """As much as they can use up before a `renew` is more than a look at the clock, on top."""
    code = """
limit = ComputingTime(10, threads=4)
limit.renew()
given = resource.getrlimit(resource.RLIMIT_CPU)[0]
resource.setrlimit(resource.RLIMIT_CPU, (given + 1000, -1))
limit.renew()  # it lasts: nothing is asked of the system
kept = resource.getrlimit(resource.RLIMIT_CPU)[0]
time.sleep(ComputingTime.LASTS)
limit.renew()
print(given, kept - given, resource.getrlimit(resource.RLIMIT_CPU)[0] - given)
"""
    done = attempt(tmp_path, code, confined=False)
    given, kept, renewed = map(int, done.stdout.split())
    assert 4 * (10 + 0.5) + 1 <= given < 60
    assert kept == 1000
    assert renewed <= 1


def test_a_limit_of_computing_time_that_is_there_already_is_kept(tmp_path: Path) -> None:
    """As `ulimit -t` or a service manager sets it; asking for more is an error."""
    code = """
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
ComputingTime(3600).renew()
print(resource.getrlimit(resource.RLIMIT_CPU))
"""
    assert "(600, 600)" in attempt(tmp_path, code, confined=False).stdout


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    code = """
from daemon import landlock, seccomp
landlock.SYS_CREATE_RULESET = 1000  # no such call, as on an older kernel
seccomp.MACHINES.clear()
print(confine([writable], 200 << 20, 1 << 20))
"""
    done = attempt(tmp_path, code, confined=False)
    assert "no Landlock (Function not implemented), no seccomp (not known on" in done.stdout


def test_a_folder_that_is_not_there_is_no_want_of_landlock(tmp_path: Path) -> None:
    if lacks("Landlock", tmp_path):
        pytest.skip("the kernel has no Landlock")
    done = attempt(tmp_path, "confine([outside / 'there'], 200 << 20, 1 << 20)", confined=False)
    assert "NotADirectoryError" in done.stderr


def test_the_numbers_are_those_of_the_system() -> None:
    headers = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
    header = Path("/usr/include", headers.get(platform.machine(), "none"))
    if not header.exists():
        pytest.skip("the headers of Linux are not installed")
    defined = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)\b", header.read_text()))
    column, _, own = seccomp.MACHINES[platform.machine()]
    ours = {name: numbers[column] for name, numbers in seccomp.FORBIDDEN.items()}
    for name, unless in seccomp.conditions(1).items():
        ours[name.split()[0]] = unless.numbers[column]
    ours |= {"seccomp": own, "clone3": seccomp.CLONE3}
    known = {name: number for name, number in ours.items() if name in defined and number}
    assert len(known) > 60
    assert {name: int(defined[name]) for name in known} == known


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


def in_force(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_the_workers_of_a_daemon_are_confined(project: Project, draw_image: DrawImage) -> None:
    project.configure(workers=1)
    with project.started("run") as daemon:
        daemon.says("each worker is confined by ")
        draw_image(project.inbox / "a.jpg")
        project.wait_for_rows(1)
        (worker,) = daemon.workers
        assert "NoNewPrivs:\t1" in in_force(worker)
        if ", seccomp," in daemon.log:
            assert "Seccomp:\t2" in in_force(worker)
        assert resource.prlimit(worker, resource.RLIMIT_CORE) == (0, 0)
        assert 2e9 < resource.prlimit(worker, resource.RLIMIT_AS)[0] < 6e9
        assert resource.prlimit(worker, resource.RLIMIT_CPU)[0] < 1000
        assert "NoNewPrivs:\t0" in in_force(daemon.pid)
        assert daemon.stop() == 0
    project.check_rows(1)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_thumbnails_folder_made_anew_is_written_to(
    project: Project, draw_image: DrawImage, workers: int
) -> None:
    """The right to write goes with the folder; a worker gives way to one that has the new one.

    No image is to blame, however many workers with the old one it comes to.
    """
    project.configure(workers=workers)
    with project.started("run") as daemon:
        daemon.says("confined")
        draw_image(project.inbox / "a.jpg")
        project.wait_for_rows(1)
        shutil.rmtree(project.results / "thumbnails")
        draw_image(project.inbox / "b.jpg", 1)
        project.wait_for_rows(2)
        assert daemon.stop() == 0
    row = project.row_of("b.jpg")
    assert row["status"] == "classified", row["reason"]
    assert (project.results / row["thumbnail"]).is_file()


@pytest.mark.slow
def test_keras_runs_confined(tmp_path: Path, small_models: Path, draw_image: DrawImage) -> None:
    """A model that LiteRT does not take: TensorFlow, with all its threads, in the worker."""
    (tmp_path / "empty").mkdir()
    project = Project(
        tmp_path,
        tmp_path / "empty",
        workers=1,
        model=str(small_models / "bicubic.keras"),
        labels={"names": ["cat", "dog", "owl"]},
    )
    for number in range(6):  # batches of more than one size
        draw_image(project.inbox / f"{number}.jpg", number)
    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    assert "confined by" in done.stderr
    project.check_rows(6)


@pytest.mark.slow
def test_a_slow_network_is_not_taken_to_hang(
    tmp_path: Path, small_models: Path, draw_image: DrawImage
) -> None:
    """All images of a batch together take longer than `image_seconds`."""
    (tmp_path / "empty").mkdir()
    project = Project(
        tmp_path,
        tmp_path / "empty",
        workers=1,
        model=str(small_models / "slow.keras"),
        labels={"names": ["cat", "dog", "owl"]},
        batch={"size": 64},
        limits={"image_seconds": 1},
    )
    for number in range(64):
        draw_image(project.inbox / f"{number}.jpg", number)
    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    assert "no progress" not in done.stderr
    project.check_rows(64)
    draw_image(project.inbox / "one_more.jpg", 99)
    project.configure(
        workers=1, model=str(small_models / "slow.keras"),
        labels={"names": ["cat", "dog", "owl"]}, limits={"image_seconds": 0.01},
    )  # fmt: skip
    refused = project.classifyd("run", "--once")
    assert refused.returncode == 1
    assert "`limits.image_seconds` allows 0.01 s: allow more" in refused.stderr
