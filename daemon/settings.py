"""config.yaml ▸ frozen, typed settings; or every mistake in it at once, each with its line."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from classifier.contract import Description, Output, Scaling
from daemon.errors import SettingsError

DEFAULT_PATH = Path("config.yaml")
DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "image_classifier.keras"


def _extension(text: str) -> str:
    if not text.isascii() or not text.isalnum():
        raise ValueError("must be letters and digits, without the dot")
    return text.lower()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Labels(_Section):
    names: Annotated[tuple[str, ...], Field(min_length=2, strict=False)]
    scaling: Scaling = "graph"
    output: Output | None = None


class Thumbnails(_Section):
    when: Literal["all", "uncertain", "none"] = "all"


class Batch(_Section):
    size: Annotated[int, Field(ge=1, le=1024)] = 64
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0


class Limits(_Section):
    image_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    megapixels: Annotated[float, Field(gt=0, le=1000)] = 100.0
    megabytes: Annotated[float, Field(gt=0, le=4096)] = 256.0


class Settings(_Section):
    """All that config.yaml can say; it explains each setting. Paths are absolute."""

    inbox: Path
    results: Path
    state: Path
    model: Path = DEFAULT_MODEL
    labels: Labels | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    thumbnails: Thumbnails = Thumbnails()
    extensions: Annotated[
        tuple[Annotated[str, AfterValidator(_extension)], ...], Field(min_length=1, strict=False)
    ] = ("jpg", "jpeg", "png", "webp", "bmp")
    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    rescan_seconds: Annotated[float, Field(ge=1, le=86400)] = 60.0
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    batch: Batch = Batch()
    limits: Limits = Limits()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def description(self) -> Description | None:
        """What `labels:` says of a model that says nothing itself."""
        if self.labels is None:
            return None
        return Description(self.labels.names, self.labels.scaling, self.labels.output)

    @property
    def worker_count(self) -> int:
        """One a processor that this process may use, unless said otherwise."""
        return self.workers or len(os.sched_getaffinity(0))


def load(path: Path, *, need_inbox: bool = True) -> Settings:
    """Read and check a configuration. Raises `SettingsError` with all that is wrong in it.

    need_inbox: whether the inbox has to be there and readable, as it has to for watching.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
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
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path}: must be `name: value` lines, as in the commented config.yaml")

    lines = dict(_lines(root))
    mistakes = [(line, f"{name}: is given twice") for line, name in _repeated(root)]
    base = path.absolute().parent
    settings = None
    for key in ("inbox", "results", "state", "model"):
        if isinstance(values.get(key), str):
            values[key] = Path(os.path.normpath(base / Path(values[key]).expanduser()))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        mistakes += [_mistake(detail, lines) for detail in error.errors()]
    else:
        mistakes += [
            (lines.get((key,), 1), f"{key}: {what}")
            for key, what in _wrong_folders(settings, need_inbox)
        ]
    if mistakes or settings is None:
        listed = "\n".join(f"{path}:{line}: {what}" for line, what in sorted(mistakes))
        raise SettingsError(listed)
    return settings


def _wrong_folders(settings: Settings, need_inbox: bool) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of the folders as they are on this machine."""
    inbox = settings.inbox
    if need_inbox:
        if not inbox.exists():
            yield "inbox", f"there is no folder {inbox}: make it, or name another"
        elif not inbox.is_dir():
            yield "inbox", f"{inbox} is not a folder"
        elif not os.access(inbox, os.R_OK | os.X_OK):
            yield "inbox", f"{inbox} cannot be read by this user: chmod or chown it"
    for key, folder in (("results", settings.results), ("state", settings.state)):
        if folder.resolve().is_relative_to(inbox.resolve()):
            # The thumbnails would be seen as new images, and so on without end.
            yield key, f"{folder} is inside the inbox {inbox}: name a folder outside of it"
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not existing.is_dir():
            yield key, f"{existing} is not a folder"
        elif not os.access(existing, os.W_OK | os.X_OK):
            yield key, f"{existing} cannot be written by this user: chmod or chown it"


Place = tuple[str | int, ...]
SHOWN = reprlib.Repr()  # of a value, at most so much in a message
SHOWN.maxstring = 60
MAX_DEPTH = 3  # labels.names.0


def _lines(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, int]]:
    """The line, from 1, of every key and list item in a document, no deeper than settings go."""
    if len(place) == MAX_DEPTH:  # aliases within aliases can make a tree without end
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*place, index), item.start_mark.line + 1
            yield from _lines(item, (*place, index))


def _repeated(node: yaml.Node, depth: int = 0) -> Iterator[tuple[int, str]]:
    """(line, key) of every key that stands twice in its mapping; YAML would take the last."""
    if isinstance(node, yaml.MappingNode) and depth < MAX_DEPTH:
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield key.start_mark.line + 1, name
            seen.add(name)
            yield from _repeated(value, depth + 1)


def _mistake(detail: ErrorDetails, lines: dict[Place, int]) -> tuple[int, str]:
    place: Place = tuple(detail["loc"])
    # The place of a missing key is that of the mapping that lacks it.
    line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)
    name = ".".join(map(str, place))
    if detail["type"] == "extra_forbidden":
        return line, f"{name}: there is no such setting"
    if detail["type"] == "missing":
        return line, f"{name}: is missing"
    what = detail["msg"].removeprefix("Value error, ")
    return line, f"{name}: {what[0].lower()}{what[1:]}; found {_shown(detail['input'])}"


def _shown(value: Any) -> str:
    return SHOWN.repr(str(value) if isinstance(value, Path) else value)
