"""Threads for the parts of one operation: how many, how far ahead, and how they end."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import ObjectClerkException, OperationCancelled
from object_clerk.retry import Operation, Patience
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.pool import run_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKERS = pytest.mark.parametrize("workers", [1, 3])


def _operation(deadline_s: float | None = None) -> Operation:
    return Operation("verb", "bucket", "key", Patience(deadline_s=deadline_s))


def _until_cancelled(op: Operation, stopped: list[int]) -> Callable[[], int]:
    """A task that goes on until its operation is cancelled, at most for ten seconds."""

    def task() -> int:
        for _ in range(1000):
            try:
                op.check()
            except OperationCancelled:
                stopped.append(1)
                raise
            time.sleep(0.01)
        return 0

    return task


def _raising(error: BaseException) -> Callable[[], int]:
    def task() -> int:
        raise error

    return task


@WORKERS
def test_every_result_is_handed_over_once(workers: int) -> None:
    results: list[int] = []
    thread = threading.current_thread()

    def finished(result: int) -> None:
        assert threading.current_thread() is thread
        results.append(result)

    run_parts(_operation(), workers, [functools.partial(int, n) for n in range(20)], finished)

    assert sorted(results) == list(range(20))


@WORKERS
def test_no_more_than_so_many_at_once(workers: int) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def task() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    run_parts(_operation(), workers, [task] * 12, lambda _: None)

    assert most[0] == workers


@WORKERS
def test_stream_is_read_no_further_than_there_are_workers(workers: int) -> None:
    """Check 26: parts that wait for a worker are not in memory yet."""
    taken, done = [0], [0]
    ahead: list[int] = []
    lock = threading.Lock()

    def tasks() -> Iterator[Callable[[], None]]:
        for _ in range(12):
            taken[0] += 1
            ahead.append(taken[0] - done[0])
            yield task

    def task() -> None:
        with lock:
            done[0] += 1

    run_parts(_operation(), workers, tasks(), lambda _: None)

    assert max(ahead) <= workers


def test_workers_have_work_while_a_result_is_dealt_with() -> None:
    """Downloads hash what has come in ``finished``; meanwhile the next parts have to come."""
    begun = [threading.Event() for _ in range(8)]

    def task(number: int) -> int:
        begun[number].set()
        return number

    def finished(number: int) -> None:
        # All but the last have as many after them as there are workers.
        assert begun[min(number + 2, 7)].wait(10)

    run_parts(_operation(), 2, [functools.partial(task, n) for n in range(8)], finished)


@pytest.mark.parametrize("error", [ObjectClerkException("broken"), KeyboardInterrupt()])
def test_first_error_stops_all(error: BaseException) -> None:
    """Check 9: nothing goes on behind the caller's back, and the operation can be cleaned up."""
    op = _operation()
    stopped: list[int] = []
    began = time.monotonic()
    tasks = [_until_cancelled(op, stopped), _until_cancelled(op, stopped), _raising(error)]

    with pytest.raises(type(error)) as caught:
        run_parts(op, 3, tasks, lambda _: None)

    assert caught.value is error
    assert stopped == [1, 1]
    assert time.monotonic() - began < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("verb")]
    op.check()  # what follows may run


@pytest.mark.parametrize("where", ["tasks", "finished"])
def test_error_of_the_caller_stops_all(where: str) -> None:
    """Check 4: also one of the stream that the parts come from."""
    op = _operation()
    stopped: list[int] = []

    def broken() -> None:
        raise ObjectClerkException("broken")

    def tasks() -> Iterator[Callable[[], int]]:
        yield _until_cancelled(op, stopped)
        yield lambda: 0
        if where == "tasks":
            broken()

    with pytest.raises(ObjectClerkException, match="broken"):
        run_parts(op, 2, tasks(), lambda _: broken() if where == "finished" else None)

    assert stopped == [1]


def test_tasks_that_have_not_begun_are_not_run() -> None:
    op = _operation()
    run: list[int] = []

    def task() -> int:
        run.append(1)
        return 0

    tasks = [_raising(ObjectClerkException("broken")), *[task] * 50]

    with pytest.raises(ObjectClerkException, match="broken"):
        run_parts(op, 2, tasks, lambda _: time.sleep(0.005))

    assert len(run) < 10


class TestBandwidth:
    def test_no_limit_costs_nothing(self) -> None:
        began = time.monotonic()
        Bandwidth(None).spend(_operation(), 1 << 60)

        assert time.monotonic() - began < 20

    def test_limit_holds_over_all_threads(self) -> None:
        bandwidth, op = Bandwidth(100_000), _operation()

        def spend() -> None:
            for _ in range(4):
                bandwidth.spend(op, 2500)

        threads = [threading.Thread(target=spend) for _ in range(3)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        # The last block may begin when those before it have passed.
        assert time.monotonic() - began >= 0.25

    def test_wait_ends_when_the_operation_is_cancelled(self) -> None:
        bandwidth, op = Bandwidth(1), _operation()
        bandwidth.spend(op, 1000)
        op.cancel()

        with pytest.raises(OperationCancelled):
            bandwidth.spend(op, 1)
