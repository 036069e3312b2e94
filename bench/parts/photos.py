"""Photos of 12 megapixels: ours against `imread` and resize; and whether the answers are those of
a whole decode."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bench import images
from bench.limit import rate_of
from bench.processes import on_every_processor
from bench.report import Figures, Report
from bench.setup import MODEL, Setup
from bench.subject import Subject, program_of
from classifier.classify import Classifier

RATE = "photos/s"
ENLARGED = 1024, 768
WHOLE, IMREAD = "classifyd: whole process", "imread and resize, all processors"
BEYOND = "classifyd: beyond the first photo"


def run(setup: Setup) -> Report:
    count, compared = (4, 10) if setup.short else (50, 1000)
    size = (1000, 750) if setup.short else images.PHOTO_SIZE
    folder, single = images.photos(setup, count, size), images.photos(setup, 1, size)
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / count / 1e6
    figures = Figures()
    for _ in range(setup.repeats):
        one, many = (
            _seconds(setup, photos, number) for photos, number in ((single, 1), (folder, count))
        )
        figures.add(WHOLE, count / many, RATE)
        figures.add(BEYOND, (count - 1) / max(many - one, 0.01), RATE)  # a few take no time
        whole = on_every_processor("bench.peers.whole_photos", folder, 32, 32)
        slowest = max(said["seconds"] for said in whole)
        figures.add(IMREAD, count / slowest, RATE)
        figures.add("imread and resize, one processor", rate_of(whole[0]), RATE)
    figures.ratio("classifyd / imread and resize, whole process", WHOLE, IMREAD)
    figures.ratio("the same, beyond the first photo", BEYOND, IMREAD)
    share = agreement(setup, images.small(setup, compared, settled=False))
    figures.add("labels as by a whole decode", 100 * share, "%")
    return Report(
        title="Photos",
        done=f"{count} drawn JPEGs of {size[0]}x{size[1]} pixels, {megabytes:.1f} MB each, with "
        "texture; thumbnails off. `imread` and resize: a process for each processor, its start not "
        f"counted. Labels: {compared:,} {'given' if setup.data else 'drawn'} images, enlarged to "
        f"{ENLARGED[0]}x{ENLARGED[1]}.",
        figures=figures,
    )


def _seconds(setup: Setup, photos: Path, count: int) -> float:
    subject = Subject.started_before(setup, photos, thumbnails={"when": "none"})
    done = subject.once(count)
    subject.remove()
    return done.finished.seconds


def agreement(setup: Setup, folder: Path) -> float:
    """The share of images that get the same label from our way of decoding and from a whole one,
    when they are enlarged to the size of a photo."""
    program_of(setup, MODEL)  # compiled
    classifier = Classifier.open(MODEL, setup.shared / MODEL.stem / "models")
    side = classifier.contract.width, classifier.contract.height
    enlarged, same, count = setup.folder() / "enlarged.jpg", 0, 0
    for path in sorted(folder.iterdir()):
        photo = cv2.resize(cv2.imread(str(path)), ENLARGED, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(enlarged), photo)
        (ours,) = classifier.classify([enlarged])
        assert ours.error is None, ours.error
        whole = cv2.resize(cv2.imread(str(enlarged)), side, interpolation=cv2.INTER_AREA)
        batch = cv2.cvtColor(whole, cv2.COLOR_BGR2RGB)[np.newaxis].astype(np.uint8)
        label = classifier.contract.labels[classifier.probabilities(batch)[0].argmax()]
        same, count = same + (label == ours.label), count + 1
    return same / count
