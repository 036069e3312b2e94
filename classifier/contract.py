"""What a model file promises about its network: classes, input, scaling, output.

A `.keras` file is a zip. Ours holds one more member, `contract.json`, which Keras leaves alone on
loading. It is read here without Keras, so knowing what a model is costs no import of that.
Only this module writes model files.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import unicodedata
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, get_args

from classifier import archive, modelfile
from classifier.durable import naming, sync_file, sync_folder
from classifier.errors import ModelError
from classifier.inherit import inherit

Scaling = Literal["graph", "0..1", "-1..1"]
Output = Literal["softmax", "logits", "sigmoid"]

MEMBER = "contract.json"
JOINERS = "\u200c\u200d"  # of letters, in Persian and Hindi
NO_SIGNS = "\ufffe\uffff"  # which XML, and so a spreadsheet, refuses
VERSION = 2
READABLE = (1, 2)  # 1 has no temperature and no threshold


@dataclass(frozen=True, slots=True)
class Description:
    """What the owner of a model without a contract must tell us about it."""

    labels: tuple[str, ...]
    scaling: Scaling = "graph"
    output: Output | None = None  # None: read off the last layer's activation


@dataclass(frozen=True, slots=True)
class Contract:
    """The promise of one model file.

    labels: class names, in the order of the network's outputs. A `sigmoid` network has one output,
        the probability of the second of its two labels.
    height, width, channels: the input, in pixels; channels is 1 (grey) or 3 (RGB).
    scaling: what the network wants of the uint8 values 0..255: `graph` takes them as they are and
        scales inside, `0..1` wants them divided by 255, `-1..1` divided by 127.5, less 1.
    output: what the network gives: probabilities (`softmax`), `logits`, or one `sigmoid`.
    evidence: what was measured about it when it was made; for people, not for the program.
    temperature: what logits are divided by, so that probabilities are as sure as they are right.
    energy_threshold: an image whose `scores.energy` is below it looks like none of the classes;
        None: the model cannot tell. Only of logits: probabilities do not say how large they were.
    """

    labels: tuple[str, ...]
    height: int
    width: int
    channels: int
    scaling: Scaling = "graph"
    output: Output = "softmax"
    evidence: dict[str, Any] = field(default_factory=dict, hash=False)
    temperature: float = 1.0
    energy_threshold: float | None = None

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ModelError("a classifier needs at least two class names")
        for label in self.labels:
            if isinstance(label, str) and not _is_unicode(label):
                raise ModelError(f"a class name must be UTF-8 text, and {label!r} is not")
            if not _is_line_of_text(label):
                raise ModelError(f"a class name must be one line of text, and {label!r} is not")
        repeated = sorted(label for label, count in Counter(self.labels).items() if count > 1)
        if repeated:
            raise ModelError(f"class names come twice: {', '.join(repeated)}")
        if not all(type(size) is int for size in (self.height, self.width, self.channels)):
            raise ModelError("height, width and channels must be whole numbers")
        if self.channels not in (1, 3):
            raise ModelError(f"an input has 1 channel (grey) or 3 (RGB), not {self.channels}")
        if not (1 <= self.height <= 4096 and 1 <= self.width <= 4096):
            raise ModelError(f"an input of {self.height}x{self.width} pixels is out of range")
        if self.scaling not in get_args(Scaling):
            raise ModelError(f"scaling is one of {', '.join(get_args(Scaling))}")
        if self.output not in get_args(Output):
            raise ModelError(f"output is one of {', '.join(get_args(Output))}")
        if self.output == "sigmoid" and len(self.labels) != 2:
            raise ModelError(f"a sigmoid tells two classes apart, not {len(self.labels)}")
        if not (_is_number(self.temperature) and 0.01 <= self.temperature <= 100):
            raise ModelError(f"a temperature of {self.temperature!r} is out of range: 0.01 to 100")
        if self.energy_threshold is not None:
            if not _is_number(self.energy_threshold):
                raise ModelError("energy_threshold must be a number")
            if self.output != "logits":
                raise ModelError("energy_threshold is for networks that give logits")
        if not isinstance(self.evidence, dict):
            raise ModelError("evidence must be names with their values")

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for an image."""
        return 1 if self.output == "sigmoid" else len(self.labels)

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Contract:
        """Raise `ModelError` for a text that is not a contract of a version we know."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"its {MEMBER} is no JSON ({error}): make it anew") from None
        if not isinstance(said, dict) or "version" not in said:
            raise ModelError(f"its {MEMBER} does not say its version: make it anew")
        version = said.pop("version")
        if version not in READABLE:
            raise ModelError(
                f"its contract has version {version!r}, and this classifyd reads up to {VERSION}: "
                "update classifyd"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(said.keys() - known):
            raise ModelError(
                f"its {MEMBER} says what is not known here: {ascii(', '.join(unknown))[1:-1]}"
            )
        if missing := sorted({"labels", "height", "width", "channels"} - said.keys()):
            raise ModelError(f"its {MEMBER} does not say: {', '.join(missing)}")
        if not isinstance(said["labels"], list):  # a text is a sequence too, of letters
            raise ModelError(f"its {MEMBER} must hold a list of labels")
        return cls(**{**said, "labels": tuple(said["labels"])})


def _is_number(value: object) -> bool:
    # Compared, not converted: a JSON integer can be larger than any float.
    largest = sys.float_info.max
    return type(value) in (int, float) and -largest <= value <= largest  # type: ignore[operator]


def _is_unicode(label: str) -> bool:
    """Not so: names of folders whose bytes are not UTF-8."""
    return not any(unicodedata.category(sign) == "Cs" for sign in label)


def _is_line_of_text(label: object) -> bool:
    """Not so: control characters, also those that turn the writing round, and line breaks."""
    return isinstance(label, str) and bool(label.strip()) and not any(map(_is_unseen, label))


def _is_unseen(sign: str) -> bool:
    if sign in JOINERS:
        return False
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") or sign in NO_SIGNS


def first(labels: tuple[str, ...]) -> str:
    """Some class names for a message, with dots if there are more."""
    return ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")


class SavableModel(Protocol):
    """The one method of a Keras model that this module needs."""

    def save(self, filepath: str) -> None: ...


def read(path: Path) -> Contract | None:
    """The contract inside a model file, or None for a Keras file that carries none of ours."""
    text = archive.member(path, MEMBER)
    return None if text is None else Contract.from_json(text)


def write(model: SavableModel, path: Path, contract: Contract) -> bool:
    """Save a Keras model with its contract inside; `path` holds the old file or the whole new one.

    The bytes and then the name are made durable, so that not even a power cut leaves half a model.
    Owner, group and mode are those of the old file, if there is one. Gives whether that could be.
    Raises `OSError` with the file's name.
    """
    kept = True
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        naming(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder,
    ):
        draft = Path(folder) / path.name  # so that a sweep knows whose it is
        model.save(str(draft))
        _append(draft, contract)
        if path.exists():
            kept = inherit(draft, path.stat())
        sync_file(draft)
        draft.replace(path)
        sync_folder(path.parent)
    return kept


def add(file: BinaryIO, digest: str, target: Path, contract: Contract) -> None:
    """Write `target`, which must not exist, as a copy of a model file with a contract added.

    file, digest: as `modelfile.opened` gives them. The other members keep their bytes, and whoever
    can read the file can read the copy; its bytes are made durable.

    Raises `ModelError` if there is a contract in it already, or if it is written to meanwhile.
    """
    with naming(target):
        modelfile.copy(file, digest, target)
        if archive.member(target, MEMBER) is not None:
            raise ModelError("it carries a contract already")
        _append(target, contract)
        target.chmod(stat.S_IMODE(os.fstat(file.fileno()).st_mode) & ~stat.S_IWOTH)
        sync_file(target)


def _append(path: Path, contract: Contract) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MEMBER, contract.to_json())
