"""Objects that are sent in parts, which the caller cuts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import md5_of
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectSaveException,
)
from object_clerk.session import wire
from object_clerk.session.contents import Contents
from object_clerk.session.errors import MultipartCompleteError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from object_clerk.session.contents import Given
    from object_clerk.session.session import Session
    from object_clerk.session.transport import Answer


class MultipartUpload:
    """An upload in parts. Complete it, or abort it: its parts take up space until then.

    Attributes:
        key: the key of the object to be.
        upload_id: the server's name of the upload; keep both to resume it.
    """

    def __init__(self, session: Session, key: str, upload_id: str) -> None:
        self.key = key
        self.upload_id = upload_id
        self._session = session

    def __repr__(self) -> str:
        return f"MultipartUpload({self.key!r}, {self.upload_id!r})"

    def put_part(
        self,
        contents: Given,
        *,
        part_number: int,
        content_length: int | None = None,
        content_md5: str | None = None,
    ) -> wire.Part:
        """Send a part, and replace the one that has this number.

        Args:
            contents: bytes, or a binary file, taken from where it stands.
            part_number: from 1 to 10000.
            content_length: how many bytes it has; needed for a stream that does not tell.
            content_md5: its MD5 in base64, for the server to check. It is computed here for what
                is in memory.

        Returns:
            what :meth:`complete` needs.
        """
        if isinstance(part_number, bool) or not (
            isinstance(part_number, int) and 1 <= part_number <= wire.LARGEST_PART_NUMBER
        ):
            raise ObjectClerkParameterException(
                f"part_number is from 1 to {wire.LARGEST_PART_NUMBER}"
            )
        source = Contents(contents)
        length = source.size if content_length is None else content_length
        if length is None:
            raise ObjectClerkParameterException("content_length is needed: the stream has none")
        if source.whole is not None:
            if source.whole.nbytes != length:
                raise _other(length)
            content_md5 = content_md5 or base64.b64encode(md5_of([source.whole])).decode()
        headers = {"content-length": str(length)}
        if content_md5 is not None:
            headers["content-md5"] = content_md5
        answer = self._ask(
            "put_part", "PUT", wire.MULTIPART_PARTS, {"part_number": part_number}, headers,
            _exactly(source, length),
        )  # fmt: skip
        return wire.Part(part_number, answer.parsed(wire.parse_etag))

    def list_parts(self) -> list[wire.Part]:
        """The parts that the server has."""
        parts: list[wire.Part] = []
        marker = 0
        while True:
            query = {"part_number_marker": marker} if marker else {}
            answer = self._ask("list_parts", "GET", wire.MULTIPART_PARTS, query)
            page = answer.parsed(wire.PartsPage.from_json)
            parts += page.parts
            following = page.next_part_number_marker
            if following is None:
                return parts
            if following <= marker:
                raise RequestError("the list of parts goes round in circles", answer.status)
            marker = following

    def complete(self, parts: Iterable[Any]) -> str:
        """Make the parts one object.

        Args:
            parts: what :meth:`put_part` or :meth:`list_parts` gave; or pairs of number and ETag.

        Returns:
            the key of the object.

        Raises:
            MultipartCompleteError: the server does not have these parts, or failed.
        """
        chosen = [each if isinstance(each, wire.Part) else wire.Part(*each) for each in parts]
        body, headers = wire.json_body(wire.parts_json(chosen))
        answer = self._ask("complete", "POST", wire.MULTIPART_COMPLETE, {}, headers, [body])
        outcome = answer.parsed(wire.parse_completion)
        if isinstance(outcome, wire.MultipartFailed):
            raise MultipartCompleteError(
                outcome.message, answer.status, answer.text, answer.headers, code=outcome.code
            )
        return outcome.key

    def abort(self) -> None:
        """Give the upload up; the server forgets its parts."""
        self._ask("abort", "DELETE", wire.MULTIPART)

    def _ask(
        self,
        name: str,
        method: str,
        prefix: str,
        query: dict[str, int] | None = None,
        headers: dict[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> Answer:
        path = self._session._object(self.key, prefix)
        target = f"{path}?{wire.query({'upload_id': self.upload_id, **(query or {})})}"
        call = self._session._call(f"multipart.{name}", self.key)
        with call.underway():
            answer = self._session._asked(method, target, headers, body)
        call.finished()
        return answer


def _exactly(source: Contents, length: int) -> Iterator[bytes | memoryview]:
    """The bytes of a part; it ends with an error if there are not as many as was said."""
    sent = 0
    for block in source.blocks():
        sent += len(block)
        if sent > length:
            raise _other(length)
        yield block
    if sent < length:
        raise _other(length)


def _other(length: int) -> ObjectClerkException:
    return ObjectSaveException(f"the part has not the {length} bytes that it should have")
