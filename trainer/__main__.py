"""The commands of `classifyd-train`."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from dataclasses import replace

from classifier.contract import Description
from classifier.durable import naming
from classifier.errors import ClassifierError, NoRoomError
from classifier.quiet import quiet
from trainer.command_line import parse
from trainer.errors import RefusedError, TrainerError
from trainer.files import shown
from trainer.interruption import Interruption


def _train(arguments: argparse.Namespace, interruption: Interruption) -> None:
    from trainer.data import load
    from trainer.place import CHECKPOINT, followed
    from trainer.recipe import check_size

    output = followed(arguments.output)
    if output.suffix != ".keras":
        raise TrainerError(f"--output {output}: a model file's name ends in .keras")
    interruption.expect(output, output.with_suffix(CHECKPOINT))
    shape = (arguments.input_size, arguments.input_size, 1 if arguments.grey else 3)
    check_size(arguments.network, shape)
    data = load(arguments.data, shape)
    if arguments.data_name:
        data = replace(data, name=shown(arguments.data_name))

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
    train(data, output, options, start=start, resume=arguments.resume)
    print(f"saved {output}")


def _evaluate(arguments: argparse.Namespace, _: Interruption) -> None:
    from trainer import findings, report
    from trainer.evaluate import evaluate

    folder = arguments.report or arguments.model.parent / f"{arguments.model.stem}.report"
    report.check_place(folder, arguments.data)
    answers = evaluate(arguments.model, arguments.data, name=arguments.data_name)
    found = findings.findings(answers, arguments.target_precision)
    print(*findings.lines(findings.metrics(found)), sep="\n")
    contents = report.files(found)
    with naming(folder):
        report.write(contents, folder)
    print(f"report: {folder / report.PAGE}")


def _promote(arguments: argparse.Namespace, interruption: Interruption) -> None:
    from trainer.promote import promote

    interruption.expect(arguments.over)
    for line in promote(
        arguments.model, arguments.over, arguments.data,
        arguments.significance, arguments.class_margin,
    ):  # fmt: skip
        print(line, flush=True)


def _describe(arguments: argparse.Namespace, interruption: Interruption) -> None:
    from trainer.describe import check_names, describe, lines, read_labels

    interruption.expect(arguments.output)
    names = read_labels(arguments.labels) if arguments.labels else tuple(arguments.names)
    check_names(names, str(arguments.labels or "--names"))
    description = Description(names, arguments.scaling, arguments.output_kind)
    program = describe(arguments.model, description, arguments.output)
    print(f"saved {arguments.output}", *lines(program), sep="\n")


COMMANDS = {"train": _train, "evaluate": _evaluate, "promote": _promote, "describe": _describe}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 the command line or data is wrong."""
    interruption = Interruption()
    interruption.watch()
    try:
        return _run(argv, interruption)
    finally:
        if interruption.came:  # Keras may have made another error of it
            interruption.end()


def _run(argv: list[str] | None, interruption: Interruption) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal has no letters for
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        COMMANDS[arguments.command](arguments, interruption)
    except (RefusedError, NoRoomError) as error:
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 1
    except (TrainerError, ClassifierError) as error:
        print(f"classifyd-train: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, say
        said = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"classifyd-train: {said}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
