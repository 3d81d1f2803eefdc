"""s3fs: fsspec's file system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import s3fs

from benchmarks.performance.drivers.base import Library
from benchmarks.performance.job import REGION

if TYPE_CHECKING:
    from benchmarks.performance.job import Job

CHECKS = dict.fromkeys(["get", "copy", "move", "list", "download"], "nothing") | {
    "put": "the server checks CRC32 where botocore adds it",
    "upload": "the server checks CRC32 where botocore adds it",
}


class S3fs(Library):
    """The methods without async."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.fs: Any = s3fs.S3FileSystem(
            key=job.access_key,
            secret=job.secret_key,
            endpoint_url=job.endpoint_url,
            client_kwargs={"region_name": REGION},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def _at(self, key: str) -> str:
        return f"{self.job.bucket}/{key}"

    def version(self) -> str:
        """The release."""
        return str(s3fs.__version__)

    def put(self, key: str, data: bytes) -> object:
        """The method pipe_file."""
        return self.fs.pipe_file(self._at(key), data)

    def get(self, key: str) -> bytes:
        """The method cat_file."""
        found: bytes = self.fs.cat_file(self._at(key))
        return found

    def copy(self, source: str, target: str) -> object:
        """The method cp_file."""
        return self.fs.cp_file(self._at(source), self._at(target))

    def move(self, source: str, target: str) -> object:
        """The method mv."""
        return self.fs.mv(self._at(source), self._at(target))

    def list_keys(self, prefix: str) -> int:
        """The method find."""
        return len(self.fs.find(self._at(prefix)))

    def upload(self) -> None:
        """The method put_file."""
        self.fs.put_file(self.job.path, self._at(self.job.key))

    def download(self) -> None:
        """The method get_file."""
        self.fs.get_file(self._at(self.job.key), self.job.path)


DRIVER = S3fs
