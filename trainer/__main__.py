"""The commands of `classifyd-train`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import get_args

from classifier.contract import Description, Output, Scaling
from classifier.errors import ClassifierError
from classifier.quiet import quiet
from trainer.errors import RefusedError, TrainerError

GRACE_SECONDS = 5.0
_interrupted = threading.Event()
DEFAULT_OUTPUT = "image_classifier.keras"


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
        "--epochs", type=_positive, default=10, metavar="N",
        help="how many times every image is learnt from (default: 10)",
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
        description="Print loss and accuracy of a model on the test/ part of a folder, or on all "
        "of it if it has none, by the program that serves.",
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="a .keras file")
    evaluate.add_argument(
        "--data", required=True, metavar="cifar10|FOLDER",
        help="images in folders named after the model's classes",
    )  # fmt: skip
    evaluate.add_argument("--data-name", metavar="TEXT", help="what the report calls the data")

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
        help="how often a model that is as good may be refused by chance (default: 0.05)",
    )  # fmt: skip
    promote.add_argument(
        "--class-margin", type=_probability, default=0.02, metavar="SHARE",
        help="what a class may lose: this share of its images (default: 0.02)",
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


def _joined(argv: list[str]) -> list[str]:
    """With `--scaling=-1..1`: argparse takes a `-1..1` that stands alone for an option."""
    text = "\0".join(argv).replace("--scaling\0-1..1", "--scaling=-1..1")
    return text.split("\0") if argv else []


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError("must be at least 0 and below 1, as 0.05")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise argparse.ArgumentTypeError("must be 0 to 4294967295")
    return value


def _train(arguments: argparse.Namespace) -> None:
    from trainer.data import load

    if arguments.output.suffix != ".keras":
        raise TrainerError(f"--output {arguments.output}: a model file's name ends in .keras")
    shape = (32, 32, 3)
    data = load(arguments.data, shape)
    if arguments.data_name:
        data = replace(data, name=arguments.data_name)

    with quiet():  # the backend greets
        from trainer.train import Recipe, train
    train(data, shape, arguments.output, Recipe(epochs=arguments.epochs, seed=arguments.seed))
    print(f"saved {arguments.output}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from trainer.evaluate import evaluate

    result, images = evaluate(arguments.model, arguments.data)
    name = arguments.data_name or Path(arguments.data).resolve().name
    print(f"{name}, {images:,} images: loss {result['loss']:.4f}, "
          f"accuracy {100 * result['accuracy']:.2f}%")  # fmt: skip


def _promote(arguments: argparse.Namespace) -> None:
    from trainer.promote import promote

    for line in promote(
        arguments.model, arguments.over, arguments.data,
        arguments.significance, arguments.class_margin,
    ):  # fmt: skip
        print(line, flush=True)


def _describe(arguments: argparse.Namespace) -> None:
    from trainer.describe import describe, lines, read_labels

    names = read_labels(arguments.labels) if arguments.labels else tuple(arguments.names)
    description = Description(names, arguments.scaling, arguments.output_kind)
    program = describe(arguments.model, description, arguments.output)
    print(f"saved {arguments.output}", *lines(program), sep="\n")


COMMANDS = {"train": _train, "evaluate": _evaluate, "promote": _promote, "describe": _describe}


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Ctrl-C. The threads that feed Keras can keep it from ending: they get some time, no more."""
    _interrupted.set()
    reminder = threading.Timer(GRACE_SECONDS, _end)
    reminder.daemon = True
    reminder.start()
    raise KeyboardInterrupt


def _end() -> None:
    print("\nclassifyd-train: stopped; the model file is as it was", file=sys.stderr, flush=True)
    # The backend's threads are in the middle of something, and may abort if Python takes itself
    # down around them.
    os._exit(1)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 the command line or data is wrong."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        return _run(argv)
    finally:
        if _interrupted.is_set():  # Keras may have made another error of it
            _end()


def _run(argv: list[str] | None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        COMMANDS[arguments.command](arguments)
    except RefusedError as error:
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 1
    except (TrainerError, ClassifierError) as error:
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, say
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
