"""The ways to move one file that are compared; each runs in a process of its own."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks.common import MIB, resident_mib
from object_clerk import ObjectClerk

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client


@dataclasses.dataclass(frozen=True)
class Job:
    """One transfer to be made and measured.

    Attributes:
        way: a name in :data:`WAYS`.
        direction: ``upload`` or ``download``.
        path: the file to send, or to write.
    """

    way: str
    direction: str
    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    key: str
    path: str


def measure(job: Job) -> float:
    """Make the transfer and return by how many MiB this process has grown at its largest."""
    transfer = WAYS[job.way](job)
    baseline = resident_mib("VmRSS")
    transfer()
    return max(0.0, resident_mib("VmHWM") - baseline)


def _clerk(job: Job) -> Callable[[], object]:
    """This package, with its default settings."""
    clerk = ObjectClerk(
        access_key=job.access_key, secret_key=job.secret_key, endpoint_url=job.endpoint_url
    )
    next(clerk.list_objects(job.bucket), None)  # whatever is loaded or opened once is now
    if job.direction == "upload":
        return lambda: clerk.upload_object(job.path, job.bucket, job.key)
    return lambda: clerk.download_object(job.bucket, job.key, job.path)


def _client(job: Job) -> S3Client:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=job.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=job.access_key,
        aws_secret_access_key=job.secret_key,
        config=Config(
            # As for the clerk: several stores refuse the trailing checksums of newer releases.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.list_objects_v2(Bucket=job.bucket, MaxKeys=1)
    return client


def _boto3(job: Job) -> Callable[[], object]:
    """boto3's upload_file and download_file, with their default settings."""
    client = _client(job)
    if job.direction == "upload":
        return lambda: client.upload_file(job.path, job.bucket, job.key)
    return lambda: client.download_file(job.bucket, job.key, job.path)


def _whole(job: Job) -> Callable[[], object]:
    """The whole object as bytes, and a copy of it to send: what release 1.1.0 was seen to do."""
    client = _client(job)
    in_parts = TransferConfig(multipart_threshold=500 * MIB, multipart_chunksize=500 * MIB)

    def upload() -> None:
        data = Path(job.path).read_bytes()
        copied = io.BytesIO()
        copied.write(data)  # BytesIO(data) would share the memory
        copied.seek(0)
        client.upload_fileobj(copied, job.bucket, job.key, Config=in_parts)

    def download() -> None:
        body = client.get_object(Bucket=job.bucket, Key=job.key)["Body"]
        Path(job.path).write_bytes(body.read())

    return upload if job.direction == "upload" else download


#: A way to move a file by its name: makes everything ready, and returns what moves it.
WAYS: dict[str, Callable[[Job], Callable[[], object]]] = {
    "object-clerk": _clerk,
    "boto3": _boto3,
    "everything in memory": _whole,
}
