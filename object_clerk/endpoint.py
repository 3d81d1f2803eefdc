"""What the server at the other end really does, learnt by asking it."""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    ObjectVerificationException,
)
from object_clerk.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Support(enum.Enum):
    """What a server makes of a header that states a digest of the body."""

    UNKNOWN = "not asked yet"
    HONOURED = "a wrong one is rejected"
    IGNORED = "a wrong one is accepted"
    REFUSED = "the server does not take the header"


class Endpoint:
    """What is known of one server; learnt once for each clerk.

    Attributes:
        crc32: what it makes of ``x-amz-checksum-crc32``.
        content_md5: what it makes of ``Content-MD5``.
    """

    def __init__(self) -> None:
        self.crc32 = Support.UNKNOWN
        self.content_md5 = Support.UNKNOWN
        self._lock = ForkSafeLock()

    def learn(
        self, call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
    ) -> None:
        """Ask, once, which digests of a body the server checks.

        Parts with wrong digests are offered to a multipart upload that is aborted at once, so
        nothing ever becomes visible. Acceptance alone would prove nothing: several servers take
        the headers without looking at them.

        Args:
            call: makes one request without retries, as ``Connection.call`` does.
            insist: makes one with retries, to end what was begun.
            bucket: where an upload may be begun.
            key: under which key; permission to upload is needed for no other.
        """
        with self._lock:
            if Support.UNKNOWN in (self.crc32, self.content_md5):
                self.crc32, self.content_md5 = _ask(call, insist, bucket, key)
                log.debug("%s", self.report())

    def report(self) -> dict[str, str]:
        """What is known, as text."""
        return {
            "x-amz-checksum-crc32": self.crc32.value,
            "Content-MD5": self.content_md5.value,
        }


def _ask(
    call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
) -> tuple[Support, Support]:
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    try:
        upload = call("create_multipart_upload", **where, ChecksumAlgorithm="CRC32")
    except ObjectClerkException as error:
        return _meant(error), Support.UNKNOWN
    where["UploadId"] = upload["UploadId"]
    wrong = Digests.of([b"wrong"])
    try:
        # Swift has no part beyond 1000. CRC32 comes first, since rclone drops the upload when a
        # Content-MD5 was wrong.
        return (
            _offer(call, where, 998, ChecksumCRC32=wrong.checksum_crc32),
            _offer(call, where, 999, ContentMD5=wrong.content_md5),
        )
    finally:
        try:
            insist("abort_multipart_upload", **where)
        except ObjectNotFoundException:
            pass  # the server has given it up by itself
        except ObjectClerkException as error:
            log.warning("the probe's upload could not be aborted: %s", error)


def _offer(call: Callable[..., Any], where: dict[str, Any], number: int, **digest: str) -> Support:
    try:
        call("upload_part", **where, PartNumber=number, Body=b"right", **digest)
    except ObjectClerkException as error:
        return _meant(error)
    return Support.IGNORED


def _meant(error: ObjectClerkException) -> Support:
    if isinstance(error, ObjectVerificationException):
        return Support.HONOURED
    return Support.REFUSED if error.status in (400, 501) else Support.UNKNOWN
