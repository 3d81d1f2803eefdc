"""object-clerk in strict mode, which is its default."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import object_clerk
from benchmarks.performance.drivers.base import Library
from benchmarks.performance.job import WARM

if TYPE_CHECKING:
    from benchmarks.performance.job import Job

#: The smallest part that S3 takes.
PART_BYTES = 5 << 20

CHECKS = {
    "put": "the ETag of what was stored is the MD5 of what was sent",
    "get": "the bytes have the MD5 in the ETag",
    "copy": "the ETag of the copy where the server computes it anew; else the copy is read back",
    "move": "as for a copy; then the source is deleted if it is still what was copied",
    "list": "nothing: there is nothing to compare with",
    "upload": "every part, the server's list of parts, and the object",
    "download": "all bytes",
}

IMPORT = """
from object_clerk import ObjectClerk
ObjectClerk(endpoint_url="http://127.0.0.1:1", access_key="a", secret_key="b")
"""


class Clerk(Library):
    """The verbs of ObjectClerk."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.receipts: list[Any] = []
        options = dict(job.options)
        if job.threads > 1:
            pool = {"max_pool_connections": job.threads}
            options["client_config"] = {**pool, **options.get("client_config", {})}
        known = inspect.signature(object_clerk.ObjectClerk.__init__).parameters
        if missing := options.keys() - known.keys():
            raise ImportError(f"this release has no {', '.join(sorted(missing))}")
        self.settings: dict[str, Any] = {
            "endpoint_url": job.endpoint_url,
            "access_key": job.access_key,
            "secret_key": job.secret_key,
            **options,
        }
        self.clerk = object_clerk.ObjectClerk(**self.settings)

    def version(self) -> str:
        """The release."""
        return object_clerk.__version__

    def warm_up(self) -> None:
        """Ask also, as a user would once, whether the ETag of a copy may be relied upon."""
        if self.job.verb in ("copy", "move"):
            self.clerk.examine_endpoint(self.job.bucket)
        if self.job.verb == "upload":
            # The first upload in parts shows what the server gives back: not that is measured.
            small = {"transfer_config": {"multipart_threshold": PART_BYTES}}
            with object_clerk.ObjectClerk(**self.settings | small) as first:
                first.upload_object(bytes(PART_BYTES), self.job.bucket, f"{WARM}part")
                given = getattr(first.endpoint, "gives_crc64nvme", None)
            self.clerk.endpoint.gives_crc64nvme = given
        super().warm_up()

    def put(self, key: str, data: bytes) -> None:
        """The verb upload_object."""
        self._kept(self.clerk.upload_object(data, self.job.bucket, key))

    def get(self, key: str) -> bytes:
        """The verb get_object."""
        return self.clerk.get_object(self.job.bucket, key)

    def copy(self, source: str, target: str) -> None:
        """The verb copy_object."""
        bucket = self.job.bucket
        self._kept(self.clerk.copy_object(bucket, source, bucket, target))

    def move(self, source: str, target: str) -> None:
        """The verb move_object."""
        bucket = self.job.bucket
        self._kept(self.clerk.move_object(bucket, source, bucket, target))

    def list_keys(self, prefix: str) -> int:
        """The verb list_objects."""
        return sum(1 for _ in self.clerk.list_objects(self.job.bucket, prefix))

    def upload(self) -> None:
        """The verb upload_object, of a file."""
        self._kept(self.clerk.upload_object(self.job.path, self.job.bucket, self.job.key))

    def download(self) -> None:
        """The verb download_object."""
        self._kept(self.clerk.download_object(self.job.bucket, self.job.key, self.job.path))

    def said(self) -> str:
        """Verdict and basis of the last receipt."""
        if self.job.verb == "get":  # its receipts go to a listener, which is not measured
            with object_clerk.ObjectClerk(**self.settings, on_receipt=self._kept) as clerk:
                clerk.get_object(self.job.bucket, f"{self.job.prefix}000000")
        return ", ".join(f"{each.verdict.name}: {each.basis}" for each in self.receipts)

    def _kept(self, receipt: Any) -> None:
        self.receipts = [receipt]


DRIVER = Clerk
