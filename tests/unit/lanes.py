"""The same call through boto3 and through the fast lane, and nothing on any wire."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.loaders
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from urllib3 import HTTPHeaderDict

from object_clerk import ClerkConfig
from object_clerk.config import TransferSettings
from object_clerk.connection import Connection
from object_clerk.lane.http import Answer
from object_clerk.lane.signature import EMPTY_SHA256, UNSIGNED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from object_clerk.lane import FastLane

ACCESS, SECRET = "AKID", "secret"
#: The model of S3 is large: it is read once.
_LOADER = botocore.loaders.Loader()
_SETTINGS = TransferSettings(threshold_bytes=8 << 20, part_size_bytes=8 << 20)

#: Headers that are known to be in only one of the two requests, or to differ.
_THEIRS_ALONE = {"expect", "amz-sdk-invocation-id", "amz-sdk-request"}
_OURS_ALONE = {"accept-encoding"}
_BOOLEANS = {
    "x-amz-server-side-encryption-bucket-key-enabled", "x-amz-bypass-governance-retention",
}  # fmt: skip
_DIFFERENT = {"host", "user-agent", "authorization", "x-amz-date", "x-amz-content-sha256"}


def connection(*, fast: bool, **settings: Any) -> Connection:
    """A connection with these settings of ClerkConfig."""
    config: dict[str, Any] = {
        "endpoint_url": "http://127.0.0.1:9000",
        "region_name": "us-east-1",
        "access_key": ACCESS,
        "secret_key": SECRET,
        **settings,
    }
    made = Connection(ClerkConfig(upload=_SETTINGS, download=_SETTINGS, fast_lane=fast, **config))
    with mock.patch("botocore.session.create_loader", return_value=_LOADER):
        assert made.client is not None
    return made


def lane_of(made: Connection) -> FastLane:
    """Its lane, which has to be there."""
    assert made._lane is not None
    return made._lane


@dataclasses.dataclass(frozen=True)
class Canned:
    """An answer that no server gave."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclasses.dataclass
class Request:
    """A request that was not sent."""

    method: str
    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The query, decoded by nobody, in an order of its own."""
        parts = [part.partition("=") for part in self.query.split("&") if part]
        return sorted((name, value) for name, _, value in parts)


class _Raw(io.BytesIO):
    def stream(self) -> Iterable[bytes]:
        return (self.read(),)


class StreamStub(io.BytesIO):
    """The body of an answer, as the lane hands it over."""


class Slow:
    """boto3 alone."""

    def __init__(self, **settings: Any) -> None:
        self.made = connection(fast=False, **settings)
        self.requests: list[Request] = []
        self.canned = Canned()
        self.made.client.meta.events.register("before-send.s3", self._send)

    def _send(self, request: Any, **_: Any) -> Any:
        url = urlsplit(request.url)
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        self.requests.append(
            Request(
                request.method,
                url.scheme,
                url.hostname or "",
                url.port,
                url.path or "/",
                url.query,
                headers,
                read_all(request.body),
            )
        )
        return canned_for_boto3(request.url, self.canned)

    def call(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Make one call."""
        answer: dict[str, Any] = getattr(self.made.client, method)(**parameters)
        return answer


def canned_for_boto3(url: str, canned: Canned) -> AWSResponse:
    """The answer as boto3's HTTP layer would give it."""
    headers: Any = HTTPHeaderDict()
    for name, value in canned.headers:
        headers.add(name, value)
    return AWSResponse(url, canned.status, headers, _Raw(canned.body))


class Fast:
    """The lane alone."""

    def __init__(self, **settings: Any) -> None:
        self.made = connection(fast=True, **settings)
        self.lane = lane_of(self.made)
        self.requests: list[Request] = []
        self.canned = Canned()
        self.lane._wire.exchange = self._exchange  # type: ignore[method-assign]

    def _exchange(
        self, origin: Any, method: str, target: str, headers: Any, body: Any, *, stream: bool
    ) -> Answer:
        path, _, query = target.partition("?")
        self.requests.append(
            Request(
                method,
                origin.scheme,
                origin.host,
                origin.port,
                path,
                query,
                dict(headers),
                read_all(body),
            )
        )
        canned = self.canned
        streamed = stream and canned.status < 300
        # The wire joins lines of one header itself; see test_lane_http.
        joined = HTTPHeaderDict()
        for name, value in canned.headers:
            joined.add(name, value)
        content: Any = StreamStub(canned.body) if streamed else canned.body
        return Answer(canned.status, list(joined.itermerged()), content)

    def call(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Make one call; None if the lane leaves it to boto3."""
        return self.lane.call(method, dict(parameters), 0.0)


def read_all(body: Any) -> bytes:
    """What a body sends."""
    if body is None:
        return b""
    return body.read(1 << 30) if hasattr(body, "read") else bytes(body)


@functools.cache
def fast(name: str) -> Fast:
    """One lane for each of the named settings."""
    return Fast(**SETTINGS[name])


@functools.cache
def slow(name: str) -> Slow:
    """One client for each of the named settings."""
    return Slow(**SETTINGS[name])


def _s3(**config: Any) -> dict[str, Any]:
    return {"client_config": {"s3": config}}


#: How a clerk can be set up, so that the lane takes its calls.
SETTINGS: dict[str, dict[str, Any]] = {
    "path style": _s3(addressing_style="path"),
    "auto": {"endpoint_url": "https://store.example"},
    "virtual": {"endpoint_url": "https://store.example", **_s3(addressing_style="virtual")},
    "virtual, port": {
        "endpoint_url": "http://store.example:8080", **_s3(addressing_style="virtual"),
    },
    "base path": {"endpoint_url": "http://store.example/base/path"},
    "base path, slash": {"endpoint_url": "http://store.example/base/"},
    "base path, virtual": {
        "endpoint_url": "https://store.example/base", **_s3(addressing_style="virtual"),
    },
    "upper case": {"endpoint_url": "http://Store.Example:81", **_s3(addressing_style="path")},
    "port of the scheme": {"endpoint_url": "https://store.example:443"},
    "port of the scheme, http": {"endpoint_url": "http://store.example:80"},
    "IPv6": {"endpoint_url": "http://[::1]:9000"},
    "IPv6 without port": {"endpoint_url": "https://[2001:db8::1]"},
    "token": {"session_token": "to/ken+=="},
    "signed payload": {
        "endpoint_url": "https://store.example", **_s3(payload_signing_enabled=True),
    },
    "unsigned payload": {
        "endpoint_url": "https://store.example", **_s3(payload_signing_enabled=False),
    },
    "unsigned payload, http": _s3(payload_signing_enabled=False),
    "us-east-1": {"endpoint_url": None},
    "us-east-1, legacy": {"endpoint_url": None, **_s3(us_east_1_regional_endpoint="legacy")},
    "eu-central-1": {"endpoint_url": None, "region_name": "eu-central-1"},
    "eu-central-1, path": {
        "endpoint_url": None, "region_name": "eu-central-1", **_s3(addressing_style="path"),
    },
    "China": {"endpoint_url": None, "region_name": "cn-north-1"},
    "dual stack": {
        "endpoint_url": None, "region_name": "eu-west-1", **_s3(use_dualstack_endpoint=True),
    },
    "accelerated": {
        "endpoint_url": None, "region_name": "eu-west-1", **_s3(use_accelerate_endpoint=True),
    },
}  # fmt: skip


def assert_same(theirs: Request, ours: Request, region: str, token: str | None = None) -> None:
    """Both requests are the same but for what is known to differ, and both signatures hold."""
    assert ours.method == theirs.method
    usual = {"http": 80, "https": 443}[theirs.scheme]
    port = theirs.port or usual
    assert (ours.scheme, ours.host, ours.port) == (theirs.scheme, theirs.host, port)
    host = f"[{theirs.host}]" if ":" in theirs.host else theirs.host
    assert ours.headers["host"] == host + ("" if port == usual else f":{port}")
    assert theirs.headers.get("host", ours.headers["host"]) == ours.headers["host"]
    assert ours.path == theirs.path
    assert ours.pairs == theirs.pairs
    assert ours.body == theirs.body
    assert _rest(ours, _OURS_ALONE) == _rest(theirs, _THEIRS_ALONE)
    assert _payload(ours) == _payload(theirs)
    for request in (theirs, ours):
        _assert_signed(request, ours.headers["host"], region, token)


class _At(S3SigV4Auth):
    """botocore's signer at a moment of ours, with a digest of ours."""

    moment: datetime
    digest: str

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self.moment.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]

    def payload(self, request: AWSRequest) -> str:
        return self.digest


def signed_by_botocore(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    region: str,
    credentials: Credentials,
    moment: datetime,
    digest: str,
) -> AWSRequest:
    """A request with the signature that botocore gives it."""
    url = f"https://{headers['host']}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=dict(headers))
    signer = _At(credentials, "s3", region)
    signer.moment, signer.digest = moment, digest
    signer.add_auth(request)
    return request


def _rest(request: Request, alone: set[str]) -> dict[str, str]:
    left_out = alone | _DIFFERENT
    return {
        # Older versions of botocore write booleans as Python does.
        name: value.lower() if name in _BOOLEANS else value
        for name, value in request.headers.items()
        if name not in left_out
    }


def _payload(request: Request) -> str:
    """What stands for the body; any digest of it makes up for the signature over TLS."""
    digest = request.headers["x-amz-content-sha256"]
    if digest != UNSIGNED:
        assert digest == hashlib.sha256(request.body).hexdigest()
        assert request.body or digest == EMPTY_SHA256
    has_crc = any(name.startswith("x-amz-checksum-crc") for name in request.headers)
    return "either" if has_crc and request.scheme == "https" else digest


def _assert_signed(request: Request, host: str, region: str, token: str | None) -> None:
    said = request.headers["authorization"]
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-content-sha256", "x-amz-date"} <= {*names}
    assert all(name in names for name in request.headers if name.startswith("x-amz-"))
    signed = {name: request.headers[name] for name in names if name != "host"}
    again = signed_by_botocore(
        request.method,
        request.path,
        request.query,
        {**signed, "host": host},
        region,
        Credentials(ACCESS, SECRET, token),
        datetime.strptime(request.headers["x-amz-date"], SIGV4_TIMESTAMP),
        request.headers["x-amz-content-sha256"],
    )
    assert said == again.headers["Authorization"]
