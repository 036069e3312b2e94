"""A trained model ▸ the weights that another training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from classifier.compile import compiled
from classifier.engine import load_keras
from trainer.errors import TrainerError


@dataclass(frozen=True)
class Start:
    """A network that classifyd-train made, and what its outputs are called."""

    path: Path
    digest: str
    labels: tuple[str, ...]
    network: Any  # a keras.Model

    @classmethod
    def open(cls, path: Path) -> Start:
        """Raises `ModelError` if the file cannot be used."""
        # Compiled, it was judged in a process of its own; what is loaded is the copy of that.
        program = compiled(path, Path.home() / ".cache" / "classifyd")
        network = load_keras(program.model)
        inner = [layer for layer in network.layers if layer.name == "accurate"]
        if network.name == "mirrored" and inner:
            (network,) = inner
        return cls(path, program.digest, program.contract.labels, network)

    def check(self, network: keras.Model) -> None:
        """Raise `TrainerError` if the networks are not alike but for their classes."""
        self._pairs(network)

    def give_to(self, network: keras.Model, labels: Sequence[str]) -> None:
        """Copy all weights; in the last layer, those of classes that both know, by their names.

        Raises `TrainerError` if the networks are not alike.
        """
        *pairs, (my_head, other_head) = self._pairs(network)
        for old, new in pairs:
            new.set_weights(old.get_weights())
        common = [label for label in labels if label in self.labels]
        ours = [self.labels.index(label) for label in common]
        theirs = [labels.index(label) for label in common]
        head = other_head.get_weights()
        for target, source in zip(head, my_head.get_weights(), strict=True):
            target[..., theirs] = source[..., ours]
        other_head.set_weights(head)

    def _pairs(self, network: keras.Model) -> list[tuple[Any, Any]]:
        """(layer of ours, layer of the network's) for all that have weights."""
        mine = [layer for layer in self.network.layers if layer.weights]
        others = [layer for layer in network.layers if layer.weights]
        pairs = [*zip(mine[:-1], others[:-1], strict=False)]
        alike = len(mine) == len(others) and all(
            type(old) is type(new) and _shapes(old) == _shapes(new) for old, new in pairs
        )
        if not alike or _shapes(mine[-1], 0, -1) != _shapes(others[-1], 0, -1):
            raise TrainerError(
                f"{self.path}: --from takes a model that classifyd-train made with the same "
                f"--network, --input-size and --grey; this one is {self.network.name!r} and takes "
                f"{'x'.join(map(str, self.network.input_shape[1:]))}"
            )
        return [*pairs, (mine[-1], others[-1])]


def _shapes(layer: Any, *part: int) -> list[tuple[int, ...]]:
    """Of all weights of a layer; part: a slice of each shape."""
    wanted = slice(*part) if part else slice(None)
    return [tuple(np.shape(weight))[wanted] for weight in layer.get_weights()]
