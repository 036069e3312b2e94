"""What `classifyd-train` can be told."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from classifier.contract import Output, Scaling
from trainer.recipe import FEW, MAX_SIDE, MIN_SIDE, NETWORKS

DEFAULT_OUTPUT = "image_classifier.keras"
Number = TypeVar("Number", int, float)


def _checked(
    kind: Callable[[str], Number], is_right: Callable[[Number], bool], what: str
) -> Callable[[str], Number]:
    """A type for argparse that says what a number must be."""

    def convert(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_right(value):
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
        return value

    return convert


_positive = _checked(int, lambda value: value >= 1, "a whole number from 1 on")
_side = _checked(
    int,
    lambda value: min(MIN_SIDE.values()) <= value <= MAX_SIDE,
    f"a whole number from {MIN_SIDE['readme']} (accurate: {MIN_SIDE['accurate']}) to {MAX_SIDE}",
)
_seed = _checked(int, lambda value: 0 <= value < 1 << 32, "a whole number from 0 to 4294967295")
_probability = _checked(float, lambda value: 0 <= value < 1, "from 0 to below 1, as 0.05")
_share = _checked(float, lambda value: 0 < value <= 1, "above 0 and at most 1, as 0.99")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, or `SystemExit` with 2 and a word on stderr."""
    return _parser().parse_args(_joined(argv))


def _joined(argv: Sequence[str]) -> list[str]:
    """With `--scaling=-1..1`: argparse takes a `-1..1` that stands alone for an option."""
    text = "\0".join(argv).replace("--scaling\0-1..1", "--scaling=-1..1")
    return text.split("\0") if argv else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="classifyd-train", description="Make and measure the models that classifyd runs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a model on CIFAR-10 or on folders of your own",
        description="Train a model and save it with its class names inside. The training curves "
        "and the metrics are written beside it.",
    )
    train.add_argument(
        "--data", default="cifar10", metavar="cifar10|FOLDER",
        help="train/CLASS/... and test/CLASS/..., or CLASS/... alone (default: cifar10)",
    )  # fmt: skip
    train.add_argument(
        "--data-name",
        metavar="TEXT",
        help="what reports call the data (default: the folder's name)",
    )
    train.add_argument(
        "--network", choices=NETWORKS, default="readme",
        help="readme: small and fast; accurate: right more often, slower to train and to run "
        "(default: readme)",
    )  # fmt: skip
    train.add_argument(
        "--input-size", type=_side, default=32, metavar="PIXELS",
        help="the side of the square that every image is scaled to: from "
        f"{MIN_SIDE['readme']} (accurate: {MIN_SIDE['accurate']}) to {MAX_SIDE} (default: 32)",
    )  # fmt: skip
    train.add_argument("--grey", action="store_true", help="learn from grey pictures")
    train.add_argument(
        "--no-mirror", action="store_true",
        help="mirrored images do not show their class any more (writing, left and right); the "
        f"readme network learns from mirrored ones if there are fewer than {FEW:,} images, the "
        "accurate one always",
    )  # fmt: skip
    train.add_argument(
        "--epochs", type=_positive, metavar="N",
        help="how many times every image is learnt from (default: 10, accurate: 8, and more if "
        "there are few images)",
    )  # fmt: skip
    train.add_argument(
        "--patience", type=_positive, metavar="N",
        help="stop if N epochs brought nothing better on the images that are held out (default: "
        "a fifth of the epochs, 20 at least; accurate: never)",
    )  # fmt: skip
    train.add_argument(
        "--from", type=Path, dest="start", metavar="MODEL",
        help="begin with the weights of a model that was trained here, also for other classes",
    )  # fmt: skip
    train.add_argument(
        "--resume", action="store_true",
        help="go on with a training that was interrupted; give its other options again",
    )  # fmt: skip
    train.add_argument(
        "--seed", type=_seed, default=1, metavar="N",
        help="the same seed on the same machine gives the same model (default: 1)",
    )  # fmt: skip
    train.add_argument(
        "--output", type=Path, default=Path(DEFAULT_OUTPUT), metavar="FILE",
        help=f"the model file (default: {DEFAULT_OUTPUT})",
    )  # fmt: skip

    evaluate = commands.add_parser(
        "evaluate",
        help="measure a model on labelled images",
        description="Measure a model on the test/ part of a folder, or on all of it if it has "
        "none, by the program that serves: how often it is right, whether it is as sure as it is "
        "right, what it mistakes for what, and what it says of pictures of no class.",
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="a .keras file")
    evaluate.add_argument(
        "--data", required=True, metavar="cifar10|FOLDER",
        help="images in folders named after the model's classes",
    )  # fmt: skip
    evaluate.add_argument("--data-name", metavar="TEXT", help="what the report calls the data")
    evaluate.add_argument(
        "--report", type=Path, metavar="FOLDER",
        help="where figures and pictures are written (default: MODEL's name with .report, beside "
        "it)",
    )  # fmt: skip
    evaluate.add_argument(
        "--target-precision", type=_share, default=0.99, metavar="P",
        help="find the lowest min_confidence at which this share of the answers is right "
        "(default: 0.99)",
    )  # fmt: skip

    promote = commands.add_parser(
        "promote",
        help="put a new model in the place of an old one, unless it is worse",
        description="Measure two models on the same images, and put the first in the place of the "
        "second if it is not significantly worse, neither in total nor in any class. The old file "
        "is kept beside it. Otherwise say where it is worse, change nothing, and end with 1.",
    )
    promote.add_argument("model", type=Path, metavar="CANDIDATE", help="the new .keras file")
    promote.add_argument(
        "--over", type=Path, required=True, metavar="CURRENT",
        help="the .keras file that serves; of a link, the file that it leads to",
    )  # fmt: skip
    promote.add_argument(
        "--data", required=True, metavar="cifar10|FOLDER",
        help="images in folders named after the classes: test/ is taken, or all if there is none",
    )  # fmt: skip
    promote.add_argument(
        "--significance", type=_probability, default=0.05, metavar="P",
        help="how often a model that is as good may be refused by chance for its total; as often "
        "again for its classes, all together, or more often where many have few images "
        "(default: 0.05)",
    )  # fmt: skip
    promote.add_argument(
        "--class-margin", type=_probability, default=0.02, metavar="SHARE",
        help="what a class may lose of its images; more is refused, or named if it may be chance; "
        "more than a quarter passes for chance less easily (default: 0.02)",
    )  # fmt: skip

    describe = commands.add_parser(
        "describe",
        help="give a model from elsewhere its class names",
        description="Write a copy of a Keras classifier that carries its class names, scaling and "
        "output, and so runs without `labels:` in config.yaml. The file itself is not changed.",
    )
    describe.add_argument("model", type=Path, metavar="MODEL", help="a .keras file")
    names = describe.add_mutually_exclusive_group(required=True)
    names.add_argument(
        "--labels", type=Path, metavar="FILE",
        help="the class names, one a line in the order of the outputs; or a .json file",
    )  # fmt: skip
    names.add_argument("--names", nargs="+", metavar="NAME", help="the class names themselves")
    describe.add_argument(
        "--scaling", choices=get_args(Scaling), default="graph",
        help="what the network wants of pixel values 0..255: as they are, because it scales them "
        "itself (graph, the default), divided by 255, or divided by 127.5, less 1",
    )  # fmt: skip
    describe.add_argument(
        "--output-kind", choices=get_args(Output),
        help="what the network gives (default: read off its last layer)",
    )  # fmt: skip
    describe.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the copy; it must not exist"
    )
    return parser
