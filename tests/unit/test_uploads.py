"""Listings of uploads that make no sense, which no server here gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerk, ObjectClerkServerInternalException, UnfinishedUpload
from object_clerk.transfer.listing import MOST_EMPTY_PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def entry(key: str, upload_id: str = "id") -> dict[str, Any]:
    return {"Key": key, "UploadId": upload_id, "Initiated": BEGUN}


class Scripted:
    """In place of a connection's requests: answers with one page after the other."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    def __call__(self, _: Any, method: str, /, **parameters: Any) -> dict[str, Any]:
        assert method == "list_multipart_uploads"
        self.asked.append(parameters)
        # The last page is repeated for ever.
        return self.pages[min(len(self.asked), len(self.pages)) - 1]


@pytest.fixture
def clerk() -> Iterator[ObjectClerk]:
    with ObjectClerk("localhost", 9, "a", "s", 0.001, 1, 0, 0.001, 2) as made:
        yield made


def listing(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch, *pages: dict[str, Any]
) -> tuple[Iterator[UnfinishedUpload], Scripted]:
    scripted = Scripted(list(pages))
    monkeypatch.setattr(clerk._connection, "call", scripted)
    return clerk.list_uploads("bucket"), scripted


def test_goes_on_where_the_server_says(clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"Uploads": [entry("a")], "IsTruncated": True, "NextKeyMarker": "k"}
    uploads, scripted = listing(
        clerk, monkeypatch, first | {"NextUploadIdMarker": "i"}, {"Uploads": [entry("b")]}
    )

    assert [each.key for each in uploads] == ["a", "b"]
    assert (scripted.asked[-1]["KeyMarker"], scripted.asked[-1]["UploadIdMarker"]) == ("k", "i")


def test_goes_on_after_the_last_one_if_the_server_does_not_say(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {"Uploads": [entry("a", "1"), entry("a", "2")], "IsTruncated": True}
    uploads, scripted = listing(clerk, monkeypatch, first, {"Uploads": [entry("b")]})

    assert [each.key for each in uploads] == ["a", "a", "b"]
    assert (scripted.asked[-1]["KeyMarker"], scripted.asked[-1]["UploadIdMarker"]) == ("a", "2")


def test_an_upload_that_begins_the_next_page_again_comes_once(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {"Uploads": [entry("a"), entry("b")], "IsTruncated": True}
    uploads, _ = listing(clerk, monkeypatch, first, {"Uploads": [entry("b"), entry("c")]})

    assert [each.key for each in uploads] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "page",
    [
        {"Uploads": [entry("a")], "IsTruncated": True, "NextKeyMarker": "a"},
        {"Uploads": [entry("a")], "IsTruncated": True},
        {"IsTruncated": True},
        {"IsTruncated": True, "NextKeyMarker": "a"},
    ],
    ids=["the same marker", "the same page", "nothing", "nothing but a marker"],
)
def test_a_listing_that_does_not_get_on_ends(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch, page: dict[str, Any]
) -> None:
    uploads, scripted = listing(clerk, monkeypatch, page)
    with pytest.raises(ObjectClerkServerInternalException, match="makes no sense"):
        list(uploads)

    assert len(scripted.asked) <= 2
    with pytest.raises(ObjectClerkServerInternalException):
        next(uploads)  # and it is not taken for the end


def test_empty_pages_end_too(clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch) -> None:
    markers = range(MOST_EMPTY_PAGES + 10)
    pages = [{"IsTruncated": True, "NextKeyMarker": str(number)} for number in markers]
    uploads, scripted = listing(clerk, monkeypatch, *pages)
    with pytest.raises(ObjectClerkServerInternalException, match="makes no sense"):
        list(uploads)

    assert len(scripted.asked) == MOST_EMPTY_PAGES + 1


def test_an_answer_that_is_no_listing_is_not_taken_for_an_empty_one(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ObjectClerkServerInternalException, match="no listing"):
        listing(clerk, monkeypatch, {"ResponseMetadata": {"HTTPStatusCode": 200}})


def test_an_upload_without_a_date_is_never_old(
    clerk: ObjectClerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = {"Uploads": [{"Key": "a", "UploadId": "id"}], "IsTruncated": False}
    asked = []

    def call(_: Any, method: str, /, **__: Any) -> dict[str, Any]:
        asked.append(method)
        return page

    monkeypatch.setattr(clerk._connection, "call", call)

    for age in (0, 1):
        assert clerk.sweep_uploads("bucket", older_than_s=age) == []
    assert asked == ["list_multipart_uploads", "list_objects_v2"] * 2
