"""RestStore: a client of the gateway."""

from __future__ import annotations

import contextlib
import io
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
from object_clerk.rest.incoming import Reading, check_path, held_back
from object_clerk.rest.settings import LIMITS, Settings, announced
from object_clerk.rest.sources import given_back, once, source_of
from object_clerk.retry import Operation, retried

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from typing import Self

    from object_clerk.events import Listener
    from object_clerk.receipt import Receipt
    from object_clerk.rest.exchange import Ask, Write
    from object_clerk.rest.incoming import Incoming, ObjectHead
    from object_clerk.rest.sources import Data, Source

T = TypeVar("T")

#: Bytes that an opened object has in its buffer; the HTTP library hands out pieces of this size.
PIECE_BYTES = 64 << 10


class RestStore:
    """The objects behind a gateway. Safe to share between threads, and a context manager.

    Requests are repeated where that may help, and bytes are verified both ways. Errors are those
    of :mod:`object_clerk.exceptions`; a missing object is also a KeyError.

    Args:
        base_url: where the gateway is; it may have a path.
        api_key: the token.
        timeout: seconds that a connection, or the next piece of a body, may take.
        max_retries: attempts in all that a request gets; 0 is 1.
        retry_delay: seconds before the second attempt; they double each time, and a random part of
            up to half of them is added. A server that asks for more gets it, up to a minute.
        on_event: gets the :mod:`~object_clerk.events` of each call.

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
    ) -> None:
        self._settings = Settings(base_url, api_key, timeout, max_retries, retry_delay, on_event)
        self._client = httpx2.Client(limits=LIMITS)

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
    ) -> Self:
        """The same as the class: keys are encoded either way."""
        return cls(base_url, api_key, timeout, max_retries, retry_delay, on_event=on_event)

    def close(self) -> None:
        """Give up all connections. What comes after fails."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings})"

    # -- writing ---------------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        content_type: str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Receipt:
        """Store an object, whole and verified or not at all; one that is there is replaced.

        Args:
            key: the key.
            data: the content. A str is stored in UTF-8. A file is taken from where it stands, or
                whole if it stands at its end, and is left open; if that fails, it stands where it
                stood. A file that can be rewound is read twice: its digest is sent first.
            content_type: the media type; ``application/octet-stream`` if it is not given.
            if_absent: store it only if there is no such object.
            if_match: store it only if the object that is there has this ETag.

        Raises:
            ObjectSaveException: the data cannot be read, was changed meanwhile, or is too large
                for the server.
            ObjectVerificationException: the server got or has stored something else.
            DestinationExists: ``if_absent`` was given, and the object is there.
            PreconditionFailed: ``if_match`` was given, and another object is there, or none.
        """
        write, source = exchange.Write(key, content_type, if_absent, if_match), source_of(data)
        op = self._settings.operation("put", key, write.doubt)
        with announced(op), given_back(source):
            receipt = _tried(op, lambda: self._put(op, write, source))
            op.finished(receipt)
        return receipt

    def _put(self, op: Operation, write: Write, source: Source) -> Receipt:
        with once(source):
            source.prepare()
            try:
                answer = self._asked(op, write.ask(source.length, source.digest), source)
            except PreconditionFailed as refusal:
                if not write.doubt.is_there:
                    raise
                found = self._asked(op, exchange.look(write.key))
                return write.receipt(op, write.settled(refusal, found, source), source, found)
            finding = write.stored(answer, source)
            return write.receipt(op, finding, source, exchange.head_of(write.key, answer))

    def delete(self, key: str) -> None:
        """Delete an object.

        Raises:
            KeyNotFound: there is none; a KeyError.
        """
        self._done("delete", exchange.delete(key))

    # -- reading ---------------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        """Read an object whole; the bytes are verified.

        Raises:
            KeyNotFound: there is none; a KeyError.
            ObjectVerificationException: its bytes do not verify.
        """
        ask = exchange.get(key)
        op = self._settings.operation("get", key, ask.doubt)

        def attempt() -> tuple[bytes, Receipt]:
            with self._answered(op, ask) as (response, incoming):
                data = b"".join(self._pieces(response, incoming))
                return data, incoming.receipt(op)

        with announced(op):
            data, receipt = _tried(op, attempt)
            op.finished(receipt)
        return data

    def open(self, key: str) -> RestBody:
        """Open an object, to read it as a binary file in bounded memory.

        The last bytes come when all are verified. A body that breaks off raises, and is not asked
        for again: :meth:`get` and :meth:`download` do that.

        Raises:
            KeyNotFound: there is none; a KeyError.
        """
        ask = exchange.get(key)
        op = self._settings.operation("open", key, ask.doubt)

        def attempt() -> RestBody:
            with contextlib.ExitStack() as stack:
                response, incoming = stack.enter_context(self._answered(op, ask))
                reading = Reading(op, incoming)
                pieces = held_back(self._pieces(response, incoming), reading)
                return RestBody(reading, pieces, stack.pop_all())

        with announced(op):
            return _tried(op, attempt)

    def download(self, key: str, path: str | os.PathLike[str]) -> Receipt:
        """Read an object into a file, which has it whole and verified, or what it had before.

        Args:
            key: the key.
            path: the file; directories that are missing are made.

        Raises:
            KeyNotFound: there is none; a KeyError.
            ObjectVerificationException: its bytes do not verify.
            ObjectClerkFileException: the file cannot be written.
        """
        ask, target = exchange.get(key), check_path(path)
        op = self._settings.operation("download", key, ask.doubt)

        def attempt() -> Receipt:
            with self._answered(op, ask) as (response, incoming), PartialFile(target) as file:
                for piece in self._pieces(response, incoming):
                    file.write(piece)
                receipt = incoming.receipt(op)
                file.publish()
                return receipt

        with announced(op):
            receipt = _tried(op, attempt)
            op.finished(receipt)
        return receipt

    def exists(self, key: str) -> bool:
        """Whether there is such an object; whatever keeps us from knowing raises."""
        return self._done("exists", exchange.exists(key))

    def head(self, key: str) -> ObjectHead:
        """What is known of an object, without reading it.

        Raises:
            KeyNotFound: there is none; a KeyError.
        """
        return self._done("head", exchange.head(key))

    def keys(self, prefix: str = "", *, page_size: int = wire.DEFAULT_PAGE) -> Iterator[str]:
        """The keys in the order of their code points, page by page as they are taken.

        Args:
            prefix: only those that begin with it.
            page_size: how many are asked for at once, 1 to 1000.

        Raises:
            UnsupportedError: from the first key, if the store behind the gateway cannot list; a
                NotImplementedError.
        """
        exchange.check_listing(prefix, page_size)
        return self._keys(prefix, page_size)

    def _keys(self, prefix: str, page_size: int) -> Iterator[str]:
        op = self._settings.operation("keys", None, exchange.Doubt())
        cursor: str | None = None
        with announced(op):
            while True:
                ask = exchange.page(prefix, page_size, cursor)
                page = _tried(op, partial(self._asked, op, ask))
                yield from page.keys
                if page.next_cursor is None:
                    break
                cursor = page.next_cursor
            op.finished(None)

    def presign(self, key: str, method: str = "GET", expires: float | timedelta = 3600) -> str:
        """A URL with which the object can be read or written without the API key.

        Args:
            key: the key.
            method: ``GET`` (also good for HEAD) or ``PUT``.
            expires: seconds until it ends, at most a week.

        Raises:
            UnsupportedError: the gateway makes none; a NotImplementedError.
        """
        return self._done("presign", exchange.presign(key, method, expires))

    # -- requests --------------------------------------------------------------------------

    def _done(self, name: str, ask: Ask[T]) -> T:
        """A call of one request with a small answer."""
        op = self._settings.operation(name, ask.key, ask.doubt)
        with announced(op):
            found = _tried(op, lambda: self._asked(op, ask))
            op.finished(None)
        return found

    def _asked(self, op: Operation, ask: Ask[T], source: Source | None = None) -> T:
        """One request with a small answer, once."""
        with self._sent(op, ask, source) as response:
            return self._judged(ask, response)

    @contextlib.contextmanager
    def _answered(
        self, op: Operation, ask: Ask[Incoming]
    ) -> Iterator[tuple[httpx2.Response, Incoming]]:
        """One request whose answer is an object, once."""
        with self._sent(op, ask) as response:
            if response.status_code not in ask.hoped_for:
                self._judged(ask, response)  # raises
            yield (
                response,
                self._settings.judged(ask, exchange.Answer(response.status_code, response.headers)),
            )

    @contextlib.contextmanager
    def _sent(
        self, op: Operation, ask: Ask[Any], source: Source | None = None
    ) -> Iterator[httpx2.Response]:
        if self._client.is_closed:
            raise ObjectClerkOperationException("the store was closed")
        request = self._settings.request(ask, ask.content if source is None else source.pieces())
        with errors.transport(self._settings.timeout_s, Failure.AMBIGUOUS):
            response = self._client.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            exchange.saw(op, response.headers)
            yield response
        finally:
            response.close()

    def _judged(self, ask: Ask[T], response: httpx2.Response) -> T:
        body = bytearray()
        for piece in self._received(response):
            body += piece
            exchange.check_size(body)
        answer = exchange.Answer(response.status_code, response.headers, bytes(body))
        return self._settings.judged(ask, answer)

    def _received(self, response: httpx2.Response) -> Iterator[bytes]:
        """The pieces of a body as they were sent, with no content coding undone."""
        with errors.transport(self._settings.timeout_s, Failure.BODY):
            yield from response.iter_raw()

    def _pieces(self, response: httpx2.Response, incoming: Incoming) -> Iterator[bytes]:
        for piece in self._received(response):
            incoming.take(piece)
            yield piece


@retried
def _tried(op: Operation, attempt: Callable[[], T]) -> T:
    """An attempt, as often as the settings allow."""
    return attempt()


class RestBody(io.BufferedReader):
    """An object that was opened: a binary file that is read once, from front to back.

    Attributes:
        head: what is known of the object.
    """

    def __init__(
        self, reading: Reading, pieces: Iterator[bytes], held: contextlib.ExitStack
    ) -> None:
        super().__init__(_Pieces(reading, pieces, held), PIECE_BYTES)
        self.head: ObjectHead = reading.incoming.head
        self._reading = reading

    @property
    def receipt(self) -> Receipt | None:
        """What was proved; None until all of it was read."""
        return self._reading.receipt


class _Pieces(io.RawIOBase):
    """Pieces that come in, as a file."""

    def __init__(
        self, reading: Reading, pieces: Iterator[bytes], held: contextlib.ExitStack
    ) -> None:
        super().__init__()
        self._reading = reading
        self._pieces = pieces
        self._held = held
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            with self._reading.step():
                self._rest = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def readall(self) -> bytes:
        with self._reading.step():
            rest = b"".join((self._rest, *self._pieces))
        self._rest = memoryview(b"")
        return rest

    def close(self) -> None:
        if not self.closed:
            self._held.close()
        super().close()
