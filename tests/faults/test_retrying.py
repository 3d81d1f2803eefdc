"""What is tried again, how often, how patiently, and what is raised in the end.

Most of this is experiment E25; see ``test_experiments_asking.py`` for the rest of E24 and E25.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from object_clerk import (
    MoveIncomplete,
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkServerAuthException,
    ObjectClerkServerInternalException,
)
from object_clerk.events import Event, Retrying
from object_clerk.exceptions import Failure
from object_clerk.retry import Operation
from object_clerk.testing import FaultProxy, drop_before, status_before
from tests.faults.conftest import PART, Stage, content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk import ObjectClerk

SMALL = content(1000)
LARGE = content(PART + 1000)

#: Errors that pass, as servers and what stands before them send them.
PASSING = (
    (502, "BadGateway"),
    (504, "GatewayTimeout"),
    (429, "TooManyRequests"),
    (400, "RequestTimeout"),
    (409, "OperationAborted"),
    (500, "NobodyKnowsThisCode"),
    (503, "SlowDown"),
)


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb with the requests that it makes, and a way to call it and to check its effect."""

    prepare: Callable[[Stage], object]
    call: Callable[[Stage, ObjectClerk], object]
    requests: dict[str, dict[str, Any]]

    def met_by(self, stage: Stage) -> dict[str, dict[str, Any]]:
        """The requests that the server of this stage gets."""
        if self is VERBS["copy in parts"] and not stage.traits.upload_part_copy:
            pytest.skip("this server cannot copy in parts, which is remembered")
        return self.requests


def _read_all(stage: Stage, clerk: ObjectClerk) -> None:
    with clerk.open_object(stage.bucket, "key") as reader:
        assert reader.read() == SMALL


def _get(stage: Stage, clerk: ObjectClerk) -> None:
    assert clerk.get_object(stage.bucket, "key") == SMALL


def _info(stage: Stage, clerk: ObjectClerk) -> None:
    assert clerk.get_object_info(stage.bucket, "key")["content-length"] == str(len(SMALL))


def _exists(stage: Stage, clerk: ObjectClerk) -> None:
    assert clerk.exists(stage.bucket, "key")


def _download(stage: Stage, clerk: ObjectClerk) -> None:
    target = io.BytesIO()
    clerk.download_object(stage.bucket, "key", target)
    assert target.getvalue() == SMALL


def _upload(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.upload_object(SMALL, stage.bucket, "new")
    assert stage.stored("new") == SMALL


def _upload_parts(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.upload_object(LARGE, stage.bucket, "new")
    assert stage.stored("new") == LARGE
    assert stage.uploads() == []


def _copy(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.copy_object(stage.bucket, "key", stage.bucket, "new")
    assert stage.stored("key") == stage.stored("new") == SMALL


def _copy_parts(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.copy_object(stage.bucket, "key", stage.bucket, "new")
    assert stage.stored("key") == stage.stored("new") == LARGE
    assert stage.uploads() == []


def _move(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.move_object(stage.bucket, "key", stage.bucket, "new")
    assert stage.stored("key") is None
    assert stage.stored("new") == SMALL


def _delete(stage: Stage, clerk: ObjectClerk) -> None:
    clerk.delete_object(stage.bucket, "key")
    assert stage.stored("key") is None


def _delete_many(stage: Stage, clerk: ObjectClerk) -> None:
    outcomes = clerk.delete_objects(stage.bucket, ["key", "other"])
    assert [(outcome.key, outcome.deleted) for outcome in outcomes] == [
        ("key", True), ("other", True)
    ]  # fmt: skip
    assert stage.stored("key") is None


def _list(stage: Stage, clerk: ObjectClerk) -> None:
    assert [entry["Key"] for entry in clerk.list_objects(stage.bucket, "key")] == ["key"]


def _small(stage: Stage) -> None:
    stage.put("key", SMALL)


def _two_parts(stage: Stage) -> None:
    stage.put_parts("key", LARGE[:PART], LARGE[PART:])


def _nothing(stage: Stage) -> None:
    stage.s3.delete_object(Bucket=stage.bucket, Key="new")


def _of(method: str, path: str = "", query: str = "", *, copied: bool | None = None) -> Any:
    match: dict[str, Any] = {"method": method, "path": path, "query": query}
    if copied is not None:
        match["when"] = lambda request: (request.header("x-amz-copy-source") is None) != copied
    return match


VERBS: dict[str, Verb] = {
    "get": Verb(_small, _get, {"GET": _of("GET", "/key")}),
    "open": Verb(_small, _read_all, {"GET": _of("GET", "/key")}),
    "info": Verb(_small, _info, {"HEAD": _of("HEAD", "/key")}),
    "exists": Verb(_small, _exists, {"HEAD": _of("HEAD", "/key")}),
    "download": Verb(_small, _download, {"GET": _of("GET", "/key")}),
    "upload": Verb(_nothing, _upload, {"PUT": _of("PUT", "/new")}),
    "upload in parts": Verb(
        _nothing,
        _upload_parts,
        {
            "create": _of("POST", "/new", "uploads"),
            "part": _of("PUT", "/new", "partNumber=2"),
            "complete": _of("POST", "/new", "uploadId"),
            "HEAD": _of("HEAD", "/new"),
        },
    ),
    "copy": Verb(
        _small,
        _copy,
        {
            "HEAD source": _of("HEAD", "/key"),
            "copy": _of("PUT", "/new", copied=True),
            "HEAD": _of("HEAD", "/new"),
            "GET": _of("GET", "/new"),
        },
    ),
    "copy in parts": Verb(
        _two_parts,
        _copy_parts,
        {
            "create": _of("POST", "/new", "uploads"),
            "copied part": _of("PUT", "/new", "partNumber=1", copied=True),
        },
    ),
    "move": Verb(_small, _move, {"delete": _of("DELETE", "/key")}),
    "delete": Verb(_small, _delete, {"DELETE": _of("DELETE", "/key")}),
    "delete many": Verb(_small, _delete_many, {"POST": _of("POST", query="delete")}),
    "list": Verb(_small, _list, {"GET": _of("GET", query="list-type")}),
}


#: What is tried with every server.
SMOKE = ("get", "upload in parts", "copy in parts", "move")


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.smoke if name in SMOKE else ()) for name in VERBS]
)
def verb(request: pytest.FixtureRequest) -> Verb:
    return VERBS[request.param]


class TestE25ErrorsThatPass:
    def test_each_is_survived_by_each_request_of_each_verb(self, stage: Stage, verb: Verb) -> None:
        """Check 20: 502, 504, 429, RequestTimeout, OperationAborted, an unknown 5xx, SlowDown."""
        for match in verb.met_by(stage).values():
            verb.prepare(stage)
            # An answer to HEAD has no body, and so no code: only its status speaks.
            errors = [e for e in PASSING if match["method"] != "HEAD" or e[0] not in (400, 409)]
            clerk = stage.new_clerk(retry_tries=len(errors) + 1)
            _learn(stage, clerk, verb)
            for status, code in errors:
                name = f"{status} {code}"
                stage.proxy.add(status_before(status, code, name=name, **match))

            verb.call(stage, clerk)

            assert stage.fired == [f"{status} {code}" for status, code in errors], match
            assert len(stage.retries) == len(errors)
            stage.proxy.clear()
            stage.proxy.clear_log()
            stage.events.clear()

    def test_attempts_never_multiply(self, stage: Stage, verb: Verb) -> None:
        """Check 21: three tries are three requests, whatever calls what inside."""
        clerk = stage.new_clerk(retry_tries=3)
        _learn(stage, clerk, verb)
        for label, match in verb.met_by(stage).items():
            verb.prepare(stage)
            stage.proxy.add(status_before(503, "ServiceUnavailable", times=None, **match))

            with pytest.raises(ObjectClerkException) as caught:
                verb.call(stage, clerk)

            counts = Counter((e.method, e.path, e.query) for e in stage.proxy.fired)
            assert list(counts.values()) == [3], (label, counts)
            kind = MoveIncomplete if label == "delete" else ObjectClerkServerInternalException
            assert type(caught.value) is kind
            assert caught.value.attempts == 3
            assert caught.value.status == 503
            stage.proxy.clear()
            stage.proxy.clear_log()
            assert stage.uploads() == []

    def test_lost_connections_are_survived_by_each_request(self, stage: Stage, verb: Verb) -> None:
        """Check 21: a connection that closes without an answer is like an error that passes."""
        _learn(stage, stage.clerk, verb)
        for match in verb.met_by(stage).values():
            verb.prepare(stage)
            stage.proxy.add(drop_before(**match))

            verb.call(stage, stage.clerk)

            assert stage.fired == ["drop_before"], match
            stage.proxy.clear()
            stage.proxy.clear_log()


class TestE25Patience:
    def test_two_slow_downs_then_success(self, stage: Stage) -> None:
        """Check 20: delay, backoff, max and jitter shape the waits; throttling doubles at least."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=2))
        clerk = stage.new_clerk(
            retry_delay=0.01,
            retry_backoff=3,
            retry_jitter=(0.002, 0.004),
            retry_max_delay=0.02,
            retry_tries=3,
        )

        with _waits() as waited:
            assert clerk.get_object(stage.bucket, "key") == SMALL

        assert stage.fired == ["status_before"] * 2
        assert stage.receipt.attempts == 3
        assert [event.attempt for event in stage.retries] == [1, 2]
        assert [event.wait_s for event in stage.retries] == waited
        assert 0.012 <= waited[0] <= 0.014
        assert waited[1] == 0.02
        assert [event.cause.failure for event in stage.retries] == [Failure.THROTTLED] * 2

    def test_waits_without_throttling_grow_by_the_backoff_alone(self, stage: Stage) -> None:
        """Check 20: a backoff of 1 keeps the delay; throttling makes it grow all the same."""
        stage.put("key", SMALL)
        stage.proxy.add(
            status_before(500, "InternalError", method="GET", times=2),
            status_before(503, "SlowDown", method="GET", times=1),
        )
        clerk = stage.new_clerk(retry_delay=0.01, retry_max_delay=1, retry_tries=4)

        with _waits() as waited:
            clerk.get_object(stage.bucket, "key")

        assert waited == [0.01, 0.01, 0.04]
        assert stage.fired == ["status_before"] * 3

    def test_waiting_takes_time(self, stage: Stage) -> None:
        """Check 20: the waits are really waited."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=2))
        clerk = stage.new_clerk(retry_delay=0.1, retry_backoff=1, retry_max_delay=1)
        began = time.monotonic()

        clerk.get_object(stage.bucket, "key")

        assert time.monotonic() - began >= 0.3
        assert stage.fired == ["status_before"] * 2

    @pytest.mark.parametrize(
        ("header", "value", "wait_s"),
        [
            ("Retry-After", "7", 7.0),
            ("Retry-After", "0", 0.01),
            ("x-amz-retry-after", "2500", 2.5),
            ("Retry-After", "86400", 60.0),
            ("Retry-After", "soon", 0.01),
        ],
    )
    def test_server_says_when_to_come_back(
        self, stage: Stage, header: str, value: str, wait_s: float
    ) -> None:
        """Check 20: Retry-After is honoured up to a minute, beyond the longest delay of ours."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "ServiceUnavailable", {header: value}, method="GET"))

        with _waits() as waited:
            assert stage.clerk.get_object(stage.bucket, "key") == SMALL

        assert waited == [wait_s]
        assert stage.fired == ["status_before"]

    def test_one_attempt_is_made_even_with_no_tries(self, stage: Stage) -> None:
        """Check 20: retry_tries=0 makes one attempt, as 1 does."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=None))

        for tries in (0, 1):
            with pytest.raises(ObjectClerkServerInternalException):
                stage.new_clerk(retry_tries=tries).get_object(stage.bucket, "key")

        assert stage.fired == ["status_before"] * 2


class TestE24ServerDown:
    def test_three_tries_are_three(self, stage: Stage, verb: Verb) -> None:
        """Check 21: then the documented exception, which is a ConnectionError, and no wrapper."""
        verb.prepare(stage)
        clerk = stage.new_clerk(endpoint_url=_nobody(), retry_tries=3)

        with pytest.raises(ObjectClerkConnectionException) as caught:
            verb.call(stage, clerk)

        assert isinstance(caught.value, ConnectionError)
        assert caught.value.attempts == 3
        assert "3 tries" in caught.value.gave_up
        assert caught.value.failure is Failure.NEVER_SENT
        assert [event.attempt for event in stage.retries] == [1, 2]
        assert stage.server.secret_key not in str(caught.value)

    def test_without_a_limit_it_asks_until_the_server_is_up(self, stage: Stage) -> None:
        """Check 21: with -1 tries the call ends well however long the server was down."""
        stage.put("key", SMALL)
        port = int(_nobody().rpartition(":")[2])
        late = FaultProxy(stage.server.endpoint_url, port=port)
        retries = []

        def switch_on(event: Event) -> None:
            if isinstance(event, Retrying):
                retries.append(event)
                if len(retries) == 8:
                    late.start()

        clerk = stage.new_clerk(endpoint_url=late.endpoint_url, retry_tries=-1, on_event=switch_on)
        with contextlib.closing(late):
            assert clerk.get_object(stage.bucket, "key") == SMALL
            assert [exchange.method for exchange in late.log] == ["GET"]

        assert len(retries) == 8
        assert stage.receipt.attempts == 9

    @pytest.mark.parametrize("name", ["get", "upload", "move", "list"])
    def test_deadline_ends_what_tries_do_not(self, stage: Stage, name: str) -> None:
        """Check 21: -1 tries and a deadline: it ends then, with the last real exception."""
        verb = VERBS[name]
        verb.prepare(stage)
        clerk = stage.new_clerk(endpoint_url=_nobody(), retry_tries=-1, retry_deadline=1.5)
        began = time.monotonic()

        with pytest.raises(ObjectClerkConnectionException) as caught:
            verb.call(stage, clerk)

        assert time.monotonic() - began < 30  # it ends, and does not go on for ever
        assert "deadline" in caught.value.gave_up
        # The last attempt that was announced may have come too late to be made.
        assert caught.value.attempts in (len(stage.retries), len(stage.retries) + 1)
        assert caught.value.attempts > 1

    def test_deadline_with_a_server_that_fails(self, stage: Stage) -> None:
        """Check 21: the last answer of the server is what is raised."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=None))
        clerk = stage.new_clerk(retry_tries=-1, retry_deadline=1.5)

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            clerk.get_object(stage.bucket, "key")

        assert caught.value.code == "SlowDown"
        assert "deadline" in caught.value.gave_up
        assert len(stage.fired) == caught.value.attempts


class TestWrongCredentials:
    @pytest.mark.smoke  # which the strictest server, where all are tried, does not notice
    @pytest.mark.parametrize(
        "name", ["get", "info", "exists", "download", "upload", "copy", "delete", "list"]
    )
    def test_are_not_tried_again(self, stage: Stage, name: str) -> None:
        """Check 19: ServerAuth, a PermissionError, after exactly one request."""
        if not stage.traits.verifies_signatures:
            pytest.skip("this server lets everybody in")
        verb = VERBS[name]
        verb.prepare(stage)
        clerk = stage.new_clerk(secret_key="entirely-wrong-secret")

        with pytest.raises(ObjectClerkServerAuthException) as caught:
            verb.call(stage, clerk)

        assert isinstance(caught.value, PermissionError)
        assert caught.value.status == 403
        assert caught.value.attempts == 1
        assert caught.value.gave_up == ""
        assert len(stage.proxy.log) == 1
        assert "entirely-wrong-secret" not in str(caught.value)

    def test_expired_token_of_fixed_keys_is_final(self, stage: Stage) -> None:
        """Check 19: keys that were given as arguments get no fresher by asking again."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(400, "ExpiredToken", method="GET", times=None))

        with pytest.raises(ObjectClerkServerAuthException, match="get new credentials"):
            stage.clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["status_before"]


def test_other_errors_are_final(stage: Stage) -> None:
    """Check 20: what asking again would not change is asked once."""
    stage.put("key", SMALL)
    final = ((400, "InvalidRequest"), (403, "AccessDenied"), (409, "BucketNotEmpty"),
             (412, "PreconditionFailed"), (501, "NotImplemented"))  # fmt: skip
    for status, code in final:
        stage.proxy.add(status_before(status, code, name=code, method="GET"))
        with pytest.raises(ObjectClerkException) as caught:
            stage.clerk.get_object(stage.bucket, "key")
        assert (caught.value.status, caught.value.code) == (status, code)
        assert caught.value.request_id == "FAULTPROXY"

    assert stage.fired == [code for _, code in final]
    assert stage.retries == []


def _nobody() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        return f"http://127.0.0.1:{placeholder.getsockname()[1]}"


def _learn(stage: Stage, clerk: ObjectClerk, verb: Verb) -> None:
    """Keep the clerk's questions to the server out of the log."""
    if verb in (VERBS["upload in parts"], VERBS["move"]):
        stage.learn(clerk)


@contextlib.contextmanager
def _waits() -> Iterator[list[float]]:
    """Note what operations would wait, without waiting."""
    waited: list[float] = []
    with mock.patch.object(Operation, "sleep", lambda _, seconds: waited.append(seconds)):
        yield waited
