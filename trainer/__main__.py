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

from classifier.errors import ClassifierError
from classifier.quiet import quiet
from trainer.errors import TrainerError
from trainer.recipe import NETWORKS

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
        "--network", choices=NETWORKS, default="readme",
        help="readme: small and fast; accurate: right more often, slower to train and to run "
        "(default: readme)",
    )  # fmt: skip
    train.add_argument(
        "--input-size", type=_positive, default=32, metavar="PIXELS",
        help="the side of the square that every image is scaled to (default: 32)",
    )  # fmt: skip
    train.add_argument("--grey", action="store_true", help="learn from grey pictures")
    train.add_argument(
        "--no-mirror", action="store_true",
        help="mirrored images do not show their class any more (writing, left and right); "
        "only the accurate network mirrors them",
    )  # fmt: skip
    train.add_argument(
        "--epochs", type=_positive, metavar="N",
        help="how many times every image is learnt from (default: 10, accurate: 8, and more if "
        "there are few images)",
    )  # fmt: skip
    train.add_argument(
        "--patience", type=_positive, metavar="N",
        help="stop if N epochs brought nothing better on the images that are held out (default: "
        "20, accurate: never)",
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
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1, as 0.99")
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
    shape = (arguments.input_size, arguments.input_size, 1 if arguments.grey else 3)
    data = load(arguments.data, shape)
    if arguments.data_name:
        data = replace(data, name=arguments.data_name)

    with quiet():  # the backend greets
        from trainer.start import Start
        from trainer.train import Options, train
    options = Options(
        arguments.network,
        shape,
        arguments.epochs,
        arguments.seed,
        arguments.patience,
        not arguments.no_mirror,
    )
    start = Start.open(arguments.start) if arguments.start else None
    train(data, arguments.output, options, start=start, resume=arguments.resume)
    print(f"saved {arguments.output}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from trainer import findings, report
    from trainer.evaluate import evaluate

    folder = arguments.report or arguments.model.parent / f"{arguments.model.stem}.report"
    report.check_place(folder, arguments.data)
    answers = evaluate(arguments.model, arguments.data, name=arguments.data_name)
    found = findings.findings(answers, arguments.target_precision)
    print(*findings.lines(findings.metrics(found)), sep="\n")
    report.write(report.files(found), folder)
    print(f"report: {folder / report.PAGE}")


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Ctrl-C. The threads that feed Keras can keep it from ending: they get some time, no more."""
    _interrupted.set()
    reminder = threading.Timer(GRACE_SECONDS, _end)
    reminder.daemon = True
    reminder.start()
    raise KeyboardInterrupt


def _end() -> None:
    print(
        "\nclassifyd-train: stopped; the model file is as it was. A training goes on from its last "
        "whole epoch with --resume",
        file=sys.stderr,
        flush=True,
    )
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
    arguments = _parser().parse_args(argv)
    try:
        {"train": _train, "evaluate": _evaluate}[arguments.command](arguments)
    except (TrainerError, ClassifierError) as error:
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, say
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
