"""The records the fault proxy keeps of the requests that pass through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .wire import Headers, get_header

if TYPE_CHECKING:
    from .faults import Fault, Turn


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the proxy knows about one request and its answer.

    A TLS handshake has one of its own if it failed or a fault was used on it: its method is
    `HANDSHAKE`, and there is no path and no answer.

    Attributes:
        number: Counts from 1 in the order of arrival.
        method: The HTTP method.
        path: The path of the request target, not decoded.
        query: The query of the request target, not decoded.
        status: The status given to the client; None if it got no answer (yet).
        upstream_status: The status the upstream gave; None if it was not asked or was silent.
        request_bytes: Size of the request body taken from the client, chunk framing aside.
        response_bytes: Size of the body handed to the client's connection, likewise.
        fault: The name of the fault that took effect, or None.
        request_headers: As the client sent them.
        response_headers: As the client got them.
        error: What went wrong in the proxy or with a peer without being scripted, or None.
    """

    number: int
    method: str
    path: str
    query: str
    status: int | None
    upstream_status: int | None
    request_bytes: int
    response_bytes: int
    fault: str | None
    request_headers: Headers
    response_headers: Headers
    error: str | None

    def request_header(self, name: str) -> str | None:
        """Return the first request header called `name` (in any case), or None."""
        return get_header(self.request_headers, name)

    def response_header(self, name: str) -> str | None:
        """Return the first response header called `name` (in any case), or None."""
        return get_header(self.response_headers, name)


@dataclass(slots=True)
class Record:
    """An exchange under way.

    It is updated before the bytes it speaks of are sent: whoever has received an answer
    finds it in the log, without waiting for the connection's thread to get to run again.
    """

    number: int
    turn: Turn
    fault: Fault | None = None
    status: int | None = None
    upstream_status: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    response_headers: Headers = ()
    error: str | None = None

    def snapshot(self) -> Exchange:
        """Return what is known so far."""
        request = self.turn.request
        return Exchange(
            number=self.number,
            method=request.method,
            path=request.path,
            query=request.query,
            status=self.status,
            upstream_status=self.upstream_status,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            fault=self.fault.name if self.fault and self.turn.effective else None,
            request_headers=request.headers,
            response_headers=self.response_headers,
            error=self.error,
        )
