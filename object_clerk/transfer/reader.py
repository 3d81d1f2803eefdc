"""An object as a stream: nobody gets the end of a bad one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkException, OperationCancelled
from object_clerk.receipt import Finding, Receipt, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from object_clerk.transfer.download import Download


class ObjectReader(io.RawIOBase):
    """An object as a binary stream that is read once, from front to back.

    Memory holds two blocks. The last block is held back until all bytes are verified, so whoever
    reaches the end has read what is stored; otherwise the read raises
    ObjectVerificationException. Connections that break are resumed. Closing early is allowed.

    Attributes:
        receipt: what was proved; None until the stream has ended or was closed, and if it failed.
        size: the object's length in bytes.
        answer: what S3 said of the object: LastModified, ContentType, Metadata and so on.
    """

    def __init__(self, download: Download, on_end: Callable[[Receipt], None] | None = None) -> None:
        super().__init__()
        self._download = download
        self._on_end = on_end
        self._stream = download.stream()
        self._pin = self._stream.open()
        self._blocks = self._verified_blocks()
        self._rest = b""
        self._error: ObjectClerkException | None = None
        self.receipt: Receipt | None = None
        self.size = self._pin.size
        self.answer = self._pin.answer
        download.op.allow_for(self.size)

    def blocks(self) -> Iterator[bytes]:
        """The bytes in blocks of the size that suits the transfer."""
        while block := self._next():
            yield block

    def _next(self) -> bytes:
        """What is left of the last block, or the next one; empty only at a proved end."""
        if self.closed:
            raise ValueError("the stream was closed")
        if self._error is not None:
            raise self._error  # a caller who reads on after an error must not see an end
        rest, self._rest = self._rest, b""
        if rest:
            return rest
        try:
            self._download.op.restart_deadline()  # the consumer decides how long reading takes
            return next(self._blocks, b"")
        except ObjectClerkException as error:
            op = self._download.op
            error.concerning(op.name, op.bucket, op.key)
            if self._on_end is not None:  # otherwise whoever reads announces it
                op.failed(error)
            self._error = error
            raise
        except BaseException:  # Ctrl-C: what is read next must not look like the end
            self._error = OperationCancelled(
                "reading was interrupted", operation=self._download.op.name
            )
            raise

    def _verified_blocks(self) -> Iterator[bytes]:
        proof = self._download.proof(self._pin)
        held = b""
        for block in self._stream:
            proof.hasher.update(block)
            if held:
                yield held
            held = block
        self._end(proof.finding())
        if held:
            yield held

    def _end(self, finding: Finding) -> None:
        self.receipt = self._download.receipt(self._pin, finding)
        if self._on_end is not None:
            self._on_end(self.receipt)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with the next bytes; 0 means that all were read and verified.

        Raises:
            ObjectVerificationException: the bytes do not verify.
            ObjectChanged: the object was replaced before it was read to the end.
        """
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        block = self._next()
        count = min(len(view), len(block))
        view[:count] = block[:count]
        self._rest = block[count:]
        return count

    def readall(self) -> bytes:
        """All bytes that are left, verified."""
        buffer = io.BytesIO()
        for block in self.blocks():
            buffer.write(block)
        return buffer.getvalue()

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connection. A stream not read to its end has proved nothing."""
        if not self.closed and hasattr(self, "_blocks"):
            self._stream.close()
            if self.receipt is None and self._error is None:
                self._end(Finding(Verdict.NONE, "not read to the end"))
        super().close()
