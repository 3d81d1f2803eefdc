"""Times, durations and expiration policies, as they are written in headers."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException

_ZERO = timedelta(0)


@dataclasses.dataclass(frozen=True)
class _Policy:
    delta: timedelta

    def __post_init__(self) -> None:
        if not isinstance(self.delta, timedelta):
            raise ObjectClerkTypeException(
                f"{type(self).__name__} takes a timedelta, not {type(self.delta).__name__}"
            )
        if self.delta < _ZERO:
            raise ObjectClerkParameterException(f"{type(self).__name__} cannot be negative")


@dataclasses.dataclass(frozen=True)
class TimeToLive(_Policy):
    """The object expires this long after it was written."""


@dataclasses.dataclass(frozen=True)
class TimeToIdle(_Policy):
    """The object expires this long after it was read last, or written."""


#: When an object expires by itself. None stands for never.
ExpirationPolicy = TimeToLive | TimeToIdle

#: How an object without a policy is described.
MANUAL = "manual"

_KINDS: dict[str, type[TimeToLive | TimeToIdle]] = {"ttl": TimeToLive, "tti": TimeToIdle}


# -- expiration ----------------------------------------------------------------------------


def parse_expiration(text: str) -> ExpirationPolicy | None:
    """The policy in ``manual``, ``ttl:<duration>`` or ``tti:<duration>``; None for ``manual``.

    Raises:
        ObjectClerkParameterException: it is none of them.
    """
    if text == MANUAL:
        return None
    kind, _, duration = text.partition(":")
    if kind not in _KINDS:
        raise ObjectClerkParameterException(
            f"an expiration is manual, ttl:<duration> or tti:<duration>, not {text[:80]!r}"
        )
    return _KINDS[kind](parse_duration(duration))


def format_expiration(policy: ExpirationPolicy | None) -> str:
    """A policy as it is sent."""
    if policy is None:
        return MANUAL
    kind = "ttl" if isinstance(policy, TimeToLive) else "tti"
    return f"{kind}:{format_duration(policy.delta)}"


# -- durations -----------------------------------------------------------------------------

_SECOND = 1_000_000_000

#: Name of a unit -> nanoseconds. A month has 30.44 days, a year 365.25, as servers have it.
_UNITS: dict[str, int] = {
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos"), 1),
    **dict.fromkeys(("us", "usec", "usecs", "micros", "µs"), 1_000),
    **dict.fromkeys(("ms", "msec", "msecs", "millis"), 1_000_000),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60 * _SECOND),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600 * _SECOND),
    **dict.fromkeys(("d", "day", "days"), 86_400 * _SECOND),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 604_800 * _SECOND),
    **dict.fromkeys(("M", "month", "months"), 2_630_016 * _SECOND),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 31_557_600 * _SECOND),
}
_STEP = re.compile(r"\s*([0-9]{1,20})\s*([A-Za-zµ]{1,8})", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The length in ``1d 2h``, ``90min``, ``1 days 7205 seconds`` and the like.

    What is below a microsecond is rounded up.

    Raises:
        ObjectClerkParameterException: it is no duration, or a longer one than Python knows.
    """
    nanoseconds, position, rest = 0, 0, text.rstrip(" \t")
    while found := _STEP.match(rest, position):
        nanoseconds += int(found[1]) * _unit(found[2])
        position = found.end()
    if not position or position < len(rest):
        raise ObjectClerkParameterException(f"{text[:80]!r} is no duration, such as '1d 2h'")
    try:
        return timedelta(microseconds=-(-nanoseconds // 1_000))
    except OverflowError:
        raise ObjectClerkParameterException(f"{text[:80]!r} is too long a time") from None


def _unit(name: str) -> int:
    if name not in _UNITS:
        raise ObjectClerkParameterException(f"{name!r} is no unit of time")
    return _UNITS[name]


def format_duration(delta: timedelta) -> str:
    """A duration in days, hours, minutes and seconds, such as ``1d 2h``; ``0s`` if it is nothing.

    No weeks, months and years: clients read those differently. What is below a second is rounded
    up, so that nothing expires earlier than it was meant to.

    Raises:
        ObjectClerkParameterException: it is negative.
    """
    if delta < _ZERO:
        raise ObjectClerkParameterException("a duration cannot be negative")
    whole, rest = divmod(delta, timedelta(seconds=1))
    minutes, seconds = divmod(whole + bool(rest), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    steps = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return " ".join(f"{count}{unit}" for count, unit in steps if count) or "0s"


# -- times ---------------------------------------------------------------------------------

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_time(text: str) -> datetime:
    """A time as RFC 3339 writes it, in UTC. What is below a microsecond is dropped.

    Raises:
        ObjectClerkParameterException: it is none.
    """
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ObjectClerkParameterException(f"{text[:80]!r} is no time as RFC 3339 writes it")


def format_time(moment: datetime) -> str:
    """A time in UTC with microseconds, as ``2026-01-31T12:00:00.000000Z``.

    Raises:
        ObjectClerkParameterException: it has no time zone.
    """
    if moment.tzinfo is None:
        raise ObjectClerkParameterException("the time has no time zone: say datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
