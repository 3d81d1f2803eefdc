"""obstore: the Rust crate object_store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from benchmarks.performance.drivers.base import Library
from benchmarks.performance.job import MIB, REGION

if TYPE_CHECKING:
    from benchmarks.performance.job import Job

CHECKS = dict.fromkeys(["put", "get", "copy", "move", "list", "upload", "download"], "nothing")


class Obstore(Library):
    """Its functions without async."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.store: Any = S3Store(
            job.bucket,
            endpoint=job.endpoint_url,
            access_key_id=job.access_key,
            secret_access_key=job.secret_key,
            region=REGION,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def version(self) -> str:
        """The release."""
        return str(obstore.__version__)

    def put(self, key: str, data: bytes) -> object:
        """The function put."""
        return obstore.put(self.store, key, data, use_multipart=False)

    def get(self, key: str) -> bytes:
        """The function get; the bytes are not copied into an object of Python."""
        found: bytes = obstore.get(self.store, key).bytes()
        return found

    def copy(self, source: str, target: str) -> object:
        """The function copy."""
        return obstore.copy(self.store, source, target)

    def move(self, source: str, target: str) -> object:
        """The function rename."""
        return obstore.rename(self.store, source, target)

    def list_keys(self, prefix: str) -> int:
        """The function list."""
        return sum(len(page) for page in obstore.list(self.store, prefix=prefix or None))

    def upload(self) -> None:
        """The function put, of a file."""
        obstore.put(self.store, self.job.key, Path(self.job.path))

    def download(self) -> None:
        """It writes no files, so its stream is written here."""
        with Path(self.job.path).open("wb") as file:
            for block in obstore.get(self.store, self.job.key).stream(min_chunk_size=MIB):
                file.write(block)


DRIVER = Obstore
