"""The clients against the gateway: the lines of the check-list that concern them."""

from __future__ import annotations

import hashlib
import io
import random
import time
from typing import TYPE_CHECKING

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from object_clerk import (
    DestinationExists,
    ObjectClerkServerAuthException,
    ObjectVerificationException,
    PreconditionFailed,
    Verdict,
)
from object_clerk.events import Event, Retrying
from object_clerk.exceptions import ObjectClerkException
from object_clerk.rest import KeyNotFound, RestStore
from object_clerk.rest.wire import check_rest_key
from object_clerk.store import ObjectStore
from tests.gateway.running import gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.running import Running
    from tests.rest.conftest import Clients

KEYS = (
    "plain", "a/b/c", "a b", "50%", "50%41x", "a#frag", "a?x=1", "a+b", "a&b=c;d", "ü/ß", "日本/🛰",
    "a//b", "~tilde", "quote'\"", "back\\slash", "a:b@c", "%2F", "a%2Fb", "end.", ".hidden",
    "a/..b", "line\nend", "x" * 1024,
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    memory = ObjectStore({"framework": "memory", "root_bucket": "objects"})
    with gateway(tmp_path_factory.mktemp("gateway"), memory) as started:
        yield started


@pytest.fixture
def store(clients: Clients, running: Running) -> Iterator[RestStore]:
    """A client of an empty store."""
    made = clients(running.url, api_key=running.token)
    yield made
    for key in running.keys():  # noqa: SIM118 - a method of its own
        running.app.state.gateway.store.store.delete_object(key)


def blob(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 50 << 20])
def test_bytes_come_back(store: RestStore, tmp_path: Path, size: int) -> None:
    """Check 3."""
    data = blob(size)
    receipt = store.put("key", data)
    assert receipt.verdict is Verdict.TRANSPORT
    assert store.get("key") == data
    assert store.download("key", tmp_path / "file").verdict is Verdict.CONTENT
    assert (tmp_path / "file").read_bytes() == data
    with store.open("key") as body:
        assert body.read() == data
    info = store.head("key")
    assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert info.etag == receipt.etag


def test_all_bytes(store: RestStore) -> None:
    data = bytes(range(256))
    for given_data in (data, io.BytesIO(data), iter([data[:100], data[100:]])):
        store.put("key", given_data)
        assert store.get("key") == data


def test_the_last_content_wins(store: RestStore) -> None:
    """Check 5."""
    for n in range(3):
        store.put("key", f"content {n}", content_type="text/plain")
    assert store.get("key") == b"content 2"
    assert store.head("key").content_type == "text/plain"
    assert list(store.keys()) == ["key"]


def test_keys_round_trip(store: RestStore) -> None:
    """Checks 6, 7 and 8."""
    for key in KEYS:
        store.put(key, key.encode())
    assert list(store.keys()) == sorted(KEYS)
    for key in KEYS:
        assert store.exists(key)
        assert store.get(key) == key.encode()
        assert store.head(key).size == len(key.encode())
        store.delete(key)
        assert not store.exists(key)
    assert list(store.keys()) == []


def test_the_context_manager_of_create(running: Running) -> None:
    """Check 9."""
    with RestStore.create(base_url=running.url, api_key=running.token) as store:
        store.put("temp-key", b"temporary data")
        assert store.get("temp-key") == b"temporary data"
        store.delete("temp-key")
        inner = store._client
    assert inner.is_closed


def test_missing(clients: Clients, running: Running) -> None:
    """Check 10: with waits that would be noticed."""
    store = clients(running.url, api_key=running.token, retry_delay=120.0)
    begun = time.monotonic()
    for verb in (store.get, store.delete, store.head, store.open):
        with pytest.raises(KeyError) as caught:
            verb("missing")
        assert isinstance(caught.value, KeyNotFound)
        assert caught.value.request_id
    assert store.exists("missing") is False
    assert time.monotonic() - begun < 60


def test_tokens(clients: Clients, running: Running) -> None:
    """Missing, forbidden and unknown are three things."""
    reader = running.new_token("read")["authorization"].removeprefix("Bearer ")
    store = clients(running.url, api_key=reader)
    assert not store.exists("missing")
    for verb, arguments in ((store.put, ("x", b"")), (store.delete, ("x",))):
        with pytest.raises(ObjectClerkServerAuthException, match=r"write|delete") as caught:
            verb(*arguments)
        assert caught.value.status == 403
        assert reader not in str(caught.value)
    unknown = clients(running.url, api_key="unknown")
    for ask in (unknown.exists, unknown.get, unknown.delete):
        with pytest.raises(ObjectClerkServerAuthException) as caught:
            ask("x")
        assert caught.value.status == 401
    with pytest.raises(ObjectClerkServerAuthException):
        list(unknown.keys())


def test_listing(store: RestStore) -> None:
    """Pages, prefixes, and keys that are deleted under the walk."""
    keys = [f"{n:03}" for n in range(250)]
    for key in keys:
        store.put(key, b"")
    assert list(store.keys()) == keys
    assert list(store.keys("01", page_size=3)) == keys[10:20]
    walk = store.keys(page_size=10)
    assert [next(walk) for _ in range(10)] == keys[:10]
    for key in keys[5:15]:
        store.delete(key)
    assert list(walk) == keys[15:]


def test_conditions(store: RestStore) -> None:
    first = store.put("key", b"one", if_absent=True)
    with pytest.raises(DestinationExists):
        store.put("key", b"two", if_absent=True)
    assert first.etag is not None
    store.put("key", b"two", if_match=first.etag)
    with pytest.raises(PreconditionFailed):
        store.put("key", b"three", if_match=first.etag)
    assert store.get("key") == b"two"


def test_damage_on_the_way_is_refused(store: RestStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("key", b"before")
    source = "object_clerk.rest.sources.BytesSource._pieces"
    monkeypatch.setattr(source, lambda _: iter([b"damaged"]))
    with pytest.raises(ObjectVerificationException) as caught:
        store.put("key", b"content")
    assert caught.value.status == 400
    assert caught.value.attempts == 3
    assert store.get("key") == b"before"


def test_presigned_urls(store: RestStore) -> None:
    store.put("a b#c", b"content")
    read, write = store.presign("a b#c"), store.presign("new", "PUT", expires=60)
    with httpx2.Client() as anybody:
        assert anybody.get(read).content == b"content"
        assert anybody.put(read, content=b"x").status_code in (401, 403)
        assert anybody.put(write, content=b"by anybody").status_code == 200
    assert store.get("new") == b"by anybody"


@pytest.mark.parametrize("path", ["/v1", "/health"])
def test_a_wrong_base_url(clients: Clients, running: Running, path: str) -> None:
    store = clients(running.url + path, api_key=running.token)
    for verb in (store.get, store.delete, store.head, store.open, store.exists, store.presign):
        with pytest.raises(ObjectClerkException, match="is base_url right"):
            verb("key")
    with pytest.raises(ObjectClerkException, match="is base_url right"):
        store.put("key", b"data")
    with pytest.raises(ObjectClerkException, match="is base_url right"):
        list(store.keys())


def test_throttling(clients: Clients, tmp_path: Path) -> None:
    """Check 26, against a limit that is real."""
    memory = ObjectStore({"framework": "memory", "root_bucket": "objects"})
    with gateway(tmp_path, memory, rate_limit="2/second") as limited:
        store = clients(limited.url, api_key=limited.token, max_retries=10)
        for n in range(5):
            store.put(f"key {n}", b"")
        hasty = clients(limited.url, api_key=limited.token, max_retries=1)
        with pytest.raises(ObjectClerkException, match="throttles us") as caught:
            _ = [hasty.exists(f"key {n}") for n in range(50)]
        assert caught.value.status == 429
        assert caught.value.retry_after_s is not None


@st.composite
def keys(draw: st.DrawFn) -> str:
    key = draw(st.text(min_size=1, max_size=40))
    try:
        return check_rest_key(key)
    except ValueError:
        return "x" + "".join(c if c.isprintable() else "?" for c in key).replace("/.", "/x")


@given(key=keys(), data=st.binary(max_size=2000))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_key_and_any_bytes(store: RestStore, key: str, data: bytes) -> None:
    store.put(key, data)
    assert store.get(key) == data
    assert next(store.keys(key)) == key
    store.delete(key)
    assert not store.exists(key)


def test_a_delete_while_there_are_too_many_requests(clients: Clients, tmp_path: Path) -> None:
    """It did nothing, so that there is nothing to delete is no success."""
    with gateway(tmp_path, max_requests=1) as running, running.connect() as connection:
        head = f"PUT /objects/a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {running.token}\r\n"
        connection.sendall(f"{head}expect: 100-continue\r\ncontent-length: 5\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # it is being answered

        def made_room(event: Event) -> None:
            if isinstance(event, Retrying):
                assert event.cause.status == 503
                connection.sendall(b"hello")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")

        store = clients(running.url, api_key=running.token, on_event=made_room)
        with pytest.raises(KeyNotFound) as caught:
            store.delete("missing")
        assert caught.value.attempts == 2
