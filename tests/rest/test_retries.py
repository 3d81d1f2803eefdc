"""What is asked again, how often, and after how long."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkServerInternalException,
)
from object_clerk.events import Failed, Finished, Retrying, Started
from object_clerk.rest import KeyNotFound, wire
from tests.rest.conftest import described, found, lost, refusal, reply

if TYPE_CHECKING:
    from object_clerk.rest import RestStore
    from tests.rest.conftest import Clients, Script

CALLS: dict[str, tuple[bytes, Any]] = {
    "get": (found(b"x"), b"x"),
    "head": (described(b"x"), None),
    "exists": (described(b"x"), True),
    "delete": (reply(204), None),
    "presign": (reply(200, {"url": "http://h/x"}), "http://h/x"),
}


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(
    "failure", [lost, reply(500), refusal(503, "busy"), refusal(429, "slowly")]
)
def test_what_may_help(clients: Clients, script: Script, verb: str, failure: Any) -> None:
    answer, expected = CALLS[verb]
    script.answers(failure, failure, answer)
    result = getattr(clients(script.url), verb)("x")
    assert expected is None or result == expected
    assert len(script.requests) == 3
    assert [type(each) for each in clients.seen] == [Started, Retrying, Retrying, Finished]
    assert {(each.operation, each.key) for each in clients.seen} == {(verb, "x")}


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 1), (2, 2), (5, 5)])
def test_attempts(clients: Clients, script: Script, max_retries: int, attempts: int) -> None:
    script.answers(*[reply(500)] * 9)
    with pytest.raises(ObjectClerkServerInternalException) as caught:
        clients(script.url, max_retries=max_retries).get("x")
    assert len(script.requests) == caught.value.attempts == attempts
    assert caught.value.gave_up == f"gave up: {attempts} tries are allowed"
    assert clients.of(Failed)[0].error is caught.value


def test_waits_double_when_nobody_listens(clients: Clients) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ObjectClerkConnectionException):
        clients(f"http://127.0.0.1:{port}", max_retries=5, retry_delay=0.02).get("x")
    waits = [each.wait_s for each in clients.of(Retrying)]
    assert len(waits) == 4
    for wait, delay in zip(waits, (0.02, 0.04, 0.08, 0.16), strict=True):
        assert delay <= wait <= delay + 0.01
    assert all(second > first for first, second in pairwise(waits))


def test_throttling_waits_as_long_as_the_server_says(clients: Clients, script: Script) -> None:
    date = "Sat, 31 Jan 2026 12:00:00 GMT"
    then = "Sat, 31 Jan 2026 12:00:01 GMT"
    script.answers(
        refusal(429, "slowly", retry_after="1"),
        refusal(429, "slowly", retry_after=then, date=date),
        found(b"x"),
    )
    assert clients(script.url).get("x") == b"x"
    waits = [each.wait_s for each in clients.of(Retrying)]
    assert len(waits) == 2
    assert all(1 <= wait < 2 for wait in waits)


@pytest.mark.parametrize(
    "value", ["soon", "-5", "1e9", "9" * 400, "", "Sat, 31 Foo 2026", "\xb2", "1.5", "0"]
)
def test_throttling_without_a_time_that_makes_sense(
    clients: Clients, script: Script, value: str
) -> None:
    script.answers(refusal(429, "slowly", retry_after=value), found(b"x"))
    assert clients(script.url).get("x") == b"x"
    (retrying,) = clients.of(Retrying)
    assert 0.01 <= retrying.wait_s <= 0.015


def test_throttling_that_does_not_end(clients: Clients, script: Script) -> None:
    script.answers(*[refusal(429, "1000 requests per second", retry_after="0")] * 4)
    with pytest.raises(
        ObjectClerkServerInternalException, match="the server throttles us"
    ) as caught:
        clients(script.url).get("x")
    assert "1000 requests per second" in str(caught.value)
    assert (caught.value.status, caught.value.attempts) == (429, 3)
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 422, 431, 501]
)
@pytest.mark.parametrize("verb", ["get", "put", "delete"])
def test_refusals_are_final(clients: Clients, script: Script, status: int, verb: str) -> None:
    script.answers(refusal(status, "no"))
    arguments = ("x", b"data") if verb == "put" else ("x",)
    with pytest.raises(ObjectClerkException):
        getattr(clients(script.url), verb)(*arguments)
    assert len(script.requests) == 1
    assert clients.of(Retrying) == []


def test_a_missing_object_is_known_at_once(clients: Clients, script: Script) -> None:
    script.answers(reply(404))
    assert clients(script.url, retry_delay=60.0).exists("x") is False
    assert len(script.requests) == 1
    assert [type(each) for each in clients.seen] == [Started, Finished]


@pytest.mark.parametrize("first", [lost, reply(500), reply(503)])
def test_a_delete_whose_answer_was_lost(store: RestStore, script: Script, first: Any) -> None:
    script.answers(first, refusal(404, "there is no such object"))
    store.delete("x")
    assert [each.method for each in script.requests] == ["DELETE", "DELETE"]


def test_a_delete_that_was_lost_by_the_store_of_the_gateway(
    store: RestStore, script: Script
) -> None:
    marks: Any = {"x_object_clerk": "object-clerk"}
    script.answers(reply(503, retry_after="0", **marks), reply(404, x_object_clerk="missing"))
    store.delete("x")
    script.answers(reply(503, **marks), reply(404, **marks))
    with pytest.raises(ObjectClerkException, match="is base_url right"):
        store.delete("x")


def test_a_delete_that_was_not_made(store: RestStore, script: Script) -> None:
    script.answers(refusal(429, "slowly"), refusal(404, "there is no such object"))
    with pytest.raises(KeyNotFound):
        store.delete("x")
    script.answers(lost, reply(404))
    with pytest.raises(KeyNotFound):
        store.get("x")


def test_a_delete_that_was_not_begun(store: RestStore, script: Script) -> None:
    script.answers(reply(503, retry_after="0"), reply(404))
    with pytest.raises(KeyNotFound):
        store.delete("x")
    script.answers(
        reply(503, retry_after="0", x_object_clerk="busy"), reply(404, x_object_clerk="missing")
    )
    with pytest.raises(KeyNotFound):
        store.delete("x")


def test_a_page_is_asked_for_again(clients: Clients, script: Script) -> None:
    script.answers(
        reply(200, wire.Page(("a", "b"), "next").to_json()),
        lost,
        reply(200, wire.Page(("c",)).to_json()),
    )
    assert list(clients(script.url).keys()) == ["a", "b", "c"]
    targets = [each.target for each in script.requests]
    assert targets[1] == targets[2] == f"{targets[0]}&cursor=next"
    assert [type(each) for each in clients.seen] == [Started, Retrying, Finished]
