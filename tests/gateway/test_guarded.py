"""The gateway as it is: limits, large and slow bodies, and too many requests at once."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from object_clerk.store import ObjectStore
from tests.conftest import skip_unavailable
from tests.servers.redis import redis_server

from .running import Running, gateway

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def guarded(directory: Path, **settings: Any) -> Iterator[Running]:
    store = ObjectStore({"framework": "memory", "root_bucket": "b"})
    with gateway(directory, store, **settings) as running:
        yield running


def status_of(answer: bytes) -> int:
    """The status of an answer that is the error JSON and has the headers of all answers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    said = json.loads(body)
    assert said == {"error": {"code": str(status), "message": said["error"]["message"]}}
    assert b"x-request-id: " in head
    assert b"x-content-type-options: nosniff" in head
    return status


def until(connection: socket.socket) -> bytes:
    """What comes until there is a whole answer with a Content-Length."""
    came = b""
    while True:
        head, end, body = came.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= length:
                return came
        block = connection.recv(65536)
        assert block, came
        came += block


# -- how often -----------------------------------------------------------------------------


def test_one_request_more_than_a_token_may_make(tmp_path: Path) -> None:
    """Check 27: 429 and Retry-After; other tokens and /health go on."""
    with guarded(tmp_path, rate_limit="3/hour") as running:
        other = running.new_token("read")
        answers = [running.client.get("/objects") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 3601
        assert answers[3].json()["error"]["code"] == "429"
        assert running.client.get("/objects", headers=other).status_code == 200
        for path in ("/health", "/ready", "/metrics"):
            assert {running.client.get(path).status_code for _ in range(6)} == {200}


def test_who_guesses_tokens_is_slowed_down(tmp_path: Path) -> None:
    """By address; a valid token from there goes on."""
    with guarded(tmp_path, anonymous_rate_limit="3/hour") as running:
        guesses = [
            running.client.get("/objects", headers={"authorization": f"Bearer guess{number}"})
            for number in range(5)
        ]
        assert [each.status_code for each in guesses] == [401, 401, 401, 429, 429]
        assert int(guesses[4].headers["retry-after"]) >= 1
        with httpx2.Client(base_url=running.url) as nobody:
            assert nobody.get("/objects/a?signature=guessed").status_code == 429
        assert running.client.get("/objects").status_code == 200


def test_two_gateways_with_one_redis_share_the_limit(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with (
        skip_unavailable(),
        redis_server() as url,
        guarded(tmp_path, rate_limit="5/hour", rate_limit_store=url) as first,
        guarded(tmp_path / "two", rate_limit="5/hour", rate_limit_store=url) as second,
    ):
        statuses = [
            running.client.get("/objects").status_code
            for _ in range(4)
            for running in (first, second)
        ]
    assert statuses == [200] * 5 + [429] * 3


# -- how much ------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_not_stored(tmp_path: Path) -> None:
    """Whether it says so or not, and whether it is small enough to be taken whole or not."""

    def blocks() -> Iterator[bytes]:
        for _ in range(41):
            yield bytes(100_000)

    with guarded(tmp_path, max_object_bytes=4_000_000) as running:
        for content in (bytes(4_000_001), blocks()):
            answer = running.client.put("/objects/a", content=content)
            assert answer.status_code == 413
            assert "4000000 bytes" in answer.json()["error"]["message"]
        assert running.keys() == []
        assert running.client.put("/objects/a", content=bytes(4_000_000)).status_code == 200
        assert running.keys() == ["a"]


# -- how slowly ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [100, 10_000_000, None])
def test_a_body_that_does_not_come_is_not_stored(tmp_path: Path, length: int | None) -> None:
    with guarded(tmp_path, idle_timeout_s=0.3) as running, running.connect() as connection:
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        head = f"PUT /objects/a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {running.token}\r\n"
        connection.sendall(f"{head}{framing}\r\n\r\n5\r\nhello\r\n".encode())
        assert status_of(until(connection)) == 408
        assert running.keys() == []
        text = running.client.get("/metrics").text
        assert 'object_clerk_gateway_refused_total{reason="slow"} 1.0' in text


# -- how many ------------------------------------------------------------------------------


def test_more_requests_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    with guarded(tmp_path, max_requests=1) as running, running.connect() as connection:
        head = f"PUT /objects/a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {running.token}\r\n"
        connection.sendall(f"{head}expect: 100-continue\r\ncontent-length: 5\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # it is being answered
        refused = running.client.get("/objects")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "503"
        for path in ("/health", "/ready"):
            assert running.client.get(path).status_code == 200
        connection.sendall(b"hello")
        assert until(connection).startswith(b"HTTP/1.1 200")
        assert running.keys() == ["a"]


def test_slow_clients_do_not_keep_others_out_for_long(tmp_path: Path) -> None:
    """They take all the places there are; each loses its place when its time is over."""
    most = 8
    with (
        guarded(tmp_path, max_requests=most, idle_timeout_s=0.5) as running,
        contextlib.ExitStack() as stack,
    ):
        head = f"PUT /objects/a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {running.token}\r\n"
        slow = [stack.enter_context(running.connect()) for _ in range(most)]
        for connection in slow:
            connection.sendall(f"{head}content-length: 9999\r\n\r\nsome".encode())
        assert {status_of(until(connection)) for connection in slow} == {408}
        answer = running.client.put("/objects/b", content=b"ordinary")
        assert answer.status_code == 200
        assert running.keys() == ["b"]
