"""What a model file promises about its network: classes, input, scaling, output.

A `.keras` file is a zip. Ours holds one more member, `contract.json`, which Keras leaves alone on
loading. It is read here with `zipfile` alone, so knowing what a model is costs no import of Keras.
Only this module writes model files.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from classifier.errors import ModelError

Scaling = Literal["graph", "0..1", "-1..1"]
Output = Literal["softmax", "logits", "sigmoid"]

MEMBER = "contract.json"
VERSION = 1
# A contract is a page of text; anything longer is not one.
MAX_CONTRACT_BYTES = 1 << 20


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
    """

    labels: tuple[str, ...]
    height: int
    width: int
    channels: int
    scaling: Scaling = "graph"
    output: Output = "softmax"
    evidence: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ModelError("a classifier needs at least two class names")
        if not all(isinstance(label, str) and label.strip() for label in self.labels):
            raise ModelError("every class name must be a text that is not empty")
        repeated = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if repeated:
            raise ModelError(f"class names come twice: {', '.join(repeated)}")
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
            data = json.loads(text)
            version = data.pop("version")
            if version != VERSION:
                raise ModelError(
                    f"its contract has version {version}, and this classifyd reads {VERSION}: "
                    "update classifyd"
                )
            return cls(**{**data, "labels": tuple(data["labels"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"its {MEMBER} is damaged ({error}): train or describe it anew"
            ) from None


class SavableModel(Protocol):
    """The one method of a Keras model that this module needs."""

    def save(self, filepath: str) -> None: ...


def digest(path: Path) -> str:
    """SHA-256 of a model file as 64 hex digits; its first 12 name the model in results.csv."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelError(
            f"{path}: there is no model here. Make one with `classifyd-train train`, or name "
            "another under `model:` in config.yaml"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read: {error.strerror}") from None


def read(path: Path) -> Contract | None:
    """The contract inside a model file, or None for a Keras file that carries none of ours."""
    if path.suffix != ".keras":
        raise ModelError(
            f"{path}: a model is a .keras file. Load yours in Keras 3 and save it again with "
            "model.save('NAME.keras')"
        )
    digest(path)  # says why, if the file is missing or cannot be read
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if "config.json" not in members:
                raise ModelError(f"{path}: this is a zip file, but no Keras model is in it")
            if MEMBER not in members:
                return None
            if archive.getinfo(MEMBER).file_size > MAX_CONTRACT_BYTES:
                raise ModelError(f"its {MEMBER} is too large to be one")
            return Contract.from_json(archive.read(MEMBER))
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(
            f"{path}: the model file is damaged ({error}): copy or train it anew"
        ) from None
    except ModelError as error:
        message = str(error)
        raise ModelError(message if str(path) in message else f"{path}: {message}") from None


def write(model: SavableModel, path: Path, contract: Contract) -> None:
    """Save a Keras model with its contract inside; `path` holds the old file or the whole new one.

    The bytes and then the name are made durable, so that not even a power cut leaves half a model.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        draft = Path(folder) / "model.keras"
        model.save(str(draft))
        with zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MEMBER, contract.to_json())
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    folder_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
