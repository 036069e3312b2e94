"""What a service manager is told, over real sockets."""

from __future__ import annotations

import socket
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
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "full"))  # and never read
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "full"))
        for _ in range(1000):
            notify(WATCHDOG="1")
