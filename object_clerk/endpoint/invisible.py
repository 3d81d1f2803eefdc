"""Questions that leave no trace: parts of an upload that is aborted, keys that do not exist."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.digest import Digests
from object_clerk.endpoint.answers import Answer, Support, of_condition, of_digest, unclear
from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException
from object_clerk.names import random_key

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


def ask_digests(
    call: Callable[..., Any], insist: Callable[..., Any], bucket: str, key: str
) -> tuple[Support, Support]:
    """What a server makes of a wrong CRC32 and of a wrong Content-MD5, in this order."""
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    try:
        upload = call("create_multipart_upload", **where, ChecksumAlgorithm="CRC32")
    except ObjectClerkException as error:
        return of_digest(error), Support.UNKNOWN
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
        return of_digest(error)
    return Support.IGNORED


def ask_versioning(call: Callable[..., Any], bucket: str) -> Answer:
    """Whether a bucket has versions; REFUSED where it had them and makes no more."""
    try:
        status = call("get_bucket_versioning", Bucket=bucket).get("Status")
    except ObjectClerkException as error:
        return unclear(error)
    if status is None:
        return Answer(Support.IGNORED, "off")
    return Answer(Support.HONOURED if status == "Enabled" else Support.REFUSED, status.lower())


def ask_delete(call: Callable[..., Any], bucket: str, near: str) -> Answer:
    """What a server makes of the If-Match of a DELETE of a key that begins like ``near``.

    ``*`` asks for any object, so it does not hold for a key that does not exist. Amazon S3, moto
    and MiniStack then answer 404, Swift 412; to a plain DELETE of such a key they say 204. Who
    has never looked at the header says 204 both times (Ceph 16, rclone). An ETag instead of the
    ``*`` would tell less: Swift passes it over where there is nothing to compare it with.
    """
    versioning = ask_versioning(call, bucket)
    if versioning.detail != "off":
        # The DELETE of a server that ignores the condition would leave a delete marker.
        return Answer(Support.UNKNOWN, f"not asked, versioning: {versioning.detail}")
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
