"""Threads for the parts of one operation."""

from __future__ import annotations

from collections import deque
from concurrent import futures
from typing import TYPE_CHECKING, TypeVar

from object_clerk.exceptions import OperationCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from object_clerk.retry import Operation

T = TypeVar("T")


def run_parts(
    op: Operation,
    workers: int,
    tasks: Iterable[Callable[[], T]],
    finished: Callable[[T], None],
) -> None:
    """Run the tasks, at most ``workers`` at once, and hand each result to ``finished``.

    Tasks are taken from the iterable only when a worker is free, so a generator that reads a
    stream stays no more than that far ahead. ``finished`` is called in the calling thread, as
    results come, while the workers have something to do. The first error, Ctrl-C included, stops
    all tasks and is raised when they have stopped: nothing goes on behind the caller's back.
    """
    if workers <= 1:
        for task in tasks:
            op.check()
            finished(task())
        return
    running: set[futures.Future[T]] = set()
    results: deque[T] = deque()

    def collect() -> None:
        while results:
            finished(results.popleft())
        done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
        for future in done:
            results.append(future.result())
            running.discard(future)

    with futures.ThreadPoolExecutor(workers, thread_name_prefix=op.name) as executor:
        try:
            for task in tasks:
                running.add(executor.submit(task))
                if len(running) >= workers:
                    collect()
            while running or results:
                collect()
        except BaseException as error:
            op.cancel()
            futures.wait(running)
            op.stopped()
            if isinstance(error, OperationCancelled):
                _raise_cause(running, error)
            raise


def _raise_cause(stopped: Iterable[futures.Future[T]], error: OperationCancelled) -> None:
    """Raise the failure that made the others stop, in place of one that merely stopped."""
    for future in stopped:
        cause = future.exception()
        if cause is not None and not isinstance(cause, OperationCancelled):
            raise cause from error
