"""An evaluation ▸ its figures: for programs as JSON, for people as lines of text."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from classifier.contract import Contract
from classifier.scores import Scores, energy, to_probabilities
from trainer import measure
from trainer.evaluate import Evaluation
from trainer.measure import Classes, Coverage, Flags, OperatingPoint, Reliability

DIGITS = 5
# Not rounded: a hair more or less answers other images.
EXACT = frozenset({"min_confidence", "temperature", "energy_threshold"})
CURVE_POINTS = 100  # of the coverage curve, in the JSON


@dataclass(frozen=True)
class Findings:
    """What an evaluation found.

    confusion: int64 (classes, classes), rows what it is, columns what was answered.
    calibrated, raw: with the model's temperature and without it; None for a model that has none.
    point: the `min_confidence` for the target precision; None where there is none.
    suggested: what the `min_confidence` gives that training picked on held-out images, if any.
    strange: how many pictures of no class pass for one, by kind, as in the JSON.
    """

    evaluation: Evaluation
    summary: dict[str, Any]
    confusion: Classes
    calibrated: Reliability
    raw: Reliability | None
    curve: Coverage
    target: float
    point: OperatingPoint | None
    suggested: OperatingPoint | None
    strange: dict[str, Any]


def findings(found: Evaluation, target: float) -> Findings:
    """All figures of an evaluation. target: a precision, 0..1, to find a `min_confidence` for."""
    contract, labels = found.contract, found.labels
    probabilities = to_probabilities(found.outputs, contract)
    answers, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = answers == labels
    raw = None
    if contract.temperature != 1:
        uncorrected = _confidences(found.outputs, measure.without_temperature(contract))
        raw = measure.reliability(uncorrected, right)
    return Findings(
        evaluation=found,
        summary=measure.summary(found.outputs, labels, contract),
        confusion=measure.confusion_matrix(labels, answers, len(contract.labels)),
        calibrated=measure.reliability(confidences, right),
        raw=raw,
        curve=measure.accuracy_by_coverage(confidences, right),
        target=target,
        point=measure.threshold_for_precision(confidences, right, target),
        suggested=_suggested(contract, confidences, right),
        strange=_strange(found),
    )


def metrics(found: Findings) -> dict[str, Any]:
    """What metrics.json holds."""
    evaluation, contract = found.evaluation, found.evaluation.contract
    said = {
        "data": evaluation.data,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "model": evaluation.model.name,
        "sha256": evaluation.digest,
        "labels": contract.labels,
        "output": contract.output,
        "temperature": contract.temperature,
        "energy_threshold": contract.energy_threshold,
        "summary": found.summary,
        "left_out": [{"name": name, "reason": reason} for name, reason in evaluation.left_out],
        "target_precision": _target(found.point, found.target),
        "suggested": found.suggested and _point(found.suggested),
        "strange": found.strange,
        "classes": _classes(found.confusion, contract.labels),
        "confusion": found.confusion.tolist(),
        "reliability": {
            "with_temperature": _bins(found.calibrated),
            "without_temperature": found.raw and _bins(found.raw),
        },
        "coverage": _sampled(found.curve),
        "worst": [
            {
                "name": one.name,
                "label": one.truth,
                "answer": one.given,
                "confidence": one.confidence,
            }
            for one in evaluation.worst
        ],
    }
    rounded: dict[str, Any] = _rounded(said)
    return rounded


def lines(said: dict[str, Any]) -> list[str]:
    """What the terminal shows of the metrics."""
    summary, target, strange = (said[key] for key in ("summary", "target_precision", "strange"))
    suggested = said["suggested"]
    shown = [
        f"{said['data']}, {summary['images']:,} images: loss {summary['loss']:.4f}, "
        f"accuracy {100 * summary['accuracy']:.2f}%",
        f"95% interval of the accuracy: {100 * summary['accuracy_low']:.2f}% to "
        f"{100 * summary['accuracy_high']:.2f}%, "
        f"calibration error {100 * summary['calibration_error']:.2f}%",
        *(
            ["as training suggests, on images held out there:", _point_line(suggested)]
            if suggested
            else []
        ),
        *_target_lines(target),
        "",
        f"of {strange['each']} drawn pictures of no class, so many pass for one:",
    ]
    columns = strange_columns(strange)
    width = max(map(len, strange["kinds"]))
    shown.append(" " * width + "".join(f"{heading:>13}" for heading in columns))
    for kind, shares in {**strange["kinds"], "all": strange["all"]}.items():
        cells = "".join(f"{100 * shares[key]:>12.1f}%" for key in columns.values())
        shown.append(f"{kind:<{width}}{cells}")
    if "threshold" in columns:
        shown.append(
            f"threshold: by the model's own, which {100 * strange['known_passing']:.1f}% of the "
            "labelled images pass"
        )
    others = " and ".join(heading for heading in columns if heading != "threshold")
    return [*shown, f"{others}: where 95% of the labelled images pass (FPR95)"]


def _target_lines(target: dict[str, Any]) -> list[str]:
    if not target["reached"]:
        return [f"no min_confidence makes {100 * target['target']:g}% of the answers right"]
    return [
        f"the lowest that makes {100 * target['target']:g}% of these answers right (picked and "
        "measured on the same images, which is optimistic: try it on others):",
        _point_line(target),
    ]


def _point_line(point: dict[str, Any]) -> str:
    return (
        f"min_confidence {point['min_confidence']}: {100 * point['precision']:.2f}% of the answers "
        f"are right (95% interval {100 * point['precision_low']:.2f}% to "
        f"{100 * point['precision_high']:.2f}%), {100 * point['coverage']:.2f}% of the images are "
        f"answered, {point['withheld']:,} left `uncertain`"
    )


def strange_columns(strange: dict[str, Any]) -> dict[str, str]:
    """Heading ▸ key of what was measured with strange pictures: not every model can tell all."""
    columns = {
        "threshold": "passing",
        "energy": "fpr95_energy",
        "confidence": "fpr95_confidence",
    }
    return {heading: key for heading, key in columns.items() if strange["all"][key] is not None}


def _target(point: OperatingPoint | None, target: float) -> dict[str, Any]:
    if point is None:
        return {"target": target, "reached": False}
    return {"target": target, "reached": True, **_point(point)}


def _point(point: OperatingPoint) -> dict[str, Any]:
    low, high = measure.wilson(round(point.precision * point.answered), point.answered)
    return {**asdict(point), "precision_low": low, "precision_high": high}


def suggested_min_confidence(contract: Contract) -> float | None:
    """What training picked on held-out images; None if nothing. The evidence comes from a file, and
    may be anything."""
    said = contract.evidence.get("min_confidence")
    value = said.get("value") if isinstance(said, dict) else None
    return value if isinstance(value, float) and 0 <= value <= 1 else None


def _suggested(contract: Contract, confidences: Scores, right: Flags) -> OperatingPoint | None:
    value = suggested_min_confidence(contract)
    return None if value is None else measure.at_threshold(confidences, right, value)


def _confidences(outputs: Scores, contract: Contract) -> Scores:
    """float32 (n,): the probability of each answer."""
    highest: Scores = to_probabilities(outputs, contract).max(axis=1)
    return highest


def _strange(found: Evaluation) -> dict[str, Any]:
    """How many pictures of no class pass for one: by the model's own threshold, and where 95% of
    the labelled images pass, by energy and by confidence alone; None for what it cannot tell."""
    contract = found.contract
    has_logits, threshold = contract.output == "logits", contract.energy_threshold

    def passing(outputs: Scores) -> float | None:
        return None if threshold is None else measure.passing_share(energy(outputs), threshold)

    def shares(outputs: Scores) -> dict[str, float | None]:
        return {
            "passing": passing(outputs),
            "fpr95_energy": measure.fpr95(energy(found.outputs), energy(outputs))
            if has_logits
            else None,
            "fpr95_confidence": measure.fpr95(
                _confidences(found.outputs, contract), _confidences(outputs, contract)
            ),
        }

    return {
        "each": len(next(iter(found.strange.values()))),
        "known_passing": passing(found.outputs),
        "kinds": {kind: shares(outputs) for kind, outputs in found.strange.items()},
        "all": shares(np.concatenate([*found.strange.values()])),
    }


def _classes(confusion: Classes, labels: Sequence[str]) -> list[dict[str, Any]]:
    precision, recall = measure.precision_and_recall(confusion)
    return [
        {
            "label": label,
            "images": int(confusion[place].sum()),
            "answers": int(confusion[:, place].sum()),
            "precision": float(precision[place]),
            "recall": float(recall[place]),
        }
        for place, label in enumerate(labels)
    ]


def _bins(found: Reliability) -> dict[str, Any]:
    count = len(found.counts)
    return {
        "calibration_error": found.calibration_error,
        "bins": [
            {
                "above": place / count,
                "up_to": (place + 1) / count,
                "images": int(found.counts[place]),
                "confidence": float(found.confidence[place]),
                "accuracy": float(found.accuracy[place]),
            }
            for place in range(count)
        ],
    }


def _sampled(curve: Coverage) -> list[dict[str, float]]:
    """About every hundredth of the curve, and its end."""
    wanted = np.linspace(1 / CURVE_POINTS, 1, CURVE_POINTS)
    places = np.minimum(np.searchsorted(curve.coverage, wanted), len(curve.coverage) - 1)
    return [
        {
            "coverage": float(curve.coverage[place]),
            "min_confidence": float(curve.thresholds[place]),
            "accuracy": float(curve.accuracy[place]),
        }
        for place in np.unique(places)
    ]


def _rounded(value: Any) -> Any:
    """Figures as they are worth writing down; what is no number is null, which JSON has."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: inner if key in EXACT else _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
