"""Server-side copy, proved by comparing the copy's bytes with the source's ETag.

An equal ETag after CopyObject proves nothing by itself: several servers carry the source's ETag
over without looking at the bytes. Part ETags of UploadPartCopy are computed from what was
stored, so a copy in the source's own parts proves itself. So does one whose server was seen to
compute the ETag of a copy. Every other copy is read back once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from object_clerk.checksum.digest import Digests, md5_of
from object_clerk.checksum.etag import bare, composite_of, parts_of
from object_clerk.checksum.evidence import (
    choose,
    etag_may_differ,
    evidence_of,
    judge_read,
    require_evidence,
)
from object_clerk.checksum.hasher import Hasher, Hashing, Layout
from object_clerk.checksum.layout import (
    PartRange,
    smallest_part_size_for,
    split,
    upload_part_size,
)
from object_clerk.checksum.record import Record, moved_to, new_tx, without_record
from object_clerk.connection import request
from object_clerk.endpoint import Support
from object_clerk.exceptions import (
    Failure,
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    ObjectVerificationException,
    PreconditionFailed,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict, Verification
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.delete import take_back
from object_clerk.transfer.download import Download, read_bytes
from object_clerk.transfer.multipart import MultipartUpload
from object_clerk.transfer.stream import ObjectStream, Pin, layout_told, pin, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection
    from object_clerk.transfer.conditions import Conditions

#: CopyObject takes no more (API reference of CopyObject).
LARGEST_COPY = 5 << 30

#: A source that was uploaded whole is copied as a single part up to this size.
LARGEST_WHOLE_PART = 1 << 30

#: A source that has to go through here is held in memory.
LARGEST_IN_MEMORY = 64 << 20

#: What HEAD tells of an object that CopyObject does not carry over by itself.
NOT_COPIED = ("StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption", "SSEKMSKeyId")

#: What a copy in parts has to be told again.
CARRIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    *NOT_COPIED,
)

#: Copies begin without these; whoever wants them has to set them anew.
LOCKS = ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")


class _Trust(enum.Enum):
    """Whether the parts of a copy are the source's own: they are known, guessed, or others."""

    FIRM = enum.auto()
    GUESS = enum.auto()
    NONE = enum.auto()


class Copy:
    """One copy: from where, to where, and how."""

    def __init__(
        self,
        op: Operation,
        connection: Connection,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        settings: TransferSettings,
        verify: Verification,
        conditions: Conditions,
    ) -> None:
        self.op = op
        self.connection = connection
        self.source = source
        self.target = target
        self.settings = settings
        self.verify = verify
        self.conditions = conditions
        self.tx = new_tx()
        self.copied: Pin | None = None
        self._attempted = False
        self._guess_failed = False
        self._opaque = False
        self._empty = False
        self._carried_tags: dict[str, str] = {}
        self._wrong: list[Pin] = []
        self._is_visible = False
        self._told: list[int] = []

    def run(self) -> tuple[Receipt, Pin]:
        """Copy and prove.

        Returns:
            the receipt, and the pin of the source as it was copied.
        """
        if self.source == self.target:
            raise ObjectClerkParameterException(
                "source and target are the same object: there is nothing to do, and doing it "
                "could lose it"
            )
        try:
            source = pin(self.op, self.connection, *self.source, {})
        except ObjectNotFoundException as error:
            error.message = f"there is no source {'/'.join(self.source)}"
            raise
        if moved := moved_to(source.answer):
            raise AlreadyMoved(source, moved)
        self.op.allow_for(source.size)
        self.conditions.look(self.op, self.connection, *self.target)
        try:
            return _copy(self.op, self, source), source
        except ObjectVerificationException as error:
            if self._is_visible and not self._wrong:
                error.message += "; the wrong copy is still there, since it may be another writer's"
            for wrong in self._wrong:
                error.message += take_back(self.op, self.connection, *self.target, wrong, {})
            raise

    def copy_once(self, source: Pin) -> Receipt:
        """Make the copy and compare it with the source."""
        how = self._conditional if self.conditions else self._plain
        try:
            self.copied, finding = how(source)
        except BaseException:
            self._take_back()
            raise
        return self.op.receipt(
            finding,
            size=self.copied.size,
            etag=self.copied.etag,
            version_id=self.copied.version_id,
            source="/".join(self.source),
        )

    def _plain(self, source: Pin) -> tuple[Pin, Finding]:
        in_parts = source.size >= self.settings.threshold_bytes or source.size > LARGEST_COPY
        # Ceph 16 decodes the key twice when it copies parts, and may crash.
        avoided = "%" in self.source[1] or not self.connection.endpoint.copies_parts
        if avoided and source.size <= LARGEST_COPY:
            in_parts = False
        if in_parts:
            try:
                return self._in_parts(source)
            except _PartsUnsupported:
                if source.size > LARGEST_COPY:
                    raise
                self._take_back()
                self.op.notes.append("the server cannot copy in parts; copied in one request")
        return self._in_one(source)

    def _conditional(self, source: Pin) -> tuple[Pin, Finding]:
        """Copy only if the target is what it has to be.

        Hardly a store honours conditions of CopyObject. Many do when parts are put together, and
        some only when an object is uploaded.
        """
        asked = functools.partial(
            self.conditions.honoured_by, self.op, self.connection, self.target[0]
        )
        try:
            if source.size and asked("complete"):
                with contextlib.suppress(_PartsUnsupported):
                    return self._in_parts(source)
            if source.size <= LARGEST_IN_MEMORY and asked("put"):
                return self._by_hand(source)
        except PreconditionFailed as error:
            raise self.conditions.failed(error) from error
        raise self.conditions.unsupported()

    def _progress(self, size: int, total: int) -> None:
        self._told.append(size)  # which threads may do at once
        self.op.transferred(size, total)

    def _take_back(self) -> None:
        """What was copied was in vain: take the progress back."""
        if told := sum(self._told):
            self.op.transferred(-told, None)
        self._told.clear()

    def _source(self, source: Pin) -> dict[str, Any]:
        bucket, key = self.source
        origin: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if source.version_id:
            origin["VersionId"] = source.version_id
        match = f'"{source.etag}"' if source.etag else None
        return {"CopySource": origin, "CopySourceIfMatch": match}

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        try:
            return self.connection.call(self.op, method, **parameters)
        except PreconditionFailed as error:
            raise _changed() from error

    # -- in one request --------------------------------------------------------------------

    def _in_one(self, source: Pin) -> tuple[Pin, Finding]:
        bucket, key = self.target
        kept = {name: source.answer.get(name) for name in NOT_COPIED}
        answer = self._call("copy_object", Bucket=bucket, Key=key, **self._source(source), **kept)
        self._is_visible = True
        self._progress(source.size, source.size)
        etag = bare(answer.get("CopyObjectResult", {}).get("ETag"))
        told = Pin(etag, source.size, version_of(answer), answer)
        if etag and not self.verify:
            return told, SWITCHED_OFF
        if finding := self._proved_by_etag(source, told):
            return told, finding
        try:
            copied = self.look_at_copy(source, version_of(answer))
            if version_of(answer):  # otherwise it is not surely ours
                self._wrong.append(copied)
            # An answer that says nothing has to be proved whatever was asked for: there may be
            # an old object that just looks like the copy.
            finding = self._compare(source, copied, doubtful=not etag)
        except ObjectVerificationException as error:
            if etag:
                raise
            raise ObjectClerkServerInternalException(
                f"the server's answer to the copy was incomplete, and it is not there: {error}",
                failure=Failure.TRANSIENT,
            ) from error
        self._wrong.clear()
        return copied, finding if self.verify else SWITCHED_OFF

    def _proved_by_etag(self, source: Pin, copied: Pin) -> Finding | None:
        """The proof by an equal ETag, where this server was seen to compute it for a copy.

        It is as good in the answer to CopyObject as that of PutObject is, and in that of a HEAD.
        """
        recomputed = self.connection.endpoint.copy_etag is Support.HONOURED
        if recomputed and copied.etag == source.etag and _both_whole(source, copied):
            return Finding(Verdict.CONTENT, "ETag, which this server computes anew for a copy")
        return None

    def _compare(self, source: Pin, copied: Pin, *, doubtful: bool = False) -> Finding:
        """Prove a copy that was made in one request, or whose parts prove nothing."""
        if proof := self._proved_by_etag(source, copied):
            return proof
        doubtful = doubtful or (copied.etag != source.etag and _both_whole(source, copied))
        if self.verify is not Verification.STRICT and not doubtful:
            return Finding(Verdict.IDENTITY, "the sizes are equal; the copy was not read back")
        evidence = list(evidence_of(source, self.settings.part_size_bytes))
        ways = [e.way for e in choose(evidence, suspicious=True)]
        ours = self._hashed(self.target, copied, dict.fromkeys([*ways, Hashing()]))
        with contextlib.suppress(ObjectVerificationException):
            require_evidence(source, evidence)
            found = judge_read(evidence, source.size, ours)
            return Finding(
                found.verdict, f"the copy was read back and has the source's {found.basis}"
            )
        # The source's digests say nothing, or nothing that we can compute: compare the bytes.
        theirs = self._hashed(self.source, source, [Hashing()])
        here, there = ours.digests()[Hashing()], theirs.digests()[Hashing()]
        if here == there:
            return Finding(Verdict.CONTENT, "source and copy were both read and are equal")
        raise ObjectVerificationException(
            f"the copy is not the source: MD5 {there.hex()} was read there and {here.hex()} "
            "here; the source is kept",
            failure=Failure.INTEGRITY,
        )

    def _hashed(self, where: tuple[str, str], pinned: Pin, ways: Iterable[Hashing]) -> Hasher:
        self.op.allow_for(pinned.size)
        hasher = Hasher(ways)
        for block in self._stream(where, pinned, None):
            hasher.update(block)
        return hasher

    def _stream(self, where: tuple[str, str], pinned: Pin, part: PartRange | None) -> ObjectStream:
        return ObjectStream(
            self.op,
            self.connection,
            *where,
            block_bytes=self.settings.block_bytes,
            bandwidth=Bandwidth(self.settings.bandwidth_bytes_per_s),
            pinned=pinned,
            begin=part.offset if part else 0,
            end=part.offset + part.length if part else None,
            is_progress=False,
        )

    # -- in parts --------------------------------------------------------------------------

    def _in_parts(self, source: Pin) -> tuple[Pin, Finding]:
        """Copy in parts and prove them before they become an object.

        The server computes the ETag of every part from what it has stored. In the source's own
        parts they add up to the source's ETag; otherwise each is compared with what is read here.
        """
        bucket, key = self.target
        layout, trust = self._layout(source)
        opaque = etag_may_differ(source.answer)
        reads = self.verify is Verification.STRICT and trust is _Trust.NONE and not opaque
        with MultipartUpload(
            self.op,
            self.connection,
            {"Bucket": bucket, "Key": key},
            self._carried(source, layout.part_size_bytes),
        ) as multipart:
            tasks = (
                functools.partial(_copy_part, self.op, self, source, multipart, part, reads)
                for part in split(source.size, layout.part_size_bytes or source.size)
            )
            done = multipart.fill(self.settings.workers, tasks)
            etags = [bare(part["ETag"]) for part in done]
            expected = composite_of(etags)
            add_up = source.etag in ((etags[0], expected) if len(etags) == 1 else (expected,))
            if self.verify and trust is not _Trust.NONE and expected and not add_up:
                self._guess_failed = trust is _Trust.GUESS
                raise ObjectVerificationException(
                    f"the copied parts have the ETag {expected}, the source {source.etag}; "
                    "nothing was made of them",
                    failure=Failure.INTEGRITY,
                )
            if not (add_up or reads) and self._now(source).etag != source.etag:
                raise _changed()
            copied = _publish(self.op, self, source, multipart, done, expected)
        self._keep_tags()
        if not self.verify:
            return copied, SWITCHED_OFF
        if copied.etag == expected and (add_up or (reads and not self._opaque)):
            how = "in the source's parts" if add_up else "in parts, with the source read beside it"
            return copied, Finding(Verdict.CONTENT, f"copied {how}, with the same ETags")
        return copied, self._compare(source, copied)

    def _layout(self, source: Pin) -> tuple[Layout, _Trust]:
        """The parts to copy in, and whether they are those of the source.

        An object that was uploaded whole has the ETag of a single part that holds all of it.
        """
        wished = upload_part_size(self.settings.part_size_bytes)
        if not etag_may_differ(source.answer) and not self._guess_failed:
            if parts_of(source.etag) == 0 and source.size <= LARGEST_WHOLE_PART:
                return Layout(source.size), _Trust.FIRM
            found = [e for e in evidence_of(source, wished) if e.source == "ETag"]
            if parts_of(source.etag) and not (found and found[0].firm):
                known = layout_told(self.op, self.connection, *self.source, source)
                found = [e for e in evidence_of(source, wished, known) if e.source == "ETag"]
            for e in found[:1]:
                size = e.way.layout.part_size_bytes
                if size and size <= LARGEST_COPY:
                    return e.way.layout, _Trust.FIRM if e.firm else _Trust.GUESS
        # Larger parts than wished change the copy's ETag, but nothing that is compared with it.
        size = max(wished, smallest_part_size_for(source.size))
        return Layout(min(size, LARGEST_COPY)), _Trust.NONE

    def _carried(self, source: Pin, part_size: int | None) -> dict[str, Any]:
        """What a copy in parts has to be told, since the server carries nothing over by itself."""
        carried = {name: source.answer[name] for name in CARRIED if source.answer.get(name)}
        if lock := [name for name in LOCKS if source.answer.get(name)]:
            self.op.notes.append(f"not carried over: {', '.join(lock)}")
        self._carried_tags = self._tags(source)
        if self._carried_tags:
            carried["Tagging"] = urlencode(self._carried_tags)
        return carried | {"Metadata": self._metadata(source, part_size)}

    def _metadata(self, source: Pin, part_size: int | None) -> dict[str, str]:
        """The source's metadata; its record, if it has one, is made anew for the copy.

        A source without one gets one only where the ETags will not tell whose copy it is.
        """
        metadata = source.answer.get("Metadata") or {}
        record = Record.of(source.answer)
        opaque = etag_may_differ(source.answer) or parts_of(source.etag) is None
        if record.tx is None and not opaque and not self.conditions:
            return metadata
        if not self.connection.config.metadata_record:
            return without_record(metadata)
        made = dataclasses.replace(record, tx=self.tx, size=source.size, part_size=part_size)
        return without_record(metadata) | made.metadata()

    def _keep_tags(self) -> None:
        """Set the tags again if the upload forgot them, as those of Ceph and MiniStack do."""
        bucket, key = self.target
        where, tags = {"Bucket": bucket, "Key": key}, self._carried_tags
        if not tags:
            return
        try:
            answer = request(self.op, self.connection, "get_object_tagging", **where)
            if {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())} != tags:
                pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
                tagging = {"TagSet": pairs}
                request(self.op, self.connection, "put_object_tagging", **where, Tagging=tagging)
        except ObjectClerkException as error:
            self.op.notes.append(f"the tags were not carried over: {error.message}")

    def _tags(self, source: Pin) -> dict[str, str]:
        """The source's tags, read before anything is copied."""
        bucket, key = self.source
        try:
            answer = self.connection.call(
                self.op,
                "get_object_tagging",
                Bucket=bucket,
                Key=key,
                VersionId=source.version_id,
            )
        except ObjectClerkException as error:
            headers = source.answer["ResponseMetadata"]["HTTPHeaders"]  # boto3 1.36 drops this one
            if headers.get("x-amz-tagging-count", "0") != "0":
                raise  # there are some, and they would be lost
            if error.status not in (404, 405, 501):
                self.op.notes.append(f"tags, if any, were not carried over: {error.message}")
            return {}
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}

    def copy_part_once(
        self, source: Pin, multipart: MultipartUpload, part: PartRange, reads: bool
    ) -> dict[str, Any]:
        """Copy one range; its ETag is computed by the server from what it stored."""
        try:
            answer = self._call(
                "upload_part_copy",
                **multipart.where,
                **self._source(source),
                PartNumber=part.number,
                CopySourceRange=f"bytes={part.offset}-{part.offset + part.length - 1}",
            )
        except ObjectClerkException as error:
            if error.status in (405, 501):
                raise _PartsUnsupported(error.message) from error
            raise
        empty, self._empty = self._empty, not answer.get("CopyPartResult")
        if self._empty and not empty:  # it may pass, but rclone never answers anything else
            raise ObjectClerkServerInternalException(
                "the server's answer to the copy of a part was empty", failure=Failure.TRANSIENT
            )
        etag = answer.get("CopyPartResult", {}).get("ETag")
        if not etag:
            self.connection.endpoint.copies_parts = False
            raise _PartsUnsupported("the server gave no ETag for a copied part")
        if parts_of(bare(etag)) != 0 or etag_may_differ(answer):
            self._opaque = True  # it is no MD5, whatever it looks like
        elif reads:
            self.op.allow_for(part.length)
            digest = md5_of(self._stream(self.source, source, part)).hex()
            if digest != bare(etag):
                raise ObjectVerificationException(
                    f"part {part.number} of the source has the MD5 {digest}, its copy {bare(etag)}",
                    failure=Failure.INTEGRITY,
                )
        self._progress(part.length, source.size)
        return {"PartNumber": part.number, "ETag": etag}

    def publish_once(
        self,
        source: Pin,
        multipart: MultipartUpload,
        parts: list[dict[str, Any]],
        expected: str,
    ) -> Pin:
        """Make the copy of its parts."""
        _, copied = multipart.publish(
            parts,
            tx=self.tx,
            expected=expected,
            look=self.pin_of_copy,
            **self.conditions.parameters(self.connection),
            MpuObjectSize=source.size,
        )
        self._check_size(source, copied)
        return copied

    # -- by hand ---------------------------------------------------------------------------

    def _by_hand(self, source: Pin) -> tuple[Pin, Finding]:
        """Read a small source, and upload it with the condition."""
        download = Download(
            self.op,
            self.connection,
            *self.source,
            settings=self.settings,
            own_part_size=self.settings.part_size_bytes,
            verify=self.verify,
            parameters={"VersionId": source.version_id},
        )
        data, read = read_bytes(download)
        self._told.append(source.size)
        if read.etag != source.etag:
            raise _changed()
        digests, (bucket, key) = Digests.of([data]), self.target
        again, self._attempted = self._attempted, True
        try:
            self.connection.call(
                self.op,
                "put_object",
                Bucket=bucket,
                Key=key,
                Body=data,
                ContentMD5=digests.content_md5,
                **self._carried(source, None),
                **self.conditions.parameters(self.connection),
            )
        except PreconditionFailed:
            if not again or Record.of(self.pin_of_copy(None).answer).tx != self.tx:
                raise
        copied = self.look_at_copy(source, None)
        if self.verify and copied.etag != digests.md5.hex():
            return copied, self._compare(source, copied)
        return copied, Finding(read.verdict, f"read by {read.basis}, and uploaded")

    # -- proof -----------------------------------------------------------------------------

    def pin_of_copy(self, version_id: str | None) -> Pin:
        """What there is under the target's key."""
        return pin(self.op, self.connection, *self.target, {"VersionId": version_id})

    def _now(self, source: Pin) -> Pin:
        """What there is under the source's key now, in the version that is copied."""
        return pin(self.op, self.connection, *self.source, {"VersionId": source.version_id})

    def look_at_copy(self, source: Pin, version_id: str | None) -> Pin:
        """What there is under the target's key; servers were seen to copy nothing and say 200."""
        try:
            copied = self.pin_of_copy(version_id)
        except ObjectNotFoundException as error:
            raise ObjectClerkServerInternalException(
                "the server said that it had copied the object, but it is not there",
                failure=Failure.TRANSIENT,
            ) from error
        self._check_size(source, copied)
        return copied

    def _check_size(self, source: Pin, copied: Pin) -> None:
        if copied.size != source.size:
            if self._now(source).etag != source.etag:
                raise _changed()
            raise ObjectVerificationException(
                f"the copy has {copied.size} bytes, the source {source.size}",
                failure=Failure.INTEGRITY,
            )


class AlreadyMoved(ObjectNotFoundException):
    """What there is under the source's key is the tombstone of an earlier move."""

    def __init__(self, tombstone: Pin, target: str) -> None:
        super().__init__(f"it was moved to {target}, and only a tombstone is left of it")
        self.tombstone = tombstone
        self.target = target


class _PartsUnsupported(ObjectClerkException):
    """The server cannot copy ranges."""


def _both_whole(source: Pin, copied: Pin) -> bool:
    """Whether both ETags are the MD5 of all bytes."""
    opaque = etag_may_differ(source.answer) or etag_may_differ(copied.answer)
    return not opaque and parts_of(source.etag) == parts_of(copied.etag) == 0


def _changed() -> ObjectChanged:
    return ObjectChanged("the source was replaced while it was being copied; copy it again")


@retried
def _copy(op: Operation, copy: Copy, source: Pin) -> Receipt:
    return copy.copy_once(source)


@retried
def _copy_part(
    op: Operation,
    copy: Copy,
    source: Pin,
    multipart: MultipartUpload,
    part: PartRange,
    reads: bool,
) -> dict[str, Any]:
    return copy.copy_part_once(source, multipart, part, reads)


@retried
def _publish(
    op: Operation,
    copy: Copy,
    source: Pin,
    multipart: MultipartUpload,
    parts: list[dict[str, Any]],
    expected: str,
) -> Pin:
    return copy.publish_once(source, multipart, parts, expected)
