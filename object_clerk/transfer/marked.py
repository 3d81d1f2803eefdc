"""Listings whose pages begin at a pair of markers: of unfinished uploads, and of versions."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    OperationCancelled,
)
from object_clerk.retry import Operation, retried
from object_clerk.transfer.listing import MOST_EMPTY_PAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from object_clerk.connection import Connection

T = TypeVar("T")
Identity = tuple[str, str]


class MarkedListing(abc.ABC, Generic[T]):
    """An iterator over what such a listing has; holds one page in memory.

    The first page is fetched at once, as that of a listing of objects.

    Args:
        operation: makes an operation for each page.
        connection: where.
        bucket: the bucket.
        prefix: only keys that begin with it.
        **parameters: more parameters of the request.
    """

    #: The client's method, what it lists, and the parameters that say where a page begins.
    method: ClassVar[str]
    listed: ClassVar[str]
    markers: ClassVar[tuple[str, str]]

    def __init__(
        self,
        operation: Callable[[], Operation],
        connection: Connection,
        bucket: str,
        prefix: str | None,
        **parameters: Any,
    ) -> None:
        self._operation = operation
        self._connection = connection
        self._prefix = prefix or ""
        self._parameters: dict[str, Any] = {"Bucket": bucket, **parameters}
        self._error: ObjectClerkException | None = None
        self._all_entries = self._all(self._fetch())

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._error is not None:
            raise self._error  # who goes on after an error must not take it for the end
        try:
            return next(self._all_entries)
        except ObjectClerkException as error:
            error.concerning(f"list_{self.listed}", self._parameters["Bucket"], None)
            self._error = error
            raise
        except KeyboardInterrupt:
            self._error = OperationCancelled("the listing was interrupted")
            raise

    @abc.abstractmethod
    def _entries(self, page: dict[str, Any]) -> Iterable[tuple[Identity, T]]:
        """What is on a page, in the server's order; what a marker would say of each."""

    def _request(self, op: Operation) -> dict[str, Any]:
        """Ask for a page, once."""
        answer = self._connection.call(op, self.method, **self._parameters)
        if not answer.keys() - {"ResponseMetadata", "RequestCharged"}:
            # An answer that is no listing at all would pass for an empty one.
            raise ObjectClerkServerInternalException(
                "the server's answer is no listing", failure=Failure.TRANSIENT
            )
        return answer

    def _fetch(self) -> dict[str, Any]:
        return _page(self._operation(), self)

    def _all(self, page: dict[str, Any]) -> Iterator[T]:
        begun: set[Identity] = set()
        before: set[Identity] = set()
        empty = 0
        while True:
            found = dict(self._entries(page))  # each once
            for identity, entry in found.items():
                # A page may begin with the entry that the marker names (rclone).
                if identity not in before and identity[0].startswith(self._prefix):
                    yield entry
            if not page.get("IsTruncated"):
                return
            marker = self._marker(page, list(found))
            empty = 0 if found else empty + 1
            if marker is None or marker in begun or empty > MOST_EMPTY_PAGES:
                raise ObjectClerkServerInternalException(
                    "the server's listing makes no sense: it says that there are more "
                    f"{self.listed}, but does not list them"
                )
            begun.add(marker)
            self._parameters |= zip(self.markers, marker, strict=True)
            before = set(found)
            page = self._fetch()

    def _marker(self, page: dict[str, Any], found: list[Identity]) -> Identity | None:
        """Where the next page begins: as the server says, or after the last entry."""
        key, second = (page.get(f"Next{name}") for name in self.markers)
        if key:
            return key, second or ""
        return found[-1] if found else None


@retried
def _page(op: Operation, listing: MarkedListing[Any]) -> dict[str, Any]:
    return listing._request(op)
