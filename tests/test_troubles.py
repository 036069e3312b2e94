"""What is wrong just now."""

from __future__ import annotations

from daemon.troubles import Kind, Trouble, Troubles


def test_it_comes_changes_and_goes() -> None:
    clock = iter([100.0, 200.0, 300.0])
    troubles = Troubles(clock=lambda: next(clock))
    assert troubles.note(Kind.DISK_FULL, "no room in /a")
    assert not troubles.note(Kind.DISK_FULL, "no room in /a")
    assert troubles.note(Kind.DISK_FULL, "no room in /b")  # the same trouble, since as long
    assert troubles.text(Kind.DISK_FULL) == "no room in /b"
    assert troubles.note(Kind.NO_EVENTS, "deaf")
    assert list(troubles.all().items()) == [
        (Kind.DISK_FULL, Trouble(100.0, "no room in /b")),
        (Kind.NO_EVENTS, Trouble(200.0, "deaf")),
    ]
    assert troubles.note(Kind.DISK_FULL, "")
    assert not troubles.note(Kind.DISK_FULL, "")
    assert troubles.text(Kind.DISK_FULL) == ""
    assert troubles.changes == 4


def test_when_it_began_is_told_in_utc() -> None:
    assert Trouble(0.0, "").since_utc == "1970-01-01T00:00:00+00:00"
