"""config.yaml ▸ where everything is, which is all that looking on needs.

To check all of it takes about as long as `classifyd status` without that: loading pydantic does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from daemon.document import read

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "image_classifier.keras"


class Places(NamedTuple):
    """Absolute paths, and the digest that the model has to have, if one is asked for."""

    inbox: Path
    results: Path
    state: Path
    model: Path
    model_sha256: str | None


def places(path: Path) -> Places | None:
    """Of a configuration in which nothing else is looked at.

    None if they are not given as they have to be; `settings.load` says what is wrong. Raises
    `SettingsError` for a file that cannot be read.
    """
    values = read(path).values
    names = [values.get(key) for key in ("inbox", "results", "state")]
    names.append(values.get("model", str(DEFAULT_MODEL)))
    digest = values.get("model_sha256")
    if digest is not None and not isinstance(digest, str):
        return None
    try:
        inbox, results, state, model = (
            absolute(name, path.absolute().parent) for name in names if isinstance(name, str)
        )
    except ValueError:  # one of them, or fewer of them than there have to be
        return None
    return Places(inbox, results, state, model, digest)


def absolute(text: str, base: Path) -> Path:
    """A path of the configuration; base: the folder of its file. Raises `ValueError`."""
    if "\0" in text:
        raise ValueError("no path can hold a NUL")
    try:
        return Path(os.path.normpath(base / Path(text).expanduser()))
    except RuntimeError:
        raise ValueError("there is no user of this name") from None
