"""Whatever is asked, the answer is one of those that there are, and the service goes on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from object_clerk.gateway.app import create_app
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.store import ObjectStore
from tests.gateway.asgi import Answer, ask, pieces, scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

_FAMILIES = (
    "objects", "objects:multipart", "objects:multipart:parts", "objects:multipart:complete",
    "objects:batch", "nothing", "objects%3Abatch",
)  # fmt: skip
_TEXT = st.text('abz09 %=;:,/*+-_."\u00fc\u00ff', max_size=20)
_VALUES = {
    "range": st.sampled_from(["bytes=0-1", "bytes=-0", "bytes=5-", "bytes=1-0,", "x=1-2"]),
    "content-type": st.sampled_from(["text/plain", "multipart/form-data; boundary=a", "a/b;c"]),
    "content-encoding": st.sampled_from(["zstd", "gzip", "identity"]),
    "x-sn-expiration": st.sampled_from(["ttl:1h", "tti:0s", "manual", "ttl:99999y", "tti:1ns"]),
    "x-sn-filename": st.sampled_from(["a%2Fb", "%", "...", "%C3%BC"]),
    "x-snme-a": st.sampled_from(["%41", "%FF", "x" * 3000, ""]),
    "upload-length": st.sampled_from(["0", "3", "99999999999999999999", "-1"]),
    "upload-offset": st.sampled_from(["0", "*", "3", "9999999999999999999"]),
    "content-length": st.sampled_from(["0", "3"]),
    "content-md5": st.sampled_from(["kAFQmDzST7DWlj99KOF/cg==", "AAAA"]),
    "repr-digest": st.sampled_from(["sha-256=:AAAA:", "md5=:AAAA:", "sha-256="]),
    "x-oc-content-sha256": st.sampled_from(["0" * 64, "z"]),
    "x-os-auth": st.sampled_from(["Bearer a.b.c", "Bearer", "x"]),
}
_HEADERS = st.lists(
    st.sampled_from(sorted(_VALUES)).flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(_VALUES[name], _TEXT.map(str.strip)))
    ),
    max_size=5,
)
_QUERY = st.lists(
    st.tuples(
        st.sampled_from(["upload_id", "part_number", "max_parts", "part_number_marker", "session",
                         "upload_type", "os_auth", "os_sig", "os_kid", "os_duration"]),
        st.sampled_from(["", "1", "0", "resumable", "abcd", "%FF", "../x", "2026-01-01T00:00:00Z"]),
    ),
    max_size=4,
)  # fmt: skip
_BODY = st.one_of(
    st.binary(max_size=50),
    st.sampled_from([
        b"abc", b'{"parts": [{"part_number": 1, "etag": "a"}]}', b"[" * 1000, b"--a--",
        b'{"extend_expiry": {"after": "1h", "from": "now"}}', b"\x28\xb5\x2f\xfd\x00",
        b"--a\r\nx-sn-batch-operation-kind: get\r\nx-sn-batch-operation-key: k\r\n\r\n\r\n--a--",
    ]),
)  # fmt: skip
_PATH = st.one_of(
    st.sampled_from(["u/_/k", "u/_/", "u/_", "u/a=1;b=2/k/k", "u/a=1/%FF", "u//k", "", "u/a=*/k"]),
    st.text("u/_=;.%aF0*", max_size=12),
)


@pytest.fixture(scope="module", params=["true", "false"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FastAPI]:
    directory: Path = tmp_path_factory.mktemp("anything")
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("OS__AUTH__ENFORCE", request.param)
        made = create_app(GatewaySettings(auth_tokens_file=directory / "tokens.json"), store)
    yield made
    asyncio.run(made.state.gateway.store.close())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]),
    family=st.sampled_from(_FAMILIES),
    path=_PATH,
    query=_QUERY,
    headers=_HEADERS,
    body=_BODY,
)
def test_anything(
    app: FastAPI,
    method: str,
    family: str,
    path: str,
    query: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    body: bytes,
) -> None:
    raw = f"/v1/{family}/{path}"
    scope: dict[str, Any] = dict(scope_of(method, raw))
    scope["raw_path"] = raw.encode()
    scope["query_string"] = "&".join(f"{name}={value}" for name, value in query).encode()
    scope["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer: Answer = asyncio.run(ask(app, scope, pieces(body)))
    assert answer.is_whole
    assert answer.status in {200, 201, 204, 206, 400, 401, 403, 404, 405, 409, 410, 413, 416, 422}
    assert answer.headers["server"].startswith("objectstore/")
    if answer.status >= 400 and answer.headers.get("content-type") == "application/json":
        said = json.loads(answer.body)
        assert isinstance(said["detail"], str)
        assert set(said) <= {"detail", "causes"}
