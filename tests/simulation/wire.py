"""A boto3 client whose requests go to the made-up store, through whatever the plan has for them."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from tests.simulation.api import ACCEPTS, Answer, Params
from tests.simulation.digests import checksum
from tests.simulation.errors import Unsupported, client_error, metadata
from tests.simulation.faults import OTHERS, PASSING_ERRORS, Fault
from tests.simulation.store import flipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.faults import Plan
    from tests.simulation.multipart import S3
    from tests.simulation.stagecraft import Clock

_URL = "http://made.up/"

#: Seconds that a request takes, and those until a client gives up on one that hangs.
LATENCY_S = 0.05
STALL_S = 60.0
SLOW_S = 40.0


#: Parameters of a request that a report shows.
TOLD = (
    *("Bucket", "Key", "VersionId", "UploadId", "PartNumber", "Range", "CopySourceRange"),
    *("IfMatch", "IfNoneMatch", "CopySourceIfMatch"),
)


class Crash(BaseException):
    """The process of the client ends here. No `Exception`: nothing may catch it."""


@functools.cache
def _real_client() -> Any:
    # Only its description of the requests is used, never a connection.
    return boto3.session.Session().client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


class Body:
    """The stream of a GET answer, as botocore's StreamingBody behaves."""

    def __init__(self, data: bytes, stated: int | None, broken: Exception | None) -> None:
        self._data = data
        self._position = 0
        self._stated = stated
        self._broken = broken
        self.expected: tuple[str, str] | None = None

    def read(self, amount: int | None = None) -> bytes:
        """The next bytes; what is wrong with the body shows at its end."""
        end = len(self._data) if amount is None else self._position + amount
        block = self._data[self._position : end]
        self._position += len(block)
        if amount is None or (not block and amount > 0):
            self._check_end()
        return block

    def readinto(self, buffer: memoryview) -> int:
        """The same into a buffer, as the bodies of the fast lane have it."""
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _check_end(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._stated is not None and self._position != self._stated:
            raise boto.IncompleteReadError(actual_bytes=self._position, expected_bytes=self._stated)
        if self.expected is not None and checksum(self.expected[0], self._data) != self.expected[1]:
            raise boto.FlexibleChecksumError(error_msg="made up: the checksum does not match")

    def close(self) -> None:
        """Nothing is held."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """A request that the clerk made."""

    number: int
    method: str
    given: Params
    fault: Fault | None

    @property
    def named(self) -> dict[str, Any]:
        """The parameters that say what it is about."""
        return {name: self.given[name] for name in TOLD if name in self.given}

    def __str__(self) -> str:
        details = " ".join(f"{name}={value}" for name, value in self.named.items())
        return f"{self.number:3} {self.method} {details} {self.fault or ''}".rstrip()


@dataclasses.dataclass(frozen=True, slots=True)
class _Late:
    """A request that the network holds back, with what its sender knew of the keys."""

    due: int
    number: int
    method: str
    given: Params
    looked: dict[tuple[str, str], tuple[int, int]]


class Wire:
    """The client.

    Attributes:
        log: the requests made through it.
        meddle: called with a fault of the kind that other people make.
    """

    def __init__(
        self, s3: S3, clock: Clock, plan: Plan, meddle: Callable[[Fault], None], author: str
    ) -> None:
        self._s3 = s3
        self._clock = clock
        self._plan = plan
        self._meddle = meddle
        self._author = author
        self._late: list[_Late] = []
        self._dead = False
        self.log: list[Sent] = []

    @property
    def meta(self) -> Any:
        return _real_client().meta

    def get_paginator(self, method: str) -> Any:
        """boto3's paginator over the made-up requests."""
        paginator = _real_client().get_paginator(method)
        paginator._method = getattr(self, method)
        return paginator

    def close(self) -> None:
        """Idle connections: there are none."""

    def __getattr__(self, method: str) -> Callable[..., Answer]:
        if method.startswith("__"):
            raise AttributeError(method)
        if method not in ACCEPTS:
            raise Unsupported(f"the made-up client has no {method}")
        return functools.partial(self._send, method)

    def flush(self) -> None:
        """Let the requests arrive that are still under way."""
        for late in self._late:
            self._arrive(late)
        self._late.clear()

    # -- one request -----------------------------------------------------------------------

    def _send(self, method: str, **given: Any) -> Answer:
        if self._dead:
            raise Crash
        number = len(self.log)
        self._clock.advance(LATENCY_S)
        for late in [each for each in self._late if each.due <= number]:
            self._late.remove(late)
            self._arrive(late)
        fault = self._plan.at(number, method, given)
        self.log.append(Sent(number, method, given, fault))
        if fault is not None and fault.kind in OTHERS:
            self._meddle(fault)
            fault = None
        given = self._prepared(given)
        if fault is not None:
            self._before(fault, method, given)
            if fault.kind == "empty-before":
                return {"ResponseMetadata": metadata()}
        self._s3.store.author, self._s3.store.request = self._author, number
        try:
            answer = self._s3.call(method, given)
        except boto.ClientError:
            if fault is not None:
                self._after(fault, method)
            raise
        finally:
            self._s3.store.rot, self._s3.store.busy = None, frozenset()
        if "Key" in given and method in ("head_object", "get_object", "list_object_versions"):
            store = self._s3.store
            store.looked[given["Bucket"], given["Key"]] = len(store.journal), number
        if fault is not None:
            self._after(fault, method)
            if fault.kind == "empty-after":
                return {"ResponseMetadata": metadata()}
            if fault.kind == "no-etag":
                answer.pop("ETag", None)
        return self._with_body(answer, given, fault) if method == "get_object" else answer

    def _prepared(self, given: Params) -> Params:
        """What boto3 does with a body: read it, as often as it likes, and sum it up if asked to."""
        body = given.get("Body")
        if body is not None and not isinstance(body, bytes):
            body.read()
            body.seek(0)
            body.begin_sending()
            given["Body"] = b"".join(iter(lambda: body.read(16), b""))
        algorithm = given.get("ChecksumAlgorithm")
        if "Body" in given and algorithm and f"Checksum{algorithm}" not in given:
            given[f"Checksum{algorithm}"] = checksum(algorithm, given["Body"])
        return given

    def _arrive(self, late: _Late) -> None:
        """Carry out a request whose sender has long given up on it."""
        store = self._s3.store
        store.author, store.request = self._author, late.number
        now, store.looked = store.looked, late.looked
        try:
            self._s3.call(late.method, late.given)
        except boto.ClientError:
            pass  # there is nobody to be told
        finally:
            store.looked = now

    def _before(self, fault: Fault, method: str, given: Params) -> None:
        """Fail before the server has done anything, or change what it gets."""
        store = self._s3.store
        match fault.kind:
            case "flip-request":
                given["Body"] = flipped(given["Body"], fault.number)
            case "rot":
                store.rot = fault.number
            case "busy":
                keys = [entry["Key"] for entry in given["Delete"]["Objects"]]
                store.busy = frozenset(keys[fault.number % len(keys) :])
            case "slow":
                self._clock.advance(SLOW_S)
            case "late":
                number = len(self.log) - 1
                due = number + 1 + fault.number % 4
                self._late.append(_Late(due, number, method, given, dict(store.looked)))
                self._clock.advance(STALL_S)
                raise boto.ReadTimeoutError(endpoint_url=_URL)
            case _:
                self._fail_before(fault, method)

    def _fail_before(self, fault: Fault, method: str) -> None:
        match fault.kind:
            case "crash-before":
                self._dead = True
                raise Crash
            case "never-sent":
                raise boto.EndpointConnectionError(endpoint_url=_URL)
            case "drop-before":
                raise boto.ConnectionClosedError(endpoint_url=_URL)
            case "stall-before":
                self._clock.advance(STALL_S)
                raise boto.ReadTimeoutError(endpoint_url=_URL)
            case "status-before":
                raise _passing_error(fault, method)
            case "garbage-before":
                raise ResponseParserError("made up: no XML")
            case "error200-before":
                raise _passing_error(fault, method, 200)

    def _after(self, fault: Fault, method: str) -> None:
        """Fail although the server has done what it was asked for."""
        match fault.kind:
            case "crash-after":
                self._dead = True
                raise Crash
            case "drop-after":
                raise boto.ConnectionClosedError(endpoint_url=_URL)
            case "stall-after":
                self._clock.advance(STALL_S)
                raise boto.ReadTimeoutError(endpoint_url=_URL)
            case "status-after":
                raise _passing_error(fault, method)
            case "garbage-after":
                raise ResponseParserError("made up: no XML")
            case "error200-after":
                raise _passing_error(fault, method, 200)

    def _with_body(self, answer: Answer, given: Params, fault: Fault | None) -> Answer:
        """Make a stream of the body, as the fault wants it."""
        data: bytes = answer["Body"]
        stated: int | None = len(data)
        broken: Exception | None = None
        if fault is not None and data:
            if fault.kind.endswith("-range"):
                data = self._wrong_range(fault.kind, answer, given)
            elif fault.kind in ("cut", "cut-silent", "short"):
                data = data[: fault.number % len(data)]
            elif fault.kind == "flip-answer":
                data = flipped(data, fault.number)
            if fault.kind in ("short", "ignore-range", "other-range"):
                stated = len(data)
            elif fault.kind in ("cut-silent", "no-length"):
                stated = None
            elif fault.kind == "cut" and fault.number & 256:
                broken = boto.ResponseStreamingError(error="made up: it broke")
        answer["ContentLength"] = stated
        if stated is None:
            del answer["ContentLength"]
        body = answer["Body"] = Body(data, stated, broken)
        if given.get("ChecksumMode") == "ENABLED" and "ContentRange" not in answer:
            for name in ("CRC32", "SHA1", "SHA256"):  # what botocore computes without awscrt
                value = answer.get(f"Checksum{name}")
                if value is not None and "-" not in value:
                    body.expected = (name, value)
        return answer

    def _wrong_range(self, kind: str, answer: Answer, given: Params) -> bytes:
        data: bytes = answer["Body"]
        whole = self._s3.find(given).data
        if kind == "wrong-range":  # under a header that looks right
            return data[1:] + data[:1]
        if kind == "ignore-range":
            del answer["ContentRange"]
            return whole
        answer["ContentRange"] = f"bytes 0-{len(data) - 1}/{len(whole)}"
        return whole[: len(data)]


def _passing_error(fault: Fault, method: str, status: int | None = None) -> boto.ClientError:
    errors: tuple[tuple[str, int], ...] = PASSING_ERRORS
    if fault.kind.endswith("-after"):  # whoever says so politely has not done it
        errors = tuple(error for error in PASSING_ERRORS if error[1] >= 500)
    code, usual = errors[fault.number % len(errors)]
    if method.startswith("head_") and usual in (400, 409):
        code, usual = PASSING_ERRORS[0]  # without a body nobody could tell that these pass
    headers = {"retry-after": "7"} if fault.number & 64 else {}
    if status == 200 and code.isdigit():
        code = "InternalError"
    return client_error(method, code, status or usual, headers)
