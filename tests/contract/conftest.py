"""Clerks for the contract tests: quick to give up, with a threshold that tests can afford."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from object_clerk import ClerkConfig, ObjectClerk
from object_clerk.testing import FaultProxy
from tests.conftest import skip_unavailable
from tests.contract.support import QUICK, THRESHOLD, Wire
from tests.servers import arrange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from tests.servers import Server


class MakeClerk(Protocol):
    """Makes a clerk for the server of the test, which is closed after it."""

    def __call__(self, **settings: Any) -> ObjectClerk:
        """Return a clerk with the usual settings, except for those given."""


_CHECKSUM_RETRY = json.dumps({**QUICK, "retry_jitter": [0, 0.01]})


def _settings(server: Server) -> dict[str, Any]:
    return {
        "endpoint_url": server.endpoint_url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "transfer_config": {"multipart_threshold": THRESHOLD},
        **QUICK,
    }


@pytest.fixture
def make_clerk(
    server: Server, _clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeClerk]:
    """A function that makes clerks for the server."""
    # Three attempts at changed bytes shall take milliseconds, not seconds.
    monkeypatch.setenv("CHECKSUM_RETRY_CONFIG", _CHECKSUM_RETRY)
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> ObjectClerk:
            return stack.enter_context(ObjectClerk(**_settings(server) | settings))

        yield make


@pytest.fixture(scope="session")
def _lasting_clerk(server: Server) -> Iterator[ObjectClerk]:
    # boto3 takes longer to make a client than most tests take to use it.
    environ = {"CHECKSUM_RETRY_CONFIG": _CHECKSUM_RETRY}
    with ObjectClerk(config=ClerkConfig.load(environ, **_settings(server))) as made:
        yield made


@pytest.fixture
def clerk(_lasting_clerk: ObjectClerk) -> Iterator[ObjectClerk]:
    """A clerk for the server with quick retries and a multipart threshold of 5 MiB."""
    yield _lasting_clerk
    Wire.detach_all()


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    """A proxy in front of the server that misbehaves when told to."""
    if urlsplit(server.endpoint_url).scheme != "http":
        pytest.skip("the proxy speaks plain HTTP, the server HTTPS")
    with FaultProxy(server.endpoint_url) as started:
        yield started


@pytest.fixture
def proxied(make_clerk: MakeClerk, proxy: FaultProxy) -> ObjectClerk:
    """A clerk like `clerk` that talks through `proxy`."""
    return make_clerk(endpoint_url=proxy.endpoint_url)


@pytest.fixture
def other_bucket(server: Server, s3: S3Client) -> Iterator[str]:
    """A second bucket."""
    with skip_unavailable(), arrange.fresh_bucket(server, s3) as name:
        yield name
