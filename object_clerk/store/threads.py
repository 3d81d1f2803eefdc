"""The threads in which the calls of an AsyncObjectStore are made."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most so many threads, made when they are needed; bound to no event loop.

    Args:
        most: so many.
        name: how they are called.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call in one of them, with the context variables of here."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most, self._name)
            context = contextvars.copy_context()
            return self._pool.submit(context.run, functools.partial(call, *args, **kwargs))

    async def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call and wait for it.

        If this is cancelled, a call that waits for a thread is not made, and one that was begun
        goes on to its end: half a request cannot be taken back. An object that it opens is closed.
        """
        made = self.submit(call, *args, **kwargs)
        try:
            return await asyncio.wrap_future(made)
        except asyncio.CancelledError:
            made.add_done_callback(_give_up)
            raise

    def shutdown(self, *, wait: bool = True) -> None:
        """End the threads.

        Args:
            wait: for the calls that were begun or asked for. Otherwise each thread ends with its
                call, and calls that wait for a thread are not made.
        """
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait, cancel_futures=not wait)


def _give_up(made: Future[Any]) -> None:
    """Close what nobody waits for any more."""
    if not made.cancelled() and made.exception() is None:
        result = made.result()
        if isinstance(result, contextlib.AbstractContextManager):
            result.__exit__(None, None, None)
