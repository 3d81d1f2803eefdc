"""Making, closing and sharing clients."""

from __future__ import annotations

import asyncio
import gzip
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from object_clerk import ObjectClerkOperationException, rest
from object_clerk.events import Failed, Finished, Started
from object_clerk.rest import AsyncRestStore, RestStore, wire
from tests.rest.conftest import KEY, Awaited, found, lost, refusal, reply, stored

if TYPE_CHECKING:
    from tests.rest.conftest import Clients, Script

KINDS = pytest.mark.parametrize("kind", [RestStore, Awaited])


@KINDS
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "ftp://localhost"}, "base_url"),
        ({"base_url": "http://user:password@localhost"}, "base_url"),
        ({"base_url": "http://localhost?x=1"}, "base_url"),
        ({"base_url": "http://localhost#x"}, "base_url"),
        ({"base_url": "http://local host"}, "base_url"),
        ({"base_url": "http://256.256.256.256"}, "base_url"),
        ({"base_url": ""}, "base_url"),
        ({"base_url": None}, "base_url"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "s3cret\n"}, "api_key"),
        ({"api_key": "s3cret\r\nX-Header: y"}, "api_key"),
        ({"api_key": "s3cret s3cret"}, "api_key"),
        ({"api_key": "s3crét"}, "api_key"),
        ({"api_key": b"s3cret"}, "api_key"),
        ({"api_key": None}, "api_key"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": "30"}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"retry_delay": -0.1}, "retry_delay"),
        ({"retry_delay": None}, "retry_delay"),
    ],
)
def test_impossible_settings(kind: Any, given: dict[str, Any], named: str) -> None:
    with pytest.raises((ValueError, TypeError), match=named) as caught:
        kind(**{"base_url": "http://localhost", "api_key": "k", **given})
    assert "s3cr" not in str(caught.value)
    assert "password" not in str(caught.value)


@KINDS
@pytest.mark.parametrize("url", ["http://localhost:8000/v1/", "https://[::1]/", "HTTP://Host"])
def test_shown_without_the_key(kind: Any, url: str) -> None:
    with kind(url, KEY, 2.5, max_retries=7) as store:
        name = "RestStore" if kind is RestStore else "AsyncRestStore"
        assert repr(store) == f"{name}({url!r}, timeout=2.5, max_retries=7, retry_delay=1.0)"


def test_create_is_the_same(script: Script) -> None:
    script.answers(found(b"x"), found(b"x"))
    with RestStore.create(base_url=script.url, api_key=KEY, timeout=30.0, max_retries=3) as store:
        assert type(store) is RestStore
        assert store.get("a b#c") == b"x"

    async def run() -> bytes:
        async with AsyncRestStore.create(script.url, KEY, 30.0, 3, 1.0) as store:
            return await store.get("a b#c")

    assert asyncio.run(run()) == b"x"
    assert {each.target for each in script.requests} == {"/objects/a%20b%23c"}


def test_closing_closes_connections(clients: Clients, script: Script) -> None:
    script.answers(found(b"x"))
    with clients(script.url) as store:
        store.get("x")
        if clients.kind == "sync":
            store.close()
            with pytest.raises(ObjectClerkOperationException, match="was closed"):
                store.get("x")
    if clients.kind == "async":
        clients.stack.pop_all()


def test_a_closed_async_store() -> None:
    async def run() -> None:
        store = AsyncRestStore("http://localhost", "k")
        await store.close()
        await store.close()
        with pytest.raises(ObjectClerkOperationException, match="was closed"):
            await store.get("x")

    asyncio.run(run())


def test_a_client_of_the_callers_own(script: Script) -> None:
    """It keeps its headers, credentials, hooks and redirects for itself, and stays open."""
    seen = []

    async def read(response: httpx2.Response) -> None:
        seen.append(await response.aread())

    async def run() -> None:
        async with httpx2.AsyncClient(
            base_url="http://elsewhere.example",
            auth=("somebody", "else"),
            headers={"x-mine": "1", "accept-encoding": "gzip"},
            params={"x": "1"},
            cookies={"a": "b"},
            follow_redirects=True,
            event_hooks={"response": [read]},
        ) as client:
            async with AsyncRestStore(script.url, KEY, client=client) as store:
                assert await store.get("x") == b"data"
                with pytest.raises(ObjectClerkOperationException, match="redirects"):
                    await store.get("x")
            assert not client.is_closed
            with pytest.raises(ObjectClerkOperationException, match="was closed"):
                await store.get("x")

    script.answers(found(b"data"), reply(302, location=f"{script.url}/objects/y"))
    asyncio.run(run())
    assert seen == [b"data", b""]
    for request in script.requests:
        assert request.target == "/objects/x"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["accept-encoding"] == "identity"
        assert not {"x-mine", "cookie"} & set(request.headers)


def test_bytes_that_a_hook_has_decoded_do_not_verify(script: Script) -> None:
    async def read(response: httpx2.Response) -> None:
        await response.aread()

    async def run() -> None:
        async with httpx2.AsyncClient(event_hooks={"response": [read]}) as client:
            store = AsyncRestStore(script.url, KEY, max_retries=1, client=client)
            with pytest.raises(ObjectClerkOperationException):
                await store.get("x")

    script.answers(found(gzip.compress(b"text"), content_encoding="gzip"))
    asyncio.run(run())


def test_threads_share_a_client(script: Script) -> None:
    script.answers(*[found(b"x" * 1000)] * 64)
    with RestStore(script.url, KEY) as store, ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store.get, [f"k{n}" for n in range(64)])) == {b"x" * 1000}
    assert sorted(target for _, target in script.targets()) == sorted(
        f"/objects/k{n}" for n in range(64)
    )


def test_tasks_share_a_client(script: Script) -> None:
    async def run() -> list[bytes]:
        async with AsyncRestStore(script.url, KEY) as store:
            return await asyncio.gather(*(store.get(f"k{n}") for n in range(64)))

    script.answers(*[found(b"x" * 1000)] * 64)
    assert set(asyncio.run(run())) == {b"x" * 1000}


# -- events --------------------------------------------------------------------------------


def test_events(clients: Clients, script: Script) -> None:
    store = clients(script.url)
    script.answers(stored("x", b"data"), found(b"data"), refusal(403, "no"))
    receipt = store.put("x", b"data")
    store.get("x")
    with pytest.raises(PermissionError) as caught:
        store.delete("x")
    assert [(type(each), each.operation, each.key) for each in clients.seen] == [
        (Started, "put", "x"),
        (Finished, "put", "x"),
        (Started, "get", "x"),
        (Finished, "get", "x"),
        (Started, "delete", "x"),
        (Failed, "delete", "x"),
    ]
    put, get = clients.of(Finished)
    assert put.receipt is receipt
    assert get.receipt.size == 4
    assert clients.of(Failed)[0].error is caught.value


def test_request_ids(clients: Clients, script: Script) -> None:
    script.answers(reply(503, x_request_id="r-1"), lost, found(b"", x_request_id="r-3\x1b[31m"))
    clients(script.url).get("x")
    assert clients.of(Finished)[0].receipt.request_ids == ("r-1", "r-3?[31m")


def test_a_listener_that_fails_disturbs_nothing(
    clients: Clients, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("mine")

    script.answers(found(b"x"))
    with caplog.at_level(logging.CRITICAL):
        assert clients(script.url, on_event=fails).get("x") == b"x"


# -- listings ------------------------------------------------------------------------------


def pages(*keys: tuple[str, ...]) -> list[bytes]:
    last = len(keys) - 1
    made = [wire.Page(each, None if n == last else f"c{n}") for n, each in enumerate(keys)]
    return [reply(200, page.to_json()) for page in made]


def test_pages_are_asked_for_as_they_are_needed(clients: Clients, script: Script) -> None:
    script.answers(*pages(("a", "50%41x"), (), ("b",)))
    store = clients(script.url)
    keys = store.keys(page_size=2)
    assert script.requests == []
    assert next(keys) == "a"
    assert next(keys) == "50%41x"
    assert len(script.requests) == 1
    assert list(keys) == ["b"]
    assert [each.target.partition("?")[2] for each in script.requests] == [
        "limit=2",
        "limit=2&cursor=c0",
        "limit=2&cursor=c1",
    ]
    assert [type(each) for each in clients.seen] == [Started, Finished]


@pytest.mark.parametrize(
    "answer",
    [
        {"keys": ["a"]},
        {"keys": [1], "next_cursor": None},
        {"keys": "ab", "next_cursor": None},
        {"keys": [], "next_cursor": 5},
        b"[]",
    ],
)
def test_pages_that_make_no_sense(clients: Clients, script: Script, answer: Any) -> None:
    script.answers(reply(200, answer))
    with pytest.raises(ObjectClerkOperationException, match="makes no sense"):
        next(clients(script.url).keys())


def test_a_listing_that_goes_round(clients: Clients, script: Script) -> None:
    script.answers(*[reply(200, wire.Page(("a",), "again").to_json())] * 9)
    with pytest.raises(ObjectClerkOperationException, match="again and again"):
        list(clients(script.url).keys())
    assert len(script.requests) == 2


def test_a_store_that_cannot_list(clients: Clients, script: Script) -> None:
    """Check 29."""
    script.answers(refusal(501, "this store cannot list"))
    keys = clients(script.url).keys()
    with pytest.raises(NotImplementedError, match="this store cannot list"):
        next(keys)
    assert len(script.requests) == 1
    assert [type(each) for each in clients.seen] == [Started, Failed]


@pytest.mark.parametrize(
    "given", [{"page_size": 0}, {"page_size": 1001}, {"page_size": "5"}, {"prefix": 5}]
)
def test_impossible_listings(clients: Clients, script: Script, given: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        clients(script.url).keys(**given)
    assert script.requests == []


@pytest.mark.parametrize(
    "given",
    [
        {"method": "DELETE"},
        {"method": "get"},
        {"expires": 0},
        {"expires": 604_801},
        {"expires": "60"},
        {"expires": True},
        {"expires": float("nan")},
    ],
)
def test_impossible_urls(clients: Clients, script: Script, given: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        clients(script.url).presign("x", **given)
    assert script.requests == []


# -- the package ---------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["object_clerk", "object_clerk.rest", "object_clerk.rest.wire"])
def test_nothing_is_imported_before_it_is_used(module: str) -> None:
    """The gateway shares the wire rules, and the core has no extras."""
    code = f"import sys, {module}; assert 'httpx2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_names_of_the_package() -> None:
    for name in rest.__all__:
        assert getattr(rest, name).__name__ == name
    assert set(rest.__all__) <= set(dir(rest))
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = rest.Missing
