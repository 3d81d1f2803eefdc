"""Questions that leave no trace: parts of an upload that is aborted, keys that do not exist."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.algorithm import CRC64NVME, digests_of, in_header
from object_clerk.checksum.digest import Digests
from object_clerk.endpoint.answers import (
    Answer,
    Support,
    of_condition,
    of_digest,
    of_refusal,
    unclear,
)
from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
)
from object_clerk.names import random_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

_BODY = b"right"


def ask_digests(
    call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
) -> dict[str, Answer]:
    """What a server makes of a wrong CRC32 and of a wrong Content-MD5."""
    begin = functools.partial(_upload, call, insist, {"Bucket": bucket, "Key": key})
    right, wrong = Digests.of([_BODY]), Digests.of([b"wrong"])
    answers: dict[str, Answer] = {}
    try:
        with begin(ChecksumAlgorithm="CRC32") as offer:
            # CRC32 comes first, since rclone drops the upload when a Content-MD5 was wrong. An
            # upload that was begun with CRC32 takes no part without one (Amazon S3, MinIO).
            answers["crc32"] = offer(998, ChecksumCRC32=wrong.checksum_crc32)
            answers["content_md5"] = offer(
                999, ChecksumCRC32=right.checksum_crc32, ContentMD5=wrong.content_md5
            )
    except ObjectClerkException as error:
        answers = {"crc32": of_refusal(error), "content_md5": unclear(error)}
    if answers["crc32"].support is Support.REFUSED:
        try:
            with begin() as offer:
                answers["content_md5"] = offer(999, ContentMD5=wrong.content_md5)
        except ObjectClerkException as error:
            answers["content_md5"] = unclear(error)
    return answers


def ask_crc64nvme(
    call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str, crc32: Support
) -> Answer:
    """What a server makes of a wrong CRC64NVME; not asked where none can be computed here."""
    if crc32 is not Support.HONOURED:
        return Answer(Support.UNKNOWN, "not asked, since no CRC32 is checked")
    if not CRC64NVME.available:
        return Answer(Support.UNKNOWN, "not asked, since it takes the extra crt")
    wrong = digests_of([CRC64NVME], [b"wrong"])[CRC64NVME]
    try:
        where = {"Bucket": bucket, "Key": key}
        with _upload(call, insist, where, ChecksumAlgorithm=CRC64NVME.name) as offer:
            answer: Answer = offer(998, **{CRC64NVME.member: in_header(wrong)})
            return answer
    except ObjectClerkException as error:
        return of_refusal(error)


@contextlib.contextmanager
def _upload(
    call: Callable[..., Any], insist: Callable[..., Any], where: dict[str, Any], **parameters: str
) -> Iterator[Callable[..., Answer]]:
    """A function that offers parts to an upload, which is aborted in the end."""
    created = call("create_multipart_upload", **where, **parameters)
    if "UploadId" not in created:
        raise ObjectClerkServerInternalException(
            "the server's answer names no upload", failure=Failure.TRANSIENT
        )
    where = {**where, "UploadId": created["UploadId"]}

    def offer(number: int, **digests: str) -> Answer:
        # Swift has no part beyond 1000.
        try:
            call("upload_part", **where, PartNumber=number, Body=_BODY, **digests)
        except ObjectClerkException as error:
            return of_digest(error)
        return Answer(Support.IGNORED)

    try:
        yield offer
    finally:
        try:
            insist("abort_multipart_upload", **where)
        except ObjectNotFoundException:
            pass  # the server has given it up by itself
        except ObjectClerkException as error:
            log.warning("the probe's upload could not be aborted: %s", error)


def ask_versioning(call: Callable[..., Any], bucket: str) -> Answer:
    """Whether a bucket has versions; REFUSED where it had them and makes no more."""
    try:
        status = call("get_bucket_versioning", Bucket=bucket).get("Status")
    except ObjectClerkException as error:
        return unclear(error)
    if status is None:
        return Answer(Support.IGNORED)
    return Answer(Support.HONOURED if status == "Enabled" else Support.REFUSED)


def ask_delete(call: Callable[..., Any], bucket: str, near: str) -> Answer:
    """What a server makes of the If-Match of a DELETE of a key that begins like ``near``.

    ``*`` asks for any object, so it does not hold for a key that does not exist. Amazon S3, moto
    and MiniStack then answer 404, Swift 412; to a plain DELETE of such a key they say 204. Who
    has never looked at the header says 204 both times (Ceph 16, rclone). An ETag instead of the
    ``*`` would tell less: Swift passes it over where there is nothing to compare it with.
    """
    if ask_versioning(call, bucket).support is not Support.IGNORED:
        # Where the condition is passed over, the DELETE would leave a delete marker.
        return Answer(Support.UNKNOWN, "not asked, since the bucket has or may have versions")
    missing = {"Bucket": bucket, "Key": random_key(near, ".object-clerk-")}
    try:
        call("delete_object", **missing, IfMatch="*")
    except ObjectNotFoundException as error:
        if error.code != "NoSuchKey" or not _is_silent(call, missing):
            return unclear(error)
        return Answer(Support.HONOURED)
    except ObjectClerkException as error:
        return of_condition(error)
    return Answer(Support.IGNORED)


def _is_silent(call: Callable[..., Any], missing: dict[str, str]) -> bool:
    """Whether a DELETE without a condition of a key that is missing succeeds."""
    try:
        call("delete_object", **missing)
    except ObjectClerkException:
        return False
    return True
