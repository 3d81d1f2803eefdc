"""Listing: page by page, each key once, each page fetched with retries."""

from __future__ import annotations

import functools
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    OperationCancelled,
)
from object_clerk.retry import Operation, retried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from object_clerk.connection import Connection

#: Pages without a new key that are taken in a row. Servers that filter have empty ones.
MOST_EMPTY_PAGES = 1000
MOST_REPEATED_PAGES = 3

#: When half of a page with so many entries was taken, the next one is fetched meanwhile. Smaller
#: pages are not worth a thread, and who took less may not want more.
AHEAD_ENTRIES = 500


class Listing:
    """An iterator over the entries of a bucket; holds two pages in memory at most.

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
            # MinIO ends a listing too early that asks for one key and has one that is the prefix.
            "MaxKeys": max(2, min(page_size, limit or page_size)),
            "StartAfter": start_after,
        }
        self._left = limit
        self._progress = _Progress()
        self._error: ObjectClerkException | None = None
        self._entries = self._all(self._fetch())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._left == 0:
            raise StopIteration
        if self._error is not None:
            raise self._error  # who goes on after an error must not take it for the end
        try:
            entry = next(self._entries)
        except ObjectClerkException as error:
            error.concerning("list_objects", self._parameters["Bucket"], None)
            self._error = error
            raise
        except StopIteration:
            raise
        except BaseException as error:
            self._error = OperationCancelled(f"the listing was broken off: {type(error).__name__}")
            raise
        if self._left is not None:
            self._left -= 1
        return entry

    def _fetch(self) -> dict[str, Any]:
        return _page(self._operation(), self._connection, self._parameters)

    def _all(self, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            entries = _merged(page)
            is_new = self._progress.made_by([_name(entry) for entry in entries])
            more = bool(page.get("IsTruncated"))
            if is_new and more and len(entries) >= AHEAD_ENTRIES:
                half = len(entries) // 2
                yield from entries[:half]
                if self._left is None or self._left > len(entries) - half:
                    self._go_on(page)
                    with _Ahead(self._operation(), self._connection, self._parameters) as ahead:
                        yield from entries[half:]
                        page = ahead.page()
                    continue
                entries = entries[half:]
            if is_new:
                yield from entries
            if not more:
                return
            self._go_on(page)
            page = self._fetch()

    def _go_on(self, page: dict[str, Any]) -> None:
        """Ask for what follows this page from now on."""
        token = self._progress.continued(page.get("NextContinuationToken"))
        self._parameters["ContinuationToken"] = token
        if token is None:  # servers without tokens are asked to go on after the last key
            self._parameters["StartAfter"] = self._progress.last


class _Ahead:
    """A page that is fetched while the one before it is read.

    Its errors are raised where the page is needed. A listing that is not read on, or that is
    thrown away, stops it before its next attempt.
    """

    def __init__(self, op: Operation, connection: Connection, parameters: dict[str, Any]) -> None:
        self._op = op
        self._fetch = functools.partial(_page, op, connection, dict(parameters))
        self._found: Future[dict[str, Any]] = Future()
        self._pid = os.getpid()
        try:
            # A daemon, since nobody has to wait for what nobody will read.
            threading.Thread(target=self._run, name=op.name, daemon=True).start()
        except RuntimeError:
            self._pid = 0  # there is no thread to be had

    def _run(self) -> None:
        try:
            self._found.set_result(self._fetch())
        except BaseException as error:  # noqa: BLE001 - it is raised where the page is needed
            self._found.set_exception(error)

    def page(self) -> dict[str, Any]:
        """The page, fetched here and now if no thread of this process is at it."""
        return self._found.result() if self._pid == os.getpid() else self._fetch()

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._op.cancel()


class _Progress:
    """Makes sure that a listing gets on: no key twice, and no end that never comes.

    Servers were seen to send a page again. One that is repeated at once is passed over; one that
    comes later, or a token that leads back, is an error. Keys come in order from every S3 server
    but those of directory buckets, so going back is told by the order unless there never was one.
    """

    def __init__(self) -> None:
        self.last = ""
        self._page: list[str] = []
        self._in_order = True
        self._repeated = False
        self._idle = 0
        self._tokens: set[str] = set()

    def made_by(self, names: list[str]) -> bool:
        """Whether a page with these names brings something new."""
        self._repeated = bool(names) and names == self._page
        if not names or self._repeated:
            self._idle += 1
            return False
        if self._in_order and names[0] <= self.last:
            raise _stuck("it went back to keys that it had listed before")
        self._in_order = self._in_order and names == sorted(names)
        self._page, self.last, self._idle = names, names[-1], 0
        return True

    def continued(self, token: str | None) -> str | None:
        """The token for the next page, if it can lead anywhere."""
        most = MOST_REPEATED_PAGES if self._repeated else MOST_EMPTY_PAGES
        if token in self._tokens or (token is None and self._idle) or self._idle > most:
            raise _stuck("it says that there are more keys, but does not list them")
        if token is not None:
            self._tokens.add(token)
        return token


def _stuck(what: str) -> ObjectClerkServerInternalException:
    return ObjectClerkServerInternalException(f"the server's listing makes no sense: {what}")


@retried
def _page(op: Operation, connection: Connection, parameters: dict[str, Any]) -> dict[str, Any]:
    answer = connection.call(op, "list_objects_v2", **parameters)
    if "IsTruncated" not in answer and "Contents" not in answer:
        # An answer that is no listing at all would pass for one without keys.
        raise ObjectClerkServerInternalException(
            "the server's answer is no listing", failure=Failure.TRANSIENT
        )
    return answer


def _merged(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Keys and common prefixes of a page in the order of their names."""
    entries = [*page.get("Contents", ()), *page.get("CommonPrefixes", ())]
    return sorted(entries, key=_name) if page.get("CommonPrefixes") else entries


def _name(entry: dict[str, Any]) -> str:
    name: str = entry["Key"] if "Key" in entry else entry["Prefix"]
    return name
