"""Upload: every part is hashed before it is sent, and the stored object is compared afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.checksum.etag import EtagHasher, Layout, bare, composite
from object_clerk.checksum.evidence import judge_assembled, judge_stored, part_stored
from object_clerk.checksum.layout import (
    MOST_PARTS,
    PartRange,
    smallest_part_size_for,
    split,
    upload_part_size,
)
from object_clerk.connection import Connection, request
from object_clerk.endpoint import Endpoint, Support
from object_clerk.exceptions import (
    Failure,
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectSaveException,
    ObjectVerificationException,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.multipart import CLEANING_UP, MultipartUpload
from object_clerk.transfer.source import (
    IN_MEMORY_BYTES,
    PartBody,
    Pipe,
    Readable,
    SizedSource,
    Spool,
)
from object_clerk.transfer.stream import ObjectStream, Pin, pin, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from object_clerk.config import TransferSettings

#: All parts that are held in memory at once fit in here.
MEMORY_BYTES = 64 << 20

#: Parts of a stream set aside at once: one being sent while the next is read.
SPOOLED_PARTS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    """The body of one request with the digests that go along; none when verification is off."""

    content: bytes | PartBody
    length: int
    digests: Digests | None

    def parameters(self, crc32: bool) -> dict[str, Any]:
        """The parameters of PutObject or UploadPart that speak of the body."""
        checked = self.digests
        return {
            "Body": self.content,
            "ContentLength": self.length,
            "ContentMD5": checked.content_md5 if checked else None,
            "ChecksumCRC32": checked.checksum_crc32 if checked and crc32 else None,
        }


class Upload:
    """One upload: what is sent, where to, and how."""

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        source: SizedSource | Pipe,
        bucket: str,
        key: str,
        *,
        settings: TransferSettings,
        verify: bool,
        parameters: Mapping[str, Any],
    ) -> None:
        self.op = op
        self.connection = connection
        self.source = source
        self.settings = settings
        self.verify = verify
        self.bucket = bucket
        self.key = key
        self.where = {"Bucket": bucket, "Key": key}
        self.parameters = parameters
        self.conditions = {k: v for k, v in parameters.items() if k in ("IfMatch", "IfNoneMatch")}
        self.customer_key = {k: v for k, v in parameters.items() if k.startswith("SSECustomer")}
        self.part_size = upload_part_size(settings.part_size_bytes)
        self._bandwidth = Bandwidth(settings.bandwidth_bytes_per_s)

    def run(self, *, allow_empty: bool) -> Receipt:
        """Upload, prove, and give the receipt."""
        source = self.source
        if isinstance(source, Pipe):
            return self._run_pipe(source, allow_empty)
        self._check_size(source.size, allow_empty)
        self.op.allow_for(source.size)
        if source.size < self.settings.threshold_bytes:
            return self._run_single(source, source.size)
        return _upload_parts(self.op, self, source)

    def parts_once(self, source: SizedSource) -> Receipt:
        """Upload a source of known length in parts, from the first."""
        parts = ((source, part) for part in split(source.size, self.part_size))
        return self._run_parts(parts, self._workers())

    def _run_single(self, readable: Readable, size: int) -> Receipt:
        receipt = _put(self.op, self, readable, size)
        self.source.check_unchanged()
        return receipt

    def _run_pipe(self, pipe: Pipe, allow_empty: bool) -> Receipt:
        """Upload a stream whose length only its end will tell."""
        first = pipe.spooled(max(self.settings.threshold_bytes, self.part_size))
        with contextlib.closing(first):
            self._check_size(first.size, allow_empty)
            self.op.allow_for(first.size)
            if first.size < self.settings.threshold_bytes:
                return self._run_single(first, first.size)
            workers = min(self.settings.workers, SPOOLED_PARTS)
            return self._run_parts(self._spooled_parts(pipe, first), workers)

    def _spooled_parts(self, pipe: Pipe, first: Spool) -> Iterator[tuple[Readable, PartRange]]:
        """The parts of a stream, each read only when there is a thread to send it."""
        number = 0
        for part in split(first.size, self.part_size):
            number = part.number
            yield first, part
        while True:
            spool = pipe.spooled(self.part_size)
            if not spool.size:
                spool.close()
                return
            number += 1
            if number > MOST_PARTS:
                spool.close()
                raise ObjectSaveException(
                    f"{self.source.name} does not end within {MOST_PARTS} parts of "
                    f"{self.part_size} bytes: raise MULTIPART_THRESHOLD"
                )
            self.op.allow_for(spool.size)
            yield spool, PartRange(number, 0, spool.size)

    def _run_parts(self, parts: Iterator[tuple[Readable, PartRange]], workers: int) -> Receipt:
        """Send all parts, publish the object, and prove it; on any failure leave nothing."""
        crc32 = self.verify and self.learnt().crc32 is Support.HONOURED
        algorithm = {"ChecksumAlgorithm": "CRC32"} if crc32 else {}
        with MultipartUpload(
            self.op,
            self.connection,
            self.where,
            {k: v for k, v in self.parameters.items() if k not in self.conditions} | algorithm,
        ) as multipart:
            sender = _PartSender(self, multipart, crc32)
            tasks = (functools.partial(sender.send, readable, part) for readable, part in parts)
            done = multipart.fill(workers, tasks)
            self.source.check_unchanged()
            return _complete(self.op, sender, done)

    def learnt(self) -> Endpoint:
        """What the server does with digests; asked once, with an upload that is aborted."""
        ending = self.op.child("abort_multipart_upload", CLEANING_UP)
        self.connection.endpoint.learn(
            functools.partial(self.connection.call, self.op),
            functools.partial(request, ending, self.connection),
            self.bucket,
            self.key,
        )
        return self.connection.endpoint

    def _check_size(self, size: int, allow_empty: bool) -> None:
        if size == 0 and not allow_empty:
            raise ObjectSaveException(
                f"{self.source.name} is empty, which in a pipeline is usually a mistake; "
                "allow_empty=True uploads it"
            )
        if size >= self.settings.threshold_bytes and self.part_size * MOST_PARTS < size:
            raise ObjectClerkConfigurationException(
                f"{size} bytes in parts of {self.part_size} would need more than {MOST_PARTS} "
                f"parts: set MULTIPART_THRESHOLD to at least {smallest_part_size_for(size)}"
            )

    def _workers(self) -> int:
        """Parts sent at once: those held in memory must not take more than their share."""
        if self.part_size > IN_MEMORY_BYTES:
            return self.settings.workers
        return min(self.settings.workers, MEMORY_BYTES // self.part_size)

    def call(self, method: str, body: _Body, crc32: bool, **parameters: Any) -> dict[str, Any]:
        """Make one request that carries a body, and tell of the progress."""
        content = body.content
        try:
            answer = self.connection.call(self.op, method, **parameters, **body.parameters(crc32))
        except BaseException:
            if isinstance(content, PartBody):
                content.take_back()
            raise
        if isinstance(content, bytes):  # a PartBody has told of its progress itself
            self.op.transferred(body.length, self.source.size)
        return answer

    def prepare(self, readable: Readable, part: PartRange) -> _Body:
        """Read and hash what a request will carry; a small part is read only once."""
        if part.length <= IN_MEMORY_BYTES:
            data = readable.read_at(part.offset, part.length)
            self._bandwidth.spend(self.op, part.length)
            return _Body(data, part.length, Digests.of([data]) if self.verify else None)
        content = PartBody(self.op, self._bandwidth, readable, part.offset, part.length)
        return _Body(content, part.length, content.digests() if self.verify else None)

    def put_once(self, readable: Readable, size: int) -> Receipt:
        """Send everything in one request and judge what the server made of it."""
        body = self.prepare(readable, PartRange(1, 0, size))
        self.source.check_unchanged()
        crc32 = self.connection.endpoint.crc32 is Support.HONOURED
        answer = self.call("put_object", body, crc32, **self.where, **self.parameters)
        facts: dict[str, Any] = {
            "size": size,
            "etag": bare(answer.get("ETag")),
            "version_id": version_of(answer),
        }
        if body.digests is None:
            return self.op.receipt(SWITCHED_OFF, **facts)
        expected = body.digests.md5.hex()
        finding = judge_stored(expected, facts["etag"], size, None)
        if finding is None:  # the answer did not settle it, so ask for the object itself
            head = self.head(facts["version_id"])
            facts["etag"] = head.etag
            finding = self.judge(expected, head, size) or self.read_back(
                expected, Layout(None), head
            )
        return self.op.receipt(finding, digests={"md5": expected}, **facts)

    def judge(self, expected: str, head: Pin, size: int) -> Finding | None:
        """Judge the stored object; None if only reading it back can tell.

        Where its ETag is no MD5, that every body had a Content-MD5 counts only if the server was
        seen to reject a wrong one.
        """
        finding = judge_stored(expected, head.etag, size, head)
        weak = finding is not None and finding.verdict is Verdict.TRANSPORT
        if weak and self.learnt().content_md5 is not Support.HONOURED:
            return None
        return finding

    def head(self, version_id: str | None) -> Pin:
        """What the server says of the object that was made."""
        return pin(
            self.op,
            self.connection,
            self.bucket,
            self.key,
            {**self.customer_key, "VersionId": version_id},
        )

    def read_back(self, expected: str, layout: Layout, head: Pin) -> Finding:
        """Read the stored object: the last word where its ETag is an MD5 of something else."""
        self.op.allow_for(head.size)
        hasher = EtagHasher([layout])
        for block in ObjectStream(
            self.op,
            self.connection,
            self.bucket,
            self.key,
            block_bytes=self.settings.block_bytes,
            extra={**self.customer_key, "VersionId": head.version_id},
            is_progress=False,
        ):
            hasher.update(block)
        (found,) = hasher.etags().values()
        if found != expected:
            raise ObjectVerificationException(
                f"the stored object is not what was sent: {expected} was sent, {found} came "
                f"back, its ETag is {head.etag}",
                failure=Failure.INTEGRITY,
            )
        return Finding(Verdict.CONTENT, "read back, since its ETag is not its MD5")


class _PartSender:
    """Sends the parts of one upload and remembers what they were."""

    def __init__(self, upload: Upload, multipart: MultipartUpload, crc32: bool) -> None:
        self._upload = upload
        self._multipart = multipart
        self._crc32 = crc32
        self._sent: dict[int, _Body] = {}
        self._refused: ObjectVerificationException | None = None

    def send(self, readable: Readable, part: PartRange) -> dict[str, Any]:
        """Send one part, again and again if need be, and let go of what it was spooled in."""
        try:
            return _send_part(self._upload.op, self, readable, part)
        except ObjectNotFoundException as error:
            if error.code == "NoSuchUpload":
                raise self._given_up() from error
            raise
        finally:
            if isinstance(readable, Spool) and part.length == readable.size:
                readable.close()

    def _given_up(self) -> ObjectClerkException:
        """The server has dropped the upload; some do when a part fails their check.

        It begins anew if the source can be read again. That counts as what it was caused by.
        """
        if self._refused is not None:
            return ObjectVerificationException(
                f"the server gave the upload up: {self._refused.message}",
                failure=Failure.INTEGRITY,
            )
        return ObjectClerkServerInternalException(
            "the server gave the upload up", failure=Failure.TRANSIENT
        )

    def send_once(self, readable: Readable, part: PartRange) -> dict[str, Any]:
        """Send one part and compare the ETag that it gets."""
        upload = self._upload
        body = upload.prepare(readable, part)
        try:
            answer = upload.call(
                "upload_part",
                body,
                self._crc32,
                **upload.customer_key,
                **self._multipart.where,
                PartNumber=part.number,
            )
        except ObjectVerificationException as error:
            self._refused = error
            raise
        etag = bare(answer.get("ETag"))
        if etag is None:
            raise ObjectVerificationException(
                f"the server gave no ETag for part {part.number}", failure=Failure.INTEGRITY
            )
        done: dict[str, Any] = {"PartNumber": part.number, "ETag": answer["ETag"]}
        if body.digests:
            digest = body.digests.md5.hex()
            if not part_stored(digest, etag, answer):
                raise ObjectVerificationException(
                    f"part {part.number} was sent with MD5 {digest} and stored as {etag}",
                    failure=Failure.INTEGRITY,
                )
            if self._crc32:
                done["ChecksumCRC32"] = body.digests.checksum_crc32
        self._sent[part.number] = dataclasses.replace(body, content=b"")
        return done

    def complete_once(self, done: list[dict[str, Any]]) -> Receipt:
        """Publish the object and judge it."""
        upload = self._upload
        bodies = [self._sent[part["PartNumber"]] for part in done]
        size = sum(body.length for body in bodies)
        answer = self._multipart.publish(done, **upload.customer_key, **upload.conditions)
        head = upload.head(version_of(answer))
        facts: dict[str, Any] = {
            "size": size,
            "etag": head.etag,
            "version_id": version_of(answer) or head.version_id,
        }
        if not upload.verify:
            return upload.op.receipt(SWITCHED_OFF, **facts)
        expected = composite([body.digests.md5 for body in bodies if body.digests])
        finding = (
            upload.judge(expected, head, size)
            or judge_assembled(expected, bare(answer.get("ETag")), head.etag)
            or upload.read_back(expected, Layout(bodies[0].length), head)
        )
        return upload.op.receipt(finding, digests={"md5-parts": expected}, **facts)


@retried
def _put(op: Operation, upload: Upload, readable: Readable, size: int) -> Receipt:
    return upload.put_once(readable, size)


@retried
def _upload_parts(op: Operation, upload: Upload, source: SizedSource) -> Receipt:
    return upload.parts_once(source)


@retried
def _send_part(
    op: Operation, sender: _PartSender, readable: Readable, part: PartRange
) -> dict[str, Any]:
    return sender.send_once(readable, part)


@retried
def _complete(op: Operation, sender: _PartSender, done: list[dict[str, Any]]) -> Receipt:
    return sender.complete_once(done)
