"""An object as a stream: nobody gets the end of a bad one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk.checksum.layout import PartRange
from object_clerk.exceptions import ObjectClerkException
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict
from object_clerk.transfer.blocks import BlockReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from object_clerk.transfer.download import Download

#: No store keeps a digest of some bytes of an object alone.
SOME_BYTES = Finding(
    Verdict.IDENTITY, "some of the bytes, of the generation and the range that were asked for"
)


class ObjectReader(BlockReader):
    """An object as a binary stream that is read once, from front to back.

    Memory holds two blocks. The last block is held back until all bytes are verified, so whoever
    reaches the end has read what is stored; otherwise the read raises
    ObjectVerificationException. Connections that break are resumed. Closing early is allowed.

    Of some bytes only the generation is proved: ``begin`` and ``end`` mean what they do in slices.

    Attributes:
        receipt: what was proved; None until the stream has ended or was closed, and if it failed.
        size: the object's length in bytes.
        answer: what S3 said of the object: LastModified, ContentType, Metadata and so on.
    """

    def __init__(
        self,
        download: Download,
        on_end: Callable[[Receipt], None] | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> None:
        op = download.op
        super().__init__(self._paced_blocks(), (op.name, op.bucket, download.key))
        self._download = download
        self._on_end = on_end
        self.receipt: Receipt | None = None
        if (begin, end) == (0, None):
            self._stream = download.stream()
            self._pin = self._stream.open()
            self._verified = self._verified_blocks()
        else:
            self._pin = download.pin()
            span = range(self._pin.size)[begin:end]
            self._stream = download.stream(self._pin, PartRange(1, span.start, len(span)))
            self._verified = self._some_blocks()
        self.size = self._pin.size
        self.answer = self._pin.answer
        op.allow_for(self.size)

    def _paced_blocks(self) -> Iterator[bytes]:
        """The blocks; the consumer decides how long reading takes."""
        op = self._download.op
        try:
            while True:
                op.restart_deadline()
                if not (block := next(self._verified, b"")):
                    return
                yield block
        except ObjectClerkException as error:
            error.concerning(*self._where)
            if self._on_end is not None:  # otherwise whoever reads announces it
                op.failed(error)
            raise

    def _some_blocks(self) -> Iterator[bytes]:
        yield from self._stream
        self._end(SOME_BYTES if self._download.verify else SWITCHED_OFF)

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
        if not self.closed and hasattr(self, "_verified"):
            self._stream.close()
            if self.receipt is None and self._error is None:
                self._end(Finding(Verdict.NONE, "not read to the end"))
        super().close()
