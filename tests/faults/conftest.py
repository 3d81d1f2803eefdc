"""A clerk behind a fault proxy in front of a real server, and ways to look behind its back."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
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
from tests.faults.experiments import check_budget, check_invariants
from tests.servers import NAMES, arrange

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

#: The secret key of a clerk whose server does not look at it: no other text contains this one.
SECRET = "what-nobody-may-ever-see"

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
        self.secret = server.secret_key if server.traits.verifies_signatures else SECRET
        self.events: list[Event] = []
        self.watchers: list[Callable[[Event], object]] = []
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
        self.watchers.clear()
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
            "secret_key": self.secret,
            "ca_bundle": self.proxy.ca_bundle,
            "on_event": self._note,
            "on_receipt": self.receipts.append,
            **QUICK,
        }
        clerk = ObjectClerk(**{**given, **arguments})
        self._clerks.append(clerk)
        return clerk

    def _note(self, event: Event) -> None:
        self.events.append(event)
        for watcher in self.watchers:
            watcher(event)

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


@contextlib.contextmanager
def _stage(server: Server, s3: S3Client, bucket: str, *, tls: bool = False) -> Iterator[Stage]:
    """A stage that is used by many tests: a client alone takes boto3 a tenth of a second."""
    with (
        FaultProxy(server.endpoint_url, tls=tls) as proxy,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", QUICK_CHECKSUMS)
        with contextlib.closing(Stage(server, s3, bucket, proxy)) as made:
            yield made


@pytest.fixture(scope="session")
def _shared_stage(server: Server, s3: S3Client) -> Iterator[Stage]:
    with (
        arrange.fresh_bucket(server, s3) as bucket,  # which takes Ceph half a second
        _stage(server, s3, bucket) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def _shared_secure_stage(_shared_stage: Stage) -> Iterator[Stage]:
    stage = _shared_stage
    with _stage(stage.server, stage.s3, stage.bucket, tls=True) as made:
        yield made


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # Hundreds of faults would empty the budget, and every wait would be the longest.
    monkeypatch.setattr(RetryBudget, "_all", {})
    monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", QUICK_CHECKSUMS)


@contextlib.contextmanager
def _in_use(
    stage: Stage, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    caplog.set_level("DEBUG", logger="object_clerk")
    try:
        yield stage
        if request.node.get_closest_marker("companion") is None:  # that one's guard was off
            check_invariants(stage, caplog.text)
    finally:
        stage.clear()


@pytest.fixture
def stage(
    _shared_stage: Stage,
    _quick: None,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> Iterator[Stage]:
    """A quick clerk behind a proxy without faults, and an empty bucket."""
    with _in_use(_shared_stage, caplog, request) as used:
        yield used


@pytest.fixture
def secure_stage(
    _shared_secure_stage: Stage,
    stage: Stage,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> Iterator[Stage]:
    """The same with TLS between the clerk and the proxy."""
    with _in_use(_shared_secure_stage, caplog, request) as used:
        yield used


@pytest.fixture
def versioned(stage: Stage) -> Iterator[Stage]:
    """The same with a bucket that has versions."""
    if not stage.traits.versioning:
        pytest.skip("this server keeps no versions")
    with arrange.fresh_bucket(stage.server, stage.s3) as bucket:
        enabled: Any = {"Status": "Enabled"}
        stage.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
        before, stage.bucket = stage.bucket, bucket
        try:
            yield stage
            assert stage.uploads() == []
        finally:
            stage.bucket = before


@pytest.fixture
def counted(stage: Stage) -> Iterator[None]:
    """Requests are counted, see `check_budget`."""
    yield
    check_budget(stage)


# -- which of them are run -----------------------------------------------------------------


def _main_server(config: pytest.Config) -> str:
    """The server that gets every fault: the strictest, if it is there."""
    chosen = chosen_servers(config)
    return "ministack" if "ministack" in chosen else chosen[0]


def _all_on_all(config: pytest.Config) -> bool:
    return bool(config.getoption("--faults") == "full")


@pytest.fixture
def thorough(server: Server, request: pytest.FixtureRequest) -> bool:
    """Whether this server gets every fault and not a choice."""
    return _all_on_all(request.config) or server.name == _main_server(request.config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another server shows as well; see the marks in tox.ini."""
    here = Path(__file__).parent
    main, full = _main_server(config), _all_on_all(config)

    def is_wanted(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        server = callspec.params.get("server") if callspec else None
        if server not in NAMES or server == main or here not in item.path.parents:
            return True
        if item.get_closest_marker("companion"):
            return False
        # Those that ask for `thorough` make a choice of their own.
        asks = "thorough" in getattr(item, "fixturenames", ())
        return full or asks or item.get_closest_marker("smoke") is not None

    dropped = [item for item in items if not is_wanted(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if is_wanted(item)]
