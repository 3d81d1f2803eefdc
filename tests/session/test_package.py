"""What the package exports, and what importing it does and does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import object_clerk.session as package
from object_clerk.session import auth, client, durations, metadata, metrics, scope, utils


def _run(code: str) -> object:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_name_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) == package._HOMES.keys() <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


def test_modules_that_users_import_from() -> None:
    assert auth.TokenGenerator is package.SecretKey is package.TokenGenerator
    assert auth.Permission is package.Permission
    assert auth.TokenProvider is package.TokenProvider
    assert scope.Scope is package.Scope
    assert metadata.Metadata is package.Metadata
    assert metadata.TimeToLive is package.TimeToLive is durations.TimeToLive
    assert metadata.TimeToIdle is package.TimeToIdle
    assert metadata.ExpirationPolicy is package.ExpirationPolicy
    assert metrics.MetricsBackend is package.MetricsBackend
    assert utils.guess_mime_type is package.guess_mime_type
    assert client.Client is package.Client
    for name in ("GetResponse", "RequestError", "Session", "Usecase"):
        assert getattr(client, name) is getattr(package, name)


def test_what_the_gateway_shares_needs_no_client() -> None:
    code = """
import sys, json
import object_clerk.exceptions
before = set(sys.modules)
from object_clerk.session import auth, durations, metadata, scope, wire, zstd
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before}
      & {"urllib3", "sentry_sdk", "fastapi", "httpx2", "pydantic"})))
"""
    assert _run(code) == []


def test_the_client_alone_needs_no_signing() -> None:
    code = """
import sys, json
from object_clerk.session import Client, Usecase
with Client("http://x", token="t") as client:
    client.session(Usecase("a")).object_url("k")
print(json.dumps([name for name in ("jwt", "cryptography", "sentry_sdk") if name in sys.modules]))
"""
    assert _run(code) == []
