"""The outermost layer: names each request, says what became of it, and lets no error out."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.logs import hide_queries, printable
from object_clerk.gateway.middleware.headers import answered, request_id, trace_of
from object_clerk.gateway.middleware.scopes import break_off, path_of, state_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from object_clerk.gateway.metrics import Metrics

log = logging.getLogger(__name__)

#: One record for each request.
access_log = logging.getLogger("object_clerk.gateway.access")

_TEXT = "%(method)s %(path)s %(status)s %(outcome)s, %(elapsed_ms)s ms, request %(request_id)s"

#: Why a request was refused, where its status tells. The guards say it themselves.
_REASONS = {401: "auth", 403: "auth", 408: "slow", 413: "size", 429: "rate"}

#: A key has 1024 bytes at most, and each may be written as three.
_LONGEST_PATH = 4096


class Accounting:
    """Gives each request an id, counts and logs it, and puts security headers on the answer.

    The record of a request has these fields: ``method``, ``route`` (the template), ``path``,
    ``status``, ``bytes_in``, ``bytes_out``, ``elapsed_ms``, ``request_id``, ``trace_id``,
    ``token`` (its name), ``client``, ``refused`` (for *rate*, *concurrency*, *size*, *slow* or
    *auth*) and ``outcome``: *complete*, *aborted* by the client, or *broken* by an error, or the
    end of the server, after the answer had begun.

    Args:
        app: what answers.
        metrics: what counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics
        hide_queries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = _Account(scope, receive, send)
        if self._metrics is not None:
            self._metrics.begin()
        try:
            await self._app(scope, account.receive, account.send)
            await account.ended()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
            await account.failed(error)
        except asyncio.CancelledError:
            await account.cancelled()
            raise
        finally:
            said = account.said()
            if self._metrics is not None:
                self._metrics.end(said)
            access_log.info(_TEXT, said, extra=said)


class _Account:
    """What is known of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._begun_at = time.perf_counter()
        self._state = state_of(scope)
        self._state["request_id"] = self._request_id = request_id(scope["headers"])
        self._trace = trace_of(scope["headers"])
        self._state["trace_id"] = None if self._trace is None else self._trace[0]
        self._status: int | None = None
        self._is_complete = False
        self._bytes_in = self._bytes_out = 0
        self.was_aborted = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            # A server says so after an answer, too.
            self.was_aborted |= not self._is_complete
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if self.was_aborted:
            return  # nobody is there
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": self._headers(message.get("headers", []))}
        await self._send(message)
        if message["type"] == "http.response.body":
            if self._scope["method"] != "HEAD":
                self._bytes_out += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)

    def _headers(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = answered(given, path_of(self._scope), self._scope["scheme"])
        headers.append((b"x-request-id", self._request_id.encode()))
        if self._trace is not None:
            # https://w3c.github.io/trace-context/#traceresponse-header
            trace, flags = self._trace
            ours = f"00-{trace}-{secrets.token_hex(8)}-{flags}"
            headers.append((b"traceresponse", ours.encode()))
        return headers

    async def ended(self) -> None:
        """The application has returned; it should have answered."""
        if not self._is_complete and not self.was_aborted:
            await self.failed(RuntimeError("the application did not end its answer"))

    async def failed(self, error: Exception) -> None:
        """Answer 500 if nothing was answered, or break the connection off."""
        if self._state.get("refused") == "slow":
            self.was_aborted = True  # of those who read too slowly; they are not answered
        elif not (self.was_aborted and _tells_of_the_end(error)):
            log.error(
                "request %s failed", self._request_id, exc_info=error,
                extra={"request_id": self._request_id, "trace_id": self._state["trace_id"]},
            )  # fmt: skip
        if self._status is None and not self.was_aborted:
            said = "the gateway failed; its log tells more under this request id"
            answer = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"{said}: {self._request_id}")
            await answer.response()(self._scope, self._receive, self.send)
        elif not self._is_complete:
            # To return with half an answer makes the server close the connection.
            break_off(self._scope)

    async def cancelled(self) -> None:
        """The server ends, and waits no longer: answer 503, or break the connection off."""
        if self._status is None and not self.was_aborted:
            said = "the gateway is being shut down: try again in 1 s"
            answer = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, said, {"retry-after": "1"})
            await answer.response()(self._scope, self._receive, self.send)
        elif not self._is_complete:
            break_off(self._scope)

    def said(self) -> dict[str, Any]:
        """The fields of the record."""
        scope, state = self._scope, self._state
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        path = raw.partition(b"?")[0].decode("latin-1")
        outcome = "aborted" if self.was_aborted else "complete" if self._is_complete else "broken"
        return {
            "method": scope["method"],
            "route": getattr(scope.get("route"), "path_format", None),
            "path": printable(path[:_LONGEST_PATH]),
            "status": self._status,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "elapsed_ms": round((time.perf_counter() - self._begun_at) * 1000, 3),
            "request_id": self._request_id,
            "trace_id": state["trace_id"],
            "token": state.get("token"),
            "client": printable((scope.get("client") or ("",))[0]),
            "refused": state.get("refused") or _REASONS.get(self._status or 0),
            "outcome": outcome,
        }


def _tells_of_the_end(error: BaseException) -> bool:
    """Whether an error only says that the client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_tells_of_the_end, error.exceptions))
    return isinstance(error, ClientDisconnect | ConnectionError)
