"""What the server at the other end really does, learnt by asking it."""

from __future__ import annotations

import enum
import logging
import threading
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.exceptions import (
    ObjectClerkException,
    ObjectNotFoundException,
    ObjectVerificationException,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class ChecksumSupport(enum.Enum):
    """What a server makes of an ``x-amz-checksum-crc32`` header."""

    UNKNOWN = "not asked yet"
    HONOURED = "a wrong one is rejected"
    IGNORED = "a wrong one is accepted"
    REFUSED = "the server does not take the header"


class Endpoint:
    """What is known of one server; learnt once for each clerk."""

    def __init__(self) -> None:
        self._checksums = ChecksumSupport.UNKNOWN
        self._lock = threading.Lock()

    @property
    def checksums(self) -> ChecksumSupport:
        """What is known of the server's checksum headers."""
        return self._checksums

    def learn_checksums(
        self, call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
    ) -> ChecksumSupport:
        """Ask, once, whether the server checks ``x-amz-checksum-crc32``.

        A part with a wrong checksum is offered to a multipart upload that is aborted at once, so
        nothing ever becomes visible. Acceptance alone would prove nothing: several servers take
        the header without looking at it.

        Args:
            call: makes one request without retries, as ``Connection.call`` does.
            insist: makes one with retries, to end what was begun.
            bucket: where an upload may be begun.
            key: under which key; permission to upload is needed for no other.
        """
        with self._lock:
            if self._checksums is ChecksumSupport.UNKNOWN:
                self._checksums = _ask(call, insist, bucket, key)
                log.debug("x-amz-checksum-crc32: %s", self._checksums.value)
            return self._checksums

    def report(self) -> dict[str, str]:
        """What is known, as text."""
        return {"x-amz-checksum-crc32": self._checksums.value}


def _ask(
    call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
) -> ChecksumSupport:
    where = {"Bucket": bucket, "Key": key}
    try:
        upload = call("create_multipart_upload", **where, ChecksumAlgorithm="CRC32")
    except ObjectClerkException as error:
        return ChecksumSupport.REFUSED if error.status in (400, 501) else ChecksumSupport.UNKNOWN
    where["UploadId"] = upload["UploadId"]
    try:
        call(
            "upload_part",
            **where,
            PartNumber=1,
            Body=b"right",
            ChecksumCRC32=Digests.of([b"wrong"]).checksum_crc32,
        )
    except ObjectVerificationException:
        return ChecksumSupport.HONOURED
    except ObjectClerkException as error:
        return ChecksumSupport.REFUSED if error.status in (400, 501) else ChecksumSupport.UNKNOWN
    finally:
        try:
            insist("abort_multipart_upload", **where)
        except ObjectNotFoundException:
            pass  # the server has given it up by itself
        except ObjectClerkException as error:
            log.warning("the probe's upload could not be aborted: %s", error)
    return ChecksumSupport.IGNORED
