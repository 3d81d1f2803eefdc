"""What an answer or a failure of the gateway means, in the terms of this package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2

from object_clerk.exceptions import (
    DestinationExists,
    Failure,
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkServerAuthException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.rest import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The longest text of a server that is repeated in an error.
_LONGEST_MESSAGE = 500

_DENIED = ObjectClerkServerAuthException
_FAILED = ObjectClerkServerInternalException

#: Status -> class of error, class of failure, and what is said where the server says nothing.
_STATUSES: Mapping[int, tuple[type[ObjectClerkException], Failure, str]] = {
    401: (_DENIED, Failure.FINAL, "the API key is not known, or has expired"),
    403: (_DENIED, Failure.FINAL, "the API key does not allow this"),
    405: (UnsupportedError, Failure.FINAL, "the server does not know this request"),
    412: (PreconditionFailed, Failure.FINAL, "the object is not the one that was expected"),
    413: (ObjectSaveException, Failure.FINAL, "it is larger than the server takes"),
    429: (_FAILED, Failure.THROTTLED, "too many requests"),
    501: (UnsupportedError, Failure.FINAL, "the server cannot do that"),
}

#: What to do, where the server's own words rarely say it.
_ADVICE: Mapping[int, str] = {
    413: "objects of this size are refused",
    429: "the server throttles us: ask less often, or raise max_retries",
}


_REDIRECTS = "the server redirects to {}: is base_url right?"
_NO_URL = "a place that is no URL"


class KeyNotFound(ObjectNotFoundException, KeyError):
    """There is no object with this key."""


def of_answer(
    status: int,
    headers: Mapping[str, str],
    message: str,
    *,
    key: str | None,
    if_absent: bool,
    is_lost: bool = False,
) -> ObjectClerkException:
    """The error that an answer stands for.

    Args:
        status: its status, which is none of those that were hoped for.
        headers: its headers, by names in lower case.
        message: what its body says, which may be anything.
        key: the key that was asked about; None if it was about something else.
        if_absent: whether the request was to fail if there is such an object.
        is_lost: whether a 404 is about the URL rather than about the object.
    """
    said = _plain(message)
    is_missing = status == 404 and key is not None and not is_lost
    cls, failure, unsaid = _meaning(status, headers, said, is_missing)
    if status == 412 and if_absent:
        cls, unsaid = DestinationExists, "there is such an object already"
    if 300 <= status < 400:
        said = _REDIRECTS.format(_host(headers))
    elif status == 404 and not is_missing:
        said = f"{said or unsaid} (is base_url right?)"
    elif advice := _ADVICE.get(status):
        said = f"{said or unsaid} ({advice})"
    return cls(
        said.rstrip(".") or unsaid,
        key=key,
        status=status,
        request_id=request_id(headers),
        failure=failure,
        retry_after_s=wire.retry_after_s(headers),
    )


def _meaning(
    status: int, headers: Mapping[str, str], said: str, is_missing: bool
) -> tuple[type[ObjectClerkException], Failure, str]:
    if found := _STATUSES.get(status):
        return found
    if is_missing:
        return KeyNotFound, Failure.FINAL, "there is no such object"
    if status == 400 and "digest" in said.lower():
        return ObjectVerificationException, Failure.INTEGRITY, ""
    if status == 503 and _is_untouched(headers):
        return _FAILED, Failure.THROTTLED, "the server is busy"
    if status >= 500:
        return _FAILED, Failure.TRANSIENT, "the server failed, and gave no reason"
    unsaid = "nothing is there" if status == 404 else "the server gave no reason"
    return ObjectClerkOperationException, Failure.FINAL, unsaid


def _is_untouched(headers: Mapping[str, str]) -> bool:
    """Whether a 503 was given before anything was done. Our gateway says so; others say when."""
    return headers.get(wire.MARK, wire.BUSY) == wire.BUSY and "retry-after" in headers


def request_id(headers: Mapping[str, str]) -> str | None:
    """The server's id of a request."""
    return _plain(headers.get("x-request-id", "")) or None


def _plain(text: str) -> str:
    """A text of the server, short, in one line, and with nothing that steers a terminal."""
    line = " ".join(text[: 4 * _LONGEST_MESSAGE].split())
    return "".join(char if char.isprintable() else "?" for char in line)[:_LONGEST_MESSAGE]


def _host(headers: Mapping[str, str]) -> str:
    """Where a redirect leads; the rest of the URL may hold secrets."""
    try:
        return _plain(urlsplit(headers.get("location", "")).hostname or "") or "another path"
    except ValueError:
        return _NO_URL


# -- transport -----------------------------------------------------------------------------


@contextlib.contextmanager
def transport(timeout_s: float, broken: Failure) -> Iterator[None]:
    """Whatever the HTTP library raises becomes an error of ours.

    Args:
        timeout_s: how long it waits for the next step.
        broken: the class of failure if the connection breaks.
    """
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _of_transport(error, timeout_s, broken) from error


def _of_transport(
    error: httpx2.HTTPError | httpx2.InvalidURL, timeout_s: float, broken: Failure
) -> ObjectClerkException:
    said = _plain(str(error)).rstrip(".") or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ObjectClerkConnectionException(
            f"{said} (is the certificate right, and its authority known here?)"
        )
    if isinstance(error, httpx2.InvalidURL) or "URL in location header" in said:
        # Older versions read where a redirect leads though it is not followed.
        return ObjectClerkOperationException(_REDIRECTS.format(_NO_URL))
    if isinstance(error, httpx2.TimeoutException):
        said = f"the server was silent for {timeout_s:g} s"
    never_sent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
    failure = Failure.NEVER_SENT if isinstance(error, never_sent) else broken
    return ObjectClerkConnectionException(said, failure=failure)
