"""Who may do what in /v1: tokens, keys, presigned URLs."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.gateway.v1.config import SessionsConfig
from object_clerk.gateway.v1.service import Service
from object_clerk.session.auth import Permission, SecretKey
from object_clerk.session.scope import Scope
from object_clerk.store import ObjectStore
from object_clerk.store.aio import AsyncObjectStore
from tests.gateway.v1.running import path, serving
from tests.gateway.v1.test_objects import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2

    from tests.gateway.v1.running import Running

ALL = [each.value for each in Permission]
_KEYS = {name: Ed25519PrivateKey.generate() for name in ("new", "old", "reader", "foreign")}


def pem(name: str) -> str:
    key = _KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.decode()


@pytest.fixture
def key_files(tmp_path: Path) -> dict[str, str]:
    found = {}
    for name, key in _KEYS.items():
        file = tmp_path / f"{name}.pem"
        file.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        found[name] = str(file)
    return found


@pytest.fixture
def keys(key_files: dict[str, str]) -> str:
    return json.dumps(
        {
            "main": {"key_files": [key_files["new"], key_files["old"]]},
            "reader": {"key_files": [key_files["reader"]], "max_permissions": ["object.read"]},
            "writer": {"key_files": [key_files["reader"]], "max_permissions": ["object.write"]},
        }
    )


@pytest.fixture
def running(tmp_path: Path, keys: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Enforcing is the default."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with serving(tmp_path, store, monkeypatch, {"OS__AUTH__KEYS": keys}) as started:
        yield started


def token(
    running: Running,
    key: str = "new",
    kid: str | None = "main",
    usecase: str = "tests",
    expires_s: float = 60,
    **more: Any,
) -> str:
    """A token by the clock of the test; made here, so that it is nobody's idea but the spec's."""
    claims = {
        "res": {"os:usecase": usecase, "org": "42", "project": "7"},
        "permissions": ALL,
        "exp": int(running.clock.now.timestamp() + expires_s),
        **more,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, _KEYS[key], "EdDSA", headers={} if kid is None else {"kid": kid})


def asked(running: Running, text: str | None, method: str = "PUT", at: str = "") -> httpx2.Response:
    headers = {} if text is None else {"x-os-auth": f"Bearer {text}"}
    return running.client.request(method, at or path(), headers=headers)


def test_good_tokens(running: Running) -> None:
    """Everything that there is can be done."""
    good = token(running)
    for method, status in (("PUT", 200), ("GET", 200), ("HEAD", 204), ("DELETE", 204)):
        assert asked(running, good, method).status_code == status
    assert asked(running, good, "POST", "/v1/objects/tests/org=42;project=7/").status_code == 201
    assert asked(running, token(running, aud="objectstore", iss="relay")).status_code == 200
    assert asked(running, token(running, aud=["a", "objectstore"])).status_code == 200


def test_no_token(running: Running) -> None:
    """Line 22: 400."""
    refused(asked(running, None), 400, "token")
    for header in ({"x-os-auth": token(running)}, {"authorization": "Basic abc"},
                   {"x-os-auth": "Bearer"}, {"x-os-auth": ""}):  # fmt: skip
        refused(running.client.put(path(), headers=header), 400, "Bearer")
    assert running.stored() == []


def test_bad_tokens(running: Running) -> None:
    """Line 22: 401."""
    good = token(running)
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg": "none", "kid": "main"}').decode().rstrip("=")
    public = _KEYS["new"].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    bad = {
        "garbage": "garbage",
        "three": "a.b.c",
        "expired": token(running, expires_s=-61),
        "not yet": token(running, nbf=int(running.clock.now.timestamp()) + 100),
        "wrong key": token(running, "foreign"),
        "unknown kid": token(running, kid="other"),
        "no kid": token(running, kid=None),
        "no end": token(running, exp=None),
        "end of the world": token(running, exp=float("inf")),
        "no number": token(running, exp=float("nan")),
        "an end that is text": token(running, exp="2030"),
        "audience": token(running, aud="others"),
        "issuer": token(running, iss="others"),
        "no resource": token(running, res=None),
        "no usecase": token(running, res={"org": "42"}),
        "a number in the resource": token(running, res={"os:usecase": "tests", "org": 42}),
        "no permissions": token(running, permissions=None),
        "permissions as text": token(running, permissions="object.write"),
        "tampered": f"{head}.{body[:-2]}{'A' if body[-2] != 'A' else 'B'}{body[-1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "no algorithm": f"{none}.{body}.",
        "symmetric": jwt.encode({"exp": 9999999999}, public, "HS256", headers={"kid": "main"}),
    }
    for name, text in bad.items():
        answer = asked(running, text)
        assert answer.status_code == 401, name
        refused(answer, 401)
    assert running.stored() == []
    assert asked(running, token(running, expires_s=-59)).status_code == 200  # clocks may differ


def test_what_a_token_does_not_allow(running: Running) -> None:
    """Line 22: 403."""
    scopes = {"os:usecase": "tests", "org": "42", "project": "7"}
    refused(asked(running, token(running, usecase="other")), 403, "usecase")
    refused(asked(running, token(running, res={**scopes, "org": "43"})), 403, "org")
    refused(asked(running, token(running, res={"os:usecase": "tests", "org": "42"})), 403)
    needed = {
        ("PUT", path()): "object.write", ("PATCH", path()): "object.write",
        ("POST", "/v1/objects/tests/_/"): "object.write", ("GET", path()): "object.read",
        ("HEAD", path()): "object.read", ("DELETE", path()): "object.delete",
    }  # fmt: skip
    for (method, at), permission in needed.items():
        lacking = token(running, permissions=[each for each in ALL if each != permission])
        assert asked(running, lacking, method, at).status_code == 403
        having = token(running, permissions=[permission, "object.future"])
        assert asked(running, having, method, at).status_code not in (400, 401, 403) or (
            method == "PATCH"  # which has no body here
        )


def test_scopes_are_compared_one_way(running: Running) -> None:
    """Line 25: ``*`` opens any value; a token for more opens less, in any order."""
    everywhere = token(running, res={"os:usecase": "tests", "org": "*", "project": "7"})
    good = token(running)
    assert asked(running, everywhere, "PUT", path("a", "org=99;project=7")).status_code == 200
    assert asked(running, everywhere, "PUT", path("a", "org=99;project=8")).status_code == 403
    for scope in ("org=42", "project=7;org=42", "_"):
        assert asked(running, good, "PUT", path("a", scope)).status_code == 200


def test_where_tokens_are_looked_for(running: Running) -> None:
    """Line 24: x-os-auth, then Authorization, then the query."""
    good = token(running)

    def put(query: str = "", **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return running.client.put(path() + query, headers=given).status_code

    assert put(x_os_auth=f"Bearer {good}", authorization="Bearer garbage") == 200
    assert put(x_os_auth="Bearer garbage", authorization=f"Bearer {good}") == 401
    assert put(authorization=f"Bearer {good}") == 200
    assert put(authorization=f"bearer {good}") == 200
    assert put(x_os_auth=f"bEARER {good}") == 200
    assert put(f"?os_auth={good}") == 200
    assert put(f"?os_auth={good}", authorization="Bearer garbage") == 401
    assert put("?os_auth=garbage") == 401
    assert put("?os_auth=") == 400


def test_rotation_and_limits_of_keys(running: Running) -> None:
    """Lines 26 and 27: each of the files verifies; a key caps what its tokens can do."""
    assert asked(running, token(running, "old")).status_code == 200
    reader = token(running, "reader", "reader")
    assert asked(running, reader, "GET").status_code == 200
    refused(asked(running, reader), 403, "object.write")
    refused(asked(running, token(running, "reader")), 401)  # a key, but of another kid


def test_tokens_of_the_client(running: Running) -> None:
    """Line 23: what the client signs, the server takes."""
    key = SecretKey("main", pem("new"), expiry_seconds=10**9)
    assert asked(running, key.sign_for_scope("tests", Scope(org=42, project=7))).status_code == 200
    assert asked(running, key.sign_for_scope("tests", Scope(org=42))).status_code == 403


def test_not_enforced(
    tmp_path: Path, keys: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is allowed; what would be refused is logged."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    variables = {"OS__AUTH__KEYS": keys, "OS__AUTH__ENFORCE": "false"}
    caplog.set_level("INFO", "object_clerk.gateway.v1.access")
    with serving(tmp_path, store, monkeypatch, variables) as running:
        for text in (None, "garbage", token(running, usecase="other")):
            assert asked(running, text).status_code == 200
    said = caplog.text
    assert [word for word in ("400", "401", "403", "enforce") if word not in said] == []


def test_enforced_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets in by nobody's having thought of it."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with serving(tmp_path, store, monkeypatch, {"OS__AUTH": "{}"}) as running:
        assert asked(running, None).status_code == 400
        assert asked(running, token(running)).status_code == 401


@pytest.mark.parametrize("content", [None, b"", b"nonsense", pem("new").encode()])
def test_keys_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    """Said at the start, with the name of the key."""
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    config = SessionsConfig.of({"auth": {"keys": {"main": {"key_files": [str(file)]}}}})
    store = AsyncObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with pytest.raises(ObjectClerkConfigurationException, match=r"auth\.keys\.main") as caught:
        Service.of(store, 1, config)
    assert "PRIVATE" not in str(caught.value)


# -- presigned URLs ----------------------------------------------------------------------------


def signed(running: Running, at: str, key: str = "new", method: str = "GET", **more: Any) -> str:
    """A URL, signed here by the words of the spec."""
    given = {
        "os_kid": "main", "os_duration": "3600",
        "os_timestamp": running.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ"), **more,
    }  # fmt: skip
    pairs = [f"{name}={quote(str(value), safe='')}" for name, value in given.items()]
    lowered = sorted(f"{p.partition('=')[0].lower()}={p.partition('=')[2]}" for p in pairs)
    text = "\n".join((method, at, "&".join(lowered)))
    signature = base64.urlsafe_b64encode(_KEYS[key].sign(text.encode())).decode().rstrip("=")
    return f"{at}?{'&'.join(pairs)}&os_sig={signature}"


def test_presigned(running: Running) -> None:
    """Line 38: GET and HEAD with one URL, of this object, and nothing else."""
    key = "a b/ü%"
    assert asked(running, token(running), "PUT", path(key)).status_code == 200
    url = signed(running, path(key))
    client = running.client
    assert (client.get(url).status_code, client.head(url).status_code) == (200, 204)
    assert client.get(signed(running, path(key), extra="x", A="b")).status_code == 200
    assert client.get(signed(running, path("missing"))).status_code == 404
    for method in ("PUT", "DELETE", "PATCH"):
        refused(client.request(method, url), 403)
        refused(client.request(method, signed(running, path(key), method=method)), 403)
    tampered = (
        url.replace("a%20b", "a%20c"), url.replace("duration=3600", "duration=3601"),
        url + "&more=1", url.replace("os_sig=", "os_sig=AA"), url[:-2] + "AA",
        signed(running, path(key), "foreign"), signed(running, path(key), os_kid="other"),
    )  # fmt: skip
    for each in tampered:
        refused(client.get(each), 401)
    malformed = (
        signed(running, path(key), os_duration=604801), f"{path(key)}?os_sig=abc",
        signed(running, path(key), os_duration="x"), signed(running, path(key), os_timestamp="x"),
        url + "&os_kid=main",
    )  # fmt: skip
    for each in malformed:
        refused(client.get(each), 400)
    assert client.get(signed(running, path(key), os_duration=604800)).status_code == 200
    refused(client.get(signed(running, path(key), "reader", os_kid="writer")), 403, "object.read")
    assert client.get(signed(running, path(key), "reader", os_kid="reader")).status_code == 200


def test_presigned_for_a_time(running: Running) -> None:
    """From a minute before it was signed to its end."""
    assert asked(running, token(running)).status_code == 200
    url = signed(running, path())
    for seconds, status in ((-61, 401), (1, 200), (3659, 200), (2, 401)):
        running.clock.go(seconds=seconds)
        assert running.client.get(url).status_code == status


def test_presigned_beats_a_token(running: Running) -> None:
    """Who sends a signature is judged by it."""
    assert asked(running, token(running)).status_code == 200
    answer = asked(running, token(running), "GET", signed(running, path(), "foreign"))
    refused(answer, 401)
