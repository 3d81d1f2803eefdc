"""A clerk behind a fault proxy in front of a real server, and ways to look behind its back."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

from object_clerk import ObjectClerk, Receipt
from object_clerk.endpoint import Support
from object_clerk.events import Event, Retrying
from object_clerk.retry import RetryBudget
from object_clerk.testing import Action, Drop, Exchange, Fault, FaultProxy, Reply
from tests.conftest import chosen_servers
from tests.servers import arrange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from types_boto3_s3 import S3Client

    from object_clerk.testing import Request, Turn
    from tests.servers import Server, Traits

MIB = 1 << 20

#: The smallest part that S3 takes; objects of at least this size are moved in parts here.
PART = 5 * MIB

#: Short waits: these tests are about what is done, not about how long it takes.
QUICK: dict[str, Any] = {
    "retry_delay": 0.01,
    "retry_backoff": 1,
    "retry_jitter": 0,
    "retry_max_delay": 0.02,
    "retry_tries": 4,
    "transfer_config": {
        "multipart_threshold": PART,
        "multipart_chunksize": PART,
        "max_concurrency": 2,
    },
}

QUICK_CHECKSUMS = json.dumps(
    {"retry_delay": 0.01, "retry_jitter": 0, "retry_max_delay": 0.02, "retry_tries": 3}
)


def content(size: int, seed: str = "") -> bytes:
    """Bytes that look random, are the same every time, and differ between seeds."""
    return hashlib.shake_128(f"{seed}:{size}".encode()).digest(size)


@dataclasses.dataclass(frozen=True)
class Scripted(Action):
    """Answers every request it is used on with what a function makes of it."""

    answer: Callable[[Request], Reply | Drop | None]

    def before(self, turn: Turn) -> Reply | Drop | None:
        return self.answer(turn.request)


def scripted(answer: Callable[[Request], Reply | Drop | None], **match: Any) -> Fault:
    """A fault that answers in place of the server; None lets the request through."""
    return Fault(**{"name": "scripted", **match}, action=Scripted(answer))


class Stage:
    """One clerk, its proxy and server, and a bucket."""

    def __init__(self, server: Server, s3: S3Client, bucket: str, proxy: FaultProxy) -> None:
        self.server = server
        self.s3 = s3
        self.bucket = bucket
        self.proxy = proxy
        self.events: list[Event] = []
        self.receipts: list[Receipt] = []
        self._clerks: list[ObjectClerk] = []
        self.clerk = self.new_clerk()

    def clear(self) -> None:
        """Make the stage as good as new for the next test."""
        for clerk in self._clerks[1:]:
            clerk.close()
        del self._clerks[1:]
        self.proxy.clear()
        self.proxy.clear_log()
        self.events.clear()
        self.receipts.clear()
        for upload in self.uploads():
            where = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            with contextlib.suppress(ClientError):
                self.s3.abort_multipart_upload(Bucket=self.bucket, **where)
        for entry in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            self.s3.delete_object(Bucket=self.bucket, Key=entry["Key"])

    @property
    def traits(self) -> Traits:
        return self.server.traits

    def new_clerk(self, **arguments: Any) -> ObjectClerk:
        """Another clerk that goes through the proxy; unlike `clerk` it has learnt nothing yet."""
        given: dict[str, Any] = {
            "endpoint_url": self.proxy.endpoint_url,
            "access_key": self.server.access_key,
            "secret_key": self.server.secret_key,
            "on_event": self.events.append,
            "on_receipt": self.receipts.append,
            **QUICK,
        }
        clerk = ObjectClerk(**{**given, **arguments})
        self._clerks.append(clerk)
        return clerk

    def close(self) -> None:
        for clerk in self._clerks:
            clerk.close()

    def learn(self, clerk: ObjectClerk | None = None) -> None:
        """Let the clerk find out about checksums, so that its question is not in the log."""
        clerk = clerk or self.clerk
        if clerk.endpoint.crc32 is not Support.UNKNOWN:
            return
        clerk.upload_object(content(PART), self.bucket, "learning")
        clerk.move_object(self.bucket, "learning", self.bucket, "learnt")
        self.s3.delete_object(Bucket=self.bucket, Key="learnt")
        self.proxy.clear_log()
        self.events.clear()
        self.receipts.clear()

    # -- behind the clerk's back -----------------------------------------------------------

    def put(self, key: str, data: bytes) -> bytes:
        """Store an object with one request of plain boto3."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        return data

    def put_parts(self, key: str, *parts: bytes) -> bytes:
        """Store an object with a multipart upload of plain boto3."""
        where: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        where["UploadId"] = self.s3.create_multipart_upload(**where)["UploadId"]
        done: list[Any] = []
        for number, part in enumerate(parts, 1):
            answer = self.s3.upload_part(**where, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        self.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
        return b"".join(parts)

    def stored(self, key: str) -> bytes | None:
        """What the server holds, None if there is no such object."""
        try:
            return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def uploads(self) -> list[Any]:
        """Multipart uploads that were begun and neither completed nor aborted."""
        try:
            return list(self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))
        except ClientError as error:
            # What rclone says of a bucket that never had one.
            if error.response["Error"]["Code"] == "NoSuchUpload":
                return []
            raise

    # -- what happened ---------------------------------------------------------------------

    @property
    def fired(self) -> list[str]:
        """The names of the faults that took effect, in order."""
        return [exchange.fault or "" for exchange in self.proxy.fired]

    def sent(self, method: str, key: str = "", query: str = "") -> list[Exchange]:
        """The requests that went through the proxy, by method, key and query."""
        return [
            exchange
            for exchange in self.proxy.log
            if exchange.method == method
            and unquote(exchange.path).endswith(key and f"/{key}")
            and query in exchange.query
        ]

    @property
    def retries(self) -> list[Retrying]:
        """The repeats that the clerk announced."""
        return [event for event in self.events if isinstance(event, Retrying)]

    @property
    def receipt(self) -> Receipt:
        """The last receipt."""
        return self.receipts[-1]


@pytest.fixture(scope="session")
def _shared_stage(server: Server, s3: S3Client) -> Iterator[Stage]:
    # Making a bucket takes Ceph half a second, and making a client takes boto3 a tenth.
    with (
        arrange.fresh_bucket(server, s3) as bucket,
        FaultProxy(server.endpoint_url) as proxy,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", QUICK_CHECKSUMS)
        with contextlib.closing(Stage(server, s3, bucket, proxy)) as made:
            yield made


@pytest.fixture
def stage(_shared_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A quick clerk behind a proxy without faults, and an empty bucket."""
    # Hundreds of faults would empty the budget, and every wait would be the longest.
    monkeypatch.setattr(RetryBudget, "_all", {})
    monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", QUICK_CHECKSUMS)
    yield _shared_stage
    _shared_stage.clear()


@pytest.fixture
def thorough(server: Server, request: pytest.FixtureRequest) -> bool:
    """Whether this server gets every fault and not a choice: the strictest, if it is there."""
    chosen = chosen_servers(request.config)
    return server.name == ("ministack" if "ministack" in chosen else chosen[0])
