"""Plain boto3 helpers with which tests prepare and clean up, independent of the library."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from . import Unavailable, live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from . import Server

REGION = "us-east-1"


def client(
    server: Server,
    *,
    attempts: int = 3,
    access_key: str | None = None,
    secret_key: str | None = None,
) -> S3Client:
    """Return a client that adds no checksums of its own, because several servers refuse them."""
    options: dict[str, Any] = {
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=access_key or server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
        region_name=REGION,
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": attempts, "mode": "standard"},
            s3={"addressing_style": "path", "payload_signing_enabled": True},
            connect_timeout=10,
            read_timeout=120,
            max_pool_connections=32,
            **options,
        ),
    )


@contextlib.contextmanager
def fresh_bucket(server: Server, s3: S3Client) -> Iterator[str]:
    """Yield an empty bucket and remove what is in it afterwards.

    It is a new one, except on a foreign endpoint where none can be created: then it is the one
    that the variable BUCKET named, provided that it is empty.

    Raises:
        Unavailable: There is no such bucket.
    """
    name = f"clerk-{uuid.uuid4().hex[:20]}"
    created = True
    try:
        s3.create_bucket(Bucket=name)
    except ClientError as error:
        if server.name != "live":
            raise
        created = False
        name = live.shared_bucket()
        if not name:
            reason = f"no bucket can be created ({error}) and BUCKET is not set"
            raise Unavailable(reason) from error
        if s3.list_objects_v2(Bucket=name, MaxKeys=1).get("Contents"):
            reason = f"no bucket can be created and BUCKET={name} is not empty"
            raise Unavailable(reason) from error
    try:
        yield name
    finally:
        # Best effort: an odd key that a server cannot delete is no failure of the test.
        with contextlib.suppress(ClientError, BotoCoreError):
            empty(s3, name)
        if created:
            with contextlib.suppress(ClientError, BotoCoreError):
                s3.delete_bucket(Bucket=name)


def empty(s3: S3Client, bucket: str) -> None:
    """Delete every object, every version and every unfinished upload of a bucket."""
    with contextlib.suppress(ClientError, BotoCoreError):
        for uploads in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for upload in uploads.get("Uploads", []):
                s3.abort_multipart_upload(
                    Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
    for objects in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in objects.get("Contents", []):
            with contextlib.suppress(ClientError, BotoCoreError):
                s3.delete_object(Bucket=bucket, Key=found["Key"])
    with contextlib.suppress(ClientError, BotoCoreError):  # some know nothing of versions
        for versions in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            listed = [(v["Key"], v["VersionId"]) for v in versions.get("Versions", [])]
            listed += [(m["Key"], m["VersionId"]) for m in versions.get("DeleteMarkers", [])]
            for key, version in listed:
                s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
