"""A clock that nobody has to wait for, threads that are none, and dice that fall as they must.

`installed` puts them where the package uses the real ones. `STAGE` is what they all refer to; a
run gives it a new clock, new dice, and the client that a connection is to have.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import sys
import threading
import time
import types
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from object_clerk import connection, retry
from object_clerk.checksum import layout
from object_clerk.transfer import files, pool, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

#: The sizes of the simulation: with parts this small, objects of a few hundred bytes have several.
PART = 64
SMALLEST_PART = 32
BLOCK = 24
USUAL_PARTS = (PART, 80, 50)


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += max(0.0, seconds)


class Stage:
    """What stands in for clock, dice and boto3 in the run that is on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.dice = random.Random(0)
        self.client: Any = None

    def token(self, size: int) -> str:
        """Hexadecimal digits that nobody has seen, and the same ones in every run of a seed."""
        return self.dice.randbytes(size).hex()

    def set(self, clock: Clock, dice: random.Random, client: Any) -> None:
        """Begin another run."""
        self.clock, self.dice, self.client = clock, dice, client
        retry.RetryBudget._all.clear()


STAGE = Stage()


class _Event:
    """threading.Event, for one thread."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            STAGE.clock.advance(timeout)
        return self._is_set


class _Task:
    """A task of the executor below, and its own future."""

    def __init__(self, serial: int, work: Callable[[], Any]) -> None:
        self.serial = serial
        self._work: Callable[[], Any] | None = work
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        if self._work is None:
            return
        work, self._work = self._work, None
        try:
            self._result = work()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.run()
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> BaseException | None:
        self.run()
        return self._error


class _Executor:
    """Runs its tasks when somebody waits for them, in an order that the dice decide."""

    def __init__(self, workers: int, thread_name_prefix: str = "") -> None:
        self._serial = 0

    def __enter__(self) -> _Executor:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, work: Callable[[], Any]) -> _Task:
        self._serial += 1
        return _Task(self._serial, work)


def _wait(tasks: Collection[_Task], return_when: str = "all") -> tuple[set[_Task], set[_Task]]:
    ordered = sorted(tasks, key=lambda task: task.serial)
    chosen = [STAGE.dice.choice(ordered)] if return_when == "first" and ordered else ordered
    for task in chosen:
        task.run()
    return set(chosen), set(tasks) - set(chosen)


class _Os(types.ModuleType):
    """The module os without what only a power cut could tell."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(os, name)
        setattr(self, name, value)
        return value

    def fsync(self, fd: int) -> None:
        return None


def _modules() -> list[types.ModuleType]:
    """The modules of the core; the testing kit has threads of its own that need the real clock."""
    others = ("object_clerk.testing", "object_clerk.cli")
    found = [m for name, m in sys.modules.items() if name.startswith("object_clerk.")]
    return [module for module in found if not module.__name__.startswith(others)]


def _stand_ins() -> dict[str, tuple[types.ModuleType, types.SimpleNamespace]]:
    made = types.SimpleNamespace
    return {
        "time": (time, made(monotonic=lambda: STAGE.clock.now)),
        "random": (random, made(uniform=lambda low, high: STAGE.dice.uniform(low, high))),
        "secrets": (secrets, made(token_hex=lambda size: STAGE.token(size))),
        "uuid": (uuid, made(uuid4=lambda: made(hex=STAGE.token(16)))),
    }


@contextlib.contextmanager
def installed() -> Iterator[Stage]:
    """Put everything in its place, and take it away again."""
    quiet = logging.getLogger("object_clerk")
    level = quiet.level
    with pytest.MonkeyPatch.context() as patch:
        for module in _modules():
            for name, (real, stand_in) in _stand_ins().items():
                if getattr(module, name, None) is real:
                    patch.setattr(module, name, stand_in)
        threads = types.SimpleNamespace(Event=_Event, Lock=threading.Lock)
        patch.setattr(retry, "threading", threads)
        executor = types.SimpleNamespace(
            ThreadPoolExecutor=_Executor, wait=_wait, FIRST_COMPLETED="first"
        )
        patch.setattr(pool, "futures", executor)
        patch.setattr(files, "os", _Os("os"))
        patch.setattr(layout, "SMALLEST_PART", SMALLEST_PART)
        patch.setattr(layout, "USUAL_PART_SIZES", USUAL_PARTS)
        patch.setattr(upload, "IN_MEMORY_BYTES", PART - 1)  # parts are read while they are sent
        patch.setattr(retry.RetryBudget, "_all", {})
        patch.setattr(connection.Connection, "_build", lambda _: STAGE.client)
        # A tenth of a millisecond for settings of a client that is not made.
        settings = Config()
        patch.setattr(connection, "_botocore_config", lambda _: settings)
        quiet.setLevel(logging.CRITICAL)  # thousands of retries a second are not worth a line
        try:
            yield STAGE
        finally:
            quiet.setLevel(level)
