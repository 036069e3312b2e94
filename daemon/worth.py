"""What a model is worth: the evidence that its file carries, in a line of text.

The file comes from somewhere, so nothing in it is taken to be of the right kind, and nothing is
shown as it stands.
"""

from __future__ import annotations

from typing import Any

from daemon.row import shown

UNKNOWN = "it carries no figures; `classifyd-train evaluate` measures it"
MAX_TEXT = 80  # characters of a name or a date
MAX_IMAGES = 10**12
PARTS = (
    ("test", "test images"),
    # The figure flatters a little.
    ("validation", "held-out training images, by which its best epoch was chosen"),
)


def worth(evidence: object) -> str:
    """How often a model was right, on what and when, by `Contract.evidence`; one line."""
    said: dict[Any, Any] = evidence if isinstance(evidence, dict) else {}
    for part, what in PARTS:
        measured = said.get(part)
        if not isinstance(measured, dict):
            continue
        accuracy = _share(measured.get("accuracy"))
        if accuracy is None:
            continue
        images = measured.get("images")
        counted = type(images) is int and 0 < images <= MAX_IMAGES
        text = f"{100 * accuracy:.1f}% right on {f'{images:,}' if counted else 'its'} {what}"
        if source := ", ".join(filter(None, map(_line, (said.get("data"), said.get("date"))))):
            text += f" ({source})"
        error = _share(measured.get("calibration_error"))
        return text if error is None else f"{text}, calibration error {100 * error:.1f}%"
    return UNKNOWN


def _share(value: object) -> float | None:
    """A number from 0 to 1, or None for whatever else it is."""
    if type(value) not in (int, float):  # True is an int, too
        return None
    return float(value) if 0 <= value <= 1 else None  # type: ignore[operator, arg-type]


def _line(value: object) -> str:
    """A text of one line and moderate length; '' for whatever else it is."""
    if not isinstance(value, str):
        return ""
    text = shown(" ".join(value[: MAX_TEXT + 1].split()))
    return text if len(value) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
