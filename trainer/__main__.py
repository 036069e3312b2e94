"""The commands of `classifyd-train`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from types import FrameType

from classifier.contract import Description
from classifier.errors import ClassifierError, NoRoomError
from classifier.quiet import quiet
from trainer.command_line import parse
from trainer.errors import RefusedError, TrainerError

GRACE_SECONDS = 5.0
_interrupted = threading.Event()


def _train(arguments: argparse.Namespace) -> None:
    from trainer.data import load
    from trainer.recipe import check_size

    if arguments.output.suffix != ".keras":
        raise TrainerError(f"--output {arguments.output}: a model file's name ends in .keras")
    shape = (arguments.input_size, arguments.input_size, 1 if arguments.grey else 3)
    check_size(arguments.network, shape)
    data = load(arguments.data, shape)
    if arguments.data_name:
        data = replace(data, name=arguments.data_name)

    with quiet():  # the backend greets
        from trainer.start import Start
        from trainer.train import Options, train
    options = Options(
        network=arguments.network,
        shape=shape,
        epochs=arguments.epochs,
        seed=arguments.seed,
        patience=arguments.patience,
        mirror=not arguments.no_mirror,
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
    """Ctrl-C or SIGTERM. The threads that feed Keras can keep it from ending: they get some time,
    no more."""
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
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return _run(argv)
    finally:
        if _interrupted.is_set():  # Keras may have made another error of it
            _end()


def _run(argv: list[str] | None) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        COMMANDS[arguments.command](arguments)
    except (RefusedError, NoRoomError) as error:
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
