"""uvicorn's HTTP protocol, with patience that ends.

uvicorn waits for the head of a request as long as it likes, and so it does for a client to take
the last bytes of an answer, or to finish a body that nobody reads any more. Here each of these has
a time. Besides, what is no HTTP is answered with the error JSON.

It is h11's protocol, in Python: bodies come to it in few and large pieces, and it is the one that
can be looked into.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import logging
import struct
import sys
import termios
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from object_clerk.gateway.middleware.scopes import ABORT, HUNG_UP, LEAST_BYTES_PER_S
from object_clerk.rest.wire import error_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

#: What is relied on: methods that uvicorn or asyncio calls, and what its objects have.
_METHODS = (
    "connection_made",
    "connection_lost",
    "handle_events",
    "on_response_complete",
    "pause_writing",
    "resume_writing",
    "send_400_response",
    "timeout_keep_alive_handler",
)
_ATTRIBUTES = {
    H11Protocol: {"app", "conn", "cycle", "loop", "scope", "transport"},
    RequestResponseCycle: {"disconnected", "message_event"},
}


def protocol(header_timeout_s: float, idle_timeout_s: float) -> type[asyncio.Protocol]:
    """What uvicorn makes connections with: its setting ``http``. It can be pickled.

    Args:
        header_timeout_s: how long the head of a request may take. The first one has to begin
            within that time, too, and a body that nobody reads has to end within it.
        idle_timeout_s: how long a client may take nothing of an answer, or less than
            LEAST_BYTES_PER_S.
    """
    if missing := _missing():
        log.warning(
            "this version of uvicorn is not known (%s): slow clients are not hung up on", missing
        )
        return H11Protocol
    made = functools.partial(
        PatientProtocol, header_timeout_s=header_timeout_s, idle_timeout_s=idle_timeout_s
    )
    # uvicorn asks for a class, and only calls it.
    return cast("type[asyncio.Protocol]", made)


def _missing() -> str:
    """What is relied on and is not there."""
    methods = [name for name in _METHODS if not callable(getattr(H11Protocol, name, None))]
    attributes = [
        f"{kind.__name__}.{name}"
        for kind, names in _ATTRIBUTES.items()
        for name in sorted(names - set(vars(kind)["__init__"].__code__.co_names))
    ]
    return ", ".join(methods + attributes)


class PatientProtocol(H11Protocol):
    """One connection.

    Args:
        *args: as for H11Protocol.
        header_timeout_s: see :func:`protocol`.
        idle_timeout_s: see :func:`protocol`.
        **kwargs: as for H11Protocol.
    """

    def __init__(
        self, *args: Any, header_timeout_s: float = 20, idle_timeout_s: float = 60, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.app = functools.partial(_to_the_end, self.app)
        self.conn.__class__ = _LowerCase  # as uvicorn has made it
        self._has_asked = False
        self._has_hung_up = False
        # Runs while the client has to send something, and while it has to take something.
        self._reading = _Alarm(self.loop, header_timeout_s, self._is_too_slow)
        self._writing = _Alarm(self.loop, idle_timeout_s, self._is_behind)
        self._left_bytes = 0  # when it began to run
        self._least_bytes = LEAST_BYTES_PER_S * idle_timeout_s

    # -- what the client has to send -------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Take what has come, and see what has to come."""
        super().handle_events()
        if self.scope is not None:
            # The application has not begun: its task was only just made.
            self._has_asked = True
            extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
            extensions[ABORT] = self.abort
            extensions[HUNG_UP] = lambda: self._has_hung_up
        self._watch()

    def on_response_complete(self) -> None:
        """An answer was given; what is left of the request has to come soon."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Let the time run, or stop it; what has come so far does not start it anew."""
        if self.transport.is_closing():
            self._await_reader()
        elif self._waits_for_client():
            self._reading.start()
        else:
            self._reading.stop()

    def _waits_for_client(self) -> bool:
        if self.conn.their_state is h11.IDLE:
            return not self._has_asked or bool(self.conn.trailing_data[0])
        # The rest of a body is thrown away, so that the client comes to read the answer.
        is_answered = self.conn.our_state in (h11.DONE, h11.MUST_CLOSE)
        return is_answered and self.conn.their_state is h11.SEND_BODY

    def _is_too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the head of the request took too long")
        else:
            self.transport.close()
        self._await_reader()

    # -- what the client has to take -------------------------------------------------------

    def pause_writing(self) -> None:
        """The client is behind."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._writing.stop()

    def _await_reader(self) -> None:
        """Let the time run for what the client has not taken, unless it runs already."""
        if not self._writing.is_on:
            self._left_bytes = self._untaken_bytes()
            self._writing.start()

    def _is_behind(self) -> None:
        """The time is over: who has taken enough gets it again, and nobody else."""
        if self._left_bytes - self._untaken_bytes() >= self._least_bytes:
            self._await_reader()
        else:
            self._has_hung_up = True
            self.transport.abort()

    def _untaken_bytes(self) -> int:
        """What was written and has not come to the client, as far as that is known here."""
        left: int = self.transport.get_write_buffer_size()
        # The system has more of it. It comes for that only after a good part was taken, which is
        # too rarely to tell a slow client from one that takes nothing.
        with contextlib.suppress(OSError):
            socket = self.transport.get_extra_info("socket")
            left += struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return left

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked."""
        super().timeout_keep_alive_handler()
        self._await_reader()

    def abort(self) -> None:
        """Close the connection; what was written and not taken is not waited for."""
        self._give_up()
        self.transport.abort()

    def _give_up(self) -> None:
        """Tell a request that is being answered that nobody is there any more."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._reading.stop()
        self._writing.stop()
        super().connection_lost(exc)

    # -- what is no HTTP -------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 could not understand, with the status that it proposes."""
        status = getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)
        self._refuse(status, msg)

    def _refuse(self, status: int, message: str) -> None:
        """Answer by ourselves and close; a request that is being answered is given up."""
        self._give_up()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()  # so that what was sent is not taken for all
            return
        body = json.dumps(error_json(status, message)).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        reason = HTTPStatus(status).phrase.encode()
        answer = h11.Response(status_code=status, headers=headers, reason=reason)
        said = b""
        with contextlib.suppress(h11.LocalProtocolError):  # to a HEAD there is no body
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                said += self.conn.send(event) or b""
        self.transport.write(said)
        self.transport.close()
        self._await_reader()


class _LowerCase(h11.Connection):
    """Writes all names of headers in lower case, those too that h11 adds by itself.

    There are clients of ``/v1`` that know them in no other way.
    """

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]
        """What is to be written for an event."""
        output = super().send(event)
        if output is None or not isinstance(event, h11.InformationalResponse | h11.Response):
            return output
        first, *fields = output.split(b"\r\n")
        parts = (field.partition(b":") for field in fields)
        return b"\r\n".join(
            (first, *(name.lower() + colon + value for name, colon, value in parts))
        )


async def _to_the_end(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request; to be cancelled is an end as good as any.

    The task is uvicorn's, which cancels it at the end of its own grace, waits for nothing of it,
    and would take that for an error of the application.
    """
    with contextlib.suppress(asyncio.CancelledError):
        await app(scope, receive, send)


class _Alarm:
    """Goes off once, a time after it was started; to start it again while it runs does nothing."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, time_s: float, call: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._time_s = time_s
        self._call = call
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._time_s, self._go_off)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_off(self) -> None:
        self._timer = None
        self._call()
