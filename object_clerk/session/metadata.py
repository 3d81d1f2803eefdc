"""What is known of an object besides its bytes, and the headers that say it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.session.durations import (
    ExpirationPolicy,
    TimeToIdle,
    TimeToLive,
    format_expiration,
    format_time,
    parse_expiration,
    parse_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = [
    "Compression",
    "ExpirationPolicy",
    "Metadata",
    "TimeToIdle",
    "TimeToLive",
    "check_content_type",
    "content_disposition",
    "headers_of",
    "metadata_of",
]

#: What a put does to the bytes before it sends them.
Compression: TypeAlias = Literal["zstd", "none"]

#: The media type of an object of which nobody said one.
OCTETS = "application/octet-stream"

EXPIRATION = "x-sn-expiration"
TIME_CREATED = "x-sn-time-created"
TIME_EXPIRES = "x-sn-time-expires"
ORIGIN = "x-sn-origin"
FILENAME = "x-sn-filename"
SIZE = "x-sn-size"
#: Before the names of a user's own metadata.
CUSTOM = "x-snme-"

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+"
_NAME = re.compile(_WORD)
#: RFC 9110, "Media Type". Blanks are taken where it has them.
_MEDIA_TYPE = re.compile(
    rf"{_WORD}/{_WORD}(?:[ \t]*;[ \t]*(?:{_WORD}=(?:{_WORD}|\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]"
    r"|\\[\x20-\x7e])*\"))?)*[ \t]*"
)
#: Visible ASCII without ``%``: what stays as it is in a value.
_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_SIZE = re.compile(r"[0-9]{1,19}")


@dataclasses.dataclass
class Metadata:
    """What is known of an object besides its bytes.

    Attributes:
        content_type: its media type.
        compression: how the bytes are encoded that come with this; None if they are not.
        expiration_policy: when it expires by itself; None if never.
        time_created: when it was written, by the server's clock. Another put sets it anew.
        time_expires: when it expires. With TimeToIdle, that is from before this access.
        origin: where it was obtained from, such as an IP address.
        custom: the user's own names and values. Names come back in lower case.
        filename: what a browser calls it when it saves it.
        size: the stored bytes, where the server says it.
    """

    content_type: str = OCTETS
    compression: str | None = None
    expiration_policy: ExpirationPolicy | None = None
    time_created: datetime | None = None
    time_expires: datetime | None = None
    origin: str | None = None
    custom: dict[str, str] = dataclasses.field(default_factory=dict)
    filename: str | None = None
    size: int | None = None


def headers_of(metadata: Metadata, *, answer: bool = False) -> dict[str, str]:
    """The headers that say it, with names in lower case.

    Args:
        metadata: what to say.
        answer: whether a server says it: it adds times, size and Content-Disposition.

    Raises:
        ObjectClerkParameterException: headers cannot carry it.
        ObjectClerkTypeException: some of it is no str.
    """
    headers = {"content-type": check_content_type(metadata.content_type)}
    if metadata.compression is not None:
        headers["content-encoding"] = metadata.compression
    if metadata.expiration_policy is not None:
        headers[EXPIRATION] = format_expiration(metadata.expiration_policy)
    if metadata.origin is not None:
        headers[ORIGIN] = _encoded("origin", metadata.origin)
    if metadata.filename is not None:
        headers[FILENAME] = _encoded("filename", metadata.filename)
    if answer:
        headers |= _read_only(metadata)
    for name, value in metadata.custom.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ObjectClerkParameterException(f"{name!r} cannot be the name of a header")
        lower = CUSTOM + name.lower()
        if lower in headers:
            raise ObjectClerkParameterException(f"the metadata has {name!r} twice, in HTTP's eyes")
        headers[lower] = _encoded(f"the metadata {name!r}", value)
    return headers


def _read_only(metadata: Metadata) -> dict[str, str]:
    headers = {}
    if metadata.time_created is not None:
        headers[TIME_CREATED] = format_time(metadata.time_created)
    if metadata.time_expires is not None:
        headers[TIME_EXPIRES] = format_time(metadata.time_expires)
    if metadata.size is not None:
        headers[SIZE] = str(metadata.size)
    if metadata.filename is not None:
        headers["content-disposition"] = content_disposition(metadata.filename)
    return headers


def metadata_of(headers: Mapping[str, str], *, answer: bool = False) -> Metadata:
    """What headers say, whatever the case of their names.

    Args:
        headers: of a request or an answer.
        answer: whether a server says it. Clients cannot set times and size: theirs are ignored.
            A server's media type is taken as it comes.

    Raises:
        ObjectClerkParameterException: a header is malformed, or there twice.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in found and (lower in _MEANT or lower.startswith(CUSTOM)):
            raise ObjectClerkParameterException(f"the header {lower[:80]} is there twice")
        found[lower] = value
    content_type = found.get("content-type", "").strip()
    metadata = Metadata(
        content_type=content_type or OCTETS,
        compression=_compression(found.get("content-encoding", "")),
        expiration_policy=parse_expiration(found[EXPIRATION]) if EXPIRATION in found else None,
        origin=_decoded(ORIGIN, found.get(ORIGIN)),
        filename=_decoded(FILENAME, found.get(FILENAME)),
        custom={
            name.removeprefix(CUSTOM): _decoded(name, value) or ""
            for name, value in found.items()
            if name.startswith(CUSTOM) and name != CUSTOM
        },
    )
    if not answer:
        check_content_type(metadata.content_type)
        return metadata
    if TIME_CREATED in found:
        metadata.time_created = parse_time(found[TIME_CREATED])
    if TIME_EXPIRES in found:
        metadata.time_expires = parse_time(found[TIME_EXPIRES])
    if SIZE in found:
        if not _SIZE.fullmatch(found[SIZE]):
            raise ObjectClerkParameterException(f"{SIZE} is no number of bytes")
        metadata.size = int(found[SIZE])
    return metadata


_MEANT = {"content-type", "content-encoding", EXPIRATION, ORIGIN, FILENAME}
_MEANT |= {TIME_CREATED, TIME_EXPIRES, SIZE}


def _compression(value: str) -> str | None:
    lower = value.strip().lower()
    return None if lower in ("", "identity") else lower


def check_content_type(text: str) -> str:
    """The media type, if it is one.

    Raises:
        ObjectClerkParameterException: it is not.
        ObjectClerkTypeException: it is no str.
    """
    if not isinstance(text, str):
        raise ObjectClerkTypeException(f"content_type is a str, not {type(text).__name__}")
    if not text.isascii() or not _MEDIA_TYPE.fullmatch(text):
        raise ObjectClerkParameterException(
            f"{text[:80]!r} is no media type, such as text/plain; charset=utf-8"
        )
    return text


def content_disposition(filename: str) -> str:
    r"""What makes browsers save an object under a name (RFC 6266).

    Slashes become dashes, and so do all dots of a name that has nothing else: a file is saved
    in the folder that the reader chose, and nowhere else.

    >>> content_disposition('a/"b".txt')
    'attachment; filename="a-\\"b\\".txt"'
    """
    name = filename.replace("/", "-").replace("\\", "-")
    if not name.strip("."):
        name = "-" * len(name)
    plain = "".join(c if " " <= c <= "~" else "_" for c in name).replace('"', '\\"')
    value = f'attachment; filename="{plain}"'
    if not name.isascii():
        value += f"; filename*=UTF-8''{quote(name, safe='')}"
    return value


def _encoded(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ObjectClerkTypeException(f"{what} is a str, not {type(value).__name__}")
    try:
        return quote(value, safe=_VISIBLE)
    except UnicodeEncodeError:
        raise ObjectClerkParameterException(f"{what} cannot be written as UTF-8") from None


def _decoded(what: str, value: str | None) -> str | None:
    """The text of a value. Old clients send it raw, so a stray ``%`` stays what it is."""
    if value is None:
        return None
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise ObjectClerkParameterException(f"{what[:80]} is not UTF-8, percent-encoded") from None
