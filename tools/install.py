"""classifyd ▸ a place on this machine, as a service: `make install` and `make uninstall`.

Every version is put into a folder of its own below PREFIX, whole, before the link `current` names
it. So what runs goes on with what it began with, and an installation that is interrupted changes
nothing. Configurations, results and state are never touched.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("classifier", "daemon", "trainer")
OTHERS = ("models", "docs", "inbox_example")
FILES = ("README.md", "LICENSE", "CHANGELOG.md", "requirements.lock", "config.yaml")
COMMANDS = {"classifyd": "daemon", "classifyd-train": "trainer"}
CURRENT = "current"
# As `install` names what it makes: by the time.
VERSION = re.compile(r"\d{8}-\d{6}\.\d{6}(\.part)?")
PLAIN = "classifyd"  # the instance of the plain service
UNIT_PREFIX = "/opt/classifyd"  # as the unit has it

EXAMPLE = """\
# An instance of classifyd. Copy it to /etc/classifyd/NAME.yaml, and start it:
#   systemctl enable --now classifyd@NAME
# All settings: {prefix}/current/config.yaml

# The folder that is watched. The user classifyd has to be able to read it.
inbox: /srv/NAME

# results.csv and thumbnails/. The service makes /var/lib/classifyd/NAME.
results: /var/lib/classifyd/NAME/results
state: /var/lib/classifyd/NAME/state

# The ten classes of CIFAR-10; your own model: see README.md, "Your own classes".
model: {prefix}/current/models/image_classifier.keras
"""


class Places:
    """Where everything goes."""

    def __init__(self, destination: Path, prefix: Path) -> None:
        """destination: DESTDIR, before every path. prefix: the folder of all versions."""
        self.prefix = prefix
        self.versions = self._in(destination, prefix)
        self.commands = self._in(destination, Path("/usr/local/bin"))
        self.units = self._in(destination, Path("/etc/systemd/system"))
        self.users = self._in(destination, Path("/etc/sysusers.d"))
        self.folders = self._in(destination, Path("/etc/tmpfiles.d"))
        self.configurations = self._in(destination, Path("/etc/classifyd"))

    @staticmethod
    def _in(destination: Path, path: Path) -> Path:
        return destination / path.relative_to("/")

    @property
    def integration(self) -> dict[Path, str]:
        """What the system has to know: file ▸ its text."""
        source = ROOT / "systemd"
        template = (source / "classifyd@.service").read_text(encoding="utf-8")
        template = template.replace(UNIT_PREFIX, str(self.prefix))
        return {
            self.units / "classifyd@.service": template,
            self.units / "classifyd.service": template.replace("%i", PLAIN),
            self.users / "classifyd.conf": (source / "classifyd.sysusers").read_text("utf-8"),
            self.folders / "classifyd.conf": (source / "classifyd.tmpfiles").read_text("utf-8"),
        }


def install(places: Places, environment: Path | None) -> None:
    """environment: a finished virtual environment whose packages are used where it stands."""
    now = datetime.datetime.now(datetime.UTC)
    version = places.versions / now.strftime("%Y%m%d-%H%M%S.%f")
    part = version.with_name(f"{version.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    say(f"Copying classifyd to {version} ...")
    for folder in (*PACKAGES, *OTHERS):
        shutil.copytree(
            ROOT / folder, part / folder, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    for name in FILES:
        shutil.copy(ROOT / name, part / name)
    shutil.copytree(ROOT / "systemd", part / "systemd")
    in_the_end = places.prefix / version.name
    _make_environment(part, in_the_end, environment)
    for command, package in COMMANDS.items():
        _write_command(part / "bin" / command, package, in_the_end)
    # The service may write nothing here. Without these files every start would compile anew.
    compileall.compile_dir(part, quiet=1, stripdir=str(part), prependdir=str(in_the_end))
    _let_all_read(part)
    part.rename(version)
    _switch(places.versions / CURRENT, version.name)
    for command in COMMANDS:
        _link(places.commands / command, places.prefix / CURRENT / "bin" / command)
    for file, text in places.integration.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o644)
    places.configurations.mkdir(parents=True, exist_ok=True)
    example = places.configurations / "example.yaml.txt"
    example.write_text(EXAMPLE.format(prefix=places.prefix), encoding="utf-8")
    _prune(places.versions, version)


def uninstall(places: Places) -> None:
    """Take away what `install` made. Configurations, results and state stay."""
    for command in COMMANDS:
        link = places.commands / command
        if link.is_symlink() and link.readlink().is_relative_to(places.prefix):
            link.unlink()
    for file in places.integration:
        file.unlink(missing_ok=True)
    (places.configurations / "example.yaml.txt").unlink(missing_ok=True)
    if places.versions.is_dir():
        (places.versions / CURRENT).unlink(missing_ok=True)
        for version in places.versions.iterdir():
            if _is_ours(version):
                shutil.rmtree(version)
        if not any(places.versions.iterdir()):
            places.versions.rmdir()


def _make_environment(part: Path, in_the_end: Path, finished: Path | None) -> None:
    """The pinned dependencies, by their hashes, in part/venv."""
    venv = part / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python3*/site-packages")
    paths = [str(in_the_end)]
    if finished is not None:
        (others,) = finished.resolve().glob("lib/python3*/site-packages")
        say(f"Using the packages of {others}")
        paths.append(str(others))
    else:
        say("Installing the pinned dependencies (about 500 MB) ...")
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install",
             "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps",
             "--requirement", ROOT / "requirements.lock"],
            check=True,
        )  # fmt: skip
    (packages / "classifyd.pth").write_text("".join(f"{path}\n" for path in paths))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = packages / f"classifyd-{project['version']}.dist-info" / "METADATA"
    told.parent.mkdir()  # what `classifyd --version` says
    told.write_text(f"Metadata-Version: 2.1\nName: classifyd\nVersion: {project['version']}\n")


def _let_all_read(folder: Path) -> None:
    """The service has a user of its own, and whoever cloned this may have been careful."""
    for place in (folder, *folder.rglob("*")):
        if not place.is_symlink():
            mode = place.stat().st_mode
            place.chmod(mode | (0o555 if mode & 0o100 else 0o444))


def _unreachable(path: Path) -> Path | None:
    """The first folder on the way to a file that not everybody may enter."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


def _write_command(file: Path, package: str, in_the_end: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"#!{in_the_end}/venv/bin/python\n"
        f"import sys\n\nfrom {package}.__main__ import main\n\nsys.exit(main())\n"
    )
    file.chmod(0o755)


def _switch(link: Path, target: str) -> None:
    """In one step: whoever starts meanwhile gets the one or the other."""
    aside = link.with_name(f"{link.name}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists() and not link.is_symlink():
        sys.exit(f"{link} is there already and is not ours: move it, and run `make install` again")
    _switch(link, str(target))


def _is_ours(version: Path) -> bool:
    """Whether `install` made it: by the time that it is named after, and what is in it."""
    if not VERSION.fullmatch(version.name) or version.is_symlink():
        return False
    return version.name.endswith(".part") or (version / "venv").is_dir()


def _prune(versions: Path, newest: Path) -> None:
    """Keep the newest and the one before it, which may be running still."""
    ours = sorted(path for path in versions.iterdir() if _is_ours(path) and not path.is_symlink())
    for path in ours[: ours.index(newest)][:-1]:
        shutil.rmtree(path)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Install or uninstall classifyd on this machine.")
    parser.add_argument("what", choices=["install", "uninstall"])
    parser.add_argument("--prefix", type=Path, default=Path(UNIT_PREFIX))
    parser.add_argument("--destdir", type=Path, default=Path("/"))
    parser.add_argument(
        "--venv", type=Path,
        help="use the packages of this virtual environment instead of installing them anew",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not arguments.prefix.is_absolute():
        parser.error("PREFIX must be an absolute path")
    os.umask(0o022)
    python = Path(sys.executable).resolve()
    if arguments.what == "install" and arguments.destdir == Path("/"):
        for path in (python, arguments.venv and arguments.venv.resolve() / "lib"):
            if path and (closed := _unreachable(path)):
                sys.exit(
                    f"{path}: the user classifyd may not enter {closed}. Use a Python that is "
                    "there for everybody: make install PYTHON=/usr/bin/python3"
                )
    places = Places(arguments.destdir.absolute(), arguments.prefix)
    try:
        if arguments.what == "uninstall":
            uninstall(places)
            say("classifyd is gone. /etc/classifyd and /var/lib/classifyd are as they were.")
            return
        install(places, arguments.venv)
    except PermissionError as error:
        sys.exit(f"{error.filename}: {error.strerror}. Run it as root: sudo make {arguments.what}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}. Nothing has changed; mend that and run `make install` again")
    say("Installed. Next: docs/OPERATING.md, beginning with:")
    say(
        "  systemd-sysusers classifyd.conf && systemd-tmpfiles --create classifyd.conf && "
        "systemctl daemon-reload"
    )


if __name__ == "__main__":
    main()
