"""What a worker answers, and whether it is an answer. An image may have taken over the worker, and
then it says anything.

So answers are JSON, of which nothing but texts and numbers can come; and a worker may not speak of
images that it was not given, or in a way that harms the main process, the journal or results.csv.
What can be known without it, it is not asked: rows are put together here. That its own images may
be misjudged cannot be helped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from classifier.read import Signature
from daemon.jobs import Answer, Finding, Job, Outcome, classified, failed, timestamp
from daemon.messages import Plan, Ready, Trouble
from daemon.row import is_clean

# Of a worker's words, besides and for every image: a reason and a few labels.
BASE_BYTES, IMAGE_BYTES = 1 << 20, 1 << 16
SHA256 = re.compile("[0-9a-f]{64}")
MAX_SIDE = 1 << 31  # pixels
MAX_REASON = 2000  # characters; many times our longest


def encoded(said: Ready | Trouble | Sequence[Finding]) -> bytes:
    """What a worker sends."""
    if isinstance(said, Ready):
        return json.dumps({"ready": said.forces}).encode()
    if isinstance(said, Trouble):
        return json.dumps({"trouble": said}).encode()
    return json.dumps({"findings": [[one.job.seq, *one[1:]] for one in said]}).encode()


class Listener:
    """Makes outcomes of what workers with one plan say."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._model = plan.model
        self._labels = frozenset(plan.program.contract.labels)

    def understood(self, data: bytes, batch: Sequence[Job]) -> Ready | Trouble | list[Outcome]:
        """What a worker says of this batch, and what follows from its findings.

        Raises `ValueError` or `RecursionError` for what none of ours says.
        """
        match json.loads(data):
            case {"ready": str(forces)}:
                return Ready(forces)
            case {"trouble": [int(number), str(text), str(path), bool(failed_sync)]}:
                return Trouble(number, text, path, failed_sync)
            case {"findings": list(found)} if batch and len(found) == len(batch):
                now = timestamp()
                return [self._outcome(one, job, now) for one, job in zip(found, batch, strict=True)]
        raise ValueError("this is no answer")

    def _outcome(self, said: Any, job: Job, now: str) -> Outcome:
        match said:
            case [job.seq, None, "", None, False, True, signature]:
                return Outcome(job, _signature(signature), unsettled=True)
            case [job.seq, None, str(reason), None, bool(again), False, None] if reason:
                return failed(job, _clean(reason), self._model, again=again)
            case [job.seq, str(sha256), str(reason), answer, bool(again), False, None]:
                if not SHA256.fullmatch(sha256):
                    raise ValueError("this is no digest")
                if reason:
                    return failed(job, _clean(reason), self._model, sha256=sha256, again=again)
                if answer is not None:
                    given = self._answer(answer)
                    verdict = self._plan.verdict(given)
                    return classified(job, given, self._model, sha256, now, verdict=verdict)
                # Without a row for it, an image is done only if its content has one.
                if sha256 in job.known:
                    return Outcome(job, sha256=sha256)
        raise ValueError("this is no finding on the job")

    def _answer(self, said: Any) -> Answer:
        match said:
            case [[_, *_] as ranking, bool(unknown), width, height]:
                if self._is_ranking(ranking) and _is_side(width) and _is_side(height):
                    return Answer(ranking, unknown, width, height)
        raise ValueError("this is no answer to an image")

    def _is_ranking(self, said: list[Any]) -> bool:
        if len(said) > len(self._labels):
            return False
        for place in said:
            if type(place) is not list or len(place) != 2:
                return False
            label, share = place
            if type(label) is not str or label not in self._labels:
                return False
            if type(share) is not float or not 0 <= share <= 1 or math.copysign(1, share) < 0:
                return False
        return True


def _signature(said: Any) -> Signature | None:
    match said:
        case None:
            return None
        case [size, mtime_ns, ctime_ns] if all(map(_is_int, said)):
            return Signature(size, mtime_ns, ctime_ns)
    raise ValueError("this is no signature of a file")


def _clean(reason: str) -> str:
    if len(reason) > MAX_REASON or not is_clean(reason):
        raise ValueError("this is no line of text")
    return reason


def _is_side(value: object) -> bool:
    """Of an image, in pixels."""
    return type(value) is int and 0 < value < MAX_SIDE


def _is_int(value: object) -> bool:
    """One that SQLite can hold."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63
