"""config.yaml ▸ frozen, typed settings; or every mistake in it at once, each with its line."""

from __future__ import annotations

import contextlib
import os
import re
import reprlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from classifier.contract import Description, Output, Scaling
from classifier.header import DEFAULT_FORMATS, Format
from daemon.access import denied
from daemon.document import Place, read
from daemon.errors import SettingsError
from daemon.folders import is_among_thumbnails
from daemon.places import DEFAULT_MODEL, Places
from daemon.places import absolute as absolute_place
from daemon.row import THUMBNAILS
from daemon.sorting import Sorting, Template, absolute

DEFAULT_PATH = Path("config.yaml")


def _extension(text: str) -> str:
    if not text.isascii() or not text.isalnum():
        raise ValueError("must be letters and digits, without the dot")
    return text.lower()


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("must be the 64 digits that sha256sum prints")
    return text


def _address(text: str) -> str:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, text)
            return text
    raise ValueError("must be an IP address of this machine, such as 127.0.0.1")


def _template(text: str) -> str:
    Template(text)
    return text


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


class Metrics(_Section):
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    address: Annotated[str, AfterValidator(_address)] = "127.0.0.1"


class Limits(_Section):
    image_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    megapixels: Annotated[float, Field(gt=0, le=1000)] = 100.0
    megabytes: Annotated[float, Field(gt=0, le=4096)] = 256.0
    worker_images: Annotated[int, Field(ge=1)] = 100_000


class After(_Section):
    do: Literal["keep", "move"] = "keep"
    to: Annotated[str, Field(min_length=1), AfterValidator(_template)] = "sorted/{label}"
    failed_to: Annotated[str, Field(min_length=1), AfterValidator(_template)] = "sorted/failed"


class Retention(_Section):
    thumbnails_days: Annotated[float, Field(gt=0, le=36500)] | None = None
    thumbnails_megabytes: Annotated[float, Field(ge=1)] | None = None


class Settings(_Section):
    """All that config.yaml can say; it explains each setting. Paths are absolute."""

    inbox: Path
    results: Path
    state: Path
    model: Path = DEFAULT_MODEL
    model_sha256: Annotated[str, AfterValidator(_digest)] | None = None
    labels: Labels | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    unknown: bool = False
    thumbnails: Thumbnails = Thumbnails()
    after: After = After()
    retention: Retention = Retention()
    rotate: Literal["never", "monthly"] = "never"
    extensions: Annotated[
        tuple[Annotated[str, AfterValidator(_extension)], ...], Field(min_length=1, strict=False)
    ] = ("jpg", "jpeg", "png", "webp", "bmp")
    formats: Annotated[frozenset[Format], Field(min_length=1, strict=False)] = DEFAULT_FORMATS
    settle_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    rescan_seconds: Annotated[float, Field(ge=1, le=86400)] = 60.0
    watch: Literal["auto", "events", "poll"] = "auto"
    poll_seconds: Annotated[float, Field(ge=1, le=86400)] = 10.0
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    batch: Batch = Batch()
    limits: Limits = Limits()
    metrics: Metrics = Metrics()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "logfmt", "json"] = "auto"
    _folder: Path = PrivateAttr(default_factory=Path.cwd)  # that of the file

    @property
    def description(self) -> Description | None:
        """What `labels:` says of a model that says nothing itself."""
        if self.labels is None:
            return None
        return Description(self.labels.names, self.labels.scaling, self.labels.output)

    def of_file(self, path: Path) -> Settings:
        """Itself, now that it knows where templates begin."""
        self._folder = path.absolute().parent
        return self

    @property
    def places(self) -> Places:
        """Where everything is."""
        return Places(self.inbox, self.results, self.state, self.model, self.model_sha256)

    @property
    def ways(self) -> dict[str, str]:
        """The templates of `after:`, absolute, by their key."""
        texts = {"to": self.after.to, "failed_to": self.after.failed_to}
        return {key: absolute(text, self._folder) for key, text in texts.items()}

    @property
    def sorting(self) -> Sorting | None:
        """Where images are moved to when they are done; None if they are kept."""
        if self.after.do == "keep":
            return None
        return Sorting(os.fsencode(self.inbox), *self.ways.values())

    @property
    def worker_count(self) -> int:
        """One a processor that this process may use, unless said otherwise."""
        return self.workers or len(os.sched_getaffinity(0))


def load(path: Path, *, need_inbox: bool = True, writes: bool = True) -> Settings:
    """Read and check a configuration. Raises `SettingsError` with all that is wrong in it.

    need_inbox: whether the inbox has to be there and readable, as it has to for watching.
    writes: whether the folders that are ours have to be writable, as all but looking on needs.
    """
    document = read(path)
    values, lines = document.values, document.lines
    mistakes = [(line, f"{name}: is given twice") for line, name in document.repeated]
    paths: dict[str, Path] = {}
    for key in ("inbox", "results", "state", "model"):
        if isinstance(text := values.get(key), str):
            values[key] = Path(text)
            try:
                values[key] = paths[key] = absolute_place(text, path.absolute().parent)
            except ValueError as error:
                mistakes.append((lines.get((key,), 1), f"{key}: {error}; found {text!r}"))
    mistakes += [
        (lines.get((key,), 1), f"{key}: {what}")
        for key, what in _wrong_folders(paths, need_inbox, writes)
    ]
    try:
        settings = Settings.model_validate(values).of_file(path)
    except ValidationError as error:
        mistakes += [_mistake(detail, lines) for detail in error.errors()]
    else:
        mistakes += [
            (lines.get(("after", key), 1), f"after.{key}: {what}")
            for key, what in wrong_ways(settings)
        ]
    if mistakes:
        listed = "\n".join(f"{path}:{line}: {what}" for line, what in sorted(mistakes))
        raise SettingsError(listed)
    return settings


def _wrong_folders(
    paths: dict[str, Path], need_inbox: bool, writes: bool
) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of the folders as they are on this machine."""
    inbox = paths.get("inbox")
    checks = [("inbox", _wrong_inbox(inbox))] if inbox and need_inbox else []
    if "state" in paths and "results" in paths:
        checks.append(("state", _among_thumbnails(paths["state"], paths["results"])))
    if inbox and "results" in paths:
        checks.append(("inbox", _feeding_itself(inbox, paths["results"])))
    if writes:
        own = [key for key in ("results", "state") if key in paths]
        checks += [(key, _wrong_own(paths[key], inbox)) for key in own]
    for key, check in checks:
        try:
            yield from ((key, what) for what in check)
        except OSError as error:  # a name that is too long, a link to itself
            yield key, f"{error.filename} cannot be used: {error.strerror}"


def _wrong_inbox(inbox: Path) -> Iterator[str]:
    try:
        is_folder = stat.S_ISDIR(inbox.stat().st_mode)
    except FileNotFoundError:
        yield f"there is no folder {inbox}: make it, or name another"
        return
    except PermissionError:
        yield f"{inbox} cannot be read by this user: {denied(inbox.parent, os.X_OK)}"
        return
    if not is_folder:
        yield f"{inbox} is not a folder"
    elif reason := denied(inbox, os.R_OK | os.X_OK):
        yield f"{inbox} cannot be read by this user: {reason}"


def _feeding_itself(inbox: Path, results: Path) -> Iterator[str]:
    if is_among_thumbnails(inbox, results):
        yield f"{inbox} is among our own thumbnails, which are no new images. Name another folder"


def _among_thumbnails(state: Path, results: Path) -> Iterator[str]:
    if is_among_thumbnails(state, results):
        yield f"{state} is among our own thumbnails: name a folder outside of them"


def _wrong_own(folder: Path, inbox: Path | None) -> Iterator[str]:
    true = Path(os.path.realpath(folder))
    if inbox and true.is_relative_to(os.path.realpath(inbox)):
        # The thumbnails would be seen as new images, and so on without end.
        yield f"{folder} is inside the inbox {inbox}: name a folder outside of it"
    existing = next(parent for parent in (true, *true.parents) if parent.exists())
    if not existing.is_dir():
        yield f"{existing} is not a folder"
    elif reason := denied(existing, os.W_OK | os.X_OK):
        yield f"{existing} cannot be written by this user: {reason}"
    if true.is_dir() and true.stat().st_mode & stat.S_IWOTH:
        yield (
            f"{folder} can be written by every user of this machine, who could then change what "
            "stands in it: chmod o-w it (a share: mount it with another umask)"
        )


def wrong_ways(settings: Settings) -> Iterator[tuple[str, str]]:
    """(key of `after:`, what is wrong) of the folders that images are moved to."""
    if settings.after.do == "keep":
        return
    ours = {
        "inbox": settings.inbox, "thumbnails": settings.results / THUMBNAILS,
        "state": settings.state,
    }  # fmt: skip
    for key, text in settings.ways.items():
        template = Template(text)
        root = Path(os.path.realpath(template.root or "/"))
        if key == "failed_to" and "label" in template.fields:
            yield key, f"what has failed has no {{label}}; found {text!r}"
        for name, folder in ours.items():
            true = Path(os.path.realpath(folder))
            if root.is_relative_to(true):
                yield key, f"leads into our own {name}, {folder}; found {text!r}"
            elif template.fields and true.is_relative_to(root):
                what = f"could lead into our own {name}, {folder}: name a folder of its own before"
                yield key, f"{what} the first brace, such as sorted/{{label}}; found {text!r}"


SHOWN = reprlib.Repr()  # of a value, at most so much in a message
SHOWN.maxstring = 60
# What pydantic says in words of Python.
IN_WORDS = {
    "is_instance_of": "should be a path",
    "model_type": "should be settings of its own, one a line below it",
    "tuple_type": "should be a list",
    "string_type": "should be a text; put it in quotes",
    "literal_error": "should be {expected}",
    "too_short": "should have at least {min_length} entries",
    "invalid_key": "should be a name",
}


def _mistake(detail: ErrorDetails, lines: dict[Place, int]) -> tuple[int, str]:
    place: Place = tuple(map(str, detail["loc"]))
    # The place of a missing key is that of the mapping that lacks it.
    line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)
    name = ".".join(place)
    if detail["type"] == "extra_forbidden":
        return line, f"{name}: there is no such setting"
    if detail["type"] == "missing":
        return line, f"{name}: is missing"
    what = IN_WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))
    if detail["type"] in IN_WORDS:
        what = what.format(**detail.get("ctx", {}))
    return line, f"{name}: {what[0].lower()}{what[1:]}; found {_shown(detail['input'])}"


def _shown(value: Any) -> str:
    return SHOWN.repr(str(value) if isinstance(value, Path) else value)
