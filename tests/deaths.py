"""The end of a process at any step, played within one."""

from __future__ import annotations

from collections.abc import Callable


class DiedError(BaseException):
    """The process would be dead."""


class Death:
    """Functions that end it when one of them is called for the n-th time, before or after."""

    def __init__(self, at: int, *, before: bool) -> None:
        self._left, self._before = at, before

    def wrap(self, function: Callable[..., object]) -> Callable[..., object]:
        def dying(*arguments: object, **named: object) -> object:
            self._left -= 1
            if self._left == 0 and self._before:
                raise DiedError
            value = function(*arguments, **named)
            if self._left == 0:
                raise DiedError
            return value

        return dying
