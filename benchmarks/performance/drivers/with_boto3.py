"""boto3, with its default settings unless the job has others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from benchmarks.performance.drivers.base import Library
from benchmarks.performance.job import REGION, Job

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CopySourceTypeDef

CHECKS = {
    "put": "the server checks CRC32",
    "get": "CRC32 if one is stored: here none is",
    "copy": "nothing",
    "move": "nothing",
    "list": "nothing",
    "upload": "the server checks CRC32 of parts",
    "download": "nothing in parts above 8 MiB",
}

IMPORT = """
import boto3
boto3.session.Session().client("s3", endpoint_url="http://127.0.0.1:1", region_name="us-east-1",
                               aws_access_key_id="a", aws_secret_access_key="b")
"""


class Boto3(Library):
    """The client's methods, and those of its transfer manager."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        options: dict[str, Any] = job.options
        if job.threads > 1:
            options = {"max_pool_connections": job.threads, **options}
        self.client = boto3.session.Session().client(
            "s3",
            endpoint_url=job.endpoint_url,
            region_name=REGION,
            aws_access_key_id=job.access_key,
            aws_secret_access_key=job.secret_key,
            config=Config(**options) if options else None,
        )

    def version(self) -> str:
        """The release."""
        return boto3.__version__

    def put(self, key: str, data: bytes) -> object:
        """PutObject."""
        return self.client.put_object(Bucket=self.job.bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        """GetObject."""
        return self.client.get_object(Bucket=self.job.bucket, Key=key)["Body"].read()

    def copy(self, source: str, target: str) -> object:
        """CopyObject."""
        bucket = self.job.bucket
        origin: CopySourceTypeDef = {"Bucket": bucket, "Key": source}
        return self.client.copy_object(Bucket=bucket, Key=target, CopySource=origin)

    def move(self, source: str, target: str) -> object:
        """CopyObject and DeleteObject."""
        self.copy(source, target)
        return self.client.delete_object(Bucket=self.job.bucket, Key=source)

    def list_keys(self, prefix: str) -> int:
        """The paginator of ListObjectsV2."""
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.job.bucket, Prefix=prefix)
        return sum(1 for page in found for _ in page.get("Contents", ()))

    def upload(self) -> None:
        """The method upload_file."""
        self.client.upload_file(self.job.path, self.job.bucket, self.job.key)

    def download(self) -> None:
        """The method download_file."""
        self.client.download_file(self.job.bucket, self.job.key, self.job.path)


DRIVER = Boto3
