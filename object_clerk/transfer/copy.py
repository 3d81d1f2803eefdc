"""Server-side copy, proved by comparing the copy's bytes with the source's ETag.

An equal ETag after CopyObject proves nothing by itself: several servers carry the source's ETag
over without looking at the bytes. Part ETags of UploadPartCopy are computed from what was
stored, so a copy in the source's own parts proves itself. Every other copy is read back once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.etag import EtagHasher, Layout, parts_of
from object_clerk.checksum.layout import (
    PartRange,
    candidate_layouts,
    smallest_part_size_for,
    split,
    upload_part_size,
)
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
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict
from object_clerk.retry import Operation, retried
from object_clerk.transfer.bandwidth import Bandwidth
from object_clerk.transfer.multipart import MultipartUpload
from object_clerk.transfer.stream import ObjectStream, Pin, pin

if TYPE_CHECKING:
    from object_clerk.config import TransferSettings
    from object_clerk.connection import Connection

#: CopyObject takes no more (API reference of CopyObject).
LARGEST_COPY = 5 << 30

#: What HEAD tells of an object that a copy in parts has to be told again.
CARRIED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
    "StorageClass",
    "WebsiteRedirectLocation",
    "ServerSideEncryption",
    "SSEKMSKeyId",
)


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
        verify: bool,
    ) -> None:
        self.op = op
        self.connection = connection
        self.source = source
        self.target = target
        self.settings = settings
        self.verify = verify

    def run(self) -> tuple[Receipt, Pin]:
        """Copy and prove.

        Returns:
            the receipt, and the pin of the source as it was copied.

        Raises:
            ObjectClerkParameterException: source and target are the same object.
            ObjectVerificationException: the copy differs from the source. Nothing is deleted.
            ObjectChanged: the source was replaced underway.
        """
        if self.source == self.target:
            raise ObjectClerkParameterException(
                "source and target are the same object: there is nothing to do, and doing it "
                "could lose it"
            )
        source = pin(self.op, self.connection, *self.source, {})
        self.op.allow_for(source.size)
        return _copy(self.op, self, source), source

    def copy_once(self, source: Pin) -> Receipt:
        """Make the copy and compare it with the source."""
        copied: Pin | None = None
        in_parts = source.size >= self.settings.threshold_bytes or source.size > LARGEST_COPY
        if "%" in self.source[1] and source.size <= LARGEST_COPY:
            in_parts = False  # Ceph 16 decodes the key twice when it copies parts, and may crash
        if in_parts:
            try:
                copied = self._in_parts(source)
            except _PartsUnsupported:
                if source.size > LARGEST_COPY:
                    raise
                self.op.notes.append("the server cannot copy in parts; copied in one request")
                in_parts = False
        if not in_parts:
            answered = self._in_one(source)
            if answered and not self.verify:
                return self.op.receipt(SWITCHED_OFF, size=source.size, source="/".join(self.source))
        copied = copied or self.look_at_copy(source)
        finding = self._compare(source, copied, in_parts) if self.verify else SWITCHED_OFF
        return self.op.receipt(
            finding,
            size=copied.size,
            etag=copied.etag,
            version_id=copied.version_id,
            source="/".join(self.source),
        )

    def _conditions(self, source: Pin) -> dict[str, Any]:
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

    def _in_one(self, source: Pin) -> bool:
        """Copy with one request; whether the server's answer is complete."""
        bucket, key = self.target
        answer = self._call("copy_object", Bucket=bucket, Key=key, **self._conditions(source))
        self.op.transferred(source.size, source.size)
        return bool(answer.get("CopyObjectResult", {}).get("ETag"))

    # -- in parts --------------------------------------------------------------------------

    def _in_parts(self, source: Pin) -> Pin:
        bucket, key = self.target
        carried = {name: source.answer[name] for name in CARRIED if source.answer.get(name)}
        with MultipartUpload(
            self.op, self.connection, {"Bucket": bucket, "Key": key}, carried
        ) as multipart:
            tasks = (
                functools.partial(_copy_part, self.op, self, source, multipart, part)
                for part in split(source.size, self._part_size(source))
            )
            done = multipart.fill(self.settings.workers, tasks)
            return _publish(self.op, self, source, multipart, done)

    def _part_size(self, source: Pin) -> int:
        """The source's own part size if it can be told, since then the ETag proves the copy."""
        wished = upload_part_size(self.settings.part_size_bytes)
        layouts = candidate_layouts(source.etag, source.size, wished)
        known = layouts[0].part_size_bytes if layouts else None
        # Larger parts than wished change the copy's ETag, but nothing that is compared with it.
        size = known or max(wished, smallest_part_size_for(source.size))
        return min(size, LARGEST_COPY)

    def copy_part_once(
        self, source: Pin, multipart: MultipartUpload, part: PartRange
    ) -> dict[str, Any]:
        """Copy one range; its ETag is computed by the server from what it stored."""
        try:
            answer = self._call(
                "upload_part_copy",
                **multipart.where,
                **self._conditions(source),
                PartNumber=part.number,
                CopySourceRange=f"bytes={part.offset}-{part.offset + part.length - 1}",
            )
        except ObjectClerkException as error:
            if error.status in (405, 501):
                raise _PartsUnsupported(error.message) from error
            raise
        etag = answer.get("CopyPartResult", {}).get("ETag")
        if not etag:
            raise _PartsUnsupported("the server gave no ETag for a copied part")
        self.op.transferred(part.length, source.size)
        return {"PartNumber": part.number, "ETag": etag}

    # -- proof -----------------------------------------------------------------------------

    def look_at_copy(self, source: Pin) -> Pin:
        """What there is under the target's key; servers were seen to copy nothing and say 200."""
        try:
            copied = pin(self.op, self.connection, *self.target, {})
        except ObjectNotFoundException as error:
            raise ObjectClerkServerInternalException(
                "the server said that it had copied the object, but it is not there",
                failure=Failure.TRANSIENT,
            ) from error
        if copied.size != source.size:
            if pin(self.op, self.connection, *self.source, {}).etag != source.etag:
                raise _changed()
            raise ObjectVerificationException(
                f"the copy has {copied.size} bytes, the source {source.size}",
                failure=Failure.INTEGRITY,
            )
        return copied

    def _compare(self, source: Pin, copied: Pin, in_parts: bool) -> Finding:
        own = upload_part_size(self.settings.part_size_bytes)
        if in_parts and parts_of(copied.etag) and copied.etag == source.etag:
            return Finding(Verdict.CONTENT, "copied in the source's parts, with the same ETags")
        whole = Layout(None)
        layouts = candidate_layouts(source.etag, source.size, own)
        ours = self._etags(self.target, copied, [*dict.fromkeys([*layouts, whole])])
        if any(ours[layout] == (source.etag or "").lower() for layout in layouts):
            return Finding(Verdict.CONTENT, "the copy was read back and has the source's ETag")
        # The source's ETag says nothing, or nothing that we can compute: compare the bytes.
        theirs = self._etags(self.source, source, [whole])
        if theirs[whole] == ours[whole]:
            return Finding(Verdict.CONTENT, "source and copy were both read and are equal")
        raise ObjectVerificationException(
            f"the copy is not the source: MD5 {theirs[whole]} was read there and {ours[whole]} "
            "here; the source is kept",
            failure=Failure.INTEGRITY,
        )

    def _etags(
        self, where: tuple[str, str], pinned: Pin, layouts: list[Layout]
    ) -> dict[Layout, str]:
        self.op.allow_for(pinned.size)
        hasher = EtagHasher(layouts)
        bandwidth = Bandwidth(self.settings.bandwidth_bytes_per_s)
        for block in ObjectStream(
            self.op,
            self.connection,
            *where,
            block_bytes=self.settings.block_bytes,
            bandwidth=bandwidth,
            pinned=pinned,
            is_progress=False,
        ):
            hasher.update(block)
        return hasher.etags()


class _PartsUnsupported(ObjectClerkException):
    """The server cannot copy ranges."""


def _changed() -> ObjectChanged:
    return ObjectChanged("the source was replaced while it was being copied; copy it again")


@retried
def _copy(op: Operation, copy: Copy, source: Pin) -> Receipt:
    return copy.copy_once(source)


@retried
def _copy_part(
    op: Operation, copy: Copy, source: Pin, multipart: MultipartUpload, part: PartRange
) -> dict[str, Any]:
    return copy.copy_part_once(source, multipart, part)


@retried
def _publish(
    op: Operation, copy: Copy, source: Pin, multipart: MultipartUpload, parts: list[dict[str, Any]]
) -> Pin:
    multipart.publish(parts)
    return copy.look_at_copy(source)
