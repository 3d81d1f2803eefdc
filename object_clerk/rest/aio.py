"""AsyncRestStore: the same client for programs that run in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from object_clerk.exceptions import (
    Failure,
    ObjectClerkOperationException,
    PreconditionFailed,
)
from object_clerk.rest import errors, exchange, wire
from object_clerk.rest.files import PartialFile
from object_clerk.rest.incoming import Reading, check_path, held_back_async
from object_clerk.rest.settings import LIMITS, Settings, announced
from object_clerk.rest.sources import (
    BLOCK_BYTES,
    AsyncStreamSource,
    async_source_of,
    given_back,
    once,
)
from object_clerk.retry import Operation, retried_async

if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
    )
    from datetime import timedelta
    from typing import Self

    from object_clerk.events import Listener
    from object_clerk.receipt import Receipt
    from object_clerk.rest.exchange import Ask, Write
    from object_clerk.rest.incoming import Incoming, ObjectHead
    from object_clerk.rest.sources import Block, Data, Source

T = TypeVar("T")


class AsyncRestStore:
    """The verbs of :class:`~object_clerk.rest.RestStore`, to be awaited.

    Arguments, results and errors are the same. ``put`` takes async iterables too, ``open`` gives
    an :class:`AsyncRestBody`, and ``keys`` an async iterator. Files are read and written in
    threads.

    Args:
        base_url: where the gateway is; it may have a path.
        api_key: the token.
        timeout: seconds that a connection, or the next piece of a body, may take.
        max_retries: attempts in all that a request gets; 0 is 1.
        retry_delay: seconds before the second attempt, see :class:`RestStore`.
        on_event: gets the :mod:`~object_clerk.events` of each call.
        client: an ``httpx2.AsyncClient`` whose connections are used; it is not closed.

    Raises:
        ObjectClerkConfigurationException: a setting is impossible.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout: float = 30.0,
        max_retries: int = 3,
        retry_delay: float = 1.0,
        *,
        on_event: Listener | None = None,
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        self._settings = Settings(base_url, api_key, timeout, max_retries, retry_delay, on_event)
        self._client = httpx2.AsyncClient(limits=LIMITS) if client is None else client
        self._is_ours = client is None
        self._closed = False

    @classmethod
    def create(
        cls,
        base_url: str,
        api_key: str,
        timeout: float = 30.0,
        max_retries: int = 3,
        retry_delay: float = 1.0,
        *,
        on_event: Listener | None = None,
        client: httpx2.AsyncClient | None = None,
    ) -> Self:
        """The same as the class: keys are encoded either way."""
        return cls(
            base_url, api_key, timeout, max_retries, retry_delay, on_event=on_event, client=client
        )

    async def close(self) -> None:
        """Give up all connections but those of a ``client``. What comes after fails."""
        self._closed = True
        if self._is_ours:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings})"

    # -- writing ---------------------------------------------------------------------------

    async def put(
        self,
        key: str,
        data: Data | AsyncIterable[Block],
        *,
        content_type: str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Receipt:
        """Store an object; see :meth:`RestStore.put`.

        A call that is cancelled stores nothing if bytes were still to be sent; else it may be the
        old object or the new one that is there.
        """
        write = exchange.Write(key, content_type, if_absent, if_match)
        source = async_source_of(data)
        op = self._settings.operation("put", key, write.doubt)
        with announced(op), given_back(source):
            receipt = await _tried(op, partial(self._put, op, write, source))
            op.finished(receipt)
        return receipt

    async def _put(self, op: Operation, write: Write, source: Source) -> Receipt:
        with once(source):
            if source.blocks or source.size > BLOCK_BYTES:
                await _in_thread(source.prepare)
            else:
                source.prepare()
            try:
                answer = await self._asked(op, write.ask(source.length, source.digest), source)
            except PreconditionFailed as refusal:
                if not write.doubt.is_there:
                    raise
                found = await self._asked(op, exchange.look(write.key))
                return write.receipt(op, write.settled(refusal, found, source), source, found)
            finding = write.stored(answer, source)
            return write.receipt(op, finding, source, exchange.head_of(write.key, answer))

    async def delete(self, key: str) -> None:
        """Delete an object; see :meth:`RestStore.delete`."""
        await self._done("delete", exchange.delete(key))

    # -- reading ---------------------------------------------------------------------------

    async def get(self, key: str) -> bytes:
        """Read an object whole; see :meth:`RestStore.get`."""
        ask = exchange.get(key)
        op = self._settings.operation("get", key, ask.doubt)

        async def attempt() -> tuple[bytes, Receipt]:
            async with self._answered(op, ask) as (response, incoming):
                data = b"".join([piece async for piece in self._pieces(response, incoming)])
                return data, incoming.receipt(op)

        with announced(op):
            data, receipt = await _tried(op, attempt)
            op.finished(receipt)
        return data

    async def open(self, key: str) -> AsyncRestBody:
        """Open an object, to read it in bounded memory; see :meth:`RestStore.open`."""
        ask = exchange.get(key)
        op = self._settings.operation("open", key, ask.doubt)

        async def attempt() -> AsyncRestBody:
            async with contextlib.AsyncExitStack() as stack:
                response, incoming = await stack.enter_async_context(self._answered(op, ask))
                reading = Reading(op, incoming)
                received = self._pieces(response, incoming)
                stack.push_async_callback(received.aclose)
                pieces = held_back_async(received, reading)
                stack.push_async_callback(pieces.aclose)
                return AsyncRestBody(reading, pieces, stack.pop_all())

        with announced(op):
            return await _tried(op, attempt)

    async def download(self, key: str, path: str | os.PathLike[str]) -> Receipt:
        """Read an object into a file; see :meth:`RestStore.download`."""
        ask, target = exchange.get(key), check_path(path)
        op = self._settings.operation("download", key, ask.doubt)

        async def attempt() -> Receipt:
            async with self._answered(op, ask) as (response, incoming):
                with PartialFile(target) as file:
                    async with contextlib.aclosing(self._pieces(response, incoming)) as pieces:
                        async for piece in pieces:
                            await _in_thread(partial(file.write, piece))
                    receipt = incoming.receipt(op)
                    await _in_thread(file.publish)
                    return receipt

        with announced(op):
            receipt = await _tried(op, attempt)
            op.finished(receipt)
        return receipt

    async def exists(self, key: str) -> bool:
        """Whether there is such an object; whatever keeps us from knowing raises."""
        return await self._done("exists", exchange.exists(key))

    async def head(self, key: str) -> ObjectHead:
        """What is known of an object, without reading it; see :meth:`RestStore.head`."""
        return await self._done("head", exchange.head(key))

    def keys(self, prefix: str = "", *, page_size: int = wire.DEFAULT_PAGE) -> AsyncIterator[str]:
        """The keys, page by page as they are taken; see :meth:`RestStore.keys`."""
        exchange.check_listing(prefix, page_size)
        return self._keys(prefix, page_size)

    async def _keys(self, prefix: str, page_size: int) -> AsyncIterator[str]:
        op = self._settings.operation("keys", None, exchange.Doubt())
        cursor: str | None = None
        with announced(op):
            while True:
                ask = exchange.page(prefix, page_size, cursor)
                page = await _tried(op, partial(self._asked, op, ask))
                for key in page.keys:
                    yield key
                if page.next_cursor is None:
                    break
                cursor = page.next_cursor
            op.finished(None)

    async def presign(
        self, key: str, method: str = "GET", expires: float | timedelta = 3600
    ) -> str:
        """A URL that needs no API key; see :meth:`RestStore.presign`."""
        return await self._done("presign", exchange.presign(key, method, expires))

    # -- requests --------------------------------------------------------------------------

    async def _done(self, name: str, ask: Ask[T]) -> T:
        """A call of one request with a small answer."""
        op = self._settings.operation(name, ask.key, ask.doubt)
        with announced(op):
            found = await _tried(op, partial(self._asked, op, ask))
            op.finished(None)
        return found

    async def _asked(self, op: Operation, ask: Ask[T], source: Source | None = None) -> T:
        """One request with a small answer, once."""
        async with self._sent(op, ask, source) as response:
            return await self._judged(ask, response)

    @contextlib.asynccontextmanager
    async def _answered(
        self, op: Operation, ask: Ask[Incoming]
    ) -> AsyncIterator[tuple[httpx2.Response, Incoming]]:
        """One request whose answer is an object, once."""
        async with self._sent(op, ask) as response:
            if response.status_code not in ask.hoped_for:
                await self._judged(ask, response)  # raises
            yield (
                response,
                self._settings.judged(ask, exchange.Answer(response.status_code, response.headers)),
            )

    @contextlib.asynccontextmanager
    async def _sent(
        self, op: Operation, ask: Ask[Any], source: Source | None = None
    ) -> AsyncIterator[httpx2.Response]:
        if self._closed:
            raise ObjectClerkOperationException("the store was closed")
        request = self._settings.request(ask, ask.content if source is None else _content(source))
        with errors.transport(self._settings.timeout_s, Failure.AMBIGUOUS):
            response = await self._client.send(
                request, stream=True, auth=None, follow_redirects=False
            )
        try:
            exchange.saw(op, response.headers)
            yield response
        finally:
            await response.aclose()

    async def _judged(self, ask: Ask[T], response: httpx2.Response) -> T:
        body = bytearray()
        async with contextlib.aclosing(self._received(response)) as pieces:
            async for piece in pieces:
                body += piece
                exchange.check_size(body)
        answer = exchange.Answer(response.status_code, response.headers, bytes(body))
        return self._settings.judged(ask, answer)

    async def _received(self, response: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """The pieces of a body as they were sent, with no content coding undone."""
        if response.is_stream_consumed:  # a hook of the caller's client has read it
            yield response.content
            return
        with errors.transport(self._settings.timeout_s, Failure.BODY):
            async with contextlib.aclosing(response.aiter_raw()) as pieces:
                async for piece in pieces:
                    yield piece

    async def _pieces(
        self, response: httpx2.Response, incoming: Incoming
    ) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(self._received(response)) as pieces:
            async for piece in pieces:
                incoming.take(piece)
                yield piece


@retried_async
async def _tried(op: Operation, attempt: Callable[[], Awaitable[T]]) -> T:
    """An attempt, as often as the settings allow."""
    return await attempt()


async def _content(source: Source) -> AsyncGenerator[bytes, None]:
    """What is sent. Pieces that may take a while are fetched in a thread."""
    if isinstance(source, AsyncStreamSource):
        async with contextlib.aclosing(source.apieces()) as arriving:
            async for piece in arriving:
                yield piece
        return
    pieces = source.pieces()
    fetch = partial(next, pieces, None)
    while (found := await _in_thread(fetch) if source.blocks else fetch()) is not None:
        yield found


async def _in_thread(call: Callable[[], T]) -> T:
    """What a call in a thread returns.

    If this is cancelled, the call is waited for: it may have hold of the caller's file.
    """
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # nobody else will look at it
        raise


class AsyncRestBody:
    """An object that was opened: ``async with``, ``await read()``, ``async for`` over its pieces.

    It is read once, from front to back, and the last bytes come when all are verified.

    Attributes:
        head: what is known of the object.
    """

    def __init__(
        self,
        reading: Reading,
        pieces: AsyncIterator[bytes],
        held: contextlib.AsyncExitStack,
    ) -> None:
        self.head: ObjectHead = reading.incoming.head
        self._reading = reading
        self._pieces = pieces
        self._held = held
        self._rest = bytearray()
        self._is_closed = False

    @property
    def receipt(self) -> Receipt | None:
        """What was proved; None until all of it was read."""
        return self._reading.receipt

    async def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes, all that is left if it is negative or None; none at the end.

        Raises:
            ObjectVerificationException: the bytes do not verify.
            ObjectClerkConnectionException: the body broke off.
        """
        if self._is_closed:
            raise ValueError("the body was closed")
        wanted = None if size is None or size < 0 else size
        with self._reading.step():
            while wanted is None or len(self._rest) < wanted:
                piece = await anext(self._pieces, b"")
                if not piece:
                    break
                self._rest += piece
        taken = bytes(self._rest[:wanted])
        del self._rest[: len(taken)]
        return taken

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if block := await self.read(BLOCK_BYTES):
            return block
        raise StopAsyncIteration

    async def close(self) -> None:
        """Give up the connection; what was not read is not verified."""
        self._is_closed = True
        await self._held.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
