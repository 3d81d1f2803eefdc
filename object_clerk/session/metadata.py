"""What is known of an object besides its bytes, and the headers that say it."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar
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
    from collections.abc import Callable, Mapping
    from datetime import datetime

_T = TypeVar("_T")

log = logging.getLogger(__name__)

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

#: So many names of a user's own. Python reads no answer that has more than 100 headers.
MOST_NAMES = 64

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+"
_NAME = re.compile(_WORD)
_QUOTED = r"\"(?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e])*\""
#: RFC 9110, "Media Type". Blanks are taken where it has them. No text can be read in two ways by
#: this, or it would take for ever on one that does not fit.
_MEDIA_TYPE = re.compile(
    rf"{_WORD}/{_WORD}[ \t]*(?:;[ \t]*(?:{_WORD}=(?:{_WORD}|{_QUOTED})[ \t]*)?)*"
)
_LONGEST_MEDIA_TYPE = 1024
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
    else:
        _check_names(metadata)
    for name, value in metadata.custom.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ObjectClerkParameterException(f"{name!r} cannot be the name of a header")
        lower = CUSTOM + name.lower()
        if lower in headers:
            raise ObjectClerkParameterException(f"the metadata has {name!r} twice, in HTTP's eyes")
        headers[lower] = _encoded(f"the metadata {name!r}", value)
    return headers


def _check_names(metadata: Metadata) -> None:
    if len(metadata.custom) > MOST_NAMES:
        raise ObjectClerkParameterException(f"the metadata has more than {MOST_NAMES} names")


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


def metadata_of(
    headers: Mapping[str, str], *, answer: bool = False, lenient: bool = False
) -> Metadata:
    """What headers say, whatever the case of their names.

    Args:
        headers: of a request or an answer.
        answer: whether a server says it. Clients cannot set times and size: theirs are ignored.
            A server's media type is taken as it comes.
        lenient: whether a value that is malformed is left as it is, or left out. An object that
            somebody else has described must not become unreadable by that.

    Raises:
        ObjectClerkParameterException: a header is malformed, or there twice.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in found and (lower in _MEANT or lower.startswith(CUSTOM)):
            raise ObjectClerkParameterException(f"the header {lower[:80]} is there twice")
        found[lower] = value

    def said(name: str, parse: Callable[[str], _T]) -> _T | None:
        """What a header says; None if it is not there, or cannot be understood."""
        if name not in found:
            return None
        try:
            return parse(found[name])
        except ValueError as error:
            if not lenient:
                raise
            log.warning("the header %s of an answer makes no sense: %s", name[:80], error)
            return None

    def text(name: str) -> str | None:
        decoded = said(name, lambda value: _decoded(name, value))
        return found.get(name) if decoded is None else decoded

    content_type = found.get("content-type", "").strip()
    metadata = Metadata(
        content_type=content_type or OCTETS,
        compression=_compression(found.get("content-encoding", "")),
        expiration_policy=said(EXPIRATION, parse_expiration),
        origin=text(ORIGIN),
        filename=text(FILENAME),
        custom={
            name.removeprefix(CUSTOM): text(name) or ""
            for name in found
            if name.startswith(CUSTOM) and name != CUSTOM
        },
    )
    if not answer:
        check_content_type(metadata.content_type)
        _check_names(metadata)
        return metadata
    metadata.time_created = said(TIME_CREATED, parse_time)
    metadata.time_expires = said(TIME_EXPIRES, parse_time)
    metadata.size = said(SIZE, _size)
    return metadata


_MEANT = {"content-type", "content-encoding", EXPIRATION, ORIGIN, FILENAME}
_MEANT |= {TIME_CREATED, TIME_EXPIRES, SIZE}


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text):
        raise ObjectClerkParameterException(f"{SIZE} is no number of bytes")
    return int(text)


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
    fits = len(text) <= _LONGEST_MEDIA_TYPE and text.isascii()
    if not fits or not _MEDIA_TYPE.fullmatch(text):
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


def _decoded(what: str, value: str) -> str:
    """The text of a value. Old clients send it raw, so a stray ``%`` stays what it is.

    Beyond ASCII nothing is taken raw: nobody could tell which text the bytes mean.
    """
    try:
        return unquote_to_bytes(value.encode("ascii")).decode()
    except UnicodeError:
        raise ObjectClerkParameterException(f"{what[:80]} is not UTF-8, percent-encoded") from None
