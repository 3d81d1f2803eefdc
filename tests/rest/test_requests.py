"""What the clients send, as it is on the wire."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.rest import wire
from tests.rest.conftest import KEY, described, found, reply, stored

if TYPE_CHECKING:
    from object_clerk.rest import RestStore
    from object_clerk.rest.sources import Block
    from tests.rest.conftest import Clients, Script

ODD = {
    "a b": "a%20b",
    "a/b/c": "a/b/c",
    "50%41x": "50%2541x",
    "100%": "100%25",
    "a%2Fb": "a%252Fb",
    "a#b?c=1": "a%23b%3Fc%3D1",
    "a+b;c,d": "a%2Bb%3Bc%2Cd",
    "~._-": "~._-",
    "ü/日本": "%C3%BC/%E6%97%A5%E6%9C%AC",
    "a//b/": "a//b/",
    "...": "...",
    "a\\b|{}`^": "a%5Cb%7C%7B%7D%60%5E",
    "line\nend\ttab": "line%0Aend%09tab",
    "\U0001f680": "%F0%9F%9A%80",
    "http://host/x": "http%3A//host/x",
}


@pytest.mark.parametrize(("key", "path"), ODD.items())
def test_keys_stay_what_they_are(store: RestStore, script: Script, key: str, path: str) -> None:
    script.answers(found(b""), described(b""), described(b""), reply(204), stored(key, b""))
    store.get(key)
    store.exists(key)
    assert store.head(key).key == key
    store.delete(key)
    store.put(key, b"")
    assert script.targets() == [
        (method, f"/objects/{path}") for method in ("GET", "HEAD", "HEAD", "DELETE", "PUT")
    ]
    assert wire.key_of(path.encode()) == key


@pytest.mark.parametrize("key", ["", "/a", ".", "a/../b", "a/.", "a\0b", "x" * 1025, "\ud800"])
def test_keys_that_do_not_survive_are_refused(store: RestStore, script: Script, key: str) -> None:
    for verb in (store.get, store.head, store.exists, store.delete, store.open, store.presign):
        with pytest.raises(ObjectClerkParameterException):
            verb(key)
    with pytest.raises(ObjectClerkParameterException):
        store.put(key, b"")
    with pytest.raises(ObjectClerkTypeException):
        store.get(1)  # type: ignore[arg-type]
    assert script.requests == []


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/a%20b/v1//", ""])
def test_base_url_may_have_a_path(clients: Clients, script: Script, path: str) -> None:
    script.answers(found(b""), reply(200, wire.Page(()).to_json()))
    store = clients(script.url + path)
    store.get("x")
    assert list(store.keys()) == []
    base = path.rstrip("/")
    assert script.targets() == [
        ("GET", f"{base}/objects/x"),
        ("GET", f"{base}/objects?limit=100"),
    ]


def test_headers(store: RestStore, script: Script) -> None:
    script.answers(found(b""))
    store.get("x")
    assert script.requests[0].headers == {
        "host": script.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "authorization": f"Bearer {KEY}",
        "user-agent": f"object-clerk/{__version__}",
    }


def test_put_of_known_length(store: RestStore, script: Script) -> None:
    data = bytes(range(256)) * 5000
    script.answers(stored("x", data), stored("x", b""))
    store.put("x", data, content_type="image/fits", if_absent=True)
    store.put("x", b"", if_match='"abc"')
    full, empty = script.requests
    assert full.body == data
    assert full.headers["content-length"] == str(len(data))
    assert full.headers["content-type"] == "image/fits"
    assert full.headers["if-none-match"] == "*"
    assert full.headers["repr-digest"] == wire.repr_digest(hashlib.sha256(data).digest())
    assert empty.headers["content-length"] == "0"
    assert empty.headers["content-type"] == "application/octet-stream"
    assert empty.headers["if-match"] == '"abc"'
    assert "transfer-encoding" not in {*full.headers, *empty.headers}


def test_put_of_unknown_length(store: RestStore, script: Script) -> None:
    script.answers(stored("x", b"abcd"))
    blocks: list[Block] = [b"ab", b"", bytearray(b"c"), memoryview(b"d")]
    store.put("x", iter(blocks))
    (request,) = script.requests
    assert (request.body, request.whole) == (b"abcd", True)
    assert request.headers["transfer-encoding"] == "chunked"
    assert not {"content-length", "repr-digest"} & set(request.headers)


@pytest.mark.parametrize(
    "given",
    [
        {"content_type": "a\r\nx: y"},
        {"content_type": ""},
        {"if_absent": 1},
        {"if_absent": True, "if_match": "x"},
        {"if_match": ""},
        {"if_match": '""'},
        {"if_match": 'a"b'},
        {"if_match": "a\r\nb"},
    ],
)
def test_options_that_make_no_sense(
    store: RestStore, script: Script, given: dict[str, object]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        store.put("x", b"", **given)  # type: ignore[arg-type]
    assert script.requests == []


@pytest.mark.parametrize("data", [None, 1, {"a": b"b"}, io.StringIO("text"), 1.5, object()])
def test_data_that_has_no_bytes(store: RestStore, script: Script, data: object) -> None:
    with pytest.raises(ObjectClerkTypeException):
        store.put("x", data)  # type: ignore[arg-type]
    assert script.requests == []


def test_listing_and_presigning(store: RestStore, script: Script) -> None:
    script.answers(
        reply(200, wire.Page(("ä&b",), "next+/=").to_json()),
        reply(200, wire.Page(()).to_json()),
        reply(200, {"url": "http://h/x?signature=1", "expires_at": "2026-01-31T12:00:00.000000Z"}),
    )
    assert list(store.keys("ä&b=#/", page_size=7)) == ["ä&b"]
    assert store.presign("a b", "PUT", 60.9) == "http://h/x?signature=1"
    first, second, third = script.requests
    assert first.target == "/objects?prefix=%C3%A4%26b%3D%23%2F&limit=7"
    assert second.target == f"{first.target}&cursor=next%2B%2F%3D"
    assert third.target == "/presigned"
    assert third.headers["content-type"] == "application/json"
    assert third.body == b'{"key": "a b", "method": "PUT", "expires": 60}'


def test_no_cookie_comes_back(store: RestStore, script: Script) -> None:
    script.answers(found(b"", set_cookie="a=b"), found(b""))
    store.get("x")
    store.get("x")
    assert "cookie" not in script.requests[1].headers


def test_a_connection_is_used_again(store: RestStore, script: Script) -> None:
    script.answers(*[found(b"x")] * 5)
    for _ in range(5):
        store.get("x")
    assert len(script._connections) == 1
