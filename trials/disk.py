"""What a hostile file system could have left after a power cut, from the log of `faults.c`.

The promises that it keeps are those of POSIX, and no more. The data and the size of a file are safe
when the file was fsynced; a name, when the folder that it stands in was. What was not may be there
or not, in any mixture: see `Luck`.

An fsync that failed has lost what it was asked for: the kernel takes the pages for clean, and a
later fsync does not write them again. Names are not lost by it, but still not safe: file systems
keep those in a log of their own, and stop for good when it cannot be written.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterable, Iterator
from enum import Enum, IntEnum
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
# SQLite maps this one, and makes it anew whenever nobody has the journal open.
MAPPED = b"-shm"
HEAD = struct.Struct("=IIIIQQ")  # as `struct record` in faults.c


class Operation(IntEnum):
    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    RENAME = 4
    LINK = 5
    UNLINK = 6
    MKDIR = 7
    SYMLINK = 8
    FSYNC = 9
    UNSEEN = 10


class Record(NamedTuple):
    """One change. inode: of the file. offset: of a write; the size, of a truncation."""

    operation: Operation
    error: int
    inode: int
    offset: int
    first: bytes  # a path, or what was written
    second: bytes  # the new path of a rename, the target of a link


def read_log(path: Path) -> list[Record]:
    """What was logged. The last record may be cut short: the process was killed there."""
    data, at, records = path.read_bytes(), 0, []
    while at + HEAD.size <= len(data):
        operation, error, first, second, inode, offset = HEAD.unpack_from(data, at)
        at += HEAD.size
        if at + first + second > len(data):
            break
        records.append(
            Record(
                Operation(operation), error, inode, offset,
                data[at : at + first], data[at + first : at + first + second],
            )
        )  # fmt: skip
        at += first + second
    return records


class Luck(Enum):
    """What becomes of all that was not made safe."""

    NOTHING = "nothing of it is there"
    DATA = "all data is there, no names"
    NAMES = "all names and sizes are there, no data: zeros"
    IN_ORDER = "in each file and folder, what came first is there"
    TORN = "any sectors and any names are there"
    ALL = "all of it is there"


class Change(NamedTuple):
    """A write, or, without data, a new size."""

    offset: int
    data: bytes | None


class Node:
    """A file, a folder or a link: what is safe of it, and the changes that are not."""

    def __init__(self, kind: str, data: bytes = b"") -> None:
        self.kind = kind  # file, folder, link
        self.safe = bytearray(data)
        self.now = bytearray(data)  # as every process sees it
        self.pending: list[Change] = []
        self.names: dict[bytes, Node] = {}
        self.safe_names: dict[bytes, Node] = {}
        # Of a folder. A rename changes two names at once: neither stands without the other.
        self.pending_names: list[list[tuple[bytes, Node | None]]] = []

    def change(self, change: Change) -> None:
        _apply(self.now, change)
        self.pending.append(change)

    def rename(self, *names: tuple[bytes, Node | None]) -> None:
        _enter(self.names, names)
        self.pending_names.append(list(names))

    def make_safe(self) -> None:
        for change in self.pending:
            _apply(self.safe, change)
        for names in self.pending_names:
            _enter(self.safe_names, names)
        self.pending, self.pending_names = [], []

    def forget(self) -> None:
        """An fsync failed: what it was to write is never written, but for the new size."""
        for change in self.pending:
            size = change.offset + len(change.data or b"")
            if change.data is None or size > len(self.safe):
                _apply(self.safe, Change(size, None))
        self.pending = []


def _apply(data: bytearray, change: Change) -> None:
    end = change.offset + len(change.data or b"")
    if change.data is None and len(data) > end:
        del data[end:]
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    if change.data is not None:
        data[change.offset : end] = change.data


def _enter(folder: dict[bytes, Node], names: Iterable[tuple[bytes, Node | None]]) -> None:
    for name, node in names:
        if node is None:
            folder.pop(name, None)
        else:
            folder[name] = node


class Disk:
    """A folder as it was when the log began, and what the log did to it since."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._nodes: dict[int, Node] = {}  # by inode, as it is used now
        self.top = self._load(root)

    def _load(self, path: Path) -> Node:
        if path.is_symlink():
            node = Node("link", os.fsencode(path.readlink()))
        elif path.is_dir():
            node = Node("folder")
            for child in path.iterdir():
                node.rename((os.fsencode(child.name), self._load(child)))
            node.make_safe()
        else:
            node = Node("file", path.read_bytes())
        self._nodes[path.lstat().st_ino] = node
        return node

    def replay(self, record: Record) -> None:
        """Take one record in."""
        operation, first = record.operation, record.first
        if operation in (Operation.CREATE, Operation.MKDIR, Operation.SYMLINK):
            kind = {Operation.CREATE: "file", Operation.MKDIR: "folder"}.get(operation, "link")
            node = self._nodes[record.inode] = Node(kind, record.second)
            self._name(first, node)
        elif operation == Operation.WRITE:
            self._nodes[record.inode].change(Change(record.offset, first))
        elif operation == Operation.TRUNCATE:
            self._nodes[record.inode].change(Change(record.offset, None))
        elif operation == Operation.LINK:
            self._name(first, self._nodes[record.inode])
        elif operation == Operation.UNLINK:
            self._name(first, None)
        elif operation == Operation.RENAME:
            self._rename(first, record.second)
        elif operation == Operation.FSYNC:
            node = self._nodes[record.inode]
            if not record.error:
                node.make_safe()
            else:
                node.forget()

    def find(self, path: bytes) -> Node | None:
        """What is under this path now."""
        node: Node | None = self.top
        for name in path[len(self._root) :].strip(b"/").split(b"/"):
            node = node.names.get(name) if node is not None and name else node
        return node

    def _folder_of(self, path: bytes) -> tuple[Node, bytes]:
        folder, _, name = path.rpartition(b"/")
        node = self.find(folder)
        assert node is not None, path
        return node, name

    def _name(self, path: bytes, node: Node | None) -> None:
        folder, name = self._folder_of(path)
        folder.rename((name, node))

    def _rename(self, old: bytes, new: bytes) -> None:
        node = self.find(old)
        (source, old_name), (target, new_name) = self._folder_of(old), self._folder_of(new)
        assert source is target, "a rename from folder to folder: two fsyncs; say which comes first"
        source.rename((new_name, node), (old_name, None))

    def files(self) -> dict[str, bytes]:
        """What every process sees now: the data of files, the targets of links, by path."""
        found: dict[str, bytes] = {}
        waiting = [(b"", self.top)]
        while waiting:
            path, node = waiting.pop()
            if node.kind == "folder":
                waiting += [(path + b"/" + name, inner) for name, inner in node.names.items()]
            elif not path.endswith(MAPPED):
                found[os.fsdecode(path)] = bytes(node.now)
        return found

    def power_cut(self, target: Path, luck: Luck, chance: random.Random) -> None:
        """Make the folder as it could be found after a power cut now."""
        target.mkdir()
        links = (self._root, os.fsencode(target))
        written: dict[int, bytes] = {}  # a file with two names is written alike
        for path, node in _tree(self.top, os.fsencode(target), luck, chance):
            if node.kind == "folder":
                Path(os.fsdecode(path)).mkdir()
            elif node.kind == "link":
                at = os.fsdecode(bytes(node.safe).replace(*links))
                Path(os.fsdecode(path)).symlink_to(at)
            elif not path.endswith(MAPPED):
                data = written.setdefault(id(node), _survived(node, luck, chance))
                with open(path, "wb") as file:
                    file.write(data)


def _tree(
    folder: Node, path: bytes, luck: Luck, chance: random.Random
) -> Iterator[tuple[bytes, Node]]:
    names = dict(folder.safe_names)
    for change in _chosen(folder.pending_names, luck, chance):
        _enter(names, change)
    for name, node in names.items():
        yield path + b"/" + name, node
        if node.kind == "folder":
            yield from _tree(node, path + b"/" + name, luck, chance)


def _chosen(
    changes: list[list[tuple[bytes, Node | None]]], luck: Luck, chance: random.Random
) -> list[list[tuple[bytes, Node | None]]]:
    if luck in (Luck.NOTHING, Luck.DATA):
        return []
    if luck in (Luck.NAMES, Luck.ALL):
        return changes
    if luck == Luck.IN_ORDER:
        return changes[: chance.randint(0, len(changes))]
    return [change for change in changes if chance.random() < 0.5]


def _survived(node: Node, luck: Luck, chance: random.Random) -> bytes:
    """What a file holds."""
    if luck == Luck.NOTHING or not node.pending:
        return bytes(node.safe)
    data = bytearray(node.safe)
    if luck in (Luck.IN_ORDER, Luck.DATA, Luck.ALL):
        there = chance.randint(0, len(node.pending)) if luck == Luck.IN_ORDER else None
        for change in node.pending[:there]:
            _apply(data, change)
        return bytes(data)
    for change in node.pending:
        if change.data is None:
            if luck == Luck.NAMES or chance.random() < 0.5:
                _apply(data, change)
            continue
        if luck == Luck.NAMES:
            if change.offset + len(change.data) > len(data):
                _apply(data, Change(change.offset + len(change.data), None))
            continue
        for start, part in _sectors(change.offset, change.data):
            if chance.random() < 0.5:
                _apply(data, Change(start, part))
    return bytes(data)


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """A write, cut where the sectors of the disk begin."""
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
        yield offset + start, data[start:end]
        start = end
