"""Limits of requests: moving windows, alone and shared, and what happens without the Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage.redis import redispy

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.gateway import limits
from object_clerk.gateway.addresses import is_near
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.limits import MemoryWindows, RateLimiter
from tests.conftest import skip_unavailable
from tests.servers.common import free_ports
from tests.servers.redis import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def refused_for(counted: Awaitable[None]) -> int:
    """0 if a request is served, or the seconds that it is refused for."""
    try:
        await counted
    except Refusal as refusal:
        return int(refusal.headers["retry-after"]) if refusal.status == 429 else -1
    return 0


@contextlib.asynccontextmanager
async def closing(limiter: RateLimiter) -> AsyncIterator[RateLimiter]:
    try:
        yield limiter
    finally:
        await limiter.close()


# -- windows -------------------------------------------------------------------------------


def test_one_more_than_the_limit_is_refused_and_others_are_not() -> None:
    """Check 27: the N+1st request of the window is 429; other tokens go on."""
    clock = Clock()

    async def story() -> None:
        limiter = RateLimiter("3/second", None, clock=clock)
        assert [await refused_for(limiter.token("a")) for _ in range(4)] == [0, 0, 0, 2]
        assert await refused_for(limiter.token("b")) == 0
        clock.now += 0.9
        assert await refused_for(limiter.token("a")) == 1
        clock.now += 1
        assert [await refused_for(limiter.token("a")) for _ in range(4)] == [0, 0, 0, 2]

    asyncio.run(story())


def test_without_a_limit_nothing_is_counted() -> None:
    async def story() -> None:
        limiter = RateLimiter(None, None, clock=Clock())
        assert {await refused_for(limiter.token("a")) for _ in range(2000)} == {0}
        assert {await refused_for(limiter.address("192.0.2.1")) for _ in range(2000)} == {0}

    asyncio.run(story())


@given(
    pauses=st.lists(st.integers(0, 8).map(lambda halves: halves / 2), max_size=60),
    amount=st.integers(1, 4),
    seconds=st.integers(1, 3),
)
def test_no_window_has_more_and_retry_after_is_true(
    pauses: list[float], amount: int, seconds: int
) -> None:
    """Whenever requests come: no stretch of the window's length serves more than the limit."""
    clock = Clock()

    async def story() -> None:
        limiter = RateLimiter(f"{amount}/{seconds} second", None, clock=clock)
        served: list[float] = []
        for pause in pauses:
            clock.now += pause
            if wait_s := await refused_for(limiter.token("a")):
                assert wait_s >= 1
                assert sum(each > clock.now - seconds for each in served) == amount
                clock.now += wait_s
                assert await refused_for(limiter.token("a")) == 0
            served.append(clock.now)
            assert sum(each > clock.now - seconds for each in served) <= amount

    asyncio.run(story())


def test_what_one_of_two_limits_refuses_counts_for_neither() -> None:
    clock = Clock()

    async def story() -> None:
        limiter = RateLimiter("4/minute;2/second", None, clock=clock)
        served = 0
        for _ in range(10):
            served += await refused_for(limiter.token("a")) == 0
        assert served == 2
        clock.now += 1
        assert [await refused_for(limiter.token("a")) for _ in range(2)] == [0, 0]
        clock.now += 1
        assert await refused_for(limiter.token("a")) == 59

    asyncio.run(story())


def test_a_token_and_an_address_of_the_same_text_are_two() -> None:
    async def story() -> None:
        limiter = RateLimiter("1/minute", "1/minute", clock=Clock())
        assert await refused_for(limiter.token("192.0.2.1")) == 0
        assert await refused_for(limiter.address("192.0.2.1")) == 0
        assert await refused_for(limiter.address("192.0.2.1")) == 61

    asyncio.run(story())


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        (None, "", True),
        ("no\udc80address", "no address", False),
    ],
)
def test_which_addresses_are_one_client(
    first: str | None, second: str | None, *, are_one: bool
) -> None:
    async def story() -> None:
        limiter = RateLimiter(None, "1/minute", clock=Clock())
        assert await refused_for(limiter.address(first)) == 0
        assert (await refused_for(limiter.address(second)) > 0) is are_one

    asyncio.run(story())


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("fd00::1", True),
        ("::ffff:10.1.2.3", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("2a00::1", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_which_addresses_are_near(host: str | None, *, near: bool) -> None:
    assert is_near(host) is near


def test_clients_are_forgotten_when_they_are_quiet_or_too_many() -> None:
    clock = Clock()
    windows = MemoryWindows(limits._parsed("rate_limit", "2/minute"), clock, most=100)
    for number in range(1000):
        assert windows.take(f"{number}") == 0
    assert len(windows) <= 100
    clock.now += 61
    for _ in range(60):
        windows.take("one")
    assert len(windows) == 1
    assert windows.take("one") == 60


@pytest.mark.parametrize("text", ["", "x", "0/second", "10", "10/fortnight", "-1/second"])
@pytest.mark.parametrize("field", ["rate_limit", "anonymous_rate_limit"])
def test_what_is_no_limit_is_refused_by_name(text: str, field: str) -> None:
    given = {"rate_limit": (text, None), "anonymous_rate_limit": (None, text)}[field]
    with pytest.raises(ObjectClerkConfigurationException, match=f"^{field} "):
        RateLimiter(*given)


@pytest.mark.parametrize(
    "url", ["http://h/", "redis://u:geheim@h:x", "memory://", "h:6379", "redis://:geheim@h:99999"]
)
def test_what_is_no_redis_is_refused_by_name_and_without_its_password(url: str) -> None:
    with pytest.raises(ObjectClerkConfigurationException, match=r"^rate_limit_store ") as caught:
        RateLimiter("1/second", None, url)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


# -- Redis ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with skip_unavailable(), redis_server() as url:
        yield url


_CHILD = """
import asyncio, sys
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.limits import RateLimiter

async def main():
    limiter = RateLimiter("20/hour", None, sys.argv[1])
    served = 0
    for _ in range(15):
        try:
            await limiter.token("shared")
        except Refusal:
            continue
        served += 1
    await limiter.close()
    print(served)

asyncio.run(main())
"""


def test_two_processes_share_one_limit(redis_url: str) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", _CHILD, redis_url], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    served = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(served) == 20
    assert max(served) <= 15


def test_retry_after_of_redis_is_true(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(time.time())
    for module in (redispy, limits):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock, monotonic=clock))

    async def story() -> None:
        async with closing(RateLimiter("2/minute;3/hour", None, redis_url)) as limiter:
            assert await refused_for(limiter.token("a")) == 0
            clock.now += 0.5
            assert await refused_for(limiter.token("a")) == 0
            clock.now += 29.7
            assert await refused_for(limiter.token("b")) == 0
            wait_s = await refused_for(limiter.token("a"))
            assert wait_s == 30
            clock.now += wait_s - 1
            assert await refused_for(limiter.token("a")) == 1
            clock.now += 1
            assert await refused_for(limiter.token("a")) == 0
            # Now the hour's limit is used up, and what it refuses counts for no minute.
            clock.now += 10
            assert await refused_for(limiter.token("a")) == 3530
            clock.now += 3529
            assert [await refused_for(limiter.token("a")) for _ in range(3)] == [1, 1, 1]
            clock.now += 1
            assert await refused_for(limiter.token("a")) == 0

    asyncio.run(story())


def test_tokens_and_addresses_are_two_in_redis(redis_url: str) -> None:
    async def story() -> None:
        async with closing(RateLimiter("1/minute", "1/minute", redis_url)) as limiter:
            assert await refused_for(limiter.token("192.0.2.9")) == 0
            assert await refused_for(limiter.address("192.0.2.9")) == 0
            assert await refused_for(limiter.address("192.0.2.9")) > 0

    asyncio.run(story())


def test_one_request_asks_whether_redis_answers_again() -> None:
    """The others are not made to wait for it."""
    clock, asked = Clock(), []

    class Silent:
        async def take(self, *_: object) -> float:
            asked.append(clock.now)
            await asyncio.sleep(0)
            raise ConnectionError

    async def story() -> None:
        limiter = RateLimiter("1000/second", None, clock=clock)
        limiter._shared = Silent()  # type: ignore[assignment]
        await limiter.token("a")
        clock.now += limits.PAUSE_S
        await asyncio.gather(*(limiter.token("a") for _ in range(20)))

    asyncio.run(story())
    assert asked == [1000, 1000 + limits.PAUSE_S]


def test_each_process_counts_alone_while_redis_is_down(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    (port,) = free_ports(1)

    async def story() -> None:
        url = f"redis://:geheim@127.0.0.1:{port}/0"
        async with closing(RateLimiter("2/minute", None, url, clock=clock)) as limiter:
            assert [await refused_for(limiter.token("a")) for _ in range(3)] == [0, 0, 61]
            assert len(caplog.records) == 1
            clock.now += limits.PAUSE_S  # it is asked again, which is not logged again
            assert await refused_for(limiter.token("a")) == 56
            assert len(caplog.records) == 1
            clock.now += limits.REMINDER_S
            assert await refused_for(limiter.token("b")) == 0
            assert len(caplog.records) == 2
        assert "geheim" not in caplog.text

    with caplog.at_level(logging.WARNING, "object_clerk.gateway.limits"):
        asyncio.run(story())


def test_redis_counts_again_when_it_answers_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    (port,) = free_ports(1)

    async def story() -> None:
        url = f"redis://127.0.0.1:{port}/0"
        async with closing(RateLimiter("1/minute", None, url, clock=clock)) as limiter:
            with skip_unavailable(), redis_server(port):
                assert await refused_for(limiter.token("a")) == 0
                assert await refused_for(limiter.token("a")) > 0
            assert await refused_for(limiter.token("a")) == 0  # of memory, which knows nothing
            assert await refused_for(limiter.token("a")) == 61
            with redis_server(port):
                clock.now += limits.PAUSE_S
                assert await refused_for(limiter.token("a")) == 0  # an empty Redis
                assert await refused_for(limiter.token("a")) > 0
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
        assert "answers again" in caplog.text

    with caplog.at_level(logging.INFO, "object_clerk.gateway.limits"):
        asyncio.run(story())


def test_no_request_waits_longer_than_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the client library of Redis has for timeouts of its own."""
    monkeypatch.setattr(limits, "PATIENCE_S", 0.01)

    class Hanging:
        async def take(self, *_: object) -> float:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("unreachable")

    async def story() -> None:
        limiter = RateLimiter("2/minute", None)
        limiter._shared = Hanging()  # type: ignore[assignment]
        for served in (True, True, False):
            wait_s = await asyncio.wait_for(refused_for(limiter.token("a")), 30)
            assert (wait_s == 0) is served

    asyncio.run(story())


def test_a_redis_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE_S", 0.2)

    async def story() -> None:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        async with closing(RateLimiter("2/minute", None, url)) as limiter:
            for served in (True, True, False):
                wait_s = await asyncio.wait_for(refused_for(limiter.token("a")), 30)
                assert (wait_s == 0) is served

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(story())
