"""Requests to be made and answers to be judged: what both clients share, without any I/O."""

from __future__ import annotations

import dataclasses
import email.utils
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

from object_clerk.checksum.etag import bare
from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectClerkServerInternalException,
    ObjectClerkTypeException,
    ObjectVerificationException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.names import check_text, check_unicode
from object_clerk.receipt import Finding, Verdict
from object_clerk.rest import errors, wire
from object_clerk.rest.incoming import Incoming, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sized

    from object_clerk.receipt import Receipt
    from object_clerk.retry import Operation

T = TypeVar("T")

#: The longest answer that is kept in memory whole: a page of the longest keys is smaller.
LARGEST_ANSWER_BYTES = 16 << 20

#: How far ahead a presigned URL may end, a week.
LONGEST_PRESIGNED_S = 7 * 24 * 3600


class Doubt:
    """Whether an attempt that failed may have done its work all the same."""

    def __init__(self) -> None:
        self.is_there = False

    def saw(self, error: ObjectClerkException) -> None:
        """An attempt has failed, and there will be another."""
        if error.failure in (Failure.AMBIGUOUS, Failure.BODY, Failure.TRANSIENT):
            self.is_there = True


# -- requests ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer; of an object that is read, without its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Generic[T]):
    """A request, and what to make of its answer.

    Attributes:
        method: its method.
        target: path and query, behind the base URL.
        judge: makes something of an answer that was hoped for.
        headers: its headers, in lower case.
        key: the object that is asked about.
        hoped_for: statuses that are no errors.
        doubt: about earlier attempts at the same.
        deletes: whether it is fine that the object is gone after an attempt that is in doubt.
    """

    method: str
    target: str
    judge: Callable[[Answer], T]
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    content: bytes = b""
    key: str | None = None
    hoped_for: tuple[int, ...] = (200,)
    doubt: Doubt = dataclasses.field(default_factory=Doubt)
    deletes: bool = False

    @property
    def may_be_gone(self) -> bool:
        """Whether 404 says that an earlier attempt did it."""
        return self.deletes and self.doubt.is_there


def get(key: str) -> Ask[Incoming]:
    """Read an object."""
    return _about("GET", key, lambda answer: Incoming(head_of(key, answer), answer.headers))


def head(key: str) -> Ask[ObjectHead]:
    """Ask what is known of an object."""
    return _about("HEAD", key, lambda answer: head_of(key, answer))


def exists(key: str) -> Ask[bool]:
    """Ask whether there is an object."""
    return _about("HEAD", key, lambda answer: answer.status != 404, hoped_for=(200, 404))


def look(key: str) -> Ask[ObjectHead | None]:
    """Ask what is known of an object that may not be there."""
    return _about(
        "HEAD",
        key,
        lambda answer: None if answer.status == 404 else head_of(key, answer),
        hoped_for=(200, 404),
    )


def delete(key: str) -> Ask[None]:
    """Delete an object."""
    return _about("DELETE", key, lambda _: None, hoped_for=(200, 204), deletes=True)


def _about(method: str, key: str, judge: Callable[[Answer], T], **more: Any) -> Ask[T]:
    return Ask(method=method, target=wire.path_of(key), judge=judge, key=key, **more)


def page(prefix: str, page_size: int, cursor: str | None) -> Ask[wire.Page]:
    """Ask for a page of a listing."""
    query = {"prefix": prefix, "limit": str(page_size), "cursor": cursor or ""}
    given = {name: value for name, value in query.items() if value}

    def judge(answer: Answer) -> wire.Page:
        found = _readable(answer, wire.Page.from_json)
        if cursor is not None and found.next_cursor == cursor:
            raise ObjectClerkOperationException("the server lists the same page again and again")
        return found

    return Ask(
        method="GET", target=f"{wire.OBJECTS}?{urlencode(given, quote_via=quote)}", judge=judge
    )


def check_listing(prefix: str, page_size: int) -> None:
    """Refuse a listing that cannot be asked for."""
    check_unicode("prefix", prefix)
    if type(page_size) is not int or not 1 <= page_size <= wire.LARGEST_PAGE:
        raise ObjectClerkParameterException(f"page_size is 1 to {wire.LARGEST_PAGE}")


def presign(key: str, method: str, expires: float | timedelta) -> Ask[str]:
    """Ask for a URL that needs no API key."""
    wire.check_rest_key(key)
    if method not in ("GET", "PUT"):
        raise ObjectClerkParameterException("method is 'GET' or 'PUT'")
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ObjectClerkTypeException("expires is a number of seconds or a timedelta")
    if not 1 <= seconds <= LONGEST_PRESIGNED_S:
        raise ObjectClerkParameterException(f"expires is 1 to {LONGEST_PRESIGNED_S} seconds")

    def url(given: Any) -> str:
        match given:
            case {"url": str() as found}:
                return found
        raise ValueError("the answer has no URL")

    def judge(answer: Answer) -> str:
        if answer.status == 404:
            raise UnsupportedError("this server makes no presigned URLs", status=404, key=key)
        return _readable(answer, url)

    asked = {"key": key, "method": method, "expires": int(seconds)}
    return Ask(
        method="POST",
        target="/presigned",
        judge=judge,
        headers={"content-type": "application/json"},
        content=json.dumps(asked).encode(),
        key=key,
        hoped_for=(200, 404),
    )


def _readable(answer: Answer, read: Callable[[Any], T]) -> T:
    try:
        return read(json.loads(answer.body))
    except (ValueError, RecursionError):
        raise ObjectClerkServerInternalException(
            "the answer makes no sense: is base_url right?",
            status=answer.status,
            request_id=errors.request_id(answer.headers),
        ) from None


def head_of(key: str, answer: Answer) -> ObjectHead:
    """What the headers of an answer say of an object."""
    headers = answer.headers
    length = headers.get("content-length", "")
    try:
        sha256 = wire.sha256_in(headers.get(wire.REPR_DIGEST, ""))
    except ObjectClerkParameterException as error:
        raise ObjectVerificationException(error.message, failure=Failure.INTEGRITY) from None
    return ObjectHead(
        key,
        int(length) if length.isascii() and length.isdigit() else None,
        bare(headers.get("etag")),
        headers.get("content-type"),
        _moment(headers.get("last-modified", "")),
        None if sha256 is None else sha256.hex(),
    )


def _moment(text: str) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def saw(op: Operation, headers: Mapping[str, str]) -> None:
    """Remember the server's id of a request."""
    if request_id := errors.request_id(headers):
        op.request_ids.append(request_id)


def check_size(body: Sized) -> None:
    """Refuse an answer that is longer than any that makes sense."""
    if len(body) > LARGEST_ANSWER_BYTES:
        raise ObjectClerkServerInternalException(
            f"the answer has more than {LARGEST_ANSWER_BYTES} bytes: is base_url right?"
        )


# -- writing -------------------------------------------------------------------------------


class Sent(Protocol):
    """What a PUT has sent."""

    size: int
    ended: bool

    @property
    def sha256(self) -> bytes:
        """Its digest."""


class Write:
    """A PUT: its headers, and whether what was stored is what was sent.

    Args:
        key: the key.
        content_type: the media type; None for the server's default.
        if_absent: store it only if there is no such object.
        if_match: store it only if the object that is there has this ETag.
    """

    def __init__(
        self, key: str, content_type: str | None, if_absent: bool, if_match: str | None
    ) -> None:
        self.key = wire.check_rest_key(key)
        self.doubt = Doubt()
        self._headers = {"content-type": "application/octet-stream"}
        if content_type is not None:
            self._headers["content-type"] = check_text("content_type", content_type)
        self._is_conditional = bool(if_absent or if_match is not None)
        if not isinstance(if_absent, bool):
            raise ObjectClerkTypeException("if_absent is True or False")
        if if_absent and if_match is not None:
            raise ObjectClerkParameterException("if_absent and if_match exclude each other")
        if if_absent:
            self._headers["if-none-match"] = "*"
        if if_match is not None:
            etag = bare(check_text("if_match", if_match))
            if etag is None or '"' in etag:
                raise ObjectClerkParameterException("if_match is the ETag of the object to replace")
            self._headers["if-match"] = f'"{etag}"'

    def ask(self, length: int | None, sha256: bytes | None) -> Ask[Answer]:
        """The request for a body of so many bytes with this digest, if that is known."""
        headers = dict(self._headers)
        if length is not None:
            headers["content-length"] = str(length)
        if sha256 is not None:
            headers[wire.REPR_DIGEST] = wire.repr_digest(sha256)
        return _about(
            "PUT", self.key, lambda answer: answer, headers=headers, hoped_for=(200, 201, 204)
        )

    def stored(self, answer: Answer, sent: Sent) -> Finding:
        """How well it is proved that the server has stored what was sent.

        Raises:
            ObjectVerificationException: it has stored something else.
        """
        if not sent.ended:
            raise ObjectClerkServerInternalException(
                "the server answered before it had everything", status=answer.status
            )
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            return Finding(Verdict.NONE, "the server tells nothing of what it stored")
        for name, ours in (("key", self.key), ("size", sent.size), ("sha256", sent.sha256.hex())):
            if told.get(name) not in (None, ours):
                raise ObjectVerificationException(
                    f"the server has stored another {name} than was sent: put the object again",
                    # A second attempt would meet the condition that the first has changed.
                    failure=Failure.FINAL if self._is_conditional else Failure.INTEGRITY,
                    status=answer.status,
                    request_id=errors.request_id(answer.headers),
                )
        if told.get("sha256"):
            return Finding(Verdict.TRANSPORT, "SHA-256 of what the server received")
        if told.get("size") is not None:
            return Finding(Verdict.IDENTITY, "size of what the server received")
        return Finding(Verdict.NONE, "the server tells nothing of what it stored")

    def settled(self, refusal: PreconditionFailed, found: ObjectHead | None, sent: Sent) -> Finding:
        """Whether a condition failed only because an earlier attempt has stored the object.

        Args:
            refusal: what the last attempt got.
            found: what is there now.
            sent: what an earlier attempt has sent.
        """
        if found is None or (found.size is not None and found.size != sent.size):
            raise refusal
        if found.sha256 is None:
            raise ObjectClerkServerInternalException(
                "the answer of an earlier attempt was lost, and the server does not tell whether "
                "the object that is there is that attempt's: read it",
                status=refusal.status,
                request_id=refusal.request_id,
            ) from refusal
        if found.sha256 != sent.sha256.hex():
            raise refusal
        return Finding(Verdict.TRANSPORT, "SHA-256 of the object that is there")

    def receipt(
        self, op: Operation, finding: Finding, sent: Sent, found: ObjectHead | None
    ) -> Receipt:
        """The receipt of a PUT; ``found`` is what the server says of the object."""
        etag = None if found is None else found.etag
        return op.receipt(finding, size=sent.size, etag=etag, digests={"sha256": sent.sha256.hex()})
