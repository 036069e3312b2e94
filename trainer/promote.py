"""A new model in the place of the one that serves: measured against it first, then put there whole.

A daemon at work does not notice: it runs on its own copy of the old one until its next start.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from classifier import contract as contracts
from classifier import modelfile
from classifier.classify import Classifier
from classifier.contract import Contract
from classifier.durable import name_new, naming, sync_file, sync_folder
from classifier.errors import ModelError
from classifier.inherit import inherit
from classifier.scores import to_probabilities
from trainer.compare import Comparison, Flags, change, compare, losses, table
from trainer.data import difference
from trainer.errors import DataError, RefusedError, TrainerError
from trainer.findings import suggested_min_confidence
from trainer.labelled import in_output_order, labelled, outputs_of
from trainer.place import GO_ALONG, claimed, followed, promoting
from trainer.samples import Samples


def promote(
    candidate: Path,
    current: Path,
    data: str,
    significance: float,
    class_margin: float,
    cache: Path | None = None,
) -> Iterator[str]:
    """Put a model in the place of another if it is not worse on the same images; the report.

    data: `cifar10`, or a folder. Its `test/` is taken if it has one, else all of it.
    cache: a folder for compiled programs; the user's cache folder by default.

    Raises `RefusedError` if it is worse, or cannot be put there; nothing has changed then. Raises
    `DataError`, `TrainerError` or `ModelError` if the two cannot be compared, or somebody else is
    at work on `current`.
    """
    current = Path(os.path.realpath(current))  # where a link leads to, the new one shall lie
    _refuse_unlike(_contract(candidate), candidate, _contract(current), current)
    new, old = Classifier.open(candidate, cache), Classifier.open(current, cache)
    is_writable = os.access(current.parent, os.W_OK | os.X_OK)
    if new.digest == old.digest:
        if is_writable and missing_beside(candidate, current):  # of a promote that was killed
            with claimed(current):
                bring_along(candidate, current)
        yield f"{current} is this very model already"
        return
    if not is_writable:
        raise RefusedError(f"{current.parent}: this user cannot write here: chmod or chown it")
    with claimed(current):
        comparison = _compared(old, new, data, significance, class_margin)
        yield from table(comparison)
        if comparison.unjudged_classes:
            yield _unjudged(comparison)
        if not comparison.acceptable:
            raise RefusedError(
                f"{current} stays as it is: {candidate} is worse {_where(comparison)}"
            )
        with naming(current):
            kept = put_in_place(candidate, new.digest, current, old.digest)
        try:
            bring_along(candidate, current)
        except OSError as error:  # the model is what matters, and it is there
            yield (
                f"{error.filename}: could not be brought along: {error.strerror}. Give the same "
                "command again when that is mended"
            )
    if comparison.doubtful_classes:
        names = losses(comparison, comparison.doubtful_classes)
        yield f"It lost in these classes, perhaps by chance: look after them: {names}"
    if not comparison.can_tell:
        yield (
            f"The models differ on {comparison.total.discordant} images: too few to notice a worse "
            "one. Measure with more"
        )
    yield f"{current} is now this model, and the old one is kept as {kept.name}"
    yield _advice(new.contract)
    yield f"its SHA-256, for `model_sha256:` if config.yaml pins it: {new.digest}"
    yield "A classifyd at work uses it from its next start on"


def _unjudged(comparison: Comparison) -> str:
    few = ", ".join(
        f"{name} ({comparison.classes[name].images})" for name in comparison.unjudged_classes
    )
    return (
        "NOT JUDGED, as they have too few images: a model that loses all of these classes would "
        f"not be refused for it: {few}. Each needs {comparison.needed} at least"
    )


def _where(comparison: Comparison) -> str:
    parts = [f"in total ({change(comparison.total)})"] if comparison.worse else []
    if comparison.worse_classes:
        parts.append(f"in these classes: {losses(comparison, comparison.worse_classes)}")
    return ", and ".join(parts)


def _advice(contract: Contract) -> str:
    said = "`min_confidence:` in config.yaml was chosen for the old model; "
    value = suggested_min_confidence(contract)
    if value is None:
        return said + "`classifyd-train evaluate` finds one for this"
    return said + f"training suggests {value} for this"


def _refuse_unlike(new: Contract, candidate: Path, old: Contract, current: Path) -> None:
    if {*new.labels} != {*old.labels}:
        places = f"in {candidate}", f"in {current}"
        raise DataError(
            "the two models do not tell the same classes apart; "
            f"{difference(new.labels, old.labels, places)}"
        )
    if old.energy_threshold is not None and new.energy_threshold is None:
        raise RefusedError(
            f"{candidate} has no threshold for what is none of its classes, and {current} has "
            "one: with `unknown: true`, classifyd would not start. Train it by classifyd-train on "
            "more images"
        )


def _contract(model: Path) -> Contract:
    try:
        with modelfile.opened(model):
            contract = contracts.read(model)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None
    if contract is None:
        raise TrainerError(
            f"{model}: it does not say what its classes are called: make a copy that does, with "
            "`classifyd-train describe`"
        )
    return contract


def _compared(
    old: Classifier, new: Classifier, data: str, significance: float, class_margin: float
) -> Comparison:
    names, samples = labelled(data, old.contract)
    of_new = samples
    if _shape(new) != _shape(old):
        _, of_new = labelled(data, new.contract, again=True)
        if of_new.fingerprint != samples.fingerprint:
            raise DataError(f"{data}: images came, went or changed meanwhile: start again")
    return compare(
        _right(old, samples, names), _right(new, of_new, names),
        samples.labels, names, significance, class_margin,
    )  # fmt: skip


def _shape(classifier: Classifier) -> tuple[int, int, int]:
    contract = classifier.contract
    return contract.height, contract.width, contract.channels


def _right(classifier: Classifier, samples: Samples, names: tuple[str, ...]) -> Flags:
    """bool (n,): whether each answer is right. names: of the samples' labels, in any order."""
    contract = classifier.contract
    scores = to_probabilities(outputs_of(classifier, samples), contract)
    labels = in_output_order(samples, names, contract)
    # No number is no answer, as in serving.
    right: Flags = (scores.argmax(axis=1) == labels) & np.isfinite(scores).all(axis=1)
    return right


def put_in_place(candidate: Path, new: str, current: Path, old: str) -> Path:
    """Make `current` a copy of `candidate`, and keep what it was beside it; where that is.

    new, old: the SHA-256 that the two files must have, those that were measured. `current` must be
    `claimed`. At every moment, and after a power cut, it is one of the two, whole. What lies beside
    it goes with the old one, so that it is never taken for the new one's. Raises `RefusedError`.
    """
    kept = current.with_name(f"{current.stem}.{old[:12]}{current.suffix}")
    drafts = promoting(current)
    drafts.mkdir(0o700)
    try:
        after, before = drafts / "new", drafts / "old"
        _copy(candidate, new, after, current.stat())
        _copy(current, old, before, current.stat())
        try:
            name_new(before, kept)
        except FileExistsError:  # of an earlier time when it was in place, or of a killed promote
            if not kept.is_file() or modelfile.digest_of(kept) != old:
                raise RefusedError(
                    f"{kept} is in the way: the old model would be kept there, so move it"
                ) from None
        if modelfile.digest_of(current) != old:  # a claim does not keep `cp` away
            raise RefusedError(f"{current}: somebody else has just changed it: start again")
        _take_away(current, kept)
        after.replace(current)
        sync_folder(current.parent)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return kept


def _take_away(current: Path, kept: Path) -> None:
    """What lies beside the old model, to beside where it is kept."""
    for suffix in GO_ALONG:
        with suppress(FileNotFoundError):
            current.with_suffix(suffix).rename(kept.with_suffix(suffix))
    sync_folder(current.parent)


def missing_beside(candidate: Path, current: Path) -> list[tuple[Path, Path]]:
    """(file of the candidate's, where it is missing beside `current`)."""
    candidate = followed(candidate)
    pairs = [(candidate.with_suffix(suffix), current.with_suffix(suffix)) for suffix in GO_ALONG]
    return [(its, ours) for its, ours in pairs if its.is_file() and not os.path.lexists(ours)]


def bring_along(candidate: Path, current: Path) -> None:
    """Copy what lies beside the candidate to beside its copy `current`, which must be `claimed`.

    Files that are there stay: the old model's are with the old one. A kill before the end leaves
    some missing, which the next call brings. Raises `OSError`.
    """
    drafts = promoting(current)
    try:
        for its, ours in missing_beside(candidate, current):
            with naming(ours):
                drafts.mkdir(0o700, exist_ok=True)
                draft = drafts / ours.name
                shutil.copyfile(its, draft)
                sync_file(draft)
                draft.replace(ours)
        sync_folder(current.parent)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _copy(model: Path, digest: str, target: Path, like: os.stat_result) -> None:
    """Copy a model, for whoever can read the file that `like` is of."""
    try:
        with modelfile.opened(model) as (file, _):
            modelfile.copy(file, digest, target)
    except ModelError as error:
        raise RefusedError(f"{model}: {error}") from None
    if not inherit(target, like) and not like.st_mode & stat.S_IROTH:
        raise RefusedError(
            "the model's owner and group cannot be kept, and then the service may be unable to "
            "read it: do this as its owner or as root"
        )
    sync_file(target)
