"""multipart/form-data (RFC 7578, RFC 2046), read part by part while it comes."""

from __future__ import annotations

import dataclasses
import re
from email.message import Message
from typing import TYPE_CHECKING

from object_clerk.gateway.v1.errors import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

#: The headers of a part have at most so many bytes.
MOST_HEADER_BYTES = 16 << 10

#: A media type has at most so many: what takes it apart is slow on long ones.
_LONGEST_TYPE = 300

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class FormPart:
    """A part.

    Attributes:
        headers: its headers, names in lower case.
        body: its bytes.
    """

    headers: Mapping[str, str]
    body: bytes


class Form:
    """Takes a body apart; never more than one part of it is in memory.

    Args:
        content_type: the media type of the body, with its boundary.
        blocks: the body.
        most: so many bytes may a part have.

    Raises:
        Problem: 400, there is no boundary.
    """

    def __init__(self, content_type: str, blocks: AsyncIterator[bytes], most: int) -> None:
        if len(content_type) > _LONGEST_TYPE:
            raise Problem(400, "the media type of the body is far too long")
        parsed = Message()
        parsed["content-type"] = content_type
        boundary = parsed.get_param("boundary")
        if parsed.get_content_type() != "multipart/form-data" or not (
            isinstance(boundary, str) and _BOUNDARY.fullmatch(boundary)
        ):
            raise Problem(400, "the body is no multipart/form-data with a boundary")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._blocks = blocks
        self._most = most
        self._buffer = bytearray(b"\r\n")  # the first boundary may begin the body

    async def parts(self) -> AsyncIterator[FormPart]:
        """The parts, as they come.

        Raises:
            Problem: 400, the body is malformed or cut off; 413, a part is too large.
        """
        await self._until(self._delimiter, MOST_HEADER_BYTES)
        while not await self._is_last():
            head = await self._until(b"\r\n\r\n", MOST_HEADER_BYTES)
            headers = _headers(head.removeprefix(b"\r\n"))
            yield FormPart(headers, await self._until(self._delimiter, self._most))
        async for _ in self._blocks:  # what is behind the last boundary means nothing
            pass

    async def _is_last(self) -> bool:
        """Whether it was the last boundary; else what follows it is the head of a part."""
        while len(self._buffer) < 2 or self._buffer.startswith((b" ", b"\t")):
            if self._buffer.startswith((b" ", b"\t")):
                del self._buffer[:1]
            else:
                await self._more()
        if self._buffer[:2] == b"--":
            return True
        if self._buffer[:2] != b"\r\n":
            raise Problem(400, "a boundary of the form is malformed")
        return False

    async def _until(self, mark: bytes, most: int) -> bytes:
        """All before a mark, which is taken too."""
        begin = 0
        while (found := self._buffer.find(mark, begin)) < 0:
            if len(self._buffer) > most + len(mark):
                raise Problem(413, f"a part of the form has more than {most} bytes")
            begin = max(0, len(self._buffer) - len(mark))
            await self._more()
        if found > most:
            raise Problem(413, f"a part of the form has more than {most} bytes")
        taken = bytes(self._buffer[:found])
        del self._buffer[: found + len(mark)]
        return taken

    async def _more(self) -> None:
        try:
            self._buffer += await anext(self._blocks)
        except StopAsyncIteration:
            raise Problem(400, "the form is cut off") from None


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.split(b"\r\n") if head else ():
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _NO_TEXT.search(value):
            raise Problem(400, "a header of a part of the form is malformed")
        lower = name.decode().lower()
        if lower in found:
            raise Problem(400, f"a part of the form has {lower[:80]} twice")
        found[lower] = value.strip(b" \t").decode("latin-1")
    return found
