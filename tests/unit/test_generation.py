"""Which object is to be deleted: what is compared, and how exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from object_clerk import PreconditionFailed
from object_clerk.transfer.delete import Generation
from object_clerk.transfer.stream import Pin, unchanged

ETAG = "0" * 32
TOLD = datetime(2026, 11, 21, 20, 15, 7, tzinfo=UTC)
HEAD = {"ETag": f'"{ETAG}"', "ContentLength": 7, "LastModified": TOLD, "VersionId": "3"}
ALL: dict[str, Any] = {"etag": ETAG, "size": 7, "modified": TOLD, "version_id": "3"}


def there(**changes: Any) -> Pin:
    return Pin.of({**HEAD, **changes})


@pytest.mark.parametrize("known", [{"etag"}, {"etag", "size"}, {"etag", "modified"}, set(ALL)])
def test_what_is_known_is_compared(known: set[str]) -> None:
    Generation(**{name: ALL[name] for name in known}).check(there())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ETag": '"1"'}, f"its ETag is 1, not {ETAG}"),
        ({"ETag": None}, "its ETag is None"),
        ({"ContentLength": 0}, "its size is 0, not 7"),
        ({"LastModified": TOLD + timedelta(seconds=1)}, "its time is"),
        ({"LastModified": TOLD - timedelta(seconds=1)}, "its time is"),
        ({"LastModified": None}, "its time is None"),
        ({"VersionId": "4"}, "its version is 4, not 3"),
        ({"VersionId": "null"}, "its version is None, not 3"),
    ],
)
def test_what_differs_is_told(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PreconditionFailed, match=f"{said}.*it was kept"):
        Generation(**ALL).check(there(**change))


def test_what_is_not_known_may_be_anything() -> None:
    Generation(ETAG).check(there(ContentLength=1, LastModified=None, VersionId="4"))


def test_an_empty_object_has_a_size() -> None:
    Generation(ETAG, size=0).check(there(ContentLength=0))
    with pytest.raises(PreconditionFailed):
        Generation(ETAG, size=0).check(there())


def test_seconds_are_compared() -> None:
    """Listings tell fractions of which a HEAD says nothing, and zones may differ."""
    last = TOLD + timedelta(microseconds=999_999)
    Generation(ETAG, modified=last).check(there())
    Generation(ETAG, modified=last.astimezone(timezone(timedelta(hours=2)))).check(there())
    with pytest.raises(PreconditionFailed):
        Generation(ETAG, modified=TOLD - timedelta(microseconds=1)).check(there())


@pytest.mark.parametrize("name", HEAD)
def test_each_of_four_may_tell_two_apart(name: str) -> None:
    assert unchanged(there(), there())
    changed = {"ETag": '"1"', "ContentLength": 8, "LastModified": TOLD.replace(2027)}
    assert not unchanged(there(), there(**{name: changed.get(name)}))
