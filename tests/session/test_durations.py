"""Durations, times and policies in headers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session.durations import (
    TimeToIdle,
    TimeToLive,
    format_duration,
    format_expiration,
    format_time,
    parse_duration,
    parse_expiration,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "delta"),
    [
        ("1 days 7205 seconds", timedelta(days=1, seconds=7205)),
        ("1day 2h", timedelta(hours=26)),
        ("1day2h", timedelta(hours=26)),
        ("90min", timedelta(minutes=90)),
        ("90 m", timedelta(minutes=90)),
        ("1M", timedelta(seconds=2_630_016)),
        ("1month 13h 26m 24s", timedelta(days=31)),
        ("1y", timedelta(days=365.25)),
        ("2 weeks", timedelta(days=14)),
        ("1500ms", timedelta(seconds=1.5)),
        ("1us", timedelta(microseconds=1)),
        ("1ns", timedelta(microseconds=1)),
        ("1001ns", timedelta(microseconds=2)),
        ("0s", timedelta(0)),
        (" 1h ", timedelta(hours=1)),
    ],
)
def test_parse_duration(text: str, delta: timedelta) -> None:
    assert parse_duration(text) == delta


@pytest.mark.parametrize(
    "text",
    ["", " ", "abc", "1", "h", "1h 2", "-1h", "1.5h", "1x", "1H", "1h,2m", "999999999y", "1h\n",
     "٣h", "9" * 30 + "s"],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|no unit|too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(microseconds=1), "1s"),
        (timedelta(seconds=1.5), "2s"),
        (timedelta(hours=1), "1h"),
        (timedelta(days=1, seconds=7205), "1d 2h 5s"),
        (timedelta(days=31), "31d"),
        (timedelta(days=400), "400d"),
        (timedelta(days=1, minutes=1), "1d 1m"),
        (timedelta.max, "1000000000d"),
    ],
)
def test_format_duration(delta: timedelta, text: str) -> None:
    assert format_duration(delta) == text


def test_negative_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(timedelta(seconds=-1))
    for kind in (TimeToLive, TimeToIdle):
        with pytest.raises(ValueError, match="negative"):
            kind(timedelta(seconds=-1))
        with pytest.raises(TypeError, match="timedelta"):
            kind(60)  # type: ignore[arg-type]


@given(st.integers(0, 10**12))
def test_whole_seconds_round_trip(seconds: int) -> None:
    delta = timedelta(seconds=seconds)
    assert parse_duration(format_duration(delta)) == delta


@given(st.timedeltas(timedelta(0), timedelta(days=10**6)))
def test_nothing_expires_earlier_than_meant(delta: timedelta) -> None:
    written = parse_duration(format_duration(delta))
    assert timedelta(0) <= written - delta < timedelta(seconds=1)


def test_policies() -> None:
    for policy in (TimeToLive(timedelta(hours=1)), TimeToIdle(timedelta(days=400))):
        assert parse_expiration(format_expiration(policy)) == policy
    assert format_expiration(TimeToLive(timedelta(hours=1))) == "ttl:1h"
    assert format_expiration(TimeToIdle(timedelta(0))) == "tti:0s"
    assert format_expiration(None) == "manual"
    assert parse_expiration("manual") is None
    idle: object = TimeToIdle(timedelta(1))
    assert TimeToLive(timedelta(1)) != idle


@pytest.mark.parametrize(
    "text", ["ttl:", "ttl:abc", "foo", "", "TTL:1h", "ttl", "manual:", "tt:1h"]
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|expiration"):
        parse_expiration(text)


@given(st.text(max_size=30) | st.from_regex(r"tt[il]:[0-9]{1,25} ?[a-zM]{1,3}", fullmatch=True))
def test_parsers_raise_nothing_but_value_error(text: str) -> None:
    for parse in (parse_expiration, parse_duration, parse_time):
        result: Any = None
        try:
            result = parse(text)
        except ValueError:
            continue
        assert result is None or isinstance(result, TimeToLive | TimeToIdle | timedelta | datetime)


def test_times() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 5, timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-01-31T10:00:00.000005Z"
    assert parse_time("2026-01-31T12:00:00.123456789Z").microsecond == 123456
    assert parse_time("2026-01-31t12:00:00z") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert format_time(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2026, 1, 31))


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "0001-01-01T00:00:00+23:59",
     "2026-01-31T12:00:60Z", "20260131T120000Z", "2026-01-31T12:00:00Z\n"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        parse_time(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip(moment: datetime) -> None:
    assert parse_time(format_time(moment)) == moment
