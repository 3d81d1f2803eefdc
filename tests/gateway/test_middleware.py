"""The layers around the application: what each lets through, and what clients get instead."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

from object_clerk.gateway import errors
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.logs import JsonFormatter, hide_queries, printable
from object_clerk.gateway.middleware import Accounting, BodyLimit, Concurrency, SlowClients
from object_clerk.gateway.middleware.scopes import ABORT, HUNG_UP
from object_clerk.gateway.server import log_config
from object_clerk.gateway.settings import GatewaySettings

from .asgi import DISCONNECT, Answer, ask, pieces, scope_of, unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONG_S = 3600.0
SHORT_S = 0.05


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that has nothing to say about headers."""
    await PlainTextResponse("fine")(scope, receive, send)


class Storing:
    """An application that reads a body and stores it, or fails to read it.

    Args:
        swallows: it answers by itself when it cannot read.
    """

    def __init__(self, *, swallows: type[Exception] | tuple[()] = ()) -> None:
        self.swallows = swallows
        self.stored: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        try:
            while True:
                message = await receive()
                body += message["body"]
                if not message["more_body"]:
                    break
        except self.swallows:
            await PlainTextResponse("I know better", 400)(scope, receive, send)
            return
        self.stored.append(body)
        await PlainTextResponse("stored")(scope, receive, send)


def fastapi_app() -> tuple[FastAPI, list[bytes]]:
    """The same in FastAPI, with the gateway's errors, in two ways to read."""
    app, stored = FastAPI(), []
    errors.install(app)

    @app.put("/stream")
    async def stream(request: Request) -> str:
        stored.append(b"".join([block async for block in request.stream()]))
        return "stored"

    @app.put("/parsed")
    async def parsed(data: dict[str, Any]) -> str:
        stored.append(json.dumps(data).encode())
        return "stored"

    return app, stored


# -- bodies that are too large -------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    app = Storing()
    scope = scope_of("PUT", "/x", ("content-length", "11"))
    answer = asyncio.run(ask(BodyLimit(app, 10), scope, unfinished()))
    assert (answer.status, answer.error) == (413, "objects here have at most 10 bytes")
    assert scope["state"]["refused"] == "size"
    assert app.stored == []


def test_a_body_of_the_largest_size_is_stored() -> None:
    app = Storing()
    scope = scope_of("PUT", "/x", ("content-length", "10"))
    assert asyncio.run(ask(BodyLimit(app, 10), scope, pieces(b"01234", b"56789"))).status == 200
    assert app.stored == [b"0123456789"]


@pytest.mark.parametrize("swallows", [(), Refusal, Exception])
def test_a_body_that_becomes_too_large_is_not_stored(
    swallows: type[Exception] | tuple[()],
) -> None:
    """Whether or not the application lets the refusal out, the client gets it."""
    app = Storing(swallows=swallows)
    answer = asyncio.run(ask(BodyLimit(app, 10), scope_of("PUT"), pieces(b"01234", b"567890")))
    assert (answer.status, answer.error) == (413, "objects here have at most 10 bytes")
    assert app.stored == []


@pytest.mark.parametrize("path", ["/stream", "/parsed"])
def test_refusals_go_through_fastapi(path: str) -> None:
    app, stored = fastapi_app()
    scope = scope_of("PUT", path, ("content-type", "application/json"))
    large = asyncio.run(ask(BodyLimit(app, 10), scope, pieces(b"01234567", b"890123")))
    assert (large.status, large.error) == (413, "objects here have at most 10 bytes")
    scope = scope_of("PUT", path, ("content-type", "application/json"))
    slow = asyncio.run(ask(SlowClients(app, SHORT_S), scope, unfinished(b'{"a"')))
    assert slow.status == 408
    assert "nothing of the body came for 0.05 s" in slow.error
    assert stored == []


# -- clients that are too slow -------------------------------------------------------------


@pytest.mark.parametrize("swallows", [(), Refusal, Exception])
def test_a_body_that_does_not_come_is_not_stored(swallows: type[Exception] | tuple[()]) -> None:
    app = Storing(swallows=swallows)
    scope = scope_of("PUT")
    answer = asyncio.run(ask(SlowClients(app, SHORT_S), scope, unfinished(b"some")))
    assert answer.status == 408
    assert "send it again" in answer.error
    assert scope["state"]["refused"] == "slow"
    assert app.stored == []


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ask_in_time(app: ASGIApp, clock: Clock, pieces_: list[tuple[float, Message]]) -> Answer:
    """The answer to a body of which each piece comes so many seconds after the one before."""
    coming, taken = iter(pieces_), []

    async def receive() -> Message:
        pause_s, message = next(coming)
        clock.now_s += pause_s
        return message

    async def send(message: Message) -> None:
        taken.append(message)

    layer = SlowClients(app, 60, clock)
    asyncio.run(layer(scope_of("PUT"), receive, send))
    return Answer(taken)


def trickle(size: int, pause_s: float, count: int) -> list[tuple[float, Message]]:
    """A body of so many pieces, each of this size and after this time."""
    return [(pause_s, message) for message in pieces(*[bytes(size)] * count)]


def test_a_body_that_comes_too_slowly_is_not_stored() -> None:
    """One byte every 59 s would hold a place for years."""
    app = Storing()
    answer = ask_in_time(app, Clock(), trickle(1, 59, 1000))
    assert answer.status == 408
    assert answer.error == "the body comes at less than 1024 bytes a second: send it again"
    assert app.stored == []


@pytest.mark.parametrize(("size", "is_stored"), [(20 * 1024, True), (20 * 1024 - 1, False)])
def test_the_least_rate_of_a_body(size: int, *, is_stored: bool) -> None:
    app = Storing()
    answer = ask_in_time(app, Clock(), trickle(size, 20, 5))
    assert answer.status == (200 if is_stored else 408)
    assert [len(each) for each in app.stored] == [5 * size] * is_stored


def test_a_body_has_its_time_before_it_is_too_slow() -> None:
    """The last piece is welcome in any case, and so is every piece of the first 60 s."""
    app = Storing()
    assert ask_in_time(app, Clock(), trickle(1, 12, 6)).status == 200
    assert ask_in_time(app, Clock(), trickle(1, 12, 7)).status == 408


def test_the_time_that_a_store_takes_does_not_make_a_body_slow() -> None:
    clock = Clock()

    async def storing(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            clock.now_s += 3600
        await plain(scope, receive, send)

    assert ask_in_time(storing, clock, trickle(1, 1, 10)).status == 200


def test_who_reads_on_after_the_time_gets_the_refusal_again() -> None:
    tries: list[Refusal] = []

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            try:
                await receive()
            except Refusal as refusal:
                tries.append(refusal)

    app = SlowClients(stubborn, SHORT_S)
    assert asyncio.run(ask(app, scope_of("PUT"), unfinished())).status == 408
    assert len(tries) == 3
    assert tries[1:] == tries[:1] * 2  # at once: he does not wait as long again


def test_time_that_the_application_takes_is_not_the_client_s() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4 * SHORT_S)
        assert (await receive())["body"] == b"all"
        await asyncio.sleep(4 * SHORT_S)
        await plain(scope, receive, send)

    assert asyncio.run(ask(SlowClients(slow, SHORT_S), scope_of("PUT"), pieces(b"all"))).is_whole


def test_to_wait_for_the_end_of_the_connection_is_no_body() -> None:
    """An answer that takes long, with a listener for the client's end, as Starlette makes one."""

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(8):
            await asyncio.sleep(SHORT_S)
            yield b"block"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await StreamingResponse(blocks())(scope, receive, send)

    answer = asyncio.run(ask(SlowClients(app, 2 * SHORT_S)))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"block" * 8, True)


def test_a_client_that_takes_nothing_is_hung_up_on(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    """The application is told by an error, so that it closes what it reads from."""
    ended: list[type[BaseException]] = []
    aborted: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"block", "more_body": True})
        except BaseException as error:
            ended.append(type(error))
            raise

    scope = scope_of(extensions={ABORT: lambda: aborted.append(True)})
    answer = asyncio.run(ask(Accounting(SlowClients(app, SHORT_S)), scope, takes=3))
    assert (len(answer.messages), answer.is_whole) == (3, False)
    assert ended == [ConnectionAbortedError]
    assert aborted
    (said,) = records()
    assert (said["status"], said["outcome"], said["refused"]) == (200, "aborted", "slow")


def test_slow_readers_are_left_to_a_server_that_sees_them(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    """The application is told when the server has hung up, and not before."""
    has_hung_up = False
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal has_hung_up, sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(5):
            has_hung_up = sent == 3
            await send({"type": "http.response.body", "body": b"block", "more_body": True})
            sent += 1

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def later(message: Message) -> None:
            await asyncio.sleep(4 * SHORT_S)
            await send(message)

        await SlowClients(app, SHORT_S)(scope, receive, later)

    scope = scope_of(extensions={HUNG_UP: lambda: has_hung_up})
    asyncio.run(ask(Accounting(slow), scope))
    assert sent == 3
    (said,) = records()
    assert (said["outcome"], said["refused"]) == ("aborted", "slow")


def test_a_refusal_after_the_answer_has_begun_ends_it() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    for layer in (SlowClients(echo, SHORT_S), BodyLimit(echo, 6)):
        body = unfinished(b"abc", b"def") + pieces(b"g") * isinstance(layer, BodyLimit)
        answer = asyncio.run(ask(Accounting(layer), scope_of("PUT"), body))
        assert (answer.status, answer.body, answer.is_whole) == (200, b"abcdef", False)


# -- too many at once ----------------------------------------------------------------------


def test_more_requests_at_once_are_told_to_come_again() -> None:
    open_now = asyncio.Event()
    entered = 0

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal entered
        entered += 1
        if scope["path"] == "/x":
            await open_now.wait()
        await plain(scope, receive, send)

    async def story() -> None:
        app = Concurrency(waiting, 2)
        under_way = [asyncio.create_task(ask(app)) for _ in range(2)]
        while entered < 2:
            await asyncio.sleep(0)
        scope = scope_of()
        third = await ask(app, scope)
        assert (third.status, third.headers["retry-after"]) == (503, "1")
        assert "try again" in third.error
        assert scope["state"]["refused"] == "concurrency"
        for path, root in (("/health", ""), ("/ready", ""), ("/under/health", "/under")):
            assert (await ask(app, scope_of("GET", path, root_path=root))).status == 200
        assert (await ask(app, scope_of("GET", "/under/health"))).status == 503
        open_now.set()
        assert [(await each).status for each in under_way] == [200, 200]
        assert (await ask(app)).status == 200

    asyncio.run(story())


def test_requests_that_fail_or_are_cancelled_make_room() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fails":
            raise RuntimeError("no")
        await asyncio.get_running_loop().create_future()

    async def story() -> None:
        app = Concurrency(failing, 1)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await ask(app, scope_of("GET", "/fails"))
            task = asyncio.create_task(ask(app))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())


# -- what every request and answer has -----------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-DEF_1.2", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("a\nb", False),
        ("ä", False),
    ],
)
def test_request_ids_are_kept_if_they_are_harmless(given: str, *, kept: bool) -> None:
    scope = scope_of("GET", "/x", ("X-Request-Id", given))
    told = asyncio.run(ask(Accounting(plain), scope)).headers["x-request-id"]
    assert (told == given) is kept
    assert told == scope["state"]["request_id"]
    assert len(told) >= 11


def test_every_request_has_an_id_of_its_own() -> None:
    app = Accounting(plain)
    twice = scope_of("GET", "/x", ("x-request-id", "one"), ("x-request-id", "two"))
    told = [asyncio.run(ask(app, scope)).headers["x-request-id"] for scope in (None, None, twice)]
    assert len(set(told)) == 3
    assert {"one", "two"}.isdisjoint(told)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-of-the-future", True),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        (f"00-{TRACE}-{PARENT}", False),
        (f"cc-{TRACE}-{PARENT}-01x", False),
    ],
)
def test_a_valid_trace_goes_on(given: str, *, known: bool) -> None:
    scope = scope_of("GET", "/x", ("traceparent", given))
    headers = asyncio.run(ask(Accounting(plain), scope)).headers
    assert scope["state"]["trace_id"] == (TRACE if known else None)
    assert ("traceresponse" in headers) is known
    if known:
        version, trace, ours, flags = headers["traceresponse"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01")
        assert ours != PARENT


def test_answers_keep_browsers_from_harm() -> None:
    headers = asyncio.run(ask(Accounting(plain))).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert headers["content-security-policy"].endswith("; sandbox")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers
    assert "server" not in headers


def test_tls_is_kept_where_it_was_used() -> None:
    headers = asyncio.run(ask(Accounting(plain), scope_of(scheme="https"))).headers
    assert int(headers["strict-transport-security"].removeprefix("max-age=")) > 10**7


def test_the_application_has_its_say_about_caching_and_no_other() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said = {
            "Cache-Control": "private",
            "Content-Security-Policy": "default-src *",
            "Server": "me",
            "ETag": '"e"',
        }
        await PlainTextResponse("x", headers=said)(scope, receive, send)

    headers = asyncio.run(ask(Accounting(app))).headers
    assert headers["cache-control"] == "private"
    assert headers["etag"] == '"e"'
    assert "sandbox" in headers["content-security-policy"]
    assert "server" not in headers


def test_the_page_of_the_documentation_may_run_its_scripts() -> None:
    """All that the page names is in its policy, so it works; nothing may frame it."""
    app = Accounting(FastAPI())
    answer = asyncio.run(ask(app, scope_of("GET", "/docs")))
    policy = answer.headers["content-security-policy"]
    assert answer.status == 200
    assert b"https://cdn.jsdelivr.net" in answer.body
    assert "script-src 'unsafe-inline' https://cdn.jsdelivr.net;" in policy
    assert "style-src 'unsafe-inline' https://cdn.jsdelivr.net;" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "sandbox" not in policy
    other = asyncio.run(ask(app, scope_of("GET", "/docs/else")))
    assert "sandbox" in other.headers["content-security-policy"]


# -- errors --------------------------------------------------------------------------------


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Gives the records of requests, as JSON that was read again."""
    caplog.set_level(logging.INFO, "object_clerk.gateway")

    def get() -> list[dict[str, Any]]:
        chosen = [each for each in caplog.records if each.name == "object_clerk.gateway.access"]
        return [json.loads(JsonFormatter().format(each)) for each in chosen]

    return get


def run_logged(app: ASGIApp, scope: Scope, body: list[Message] | None = None) -> Answer:
    return asyncio.run(ask(Accounting(app), scope, body))


def test_an_error_of_the_application_is_500_with_the_id_of_the_request(
    caplog: pytest.LogCaptureFixture, records: Callable[[], list[dict[str, Any]]]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("a secret of ours")

    answer = run_logged(app, scope_of("GET", "/x", ("x-request-id", "r-1")))
    assert answer.status == 500
    assert answer.error.endswith("request id: r-1")
    assert "secret" not in answer.body.decode()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "LookupError: a secret of ours" in caplog.text
    (said,) = records()
    assert (said["status"], said["outcome"]) == (500, "complete")


def test_an_error_after_the_answer_has_begun_breaks_it_off(
    caplog: pytest.LogCaptureFixture, records: Callable[[], list[dict[str, Any]]]
) -> None:
    aborted: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError("half is all there is")

    answer = run_logged(app, scope_of(extensions={ABORT: lambda: aborted.append(True)}))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)
    assert aborted == [True]
    assert "LookupError: half is all there is" in caplog.text
    (said,) = records()
    assert (said["status"], said["outcome"], said["bytes_out"]) == (200, "broken", 4)


def test_no_answer_at_all_is_an_error_too(records: Callable[[], list[dict[str, Any]]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    assert run_logged(app, scope_of()).status == 500
    assert records()[0]["status"] == 500


# -- the log -------------------------------------------------------------------------------


def test_the_record_of_a_request(records: Callable[[], list[dict[str, Any]]]) -> None:
    app = FastAPI()

    @app.put("/objects/{key:path}")
    async def put(request: Request) -> PlainTextResponse:
        request.state.token = "camera-7"
        await request.body()
        return PlainTextResponse("stored", 201)

    scope = scope_of(
        "PUT",
        "/objects/a%20b",
        ("x-request-id", "r-1"),
        ("traceparent", f"00-{TRACE}-{PARENT}-00"),
        query_string=b"signature=geheim",
    )
    scope["raw_path"] += b"?signature=geheim"  # some servers have it there
    run_logged(app, scope, pieces(b"abc", b"defg"))
    (said,) = records()
    took_ms = said.pop("elapsed_ms")
    assert took_ms >= 0
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "info",
        "logger": "object_clerk.gateway.access",
        "message": f"PUT /objects/a%20b 201 complete, {took_ms} ms, request r-1",
        "method": "PUT",
        "route": "/objects/{key}",
        "path": "/objects/a%20b",
        "status": 201,
        "bytes_in": 7,
        "bytes_out": 6,
        "request_id": "r-1",
        "trace_id": TRACE,
        "token": "camera-7",
        "client": "192.0.2.1",
        "refused": None,
        "outcome": "complete",
    }


def test_a_head_has_no_body_to_count(records: Callable[[], list[dict[str, Any]]]) -> None:
    run_logged(plain, scope_of("HEAD"))
    assert records()[0]["bytes_out"] == 0


def test_nobody_writes_lines_of_the_log(records: Callable[[], list[dict[str, Any]]]) -> None:
    scope = scope_of("GET", "/a", client=("1.2.3.4\r\nforged", 0))
    scope["raw_path"] = "/a\r\nforged \x1b[31m\x85".encode("latin-1") + b"x" * 10_000
    run_logged(plain, scope)
    (said,) = records()
    assert said["path"].startswith("/a\\r\\nforged \\x1b[31m\\x85xxx")
    assert len(said["path"]) < 5000
    assert said["client"] == "1.2.3.4\\r\\nforged"
    assert printable("\udc80") == "\\udc80"


def test_a_client_that_goes_away_is_no_error(
    caplog: pytest.LogCaptureFixture, records: Callable[[], list[dict[str, Any]]]
) -> None:
    app = FastAPI()

    @app.put("/x")
    async def put(request: Request) -> str:
        await request.body()
        return "stored"

    answer = run_logged(app, scope_of("PUT"), [*unfinished(b"abc"), DISCONNECT])
    assert answer.messages == []
    (said,) = records()
    assert (said["outcome"], said["status"], said["bytes_in"]) == ("aborted", None, 3)
    assert [each.levelname for each in caplog.records] == ["INFO"]


def test_an_error_is_logged_although_the_client_has_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise LookupError("what went on behind the client's back")

    assert run_logged(app, scope_of("PUT"), [*unfinished(b"abc"), DISCONNECT]).messages == []
    assert "LookupError: what went on behind the client's back" in caplog.text


def test_the_end_of_the_connection_after_the_answer_is_ordinary(
    records: Callable[[], list[dict[str, Any]]],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await plain(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    run_logged(app, scope_of(), [*pieces(b""), DISCONNECT])
    assert records()[0]["outcome"] == "complete"


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_is_cancelled_is_answered_and_logged(
    records: Callable[[], list[dict[str, Any]]], *, begun: bool
) -> None:
    """The server cancels what goes on when its grace is over. Whoever cancels gets to know."""
    got: list[Message] = []
    aborted: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.get_running_loop().create_future()

    async def send(message: Message) -> None:
        got.append(message)

    async def story() -> None:
        scope = scope_of(extensions={ABORT: lambda: aborted.append(True)})
        made: Any = Accounting(app)(scope, plain, send)  # type: ignore[arg-type]
        task = asyncio.create_task(made)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    answer, (said,) = Answer(got), records()
    if begun:
        assert (answer.status, answer.is_whole, aborted) == (200, False, [True])
        assert (said["status"], said["outcome"]) == (200, "broken")
    else:
        assert (answer.status, answer.is_whole, aborted) == (503, True, [])
        assert answer.headers["retry-after"] == "1"
        assert "shut down" in answer.error
        assert (said["status"], said["outcome"]) == (503, "complete")


@pytest.mark.parametrize("format_", [JsonFormatter(), logging.Formatter("%(message)s")])
def test_uvicorn_s_own_log_of_requests_has_no_queries(format_: logging.Formatter) -> None:
    """The query of a presigned URL lets everybody in, and uvicorn would log it."""
    hide_queries()
    hide_queries()
    log, stream = logging.getLogger("uvicorn.access"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(format_)
    log.addHandler(handler)
    before, log.level = log.level, logging.INFO
    try:
        args = ("1.2.3.4:5", "GET", "/objects/a?signature=geheim", "1.1", 200)
        log.info('%s - "%s %s HTTP/%s" %d', *args)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert "geheim" not in stream.getvalue()
    assert "/objects/a HTTP/1.1" in stream.getvalue()


def test_records_as_json_have_the_traceback_in_the_same_line() -> None:
    try:
        raise LookupError("two\nlines")
    except LookupError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "said %s\u2028", ("a\nb",), None, extra={"n": object}
        )
        record.exc_info = sys.exc_info()
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line)
    assert said["message"] == "said a\nb\u2028"
    assert said["n"] == "<class 'object'>"
    assert said["exception"].endswith("LookupError: two\nlines")


def test_nobody_writes_lines_of_the_log_as_text() -> None:
    """Neither by what is logged nor by the text of an error, which may have keys in it."""
    config = log_config(GatewaySettings(log_format="text"))
    (handler,) = {each["formatter"] for each in config["handlers"].values()}
    made = config["formatters"][handler]
    formatter: Any = logging.config.DictConfigurator(config).configure_formatter(made)
    forged = "a\x1b[31m\r\n2026-11-22 00:00:00,000 INFO x: forged\x85\u2028"
    try:
        try:
            raise LookupError(forged)
        except LookupError as error:
            raise RuntimeError(forged) from error
    except RuntimeError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "%s failed", (forged,), sys.exc_info()
        )
    record.stack_info = "Stack:\n" + forged
    first, *others = formatter.format(record).split("\n")
    assert first.endswith(
        " ERROR x: a\\x1b[31m\\r\\n2026-11-22 00:00:00,000 INFO x: forged\\x85\\u2028 failed"
    )
    assert first.isprintable()
    assert all(each.startswith("    ") and each.isprintable() for each in others)
    assert "    RuntimeError: a\\x1b[31m\\r" in others
    assert others.count("    2026-11-22 00:00:00,000 INFO x: forged\\x85\\u2028") == 3


def test_other_scopes_pass_untouched() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    stack = Accounting(SlowClients(BodyLimit(Concurrency(app, 1), 1), LONG_S))
    asyncio.run(ask(stack, {"type": "lifespan"}))
    assert seen == ["lifespan"]
