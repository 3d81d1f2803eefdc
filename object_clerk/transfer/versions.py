"""The generations of objects, in buckets that keep them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from object_clerk.transfer.marked import Identity, MarkedListing

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How many versions one request asks for, the most that S3 gives.
PAGE_SIZE = 1000

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Versions(MarkedListing[dict[str, Any]]):
    """An iterator over the versions and delete markers of a bucket, of each key the latest first.

    The entries are S3's own; delete markers have ``"IsDeleteMarker": True`` besides.
    """

    method = "list_object_versions"
    listed = "versions"
    markers = ("KeyMarker", "VersionIdMarker")

    def _entries(self, page: dict[str, Any]) -> Iterable[tuple[Identity, dict[str, Any]]]:
        found = [
            *page.get("Versions", ()),
            *({**each, "IsDeleteMarker": True} for each in page.get("DeleteMarkers", ())),
        ]
        # The answer has them in one order, of which botocore makes two lists. Dates are cut to
        # seconds by some servers, so the sort keeps the server's order among equal ones.
        found.sort(key=lambda each: each.get("LastModified") or _LONG_AGO, reverse=True)
        found.sort(key=lambda each: (each["Key"].encode(), not each.get("IsLatest")))
        return [((each["Key"], each.get("VersionId") or "null"), each) for each in found]
