"""What a service manager is told, over real sockets."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from daemon.notify import notify


@pytest.mark.parametrize("kind", ["a file", "no file"])
def test_what_is_told_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name = str(tmp_path / "s") if kind == "a file" else f"\0{tmp_path}/s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        notify(READY="1", STATUS="two\nlines \udcff")
        assert manager.recv(4096) == b"READY=1\nSTATUS=two lines \\udcff"


def test_nobody_has_to_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify(READY="1")
    for gone in (tmp_path / "gone", "x" * 200):
        monkeypatch.setenv("NOTIFY_SOCKET", str(gone))
        notify(READY="1")


def test_a_busy_manager_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.notify.PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "busy"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "busy"))
        manager.settimeout(5)
        until_full = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 2
        for number in range(until_full):
            notify(STATUS=str(number))
        monkeypatch.setattr("daemon.notify.PATIENCE_SECONDS", 30)
        reader = threading.Timer(0.3, lambda: [manager.recv(4096) for _ in range(5)])
        reader.start()
        notify(READY="1")
        reader.join()
        told = [manager.recv(4096)]
        while told[-1] != b"READY=1":
            told.append(manager.recv(4096))
