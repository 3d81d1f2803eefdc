"""What the fault proxy can be told to do, as values: a fault, and the action behind it.

A `Fault` says *when* (which requests, how often) and carries an `Action` that says *what*.
The functions in `factories` build the usual ones. An own `Action` subclass works just as
well; every hook is optional and the default passes everything through unchanged.

Actions hold no state of their own, so one fault can fire on several connections at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import unquote
from xml.sax.saxutils import escape

from .wire import Headers, get_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Stands for the method of a request where a TLS handshake is meant, which has none.
HANDSHAKE = "HANDSHAKE"


class Disconnect(Exception):
    """Raised by an action to close the client's connection here and now."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request as the client sent it.

    Attributes:
        method: The HTTP method.
        target: The request target, not decoded: path and query.
        headers: Names and values in the order they were sent.
    """

    method: str
    target: str
    headers: Headers = ()

    @property
    def path(self) -> str:
        """The part of the target before the question mark, not decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part of the target after the question mark, not decoded."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first header called `name` (in any case), or None."""
        return get_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of the upstream's answer; actions return an altered copy of it.

    Attributes:
        status: The HTTP status.
        reason: The text behind the status.
        headers: End-to-end headers in the order the upstream sent them.
        chunked: The body goes to the client in chunks. With this False and no
            Content-Length the end of the connection is the end of the body.
    """

    status: int
    reason: str
    headers: Headers
    chunked: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made up by an action; Content-Length is added when it is sent."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """In place of a `Reply`: close the client's connection without any answer."""


@dataclass(slots=True)
class Turn:
    """One request on its way through the proxy, as an action sees it.

    Attributes:
        request: The request as the client sent it.
        pause: Sleeps for so many seconds; cut short by a `Disconnect` when the proxy stops.
        random: What is left to chance is drawn from here, so that it depends on the proxy's
            seed and the request alone.
        effective: Set by the action once it has really altered the exchange. Only then is
            the fault logged as fired: a bit flip beyond the end of a body changes nothing,
            and a test that believes it was exercised would prove nothing.
    """

    request: Request
    pause: Callable[[float], None]
    random: Random = field(default_factory=Random)
    effective: bool = False


class Action:
    """What a fault does to an exchange; subclasses override the hooks they need."""

    def applies(self, request: Request) -> bool:
        """Say whether the action can do anything to this request at all."""
        return True

    def before(self, turn: Turn) -> Reply | Drop | None:
        """Called when the request head is there; an answer keeps it from the upstream.

        For a `HANDSHAKE` it is called when the client has connected; anything but None
        closes the connection.
        """
        return None

    def edit_request_headers(self, turn: Turn, headers: Headers) -> Headers:
        """Return the headers to forward."""
        return headers

    def edit_request_body(
        self, turn: Turn, length: int | None, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Return the body to forward, of the same `length`; that of a chunked one is None."""
        return blocks

    def after(self, turn: Turn, head: ResponseHead) -> Reply | Drop | None:
        """Called with the upstream's answer; another one takes its place."""
        return None

    def edit_response_head(self, turn: Turn, head: ResponseHead) -> ResponseHead:
        """Return the head to pass on."""
        return head

    def edit_response_body(
        self, turn: Turn, head: ResponseHead, blocks: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Return the body to pass on; `head` is the edited one."""
        return blocks


class Often(TypedDict, total=False):
    """The options of every factory: how often, and the name (see `Fault`)."""

    skip: int
    times: int | None
    rate: float
    name: str


class Match(Often, total=False):
    """The options of the factories of faults in requests: which, and how often (see `Fault`)."""

    method: str | None
    path: str
    query: str
    when: Callable[[Request], bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One scripted misbehaviour of the proxy.

    Attributes:
        name: How the log calls it.
        action: What happens.
        method: Only requests with this method; None for any, but no `HANDSHAKE`.
        path: Only requests whose decoded target contains this text.
        query: Only requests whose query contains this text, decoded or not.
        skip: How many matching requests to let pass first.
        times: How many matching requests to use it on; None for all.
        rate: The share of the matching requests to use it on, drawn with the proxy's seed.
        when: Called with the request as a further condition.
    """

    name: str
    action: Action = field(repr=False)
    method: str | None = None
    path: str = ""
    query: str = ""
    skip: int = 0
    times: int | None = 1
    rate: float = 1.0
    when: Callable[[Request], bool] | None = None

    def __post_init__(self) -> None:
        """Refuse counts that could never work."""
        if self.skip < 0 or (self.times is not None and self.times < 1):
            raise ValueError("skip must be at least 0, times at least 1 (or None)")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, not {self.rate}")

    def matches(self, request: Request) -> bool:
        """Say whether the fault is meant for `request`, counts and chance aside."""
        if self.method is None:
            wanted = request.method != HANDSHAKE
        else:
            wanted = self.method.upper() == request.method.upper()
        return (
            wanted
            and self.path in unquote(request.target)
            and (self.query in request.query or self.query in unquote(request.query))
            and self.action.applies(request)
            and (self.when is None or self.when(request))
        )


def error_document(code: str, message: str = "", resource: str = "") -> bytes:
    """Return an S3 XML error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        f"<Resource>{escape(resource)}</Resource><RequestId>FAULTPROXY</RequestId></Error>"
    ).encode()
