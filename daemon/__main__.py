"""The commands of `classifyd`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.errors import ModelError
from daemon import logs
from daemon.errors import DaemonError, JournalError, SettingsError, StorageError
from daemon.notify import notify
from daemon.row import escape, shown

if TYPE_CHECKING:
    from daemon.places import Places
    from daemon.settings import Settings

EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_CRITICAL, EXIT_UNKNOWN = 2, 3  # of `status --check`


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # a tenth of the time that `status` takes

        print(f"classifyd {version('classifyd')}")
        parser.exit()


class _Help(argparse.HelpFormatter):
    """With room for the longest command: argparse forgets how far commands are set in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = len("    reclassify")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="classifyd",
        description="Drop images in a folder, read results.csv.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show it, and do nothing else")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.add_argument(
            "--config", type=Path, default=Path("config.yaml"), metavar="FILE",
            help="default: config.yaml in the current folder",
        )  # fmt: skip
        return added

    run = command("run", "classify every image that comes into the inbox")
    run.add_argument("--once", action="store_true", help="classify what is there, then end")
    backfill = command("backfill", "classify all images in folders that exist already")
    backfill.add_argument("sources", nargs="+", metavar="FOLDER")
    backfill.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    _add_engine(backfill)
    status = command("status", "show what is going on")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="say it for other programs")
    form.add_argument(
        "--check", action="store_true",
        help="say it for a monitor: exit code 0 well, 1 warning, 2 critical, 3 unknown",
    )  # fmt: skip
    verify = command("verify", "check that every row, thumbnail and file adds up")
    verify.add_argument("--json", action="store_true", help="say it for other programs")
    retry = command("retry", "try images again that failed")
    retry.add_argument(
        "--reason", default="", metavar="TEXT", type=_text,
        help="only those whose reason, as `status` shows it, has this text in it",
    )  # fmt: skip
    reclassify = command("reclassify", "classify images again that have a row of another model")
    reclassify.add_argument(
        "--where", action="append", required=True, metavar="CONDITION", type=_text,
        help="which: model!=current, label=cat, status=uncertain, confidence<0.6, "
        "date>=2026-01-31, folder=/srv/a; several joined by ` and `",
    )  # fmt: skip
    reclassify.add_argument(
        "--dry-run", action="store_true",
        help="say how many labels would change, and which, and note nothing",
    )  # fmt: skip
    where = command("where", "tell where an image is that was moved when it was done")
    where.add_argument(
        "image", metavar="PATH-or-ID", help="as results.csv has it; or where it is now"
    )
    command("rebuild", "make a new journal from results.csv, if the old one is damaged or lost")
    command("check", "check that the configuration is right")
    return parser


def _add_engine(backfill: argparse.ArgumentParser) -> None:
    """What a backfill on a cluster can be told."""
    backfill.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="local: this machine (the default); ray: a cluster, by Ray Data; see docs/SCALE.md",
    )  # fmt: skip
    ray = backfill.add_argument_group("with --engine ray; a FOLDER may be a URL such as s3://a/b")
    ray.add_argument(
        "--address",
        default="auto",
        help="of the cluster: auto (the default), ray://HOST:PORT, or local for this machine",
    )
    ray.add_argument("--output", metavar="FOLDER", help="for the job's files; all nodes see it")
    ray.add_argument(
        "--keep-parquet", action="store_true",
        help="leave the rows there, as Parquet, and out of results.csv",
    )  # fmt: skip
    ray.add_argument(
        "--thumbnails", action="store_true",
        help="draw them, as `thumbnails:` says; all nodes see the results folder",
    )  # fmt: skip
    ray.add_argument("--actors", type=_count, metavar="N", help="default: as many as find room")
    ray.add_argument("--cpus", type=_share, default=1.0, metavar="N", help="of each; default: 1")
    ray.add_argument("--gpus", type=_share, default=0.0, metavar="N", help="of each; default: 0")
    ray.add_argument(
        "--batch", type=_count, default=64, metavar="N", help="images at once; default: 64"
    )


def _count(argument: str) -> int:
    if not argument.isdecimal() or not int(argument):
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {argument!r}")
    return int(argument)


def _share(argument: str) -> float:
    try:
        if 0 <= (number := float(argument)) < math.inf:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number, 0 or more, found {argument!r}")


def _text(argument: str) -> str:
    if any("\ud800" <= sign <= "\udfff" for sign in argument):
        raise argparse.ArgumentTypeError("is not UTF-8 text")
    return argument


def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.service import run
    from daemon.settings import load

    def reread() -> Settings:
        return load(arguments.config)

    return 0 if run(settings, reread, once=arguments.once) else EXIT_FAILED


def _backfill(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.backfill import backfill, checked, forecast

    if arguments.engine == "ray":
        return _backfill_on_cluster(settings, arguments)
    folders = checked(settings, [Path(source) for source in arguments.sources])
    if arguments.dry_run:
        found = forecast(settings, folders)
        print(f"new        {found.new:,} images would be classified")
        print(f"known      {found.known:,} are done or waiting")
        for reason, count in sorted(found.ignored.items()):
            print(f"ignored    {count:,}: {reason}")
        return 0
    started = time.monotonic()
    done = backfill(settings, folders)
    seconds = time.monotonic() - started
    kinds = ", ".join(f"{count:,} {status}" for status, count in done.rows.items())
    print(f"new rows   {sum(done.rows.values()):,}{f' ({kinds})' if kinds else ''} "
          f"in {seconds:.1f} s")  # fmt: skip
    print(f"results    {settings.results / 'results.csv'}")
    for reason, (count, example) in sorted(done.ignored.items()):
        print(f"ignored    {count:,}: {reason}, such as {escape(example)}")
    if done.complete:
        return 0
    who = f"; {done.at_work}, goes on with them" if done.waiting and done.at_work else ""
    print(f"waiting    {done.waiting:,} of the images found so far{who}")
    print("Stopped before the end. Run the same command again to go on.")
    return EXIT_FAILED


def _backfill_on_cluster(settings: Settings, arguments: argparse.Namespace) -> int:
    if missing := [name for name in ("ray", "pyarrow", "obstore") if find_spec(name) is None]:
        raise SettingsError(
            f"--engine ray: {', '.join(missing)} not installed. Install it with "
            "`pip install 'classifyd[ray]'`, or leave the option out"
        )
    from daemon.cluster.job import Options, run

    names = ("address", "output", "keep_parquet", "thumbnails", "actors", "cpus", "gpus", "batch")
    options = Options(**{name: getattr(arguments, name) for name in names})
    started = time.monotonic()
    # Both end it where it is: the job's files make that safe.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    done = run(settings, arguments.sources, options)
    kinds = ", ".join(f"{count:,} {status}" for status, count in sorted(done.rows.items()))
    print(f"new rows   {done.rows.total():,}{f' ({kinds})' if kinds else ''} "
          f"in {time.monotonic() - started:.1f} s")  # fmt: skip
    print(f"results    {done.where or settings.results / 'results.csv'}")
    if done.known:
        print(f"known      {done.known:,} are done or waiting")
    if done.unsettled:
        print(f"unsettled  {done.unsettled:,} were being written: run the same command again later")
    for reason, count in sorted(done.ignored.items()):
        print(f"ignored    {count:,}: {reason}")
    return 0


def _places(config: Path) -> Places:
    """For looking on. What was found right once is not checked again while it is in use."""
    from daemon.lock import holder
    from daemon.places import places

    found = places(config)
    with suppress(OSError):  # which `status` has to say more of
        if found and holder(found.state):
            return found
    from daemon.settings import load

    return load(config, need_inbox=False, writes=False).places


def _status(places: Places, arguments: argparse.Namespace) -> int:
    from daemon.status import check, lines, to_json

    if arguments.check:
        level, told = check(places)
        print(*told, sep="\n")
        return level
    if arguments.json:
        print(json.dumps(to_json(places), indent=1))
    else:
        print(*lines(places), sep="\n")
    return 0


def _verify(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.verify import verify

    verdict = verify(settings)
    if arguments.json:
        print(json.dumps(verdict.to_json(), indent=1))
    else:
        print(*verdict.lines(), sep="\n")
    return 0 if verdict.adds_up else EXIT_FAILED


def _retry(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.retry import retry

    print(*retry(settings, arguments.reason), sep="\n")
    return 0


def _reclassify(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.reclassify import reclassify

    for line in reclassify(settings, arguments.where, dry_run=arguments.dry_run):
        print(line)
    return 0


def _where(settings: Settings, arguments: argparse.Namespace) -> int:
    from daemon.where import where

    print(*where(settings, arguments.image), sep="\n")
    return 0


def _rebuild(settings: Settings, arguments: argparse.Namespace) -> int:  # noqa: ARG001
    from daemon.rebuild import rebuild

    done = rebuild(settings)
    print(f"rows       {done.rows:,} taken over from {settings.results / 'results.csv'}")
    if done.aside:
        print(f"kept       the old journal, as {done.aside}")
    for folder in done.folders:
        print(f"backfilled {escape(folder)}")
    print(
        "Start `classifyd run` now: it finds what waits in the inbox. Run every backfill that was"
    )
    print("not at its end again: what has a row gets no second one.")
    return 0


def _check(settings: Settings, arguments: argparse.Namespace) -> int:  # noqa: ARG001
    from daemon.check import lines

    print(*lines(settings), sep="\n")
    return 0


COMMANDS = {
    "run": _run,
    "backfill": _backfill,
    "verify": _verify,
    "retry": _retry,
    "reclassify": _reclassify,
    "where": _where,
    "rebuild": _rebuild,
    "check": _check,
}
NEED_INBOX = ("run", "check")
LOOK_ON = ("where",)  # also as a user who may write nothing


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    The exit code: 0 done, 1 failed, 2 configuration wrong, 3 lock held, 4 a write may not have
    reached the disk.
    """
    # Until the service counts signals, a Ctrl-C ends this at once and without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal has no letters for
        sys.stdout.reconfigure(errors="backslashreplace")
    logs.set_up()
    # Its warning of a folder that it finds twice prints all its watches, and does not matter.
    warnings.filterwarnings("ignore", module=r"watchdog\.")
    form = "auto"

    def complain(error: Exception, code: int) -> int:
        if not getattr(arguments, "check", False) or arguments.command != "status":
            logs.complain(str(error), form)
            # `systemctl status` shows it above the log. More than one mistake: the first one.
            notify(f"STATUS={shown(str(error)).splitlines()[0]}")
            return code
        # A monitor has names for it, and reads standard output.
        is_bad = isinstance(error, JournalError | StorageError)
        print("CRITICAL" if is_bad else "UNKNOWN", "-", " ".join(shown(str(error)).split("\n")))
        return EXIT_CRITICAL if is_bad else EXIT_UNKNOWN

    try:
        from daemon.storage import storing

        if arguments.command == "status":
            places = _places(arguments.config)
            with storing(places.state, places.results):
                code = _status(places, arguments)
        else:
            from daemon.settings import load

            settings = load(
                arguments.config,
                need_inbox=arguments.command in NEED_INBOX,
                writes=arguments.command not in LOOK_ON,
            )
            form = settings.log_format
            logs.set_up(form, settings.log_level)
            with storing(settings.state, settings.results):
                code = COMMANDS[arguments.command](settings, arguments)
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()  # here, where a reader that went away is still understood
        return code
    except ModelError as error:
        return complain(error, EXIT_USAGE)
    except DaemonError as error:
        return complain(error, error.exit_code)
    except BrokenPipeError:  # `classifyd status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        logging.getLogger(__name__).debug("where it happened:", exc_info=True)
        what = f"{error}. What is done stays done: mend that and start again"
        return complain(StorageError(what), EXIT_FAILED)


if __name__ == "__main__":
    sys.exit(main())
