"""The public Python API: `Classifier.open(path).classify(paths)` ▸ predictions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier import decode
from classifier.compile import Program, compiled
from classifier.contract import Contract, Description
from classifier.engine import Engine, KerasEngine, LiteRTEngine, batch_sizes
from classifier.errors import ImageError
from classifier.header import DEFAULT_FORMATS, Format
from classifier.read import MAX_BYTES, Signature, read
from classifier.scores import looks_unknown, to_probabilities

ALTERNATIVES = 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one image, or why it could not be asked.

    label, confidence: the most probable class and its probability, 0..1; '' and 0 with an `error`.
    alternatives: the next classes with their probabilities, most probable first.
    unknown: whether the image looks like none of the classes; False where the model cannot tell.
    width, height: of the image, in pixels; 0 where it could not be decoded.
    sha256, signature: of the bytes that were classified; None where they could not be read.
    picture: uint8 (rows, columns, 3) BGR of at most decode.PICTURE_SIDE, when asked for.
    """

    path: str | bytes
    label: str = ""
    confidence: float = 0.0
    alternatives: tuple[tuple[str, float], ...] = ()
    unknown: bool = False
    width: int = 0
    height: int = 0
    sha256: str | None = None
    signature: Signature | None = None
    error: ImageError | None = None
    picture: NDArray[np.uint8] | None = None


class Classifier:
    """A model, ready to run in this process. It holds no state but the network."""

    def __init__(self, engine: Engine, contract: Contract, digest: str) -> None:
        self.contract = contract
        self.digest = digest
        self._engine = engine

    @classmethod
    def open(
        cls,
        model: str | Path,
        cache: str | Path | None = None,
        description: Description | None = None,
        threads: int = 1,
        sha256: str | None = None,
    ) -> Classifier:
        """Open a `.keras` file, compiling its network if `cache` does not hold it yet.

        cache: a folder for compiled programs; the user's cache folder by default.
        description: labels and scaling, for a file that carries no contract of ours.
        sha256: what the file must have as its digest: 64 hex digits.

        Raises `ModelError` if the file cannot be used.
        """
        folder = Path(cache) if cache else Path.home() / ".cache" / "classifyd"
        return cls.from_program(compiled(Path(model), folder, description, pin=sha256), threads)

    @classmethod
    def from_program(cls, program: Program, threads: int = 1) -> Classifier:
        """Load what `compile.compiled` made; no Keras is imported for a compiled network."""
        engine: Engine
        if program.litert is not None:
            engine = LiteRTEngine(program.litert, program.contract, threads)
        else:
            engine = KerasEngine.open(program.model, program.contract)
        return cls(engine, program.contract, program.digest)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """How many images the network gets at once, in all sizes that there are, ascending."""
        return batch_sizes(self.contract)

    def warm_up(self, size: int = 1) -> None:
        """Run the network once, so that the first batch of this size does not wait for memory to be
        laid out."""
        shape = (size, self.contract.height, self.contract.width, self.contract.channels)
        self._engine.outputs(np.zeros(shape, np.uint8))

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, height, width, channels) as `decode` gives them ▸ float32 (n, classes)."""
        return to_probabilities(self.outputs(batch), self.contract)

    def outputs(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same images ▸ what the network gives, float32 (n, outputs): see `Contract.output`."""
        return self._engine.outputs(batch)

    def classify(
        self,
        paths: Sequence[str | bytes | Path],
        *,
        with_pictures: bool = False,
        max_bytes: int = MAX_BYTES,
        formats: frozenset[Format] = DEFAULT_FORMATS,
        roots: Sequence[int] | None = None,
        known: Sequence[Collection[str]] | None = None,
        at_once: int | None = None,
        on_file: Callable[[], None] = lambda: None,
        on_image: Callable[[], None] = lambda: None,
    ) -> list[Prediction]:
        """Predict every path, in order; a file that cannot be classified gives its error.

        formats: what an image may be encoded as, told by its content.
        roots: for each path, how many of its bytes name the folder beneath which no link is
        followed; see `read`.
        known: for each path, the SHA-256 of contents that are not looked at: no label, no error.
        at_once: how many images the network gets at a time; as many as is good for it by default.
        on_file is called before each file is read, on_image as it has been read, as the image has
        been decoded, and whenever the network ran: whoever watches over this process sees that it
        is alive, and whether it waits for a disk.
        """
        predictions: list[Prediction] = []
        at_once = at_once or self.batch_sizes[-1]
        for start in range(0, len(paths), at_once):
            part = slice(start, start + at_once)
            batch = [str(path) if isinstance(path, Path) else path for path in paths[part]]
            predictions += self._classify_batch(
                batch,
                roots[part] if roots else [None] * len(batch),
                known[part] if known else [()] * len(batch),
                with_pictures,
                max_bytes,
                formats,
                on_file,
                on_image,
            )
        return predictions

    def _classify_batch(
        self,
        paths: Sequence[str | bytes],
        roots: Sequence[int | None],
        known: Sequence[Collection[str]],
        with_pictures: bool,
        max_bytes: int,
        formats: frozenset[Format],
        on_file: Callable[[], None],
        on_image: Callable[[], None],
    ) -> list[Prediction]:
        shape = (self.contract.height, self.contract.width, self.contract.channels)
        predictions: list[Prediction] = []
        decoded: list[tuple[int, decode.Decoded]] = []  # place in `predictions`, and the image
        for path, root, contents in zip(paths, roots, known, strict=True):
            prediction = Prediction(path)
            on_file()
            try:
                content = read(path, max_bytes, root)
                on_image()
                prediction = replace(prediction, sha256=content.sha256, signature=content.signature)
                if content.sha256 not in contents:
                    image = decode.decode(
                        content.data, *shape, with_picture=with_pictures, formats=formats
                    )
                    decoded.append((len(predictions), image))
            except ImageError as error:
                prediction = replace(prediction, error=error)
            predictions.append(prediction)
            on_image()
        if decoded:
            outputs = self.outputs(np.stack([image.pixels for _, image in decoded]))
            scores = to_probabilities(outputs, self.contract)
            unknown = looks_unknown(outputs, self.contract)
            for (place, image), row, strange in zip(decoded, scores, unknown, strict=True):
                answered = self._answered(predictions[place], image, row)
                predictions[place] = replace(answered, unknown=bool(strange))
        on_image()
        return predictions

    def _answered(
        self, prediction: Prediction, image: decode.Decoded, scores: NDArray[np.float32]
    ) -> Prediction:
        if not np.isfinite(scores).all():
            error = ImageError("the model's answer to this image is not a number")
            return replace(prediction, error=error)
        order = np.argsort(-scores, kind="stable")[: ALTERNATIVES + 1]
        ranking = [(self.contract.labels[i], float(scores[i])) for i in order]
        return replace(
            prediction,
            label=ranking[0][0],
            confidence=ranking[0][1],
            alternatives=tuple(ranking[1:]),
            width=image.width,
            height=image.height,
            picture=image.picture,
        )
