"""Download: bytes are verified while they stream, and nobody gets the end of a bad object."""

from __future__ import annotations

import contextlib
import io
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.etag import parts_of
from object_clerk.checksum.evidence import choose, evidence_of, judge_read, require_evidence
from object_clerk.checksum.hasher import Hasher, Pieces
from object_clerk.checksum.layout import (
    MOST_CANDIDATES,
    MOST_LATER_CANDIDATES,
    PartRange,
)
from object_clerk.exceptions import (
    Failure,
    ObjectUnverifiable,
    ObjectVerificationException,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict, Verification
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.stream import ObjectStream, Pin, layout_told, pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from object_clerk.checksum.evidence import Evidence
    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection


class Download:
    """One object to be read: where it is, and how it will be proved.

    Attributes:
        suspicious: bytes were wrong before, so all evidence is computed, not just the best.
    """

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        bucket: str,
        key: str,
        *,
        settings: TransferSettings,
        own_part_size: int,
        verify: Verification,
        parameters: Mapping[str, Any],
    ) -> None:
        self.op = op
        self.connection = connection
        self.bucket = bucket
        self.key = key
        self.settings = settings
        self.verify = verify
        self.parameters = parameters
        self.suspicious = False
        self._own_part_size = own_part_size
        self._bandwidth = Bandwidth(settings.bandwidth_bytes_per_s)

    def stream(self, pinned: Pin | None = None, part: PartRange | None = None) -> ObjectStream:
        """The object, or one range of it, in blocks."""
        return ObjectStream(
            self.op,
            self.connection,
            self.bucket,
            self.key,
            block_bytes=self.settings.block_bytes,
            bandwidth=self._bandwidth,
            pinned=pinned,
            begin=part.offset if part else 0,
            end=part.offset + part.length if part else None,
            extra=self.parameters,
        )

    def pin(self) -> Pin:
        """Find out which generation there is."""
        return pin(self.op, self.connection, self.bucket, self.key, self.parameters)

    def proof(self, pinned: Pin) -> Proof:
        """What the bytes of this generation will be compared with.

        Raises:
            ObjectUnverifiable: there is nothing, so reading the object would prove nothing.
        """
        if not self.verify:
            return Proof(self, pinned, [])
        known = None
        if self._unsure(pinned):
            known = layout_told(self.op, self.connection, self.bucket, self.key, pinned)
        evidence = list(evidence_of(pinned, self._own_part_size, known))
        if self.verify is Verification.STRICT:
            require_evidence(pinned, evidence)
        elif not evidence and self.pin().size != pinned.size:
            raise ObjectVerificationException(
                f"it was said to have {pinned.size} bytes, and another size",
                failure=Failure.INTEGRITY,
            )
        return Proof(self, pinned, evidence)

    def _unsure(self, pinned: Pin) -> bool:
        """Whether it is worth a request to learn in what parts the object was uploaded."""
        if not parts_of(pinned.etag):
            return False
        best = list(islice(evidence_of(pinned, self._own_part_size), 2))
        return not any(e.firm for e in best) and (self.suspicious or len(best) != 1)

    def receipt(self, pinned: Pin, finding: Finding) -> Receipt:
        """The receipt of this download."""
        return self.op.receipt(
            finding, size=pinned.size, etag=pinned.etag, version_id=pinned.version_id
        )


class Proof:
    """Compares the bytes of one generation with all that is known of them."""

    def __init__(self, download: Download, pinned: Pin, evidence: list[Evidence]) -> None:
        self._download = download
        self._pin = pinned
        self._evidence = evidence
        self._ways = [e.way for e in choose(evidence, suspicious=download.suspicious)]
        self.hasher = Hasher(self._ways)
        self._hashed: Hasher | Pieces = self.hasher

    def step(self, wished: int) -> int:
        """How many bytes to fetch at once, so that each stretch can be hashed by itself."""
        part = self._ways[0].layout.part_size_bytes if self._ways else None
        if part is None or part > wished or wished >= self._pin.size:
            return wished
        return wished - wished % part

    def in_pieces(self, step: int) -> Pieces | None:
        """What takes the hashed pieces of ``step`` bytes; None if the hasher must have it all."""
        if step < self._pin.size and not Pieces.serve(self._ways, step):
            return None
        self._hashed = pieces = Pieces(self._ways)
        return pieces

    def finding(self, reread: Callable[[], Iterable[bytes]] | None = None) -> Finding:
        """What the bytes that were hashed are worth.

        Args:
            reread: gives the same bytes again, to be tried with less likely sizes of parts.
        """
        if not self._download.verify:
            return SWITCHED_OFF
        if not self._evidence:
            return self.as_good_as_it_gets("nothing that the server says could be compared")
        try:
            return judge_read(self._evidence, self._pin.size, self._hashed)
        except ObjectUnverifiable as error:
            if reread and (found := self._later_guess(reread)):
                return found
            again, self._download.suspicious = not self._download.suspicious, True
            if self._download.verify is Verification.STRICT:
                raise
            if again and error.failure is Failure.INTEGRITY:
                raise  # a second look costs little, and a changed byte would show
            return self.as_good_as_it_gets(error.message)
        except ObjectVerificationException:
            self._download.suspicious = True
            raise

    def _later_guess(self, reread: Callable[[], Iterable[bytes]]) -> Finding | None:
        """Try the layouts that were not worth their time while the bytes arrived."""
        tried = self._hashed.digests()
        ways = [e.way for e in self._evidence if e.way not in tried][:MOST_LATER_CANDIDATES]
        for start in range(0, len(ways), MOST_CANDIDATES):
            hasher = Hasher(ways[start : start + MOST_CANDIDATES])
            for block in reread():
                self._download.op.check()
                hasher.update(block)
            with contextlib.suppress(ObjectVerificationException):
                return judge_read(self._evidence, self._pin.size, hasher)
        return None

    def as_good_as_it_gets(self, why: str) -> Finding:
        """What the bytes are worth that nothing proves, where that is enough."""
        self._download.connection.warn_once(
            "some downloads could not be fully proved; their receipts say why"
        )
        return Finding(Verdict.IDENTITY, f"size and ETag only: {why}")


def read_bytes(download: Download) -> tuple[bytes, Receipt]:
    """The whole object as bytes; read again if they do not verify."""
    return _read_bytes(download.op, download)


@retried
def _read_bytes(op: Operation, download: Download) -> tuple[bytes, Receipt]:
    stream = download.stream()
    with contextlib.closing(stream), taken_back(op) as took:
        pinned = stream.open()
        op.allow_for(pinned.size)
        proof = download.proof(pinned)
        buffer = io.BytesIO()
        for block in stream:
            proof.hasher.update(block)
            buffer.write(block)
            took(len(block))
        # getvalue() hands the buffer over without copying it.
        finding = proof.finding(lambda: [buffer.getvalue()])
    return buffer.getvalue(), download.receipt(pinned, finding)


@contextlib.contextmanager
def taken_back(op: Operation) -> Iterator[Callable[[int], None]]:
    """Take progress back if what was read turns out to be worthless."""
    total, lock = 0, threading.Lock()

    def took(size: int) -> None:
        nonlocal total
        with lock:
            total += size

    try:
        yield took
    except BaseException:
        if total:
            op.transferred(-total, None)
        raise
