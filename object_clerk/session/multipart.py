"""Objects that are sent in parts, which the caller cuts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import md5_of
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectSaveException,
)
from object_clerk.session import wire
from object_clerk.session.contents import Contents, sent_before
from object_clerk.session.errors import MultipartCompleteError, RequestError
from object_clerk.session.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from object_clerk.session.channel import Channel
    from object_clerk.session.contents import Given


class MultipartUpload:
    """An upload in parts. Complete it, or abort it: its parts take up space until then.

    Attributes:
        key: the key of the object to be.
        upload_id: the server's name of the upload; keep both to resume it.
    """

    def __init__(self, channel: Channel, key: str, upload_id: str) -> None:
        self.key = key
        self.upload_id = upload_id
        self._channel = channel

    def __repr__(self) -> str:
        return f"MultipartUpload({self.key!r})"

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
            content_md5: its MD5 in base64, for the server to check. It is computed here where it
                can be: a file is read twice then.

        Returns:
            what :meth:`complete` needs.
        """
        if isinstance(part_number, bool) or not (
            isinstance(part_number, int) and 1 <= part_number <= wire.LARGEST_PART_NUMBER
        ):
            raise ObjectClerkParameterException(
                f"part_number is from 1 to {wire.LARGEST_PART_NUMBER}"
            )
        with (
            self._channel.doing("multipart.put_part", self.key),
            Contents(contents).rewound_on_failure() as source,
        ):
            length = source.size if content_length is None else content_length
            if length is None:
                raise ObjectClerkParameterException("content_length is needed: the stream has none")
            body: Iterable[bytes | memoryview] = _Exactly(source, length)
            if source.size is not None:
                if source.size != length:
                    raise _other(length)
                body = Spool.of(source).blocks(0, length)
                content_md5 = content_md5 or base64.b64encode(md5_of(body)).decode()
            headers = {"content-length": str(length)}
            if content_md5 is not None:
                headers["content-md5"] = content_md5
            target = self._target(wire.MULTIPART_PARTS, part_number=part_number)
            answer = self._channel.asked("PUT", target, headers, body)
            return wire.Part(part_number, answer.parsed(wire.parse_etag))

    def list_parts(self) -> list[wire.Part]:
        """The parts that the server has."""
        parts: list[wire.Part] = []
        following: int | None = 0
        with self._channel.doing("multipart.list_parts", self.key):
            while following is not None:
                marker = following
                query = {"part_number_marker": marker} if marker else {}
                target = self._target(wire.MULTIPART_PARTS, **query)
                answer = self._channel.asked("GET", target)
                page = answer.parsed(wire.PartsPage.from_json)
                parts += page.parts
                following = page.next_part_number_marker
                if following is not None and following <= marker:
                    raise RequestError("the list of parts goes round in circles", answer.status)
        return parts

    def complete(self, parts: Iterable[Any]) -> str:
        """Make the parts one object.

        Args:
            parts: what :meth:`put_part` or :meth:`list_parts` gave; or pairs of number and ETag;
                or dicts, as the server writes them.

        Returns:
            the key of the object.

        Raises:
            MultipartCompleteError: the server does not have these parts, or failed.
        """
        body, headers = wire.json_body(wire.parts_json(_part(each) for each in parts))
        with self._channel.doing("multipart.complete", self.key):
            target = self._target(wire.MULTIPART_COMPLETE)
            answer = self._channel.asked("POST", target, headers, [body])
            outcome = answer.parsed(wire.parse_completion)
            if isinstance(outcome, wire.MultipartFailed):
                raise MultipartCompleteError(
                    outcome.message, answer.status, answer.text, answer.headers, code=outcome.code
                )
            return answer.stored(self.key).key

    def abort(self) -> None:
        """Give the upload up; the server forgets its parts."""
        with self._channel.doing("multipart.abort", self.key):
            self._channel.asked("DELETE", self._target(wire.MULTIPART))

    def _target(self, prefix: str, **query: int) -> str:
        path = self._channel.object(self.key, prefix)
        return f"{path}?{wire.query({'upload_id': self.upload_id, **query})}"


def _part(given: Any) -> wire.Part:
    if isinstance(given, wire.Part):
        return given
    return wire.Part.of(given) if isinstance(given, Mapping) else wire.Part(*given)


class _Exactly:
    """A stream that is read once; it ends with an error if it is not as long as was said."""

    def __init__(self, source: Contents, length: int) -> None:
        self._source = source
        self._length = length
        self._begun = False

    def __iter__(self) -> Iterator[bytes | memoryview]:
        if self._begun:
            raise sent_before()
        self._begun = True
        sent = 0
        for block in self._source.blocks():
            sent += len(block)
            if sent > self._length:
                raise _other(self._length)
            yield block
        if sent < self._length:
            raise _other(self._length)


def _other(length: int) -> ObjectClerkException:
    return ObjectSaveException(f"the part has not the {length} bytes that it should have")
