"""What goes over the wire: paths, queries, ranges and JSON, as pure functions over values.

The client and the gateway both import this, so neither can differ from the other.
"""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote_to_bytes

from object_clerk.checksum import fields
from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.names import check_key
from object_clerk.session.durations import (
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)
from object_clerk.session.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# -- names of headers and parameters -------------------------------------------------------

TOKEN = "x-os-auth"  # noqa: S105 - the name of a header
TOKEN_PARAMETER = "os_auth"  # noqa: S105 - the name of a parameter
REPR_DIGEST = fields.REPR_DIGEST
#: SHA-256 of the content before it was compressed, in hexadecimal. Ours.
CONTENT_SHA256 = "x-oc-content-sha256"
UPLOAD_LENGTH = "upload-length"
UPLOAD_OFFSET = "upload-offset"

BATCH_KIND = "x-sn-batch-operation-kind"
BATCH_KEY = "x-sn-batch-operation-key"
BATCH_INDEX = "x-sn-batch-operation-index"
BATCH_STATUS = "x-sn-batch-operation-status"

# -- paths ---------------------------------------------------------------------------------

#: Paths of a kind of request begin with it; usecase, scope and key follow.
OBJECTS = "/v1/objects/"
MULTIPART = "/v1/objects:multipart/"
MULTIPART_PARTS = "/v1/objects:multipart:parts/"
MULTIPART_COMPLETE = "/v1/objects:multipart:complete/"
BATCH = "/v1/objects:batch/"

_USECASE = re.compile(r"[A-Za-z0-9_\-]{1,64}")
#: What stays as it is in a path, besides letters, digits and ``-._~``.
_PLAIN = "/:@!$&'()*+,;="


def check_usecase(name: object) -> str:
    """The name of a usecase, if it is one: 1 to 64 letters, digits, ``-`` and ``_``.

    Newer servers want at least 3. We leave it to them: there are older ones, with shorter names.
    """
    if not isinstance(name, str):
        raise ObjectClerkTypeException(f"a usecase is a str, not {type(name).__name__}")
    if not _USECASE.fullmatch(name):
        raise ObjectClerkParameterException(
            f"{name[:80]!r} is no usecase: 1 to 64 letters, digits, '-' and '_'"
        )
    return name


def check_session_key(key: object) -> str:
    """The key, if it can be the end of a URL and is the same key to everybody on the way.

    Raises:
        ObjectClerkParameterException: it is empty, longer than 1024 bytes, has a NUL, begins with
            a slash, or has a segment ``.`` or ``..``.
    """
    text = check_key(key)
    if text.startswith("/") or {".", ".."} & set(text.split("/")):
        raise ObjectClerkParameterException(
            f"the key {text[:80]!r} begins with a slash or has a segment '.' or '..', which do not "
            "survive in a URL"
        )
    return text


def collection_path(usecase: str, scope: Scope, prefix: str = OBJECTS) -> str:
    """Where objects are made whose keys the server chooses.

    >>> collection_path("attachments", Scope(org=42))
    '/v1/objects/attachments/org=42/'
    """
    return f"{prefix}{check_usecase(usecase)}/{scope}/"


def object_path(usecase: str, scope: Scope, key: str, prefix: str = OBJECTS) -> str:
    """The path of an object. Keys are literal: a ``%`` is sent as ``%25``.

    >>> object_path("attachments", Scope(), "a b/50%41?")
    '/v1/objects/attachments/_/a%20b/50%2541%3F'
    """
    return collection_path(usecase, scope, prefix) + quote(check_session_key(key), safe=_PLAIN)


def split_path(raw: bytes) -> tuple[str, Scope, str]:
    """Usecase, scope and key of what follows one of the prefixes on the wire.

    Args:
        raw: as it came, not decoded. A collection has the empty key, with a last slash or without.

    Raises:
        ObjectClerkParameterException: it is no such path.
    """
    usecase, _, rest = raw.partition(b"/")
    scope, _, key = rest.partition(b"/")
    return (
        check_usecase(_decoded(usecase)),
        Scope.parse(_decoded(scope)),
        check_session_key(_decoded(key)) if key else "",
    )


def _decoded(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ObjectClerkParameterException("the path is not UTF-8") from None


def query(pairs: Mapping[str, str | int]) -> str:
    """What follows the ``?`` of a URL."""
    return "&".join(f"{quote(name)}={quote(str(value), safe=':')}" for name, value in pairs.items())


# -- errors --------------------------------------------------------------------------------


def error_json(detail: str, causes: Iterable[str] = ()) -> dict[str, Any]:
    """The body of an error."""
    listed = list(causes)
    return {"detail": detail, "causes": listed} if listed else {"detail": detail}


def error_detail(body: str) -> tuple[str | None, tuple[str, ...]]:
    """What an error's body says, and the causes; (None, ()) if it is no such JSON."""
    match _json(body):
        case {"detail": str() as detail, "causes": [*causes]}:
            return detail, tuple(cause for cause in causes if isinstance(cause, str))
        case {"detail": str() as detail}:
            return detail, ()
    return None, ()


def json_body(value: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A body of JSON, and the headers that go with it."""
    body = json.dumps(value).encode()
    return body, {"content-type": "application/json", "content-length": str(len(body))}


def _json(body: str | bytes) -> Any:
    """What is in a body; None if that cannot be understood."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _wrong(what: str) -> ObjectClerkParameterException:
    return ObjectClerkParameterException(f"the JSON is no {what}")


# -- answers about objects -----------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """The answer to a put.

    Attributes:
        key: the key of the object.
        sha256: of the bytes as they are stored, in hexadecimal, where the server says it.
    """

    key: str
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {"key": self.key} | ({} if self.sha256 is None else {"sha256": self.sha256})

    @classmethod
    def from_json(cls, body: str | bytes) -> Stored:
        """As it was received.

        Raises:
            ObjectClerkParameterException: it is no such answer.
        """
        match _json(body):
            case {"key": str() as key, "sha256": str() as sha256}:
                return cls(key, sha256.lower())
            case {"key": str() as key}:
                return cls(key)
        raise _wrong("answer to a put")


# -- ranges --------------------------------------------------------------------------------

_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))[ \t]*")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:([0-9]{1,19})|\*)")


@dataclasses.dataclass(frozen=True, slots=True)
class ByteRange:
    """Some of the stored bytes.

    Attributes:
        first: the first; None if they are the last ones.
        last: the last, or None for the end; without ``first``, how many of the last ones.
    """

    first: int | None
    last: int | None = None

    def within(self, size: int) -> range | None:
        """Those that there are among ``size``; None if there are none: 416."""
        if self.first is None:
            found = range(max(0, size - (self.last or 0)), size)
        else:
            found = range(self.first, size if self.last is None else min(self.last + 1, size))
        return found or None

    def __str__(self) -> str:
        first = "" if self.first is None else self.first
        return f"bytes={first}-{'' if self.last is None else self.last}"


def parse_range(text: str) -> ByteRange | None:
    """The range in a Range header; None if there are several, and all bytes are to be sent.

    Raises:
        ObjectClerkParameterException: it is no range of bytes.
    """
    if found := _RANGE.fullmatch(text):
        if found[3] is not None:
            return ByteRange(None, int(found[3]))
        last = None if found[2] is None else int(found[2])
        if last is None or int(found[1]) <= last:
            return ByteRange(int(found[1]), last)
    elif "," in text and len(text) <= _LONGEST_RANGES and _several(text):
        return None
    raise ObjectClerkParameterException(f"{text[:80]!r} is no range, such as bytes=0-99")


_LONGEST_RANGES = 4096


def _several(text: str) -> bool:
    unit, _, listed = text.partition("=")
    return unit == "bytes" and all(
        _RANGE.fullmatch(f"bytes={each.strip()}") for each in listed.split(",")
    )


def content_range(span: range, size: int) -> str:
    """The value of Content-Range for some of ``size`` bytes."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def parse_content_range(text: str) -> tuple[range, int | None]:
    """Which bytes an answer has, and of how many.

    Raises:
        ObjectClerkParameterException: it does not say it.
    """
    if found := _CONTENT_RANGE.fullmatch(text):
        span = range(int(found[1]), int(found[2]) + 1)
        if span:
            return span, None if found[3] is None else int(found[3])
    raise ObjectClerkParameterException(f"{text[:80]!r} is no Content-Range")


# -- digests -------------------------------------------------------------------------------

repr_digest, sha256_in = fields.repr_digest, fields.sha256_in

_HEX = re.compile(r"[0-9A-Fa-f]{64}")


def content_sha256_in(value: str) -> bytes:
    """The SHA-256 in a header ``x-oc-content-sha256``.

    Raises:
        ObjectClerkParameterException: it is not 64 hexadecimal digits.
    """
    if not _HEX.fullmatch(value):
        raise ObjectClerkParameterException(f"{CONTENT_SHA256} is not 64 hexadecimal digits")
    return bytes.fromhex(value)


# -- multipart -----------------------------------------------------------------------------

LARGEST_PART_NUMBER = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class MultipartStarted:
    """The answer to the start of a multipart upload."""

    key: str
    upload_id: str

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, body: str | bytes) -> MultipartStarted:
        """As it was received.

        Raises:
            ObjectClerkParameterException: it is no such answer.
        """
        match _json(body):
            case {"key": str() as key, "upload_id": str() as upload_id}:
                return cls(key, upload_id)
        raise _wrong("start of a multipart upload")


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part that was uploaded.

    Attributes:
        part_number: from 1.
        etag: what the server calls its bytes.
        last_modified: when; only listings say it.
        size: how many bytes; only listings say it.
    """

    part_number: int
    etag: str
    last_modified: datetime | None = None
    size: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        more: dict[str, Any] = {}
        if self.last_modified is not None:
            more["last_modified"] = format_time(self.last_modified)
        if self.size is not None:
            more["size"] = self.size
        return {"part_number": self.part_number, "etag": self.etag} | more

    @classmethod
    def of(cls, given: Any) -> Part:
        """A part from parsed JSON.

        Raises:
            ObjectClerkParameterException: it is none.
        """
        match given:
            case {"part_number": int() as number, "etag": str() as etag, **rest}:
                if isinstance(number, bool) or number < 1:
                    raise _wrong("part of a multipart upload")
                match rest:
                    case {"last_modified": str() as modified, "size": int() as size}:
                        return cls(number, etag, parse_time(modified), size)
                return cls(number, etag)
        raise _wrong("part of a multipart upload")


@dataclasses.dataclass(frozen=True, slots=True)
class PartsPage:
    """A page of the parts of an upload."""

    parts: tuple[Part, ...]
    next_part_number_marker: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        more = self.next_part_number_marker is not None
        return {"parts": [part.to_json() for part in self.parts], "is_truncated": more} | (
            {"next_part_number_marker": self.next_part_number_marker} if more else {}
        )

    @classmethod
    def from_json(cls, body: str | bytes) -> PartsPage:
        """As it was received.

        Raises:
            ObjectClerkParameterException: it is no such page.
        """
        match _json(body):
            case {
                "parts": [*parts],
                "is_truncated": True,
                "next_part_number_marker": int() as marker,
            }:
                return cls(tuple(Part.of(part) for part in parts), marker)
            case {"parts": [*parts], "is_truncated": False}:
                return cls(tuple(Part.of(part) for part in parts))
        raise _wrong("list of parts")


def parts_json(parts: Iterable[Part]) -> dict[str, Any]:
    """The body that completes a multipart upload."""
    return {"parts": [{"part_number": p.part_number, "etag": p.etag} for p in parts]}


def parse_parts(body: str | bytes) -> tuple[Part, ...]:
    """The parts that an upload is to be completed from.

    Raises:
        ObjectClerkParameterException: the body does not say it: 422.
    """
    match _json(body):
        case {"parts": [*parts]}:
            return tuple(Part.of(part) for part in parts)
    raise _wrong("list of parts to complete")


@dataclasses.dataclass(frozen=True, slots=True)
class MultipartFailed:
    """Why a multipart upload was not completed; sent with status 200."""

    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {"error": dataclasses.asdict(self)}


def parse_completion(body: str | bytes) -> Stored | MultipartFailed:
    """How a multipart upload ended; blanks before the JSON only kept the connection alive.

    Raises:
        ObjectClerkParameterException: it does not say it.
    """
    match _json(body):
        case {"error": {"code": str() as code, "message": str() as message}}:
            return MultipartFailed(code, message)
    return Stored.from_json(body)


def parse_etag(body: str | bytes) -> str:
    """The ETag in the answer to a part.

    Raises:
        ObjectClerkParameterException: there is none.
    """
    match _json(body):
        case {"etag": str() as etag}:
            return etag
    raise _wrong("answer to a part")


# -- resumable uploads ---------------------------------------------------------------------

_NUMBER = re.compile(r"[0-9]{1,19}")
_SESSION = re.compile(r"[A-Za-z0-9_\-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class ResumableStarted:
    """The answer to the start of a resumable upload.

    Attributes:
        key: the key of the object to be.
        session: what the upload is called from now on.
        granularity: chunks but the last have a multiple of so many bytes.
    """

    key: str
    session: str
    granularity: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    @classmethod
    def from_json(cls, body: str | bytes) -> ResumableStarted | None:
        """As it was received; None if the server stored an object and knows no such uploads.

        Raises:
            ObjectClerkParameterException: it is neither.
        """
        match _json(body):
            case {"key": str() as key, "session": str() as session, "granularity": int() as step}:
                return cls(key, check_session_token(session), step if step > 0 else None)
            case {"key": str() as key, "session": str() as session}:
                return cls(key, check_session_token(session))
        Stored.from_json(body)
        return None


def check_session_token(text: str) -> str:
    """The name of a resumable upload, if it can be one: base64url without padding.

    Raises:
        ObjectClerkParameterException: it cannot.
    """
    if not _SESSION.fullmatch(text) or len(text) % 4 == 1:
        raise ObjectClerkParameterException("the session of the upload is not unpadded base64url")
    return text


def parse_count(text: str, what: str) -> int:
    """A number of bytes in a header.

    Raises:
        ObjectClerkParameterException: it is none.
    """
    if not _NUMBER.fullmatch(text):
        raise ObjectClerkParameterException(f"{what} is no number of bytes")
    return int(text)


def parse_upload_offset(text: str) -> int | None:
    """An offset; None for ``*``, which asks for it.

    Raises:
        ObjectClerkParameterException: it is neither.
    """
    return None if text == "*" else parse_count(text, UPLOAD_OFFSET)


# -- PATCH ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Extension:
    """A later end of an object's life: a time, or a while from some moment.

    Attributes:
        at: the time; None if there is a while.
        after: the while; None if there is a time.
        origin: the moment that ``after`` counts from.
    """

    at: datetime | None = None
    after: timedelta | None = None
    origin: Literal["creation", "now"] = "now"

    def to_json(self) -> dict[str, Any]:
        """As it is sent."""
        if self.at is not None:
            return {"extend_expiry": {"at": format_time(self.at)}}
        assert self.after is not None
        return {"extend_expiry": {"after": format_duration(self.after), "from": self.origin}}

    @classmethod
    def from_json(cls, body: str | bytes) -> Extension:
        """As it was received.

        Raises:
            ObjectClerkParameterException: it is none, or has a field that nobody knows.
        """
        match _json(body):
            case {"extend_expiry": {"at": str() as at, **rest}, **more} if not rest | more:
                return cls(at=parse_time(at))
            case {
                "extend_expiry": {
                    "after": str() as after,
                    "from": "creation" | "now" as origin,
                    **rest,
                },
                **more,
            } if not rest | more:
                return cls(after=parse_duration(after), origin=origin)
        raise _wrong("extension of an expiry")


# -- presigned URLs ------------------------------------------------------------------------

KID, TIMESTAMP, DURATION, SIGNATURE = "os_kid", "os_timestamp", "os_duration", "os_sig"

#: The longest validity of a presigned URL.
LONGEST_PRESIGNED = timedelta(days=7)


def canonical_text(method: str, path: str, raw_query: str) -> str:
    """What a presigned URL signs: method, path and query in three lines.

    Args:
        method: HEAD counts as GET, so one URL serves both.
        path: exactly as on the wire.
        raw_query: as on the wire; the signature in it is left out.
    """
    upper = method.upper()
    pairs = []
    for each in raw_query.split("&") if raw_query else ():
        name, equals, value = each.partition("=")
        if name.lower() != SIGNATURE:
            pairs.append(f"{name.lower()}{equals}{value}")
    return "\n".join(("GET" if upper == "HEAD" else upper, path, "&".join(sorted(pairs))))
