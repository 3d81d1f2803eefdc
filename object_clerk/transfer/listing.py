"""Listing: page by page, each key once, each page fetched with retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from object_clerk.connection import Connection, request
from object_clerk.exceptions import ObjectClerkServerInternalException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.retry import Operation


class Listing:
    """An iterator over the entries of a bucket; holds one page in memory.

    The first page is fetched at once, so that a wrong bucket shows where the listing is asked
    for and not where it is first used. Each page has the full deadline: it is the consumer who
    decides how long a listing takes.
    """

    def __init__(
        self,
        operation: Callable[[], Operation],
        connection: Connection,
        bucket: str,
        *,
        prefix: str | None,
        delimiter: str | None,
        start_after: str | None,
        limit: int | None,
        page_size: int,
    ) -> None:
        self._operation = operation
        self._connection = connection
        self._parameters: dict[str, Any] = {
            "Bucket": bucket,
            "Prefix": prefix,
            "Delimiter": delimiter,
            "MaxKeys": min(page_size, limit or page_size),
            "StartAfter": start_after,
        }
        self._left = limit
        self._entries = self._all(self._fetch())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._left == 0:
            raise StopIteration
        entry = next(self._entries)
        if self._left is not None:
            self._left -= 1
        return entry

    def _fetch(self) -> dict[str, Any]:
        return request(self._operation(), self._connection, "list_objects_v2", **self._parameters)

    def _all(self, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
        previous: list[str] | None = None
        while True:
            entries = _merged(page)
            names = [_name(entry) for entry in entries]
            # A server that sends a page twice must not make us loop, nor yield a key twice.
            repeated = names == previous
            if not repeated:
                yield from entries
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            stuck = token in (None, self._parameters.get("ContinuationToken"))
            if stuck and (repeated or not entries):
                raise ObjectClerkServerInternalException(
                    "the server says that there are more keys, but does not list them",
                    operation="list_objects",
                    bucket=self._parameters["Bucket"],
                )
            self._parameters["ContinuationToken"] = token
            # Servers without tokens are asked to go on after the last key.
            last = names[-1] if names else self._parameters["StartAfter"]
            self._parameters["StartAfter"] = None if token else last
            previous = names
            page = self._fetch()


def _merged(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Keys and common prefixes of a page in the order of their names."""
    entries = [*page.get("Contents", ()), *page.get("CommonPrefixes", ())]
    return sorted(entries, key=_name) if page.get("CommonPrefixes") else entries


def _name(entry: dict[str, Any]) -> str:
    name: str = entry["Key"] if "Key" in entry else entry["Prefix"]
    return name
