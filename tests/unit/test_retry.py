"""The one retry layer: waits, limits, budgets, deadlines, and what is raised in the end."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from object_clerk import RetryPolicy, retry
from object_clerk.events import Event, Failed, Finished, Retrying, Started
from object_clerk.exceptions import (
    Failure,
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkServerInternalException,
    ObjectClerkTimeoutException,
    ObjectVerificationException,
    OperationCancelled,
)
from object_clerk.receipt import Finding, Verdict
from object_clerk.retry import (
    DEFAULT_DEADLINE_S,
    LONGEST_RETRY_AFTER_S,
    Operation,
    Patience,
    RetryBudget,
    retried,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MIB = 1 << 20
BUSY = RetryPolicy(delay_s=0.5, backoff=2, jitter_s=(0, 0), max_delay_s=10, tries=3)
PATIENT = Patience(connection=BUSY, checksum=RetryPolicy(0.25, 1, (0, 0), 5, 2))


def error(failure: Failure = Failure.TRANSIENT, **facts: Any) -> ObjectClerkException:
    if failure is Failure.INTEGRITY:
        return ObjectVerificationException("the bytes differ", failure=failure, **facts)
    return ObjectClerkServerInternalException("busy", failure=failure, **facts)


class Patient(Operation):
    """An operation that notes its waits instead of waiting."""

    def __init__(self, patience: Patience = PATIENT, budget: RetryBudget | None = None) -> None:
        self.events: list[Event] = []
        self.waits: list[float] = []
        super().__init__("verb", "bucket", "key", patience, budget, (self.events.append,))

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class _Sleepy(Operation):
    """An operation whose waits take longer than they should."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds + 0.1)


@retried
def do(op: Operation, results: list[object]) -> object:
    """Raise or return the next of the results."""
    result = results.pop(0)
    if isinstance(result, BaseException):
        raise result
    return result


class TestPolicy:
    def test_wait_grows_to_its_limit(self) -> None:
        """Check 20: delay, backoff and max."""
        policy = RetryPolicy(delay_s=1, backoff=3, jitter_s=(0, 0), max_delay_s=20)

        assert [policy.wait_s(n, error()) for n in (1, 2, 3, 4, 5)] == [1, 3, 9, 20, 20]

    def test_jitter_is_added_between_its_limits(self) -> None:
        """Check 20: both ends of the jitter count."""
        policy = RetryPolicy(delay_s=1, backoff=1, jitter_s=(0.25, 0.75), max_delay_s=20)
        waits = [policy.wait_s(1, error()) for _ in range(300)]

        assert min(waits) >= 1.25
        assert max(waits) <= 1.75
        assert max(waits) - min(waits) > 0.3

    def test_longest_wait_holds_for_the_jitter_too(self) -> None:
        policy = RetryPolicy(delay_s=5, backoff=1, jitter_s=(1, 3), max_delay_s=5)

        assert policy.wait_s(1, error()) == 5

    def test_throttling_at_least_doubles(self) -> None:
        flat = RetryPolicy(delay_s=1, backoff=1, jitter_s=(0, 0), max_delay_s=100)
        steep = RetryPolicy(delay_s=1, backoff=3, jitter_s=(0, 0), max_delay_s=100)
        throttled = error(Failure.THROTTLED)

        assert [flat.wait_s(n, throttled) for n in (1, 2, 3)] == [1, 2, 4]
        assert [steep.wait_s(n, throttled) for n in (1, 2, 3)] == [1, 3, 9]

    @pytest.mark.parametrize(
        ("asked", "waited"), [(None, 1), (0.5, 1), (7, 7), (25, 25), (1e9, LONGEST_RETRY_AFTER_S)]
    )
    def test_server_can_ask_for_more(self, asked: float | None, waited: float) -> None:
        policy = RetryPolicy(delay_s=1, backoff=1, jitter_s=(0, 0), max_delay_s=5)

        assert policy.wait_s(1, error(retry_after_s=asked)) == waited

    def test_any_number_of_failures_has_a_wait(self) -> None:
        policy = RetryPolicy(delay_s=1, backoff=1e3, jitter_s=(0, 0), max_delay_s=20)

        assert policy.wait_s(10**6, error()) == 20

    @pytest.mark.parametrize(
        ("tries", "spent"),
        [
            (-1, [False, False, False]),
            (0, [True, True, True]),
            (1, [True, True, True]),
            (3, [False, False, True]),
        ],
    )
    def test_spent(self, tries: int, spent: list[bool]) -> None:
        assert [RetryPolicy(tries=tries).spent(n) for n in (1, 2, 3)] == spent


class TestBudget:
    def test_empties_and_fills(self) -> None:
        budget = RetryBudget()
        taken = 0
        while budget.take(Failure.TRANSIENT):
            taken += 1

        assert taken == RetryBudget.CAPACITY // RetryBudget.DEFAULT_COST
        left = RetryBudget.CAPACITY % RetryBudget.DEFAULT_COST
        for _ in range(RetryBudget.DEFAULT_COST - left):
            assert not budget.take(Failure.TRANSIENT)
            budget.succeeded()
        assert budget.take(Failure.TRANSIENT)

    def test_throttling_is_cheaper(self) -> None:
        budget = RetryBudget()
        taken = sum(1 for _ in range(1000) if budget.take(Failure.THROTTLED))

        assert taken == RetryBudget.CAPACITY // 5

    def test_never_overflows(self) -> None:
        budget = RetryBudget()
        for _ in range(100):
            budget.succeeded()

        assert sum(1 for _ in range(1000) if budget.take(Failure.THROTTLED)) == 100

    def test_empty_budget_makes_waits_long_and_fails_nobody(self) -> None:
        budget = RetryBudget()
        while budget.take(Failure.THROTTLED):
            pass
        op = Patient(Patience(connection=RetryPolicy(0.5, 1, (0, 0), 10, 5)), budget)

        assert do(op, [error(), error(), "done"]) == "done"
        assert op.waits == [10, 10]

    def test_successes_bring_short_waits_back(self) -> None:
        budget = RetryBudget()
        while budget.take(Failure.THROTTLED):
            pass
        op = Patient(Patience(connection=RetryPolicy(0.5, 1, (0, 0), 10, 5)), budget)
        for _ in range(RetryBudget.DEFAULT_COST):
            do(op, ["done"])

        do(op, [error(), "done"])
        assert op.waits == [0.5]

    def test_is_shared_by_endpoint(self) -> None:
        one = RetryBudget.shared("http://one.example")

        assert RetryBudget.shared("http://one.example") is one
        assert RetryBudget.shared("http://two.example") is not one


class TestPatience:
    def test_each_failure_has_its_policy(self) -> None:
        patience = Patience(BUSY, RetryPolicy(tries=7), body_tries=9)

        assert patience.policy(Failure.INTEGRITY).tries == 7
        assert patience.policy(Failure.BODY).tries == 9
        assert patience.policy(Failure.BODY).delay_s == BUSY.delay_s
        for failure in (Failure.TRANSIENT, Failure.THROTTLED, Failure.NEVER_SENT,
                        Failure.AMBIGUOUS, Failure.CONFLICT):  # fmt: skip
            assert patience.policy(failure) == BUSY

    @pytest.mark.parametrize("failure", [Failure.CREDENTIALS, Failure.CLOCK])
    def test_what_was_set_right_is_tried_once_and_at_once(self, failure: Failure) -> None:
        jittery = dataclasses.replace(BUSY, jitter_s=(1, 2))
        policy = Patience(jittery).policy(failure)

        assert policy.tries == 2
        assert policy.wait_s(1, error(failure)) == 0

    def test_bodies_have_the_tries_of_the_connection_by_default(self) -> None:
        assert Patience(BUSY).policy(Failure.BODY) == BUSY

    def test_defaults(self) -> None:
        patience = Patience()

        assert patience.connection.tries == -1
        assert patience.checksum == RetryPolicy(1.0, 1.0, (1.0, 3.0), 5.0, 3)
        assert Operation("v", "b", None, patience).deadline_s == DEFAULT_DEADLINE_S


class TestRetried:
    def test_success_needs_no_wait(self) -> None:
        op = Patient()

        assert do(op, ["done"]) == "done"
        assert (op.waits, op.retries, op.events) == ([], 0, [])

    def test_success_at_once_needs_no_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """tenacity costs more than all else of a small call, so it is for those that failed."""
        made: list[tenacity.Retrying] = []

        def retrying(**strategies: Any) -> tenacity.Retrying:
            made.append(engine(**strategies))
            return made[-1]

        engine = tenacity.Retrying
        monkeypatch.setattr(tenacity, "Retrying", retrying)

        assert do(Patient(), ["done"]) == "done"
        assert not made
        assert do(Patient(), [error(), "done"]) == "done"
        assert len(made) == 1

    def test_each_attempt_is_made_once(self) -> None:
        """The first attempt is made before tenacity is asked, which counts it as its first."""
        op = Patient()
        results = [error(), error(), "done", "never taken"]

        assert do(op, results) == "done"
        assert results == ["never taken"]
        assert [event.attempt for event in op.events if isinstance(event, Retrying)] == [1, 2]

    def test_failures_that_pass(self) -> None:
        op = Patient()
        first, second = error(), error(Failure.AMBIGUOUS)

        assert do(op, [first, second, "done"]) == "done"
        assert op.waits == [0.5, 1.0]
        assert op.retries == 2
        assert op.events == [
            Retrying("verb", "bucket", "key", 1, 0.5, first),
            Retrying("verb", "bucket", "key", 2, 1.0, second),
        ]

    def test_last_real_error_is_raised_itself(self) -> None:
        """Check 21: no wrapper, with the number of attempts, and why there was no other."""
        op = Patient()
        errors = [error(code=str(number)) for number in range(5)]

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            do(op, list(errors))

        assert caught.value is errors[2]
        assert caught.value.attempts == 3
        assert caught.value.gave_up == "gave up: 3 tries are allowed"
        assert (caught.value.operation, caught.value.bucket) == ("verb", "bucket")
        assert "after 3 attempts" in str(caught.value)
        assert len(op.waits) == 2

    def test_final_error_is_raised_at_once(self) -> None:
        op = Patient()

        with pytest.raises(ObjectClerkException) as caught:
            do(op, [error(Failure.FINAL), "done"])

        assert (caught.value.attempts, caught.value.gave_up, op.waits) == (1, "", [])

    @pytest.mark.parametrize("before", [0, 1])
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_what_ends_the_process_passes(self, kind: type[BaseException], before: int) -> None:
        op = Patient()
        raised = kind()

        with pytest.raises(kind) as caught:
            do(op, [*(error() for _ in range(before)), raised, "done"])

        assert caught.value is raised
        assert len(op.waits) == before

    def test_unknown_error_becomes_one_of_ours(self) -> None:
        op = Patient()
        cause = KeyError("what")

        with pytest.raises(ObjectClerkException) as caught:
            do(op, [cause, "done"])

        assert type(caught.value) is ObjectClerkOperationException
        assert caught.value.__cause__ is cause
        assert "KeyError" in str(caught.value)
        assert caught.value.key == "key"

    def test_socket_error_is_retried(self) -> None:
        op = Patient()

        assert do(op, [ConnectionResetError("reset"), "done"]) == "done"
        assert isinstance(op.events[0], Retrying)
        assert isinstance(op.events[0].cause, ObjectClerkConnectionException)

    def test_changed_bytes_have_tries_of_their_own(self) -> None:
        """Check 6: two checksum tries and three connection tries do not take from each other."""
        op = Patient()
        changed = [error(Failure.INTEGRITY) for _ in range(2)]

        with pytest.raises(ObjectVerificationException) as caught:
            do(op, [error(), changed[0], error(), changed[1], "done"])

        assert caught.value is changed[1]
        assert caught.value.attempts == 4
        assert op.waits == [0.5, 0.25, 1.0]

    def test_connection_tries_are_not_spent_by_changed_bytes(self) -> None:
        op = Patient()

        results = [error(), error(Failure.INTEGRITY), error(), "done"]
        assert do(op, results) == "done"

    def test_bodies_and_requests_are_counted_together(self) -> None:
        op = Patient()

        with pytest.raises(ObjectClerkException) as caught:
            do(op, [error(Failure.BODY), error(Failure.THROTTLED), error(), "done"])

        assert caught.value.attempts == 3

    def test_nested_do_not_multiply(self) -> None:
        """Check 21: three tries are three, however many decorated functions call each other."""
        calls = []

        @retried
        def inner(op: Operation) -> None:
            calls.append(op)
            raise error()

        @retried
        def middle(op: Operation) -> None:
            inner(op)

        @retried
        def outer(op: Operation) -> None:
            middle(op)

        op = Patient()
        with pytest.raises(ObjectClerkServerInternalException) as caught:
            outer(op)

        assert len(calls) == 3
        assert caught.value.attempts == 3
        assert op.retries == 2

    def test_nested_success_is_counted_once(self) -> None:
        results: list[object] = [error(), "in"]

        @retried
        def outer(op: Operation) -> object:
            return do(op, results)

        op = Patient()
        assert outer(op) == "in"
        assert op.retries == 1

    def test_arguments_and_name_are_kept(self) -> None:
        @retried
        def add(op: Operation, one: int, *, two: int) -> int:
            """Add."""
            return one + two

        assert add(Patient(), 1, two=2) == 3
        assert (add.__name__, add.__doc__) == ("add", "Add.")

    def test_recovery_before_each_repeat(self) -> None:
        recovered: list[ObjectClerkException] = []
        op = Patient()
        op.recover = recovered.append
        first = error()

        do(op, [first, "done"])

        assert recovered == [first]


class TestDeadline:
    def _impatient(self, deadline_s: float, *, tries: int = -1, **policy: Any) -> Patience:
        values = {"delay_s": 0.01, "backoff": 1, "jitter_s": (0, 0), "max_delay_s": 1, **policy}
        return Patience(connection=RetryPolicy(**values, tries=tries), deadline_s=deadline_s)

    def test_ends_unlimited_tries_with_the_last_real_error(self) -> None:
        """Check 21: -1 tries end at the deadline."""
        op = Operation("verb", "bucket", "key", self._impatient(0.2))
        began = time.monotonic()

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            _always_busy(op)

        assert 0.1 < time.monotonic() - began < 20
        assert "deadline" in caught.value.gave_up
        assert "0.2 s" in caught.value.gave_up
        assert caught.value.attempts > 3

    def test_no_wait_that_would_end_beyond_it(self) -> None:
        op = Patient(self._impatient(5, delay_s=10, max_delay_s=10))

        with pytest.raises(ObjectClerkServerInternalException, match="deadline"):
            do(op, [error(), "done"])

        assert op.waits == []

    def test_wait_that_takes_longer_than_meant(self) -> None:
        """Check 21: also then the real error is raised, not one about the deadline."""
        op = _Sleepy("verb", "bucket", "key", self._impatient(0.05))
        busy = error(code="SlowDown", status=503)

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            do(op, [busy, "done"])

        assert caught.value is busy
        assert "deadline" in caught.value.gave_up
        assert caught.value.attempts == 1

    def test_wait_that_wakes_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check 21: the same when it is the operation's own wait that takes longer."""
        op = Operation("verb", "bucket", "key", self._impatient(0.1, delay_s=0.05))
        wait = threading.Event.wait
        monkeypatch.setattr(
            threading.Event, "wait", lambda event, timeout: wait(event, timeout + 0.1)
        )
        busy = error(code="SlowDown", status=503)

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            do(op, [busy, "done"])

        assert caught.value is busy
        assert "deadline" in caught.value.gave_up
        assert caught.value.attempts == 1

    def test_no_attempt_after_it(self) -> None:
        op = Operation("verb", "bucket", "key", self._impatient(0.001))
        time.sleep(0.01)

        with pytest.raises(ObjectClerkTimeoutException, match="retry_deadline"):
            do(op, ["done"])

    def test_default_grows_with_the_bytes(self) -> None:
        op = Operation("verb", "bucket", "key", Patience())
        op.allow_for(100 * MIB)
        op.allow_for(50 * MIB)

        assert op.deadline_s == DEFAULT_DEADLINE_S + 150
        assert DEFAULT_DEADLINE_S + 149 < op.remaining_s <= DEFAULT_DEADLINE_S + 150

    def test_given_one_does_not(self) -> None:
        op = Operation("verb", "bucket", "key", Patience(deadline_s=7))
        op.allow_for(100 * MIB)

        assert op.deadline_s == 7

    def test_restart(self) -> None:
        op = Operation("verb", "bucket", "key", self._impatient(0.2))
        time.sleep(0.1)
        op.restart_deadline()

        assert op.remaining_s > 0.15
        assert 0.1 <= op.elapsed_s < 60

    def test_retry_after_counts(self) -> None:
        op = Patient(self._impatient(5))

        with pytest.raises(ObjectClerkServerInternalException, match="deadline"):
            do(op, [error(retry_after_s=30.0), "done"])

        assert op.waits == []


class TestCancelling:
    def test_ends_a_wait(self) -> None:
        op = Operation("verb", "bucket", "key", Patience())
        threading.Timer(0.05, op.cancel).start()
        began = time.monotonic()

        with pytest.raises(OperationCancelled):
            op.sleep(20)

        assert time.monotonic() - began < 20

    def test_stops_attempts_until_all_have_stopped(self) -> None:
        op = Patient()
        op.cancel()
        with pytest.raises(OperationCancelled):
            do(op, ["done"])

        op.stopped()
        assert do(op, ["done"]) == "done"

    def test_child_is_not_cancelled(self) -> None:
        op = Patient()
        recovered: list[ObjectClerkException] = []
        op.recover = recovered.append
        op.cancel()
        child = op.child("cleanup", Patience(deadline_s=3))

        assert do(child, ["done"]) == "done"
        assert (child.bucket, child.key, child.budget) == (op.bucket, op.key, op.budget)
        assert child.recover == op.recover
        assert child.deadline_s == 3


class TestOperation:
    def test_receipt_tells_what_happened(self) -> None:
        op = Patient()
        do(op, [error(), "done"])
        op.saw({"ResponseMetadata": {"RequestId": "R-1"}})
        op.saw({})
        op.notes.append("a note")

        receipt = op.receipt(Finding(Verdict.CONTENT, "because"), size=5, etag="e")

        assert (receipt.operation, receipt.bucket, receipt.key) == ("verb", "bucket", "key")
        assert (receipt.size, receipt.etag, receipt.attempts) == (5, "e", 2)
        assert (receipt.verdict, receipt.basis) == (Verdict.CONTENT, "because")
        assert (receipt.request_ids, receipt.notes) == (("R-1",), ("a note",))

    def test_renewed_receipt_has_what_came_after(self) -> None:
        op = Patient()
        receipt = op.receipt(Finding(Verdict.CONTENT, "because"), size=5)
        do(op, [error(), "done"])
        op.notes.append("later")

        renewed = op.renewed(receipt)
        assert (renewed.attempts, renewed.notes, renewed.size) == (2, ("later",), 5)
        assert (receipt.attempts, receipt.notes) == (1, ())

    def test_only_the_last_request_ids_are_kept(self) -> None:
        op = Patient()
        for number in range(20):
            op.saw({"ResponseMetadata": {"RequestId": str(number)}})

        receipt = op.receipt(Finding(Verdict.NONE, "no"), size=0)
        assert receipt.request_ids == tuple(str(number) for number in range(12, 20))

    def test_listeners_hear_the_beginning_and_the_end(self) -> None:
        op = Patient()
        failure = error()
        op.started()
        op.finished(None)
        op.failed(failure)

        assert [type(event) for event in op.events] == [Started, Finished, Failed]
        assert {(e.operation, e.bucket, e.key) for e in op.events} == {("verb", "bucket", "key")}
        assert isinstance(op.events[2], Failed)
        assert op.events[2].error is failure

    def test_listener_that_fails_disturbs_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        heard: list[Event] = []

        def broken(event: Event) -> None:
            raise RuntimeError("the listener broke")

        op = Operation("verb", "bucket", "key", PATIENT, None, (broken, heard.append))
        op.started()

        assert len(heard) == 1
        assert "the listener broke" in caplog.text

    def test_interrupt_from_a_listener_passes(self) -> None:
        def interrupting(event: Event) -> None:
            raise KeyboardInterrupt

        op = Operation("verb", "bucket", "key", PATIENT, None, (interrupting,))
        with pytest.raises(KeyboardInterrupt):
            op.started()


def _counted(results: Sequence[object]) -> Callable[[Operation], object]:
    left = list(results)
    return lambda op: do(op, left)


@retried
def _always_busy(op: Operation) -> None:
    raise error()


def test_threads_share_an_operation() -> None:
    """Check 28: retries of many threads are all counted."""
    op = Patient(Patience(connection=RetryPolicy(0, 1, (0, 0), 0, 100)))
    threads = [
        threading.Thread(target=_counted([*(error() for _ in range(20)), "done"]), args=(op,))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert op.retries == 160


class TestFigures:
    """The defaults that the documentation states."""

    def test_policies(self) -> None:
        assert RetryPolicy() == RetryPolicy(1.0, 2.0, (0.0, 1.0), 20.0, -1)
        assert Patience().connection == RetryPolicy()
        assert Patience().checksum == RetryPolicy(1.0, 1.0, (1.0, 3.0), 5.0, 3)

    def test_times(self) -> None:
        assert retry.DEFAULT_DEADLINE_S == 300
        assert retry.SLOWEST_BYTES_PER_S == 1_048_576
        assert retry.LONGEST_RETRY_AFTER_S == 60

    def test_budget(self) -> None:
        assert (RetryBudget.CAPACITY, RetryBudget.DEFAULT_COST) == (500, 14)
        assert RetryBudget.COST == {Failure.THROTTLED: 5}
