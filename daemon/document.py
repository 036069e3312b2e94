"""A YAML file ▸ its values, and the line on which each of them stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from daemon.errors import SettingsError

# Enough for the names of many thousand classes. Beyond it a file is not read: that takes minutes.
MAX_BYTES = 1_000_000
# Aliases within aliases make a small file an endless one.
MAX_NODES = 200_000

Place = tuple[str, ...]


class Document(NamedTuple):
    """A configuration file: its values, and the line, from 1, of every key and list item in it."""

    values: dict[Any, Any]
    lines: dict[Place, int]
    repeated: list[tuple[int, str]]


class _Loader(yaml.SafeLoader):
    """YAML, but for dates: a folder may be called 2026-01-01."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> Document:
    """Read a configuration file. Raises `SettingsError` with what is wrong and what to do."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise SettingsError(f"{path}: is too large to be a configuration")
        loader = _Loader(data.decode())
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise SettingsError(
                f"{path}: must be `name: value` lines, as in the commented config.yaml"
            )
        if _size(root, {}) > MAX_NODES:
            raise SettingsError(f"{path}: refers to itself over and over, by its aliases (*name)")
        # Before its values are made: that puts what is merged (<<) in the place of the merging.
        lines, repeated = dict(_lines(root)), list(_repeated(root))
        values = loader.construct_document(root)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: there is no configuration here. Name one with --config FILE, or copy the "
            "commented config.yaml of classifyd"
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError(f"{place}: is not YAML: {getattr(error, 'problem', error)}") from None
    except RecursionError:
        raise SettingsError(f"{path}: is nested too deeply") from None
    except (LookupError, ValueError) as error:  # a number of 5000 digits, `!!bool maybe`
        raise SettingsError(f"{path}: holds a value that cannot be read: {error}") from None
    if not isinstance(values, dict):  # `!!set`
        raise SettingsError(f"{path}: must be `name: value` lines, as in the commented config.yaml")
    return Document(values, lines, repeated)


def _children(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """(name, where it stands, value) of every key or list item."""
    if isinstance(node, yaml.MappingNode):
        yield from ((str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((str(index), item, item) for index, item in enumerate(node.value))


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a document has once its aliases are followed."""
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # until it is known: what holds itself has no end
        known[id(node)] = 1 + sum(_size(value, known) for _, _, value in _children(node))
    return known[id(node)]


def _lines(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, int]]:
    for name, at, value in _children(node):
        yield (*place, name), at.start_mark.line + 1
        yield from _lines(value, (*place, name))


def _repeated(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """(line, key) of every key that stands twice in its mapping; YAML would take the last."""
    seen: set[str] = set()
    for name, at, value in _children(node):
        if name in seen:
            yield at.start_mark.line + 1, name
        seen.add(name)
        yield from _repeated(value)
