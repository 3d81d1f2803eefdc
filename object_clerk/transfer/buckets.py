"""Buckets: listed, made and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from object_clerk.connection import FALLBACK_REGION, Connection, request
from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkServerAuthException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
)

if TYPE_CHECKING:
    from object_clerk.retry import Operation

#: Pages taken at most; S3 has ten thousand buckets in an account, a thousand to a page.
_MOST_PAGES = 1000


def list_buckets(op: Operation, connection: Connection) -> list[dict[str, Any]]:
    """S3's own entries of the buckets that the keys may see, by name."""
    found: dict[str, dict[str, Any]] = {}
    token: str | None = None
    for _ in range(_MOST_PAGES):
        page = request(op, connection, "list_buckets", ContinuationToken=token)
        found |= {entry["Name"]: entry for entry in page.get("Buckets", ())}
        token, before = page.get("ContinuationToken"), token
        if not token or token == before:
            return sorted(found.values(), key=lambda entry: entry["Name"])
        op.restart_deadline()
    raise ObjectClerkServerInternalException("the server's list of buckets does not end")


def create_bucket(op: Operation, connection: Connection, bucket: str, *, exist_ok: bool) -> None:
    """Make a bucket."""
    if not exist_ok and _may_be_entered(op, connection, bucket):
        # Asked before, since S3's first region and others take a bucket of ours for made anew.
        raise DestinationExists("there is such a bucket already")
    region = connection.client.meta.region_name
    elsewhere = None if region == FALLBACK_REGION else {"LocationConstraint": region}
    try:
        request(op, connection, "create_bucket", Bucket=bucket, CreateBucketConfiguration=elsewhere)
    except DestinationExists as error:
        # After an answer that was lost, it is the one that we have made.
        welcome = exist_ok or error.attempts > 1
        ours = error.code == "BucketAlreadyOwnedByYou"
        # rclone has one code for all buckets, whoever owns them.
        if not (welcome and (ours or _may_be_entered(op, connection, bucket))):
            raise


def _may_be_entered(op: Operation, connection: Connection, bucket: str) -> bool:
    try:
        request(op, connection, "head_bucket", Bucket=bucket)
    except (ObjectNotFoundException, ObjectClerkServerAuthException):
        return False
    return True


def delete_bucket(op: Operation, connection: Connection, bucket: str) -> None:
    """Delete an empty bucket."""
    try:
        request(op, connection, "delete_bucket", Bucket=bucket)
    except ObjectNotFoundException as error:
        if error.attempts > 1:  # an answer was lost
            return
        raise BucketNotFoundException(
            "there is no such bucket",
            code=error.code,
            status=error.status,
            request_id=error.request_id,
        ) from error
