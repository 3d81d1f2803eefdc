"""Conditional and partial requests, as RFC 9110 has them."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

from object_clerk.checksum.etag import bare
from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from object_clerk.store.models import ObjectInfo

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|\Z)')
_RANGE = re.compile(r"bytes=\s*(\d{1,18})?-(\d{1,18})?\s*", re.IGNORECASE)


def http_date(moment: datetime) -> str:
    """A time as HTTP writes it, in whole seconds."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The bytes that a Range header asks for, as ends of a slice.

    Attributes:
        begin: the first byte; a negative number counts from the end.
        end: the byte to stop before; None for the end of the object.
    """

    begin: int = 0
    end: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of any object."""
        return (self.begin, self.end) == (0, None)

    @classmethod
    def of(cls, value: str | None) -> Span:
        """The span of a Range header; all of it for what need not be understood.

        Other units and several ranges may be ignored (RFC 9110, 14.2).
        """
        match = _RANGE.fullmatch(value or "")
        if match is None or match.groups() == (None, None):
            return cls()
        first, last = (None if text is None else int(text) for text in match.groups())
        if first is None:
            assert last is not None
            return cls(-last) if last else cls(0, 0)
        if last is not None and last < first:
            return cls()
        return cls(first, None if last is None else last + 1)

    def within(self, size: int) -> range:
        """The bytes of an object of this size.

        Raises:
            Refusal: 416, there are none.
        """
        found = range(size)[self.begin : self.end]
        if not found:
            said = f"the object has {size} bytes, and none of those that were asked for"
            raise Refusal(416, said, {"content-range": f"bytes */{size}"})
        return found


def for_writing(headers: Mapping[str, str]) -> dict[str, Any]:
    """The conditions of a write, as the store has them.

    Raises:
        Refusal: 400, for those that it cannot keep.
    """
    absent, match = headers.get("if-none-match"), headers.get("if-match")
    if "if-unmodified-since" in headers or "if-modified-since" in headers:
        raise Refusal(400, "a write can depend on an ETag, and not on a time")
    if absent is not None and absent.strip() != "*":
        raise Refusal(400, "If-None-Match of a write can only be *")
    if match is None:
        return {"if_absent": absent is not None}
    tags = _tags(match)
    if absent is not None or len(tags) != 1 or tags[0][0]:
        raise Refusal(400, "If-Match of a write is one strong ETag, without If-None-Match")
    return {"if_match": tags[0][1]}


def is_unchanged(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """Whether a reader has what there is already, and is to be told so by 304.

    Raises:
        Refusal: 412, a condition does not hold.
    """
    changed = info.updated_time.replace(microsecond=0)
    if (wanted := headers.get("if-match")) is not None:
        if not _matches(wanted, info, weakly=False):
            raise Refusal(412, "the object has another ETag")
    elif (since := _moment(headers.get("if-unmodified-since"))) is not None and changed > since:
        raise Refusal(412, "the object was written since")
    if (known := headers.get("if-none-match")) is not None:
        return _matches(known, info, weakly=True)
    since = _moment(headers.get("if-modified-since"))
    return since is not None and changed <= since


def keeps_range(headers: Mapping[str, str], info: ObjectInfo) -> bool:
    """Whether the object is surely the one that If-Range speaks of.

    A date never is enough: two objects may be written in one second, so it is a weak validator
    (RFC 9110, 13.1.5). Who sends one gets all of the object.
    """
    value = headers.get("if-range")
    return value is None or _matches(value, info, weakly=False)


def _matches(value: str, info: ObjectInfo, *, weakly: bool) -> bool:
    if value.strip() == "*":
        return True
    etag = bare(info.etag)
    return any(tag == etag and (weakly or not weak) for weak, tag in _tags(value))


def _tags(value: str) -> list[tuple[bool, str]]:
    """For each ETag of a list whether it is weak, and the tag; none if it is no such list."""
    found, position = [], 0
    while position < len(value):
        match = _TAG.match(value, position)
        if match is None:
            return []
        found.append((match[1] is not None, match[2]))
        position = match.end()
    return found


def _moment(value: str | None) -> datetime | None:
    """A time; None for what is none, since such a header is to be ignored."""
    try:
        moment = parsedate_to_datetime(value or "")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
