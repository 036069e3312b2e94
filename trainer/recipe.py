"""How to train each network, with a reason for every figure that somebody may want to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from trainer.errors import TrainerError

NetworkName = Literal["readme", "accurate"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
EPOCHS: dict[NetworkName, int] = {"readme": 10, "accurate": 24}
# A small data set is gone through more often: this many batches make a training.
STEPS: dict[NetworkName, int] = {"readme": 8000, "accurate": 1000}
FEW = 10_000  # images; fewer are learnt by heart unless they look different every time
# By how much of a side images are shifted, and how much of it is cut out. The accurate network can
# learn 50,000 images by heart, too.
SHIFT: dict[NetworkName, float] = {"readme": 2 / 32, "accurate": 3 / 32}
CUTOUT: dict[NetworkName, float] = {"readme": 0.0, "accurate": 10 / 32}
FULL_BATCH = 500  # of the accurate network; its rates are for this size
MIN_SIDE = {"readme": 24, "accurate": 16}  # pixels that are left after all its pooling
MAX_SIDE = 512
# Images that are looked at together where nothing is learnt: so many, of 32x32.
AT_ONCE = 256
HELD_OUT, MAX_HELD_OUT, HELD_OUT_IMAGES = 0.05, 0.2, 200


@dataclass(frozen=True)
class Recipe:
    """One training, but for its data. All of it decides what comes out.

    patience: stop when so many epochs brought nothing better on the held-out images; None: never.
    shift, cutout, mirror: how images are changed, as `augmented` takes it; without a shift they
    stay as they are.
    """

    network: NetworkName
    epochs: int
    batch_size: int
    seed: int
    height: int
    width: int
    channels: int
    patience: int | None
    shift: float
    cutout: float
    mirror: bool
    start: str | None = None  # the digest of the model that it goes on from

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def recipe_for(
    images: int,
    network: NetworkName = "readme",
    *,
    shape: tuple[int, int, int] = (32, 32, 3),
    epochs: int | None = None,
    seed: int = 1,
    patience: int | None = None,
    mirror: bool = True,
    start: str | None = None,
) -> Recipe:
    """The recipe for so many training images, where the user does not say otherwise."""
    check_size(network, shape)
    batch_size = 32
    if network == "accurate":
        batch_size = max(32, min(FULL_BATCH, images // 25))
    batch_size = max(4, min(batch_size, _fitting(FULL_BATCH, shape)))
    if epochs is None:
        steps = -(-images // batch_size)
        epochs = max(EPOCHS[network], -(-STEPS[network] // steps))
    if patience is None and network == "readme":
        patience = max(20, epochs // 5)
    changed = network == "accurate" or images < FEW
    return Recipe(
        network,
        epochs,
        batch_size,
        seed,
        *shape,
        patience=patience,
        shift=SHIFT[network] if changed else 0.0,
        cutout=CUTOUT[network] if changed else 0.0,
        mirror=mirror,
        start=start,
    )


def images_at_once(shape: tuple[int, int, int]) -> int:
    """How many images of (height, width, channels) are held together where none is learnt from."""
    return max(1, min(AT_ONCE, _fitting(AT_ONCE, shape)))


def _fitting(images: int, shape: tuple[int, int, int]) -> int:
    """How many of a shape have the pixels of so many of 32x32: memory grows with pixels."""
    return images * 32 * 32 // (shape[0] * shape[1])


def check_size(network: NetworkName, shape: tuple[int, int, int]) -> None:
    """Raise `TrainerError` if the network does not take (height, width, channels)."""
    if not MIN_SIDE[network] <= min(shape[:2]) <= max(shape[:2]) <= MAX_SIDE:
        raise TrainerError(
            f"the network {network} takes pictures of {MIN_SIDE[network]} to {MAX_SIDE} pixels a "
            f"side, not {max(shape[:2])}: give another --input-size"
        )


def held_out_share(images: int) -> float:
    """Which part of the training images is kept for validation and calibration: 200 of a few."""
    return min(MAX_HELD_OUT, max(HELD_OUT, HELD_OUT_IMAGES / max(1, images)))
