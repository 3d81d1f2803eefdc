"""What goes over the wire between the gateway and its clients: pure functions over values.

Both sides import this, so neither can differ from the other in how a key is written.
"""

from __future__ import annotations

import base64
import dataclasses
import email.utils
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from object_clerk.checksum import fields
from object_clerk.exceptions import ObjectClerkException, ObjectClerkParameterException
from object_clerk.names import check_key

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Objects are below this path; a listing is the path itself.
OBJECTS = "/objects"

#: Entries of a page where the client does not say, and at most.
DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

#: Digests that HTTP has names for (RFC 9530, "Digest Fields").
REPR_DIGEST = fields.REPR_DIGEST
repr_digest, sha256_in, decoded = fields.repr_digest, fields.sha256_in, fields.decoded

#: The header by which answers say that they are of this gateway: that an object is missing, that
#: there are too many requests and nothing was done, or anything else. Without it, a 404 of a wrong
#: base URL is the 404 of a missing object, and a 503 may have done its work all the same.
MARK = "x-object-clerk"
MISSING = "missing"
BUSY = "busy"
OURS = "object-clerk"

_SECONDS = re.compile(r"[0-9]{1,9}")


# -- keys ----------------------------------------------------------------------------------


def check_rest_key(key: object) -> str:
    """Return ``key`` if it can be the end of a URL, and is the same key to everybody on the way.

    Raises:
        ObjectClerkParameterException: it cannot be a key, begins with a slash, or has a segment
            ``.`` or ``..``, which browsers, proxies and HTTP libraries take away.
    """
    text = check_key(key)
    if text.startswith("/") or {".", ".."} & set(text.split("/")):
        raise ObjectClerkParameterException(
            f"the key {text[:80]!r} begins with a slash or has a segment '.' or '..', which do not "
            "survive in a URL"
        )
    return text


def path_of(key: str) -> str:
    """The path of an object: each segment is percent-encoded, with no character left out.

    >>> path_of("a b/50%41#x")
    '/objects/a%20b/50%2541%23x'
    """
    segments = check_rest_key(key).split("/")
    return "/".join((OBJECTS, *(quote(segment, safe="") for segment in segments)))


def key_of(raw: bytes) -> str:
    """The key in what follows ``/objects/`` on the wire, decoded once.

    Raises:
        ObjectClerkParameterException: it is no UTF-8, or no key.
    """
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ObjectClerkParameterException("the key is not UTF-8") from None
    return check_rest_key(text)


# -- listings ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        keys: in the order of their code points.
        next_cursor: where the next page begins; None at the end.
    """

    keys: tuple[str, ...]
    next_cursor: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        more = self.next_cursor is not None
        return {"keys": list(self.keys), "next_cursor": self.next_cursor, "has_more": more}

    @classmethod
    def from_json(cls, given: Any) -> Page:
        """As it was received.

        Raises:
            ValueError: it is no page.
        """
        match given:
            case {"keys": [*keys], "next_cursor": str() | None as cursor} if all(
                isinstance(key, str) for key in keys
            ):
                return cls(tuple(keys), cursor)
        raise ValueError("the answer is no page of a listing")


def cursor_of(last_key: str) -> str:
    """A cursor behind a key, which need not be there any more when it is used."""
    return base64.urlsafe_b64encode(json.dumps({"last_key": last_key}).encode()).decode()


def last_key_of(cursor: str) -> str:
    """The key that a cursor stands behind.

    Raises:
        ObjectClerkParameterException: nobody has given out such a cursor.
    """
    try:
        match json.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)):
            case {"last_key": str() as key, **rest} if not rest:
                return check_key(key)
    except (ValueError, RecursionError, ObjectClerkException):
        pass
    raise ObjectClerkParameterException("Invalid cursor")


# -- errors --------------------------------------------------------------------------------


def error_json(status: int, message: str) -> dict[str, Any]:
    """The one shape of all errors."""
    return {"error": {"code": str(status), "message": message}}


def error_message(body: bytes) -> str:
    """What an error's body says; empty if it says nothing that can be understood."""
    try:
        match json.loads(body):
            case {"error": {"message": str() as message}} | {"detail": str() as message}:
                return message
    except (ValueError, RecursionError):
        pass
    return ""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a Retry-After of seconds or of a date; None if it says nothing."""
    text = headers.get("retry-after", "")
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
        date = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (then - date).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


# -- digests and times ---------------------------------------------------------------------


def rfc3339(moment: datetime) -> str:
    """A time in UTC with microseconds, as ``2026-01-31T12:00:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
