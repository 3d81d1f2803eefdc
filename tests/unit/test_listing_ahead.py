"""The page that is fetched while the one before it is read."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from object_clerk.exceptions import BucketNotFoundException, OperationCancelled
from object_clerk.retry import Operation, Patience
from object_clerk.transfer.listing import AHEAD_ENTRIES, Listing

if TYPE_CHECKING:
    from object_clerk.connection import Connection

PAGES = 4


class Store:
    """Answers with pages of keys; ``hold`` keeps the second one back."""

    def __init__(self, size: int = AHEAD_ENTRIES) -> None:
        self.size = size
        self.asked = 0
        self.asked_again = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.operations: list[Operation] = []
        self.error: Exception | None = None

    def operation(self) -> Operation:
        self.operations.append(Operation("list_objects", "b", None, Patience()))
        return self.operations[-1]

    def call(self, op: Operation, method: str, **parameters: Any) -> dict[str, Any]:
        page = int(parameters.get("ContinuationToken") or 0)
        self.asked += 1
        if page:
            self.asked_again.set()
            assert self.hold.wait(30)
            op.check()
            if self.error is not None:
                raise self.error
        keys = [{"Key": f"{page}/{n:04}"} for n in range(self.size)]
        if page == PAGES - 1:
            return {"Contents": keys, "IsTruncated": False}
        return {"Contents": keys, "IsTruncated": True, "NextContinuationToken": str(page + 1)}

    def call_at_once(self, op: Operation, method: str, **parameters: Any) -> dict[str, Any]:
        self.hold.set()
        return Store.call(self, op, method, **parameters)

    def listing(self, limit: int | None = None) -> Listing:
        return Listing(
            self.operation,
            cast("Connection", self),
            "b",
            prefix=None,
            delimiter=None,
            start_after=None,
            limit=limit,
            page_size=1000,
        )


def keys(size: int) -> list[str]:
    return [f"{page}/{n:04}" for page in range(PAGES) for n in range(size)]


@pytest.mark.parametrize("size", [AHEAD_ENTRIES - 1, AHEAD_ENTRIES, AHEAD_ENTRIES + 1])
def test_every_key_once(size: int) -> None:
    store = Store(size)

    assert [entry["Key"] for entry in store.listing()] == keys(size)
    assert store.asked == PAGES


def test_next_page_is_asked_for_at_half_of_this_one() -> None:
    store = Store()
    listing = store.listing()
    for _ in range(AHEAD_ENTRIES // 2):
        next(listing)
    assert not store.asked_again.is_set()

    next(listing)

    assert store.asked_again.wait(30)  # though half of the page is still to be read


def test_small_pages_are_asked_for_one_by_one() -> None:
    store = Store(AHEAD_ENTRIES - 1)
    listing = store.listing()
    for _ in range(AHEAD_ENTRIES - 1):
        next(listing)

    assert store.asked == 1


@pytest.mark.parametrize(("limit", "asked"), [(AHEAD_ENTRIES, 1), (AHEAD_ENTRIES + 1, 2)])
def test_no_page_is_fetched_that_nobody_wants(limit: int, asked: int) -> None:
    store = Store()

    assert len(list(store.listing(limit))) == limit
    assert store.asked == asked


def test_error_of_a_page_is_raised_where_the_page_begins() -> None:
    store = Store()
    store.error = BucketNotFoundException("gone")
    listing = store.listing()

    assert [next(listing)["Key"] for _ in range(AHEAD_ENTRIES)] == keys(AHEAD_ENTRIES)[
        :AHEAD_ENTRIES
    ]
    with pytest.raises(BucketNotFoundException, match="gone"):
        next(listing)
    with pytest.raises(BucketNotFoundException, match="gone"):
        next(listing)  # it must not look like the end


def test_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = Store()
    monkeypatch.setattr(threading.Thread, "start", start)

    assert [entry["Key"] for entry in store.listing()] == keys(AHEAD_ENTRIES)
    assert store.asked == PAGES


def test_fork_does_not_wait_for_the_thread_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.hold.clear()
    listing = store.listing()
    for _ in range(AHEAD_ENTRIES // 2 + 1):
        next(listing)
    assert store.asked_again.wait(30)
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    store.call = store.call_at_once  # type: ignore[method-assign]

    assert len([next(listing) for _ in range(AHEAD_ENTRIES)]) == AHEAD_ENTRIES
    store.hold.set()


def test_what_breaks_it_off_does_not_look_like_the_end() -> None:
    store = Store(10)
    listing = store.listing()
    store.error = cast("Exception", SystemExit())
    with pytest.raises(SystemExit):
        list(listing)
    with pytest.raises(OperationCancelled, match="SystemExit"):
        next(listing)


def test_listing_that_is_thrown_away_stops_what_it_began() -> None:
    store = Store()
    store.hold.clear()
    listing = store.listing()
    for _ in range(AHEAD_ENTRIES // 2 + 1):
        next(listing)
    assert store.asked_again.wait(30)

    del listing
    gc.collect()

    with pytest.raises(OperationCancelled):
        store.operations[-1].check()
    store.hold.set()
