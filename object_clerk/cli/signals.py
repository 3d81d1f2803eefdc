"""Signals that end a command: tidy up first, and then leave without a traceback."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal other than Ctrl-C asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise :class:`Stopped`, as Ctrl-C raises KeyboardInterrupt.

    A signal that somebody ignores (nohup) or handles stays as it is.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [each for each in _ENDING if signal.getsignal(each) is signal.SIG_DFL]
    for each in replaced:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in replaced:
            signal.signal(each, signal.SIG_DFL)


@contextlib.contextmanager
def deferrable() -> Iterator[Callable[[], None]]:
    """A function after whose call no signal disturbs the rest of the block.

    For tidying up: an impatient second Ctrl-C must not leave half of it undone. If it was a
    signal that ended the block, the process is about to end, and none disturbs it any more.
    """
    before = {}

    def ignore() -> None:
        if threading.current_thread() is threading.main_thread():
            for each in (signal.SIGINT, *_ENDING):
                before[each] = signal.signal(each, signal.SIG_IGN)

    try:
        yield ignore
    except (KeyboardInterrupt, Stopped):
        before.clear()
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
