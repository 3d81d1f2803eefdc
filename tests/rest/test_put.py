"""Storing: what is read, what is proved, and what becomes of a source that fails."""

from __future__ import annotations

import array
import asyncio
import gzip
import hashlib
import io
import os
import threading
from typing import IO, TYPE_CHECKING, Any

import httpx2
import pytest

from object_clerk import (
    DestinationExists,
    ObjectClerkConnectionException,
    ObjectClerkServerInternalException,
    ObjectClerkTypeException,
    ObjectSaveException,
    ObjectVerificationException,
    PreconditionFailed,
    Verdict,
)
from object_clerk.events import Retrying
from object_clerk.rest import AsyncRestStore
from object_clerk.rest.sources import PIECE_BYTES
from tests.rest.conftest import (
    Awaited,
    described,
    lost,
    refusal,
    reply,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from object_clerk.rest import RestStore
    from tests.rest.conftest import Clients, Script

DATA = b"observed by night\n" * 100_000


class OnePass(io.RawIOBase):
    """A file that cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.inner.readinto(buffer)


# -- what can be put -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        bytearray(DATA),
        memoryview(DATA),
        DATA.decode(),
        array.array("B", DATA),
        io.BytesIO(DATA),
        [DATA[:5], DATA[5:]],
        memoryview(b"".join(bytes((each, 0)) for each in DATA))[::2],
    ],
    ids=lambda data: type(data).__name__,
)
def test_kinds_of_data(store: RestStore, script: Script, data: Any) -> None:
    script.answers(stored("x", DATA))
    receipt = store.put("x", data)
    assert script.requests[0].body == DATA
    assert receipt.verdict is Verdict.TRANSPORT
    assert receipt.size == len(DATA)
    assert receipt.digests == {"sha256": hashlib.sha256(DATA).hexdigest()}
    assert (receipt.operation, receipt.key, receipt.etag) == ("put", "x", "e1")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, (1 << 20) + 1])
def test_files_are_hashed_before_they_are_sent(
    store: RestStore, script: Script, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    script.answers(stored("x", data))
    with (tmp_path / "file").open("rb") as file:
        store.put("x", file)
        assert not file.closed
        assert file.tell() == size
    (request,) = script.requests
    assert request.body == data
    assert request.headers["content-length"] == str(size)
    assert "repr-digest" in request.headers


def test_a_file_is_taken_from_where_it_stands_or_whole(store: RestStore, script: Script) -> None:
    file = io.BytesIO(b"0123456789")
    script.answers(stored("x", b"56789"), stored("x", b"0123456789"))
    file.seek(5)
    store.put("x", file)
    store.put("x", file)
    assert [each.body for each in script.requests] == [b"56789", b"0123456789"]


@pytest.mark.parametrize("one_pass", [OnePass, lambda data: iter([data])])
def test_streams_are_hashed_while_they_are_sent(
    store: RestStore, script: Script, one_pass: Any
) -> None:
    script.answers(stored("x", DATA))
    receipt = store.put("x", one_pass(DATA))
    (request,) = script.requests
    assert (request.body, request.whole) == (DATA, True)
    assert receipt.digests == {"sha256": hashlib.sha256(DATA).hexdigest()}
    assert receipt.verdict is Verdict.TRANSPORT


def test_a_compressed_file_is_read_once(store: RestStore, script: Script) -> None:
    script.answers(stored("x", DATA))
    with gzip.open(io.BytesIO(gzip.compress(DATA, 1))) as file:
        store.put("x", file)
    assert script.requests[0].body == DATA


def test_async_iterables(script: Script) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    script.answers(stored("x", b"abcd"))
    with Awaited(script.url, "k", retry_delay=0.01) as store:
        assert store.put("x", blocks()).size == 4
    assert (script.requests[0].body, script.requests[0].whole) == (b"abcd", True)


def test_an_async_iterable_that_raises(script: Script) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield b"ab"
        raise KeyError("mine")

    with Awaited(script.url, "k") as store, pytest.raises(ObjectSaveException, match="mine"):
        store.put("x", blocks())
    script.close()
    assert [each.whole for each in script.requests] in ([], [False])


# -- sources that fail ---------------------------------------------------------------------


def raising() -> Iterator[bytes]:
    yield b"some"
    raise OSError("the tape is torn")


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (raising(), ObjectSaveException, "the tape is torn"),
        (iter([b"a", "b"]), ObjectClerkTypeException, "str"),
        (iter([b"a", 7]), ObjectClerkTypeException, "int"),
        (iter([b"a", None]), ObjectClerkTypeException, "NoneType"),
    ],
)
def test_a_stream_that_fails_stores_nothing(
    clients: Clients, script: Script, data: Any, error: type[Exception], said: str
) -> None:
    if clients.kind == "async":
        data = raising() if error is ObjectSaveException else iter([b"a", 7])
        said = said if error is ObjectSaveException else "int"
    with pytest.raises(error, match=said):
        clients(script.url).put("x", data)
    script.close()
    assert [each.whole for each in script.requests] in ([], [False])
    assert clients.of(Retrying) == []


class Restless(io.BytesIO):
    """A file that becomes longer or shorter, or another, when it is read the second time."""

    def __init__(self, then: bytes) -> None:
        super().__init__(DATA)
        self.then = then
        self.begun = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        if (offset, whence) == (0, 0):
            self.begun += 1
            if self.begun == 3:  # to be measured, to be hashed, to be sent
                self.truncate(0)
                super().seek(0)
                self.write(self.then)
        return super().seek(offset, whence)


@pytest.mark.parametrize("then", [DATA[:-1], DATA + b"!", b""])
def test_a_file_of_another_length_stores_nothing(
    clients: Clients, script: Script, then: bytes
) -> None:
    file = Restless(then)
    with pytest.raises(ObjectSaveException, match=r"shorter|longer"):
        clients(script.url).put("x", file)
    script.close()
    assert [each.whole for each in script.requests] in ([], [False])
    assert clients.of(Retrying) == []


def test_a_file_of_another_content_is_refused_by_the_server(
    store: RestStore, script: Script
) -> None:
    script.answers(refusal(400, "the digest of the bytes that came is not the one that was sent"))
    with pytest.raises(ObjectSaveException, match="was changed"):
        store.put("x", Restless(DATA[::-1]))
    assert len(script.requests) == 1


def test_a_file_stands_where_it_stood_after_a_failure(store: RestStore, script: Script) -> None:
    file = io.BytesIO(b"0123456789")
    file.seek(5)
    script.answers(refusal(403, "no"))
    with pytest.raises(PermissionError):
        store.put("x", file)
    assert file.tell() == 5


def test_closed_and_text_files(store: RestStore, script: Script, tmp_path: Path) -> None:
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(ObjectSaveException, match="closed"):
        store.put("x", closed)
    path = tmp_path / "text"
    path.write_text("text")
    with path.open() as file, pytest.raises(ObjectClerkTypeException, match="binary mode"):
        store.put("x", file)  # type: ignore[arg-type]
    script.close()
    assert [each.whole for each in script.requests] in ([], [False])


# -- what the server says ------------------------------------------------------------------


def test_damage_on_the_way_is_sent_again(clients: Clients, script: Script) -> None:
    file: IO[bytes] = io.BytesIO(DATA)
    script.answers(refusal(400, "the digest of the bytes is another"), stored("x", DATA))
    receipt = clients(script.url).put("x", file)
    assert [each.body for each in script.requests] == [DATA, DATA]
    assert receipt.attempts == 2
    (retrying,) = clients.of(Retrying)
    assert isinstance(retrying.cause, ObjectVerificationException)
    assert 0.01 <= retrying.wait_s <= 0.015


def test_damage_that_stays(store: RestStore, script: Script) -> None:
    script.answers(*[refusal(400, "the digest of the bytes is another")] * 4)
    with pytest.raises(ObjectVerificationException, match="digest") as caught:
        store.put("x", b"data")
    assert len(script.requests) == caught.value.attempts == 3


@pytest.mark.parametrize("told", [{"sha256": "0" * 64}, {"size": 5}, {"key": "y"}])
def test_something_else_was_stored(store: RestStore, script: Script, told: dict[str, Any]) -> None:
    script.answers(*[stored("x", b"data", **told)] * 4)
    with pytest.raises(ObjectVerificationException, match="put the object again"):
        store.put("x", iter([b"data"]))
    assert len(script.requests) == 1
    with pytest.raises(ObjectVerificationException, match=f"another {next(iter(told))}"):
        store.put("x", b"data")
    assert len(script.requests) == 4


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            reply(200, {"key": "x", "size": 4, "created_at": "2026-01-31T12:00:00.000000Z"}),
            "IDENTITY",
        ),
        (reply(200, {"size": 4, "sha256": None}), "IDENTITY"),
        (reply(200, {"key": "x"}), "NONE"),
        (reply(201, b"created"), "NONE"),
        (reply(204, b""), "NONE"),
        (reply(200, b"[1]"), "NONE"),
    ],
)
def test_verdicts_of_other_servers(
    store: RestStore, script: Script, answer: bytes, verdict: str
) -> None:
    script.answers(answer)
    assert store.put("x", b"data").verdict.name == verdict


def test_too_large(store: RestStore, script: Script) -> None:
    script.answers(reply(413, b"<html>nginx</html>"), refusal(413, "objects have at most 5 bytes"))
    with pytest.raises(ObjectSaveException, match="larger than the server takes"):
        store.put("x", b"data")
    with pytest.raises(ObjectSaveException, match="at most 5 bytes"):
        store.put("x", b"data")


# -- streams are sent once -----------------------------------------------------------------


def test_a_stream_is_not_sent_twice(clients: Clients, script: Script) -> None:
    script.answers(refusal(503, "busy"), stored("x", b"data"))
    with pytest.raises(ObjectClerkServerInternalException, match="can be read only once"):
        clients(script.url).put("x", iter([b"data"]))
    assert len(script.requests) == 1
    assert clients.of(Retrying) == []


def test_a_file_is_sent_again(store: RestStore, script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    script.answers(refusal(503, "busy"), lost, stored("x", DATA))
    with (tmp_path / "file").open("rb") as file:
        assert store.put("x", file).attempts == 3
    assert [each.body for each in script.requests] == [DATA] * 3


class Hasty(httpx2.AsyncBaseTransport):
    """Answers before it has read anything."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"key": "x", "size": 0})


def test_an_answer_before_the_end_is_no_success() -> None:
    async def run() -> None:
        async with httpx2.AsyncClient(transport=Hasty()) as client:
            store = AsyncRestStore("http://gateway", "k", client=client)
            with pytest.raises(ObjectClerkServerInternalException, match="had everything"):
                await store.put("x", iter([b"data"]))

    asyncio.run(run())


# -- conditions ----------------------------------------------------------------------------


def test_conditions_that_do_not_hold(store: RestStore, script: Script) -> None:
    script.answers(refusal(412, "it is there"), refusal(412, "it has another ETag"), reply(412))
    with pytest.raises(DestinationExists, match="it is there"):
        store.put("x", b"data", if_absent=True)
    with pytest.raises(PreconditionFailed, match="another ETag") as caught:
        store.put("x", b"data", if_match="e0")
    assert not isinstance(caught.value, DestinationExists)
    with pytest.raises(DestinationExists, match="such an object already"):
        store.put("x", b"data", if_absent=True)
    assert len(script.requests) == 3


@pytest.mark.parametrize("condition", [{"if_absent": True}, {"if_match": "e0"}])
@pytest.mark.parametrize("first", [lost, refusal(502, "bad gateway")])
def test_a_lost_answer_is_no_false_412(
    store: RestStore, script: Script, condition: dict[str, Any], first: Any
) -> None:
    script.answers(first, refusal(412, "it is there"), described(b"data"))
    receipt = store.put("x", b"data", **condition)
    assert [each.method for each in script.requests] == ["PUT", "PUT", "HEAD"]
    assert receipt.verdict is Verdict.TRANSPORT
    assert (receipt.etag, receipt.attempts) == ("e1", 2)


@pytest.mark.parametrize("there", [described(b"tada"), described(b"other"), reply(404)])
def test_somebody_elses_object_after_a_lost_answer(
    store: RestStore, script: Script, there: bytes
) -> None:
    script.answers(lost, refusal(412, "it is there"), there)
    with pytest.raises(DestinationExists):
        store.put("x", b"data", if_absent=True)


def test_a_server_that_does_not_tell_after_a_lost_answer(store: RestStore, script: Script) -> None:
    script.answers(lost, refusal(412, "it is there"), reply(200, content_length="4"))
    with pytest.raises(ObjectClerkServerInternalException, match="does not tell") as caught:
        store.put("x", b"data", if_absent=True)
    assert not isinstance(caught.value, PreconditionFailed)


def test_a_refused_connection_leaves_no_doubt(store: RestStore, script: Script) -> None:
    script.answers(refusal(429, "slowly"), refusal(412, "it is there"))
    with pytest.raises(DestinationExists):
        store.put("x", b"data", if_absent=True)
    assert [each.method for each in script.requests] == ["PUT", "PUT"]


def test_conditional_damage_is_not_tried_again(store: RestStore, script: Script) -> None:
    script.answers(stored("x", b"data", sha256="0" * 64))
    with pytest.raises(ObjectVerificationException):
        store.put("x", b"data", if_absent=True)
    assert len(script.requests) == 1


def test_lost_answers_to_the_end(store: RestStore, script: Script) -> None:
    script.answers(lost, lost, lost)
    with pytest.raises(ObjectClerkConnectionException) as caught:
        store.put("x", b"data", if_absent=True)
    assert caught.value.attempts == 3


# -- asyncio -------------------------------------------------------------------------------


def test_a_cancelled_put_stores_nothing_and_gives_the_file_back(script: Script) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reading.set()
            go_on.wait(60)
            return super().read(size)

    async def run(file: Slow) -> None:
        async with AsyncRestStore(script.url, "k") as store:
            task = asyncio.ensure_future(store.put("x", file))
            await asyncio.to_thread(reading.wait, 60)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    file = Slow(b"0123456789")
    file.seek(5)
    asyncio.run(run(file))
    assert file.tell() == 5
    assert script.requests == []


def test_the_loop_goes_on_while_a_file_is_read(script: Script) -> None:
    ticks, seen = [0], []

    class Noticing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            begun = ticks[0]
            for _ in range(3000):
                if ticks[0] > begun:
                    seen.append(True)
                    break
                threading.Event().wait(0.01)
            return super().read(size)

    async def tick() -> None:
        while True:
            ticks[0] += 1
            await asyncio.sleep(0.001)

    async def run() -> None:
        ticking = asyncio.ensure_future(tick())
        async with AsyncRestStore(script.url, "k") as store:
            await store.put("x", Noticing(b"data"))
        ticking.cancel()
        await asyncio.wait((ticking,))

    script.answers(stored("x", b"data"))
    asyncio.run(run())
    assert len(seen) == 4  # twice the data, and twice whether there is more
