"""Times, against botocore's own parser of them."""

from __future__ import annotations

import datetime
import email.utils
import warnings
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.lane.moment import moment

MOMENTS = st.datetimes(
    min_value=datetime.datetime(1000, 1, 1), timezones=st.just(datetime.UTC)
)  # fmt: skip


def outcome(parse: Any, text: Any) -> Any:
    """What a parser gives, or that it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dateutil's, of names of zones that it does not know
        try:
            return parse(text)
        except (ValueError, RuntimeError):
            return "refused"


@given(MOMENTS)
def test_times_of_listings(when: datetime.datetime) -> None:
    for text in (f"{when:%Y-%m-%dT%H:%M:%SZ}", when.strftime("%Y-%m-%dT%H:%M:%S.123Z")):
        assert moment(text) == parse_timestamp(text)
        assert moment(text).utcoffset() == datetime.timedelta(0)


@given(MOMENTS)
def test_times_of_headers(when: datetime.datetime) -> None:
    text = email.utils.format_datetime(when, usegmt=True)
    assert moment(text) == parse_timestamp(text) == when.replace(microsecond=0)
    assert moment(text).utcoffset() == datetime.timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "tomorrow", "2026-11-21", "2026-11-21T10:20:30+02:00", 1234567890),
        *("2026-13-21T10:20:30Z", "2026-02-30T10:20:30Z", "2026-11-21T24:00:00Z"),
        *("Sat, 31 Feb 2026 10:20:30 GMT", "Sat, 21 Nov 2026 10:20:30 +0200"),
        *("Sat, 21 Nov 2026 25:20:30 GMT", "Foo, 21 Bar 2026 10:20:30 GMT"),
    ],
)
def test_what_is_not_usual(text: Any) -> None:
    assert outcome(moment, text) == outcome(parse_timestamp, text)
