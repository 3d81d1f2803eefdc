"""AsyncObjectStore: an ObjectStore for programs with an event loop.

The calls of the store are made in threads, at most so many at a time. Cancelling one ends the
waiting, not the work: a call that was begun goes on in its thread to its end, since half a request
cannot be taken back. So after the cancellation of a write the object may be the old one or the new
one, and it is whole in both cases. Two things are promised besides: an upload whose bytes come from
an async iterator stores nothing if it is cancelled before the iterator has ended, and an object
that was opened for nobody is closed. To cancel a second time is fine.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from object_clerk.exceptions import ObjectClerkOperationException, ObjectClerkParameterException
from object_clerk.store.pipe import Pipe
from object_clerk.store.store import ObjectStore
from object_clerk.store.threads import Threads

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta
    from typing import IO

    from object_clerk.receipt import Receipt
    from object_clerk.store.configurations import ObjectStoreConfiguration
    from object_clerk.store.models import (
        Bucket,
        ObjectInfo,
        ObjectVersion,
        OpenedObject,
    )

T = TypeVar("T")

#: Bytes that are read at once where the caller does not say.
BLOCK_BYTES = 1 << 20

#: Entries of a listing that are fetched at once; a page of S3 has as many.
BATCH = 1000


class AsyncObjectStore:
    """The verbs of :class:`~object_clerk.store.ObjectStore`, to be awaited.

    Arguments, results and errors are the same. Objects that are opened are
    :class:`AsyncOpenedObject`, listings are async iterators, and ``put_object_v2`` takes async
    iterators of bytes too. It is bound to no event loop.

    Args:
        store_or_config: a store, which is left open, or what an ObjectStore is made of.
        max_threads: calls that are made at once. Uploads from async iterators have as many threads
            of their own, since what they upload may come from other calls.

    Attributes:
        store: the store behind it.
        config: its configuration.
        root_bucket: the bucket that is meant where none is given.
    """

    def __init__(
        self,
        store_or_config: ObjectStore | ObjectStoreConfiguration | Mapping[str, Any] | None = None,
        *,
        max_threads: int = 16,
    ) -> None:
        if type(max_threads) is not int or max_threads < 1:
            raise ObjectClerkParameterException("max_threads is a whole number, at least 1")
        if isinstance(store_or_config, ObjectStore):
            self.store, self._is_ours = store_or_config, False
        else:
            self.store, self._is_ours = ObjectStore(store_or_config), True
        self.config = self.store.config
        self.root_bucket = self.store.root_bucket
        self._threads = Threads(max_threads, "object-store")
        self._uploads = Threads(max_threads, "object-store-upload")

    @classmethod
    def named(cls, name: str, *, max_threads: int = 16) -> AsyncObjectStore:
        """The store with this name; see :meth:`ObjectStore.named`."""
        made = cls(ObjectStore.named(name), max_threads=max_threads)
        made._is_ours = True
        return made

    async def close(self, *, wait: bool = True) -> None:
        """Give up threads and connections.

        Args:
            wait: for the calls that were begun. Otherwise they go on in their threads, which Python
                waits for at its end; those that have not begun are not made.
        """
        await asyncio.to_thread(self._close, wait)

    def _close(self, wait: bool) -> None:
        self._uploads.shutdown(wait=wait)
        self._threads.shutdown(wait=wait)
        if self._is_ours:
            self.store.close()

    async def __aenter__(self) -> AsyncObjectStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self.store!r}"

    # -- files -----------------------------------------------------------------------------

    async def upload_file(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file; see :meth:`ObjectStoreClient.upload_object`."""
        return await self._call(self.store.upload_file, file_path, key, bucket, **options)

    async def upload_object(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file; see :meth:`ObjectStoreClient.upload_object`."""
        return await self._call(self.store.upload_object, file_path, key, bucket, **options)

    async def put_object_v2(
        self,
        data: bytes | IO[bytes] | AsyncIterable[bytes],
        key: str,
        bucket: str | None = None,
        length: int = -1,
        **options: Any,
    ) -> Receipt:
        """Store bytes, a stream, or the blocks of an async iterator.

        The iterator is asked for more only as fast as the upload goes. If it raises, nothing is
        stored, and its error is raised here. See :meth:`ObjectStoreClient.put_object_v2`.
        """
        if isinstance(data, AsyncIterable):
            return await self._upload_from(data, key, bucket, length, options)
        return await self._call(self.store.put_object_v2, data, key, bucket, length, **options)

    async def _upload_from(
        self,
        blocks: AsyncIterable[bytes],
        key: str,
        bucket: str | None,
        length: int,
        options: dict[str, Any],
    ) -> Receipt:
        pipe = Pipe()
        put = self._uploads.submit(
            self.store.put_object_v2, pipe.reader, key, bucket, length, **options
        )
        upload, feeding = asyncio.wrap_future(put), asyncio.create_task(pipe.feed(blocks))
        try:
            await asyncio.wait((upload, feeding), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done() and feeding.exception() is not None:
                await asyncio.wait((upload,))  # so that nothing is under way any more
                feeding.result()
            return await upload
        finally:
            pipe.break_off()
            upload.cancel()  # if it is over, this says that its error was seen
            feeding.cancel()
            await asyncio.wait((feeding,))  # the producer may have something to tidy up

    async def download_file(
        self,
        key: str,
        file_path: str | os.PathLike[str],
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Read an object into a file; see :meth:`ObjectStoreClient.download_file`."""
        return await self._call(
            self.store.download_file, key, file_path, bucket, version, **options
        )

    async def download_object(
        self,
        key: str,
        file_path: str | os.PathLike[str] | None = None,
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> AsyncOpenedObject:
        """Read an object into a file, and hand it over.

        See :meth:`ObjectStoreClient.download_object`.
        """
        return await self._open(
            self.store.download_object, key, file_path, bucket, version, **options
        )

    # -- objects ---------------------------------------------------------------------------

    async def get_file(
        self, key: str, bucket: str | None = None, version: str | None = None, **options: Any
    ) -> AsyncOpenedObject:
        """Open an object; the same as :meth:`get_object`."""
        return await self._open(self.store.get_file, key, bucket, version, **options)

    async def get_object(
        self, key: str, bucket: str | None = None, version: str | None = None, **options: Any
    ) -> AsyncOpenedObject:
        """Open an object; see :meth:`ObjectStoreClient.get_object`."""
        return await self._open(self.store.get_object, key, bucket, version, **options)

    async def head_object(
        self, key: str, bucket: str | None = None, version: str | None = None
    ) -> ObjectInfo:
        """What is known of an object; see :meth:`ObjectStoreClient.head_object`."""
        return await self._call(self.store.head_object, key, bucket, version)

    async def delete_file(
        self, key: str, version: str | None = None, bucket: str | None = None
    ) -> None:
        """Delete an object, as :meth:`delete_object` does; mind the order of the arguments."""
        await self._call(self.store.delete_file, key, version, bucket)

    async def delete_object(
        self,
        key: str,
        bucket: str | None = None,
        version: str | None = None,
        *,
        if_unchanged: ObjectInfo | None = None,
    ) -> None:
        """Delete an object; see :meth:`ObjectStoreClient.delete_object`."""
        await self._call(self.store.delete_object, key, bucket, version, if_unchanged=if_unchanged)

    async def copy_object(
        self,
        src_object: str,
        dst_object: str,
        src_bucket: str | None = None,
        dst_bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Copy an object; see :meth:`ObjectStoreClient.copy_object`."""
        return await self._call(
            self.store.copy_object, src_object, dst_object, src_bucket, dst_bucket, **options
        )

    # -- listings --------------------------------------------------------------------------

    def list_buckets(self) -> AsyncListing[Bucket]:
        """All buckets that may be seen, by name."""
        return AsyncListing(self._threads, self.store.list_buckets)

    def list_files(
        self, prefix: str = "", bucket: str | None = None, **options: Any
    ) -> AsyncListing[ObjectInfo]:
        """The objects of a bucket; the same as :meth:`list_objects`."""
        return self.list_objects(prefix, bucket, **options)

    def list_objects(
        self, prefix: str = "", bucket: str | None = None, **options: Any
    ) -> AsyncListing[ObjectInfo]:
        """The objects of a bucket; see :meth:`ObjectStoreClient.list_objects`."""
        return AsyncListing(
            self._threads, lambda: self.store.list_objects(prefix, bucket, **options)
        )

    def list_versions(
        self, prefix: str = "", bucket: str | None = None
    ) -> AsyncListing[ObjectVersion]:
        """All generations of the objects; see :meth:`ObjectStoreClient.list_versions`."""
        return AsyncListing(self._threads, lambda: self.store.list_versions(prefix, bucket))

    # -- URLs ------------------------------------------------------------------------------

    async def get_presigned_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL to read an object with; see :meth:`ObjectStoreClient.get_presigned_url`."""
        return await self._call(self.store.get_presigned_url, key, bucket, expires)

    async def get_presigned_upload_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL to write an object with; see :meth:`ObjectStoreClient.get_presigned_upload_url`."""
        return await self._call(self.store.get_presigned_upload_url, key, bucket, expires)

    # -- shared ----------------------------------------------------------------------------

    async def call(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Make a call of your own in one of the threads: several steps, and one change of threads.

        A result that is a context manager is closed if nobody waits for it any more.
        """
        return await self._call(call, *args, **kwargs)

    async def _call(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await self._threads.call(call, *args, **kwargs)

    async def _open(
        self, call: Callable[..., OpenedObject], *args: Any, **kwargs: Any
    ) -> AsyncOpenedObject:
        return AsyncOpenedObject(await self._call(call, *args, **kwargs), self._threads)


class AsyncBody:
    """The content of an object, which is read once, from front to back.

    Args:
        body: the file behind it.
        threads: where it is read.
    """

    def __init__(self, body: IO[bytes], threads: Threads) -> None:
        self._body = body
        self._threads = threads
        self._one_at_a_time = threading.Lock()
        self._spoilt = False

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, all that is left if it is negative; none at the end.

        Raises:
            ObjectVerificationException: the bytes do not verify.
            ObjectClerkOperationException: an earlier read was cancelled, and what it read is lost.
        """
        if self._spoilt:
            raise ObjectClerkOperationException(
                "a read was cancelled, and what it read is lost: open the object again"
            )
        try:
            return await self._threads.call(self._alone, self._body.read, size)
        except asyncio.CancelledError:
            self._spoilt = True
            raise

    async def close(self) -> None:
        """Close it; what was not read is not verified.

        It is closed behind a read that goes on after it was cancelled; that is not waited for.
        """
        closing = self._threads.submit(self._alone, self._body.close)
        if not self._spoilt:
            await asyncio.shield(asyncio.wrap_future(closing))

    def _alone(self, call: Callable[..., T], *args: Any) -> T:
        with self._one_at_a_time:
            return call(*args)

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        if block := await self.read(BLOCK_BYTES):
            return block
        raise StopAsyncIteration


class AsyncOpenedObject:
    """An object that was opened: ``async with``, and ``async for`` over its blocks.

    Attributes:
        body: its content.
        updated_time: when it was written last, with its time zone.
        info: all that is known of it.
    """

    def __init__(self, opened: OpenedObject, threads: Threads) -> None:
        self.body = AsyncBody(opened.body, threads)
        self.updated_time: datetime = opened.updated_time
        self.info: ObjectInfo = opened.info

    async def close(self) -> None:
        """Close the body."""
        await self.body.close()

    async def __aenter__(self) -> AsyncOpenedObject:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncBody:
        return self.body


class AsyncListing(Generic[T]):
    """The entries of a listing, fetched some at a time, and closed when nobody wants them.

    Nothing is asked, and no argument is checked, before the first entry is awaited. A cancelled
    wait loses nothing: the next one goes on where it would have.

    Args:
        threads: where they are fetched.
        start: begins the listing.
    """

    def __init__(self, threads: Threads, start: Callable[[], Iterator[T]]) -> None:
        self._threads = threads
        # Nothing else holds it: a listing that is left in the middle is closed as it is forgotten.
        self._batches = _Batches(start)

    def __aiter__(self) -> AsyncListing[T]:
        return self

    async def __anext__(self) -> T:
        ready = self._batches.ready
        while not ready and not self._batches.ended:
            await self._threads.call(self._batches.fetch)
        if ready:
            return ready.popleft()
        if self._batches.error is not None:
            raise self._batches.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End it. It is fine to do so twice."""
        await self._threads.call(self._batches.close)


class _Batches(Generic[T]):
    """A listing that is fetched by one thread at a time, and keeps what it has fetched."""

    def __init__(self, start: Callable[[], Iterator[T]]) -> None:
        self.ready: deque[T] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._start = start
        self._entries: Iterator[T] | None = None
        self._one_at_a_time = threading.Lock()

    def fetch(self) -> None:
        """Make some more entries ready, unless a fetch that nobody waited for did so."""
        with self._one_at_a_time:
            if self.ready or self.ended:
                return
            try:
                if self._entries is None:
                    self._entries = self._start()
                self.ready.extend(itertools.islice(self._entries, BATCH))
                self.ended = len(self.ready) < BATCH
            except Exception as error:  # noqa: BLE001 - raised behind the entries before it
                self.error, self.ended = error, True

    def close(self) -> None:
        """End it, after the fetch that may be under way."""
        with self._one_at_a_time:
            self.ended = True
            self.ready.clear()
            close = getattr(self._entries, "close", None)
            if close is not None:
                close()
