"""The one retry layer: what is tried again, how patiently, and for how long.

Nothing else in the package loops over attempts, and botocore's own retries are off. A function
that takes an :class:`Operation` first is made retrying by the :func:`retried` decorator. Which
errors are worth another attempt is not decided here but by :class:`~.exceptions.Failure`.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import random
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import tenacity

from object_clerk import events
from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkTimeoutException,
    OperationCancelled,
    translate,
)
from object_clerk.locks import ForkSafeLock
from object_clerk.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from object_clerk.receipt import Finding

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: A call that was given no deadline gets this long, plus a second for every MiB it moves.
DEFAULT_DEADLINE_S = 300.0
SLOWEST_BYTES_PER_S = 1 << 20

#: A server's Retry-After is believed up to this many seconds.
LONGEST_RETRY_AFTER_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a failing request is repeated.

    The wait after the n-th failure is
    ``min(max_delay_s, delay_s * backoff ** (n - 1) + uniform(*jitter_s))``; it is longer when
    the server asks for that. Throttling at least doubles the delay each time.

    Attributes:
        delay_s: seconds before the second attempt.
        backoff: factor by which the delay grows.
        jitter_s: range of seconds from which a random part of every wait is drawn.
        max_delay_s: longest wait, in seconds.
        tries: attempts in all, or -1 for as many as the deadline allows.
    """

    delay_s: float = 1.0
    backoff: float = 2.0
    jitter_s: tuple[float, float] = (0.0, 1.0)
    max_delay_s: float = 20.0
    tries: int = -1

    def wait_s(self, failures: int, error: ObjectClerkException) -> float:
        """Seconds to wait after this many failures, the last of which was ``error``."""
        backoff = self.backoff
        if error.failure is Failure.THROTTLED:
            backoff = max(backoff, 2.0)
        try:
            grown = self.delay_s * backoff ** (failures - 1)
        except OverflowError:
            grown = self.max_delay_s
        wait = min(self.max_delay_s, grown + random.uniform(*self.jitter_s))  # noqa: S311
        return max(wait, min(error.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))

    def spent(self, failures: int) -> bool:
        """Whether no attempt is left after this many failures. Zero tries still make one."""
        return self.tries >= 0 and failures >= max(self.tries, 1)


class RetryBudget:
    """Keeps all clerks of a process from hammering one endpoint that is down.

    Every retry takes tokens, every success brings one back. When the bucket is empty, retries
    go on, but each waits the longest delay of its policy: a server that needs rest gets it, and
    a call that may wait still ends well. The figures are those of the AWS SDKs' standard mode.
    """

    CAPACITY = 500
    COST: Mapping[Failure, int] = {Failure.THROTTLED: 5}
    DEFAULT_COST = 14

    _all: dict[str, RetryBudget] = {}  # noqa: RUF012 - one for each endpoint of the process
    _all_lock = ForkSafeLock()

    def __init__(self) -> None:
        self._tokens = self.CAPACITY
        self._lock = ForkSafeLock()

    @classmethod
    def shared(cls, endpoint: str) -> RetryBudget:
        """The budget of ``endpoint``, the same for everybody in this process."""
        found = cls._all.get(endpoint)
        if found is None:
            with cls._all_lock:
                found = cls._all.setdefault(endpoint, cls())
        return found

    def take(self, failure: Failure) -> bool:
        """Pay for a retry; False if the bucket is empty."""
        cost = self.COST.get(failure, self.DEFAULT_COST)
        with self._lock:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def succeeded(self) -> None:
        """Bring one token back."""
        if self._tokens < self.CAPACITY:  # nearly always it is full
            with self._lock:
                self._tokens = min(self.CAPACITY, self._tokens + 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """All that governs the retries of a clerk.

    Attributes:
        connection: for requests that fail.
        checksum: for bytes that arrive changed.
        deadline_s: seconds a call may take; None for 300 plus one for every MiB it moves.
        body_tries: attempts at one stretch of a body; None for the connection policy's.
    """

    connection: RetryPolicy = RetryPolicy()
    checksum: RetryPolicy = RetryPolicy(1.0, 1.0, (1.0, 3.0), 5.0, 3)
    deadline_s: float | None = None
    body_tries: int | None = None

    def policy(self, failure: Failure) -> RetryPolicy:
        """The policy for one class of failure."""
        if failure is Failure.INTEGRITY:
            return self.checksum
        # Fresh credentials are as good as they will get, and so is a clock that was set right.
        if failure in (Failure.CREDENTIALS, Failure.CLOCK):
            return dataclasses.replace(self.connection, delay_s=0.0, jitter_s=(0.0, 0.0), tries=2)
        if failure is Failure.BODY and self.body_tries is not None:
            return dataclasses.replace(self.connection, tries=self.body_tries)
        return self.connection


class Operation:
    """One call of one verb: its object, its deadline, and what happened along the way.

    All requests and all part threads of the call share it.
    """

    def __init__(
        self,
        name: str,
        bucket: str,
        key: str | None,
        patience: Patience,
        budget: RetryBudget | None = None,
        listeners: tuple[events.Listener, ...] = (),
        recover: Callable[[ObjectClerkException], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.bucket = bucket
        self.key = key
        self.patience = patience
        self.budget = budget or RetryBudget()
        self.listeners = listeners
        self.recover = recover
        self.retries = 0
        self.request_ids: deque[str] = deque(maxlen=8)
        self.notes: list[str] = []
        self._begun = self._deadline_from = time.monotonic()
        self._allowed_s = patience.deadline_s or DEFAULT_DEADLINE_S
        self._cancelled = threading.Event()
        self._lock = threading.Lock()

    def child(self, name: str, patience: Patience) -> Operation:
        """An operation on the same object that ends independently, such as cleaning up."""
        return Operation(name, self.bucket, self.key, patience, self.budget, recover=self.recover)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._begun

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline."""
        return self._deadline_from + self._allowed_s - time.monotonic()

    @property
    def deadline_s(self) -> float:
        """The whole time allowed, in seconds."""
        return self._allowed_s

    def allow_for(self, size_bytes: int) -> None:
        """Extend the default deadline by the time that so many bytes may take."""
        if self.patience.deadline_s is None:
            self._allowed_s += size_bytes / SLOWEST_BYTES_PER_S

    def restart_deadline(self) -> None:
        """Give the next step the whole time again, where somebody else sets the pace."""
        self._deadline_from = time.monotonic()

    def cancel(self) -> None:
        """Make all threads of this operation stop at their next step."""
        self._cancelled.set()

    def stopped(self) -> None:
        """All threads have stopped: what follows, such as another way to do it, may run."""
        self._cancelled.clear()

    def check(self) -> None:
        """Raise if the operation was cancelled or its deadline has passed."""
        if self._cancelled.is_set():
            raise OperationCancelled("stopped, since another part of the operation failed")
        if self.remaining_s <= 0:
            raise ObjectClerkTimeoutException(
                f"the deadline of {self._allowed_s:g} s passed (raise retry_deadline if more "
                "time is needed)"
            )

    def sleep(self, seconds: float) -> None:
        """Wait, but neither beyond the deadline nor when the operation is cancelled."""
        if self._cancelled.wait(max(0.0, min(seconds, self.remaining_s))):
            self.check()

    def saw(self, response: Mapping[str, Any]) -> None:
        """Remember the request id of an answer."""
        metadata = response.get("ResponseMetadata", {})
        if request_id := metadata.get("RequestId"):
            self.request_ids.append(request_id)

    def started(self) -> None:
        """Tell the listeners that the operation begins."""
        self._notify(events.Started)

    def finished(self, receipt: Receipt | None) -> None:
        """Tell the listeners that the operation succeeded."""
        self._notify(events.Finished, receipt, self.elapsed_s)

    def failed(self, error: ObjectClerkException) -> None:
        """Tell the listeners that the operation failed for good."""
        self._notify(events.Failed, error, self.elapsed_s)

    def transferred(self, delta_bytes: int, total_bytes: int | None) -> None:
        """Tell the listeners that bytes moved."""
        self._notify(events.Transferred, delta_bytes, total_bytes)

    def receipt(
        self, finding: Finding, *, size: int, key: str | None = None, **facts: Any
    ) -> Receipt:
        """The receipt of this operation with what was found."""
        return Receipt(
            operation=self.name,
            bucket=self.bucket,
            key=key or self.key or "",
            size=size,
            verdict=finding.verdict,
            basis=finding.basis,
            attempts=1 + self.retries,
            elapsed_s=self.elapsed_s,
            request_ids=tuple(self.request_ids),
            notes=tuple(self.notes),
            **facts,
        )

    def renewed(self, receipt: Receipt) -> Receipt:
        """The receipt with what has happened in this operation since."""
        return dataclasses.replace(
            receipt,
            attempts=1 + self.retries,
            elapsed_s=self.elapsed_s,
            request_ids=tuple(self.request_ids),
            notes=tuple(self.notes),
        )

    def _notify(self, event: Callable[..., events.Event], *facts: Any) -> None:
        if self.listeners:
            events.notify(self.listeners, event(self.name, self.bucket, self.key, *facts))

    def announce_retry(self, attempt: int, wait_s: float, cause: ObjectClerkException) -> None:
        """Log and publish that a failed request will be repeated."""
        with self._lock:
            self.retries += 1
        self._notify(events.Retrying, attempt, wait_s, cause)
        log.warning("attempt %d failed, next in %.1f s: %s", attempt, wait_s, cause)


def retried(
    function: Callable[Concatenate[Operation, P], R],
) -> Callable[Concatenate[Operation, P], R]:
    """Make a function whose first argument is an :class:`Operation` try again when it may help.

    Whatever the function raises becomes an error of ours. What is raised in the end is the last
    real error, with its number of attempts. An error that has exhausted its attempts is marked
    and never retried by another decorated function further out, so attempts do not multiply.
    """

    @functools.wraps(function)
    def wrapper(op: Operation, /, *args: P.args, **kwargs: P.kwargs) -> R:
        def attempt() -> R:
            try:
                op.check()
                result = function(op, *args, **kwargs)
            except ObjectClerkException as error:
                error.concerning(op.name, op.bucket, op.key)
                raise
            except Exception as error:
                raise translate(error, op.name, op.bucket, op.key) from error
            op.budget.succeeded()
            return result

        # Most calls succeed at once, and need no more. tenacity goes on with those that do not.
        try:
            return attempt()
        except ObjectClerkException as error:
            failed = [error]
        return _Loop(op).go_on(failed, attempt)

    return wrapper


def retried_async(
    function: Callable[Concatenate[Operation, P], Awaitable[R]],
) -> Callable[Concatenate[Operation, P], Awaitable[R]]:
    """The same as :func:`retried` for a coroutine function: what waits is awaited."""

    @functools.wraps(function)
    async def wrapper(op: Operation, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async def attempt() -> R:
            try:
                op.check()
                result = await function(op, *args, **kwargs)
            except ObjectClerkException as error:
                error.concerning(op.name, op.bucket, op.key)
                raise
            except Exception as error:
                raise translate(error, op.name, op.bucket, op.key) from error
            op.budget.succeeded()
            return result

        try:
            return await attempt()
        except ObjectClerkException as error:
            failed = [error]
        return await _Loop(op).go_on_async(failed, attempt)

    return wrapper


class _Loop:
    """The state of one retried call: failures by policy, and the strategies tenacity asks for."""

    def __init__(self, op: Operation) -> None:
        self.op = op
        self.failures: Counter[Failure] = Counter()
        self.attempts = 0
        self.last: ObjectClerkException | None = None

    def go_on(self, failed: list[ObjectClerkException], attempt: Callable[[], R]) -> R:
        """Make more attempts while they may help, after one that has failed.

        Its error is taken out of the list, so that what it holds does not outlive the next one.
        """

        def another() -> R:
            self._begin(failed)
            return attempt()

        return tenacity.Retrying(sleep=self.op.sleep, **self._strategies())(another)

    async def go_on_async(
        self, failed: list[ObjectClerkException], attempt: Callable[[], Awaitable[R]]
    ) -> R:
        """The same, awaited."""

        async def another() -> R:
            self._begin(failed)
            return await attempt()

        return cast("R", await tenacity.AsyncRetrying(**self._strategies())(another))

    def _begin(self, failed: list[ObjectClerkException]) -> None:
        if failed:
            raise failed.pop()  # what tenacity takes for the first attempt is over
        assert self.last is not None
        if self.op.remaining_s <= 0:
            self.last.gave_up = self._out_of_time()
            raise self.last

    def _strategies(self) -> dict[str, Any]:
        return {
            "retry": tenacity.retry_if_exception(self.worth_another),
            "wait": self.wait,
            "stop": self.stop,
            "before_sleep": self.before_sleep,
            "reraise": True,
        }

    def _out_of_time(self) -> str:
        return f"gave up: the deadline is {self.op.deadline_s:g} s"

    def worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, ObjectClerkException):
            return False  # KeyboardInterrupt and its kind
        if error is not self.last:
            self.attempts += 1
        error.attempts = max(error.attempts, self.attempts)
        self.last = error
        if error.gave_up or error.failure is Failure.FINAL:
            return False
        self.failures[_tally(error)] += 1
        return True

    def wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        policy = self.op.patience.policy(error.failure)
        wait_s = policy.wait_s(self.failures[_tally(error)], error)
        if not self.op.budget.take(error.failure):
            wait_s = max(wait_s, policy.max_delay_s)
        return wait_s

    def stop(self, state: tenacity.RetryCallState) -> bool:
        error = _error(state)
        policy = self.op.patience.policy(error.failure)
        if policy.spent(self.failures[_tally(error)]):
            error.gave_up = f"gave up: {policy.tries} tries are allowed"
        elif state.upcoming_sleep >= self.op.remaining_s:
            error.gave_up = self._out_of_time()
        return bool(error.gave_up)

    def before_sleep(self, state: tenacity.RetryCallState) -> None:
        error = _error(state)
        self.op.announce_retry(self.attempts, state.upcoming_sleep, error)
        self.op.recover(error)


def _tally(error: ObjectClerkException) -> Failure:
    """What an error is counted as: some that a repeat will hardly mend have their own limits."""
    alone = (Failure.INTEGRITY, Failure.CREDENTIALS, Failure.CLOCK)
    return error.failure if error.failure in alone else Failure.TRANSIENT


def _error(state: tenacity.RetryCallState) -> ObjectClerkException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, ObjectClerkException)
    return error
