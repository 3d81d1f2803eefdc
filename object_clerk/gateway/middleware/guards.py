"""Layers that refuse what takes too long, is too large, or is too much at once.

A refusal while the application reads a body is raised where it reads, so that it stores nothing.
Whatever it answers to that, the client gets the refusal.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.middleware.headers import values
from object_clerk.gateway.middleware.scopes import (
    HUNG_UP,
    LEAST_BYTES_PER_S,
    path_of,
    state_of,
)
from object_clerk.rest import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: What tells whether the gateway is well has to answer when it is busy, too.
_NEVER_BUSY = frozenset({"/health", "/ready"})


class _Exchange:
    """One request, and the refusal that may come while its body is read.

    Args:
        scope: the request's.
        receive: where its body comes from.
        send: where the answer goes.
        reason: why it may be refused, for the metrics.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, reason: str) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._reason = reason
        self._refusal: Refusal | None = None
        self._has_begun = False
        self._is_read = False

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            if self._refusal is None or self._has_begun:
                raise
        if self._refusal is not None and not self._has_begun:
            await self._refusal.response()(self.scope, self._receive, self.pass_on)

    async def receive(self) -> Message:
        """The next piece of the body, if the layer lets it pass."""
        if self._refusal is not None:
            raise self._refusal
        if self._is_read:
            return await self._receive()  # what comes now is the end of the connection
        message = await self.piece()
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """A piece of the application's answer, which counts if there was no refusal before."""
        if self._refusal is None or self._has_begun:
            self._has_begun = True
            await self.pass_on(message)

    async def piece(self) -> Message:
        """What each layer does with a piece of the body on its way in."""
        return await self._receive()

    async def pass_on(self, message: Message) -> None:
        """What each layer does with a piece of the answer on its way out."""
        await self._send(message)

    def refuse(self, status: int, message: str) -> Refusal:
        """The refusal to raise, now and whenever the application reads on."""
        state_of(self.scope)["refused"] = self._reason
        self._refusal = Refusal(status, message)
        return self._refusal


class SlowClients:
    """Each piece of a body has to come, and each piece of an answer has to be taken, within a time.

    Besides, a body that takes longer than that time has to come at LEAST_BYTES_PER_S on the whole.
    What the application takes to read it does not count. Answers are left to the server where that
    hangs up on slow readers by itself: it sees more of them than whole pieces.

    Args:
        app: what answers.
        idle_timeout_s: the time. A server takes some pieces of the answer before the client does.
        clock: tells seconds.
    """

    def __init__(
        self, app: ASGIApp, idle_timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Timed(scope, receive, send, self._idle_timeout_s, self._clock).run(self._app)


class _Timed(_Exchange):
    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        idle_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(scope, receive, send, "slow")
        self._idle_timeout_s = idle_timeout_s
        self._clock = clock
        self._waited_s = 0.0
        self._received_bytes = 0
        self._has_hung_up = scope.get("extensions", {}).get(HUNG_UP)

    async def piece(self) -> Message:
        began = self._clock()
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise self.refuse(
                408, f"nothing of the body came for {self._idle_timeout_s:g} s: send it again"
            ) from None
        self._waited_s += self._clock() - began
        self._received_bytes += len(message.get("body", b""))
        if message.get("more_body", False) and self._is_too_slow():
            raise self.refuse(
                408,
                f"the body comes at less than {LEAST_BYTES_PER_S} bytes a second: send it again",
            )
        return message

    def _is_too_slow(self) -> bool:
        least = LEAST_BYTES_PER_S * self._waited_s
        return self._waited_s > self._idle_timeout_s and self._received_bytes < least

    async def pass_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":  # goes out with the first piece of the body
            await self._send(message)
            return
        try:
            async with asyncio.timeout(None if self._has_hung_up else self._idle_timeout_s):
                await self._send(message)
        except TimeoutError:
            self._hang_up()
        if self._has_hung_up is not None and self._has_hung_up():
            self._hang_up()

    def _hang_up(self) -> None:
        state_of(self.scope)["refused"] = self._reason  # Accounting then hangs up
        raise ConnectionAbortedError(
            f"nothing, or too little, of the answer was taken for {self._idle_timeout_s:g} s"
        ) from None


class BodyLimit:
    """Bodies have at most so many bytes, whether or not their length is known before.

    Args:
        app: what answers.
        max_object_bytes: so many.
    """

    def __init__(self, app: ASGIApp, max_object_bytes: int) -> None:
        self._app = app
        self._max_object_bytes = max_object_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Counted(scope, receive, send, self._max_object_bytes)
        lengths = values(scope["headers"], b"content-length")
        if any(each.isdigit() and int(each) > self._max_object_bytes for each in lengths):
            await exchange.too_large().response()(scope, receive, send)
            return
        await exchange.run(self._app)


class _Counted(_Exchange):
    def __init__(self, scope: Scope, receive: Receive, send: Send, max_object_bytes: int) -> None:
        super().__init__(scope, receive, send, "size")
        self._max_object_bytes = max_object_bytes
        self._received_bytes = 0

    def too_large(self) -> Refusal:
        """The refusal of a body that is too large."""
        return self.refuse(413, f"objects here have at most {self._max_object_bytes} bytes")

    async def piece(self) -> Message:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._max_object_bytes:
            raise self.too_large()
        return message


class Concurrency:
    """At most so many requests are answered at once; more are told to come again.

    Args:
        app: what answers.
        max_requests: so many.
    """

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or path_of(scope) in _NEVER_BUSY:
            await self._app(scope, receive, send)
            return
        if self._requests >= self._max_requests:
            state_of(scope)["refused"] = "concurrency"
            refusal = Refusal(
                503,
                "too many requests at once: try again in 1 s",
                {"retry-after": "1", wire.MARK: wire.BUSY},
            )
            await refusal.response()(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1
