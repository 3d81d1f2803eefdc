"""Blocks that somebody verifies, as a binary stream that never looks ended when it is not."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkException, OperationCancelled

if TYPE_CHECKING:
    from collections.abc import Iterator


class BlockReader(io.RawIOBase):
    """The bytes of an object, once, from front to back.

    Args:
        blocks: its bytes; none of them is empty. It raises if they are not what they should be.
        where: operation, bucket and key, for errors.
    """

    def __init__(self, blocks: Iterator[bytes], where: tuple[str, str, str]) -> None:
        super().__init__()
        self._blocks = blocks
        self._where = where
        self._rest = memoryview(b"")
        self._error: ObjectClerkException | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def blocks(self) -> Iterator[bytes]:
        """The bytes in blocks of the size that suits whoever made them."""
        while block := self._next():
            yield bytes(block)

    def _next(self) -> bytes | memoryview:
        """What is left of the last block, or the next one; empty only at a good end."""
        if self.closed:
            raise ValueError("the stream was closed")
        if self._error is not None:
            raise self._error  # a caller who reads on after an error must not see an end
        rest, self._rest = self._rest, memoryview(b"")
        try:
            return rest or next(self._blocks, b"")
        except ObjectClerkException as error:
            error.concerning(*self._where)
            self._error = error
            raise
        except BaseException:  # Ctrl-C: what is read next must not look like the end
            self._error = OperationCancelled("reading was interrupted")
            self._error.concerning(*self._where)
            raise

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with the next bytes; 0 means that all were read and verified."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        block = self._next()
        count = min(len(view), len(block))
        view[:count] = block[:count]
        self._rest = memoryview(block)[count:]
        return count

    def readall(self) -> bytes:
        """All bytes that are left, verified."""
        buffer = io.BytesIO()
        while block := self._next():
            buffer.write(block)
        return buffer.getvalue()
