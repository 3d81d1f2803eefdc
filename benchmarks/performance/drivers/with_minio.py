"""minio-py. It has no move: a copy and a deletion."""

from __future__ import annotations

import importlib.metadata
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from minio import Minio
from minio.commonconfig import CopySource

from benchmarks.performance.drivers.base import Library
from benchmarks.performance.job import REGION

if TYPE_CHECKING:
    from benchmarks.performance.job import Job

CHECKS = dict.fromkeys(["get", "copy", "move", "list", "download"], "nothing") | {
    "put": "the server checks SHA-256 or MD5 where the signature has it",
    "upload": "the server checks SHA-256 or MD5 where the signature has it",
}


class MinioPy(Library):
    """The client's methods."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        url = urlsplit(job.endpoint_url)
        self.client: Any = Minio(
            url.netloc,
            access_key=job.access_key,
            secret_key=job.secret_key,
            secure=url.scheme == "https",
            region=REGION,
        )

    def version(self) -> str:
        """The release."""
        return importlib.metadata.version("minio")

    def put(self, key: str, data: bytes) -> object:
        """The method put_object."""
        return self.client.put_object(self.job.bucket, key, io.BytesIO(data), len(data))

    def get(self, key: str) -> bytes:
        """The method get_object."""
        answer = self.client.get_object(self.job.bucket, key)
        try:
            found: bytes = answer.read()
            return found
        finally:
            answer.close()
            answer.release_conn()

    def copy(self, source: str, target: str) -> object:
        """The method copy_object."""
        bucket = self.job.bucket
        return self.client.copy_object(bucket, target, CopySource(bucket, source))

    def move(self, source: str, target: str) -> object:
        """The methods copy_object and remove_object."""
        self.copy(source, target)
        return self.client.remove_object(self.job.bucket, source)

    def list_keys(self, prefix: str) -> int:
        """The method list_objects."""
        found = self.client.list_objects(self.job.bucket, prefix=prefix, recursive=True)
        return sum(1 for _ in found)

    def upload(self) -> None:
        """The method fput_object."""
        self.client.fput_object(self.job.bucket, self.job.key, self.job.path)

    def download(self) -> None:
        """The method fget_object."""
        self.client.fget_object(self.job.bucket, self.job.key, self.job.path)


DRIVER = MinioPy
