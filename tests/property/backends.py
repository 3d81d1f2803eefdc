"""Two stores that the state machine can drive: a made-up one, and a real one behind a proxy."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from object_clerk import ObjectClerk
from object_clerk.config import ClerkConfig, TransferSettings
from object_clerk.retry import Patience, RetryPolicy
from object_clerk.testing import (
    FaultProxy,
    body_after,
    cut_response,
    drop_after,
    drop_before,
    flip_request_bit,
    flip_response_bit,
    ignore_range,
    status_after,
    status_before,
)
from tests.servers import arrange
from tests.simulation.faults import CORRUPTING, CRASHES, PASSING, Fault, Plan, applies
from tests.simulation.multipart import S3
from tests.simulation.stagecraft import BLOCK, PART, SMALLEST_PART, STAGE, Clock, installed
from tests.simulation.store import Bucket, Store
from tests.simulation.wire import Crash, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from types_boto3_s3 import S3Client

    from object_clerk.testing import Fault as ProxyFault
    from tests.servers import Server
    from tests.simulation.profiles import Profile

BUCKET = "bucket"
MIB = 1 << 20


class Backend(abc.ABC):
    """A bucket, a clerk that works in it, trouble for the clerk, and a way behind its back.

    Attributes:
        bucket: the bucket's name.
        versioned: whether it keeps versions.
        sizes: sizes of objects that are worth trying, in bytes.
        troubles: what can be armed.
        clerk: the clerk that works now; a new one after a crash.
    """

    bucket = BUCKET
    versioned: bool
    sizes: Sequence[int]
    troubles: Sequence[str]
    clerk: ObjectClerk

    @abc.abstractmethod
    def arm(self, trouble: str, skip: int, number: int) -> None:
        """Let something go wrong with a request of the next operation, after `skip` others."""

    @abc.abstractmethod
    def arm_crash(self, skip: int, after: bool) -> None:
        """Let the process end at a request of the next operation, or just after it."""

    @abc.abstractmethod
    def disarm(self) -> None:
        """The operation is over: nothing goes wrong any more, and after a crash work goes on."""

    @abc.abstractmethod
    def history(self, key: str) -> list[bytes]:
        """The versions of a key that are stored, the oldest first; markers are left out."""

    @abc.abstractmethod
    def current(self, key: str) -> bytes | None:
        """What a reader of the key gets."""

    @abc.abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Be somebody else who writes the key."""

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """Be somebody else who deletes it."""

    @abc.abstractmethod
    def uploads(self) -> int:
        """How many multipart uploads are open."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of everything."""


class _Armed(Plan):
    """A plan for one fault, at the first request that it applies to after some others."""

    def __init__(self) -> None:
        self.fired = {}
        self.fault: Fault | None = None
        self.skip = 0

    def at(self, number: int, method: str, given: Mapping[str, Any]) -> Fault | None:
        fault = self.fault
        if fault is None or not applies(fault.kind, method, given):
            return None
        if self.skip:
            self.skip -= 1
            return None
        self.fault = None
        self.fired[number] = fault
        return fault


class MadeUp(Backend):
    """The store of the simulation, like one of the servers."""

    sizes = (0, 1, 40, PART, PART + 1, 3 * PART + 20)
    troubles = tuple(sorted((PASSING | CORRUPTING) - {"busy"}))

    def __init__(self, profile: Profile, versioned: bool) -> None:
        self.versioned = versioned
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(installed())
        self._clock = Clock()
        self._store = Store(profile, self._clock, SMALLEST_PART)
        self._store.buckets[BUCKET] = Bucket(versioned)
        self._armed = _Armed()
        settings = TransferSettings(
            threshold_bytes=PART, part_size_bytes=PART, workers=2, block_bytes=BLOCK
        )
        patience = Patience(connection=RetryPolicy(tries=5), deadline_s=3600.0)
        self._config = ClerkConfig(
            endpoint_url="http://made.up",
            access_key="access",
            secret_key="secret",
            upload=settings,
            download=settings,
            patience=patience,
        )
        self._begin()

    def _begin(self) -> None:
        wire = Wire(S3(self._store), self._clock, self._armed, lambda _: None, "clerk")
        STAGE.set(self._clock, random.Random(0), wire)
        self._wire = wire
        self.clerk = ObjectClerk(config=self._config)

    def arm(self, trouble: str, skip: int, number: int) -> None:
        self._armed.fault, self._armed.skip = Fault(trouble, number), skip

    def arm_crash(self, skip: int, after: bool) -> None:
        kind = "crash-after" if after else "crash-before"
        assert kind in CRASHES
        self.arm(kind, skip, 0)

    def disarm(self) -> None:
        self._armed.fault = None
        self._wire.flush()
        if any(sent.fault and sent.fault.kind in CRASHES for sent in self._wire.log):
            self._begin()

    def history(self, key: str) -> list[bytes]:
        return [each.data for each in self._store.versions(BUCKET, key) if not each.marker]

    def current(self, key: str) -> bytes | None:
        version = self._store.current(BUCKET, key)
        return None if version is None else version.data

    def put(self, key: str, data: bytes) -> None:
        self._store.author = "other"
        self._store.insert(BUCKET, key, self._store.version([data], True, {}))

    def delete(self, key: str) -> None:
        self._store.author = "other"
        self._store.remove(BUCKET, key, None)

    def uploads(self) -> int:
        return len(self._store.uploads)

    def close(self) -> None:
        self._stack.close()


@dataclasses.dataclass
class _Crashing:
    """Ends the process, as far as one client is concerned, at one of its requests."""

    skip: int = -1
    after: bool = False
    dead: bool = False

    def before(self, **_: Any) -> None:
        if self.dead or (self.skip == 0 and not self.after):
            self.dead = True
            raise Crash
        if self.skip > 0:
            self.skip -= 1

    def received(self, **_: Any) -> None:
        if self.skip == 0 and self.after:
            self.dead = True
            raise Crash


class Real(Backend):
    """A bucket of a real server, and a fault proxy in front of it."""

    sizes = (0, 1, 1000, 1000, 1000, 5 * MIB + 7)
    troubles = (
        *("drop_before", "drop_after", "status_before", "status_after", "cut_response"),
        *("flip_request_bit", "flip_response_bit", "ignore_range", "empty"),
    )

    def __init__(self, server: Server, s3: S3Client, versioned: bool) -> None:
        self.versioned = versioned
        self._s3 = s3
        self._server = server
        self._stack = contextlib.ExitStack()
        self.bucket = self._stack.enter_context(arrange.fresh_bucket(server, s3))
        if versioned:
            s3.put_bucket_versioning(
                Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        self._proxy = self._stack.enter_context(FaultProxy(server.endpoint_url))
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        quick = {"retry_delay": 0.01, "retry_jitter": 0, "retry_max_delay": 0.02, "retry_tries": 3}
        patch.setenv("CHECKSUM_RETRY_CONFIG", json.dumps(quick))
        self._begin()

    def _begin(self) -> None:
        part = 5 * MIB
        self.clerk = ObjectClerk(
            endpoint_url=self._proxy.endpoint_url,
            access_key=self._server.access_key,
            secret_key=self._server.secret_key,
            retry_delay=0.01,
            retry_backoff=1,
            retry_jitter=0,
            retry_max_delay=0.02,
            retry_tries=5,
            transfer_config={
                "multipart_threshold": part,
                "multipart_chunksize": part,
                "max_concurrency": 1,
            },
        )
        self._crashing = _Crashing()
        hooks = self.clerk.client.meta.events
        # In this way the fast lane does not notice, which would leave everything to boto3.
        type(hooks).register(hooks, "before-send.s3", self._crashing.before)
        type(hooks).register(hooks, "response-received.s3", self._crashing.received)
        if (lane := self.clerk._connection._lane) is not None:
            exchange = lane._wire.exchange

            def crashing(*args: Any, **how: Any) -> Any:
                self._crashing.before()
                answer = exchange(*args, **how)
                self._crashing.received()
                return answer

            lane._wire.exchange = crashing  # type: ignore[method-assign]

    def arm(self, trouble: str, skip: int, number: int) -> None:
        self._proxy.add(self._fault(trouble, skip, number))

    def _fault(self, trouble: str, skip: int, number: int) -> ProxyFault:
        match trouble:
            case "drop_before":
                return drop_before(skip=skip)
            case "drop_after":
                return drop_after(skip=skip)
            case "status_before":
                return status_before(skip=skip)
            case "status_after":
                return status_after(skip=skip)
            case "cut_response":
                return cut_response(number % 900, bool(number & 1), method="GET", skip=skip)
            case "flip_request_bit":
                return flip_request_bit(number % 900, method="PUT", skip=skip)
            case "flip_response_bit":
                return flip_response_bit(number % 900, method="GET", skip=skip)
            case "ignore_range":
                return ignore_range(skip=skip)
        return body_after(method="POST", skip=skip)

    def arm_crash(self, skip: int, after: bool) -> None:
        self._crashing.skip, self._crashing.after = skip, after

    def disarm(self) -> None:
        self._proxy.clear()
        if self._crashing.dead:
            self.clerk.close()
            self._begin()
        self._crashing.skip = -1

    def history(self, key: str) -> list[bytes]:
        if not self.versioned:
            data = self.current(key)
            return [] if data is None else [data]
        listed = self._s3.list_object_versions(Bucket=self.bucket, Prefix=key).get("Versions", [])
        ids = [each["VersionId"] for each in listed if each["Key"] == key]
        return [self._get(key, VersionId=version_id) for version_id in reversed(ids)]

    def _get(self, key: str, **more: Any) -> bytes:
        return self._s3.get_object(Bucket=self.bucket, Key=key, **more)["Body"].read()

    def current(self, key: str) -> bytes | None:
        try:
            return self._get(key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    def put(self, key: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def uploads(self) -> int:
        try:
            return len(self._s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchUpload":  # rclone's way to say none
                return 0
            raise

    def close(self) -> None:
        self.clerk.close()
        self._stack.close()
