"""The figures of an evaluation as one web page that says in plain words what they mean."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from trainer.findings import strange_columns

MOST_OFTEN = 5  # confusions that are named
LISTED = 100  # images that were left out
SHOWN = {
    "confusion.png": "Matrix: how many images of each class were taken for which class",
    "reliability.png": "Bars: the share of right answers for each confidence",
    "coverage.png": "Curve: the share of right answers, if only the surest are taken",
    "worst.png": "Pictures: the mistakes made with most confidence",
}
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2933; background: #fff; margin: 2.5rem auto;
  max-width: 52rem; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.6rem; }
.quiet { color: #616e7c; font-size: .9rem; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.tiles div { flex: 1 1 11rem; background: #f3f6fa; border-radius: .6rem; padding: .8rem 1rem; }
.tiles b { display: block; font-size: 1.55rem; color: #1f6feb; }
img { max-width: 100%; display: block; margin: .8rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
td, th { padding: .28rem .9rem .28rem 0; text-align: right; border-bottom: 1px solid #e4e7eb; }
td:first-child, th:first-child { text-align: left; overflow-wrap: anywhere; }
th { color: #616e7c; font-weight: 600; } code { background: #f3f6fa; padding: .1rem .3rem; }
"""


def page(said: dict[str, Any], plots: Mapping[str, bytes]) -> str:
    """HTML with the plots inside, so that the one file can be passed on.

    said: what metrics.json holds. plots: name ▸ PNG.
    """
    pictures = {
        name: f'<div class="wide"><img alt="{SHOWN[name]}" src="data:image/png;base64,'
        f'{base64.b64encode(content).decode()}"></div>'
        for name, content in plots.items()
    }
    title = f"How far to trust {escape(said['model'])}"
    parts = [
        f"<h1>{title}</h1>",
        f'<p class="quiet">Measured on {escape(said["data"])}, {said["date"]}, by the program that '
        f"serves. Model {said['sha256'][:12]}. All figures: metrics.json</p>",
        _tiles(said),
        "<h2>How often is it right?</h2>",
        _rightness(said["summary"]),
        "<h2>What does it take for what?</h2>",
        "<p>Each row is what the images are, each column what was answered. The dark diagonal is "
        "what was right.</p>",
        _confusions(said["confusion"], said["labels"]),
        pictures["confusion.png"],
        _classes(said["classes"]),
        "<h2>Can its confidence be believed?</h2>",
        _calibration(said),
        pictures["reliability.png"],
        "<h2>What should <code>min_confidence</code> be?</h2>",
        _suggested(said["suggested"]),
        _threshold(said["target_precision"]),
        pictures["coverage.png"],
        "<h2>What does it say of something else altogether?</h2>",
        _strange(said),
        "<h2>Where is it wrong and does not know it?</h2>",
        "<p>The mistakes made with most confidence: what it is, and → what was answered. Some may "
        "be images with a wrong label.</p>",
        pictures["worst.png"],
        _worst(said["worst"]),
        *_left_out(said["left_out"]),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<style>{STYLE}</style>\n{body}\n</html>\n"
    )


def _tiles(said: dict[str, Any]) -> str:
    summary, target, strange = said["summary"], said["target_precision"], said["strange"]
    tiles = [
        (_percent(summary["accuracy"]), "of the images are recognised"),
        (_percent(summary["calibration_error"]), "is its confidence off, on average"),
    ]
    if target["reached"]:
        words = f"are answered if {100 * target['target']:g}% of the answers shall be right"
        tiles.append((_percent(target["coverage"]), words))
    if strange["known_passing"] is not None:
        words = "of pictures of no class are noticed"
        tiles.append((_percent(1 - strange["all"]["passing"]), words))
    inner = "".join(f"<div><b>{figure}</b>{words}</div>" for figure, words in tiles)
    return f'<div class="tiles">{inner}</div>'


def _rightness(summary: dict[str, Any]) -> str:
    return (
        f"<p>{_percent(summary['accuracy'])} of {summary['images']:,} images. Of as many other "
        "images of the same kind it would be much the same: the true share lies between "
        f"{_percent(summary['accuracy_low'])} and {_percent(summary['accuracy_high'])} (95% "
        "interval). Your own images may be harder or easier than these: only labelled images of "
        "your own can say.</p>"
    )


def _classes(classes: list[dict[str, Any]]) -> str:
    rows = (
        (escape(one["label"]), f"{one['images']:,}", _percent(one["recall"]),
         f"{one['answers']:,}", _percent(one["precision"]))
        for one in classes
    )  # fmt: skip
    table = _table(("class", "images", "found (recall)", "answers", "right (precision)"), rows)
    return f"<p>Class by class:</p>{table}"


def _confusions(matrix: list[list[int]], labels: list[str]) -> str:
    found = sorted(
        (
            (count, row, column)
            for row, counts in enumerate(matrix)
            for column, count in enumerate(counts)
            if row != column and count
        ),
        reverse=True,
    )[:MOST_OFTEN]
    if not found:
        return "<p>Not one image was taken for another class.</p>"
    words = (
        f"{escape(labels[row])} for {escape(labels[column])} ({count:,} of {sum(matrix[row]):,})"
        for count, row, column in found
    )
    return f"<p>Most often it took {', '.join(words)}.</p>"


def _calibration(said: dict[str, Any]) -> str:
    words = (
        "<p>Of answers with a confidence of 80%, some 80% should be right. Bars below the dashed "
        "line: it is surer than it is right. Thin lines are 95% intervals. On average its "
        f"confidence is off by {_percent(said['summary']['calibration_error'])}"
    )
    if without := said["reliability"]["without_temperature"]:
        words += (
            f"; without the correction that the model carries (temperature "
            f"{said['temperature']:.3g}) it would be {_percent(without['calibration_error'])}"
        )
    return f"{words}.</p>"


def _suggested(point: dict[str, Any] | None) -> str:
    if point is None:
        return ""
    return (
        f"<p>Training suggests <code>min_confidence: {point['min_confidence']}</code>, by images "
        f"that it held out. Here, {_percent(point['precision'])} of the answers are right then "
        f"(95% interval {_percent(point['precision_low'])} to {_percent(point['precision_high'])}),"
        f" and {_percent(point['coverage'])} of the images are answered.</p>"
    )


def _threshold(target: dict[str, Any]) -> str:
    wanted = f"{100 * target['target']:g}%"
    if not target["reached"]:
        return (
            f"<p>No setting makes {wanted} of the answers right on these images. Ask for less with "
            "<code>--target-precision</code>, or train a better model.</p>"
        )
    return (
        f"<p>With <code>min_confidence: {target['min_confidence']}</code>, "
        f"{_percent(target['precision'])} of the answers are right (95% interval "
        f"{_percent(target['precision_low'])} to {_percent(target['precision_high'])}), and "
        f"{_percent(target['coverage'])} of the images are answered; the other "
        f"{target['withheld']:,} are marked <code>uncertain</code>. It is the lowest "
        f"setting that gives {wanted} on these images. Because it was picked on the same images "
        "that it is measured on, this is optimistic: try it on others before you rely on it.</p>"
    )


def _strange(said: dict[str, Any]) -> str:
    strange, columns = said["strange"], strange_columns(said["strange"])
    words = (
        f"<p>It was shown {strange['each']} drawn pictures of each kind below, which show none of "
        "its classes. The table says how many pass for one of them; less is better.</p>"
    )
    if strange["known_passing"] is None:
        words += (
            "<p>This model has no threshold for strange images: in use, it answers them with one "
            "of its classes, and only <code>min_confidence</code> can catch them.</p>"
        )
    score = (
        "the same score" if "threshold" in columns else "how much it looks like any class at all"
    )
    meanings = {
        "threshold": "<b>threshold</b>: by the model's own threshold, as in use; "
        f"{_percent(strange['known_passing'])} of the labelled images pass it.",
        "energy": f"<b>energy</b>: {score}, at the threshold that 95% of these labelled images "
        "pass (FPR95).",
        "confidence": "<b>confidence</b>: if the confidence of the answer decided, again where 95% "
        "of the labelled images pass; for comparison.",
    }
    rows = (
        (escape(kind), *(_percent(shares[key]) for key in columns.values()))
        for kind, shares in {**strange["kinds"], "all": strange["all"]}.items()
    )
    legend = "<br>".join(meanings[heading] for heading in columns)
    return f'{words}{_table(("kind", *columns), rows)}<p class="quiet">{legend}</p>'


def _worst(worst: list[dict[str, Any]]) -> str:
    if not worst:
        return ""
    rows = (
        (escape(one["name"]), escape(one["label"]), escape(one["answer"]),
         f"{100 * one['confidence']:.2f}%")
        for one in worst
    )  # fmt: skip
    table = _table(("image", "is", "answered", "confidence"), rows)
    return f"<details><summary>Which files these are</summary>{table}</details>"


def _left_out(left_out: list[dict[str, str]]) -> Iterable[str]:
    if left_out:
        yield f"<h2>Left out: {len(left_out):,} images</h2>"
        yield _table(
            ("image", "why"),
            ((escape(one["name"]), escape(one["reason"])) for one in left_out[:LISTED]),
        )
        if len(left_out) > LISTED:
            yield f"<p>The first {LISTED}; all are in metrics.json.</p>"


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
