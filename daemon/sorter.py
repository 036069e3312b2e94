"""Images that are done ▸ the folders that they belong into, some at a time, beside the work."""

from __future__ import annotations

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from classifier.read import Signature
from classifier.room import FULL
from daemon import moving
from daemon.access import denied
from daemon.inside import NameTakenError
from daemon.jobs import Outcome
from daemon.journal import Journal
from daemon.moves import Move
from daemon.moving import Hands, Step
from daemon.row import escape
from daemon.troubles import Kind, Troubles

log = logging.getLogger(__name__)

# At most so many in a turn, and none begun after so long: a large file on another disk is copied.
MOVES_A_TURN, TURN_SECONDS = 256, 0.2
LOOK_SECONDS = 0.5  # for what `retry` puts into the journal
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 2.0, 60.0

Way = tuple[bytes, bytes]  # from a folder to a folder


class _Pause(NamedTuple):
    """Why nothing can be moved that way, and when it is tried again, by the monotonic clock."""

    text: str
    until: float
    seconds: float


class Sorter:
    """A duty of the loop. What the last process has left half done is done first."""

    def __init__(
        self,
        journal: Journal,
        troubles: Troubles,
        synced: Callable[[], int],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """synced: the number of the last row that is safe in results.csv.
        beat: called now and then while a large file is copied to another disk."""
        self._beat = beat
        self._journal = journal
        self._troubles = troubles
        self._synced = synced
        self._after = 0  # the number of the last move that was looked at
        self._next = 0.0
        self._pauses: dict[Way, _Pause] = {}

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        if outcomes or now >= self._next:
            self._turn(now)

    def next_due(self, now: float) -> float:  # noqa: ARG002
        return self._next

    def finish(self) -> None:
        """Move all that can be moved; for work that has an end."""
        while self._turn(time.monotonic()):
            pass

    def _turn(self, now: float) -> bool:
        """Look at some moves. Whether there may be more that can be made now."""
        found = self._journal.open_moves(self._after, self._synced(), MOVES_A_TURN)
        is_last = len(found) < MOVES_A_TURN
        began_at = self._after
        self._after = 0 if is_last else found[-1].seq
        due = [move for move in found if now >= self._pause_of(move)]
        if due:
            self._move(due, now)
        if is_last and began_at == 0:  # all of them were seen: what is not there holds up nothing
            ways = {way_of(move) for move in found}
            self._pauses = {way: it for way, it in self._pauses.items() if way in ways}
        self._tell()
        goes_on = bool(due) or not is_last
        self._next = now if goes_on else now + LOOK_SECONDS
        return goes_on

    def _pause_of(self, move: Move) -> float:
        pause = self._pauses.get(way_of(move))
        return -math.inf if pause is None else pause.until

    def _move(self, moves: Sequence[Move], now: float) -> None:
        """One turn: names are noted, files moved, folders made durable, and that is noted."""
        with Hands(self._beat) as hands:
            turn = _Turn(hands)
            begun = [move for move in moves if move.has_begun]
            fresh = turn.choose([move for move in moves if not move.has_begun])
            if fresh:
                self._journal.begin_moves(fresh)
            turn.carry([*begun, *fresh])
            turn.settle()
            if turn.done or turn.dropped or turn.waiting or turn.back:
                self._journal.end_moves(turn.done, turn.dropped, turn.waiting, turn.back)
        for move in [*turn.done, *(move for move, _ in turn.back)]:
            self._pauses.pop(way_of(move), None)
        for move, error in turn.errors:
            self._put_off(move, error, now)

    def _put_off(self, move: Move, error: OSError, now: float) -> None:
        before = self._pauses.get(way_of(move))
        if before is not None and before.until > now:
            return  # another one of this turn
        seconds = FIRST_PAUSE_SECONDS
        if before is not None:
            seconds = min(2 * before.seconds, MAX_PAUSE_SECONDS)
        text = before.text if before else ""
        text = text or (
            f"{escape(move.source)} could not be moved to {escape(move.folder)}: "
            f"{why(move, error)}. It stays where it is, and it is tried again"
        )
        self._pauses[way_of(move)] = _Pause(text, now + seconds, seconds)

    def _tell(self) -> None:
        """One trouble at a time, for as long as it is there: not another one with every file."""
        texts = [pause.text for pause in self._pauses.values()]
        if (told := self._troubles.text(Kind.UNMOVED)) in texts:
            return
        text = texts[0] if texts else ""
        if self._troubles.note(Kind.UNMOVED, text):
            if text:
                log.error("%s", text)
            elif told:
                log.info("images are moved again")


class _Turn:
    """Some moves that are made together."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._began = time.monotonic()
        self._copied: list[Move] = []  # the source is still there
        self._moved: list[Move] = []
        self.done: list[Move] = []
        self.back: list[tuple[Move, Signature]] = []
        self.dropped: list[Move] = []
        self.waiting: list[Move] = []  # for another name
        self.errors: list[tuple[Move, OSError]] = []

    def choose(self, moves: Sequence[Move]) -> list[Move]:
        """Those that can begin, with the names that they get."""
        fresh, taken = [], set[bytes]()
        for move in moves:
            try:
                named = moving.chosen(move, self._hands, taken)
            except OSError as error:
                self._refuse(move, error)
                continue
            if named is None:
                self.dropped.append(move)
            else:
                fresh.append(named)
        return fresh

    def carry(self, moves: Sequence[Move]) -> None:
        for number, move in enumerate(moves):
            if number and time.monotonic() - self._began > TURN_SECONDS:
                return  # the others have begun, and are carried in another turn
            try:
                step = moving.carry(move, self._hands)
            except NameTakenError:  # in this very moment, or since an earlier attempt
                self.waiting.append(move)
                continue
            except OSError as error:
                self.errors.append((move, error))
                continue
            if step is Step.CHANGED:
                self.dropped.append(move)
            elif step is Step.COPIED:
                self._copied.append(move)
            else:
                self._moved.append(move)

    def settle(self) -> None:
        """Make durable what was moved, then take the sources of copies away."""
        moved = [*self._moved, *self._copied]
        moved = self._each_folder(moved, moving.sync_target, lambda move: move.folder)
        copied = set(self._copied)
        safe = []
        for move in moved:
            try:
                if move in copied:
                    moving.take_away(move, self._hands)
                if move.back:
                    moving.take_note_away(move, self._hands)
            except OSError as error:
                self.errors.append((move, error))
                if move in copied:
                    self._undo(move)
            else:
                safe.append(move)
        for move in self._each_folder(safe, moving.sync_source, lambda move: move.source_folder):
            if not move.back:
                self.done.append(move)
            elif (signature := moving.looks(move, self._hands)) is not None:
                self.back.append((move, signature))
            else:
                self.dropped.append(move)

    def _each_folder(
        self,
        moves: Sequence[Move],
        sync: Callable[[Move, Hands], None],
        folder_of: Callable[[Move], bytes],
    ) -> list[Move]:
        """Those whose folder was made durable, each folder once."""
        found: dict[bytes, OSError | None] = {}
        safe = []
        for move in moves:
            folder = folder_of(move)
            if folder not in found:
                found[folder] = None
                try:
                    sync(move, self._hands)
                except OSError as error:
                    found[folder] = error
            if (failure := found[folder]) is None:
                safe.append(move)
            else:
                self.errors.append((move, failure))
        return safe

    def _undo(self, move: Move) -> None:
        with suppress(OSError):  # it has begun, and is brought to its end another time
            if moving.undo(move, self._hands):
                self.waiting.append(move)

    def _refuse(self, move: Move, error: OSError) -> None:
        """One that cannot begin."""
        if isinstance(error, NameTakenError) and move.back:
            log.warning(
                "%s: is not put back to be tried again, as another file is called so by now: "
                "move one of them, then `classifyd retry`", escape(move.target),
            )  # fmt: skip
            self.dropped.append(move)
        else:
            self.errors.append((move, error))


def way_of(move: Move) -> Way:
    return move.source_folder, move.folder


def why(move: Move, error: OSError) -> str:
    """What is wrong, and what to do."""
    if error.errno in FULL:
        return f"the disk of {escape(move.folder)} is full: make room"
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return (
            "on the way there is a link, which is not followed, or something that is no folder: "
            "take it away, or name the folder itself under `after:`"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        for folder in (move.source_folder, move.folder):
            there = Path(os.fsdecode(folder))
            while not os.path.isdir(there) and there != there.parent:  # noqa: PTH112 - raises nothing
                there = there.parent
            if reason := denied(there, os.W_OK | os.X_OK):
                return reason
    return error.strerror or str(error)
