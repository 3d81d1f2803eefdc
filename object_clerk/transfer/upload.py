"""Upload: every part is hashed before it is sent, and the stored object is compared afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.algorithm import (
    CRC32,
    CRC64NVME,
    MD5,
    SHA256,
    Algorithm,
    digests_of,
    in_header,
)
from object_clerk.checksum.etag import bare, composite, composite_of, digest_of
from object_clerk.checksum.evidence import (
    etag_may_differ,
    judge_assembled,
    judge_checked,
    judge_stored,
    part_stored,
)
from object_clerk.checksum.hasher import Hasher, Hashing, Layout
from object_clerk.checksum.layout import (
    MOST_PARTS,
    PartRange,
    smallest_part_size_for,
    split,
    upload_part_size,
)
from object_clerk.checksum.record import Record, new_tx, without_record
from object_clerk.endpoint import Endpoint, Support
from object_clerk.exceptions import (
    Failure,
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict, Verification
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.delete import take_back
from object_clerk.transfer.multipart import Inquiry, MultipartUpload
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
    from collections.abc import Collection, Iterator, Mapping

    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection
    from object_clerk.transfer.conditions import Conditions

#: All parts that are held in memory at once fit in here; with the rest it is less than 64 MiB.
MEMORY_BYTES = 56 << 20

#: PutObject takes no more, and objects no more metadata (Amazon S3 user guide).
LARGEST_PUT = 5 << 30
LARGEST_METADATA = 2048

#: Parts of a stream set aside at once: one being sent while the next is read.
SPOOLED_PARTS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    """The body of one request with the digests that go along; none when verification is off."""

    content: bytes | PartBody
    length: int
    digests: Mapping[Algorithm, bytes]

    def parameters(self) -> dict[str, Any]:
        """The parameters of PutObject or UploadPart that speak of the body."""
        return {
            "Body": self.content,
            "ContentLength": self.length,
            **self.checksums(),
            **({"ContentMD5": in_header(self.digests[MD5])} if MD5 in self.digests else {}),
        }

    def checksums(self) -> dict[str, str]:
        """The checksums in boto3's words; MD5 is none of them."""
        return {
            each.member: in_header(digest)
            for each, digest in self.digests.items()
            if each is not MD5
        }

    def md5(self) -> bytes:
        """The MD5, read for that purpose if it was not sent along."""
        if MD5 in self.digests:
            return self.digests[MD5]
        if isinstance(self.content, PartBody):
            return self.content.digests([MD5])[MD5]
        return digests_of([MD5], [self.content])[MD5]


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
        verify: Verification,
        parameters: Mapping[str, Any],
        conditions: Conditions,
    ) -> None:
        self.op = op
        self.connection = connection
        self.source = source
        self.settings = settings
        self.verify = verify
        self.bucket = bucket
        self.key = key
        self.where = {"Bucket": bucket, "Key": key}
        self.conditions = conditions
        raw = {k: v for k, v in parameters.items() if k in ("IfMatch", "IfNoneMatch")}
        self.parameters = {k: v for k, v in parameters.items() if k not in raw}
        self.raw_conditions = raw
        self.customer_key = {k: v for k, v in parameters.items() if k.startswith("SSECustomer")}
        self.part_size = upload_part_size(settings.part_size_bytes)
        self.tx = new_tx()
        self._attempted = False
        self._stored: list[Pin] = []
        self._bandwidth = Bandwidth(settings.bandwidth_bytes_per_s)

    def run(self, *, allow_empty: bool) -> Receipt:
        """Upload, prove, and give the receipt."""
        source = self.source
        if isinstance(source, Pipe):
            return self._run_pipe(source, allow_empty)
        self._check_size(source.size, allow_empty)
        self.op.allow_for(source.size)
        if self._fits_one_request(source.size):
            return self._run_single(source, source.size)
        return _upload_parts(self.op, self, source)

    def _fits_one_request(self, size: int) -> bool:
        """Whether to send everything at once, having made sure that the conditions will count."""
        conditions = self.conditions
        conditions.look(self.op, self.connection, self.bucket, self.key)
        single = size < self.settings.threshold_bytes
        if not conditions:
            return single
        asked = functools.partial(conditions.honoured_by, self.op, self.connection, self.bucket)
        if not single and asked("complete"):
            return False
        # Some stores honour conditions of a single request only.
        if asked("put") and (
            single or (size <= LARGEST_PUT and isinstance(self.source, SizedSource))
        ):
            return True
        raise conditions.unsupported()

    def parts_once(self, source: SizedSource) -> Receipt:
        """Upload a source of known length in parts, from the first."""
        parts = ((source, part) for part in split(source.size, self.part_size))
        return self._run_parts(parts, self._workers(), source.size)

    def _run_single(self, readable: Readable, size: int) -> Receipt:
        try:
            receipt = _put(self.op, self, readable, size)
        except ObjectVerificationException as error:
            where = self.bucket, self.key
            for stored in self._stored:
                error.message += take_back(
                    self.op, self.connection, *where, stored, self.customer_key
                )
            raise
        self.source.check_unchanged()
        return receipt

    def _run_pipe(self, pipe: Pipe, allow_empty: bool) -> Receipt:
        """Upload a stream whose length only its end will tell."""
        first = pipe.spooled(max(self.settings.threshold_bytes, self.part_size))
        with contextlib.closing(first):
            self._check_size(first.size, allow_empty)
            self.op.allow_for(first.size)
            if self._fits_one_request(first.size):
                return self._run_single(first, first.size)
            workers = min(self.settings.workers, SPOOLED_PARTS)
            return self._run_parts(self._spooled_parts(pipe, first), workers, None)

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

    def _run_parts(
        self, parts: Iterator[tuple[Readable, PartRange]], workers: int, size: int | None
    ) -> Receipt:
        """Send all parts, publish the object, and prove it; on any failure leave nothing."""
        algorithms = self._algorithms_of_parts() if self.verify else ()
        crc = next((each for each in algorithms if each.polynomial), None)
        algorithm = {"ChecksumAlgorithm": crc.name} if crc else {}
        record = Record(self.tx, size, self.part_size)
        with (
            contextlib.ExitStack() as cleaning,
            MultipartUpload(
                self.op,
                self.connection,
                self.where,
                self.parameters | self._recorded(record) | algorithm,
            ) as multipart,
        ):
            sender = _PartSender(self, multipart, algorithms)
            cleaning.callback(sender.take_back)
            tasks = (functools.partial(sender.send, readable, part) for readable, part in parts)
            done = multipart.fill(workers, tasks)
            self.source.check_unchanged()
            try:
                if self.verify:
                    multipart.check_parts(sender.expected())
                receipt = _complete(self.op, sender, done)
            except ObjectNotFoundException as error:
                sender.begin_anew(error)
                raise
            cleaning.pop_all()
            return receipt

    def _recorded(self, record: Record) -> dict[str, Any]:
        """The metadata with the record, if it is wanted and there is room for it."""
        own = without_record(self.parameters.get("Metadata") or {})
        both = own | record.metadata()
        size = sum(len(name) + len(value) for name, value in both.items())
        if not self.connection.config.metadata_record or size > LARGEST_METADATA:
            both = own
        return {"Metadata": both} if both else {}

    def learnt(self) -> Endpoint:
        """What the server does with digests; asked once, with an upload that is aborted."""
        inquiry = Inquiry(self.op, self.connection)
        self.connection.endpoint.learn(inquiry.ask, inquiry.insist, self.bucket, self.key)
        return self.connection.endpoint

    def _algorithms(self, endpoint: Endpoint) -> tuple[Algorithm, ...]:
        """The digests to send along: those that the server checks, and what the ETag is made of."""
        if not self.verify:
            return ()
        return (MD5, CRC32) if endpoint.crc32 is Support.HONOURED else (MD5,)

    def _algorithms_of_parts(self) -> tuple[Algorithm, ...]:
        """A CRC64NVME alone where the server checks it and gives it back: it costs a tenth.

        The first upload carries an MD5 as well, since only its object can show the latter.
        """
        endpoint, inquiry = self.learnt(), Inquiry(self.op, self.connection)
        where = self.bucket, self.key
        found = endpoint.learn_crc64nvme(inquiry.ask, inquiry.insist, *where)
        if found is Support.HONOURED and CRC64NVME.available:
            return (CRC64NVME,) if endpoint.gives_crc64nvme else (MD5, CRC64NVME)
        return self._algorithms(endpoint)

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

    def call(self, method: str, body: _Body, **parameters: Any) -> dict[str, Any]:
        """Make one request that carries a body, and tell of the progress."""
        content = body.content
        try:
            answer = self.connection.call(self.op, method, **parameters, **body.parameters())
        except BaseException:
            if isinstance(content, PartBody):
                content.take_back()
            raise
        if isinstance(content, bytes):  # a PartBody has told of its progress itself
            self.op.transferred(body.length, self.source.size)
        return answer

    @contextlib.contextmanager
    def judging(self, body: _Body) -> Iterator[None]:
        """While an answer is judged: if it is not good enough, the progress is taken back."""
        try:
            yield
        except ObjectClerkException:
            if isinstance(body.content, PartBody):
                body.content.take_back()
            else:
                self.op.transferred(-body.length, None)
            raise

    def prepare(
        self, readable: Readable, part: PartRange, algorithms: Collection[Algorithm]
    ) -> _Body:
        """Read and hash what a request will carry; a small part is read only once."""
        if part.length <= IN_MEMORY_BYTES:
            data = readable.read_at(part.offset, part.length)
            self._bandwidth.spend(self.op, part.length)
            return _Body(data, part.length, digests_of(algorithms, [data]))
        content = PartBody(self.op, self._bandwidth, readable, part.offset, part.length)
        if algorithms and self._signs_bodies():
            content.digests([*algorithms, SHA256])  # in the same pass, to be asked for at once
        return _Body(content, part.length, content.digests(algorithms))

    def _signs_bodies(self) -> bool:
        """Whether the fast lane will ask for the SHA-256 of a body; boto3 makes its own."""
        config = self.connection.config
        is_plain = (config.endpoint_url or "").lower().startswith("http:")
        signs = (config.client_config.get("s3") or {}).get("payload_signing_enabled")
        return config.fast_lane and (is_plain or signs is True) and signs is not False

    def put_once(self, readable: Readable, size: int) -> Receipt:
        """Send everything in one request and judge what the server made of it."""
        algorithms = self._algorithms(self.connection.endpoint)
        body = self.prepare(readable, PartRange(1, 0, size), algorithms)
        self.source.check_unchanged()
        again, self._attempted = self._attempted, True
        try:
            answer = self.call(
                "put_object",
                body,
                **self.where,
                **self.parameters | self._single_record(body, size),
                **self.raw_conditions | self.conditions.parameters(self.connection),
            )
        except PreconditionFailed as error:
            head = self._own_doing() if again else None
            if head is None:
                raise self.conditions.failed(error) from error
            self.op.notes.append("the answer to an earlier PutObject was lost")
            self.op.transferred(size, self.source.size)
            answer = dict(head.answer)
        facts: dict[str, Any] = {
            "size": size,
            "etag": bare(answer.get("ETag")),
            "version_id": version_of(answer),
        }
        if not self.verify:
            return self.op.receipt(SWITCHED_OFF, **facts)
        with self.judging(body):
            finding = self._judge_single(body.digests, facts)
        return self.op.receipt(finding, digests={"md5": body.digests[MD5].hex()}, **facts)

    def _judge_single(self, digests: Mapping[Algorithm, bytes], facts: dict[str, Any]) -> Finding:
        """Judge an object that was sent in one request, asking for as much as it takes."""
        expected, size = digests[MD5].hex(), facts["size"]
        finding = judge_stored(expected, facts["etag"], size, None)
        if finding is not None:
            return finding
        head = self.head(facts["version_id"])  # the answer did not settle it
        if head.etag == facts["etag"]:  # then it is surely ours
            self._stored.append(head)
        facts["etag"] = head.etag
        sent = {each.member: {in_header(digests[each])} for each in digests if each is not MD5}
        finding = self.judge(expected, head, size, sent) or self.read_back(
            Hashing(), digests[MD5], head
        )
        if not etag_may_differ(head.answer):  # what encryption hides says nothing of the rest
            self.connection.endpoint.etag_is_md5 &= head.etag == expected
        return finding

    def _single_record(self, body: _Body, size: int) -> dict[str, Any]:
        """The record of an object sent at once, where it buys something.

        It tells our own upload from another's when a condition fails after a lost answer, and it
        holds the digest where the ETag does not.
        """
        conditional = bool(self.raw_conditions or self.conditions)
        kms = str(self.parameters.get("ServerSideEncryption", "")).startswith("aws:kms")
        opaque = kms or bool(self.customer_key) or not self.connection.endpoint.etag_is_md5
        if not conditional and not opaque:
            return {}
        digests = {MD5: body.digests[MD5]} if body.digests and opaque else {}
        return self._recorded(Record(self.tx, size, None, digests))

    def _own_doing(self) -> Pin | None:
        """The object under the key, if it is the one that this very upload has made."""
        try:
            head = self.head(None)
        except ObjectNotFoundException:
            return None
        return head if Record.of(head.answer).tx == self.tx else None

    def judge(
        self, expected: str, head: Pin, size: int, checksums: Mapping[str, Collection[str]]
    ) -> Finding | None:
        """Judge the stored object; None if only reading it back can tell.

        Where its ETag is no MD5, that every body had a Content-MD5 counts only if the server was
        seen to reject a wrong one.
        """
        finding = judge_stored(expected, head.etag, size, head, checksums)
        weak = finding is not None and finding.verdict is Verdict.TRANSPORT
        if weak and self.learnt().content_md5 is not Support.HONOURED:
            if self.verify is Verification.AVAILABLE:
                return Finding(Verdict.IDENTITY, "the size is right; nothing else can be compared")
            return None
        return finding

    def head(self, version_id: str | None) -> Pin:
        """What the server says of the object that was made."""
        # Asking for checksums takes the permission to decrypt, so only where they are of use.
        endpoint = self.connection.endpoint
        useful = self.verify and Support.HONOURED in (endpoint.crc32, endpoint.crc64nvme)
        return pin(
            self.op,
            self.connection,
            self.bucket,
            self.key,
            {
                **self.customer_key,
                "VersionId": version_id,
                **({} if useful else {"ChecksumMode": None}),
            },
        )

    def read_back(self, way: Hashing, expected: bytes, head: Pin) -> Finding:
        """Read the stored object: the last word where its ETag is an MD5 of something else."""
        self.op.allow_for(head.size)
        hasher = Hasher([way])
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
        found = hasher.digests()[way]
        if found != expected:
            raise ObjectVerificationException(
                f"the stored object is not what was sent: {expected.hex()} was sent, "
                f"{found.hex()} came back ({way}), its ETag is {head.etag}",
                failure=Failure.INTEGRITY,
            )
        return Finding(Verdict.CONTENT, "read back, since its ETag is not its MD5")


class _PartSender:
    """Sends the parts of one upload and remembers what they were."""

    def __init__(
        self, upload: Upload, multipart: MultipartUpload, algorithms: Collection[Algorithm]
    ) -> None:
        self._upload = upload
        self._multipart = multipart
        self._algorithms = algorithms
        self._crc = next((each for each in algorithms if each.polynomial), None)
        self._sent: dict[int, tuple[_Body, str]] = {}
        self._refused: ObjectVerificationException | None = None
        self._unsure: set[int] = set()

    def send(self, readable: Readable, part: PartRange) -> dict[str, Any]:
        """Send one part, again and again if need be, and let go of what it was spooled in."""
        try:
            return _send_part(self._upload.op, self, readable, part)
        except ObjectNotFoundException as error:
            self.begin_anew(error)
            raise
        except ObjectClerkException as error:
            if error.status == 501 and part.number in self._unsure:
                error.failure = Failure.TRANSIENT  # it has the part, and takes none twice
            raise
        finally:
            if isinstance(readable, Spool) and part.length == readable.size:
                readable.close()

    def take_back(self) -> None:
        """All that was sent was in vain: take the progress back."""
        if told := sum(body.length for body, _ in self._sent.values()):
            self._upload.op.transferred(-told, self._upload.source.size)

    def expected(self) -> dict[int, tuple[str, int]]:
        """Part number -> bare ETag and size of every part that was sent."""
        return {n: (etag, body.length) for n, (body, etag) in self._sent.items()}

    def begin_anew(self, error: ObjectNotFoundException) -> None:
        """Raise what lets a source that can be read again be sent again, if that may help.

        Some servers drop an upload after a bad part, and some people abort what looks old. It
        counts as what it was caused by.
        """
        if error.code != "NoSuchUpload":
            return
        if self._refused is not None:
            raise ObjectVerificationException(
                f"the server gave the upload up: {self._refused.message}",
                failure=Failure.INTEGRITY,
            ) from error
        raise ObjectClerkServerInternalException(
            "the server gave the upload up", failure=Failure.TRANSIENT
        ) from error

    def send_once(self, readable: Readable, part: PartRange) -> dict[str, Any]:
        """Send one part and compare the ETag that it gets."""
        upload = self._upload
        body = upload.prepare(readable, part, self._algorithms)
        try:
            answer = upload.call(
                "upload_part",
                body,
                **upload.customer_key,
                **self._multipart.where,
                PartNumber=part.number,
            )
        except ObjectClerkException as error:
            self._unsure.add(part.number)
            if isinstance(error, ObjectVerificationException):
                self._refused = error
            raise
        with upload.judging(body):
            etag = self._judge_part(part, body, answer)
        self._sent[part.number] = dataclasses.replace(body, content=b""), etag
        return {"PartNumber": part.number, "ETag": answer["ETag"], **body.checksums()}

    def _judge_part(self, part: PartRange, body: _Body, answer: Mapping[str, Any]) -> str:
        """The ETag of a part, if it allows that the part is the one that was sent."""
        etag = bare(answer.get("ETag"))
        if etag is None:
            raise ObjectVerificationException(
                f"the server gave no ETag for part {part.number}", failure=Failure.INTEGRITY
            )
        if not self._upload.verify:
            return etag
        sent = body.checksums().get(CRC64NVME.member)
        found = answer.get(CRC64NVME.member) if sent else None
        if found is not None and found != sent:
            raise ObjectVerificationException(
                f"part {part.number} was sent with CRC64NVME {sent} and stored with {found}",
                failure=Failure.INTEGRITY,
            )
        # An answer without it may be that of somebody who has dropped it on the way.
        by_md5 = found is None or MD5 in body.digests
        if by_md5 and not part_stored(body.md5().hex(), etag, answer):
            raise ObjectVerificationException(
                f"part {part.number} was sent with MD5 {body.md5().hex()} and stored as {etag}",
                failure=Failure.INTEGRITY,
            )
        return etag

    def complete_once(self, done: list[dict[str, Any]]) -> Receipt:
        """Publish the object, make sure that it is ours, and judge it."""
        upload = self._upload
        bodies = [self._sent[part["PartNumber"]][0] for part in done]
        size = sum(body.length for body in bodies)
        etags = [self._sent[part["PartNumber"]][1] for part in done]
        by_md5 = bool(upload.verify) and MD5 in self._algorithms
        expected = (
            composite([body.digests[MD5] for body in bodies]) if by_md5 else composite_of(etags)
        )
        whole = self._whole(bodies)
        try:
            answer, head = self._multipart.publish(
                done,
                tx=upload.tx,
                expected=expected,
                look=upload.head,
                **upload.customer_key,
                **upload.raw_conditions | upload.conditions.parameters(upload.connection),
                MpuObjectSize=size,
                **self._checksum_at_complete(whole),
            )
        except PreconditionFailed as error:
            raise upload.conditions.failed(error) from error
        facts: dict[str, Any] = {
            "size": size,
            "etag": head.etag,
            "version_id": version_of(answer) or head.version_id,
        }
        if not upload.verify:
            return upload.op.receipt(SWITCHED_OFF, **facts)
        checksums = self._checksums(bodies)
        if self._crc is CRC64NVME:
            given = head.answer.get(CRC64NVME.member) in checksums[CRC64NVME.member]
            upload.connection.endpoint.saw_crc64nvme(upload.bucket, given=given)
        if not by_md5:
            finding = judge_checked(
                CRC64NVME.member,
                checksums[CRC64NVME.member],
                expected,
                bare(answer.get("ETag")),
                head,
                size,
            )
            finding = finding or upload.read_back(Hashing(CRC64NVME), whole, head)
            return upload.op.receipt(finding, digests={"crc64nvme": whole.hex()}, **facts)
        layout = Layout(bodies[0].length)
        finding = (
            upload.judge(expected, head, size, checksums)
            or judge_assembled(expected, bare(answer.get("ETag")), head.etag)
            or upload.read_back(Hashing(layout=layout), digest_of(expected), head)
        )
        return upload.op.receipt(finding, digests={"md5-parts": expected}, **facts)

    def _checksums(self, bodies: list[_Body]) -> dict[str, Collection[str]]:
        """The checksums that the object may have: of the whole, or of the parts' checksums."""
        crc = self._crc
        if crc is None:
            return {}
        parts = in_header(digests_of([crc], (body.digests[crc] for body in bodies))[crc])
        whole = in_header(self._whole(bodies))
        return {crc.member: (whole, parts, f"{parts}-{len(bodies)}")}

    def _whole(self, bodies: list[_Body]) -> bytes:
        """The CRC of the whole; empty if parts have none."""
        crc = self._crc
        return crc.combine((body.digests[crc], body.length) for body in bodies) if crc else b""

    def _checksum_at_complete(self, whole: bytes) -> dict[str, str]:
        """What has the server compare the whole before it is visible, where it was seen to."""
        honoured = self._upload.connection.endpoint.full_object is Support.HONOURED
        # Beside an MD5 the object is to show what the server makes of the parts by itself.
        if not honoured or self._crc is not CRC64NVME or MD5 in self._algorithms:
            return {}
        return {CRC64NVME.member: in_header(whole), "ChecksumType": "FULL_OBJECT"}


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
