"""A folder that shows what an evaluation found: pictures, one page, and all figures as JSON."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path

from trainer import report_plots
from trainer.errors import TrainerError
from trainer.findings import Findings, metrics
from trainer.report_page import page

PAGE = "index.html"


def files(found: Findings) -> dict[str, bytes]:
    """Name ▸ content of all that a report holds."""
    evaluation = found.evaluation
    plots = {
        "confusion.png": report_plots.confusion(found.confusion, evaluation.contract.labels),
        "reliability.png": report_plots.reliability(found.calibrated, found.raw),
        "coverage.png": report_plots.coverage(found.curve, found.point, found.suggested),
        "worst.png": report_plots.worst(evaluation.worst),
    }
    said = metrics(found)
    texts = {
        "metrics.json": json.dumps(said, indent=1, ensure_ascii=False) + "\n",
        PAGE: page(said, plots),
    }
    # Names of files need not be UTF-8. What stands in for such bytes in JSON is an escape it knows.
    return plots | {name: text.encode(errors="backslashreplace") for name, text in texts.items()}


def check_place(folder: Path, data: str) -> None:
    """Raise `TrainerError` if a report on this data cannot be there. Leaves nothing behind."""
    images = Path(data)
    is_split = (images / "train").is_dir()
    for classes in (images / "train", images / "test") if is_split else (images,):
        if folder.resolve().is_relative_to(classes.resolve()):
            raise TrainerError(
                f"{folder}: among the folders of images, a report would be taken for a class. Name "
                "another folder with --report FOLDER"
            )
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrainerError(
            f"{folder}: the report cannot be written here ({error.strerror}). Name another folder "
            "with --report FOLDER"
        ) from None


def write(contents: dict[str, bytes], folder: Path) -> None:
    """Write a report; each of its files is the old one or the whole new one at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as drafts:
        for name, content in contents.items():
            (Path(drafts) / name).write_bytes(content)
        for name in contents:
            (Path(drafts) / name).replace(folder / name)
