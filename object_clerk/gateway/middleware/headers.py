"""Headers that every request may have, and that every answer has."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from object_clerk.rest import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may have more behind it.
_TRACE_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

#: These pages are ours and run scripts; all else is bytes of somebody.
_PAGES = frozenset({"/docs", "/docs/oauth2-redirect"})

_NOTHING = b"default-src 'none'; frame-ancestors 'none'; sandbox"
_SCRIPTS = (
    b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none';"
    b" connect-src 'self'; script-src 'unsafe-inline' https://cdn.jsdelivr.net;"
    b" style-src 'unsafe-inline' https://cdn.jsdelivr.net;"
    b" img-src 'self' data: https://fastapi.tiangolo.com"
)

_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_OURS = (wire.MARK.encode(), wire.OURS.encode())
_CACHE = (b"cache-control", b"no-store")
_TLS = (b"strict-transport-security", b"max-age=31536000")


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """All values of a header."""
    return [value for each, value in headers if each.lower() == name]


def request_id(headers: Headers) -> str:
    """The one that the request has, if it is harmless, or a new one."""
    match values(headers, b"x-request-id"):
        case [given] if _REQUEST_ID.fullmatch(given):
            return given.decode()
    return secrets.token_hex(16)


def trace_of(headers: Headers) -> tuple[str, str] | None:
    """Trace id and flags of a valid traceparent."""
    match values(headers, b"traceparent"):
        case [given] if found := _TRACE_PARENT.fullmatch(given):
            version, trace, parent, flags, more = found.groups()
            known = version != b"ff" and (version != b"00" or more is None)
            if known and trace.strip(b"0") and parent.strip(b"0"):
                return trace.decode(), flags.decode()
    return None


def answered(given: Iterable[tuple[bytes, bytes]], path: str, scheme: str) -> Headers:
    """The headers of an answer, with those that keep browsers from harm.

    What the application says about caching stays; the others are not its to say. It says nothing
    of the server.
    """
    policy = _SCRIPTS if path in _PAGES else _NOTHING
    ours = [*_ALWAYS, (b"content-security-policy", policy)]
    if scheme == "https":
        ours.append(_TLS)
    replaced = {b"server", *(name for name, _ in ours)}
    kept = [(name, value) for name, value in given if name.lower() not in replaced]
    if not values(kept, _OURS[0]):
        ours.append(_OURS)
    if not values(kept, _CACHE[0]):
        ours.append(_CACHE)
    return kept + ours
