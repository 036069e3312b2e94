# ruff: noqa: PTH103, PTH120, PTH211
"""Names of files that somebody chose to harm whoever reads them. They are bytes: no pathlib."""

from __future__ import annotations

import os
import random
from pathlib import Path

from trials.patched import tiny_jpegs

BYTES = [bytes([number]) for number in range(1, 256) if number != ord("/")]
LINKS_EACH = 10_000  # a file system allows so many names of one file, and some more

# Each is the beginning of a name; `.jpg` follows.
SPECIAL = [
    *(b"=cmd|' \\C calc'!A0", b"=1+1", b"@SUM(1+1)", b"+1", b"-1", b"-rf", b"--config", b"\t=1+1"),
    *(b"\r=1+1", b"\n=1+1", b"\r\n", b"a\r\nb", b"a\nb\n", b"a,b", b"a;b", b"a\tb", b"a|b"),
    *(b'"', b'""', b'a"b', b'","', b'"\n"', b'a""b,"c', b"'", b"'=1+1", b"''", b"`id`", b"$(id)"),
    *(b"\\", b"\\\\", b"\\x0a", b"\\u202e", b"\\x", b"\\n", b'\\"', b"a\\", b"%00", b"%2e%2e%2f"),
    *(b"\xef\xbb\xbfBOM", b"a\xef\xbb\xbfb", b"\xff\xfeutf16", b"\x01", b"\x7f"),
    *(b"\xc2\x85next line", b"\xe2\x80\xa8line", b"\xe2\x80\xa9paragraph", b"\x0b\x0c\x1c\x1d"),
    *("\u202egpj.exe".encode(), "\u061c\u200e\u200f\u2066\u2067\u2069".encode(), b"\xc2\xad"),
    *("🐱".encode(), "👩\u200d👩\u200d👧".encode(), "é".encode(), "e\u0301".encode(), "ß".encode()),
    *(b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xed\xa0\xbd\xed\xb8\xba", b"\xff", b"\xc3", b"\xf0\x9f"),
    *(b"\xc0\xaf", b"\xf5\x80\x80\x80", b"a\xc3", "\ufffd".encode(), "\ufffe\uffff".encode()),
    *("\ufdd0".encode(), "\U0001fffe".encode(), "\U000e0041".encode(), b"\xe2\x80\x8b"),
    *(b"\x1b[31mred", b"\x1b]0;title\x07", b"\x1b[2J", b"\x9b31m", b"\xc2\x9b31m", b"\x08\x08"),
    *(b" ", b"  a", b"a  ", b"a.", b"a...", b"a. ", b". ", b"a .jpg", b"\xc2\xa0", b"\xe3\x80\x80"),
    *(b"...", b"nul", b"con", b"NULL", b"NA", b"nan", b"true", b"2024-01-01", b"1e5", b"1:2", b"#"),
    *(b"n" * 251, "ä".encode() * 125, b"\xff" * 251, b"\n" * 251, b'"' * 251, b"\\" * 251),
    *(b"#REF!", b"<b>&amp;", b"]]>", b"{}", b"?", b"*", b"~", b"http:", b"mailto:a@b"),
]  # fmt: skip
IGNORED = [
    *(b"..a.jpg", b"..\\..\\a.jpg", b"...jpg", b".\x1b[31m.jpg", b"a.jpg ", b"a.jpg."),
    *(b"a.jpg\n", b"\x1b[31m.txt", b"\xff.txt", b"\xe2\x80\xae.txt", b"a.jpg\xff", b"jpg"),
]  # fmt: skip
FOLDERS = [
    b"fol\nder",
    b"\x1b[31m",
    b"\xff\xfe",
    b"=1+1",
    b"a, b",
    b'"',
    b"dots...",
    b"space ",
    b"\\",
]


def make(inbox: Path, *, short: bool) -> set[bytes]:
    """Fill an inbox; the paths that are to have a row."""
    root = os.fsencode(inbox)
    good, bad = tiny_jpegs(1)[0], b"\xff\xd8\xff no picture"
    wanted: set[bytes] = set()

    def write(path: bytes, content: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    for name in SPECIAL:
        for folder, content in ((b"good", good), (b"bad", bad)):
            path = b"/".join([root, folder, name + b".jpg"])
            write(path, content)
            if not name.startswith(b"."):
                wanted.add(path)
    for byte in BYTES:
        for name in (b"in" + byte + b"side.jpg", byte + b"start.jpg", b"end" + byte + b".jpg"):
            path = b"/".join([root, b"bytes", name])
            write(path, good)
            if not name.startswith(b"."):
                wanted.add(path)
    for folder in FOLDERS:
        path = b"/".join([root, folder, folder, b"a.jpg"])
        write(path, good)
        wanted.add(path)
    for name in IGNORED:
        write(b"/".join([root, b"ignored", name]), good)
    os.symlink(b"/etc/passwd", root + b"/ignored/\x1b[31mlink.jpg")
    pairs = [first + second for first in BYTES for second in BYTES]
    if short:
        pairs = random.Random(0).sample(pairs, 300)
    for number, pair in enumerate(pairs):
        source = b"%s/pairs/source%d.jpg" % (root, number // LINKS_EACH)
        if number % LINKS_EACH == 0:
            write(source, good)
            wanted.add(source)
        path = b"%s/pairs/p%s.jpg" % (root, pair)
        os.link(source, path)
        wanted.add(path)
    return wanted | _long(root, good)


def _long(root: bytes, content: bytes) -> set[bytes]:
    """Paths as long as the system allows, and one that is longer: that has no row."""
    limit = os.pathconf(root, "PC_PATH_MAX") - 1
    folder = root
    while len(folder) + 255 < limit - 300:
        folder += b"/" + b"\x1f" * 254
    while len(folder) + 250 < limit:
        folder += b"/" + b"m" * 100
    os.makedirs(folder)
    path = folder + b"/" + b"l" * (limit - len(folder) - 5) + b".jpg"
    with open(path, "wb") as file:
        file.write(content)
    deeper = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.mkdir(b"n" * 255, dir_fd=deeper)
        inner = os.open(b"n" * 255, os.O_RDONLY | os.O_DIRECTORY, dir_fd=deeper)
        os.close(os.open(b"too long.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=inner))
        os.close(inner)
    finally:
        os.close(deeper)
    return {path}
