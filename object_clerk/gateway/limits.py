"""How many requests a token may make, and an address without one.

Moving windows: of any stretch of time as long as the window, no more requests are served than the
limit says. With a Redis, all gateways that use it count together. While it does not answer, each
process counts alone: a limit that is not shared is better than a gateway that is down.

Windows of one process are not those of the package ``limits``: its own run through all clients
after each request, in threads, and grow with the requests that come, not with the limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING

from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.gateway.addresses import network_of
from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: How long a request waits for Redis, at most.
PATIENCE_S = 1.0

#: While Redis does not answer: how often it is asked again, and how often that is logged.
PAUSE_S = 5.0
REMINDER_S = 60.0

#: Clients that a process remembers; of more than that, the ones that were quiet longest go.
MOST_CLIENTS = 10_000

#: Connections of a process to Redis. More than requests at once, so that none is refused one.
_MOST_CONNECTIONS = 10_000

Limits = tuple[RateLimitItem, ...]

_SCHEMES = ("redis://", "rediss://")


class RateLimiter:
    """Counts requests, and refuses those that are too many.

    Args:
        per_token: requests that one token may make, as ``1000/second`` or ``10/second;200/minute``;
            None for no limit.
        anonymous: the same for one address and requests that have no valid token.
        store_url: a Redis that several gateways share, ``redis://`` or ``rediss://``.
        clock: seconds.

    Raises:
        ObjectClerkConfigurationException: one of these cannot be read, or the client library of
            Redis is missing.
    """

    def __init__(
        self,
        per_token: str | None,
        anonymous: str | None,
        store_url: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Apart, so that many addresses push out no token.
        self._tokens = MemoryWindows(_parsed("rate_limit", per_token), clock)
        self._addresses = MemoryWindows(_parsed("anonymous_rate_limit", anonymous), clock)
        self._shared = None if store_url is None else RedisWindows(store_url)
        self._clock = clock
        self._is_out = False
        self._ask_at = self._remind_at = -math.inf

    async def token(self, name: str) -> None:
        """Count a request with a valid token.

        Raises:
            Refusal: 429, with a Retry-After that is true.
        """
        await self._count("token", name, self._tokens)

    async def address(self, host: str | None) -> None:
        """Count a request without a valid token, wrong ones among them.

        Raises:
            Refusal: 429, with a Retry-After that is true.
        """
        await self._count("address", network_of(host), self._addresses)

    async def close(self) -> None:
        """Give up the connections."""
        if self._shared is not None:
            await self._shared.close()

    async def _count(self, kind: str, name: str, alone: MemoryWindows) -> None:
        if not alone.limits:
            return
        # Hashed: names are of any length and alphabet, and are nobody's business in Redis.
        who = f"{kind}:{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()}"
        wait_s = await self._ask(who, alone.limits)
        if wait_s is None:
            wait_s = alone.take(who)
        if wait_s > 0:
            # Redis rounds times. To wait a whole second too long does no harm, too short does.
            seconds = math.floor(wait_s + 0.001) + 1
            raise Refusal(
                429,
                f"too many requests of this {kind}, {_text(alone.limits)} are served;"
                f" try again in {seconds} s",
                {"retry-after": str(seconds)},
            )

    async def _ask(self, who: str, windows: Limits) -> float | None:
        """What Redis says; None if there is none, or if it does not answer."""
        now = self._clock()
        if self._shared is None or now < self._ask_at:
            return None
        if self._is_out:
            self._ask_at = now + PAUSE_S  # others do not wait for the answer to this one
        try:
            async with asyncio.timeout(PATIENCE_S):
                wait_s = await self._shared.take(who, windows)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests are served
            self._is_out = True
            now = self._clock()
            self._ask_at = now + PAUSE_S
            if now >= self._remind_at:
                self._remind_at = now + REMINDER_S
                # Not the error's text, which may have the URL with its password.
                log.warning(
                    "the rate limit store does not answer (%s); each process counts alone",
                    type(error).__name__,
                )
            return None
        if self._is_out:
            self._is_out, self._ask_at, self._remind_at = False, -math.inf, -math.inf
            log.warning("the rate limit store answers again")
        return wait_s


class MemoryWindows:
    """The windows of one process.

    Args:
        limits: the shortest window first.
        clock: seconds.
        most: so many clients are remembered.
    """

    def __init__(
        self, limits: Limits, clock: Callable[[], float], most: int = MOST_CLIENTS
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._most = most
        # Client -> for each limit, when it was served. Who came last is the last.
        self._served: dict[str, list[deque[float]]] = {}

    def __len__(self) -> int:
        return len(self._served)

    def take(self, who: str) -> float:
        """Count a request; 0, or the seconds until there is room for it."""
        now = self._clock()
        self._forget(now)
        served = self._served.pop(who, None) or [deque() for _ in self.limits]
        self._served[who] = served
        wait_s = 0.0
        for times, limit in zip(served, self.limits, strict=True):
            window_s = limit.get_expiry()
            while times and times[0] <= now - window_s:
                times.popleft()
            if len(times) >= limit.amount:
                wait_s = max(wait_s, times[0] + window_s - now)
        if wait_s == 0:
            for times in served:
                times.append(now)
        return wait_s

    def _forget(self, now: float) -> None:
        """Forget some who have been quiet: two for each that comes, so there are never many."""
        longest_s = self.limits[-1].get_expiry()
        for who in list(itertools.islice(self._served, 2)):
            if len(self._served) >= self._most or self._served[who][-1][-1] <= now - longest_s:
                del self._served[who]


class RedisWindows:
    """The windows that gateways share.

    Args:
        url: where Redis is.

    Raises:
        ObjectClerkConfigurationException: the URL cannot be read, or the client library is missing.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(_SCHEMES):
            raise ObjectClerkConfigurationException(
                f"rate_limit_store begins with {' or '.join(_SCHEMES)}"
            )
        try:
            import redis.asyncio as client
            from limits.aio.storage import RedisStorage
            from limits.aio.strategies import MovingWindowRateLimiter
        except ImportError:
            raise ObjectClerkConfigurationException(
                "rate_limit_store needs Redis' client: pip install 'object-clerk[redis]'"
            ) from None
        try:
            # A pool tries nothing again, where the client by itself would, for many seconds.
            self._pool = client.ConnectionPool.from_url(url, max_connections=_MOST_CONNECTIONS)
            storage = RedisStorage(
                f"async+{url}",
                implementation="redispy",
                key_prefix="object-clerk",
                connection_pool=self._pool,  # type: ignore[arg-type]
            )
        except (ValueError, ConfigurationError):
            # Without its cause, whose text may have the password.
            raise ObjectClerkConfigurationException(
                "rate_limit_store is no URL of a Redis"
            ) from None
        self._windows = MovingWindowRateLimiter(storage)

    async def take(self, who: str, limits: Limits) -> float:
        """Count a request; 0, or the seconds until there is room for it."""
        if len(limits) > 1:
            # Asked before any is counted: what one refuses must not be counted by the others.
            wait_s = max([await self._wait(who, limit) for limit in limits])
            if wait_s > 0:
                return wait_s
        for limit in limits:
            if not await self._windows.hit(limit, who):
                # It may have become free between the two questions.
                return await self._wait(who, limit) or 0.001
        return 0.0

    async def _wait(self, who: str, limit: RateLimitItem) -> float:
        stats = await self._windows.get_window_stats(limit, who)
        return max(stats.reset_time - time.time(), 0.001) if stats.remaining <= 0 else 0.0

    async def close(self) -> None:
        """Give up the connections."""
        await self._pool.aclose()


def _parsed(field: str, text: str | None) -> Limits:
    try:
        found = [] if text is None else parse_many(text)
    except ValueError:
        found = None
    if found is None or not all(each.amount > 0 and each.get_expiry() > 0 for each in found):
        raise ObjectClerkConfigurationException(
            f"{field} is a limit such as 1000/second or 10/second;200/minute"
        )
    return tuple(sorted(found, key=RateLimitItem.get_expiry))


def _text(limits: Limits) -> str:
    return " and ".join(map(str, limits))
