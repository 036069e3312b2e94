"""The public Python API: `Classifier.open(path).classify(paths)` ▸ predictions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier import decode
from classifier.beneath import Folders
from classifier.compile import Program, compiled
from classifier.contract import Contract, Description
from classifier.engine import Engine, KerasEngine, LiteRTEngine, batch_sizes
from classifier.errors import ImageError
from classifier.header import DEFAULT_FORMATS, Format
from classifier.read import MAX_BYTES, Signature, read
from classifier.scores import looks_unknown, ranked, to_probabilities

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
        pixels = np.empty((len(paths), *shape), np.uint8)
        count = 0  # of those that were decoded
        looks: list[_Look] = []
        with Folders() as folders:
            for path, root, contents in zip(paths, roots, known, strict=True):
                sha256 = signature = image = error = None
                on_file()
                try:
                    data, sha256, signature = read(path, max_bytes, root, folders)
                    on_image()
                    if sha256 not in contents:
                        image = decode.decode(
                            data,
                            *shape,
                            with_picture=with_pictures,
                            formats=formats,
                            into=pixels[count],
                        )
                        count += 1
                except ImageError as reason:
                    error = reason
                looks.append(_Look(path, sha256, signature, image, error))
                on_image()
        answers = self._answers(pixels[:count])
        predictions = [
            _prediction(look, next(answers) if look.image is not None else None) for look in looks
        ]
        on_image()
        return predictions

    def _answers(self, batch: NDArray[np.uint8]) -> Iterator[_Answer]:
        """What the model says of each image, in order."""
        if not len(batch):
            return
        outputs = self.outputs(batch)
        scores = to_probabilities(outputs, self.contract)
        places, shares = ranked(scores, ALTERNATIVES + 1)
        is_finite = np.asarray(np.isfinite(scores).all(axis=1))
        rows = zip(
            places.tolist(),
            shares.tolist(),
            looks_unknown(outputs, self.contract).tolist(),
            is_finite.tolist(),
            strict=True,
        )
        labels = self.contract.labels
        for classes, probabilities, unknown, is_number in rows:
            ranking = zip([labels[place] for place in classes], probabilities, strict=True)
            yield _Answer(tuple(ranking), unknown, is_number)


class _Look(NamedTuple):
    """What was seen of a file; no image if its content is known or cannot be decoded."""

    path: str | bytes
    sha256: str | None
    signature: Signature | None
    image: decode.Decoded | None
    error: ImageError | None


class _Answer(NamedTuple):
    """What the model says of an image.

    ranking: the most probable classes with their probabilities, most probable first.
    is_number: whether all of its probabilities are.
    """

    ranking: tuple[tuple[str, float], ...]
    unknown: bool
    is_number: bool


def _prediction(look: _Look, answer: _Answer | None) -> Prediction:
    path, sha256, signature, image, error = look
    if answer is None or image is None:
        return Prediction(path, sha256=sha256, signature=signature, error=error)
    if not answer.is_number:
        error = ImageError("the model's answer to this image is not a number")
        return Prediction(path, sha256=sha256, signature=signature, error=error)
    (label, confidence), *alternatives = answer.ranking
    return Prediction(
        path,
        label,
        confidence,
        tuple(alternatives),
        answer.unknown,
        image.width,
        image.height,
        sha256,
        signature,
        picture=image.picture,
    )
