"""What a process refuses without looking further: killswitches, too many requests, too many bytes.

Each process counts for itself, so with N workers N times as much is let through; what must hold
for all of them together belongs to the proxy in front.
"""

from __future__ import annotations

import collections
import fnmatch
import logging
import math
import time
from typing import TYPE_CHECKING

from object_clerk.gateway.v1.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from object_clerk.gateway.v1.config import Bandwidth, SessionsConfig, Throughput

log = logging.getLogger(__name__)

#: So many scopes are remembered; who was quiet longest is forgotten first.
MOST_SCOPES = 10_000


#: One large object does not keep everybody out for longer.
LONGEST_DEBT_S = 10.0


class Bucket:
    """Tokens that come back with time.

    Args:
        rate: so many in a second.
        most: so many at most.
        now: what the clock says.
    """

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._left = most
        self._then = now

    def left(self, now: float) -> float:
        """How many there are; fewer than none if more was taken."""
        gained = max(0.0, now - self._then) * self._rate
        self._left = min(self._most, self._left + gained)
        self._then = now
        return self._left

    def take(self, count: float, now: float) -> None:
        """Take some, whether or not there are so many; it does not take longer than that to pay."""
        self._left = max(self.left(now) - count, -self._rate * LONGEST_DEBT_S)

    def wait_s(self, count: float, now: float) -> float:
        """Seconds until there are so many."""
        return max(0.0, (min(count, self._most) - self.left(now)) / self._rate)


class _Buckets:
    """The buckets of all, of each usecase and of each scope.

    Args:
        total: the rate of all; None for no limit.
        usecase_pct: the part of a usecase.
        scope_pct: the part of a scope.
        room: rate -> the most that a bucket holds.
        clock: seconds.
    """

    def __init__(
        self,
        total: float | None,
        usecase_pct: float | None,
        scope_pct: float | None,
        room: Callable[[float], float],
        clock: Callable[[], float],
    ) -> None:
        self._total = total
        self._parts = {"usecase": usecase_pct, "scope": scope_pct}
        self._room = room
        self._clock = clock
        self._buckets: collections.OrderedDict[tuple[str, str], Bucket] = collections.OrderedDict()

    def of(self, usecase: str, scope: str) -> Iterator[Bucket]:
        """Those that a request counts in."""
        if self._total is None:
            return
        yield self._bucket("all", "", self._total)
        for kind, name in (("usecase", usecase), ("scope", f"{usecase}/{scope}")):
            if (part := self._parts[kind]) is not None:
                yield self._bucket(kind, name, self._total * part / 100)

    def rule(self, number: int, rate: float) -> Bucket:
        """That of one rule."""
        return self._bucket("rule", str(number), rate)

    def _bucket(self, kind: str, name: str, rate: float) -> Bucket:
        found = self._buckets.get((kind, name))
        if found is None:
            found = Bucket(rate, self._room(rate), self._clock())
            self._buckets[kind, name] = found
            if len(self._buckets) > MOST_SCOPES:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((kind, name))
        return found


class Limits:
    """Lets requests pass, or not.

    Args:
        config: what was configured.
        clock: seconds.
    """

    def __init__(self, config: SessionsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._killswitches = config.killswitches
        self._throughput: Throughput = config.rate_limits.throughput
        self._bandwidth: Bandwidth = config.rate_limits.bandwidth
        self._clock = clock
        requests, burst = self._throughput, self._throughput.burst
        self._requests = _Buckets(
            requests.global_rps, requests.usecase_pct, requests.scope_pct,
            lambda rate: max(1.0, rate + burst), clock,
        )  # fmt: skip
        payload, seconds = self._bandwidth, self._bandwidth.burst_ms / 1000
        self._bytes = _Buckets(
            payload.global_bps, payload.usecase_pct, payload.scope_pct,
            lambda rate: max(1.0, rate * seconds), clock,
        )  # fmt: skip

    def check_switches(self, usecase: str, scopes: Mapping[str, str], service: str | None) -> None:
        """Refuse what is switched off.

        Args:
            usecase: of the request.
            scopes: its scopes by name.
            service: who sends it; None if that was not said.

        Raises:
            Problem: 403, it is.
        """
        for each in self._killswitches:
            named = service is not None and fnmatch.fnmatchcase(service, each.service or "*")
            if (named or each.service is None) and each.fits(usecase, scopes):
                raise Problem.plain(403, "requests of this kind are switched off")

    def count(self, usecase: str, scopes: Mapping[str, str], scope: str) -> None:
        """Count a request.

        Args:
            usecase: its usecase.
            scopes: its scopes by name.
            scope: its scopes as they stand in the path.

        Raises:
            Problem: 429, there are too many, or too many bytes.
        """
        buckets = [*self._requests.of(usecase, scope), *self._rules(usecase, scopes)]
        now = self._clock()
        wait_s = max((each.wait_s(1, now) for each in buckets), default=0.0)
        if wait_s > 0:
            raise _too_many("too many requests", wait_s)
        for each in buckets:  # what one refuses is counted by none
            each.take(1, now)
        self._look(usecase, scope)

    def _rules(self, usecase: str, scopes: Mapping[str, str]) -> Iterator[Bucket]:
        for number, rule in enumerate(self._throughput.rules):
            if not rule.fits(usecase, scopes):
                continue
            rates = [rule.rps] if rule.rps is not None else []
            if rule.pct is not None and self._throughput.global_rps is not None:
                rates.append(self._throughput.global_rps * rule.pct / 100)
            if rates:
                yield self._requests.rule(number, min(rates))

    def _look(self, usecase: str, scope: str) -> None:
        now = self._clock()
        waits = (each.wait_s(1, now) for each in self._bytes.of(usecase, scope))
        wait_s = max(waits, default=0.0)
        if wait_s > 0 and self._bandwidth.report_only:
            log.warning("a request of usecase %s would exceed the bandwidth", usecase)
        elif wait_s > 0:
            raise _too_many("too many bytes", wait_s)

    def passed(self, usecase: str, scope: str, count: int) -> None:
        """Count bytes that came or went; what is over the limit is held against later requests."""
        now = self._clock()
        for each in self._bytes.of(usecase, scope):
            each.take(count, now)


def _too_many(said: str, wait_s: float) -> Problem:
    seconds = math.floor(wait_s) + 1
    return Problem.plain(429, f"{said}; try again in {seconds} s", {"retry-after": str(seconds)})
