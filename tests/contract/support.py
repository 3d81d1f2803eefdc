"""What the contract tests share: known bytes, independent digests, a record of what was sent."""

from __future__ import annotations

import functools
import hashlib
import importlib
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk

MIB = 1 << 20
THRESHOLD = 5 * MIB
"""The multipart threshold, and so the part size, of the fixture `clerk`."""
SMALL = 70_003
LARGE = THRESHOLD + 70_003
"""A size that takes two parts."""

QUICK: Mapping[str, Any] = {
    "retry_delay": 0.01,
    "retry_backoff": 1,
    "retry_jitter": (0, 0.01),
    "retry_max_delay": 0.05,
    "retry_tries": 3,
}


@functools.cache
def blob(size: int, seed: int = 0) -> bytes:
    """Return bytes that have no pattern, the same ones every time."""
    return random.Random(seed).randbytes(size)


def md5(data: bytes) -> str:
    """Return the MD5 of `data`, which is the ETag of an object stored in one piece."""
    return hashlib.md5(data).hexdigest()


def crc64nvme(data: bytes) -> bytes:
    """Return the CRC64NVME of `data`; only where awscrt is installed."""
    crt = importlib.import_module("awscrt.checksums")
    return int(crt.crc64nvme(data)).to_bytes(8)


def etag_of_parts(data: bytes, part_size: int) -> str:
    """Return the ETag of an object that was uploaded in parts of `part_size` bytes."""
    digests = [
        hashlib.md5(data[begin : begin + part_size]).digest()
        for begin in range(0, len(data), part_size)
    ]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def stored(s3: S3Client, bucket: str, key: str) -> bytes:
    """Return what is stored, as plain boto3 reads it."""
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def stored_etag(s3: S3Client, bucket: str, key: str) -> str:
    """Return the ETag of what is stored, without quotes."""
    return s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')


def keys(s3: S3Client, bucket: str) -> list[str]:
    """Return all keys of a bucket with few of them."""
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def unfinished(s3: S3Client, bucket: str) -> list[str]:
    """Return the keys of the multipart uploads that were neither completed nor aborted."""
    try:
        found = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    except s3.exceptions.NoSuchUpload:  # rclone's way to say that there are none
        return []
    return [upload["Key"] for upload in found]


def put_in_parts(s3: S3Client, bucket: str, key: str, data: bytes, part_size: int) -> None:
    """Store an object in parts of any size, as some other program would."""
    where: Any = {"Bucket": bucket, "Key": key}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    parts: Any = []
    for number, begin in enumerate(range(0, len(data), part_size), start=1):
        body = data[begin : begin + part_size]
        reply = s3.upload_part(**where, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": reply["ETag"]})
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


@dataclass(frozen=True)
class Sent:
    """A request as it left."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    thread: int


class Wire:
    """Records every request that a clerk's client sends, retries included, until `detach_all`."""

    _attached: ClassVar[list[Callable[[], None]]] = []

    def __init__(self, clerk: ObjectClerk) -> None:
        self.sent: list[Sent] = []
        hooks = clerk.client.meta.events
        # In this way the fast lane does not notice, which would leave everything to boto3.
        type(hooks).register(hooks, "before-send.s3", self._saw)
        self._attached.append(lambda: type(hooks).unregister(hooks, "before-send.s3", self._saw))
        if (lane := clerk._connection._lane) is not None:
            exchange = lane._wire.exchange
            lane._wire.exchange = functools.partial(self._exchange, exchange)  # type: ignore[method-assign]
            self._attached.append(lambda: setattr(lane._wire, "exchange", exchange))

    @classmethod
    def detach_all(cls) -> None:
        """Stop recording, since the clerk may live on."""
        while cls._attached:
            cls._attached.pop()()

    def _saw(self, request: Any, **_: Any) -> None:
        url = urlsplit(request.url)
        headers = {
            name.lower(): value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        self.sent.append(Sent(request.method, url.path, url.query, headers, threading.get_ident()))

    def _exchange(
        self, exchange: Callable[..., Any], origin: Any, method: str, target: str, headers: Any,
        *args: Any, **how: Any,
    ) -> Any:  # fmt: skip
        url = urlsplit(target)
        self.sent.append(Sent(method, url.path, url.query, dict(headers), threading.get_ident()))
        return exchange(origin, method, target, headers, *args, **how)

    def where(self, test: Callable[[Sent], bool]) -> list[Sent]:
        """Return the requests for which `test` is true."""
        return [each for each in self.sent if test(each)]

    def methods(self) -> list[str]:
        """Return the methods of all requests, in order."""
        return [each.method for each in self.sent]
