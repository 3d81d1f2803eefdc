"""The one place that talks to urllib3: connections, timeouts, and what every request carries."""

from __future__ import annotations

import dataclasses
import email.errors
import math
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import LocationParseError, MaxRetryError
from urllib3.util import Retry, Timeout, parse_url
from urllib3.util.timeout import _DEFAULT_TIMEOUT

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkParameterException
from object_clerk.locks import ForkSafeLock
from object_clerk.session import wire
from object_clerk.session.errors import RequestError, error_of
from object_clerk.values import bad, check_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_T = TypeVar("_T")

CONNECT_TIMEOUT_S = 0.1
CONNECT_RETRIES = 3
#: Connections that are kept. More threads than this open more, which are closed after use.
POOL_SIZE = 10

#: The longest answer that is taken as a whole.
LARGEST_ANSWER_BYTES = 1 << 20

MOST_REDIRECTS = 5

_GOOD = range(200, 300)

#: What Python notes when it leaves out a line of the head of an answer, or all that follow. Others
#: are about bodies, which it looks for in a head.
_LOSSES = (
    email.errors.FirstHeaderLineIsContinuationDefect,
    email.errors.InvalidHeaderDefect,
    email.errors.MisplacedEnvelopeHeaderDefect,
    email.errors.MissingHeaderBodySeparatorDefect,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read as a whole.

    Attributes:
        status: its HTTP status.
        headers: its headers, with names in lower case.
        text: its body.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    def good(self) -> Answer:
        """It, if the server did what it was asked.

        Raises:
            RequestError: it did not.
        """
        if not is_good(self.status):
            raise self.refused()
        return self

    def refused(self) -> RequestError:
        """It as an exception."""
        return error_of(self.status, self.text, self.headers)

    def parsed(self, parse: Callable[[str], _T]) -> _T:
        """What its body says.

        Raises:
            RequestError: it cannot be understood.
        """
        try:
            return parse(self.text)
        except ValueError as error:
            raise nonsense(error, self.status, self.headers, self.text) from error

    def stored(self, key: str | None) -> wire.Stored:
        """What it says of an object.

        Args:
            key: its key; None if the server has chosen one.

        Raises:
            RequestError: it cannot be understood, or is about another object.
        """
        found = self.parsed(wire.Stored.from_json)
        if not found.key or (key and found.key != key):
            wanted = repr(key) if key else "anything"
            raise RequestError(
                f"the server calls it {found.key!r}, and not {wanted}",
                self.status,
                self.text,
                self.headers,
            )
        return found


def nonsense(
    error: ValueError, status: int, headers: Mapping[str, str], text: str = ""
) -> RequestError:
    """An answer that cannot be understood, as an exception."""
    return RequestError(f"the answer makes no sense: {error}", status, text, headers)


class _Sending:
    """A body on its way.

    Attributes:
        finished: whether all of it was given to the connection.
    """

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self._blocks = blocks
        self.finished = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.finished = False
        yield from self._blocks
        self.finished = True


class Transport:
    """A pool of connections to one server; a forked child has one of its own.

    Args:
        base_url: http or https; its path goes before the path of every request.
        retries: how often connecting is tried again.
        timeout_ms: the longest wait for the next bytes, in milliseconds.
        connection_kwargs: arguments of urllib3's pool, which win over everything here.
        propagate_traces: whether to send the headers of a running Sentry trace.

    Raises:
        ObjectClerkConfigurationException: it is no such URL.
        ObjectClerkParameterException: a number is impossible.
    """

    def __init__(
        self,
        base_url: str,
        *,
        retries: int | None,
        timeout_ms: float | None,
        connection_kwargs: Mapping[str, Any] | None,
        propagate_traces: bool,
    ) -> None:
        url = check_url(base_url, "base_url")
        if set("?#\\") & set(url):
            raise bad(
                "base_url", "a URL that ends with a path, such as https://example.org/objects"
            )
        self.origin = url.removesuffix(urlsplit(url).path)
        #: the path of the URL, which goes before all others, as it is sent: that is what is signed
        self.prefix = (parse_url(url).path or "").rstrip("/")
        self.base_url = self.origin + self.prefix
        self._propagate_traces = propagate_traces
        read_s = _seconds(timeout_ms)
        given = {
            "maxsize": POOL_SIZE,
            "retries": _retry(CONNECT_RETRIES if retries is None else retries),
            "timeout": Timeout(connect=CONNECT_TIMEOUT_S, read=read_s),
            **(connection_kwargs or {}),
        }
        if isinstance(given["timeout"], Timeout):
            given["timeout"] = _patient(given["timeout"], read_s)
        own = {
            "accept-encoding": "identity",
            "user-agent": f"object-clerk-session/{__version__}",
        }
        self._headers = _merged(own, given.pop("headers", None) or {})
        self._given = given
        self._lock = ForkSafeLock()
        self._closed = False
        self._parents: list[urllib3.HTTPConnectionPool] = []
        self._pool, self._pid = self._made(), os.getpid()

    def _made(self) -> urllib3.HTTPConnectionPool:
        pool = urllib3.connection_from_url(self.base_url, **self._given)
        pool.ConnectionCls = _connection_class(pool)
        return pool

    def _own_pool(self) -> urllib3.HTTPConnectionPool:
        """The pool of this process.

        On a socket that a child shares with its parent, each may read what the other has asked for.
        The parent's pool is kept: to let go of it is to lock it, and a thread that did not come
        along may have done that for ever.
        """
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid() and not self._closed:
                    self._parents.append(self._pool)
                    self._pool, self._pid = self._made(), os.getpid()
        return self._pool

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[bytes | memoryview] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; the body of the answer is not read yet.

        Redirects are followed where something is read, and it is the same object elsewhere.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
            RequestError: there was half of one, or one to half of a request.
        """
        if self._propagate_traces:
            headers = {**headers, **_trace_headers()}
        headers = _merged(headers, self._headers)
        sending = None if body is None else _Sending(body)
        target = self.prefix + path
        response = self._send(method, target, headers, sending)
        for _ in range(MOST_REDIRECTS if method in ("GET", "HEAD") else 0):
            onward = self._onward(response, target, path)
            if onward is None:
                break
            discard(response)
            target = onward
            response = self._send(method, target, headers, sending)
        if _lost_headers(response):
            discard(response)
            raise RequestError(
                "the headers of the answer are malformed, and some of them were lost",
                response.status,
            )
        if sending is not None and not sending.finished and is_good(response.status):
            # The connection broke, and urllib3 has still read what was answered before.
            discard(response)
            raise RequestError(
                "the server said that all is well before it had all bytes", response.status
            )
        return response

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: _Sending | None
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._own_pool().urlopen(
                method,
                target,
                body=body,  # type: ignore[arg-type]  # urllib3 sends what its types do not say
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except MaxRetryError as error:
            failed = error
        # Its text has the target in it. What is in a query, such as the name of an upload, opens
        # something.
        raise MaxRetryError(failed.pool, target.partition("?")[0], failed.reason) from failed.reason

    def _onward(self, response: urllib3.BaseHTTPResponse, target: str, path: str) -> str | None:
        """Where a redirect leads; None if there is none, or it leads to something else.

        A page where people log in is no object, and no other host is to see the token.
        """
        location = response.get_redirect_location()
        if not location:
            return None
        try:
            url = parse_url(urljoin(self.origin + target, location))
            same = self._own_pool().is_same_host(url.url)
        except (ValueError, LocationParseError):
            return None
        same = same and (url.path or "").endswith(path.partition("?")[0])
        return url.request_uri if same else None

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._closed = True
        if self._pid == os.getpid():
            self._pool.close()


def read(response: urllib3.BaseHTTPResponse) -> Answer:
    """An answer as a whole.

    Raises:
        RequestError: it is longer than answers are.
    """
    try:
        body = response.read(LARGEST_ANSWER_BYTES + 1, decode_content=False)
    except BaseException:
        discard(response)
        raise
    headers = lower(response)
    if len(body) > LARGEST_ANSWER_BYTES:
        discard(response)
        if response.status in _GOOD:
            raise RequestError("the answer is far too long", response.status, "", headers)
        body = body[:LARGEST_ANSWER_BYTES]
    response.release_conn()
    return Answer(response.status, headers, body.decode(errors="replace"))


def discard(response: urllib3.BaseHTTPResponse) -> None:
    """Read no more of an answer: close its connection, and give its place in the pool back."""
    response.close()
    response.release_conn()


def _lost_headers(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the head of an answer was not understood in full; urllib3 only warns of that."""
    head = getattr(getattr(response, "_original_response", None), "msg", None)
    return any(isinstance(each, _LOSSES) for each in getattr(head, "defects", ()))


def lower(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """The headers of an answer, with names in lower case; those that came twice are joined."""
    return {name.lower(): response.headers[name].strip(" \t") for name in response.headers}


def is_good(status: int) -> bool:
    """Whether the server did what it was asked."""
    return status in _GOOD


def _merged(first: Mapping[str, str], winners: Mapping[str, str]) -> dict[str, str]:
    """Both, and the second where they differ; names are compared as HTTP does."""
    taken = {name.lower() for name in winners}
    return {name: value for name, value in first.items() if name.lower() not in taken} | dict(
        winners
    )


def _seconds(timeout_ms: object) -> float | None:
    if timeout_ms is None:
        return None
    if (
        isinstance(timeout_ms, bool)
        or not isinstance(timeout_ms, int | float)
        or not 0 < timeout_ms < math.inf
    ):
        raise ObjectClerkParameterException(
            "timeout_ms is a number of milliseconds, more than 0; None waits for ever"
        )
    return timeout_ms / 1000


def _retry(count: object) -> Retry:
    """Connect again, and nothing else: a body that was begun cannot be sent from its start.

    Answers such as 429 with Retry-After are left to the caller for the same reason.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ObjectClerkParameterException("retries is a whole number, 0 or more")
    return Retry(
        total=None,
        connect=count,
        read=0,
        other=0,
        redirect=10,
        respect_retry_after_header=False,
    )


def _patient(timeout: Timeout, read_s: float | None) -> Timeout:
    """A timeout that leaves nothing to the global default of sockets."""
    if timeout._read is not _DEFAULT_TIMEOUT:
        return timeout
    return Timeout(total=timeout.total, connect=timeout._connect, read=read_s)


def _between_s(timeout: Timeout) -> float | None:
    """The longest gap between bytes that a timeout allows; None for any."""
    given = [each for each in (timeout._read, timeout.total) if isinstance(each, int | float)]
    return min(given, default=None)


def _connection_class(pool: urllib3.HTTPConnectionPool) -> Any:
    """Connections whose writes have the patience of reads.

    urllib3 sends bodies under the timeout for connecting, so that a server that takes its time
    over a large body looks as if it were not there.
    """
    between_s = _between_s(pool.timeout)
    kind: Any = pool.ConnectionCls

    class Connection(kind):  # type: ignore[misc]
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            self.sock.settimeout(between_s)
            super().send(data)

    return Connection


def _trace_headers() -> dict[str, str]:
    """The headers of a trace of Sentry's SDK; none if nobody has initialised it."""
    sdk = sys.modules.get("sentry_sdk")
    if sdk is None or not sdk.is_initialized():
        return {}
    found = {"sentry-trace": sdk.get_traceparent(), "baggage": sdk.get_baggage()}
    return {name: value for name, value in found.items() if value}
