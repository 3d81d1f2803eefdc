"""The one place that talks to urllib3: connections, timeouts, and what every request carries."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.util import Retry, Timeout
from urllib3.util.timeout import _DEFAULT_TIMEOUT

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkParameterException
from object_clerk.session.errors import RequestError, error_of
from object_clerk.values import check_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_T = TypeVar("_T")

CONNECT_TIMEOUT_S = 0.1
CONNECT_RETRIES = 3
#: Connections that are kept. More threads than this open more, which are closed after use.
POOL_SIZE = 10

#: The longest answer that is taken as a whole.
LARGEST_ANSWER_BYTES = 1 << 20

_GOOD = range(200, 300)


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


def nonsense(
    error: ValueError, status: int, headers: Mapping[str, str], text: str = ""
) -> RequestError:
    """An answer that cannot be understood, as an exception."""
    return RequestError(f"the answer makes no sense: {error}", status, text, headers)


class Transport:
    """A pool of connections to one server.

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
        self.base_url = check_url(base_url, "base_url")
        #: the path of the URL, which goes before all others
        self.prefix = urlsplit(self.base_url).path
        self.origin = self.base_url.removesuffix(self.prefix)
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
        self._pool = urllib3.connection_from_url(self.base_url, **given)
        self._pool.ConnectionCls = _connection_class(self._pool)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[bytes | memoryview] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; the body of the answer is not read yet.

        A body is sent once: it is not repeated for a redirect, so a redirect is an error then.

        Raises:
            urllib3.exceptions.HTTPError: there was no answer.
        """
        if self._propagate_traces:
            headers = {**headers, **_trace_headers()}
        return self._pool.urlopen(
            method,
            self.prefix + path,
            body=body,  # type: ignore[arg-type]  # urllib3 sends memoryviews, its types lag behind
            headers=_merged(headers, self._headers),
            redirect=body is None,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close()


def read(response: urllib3.BaseHTTPResponse) -> Answer:
    """An answer as a whole.

    Raises:
        RequestError: it is longer than answers are.
    """
    body = response.read(LARGEST_ANSWER_BYTES + 1, decode_content=False)
    headers = lower(response)
    if len(body) > LARGEST_ANSWER_BYTES:
        response.close()
        if response.status in _GOOD:
            raise RequestError("the answer is far too long", response.status, "", headers)
        body = body[:LARGEST_ANSWER_BYTES]
    response.release_conn()
    return Answer(response.status, headers, body.decode(errors="replace"))


def lower(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    """The headers of an answer, with names in lower case; those that came twice are joined."""
    return {name.lower(): response.headers[name] for name in response.headers}


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
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float) or timeout_ms <= 0:
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


def _connection_class(pool: urllib3.HTTPConnectionPool) -> Any:
    """Connections whose writes have the patience of reads.

    urllib3 sends bodies under the timeout for connecting, so that a server that takes its time
    over a large body looks as if it were not there.
    """
    timeout = pool.timeout
    between_s = timeout._read if isinstance(timeout, Timeout) else timeout
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
