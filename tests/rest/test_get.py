"""Reading: nothing unproved looks like an object, and nothing that was cut like its end."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import stat
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkFileException,
    ObjectClerkOperationException,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.events import Failed, Finished, Retrying, Started
from object_clerk.exceptions import OperationCancelled
from object_clerk.rest import AsyncRestStore, ObjectHead, RestStore, wire
from tests.rest.conftest import KEY, cut, described, found, lost, reply

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.rest.conftest import Clients, Script, Step

DATA = os.urandom(300_000)
WRONG = found(DATA).replace(DATA, DATA[:-1] + bytes([DATA[-1] ^ 1]))
NO_END = reply(200, DATA, content_length="", connection="close")
BAD_DIGEST = reply(200, DATA, repr_digest="sha-256=:AAAA:")


def chunked(data: bytes, **headers: str) -> bytes:
    head = reply(200, b"", content_length="", transfer_encoding="chunked", **headers)
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


def read_whole(store: RestStore, key: str, _: Path) -> bytes:
    return store.get(key)


def read_to_file(store: RestStore, key: str, directory: Path) -> bytes:
    receipt = store.download(key, directory / "file")
    data = (directory / "file").read_bytes()
    assert receipt.size == len(data)
    assert receipt.digests == {"sha256": hashlib.sha256(data).hexdigest()}
    return data


WHOLE = pytest.mark.parametrize("read", [read_whole, read_to_file])


@WHOLE
@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_reading(store: RestStore, script: Script, tmp_path: Path, read: Any, data: bytes) -> None:
    script.answers(found(data))
    assert read(store, "x", tmp_path) == data


@WHOLE
@pytest.mark.parametrize(
    "first",
    [lost, cut(found(DATA), 1000), cut(found(DATA), 0), WRONG, BAD_DIGEST],
    ids=["lost", "cut", "cut at once", "wrong", "digest"],
)
def test_what_does_not_verify_is_asked_for_again(
    clients: Clients, script: Script, tmp_path: Path, read: Any, first: Step
) -> None:
    script.answers(first, found(DATA))
    assert read(clients(script.url), "x", tmp_path) == DATA
    assert len(script.requests) == 2
    assert len(clients.of(Retrying)) == 1


@WHOLE
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (cut(found(DATA), 1000), ObjectClerkConnectionException),
        (cut(chunked(DATA), 1000), ObjectClerkConnectionException),
        (WRONG, ObjectVerificationException),
        (BAD_DIGEST, ObjectVerificationException),
        (NO_END, ObjectVerificationException),
    ],
    ids=["cut", "cut chunk", "wrong", "digest", "no end"],
)
def test_what_never_verifies(
    clients: Clients,
    script: Script,
    tmp_path: Path,
    read: Any,
    answer: Step,
    error: type[ObjectClerkException],
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    script.answers(*[answer] * 4)
    with pytest.raises(error) as caught:
        read(clients(script.url), "x", tmp_path)
    assert caught.value.attempts == len(script.requests) == (1 if answer is NO_END else 3)
    assert (tmp_path / "file").read_bytes() == b"before"
    assert names(tmp_path) == ["file"]
    assert [type(each) for each in clients.seen if not isinstance(each, Retrying)] == [
        Started,
        Failed,
    ]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (found(DATA), Verdict.CONTENT),
        (chunked(DATA, repr_digest=wire.repr_digest(hashlib.sha256(DATA).digest())), "CONTENT"),
        (reply(200, DATA), "IDENTITY"),
        (reply(200, DATA, repr_digest="md5=:AAAA:"), "IDENTITY"),
        (chunked(DATA), "NONE"),
        (NO_END.replace(b"close", b"close\r\n" + found(DATA).split(b"\r\n")[2]), "CONTENT"),
    ],
)
def test_verdicts(
    store: RestStore, script: Script, tmp_path: Path, answer: bytes, verdict: Any
) -> None:
    script.answers(answer)
    receipt = store.download("x", tmp_path / "file")
    assert receipt.verdict is (Verdict[verdict] if isinstance(verdict, str) else verdict)
    assert (tmp_path / "file").read_bytes() == DATA


@WHOLE
def test_a_stored_coding_is_not_undone(
    store: RestStore, script: Script, tmp_path: Path, read: Any
) -> None:
    data = gzip.compress(b"text")
    script.answers(found(data, content_encoding="gzip"))
    assert read(store, "x", tmp_path) == data


# -- open ----------------------------------------------------------------------------------


def test_open(store: RestStore, script: Script) -> None:
    script.answers(found(DATA, content_type="image/fits"))
    with store.open("x") as body:
        assert body.head.size == len(DATA)
        assert body.head.content_type == "image/fits"
        assert body.read(0) == b""
        assert body.read(10) == DATA[:10]
        before = body.receipt
        assert body.read(200_000) == DATA[10:200_010]
        assert body.read() == DATA[200_010:]
        assert body.read() == body.read(10) == b""
        assert before is None
        assert body.receipt is not None
        assert body.receipt.verdict is Verdict.CONTENT


def test_an_opened_object_is_a_file(script: Script) -> None:
    script.answers(found(b"a\nb\nc"), found(b"a\nb\nc"))
    with RestStore(script.url, KEY) as store:
        with store.open("x") as body:
            assert list(body) == [b"a\n", b"b\n", b"c"]
        with io.TextIOWrapper(store.open("x")) as text:
            assert text.read() == "a\nb\nc"


def test_blocks_of_the_async_one(script: Script) -> None:
    async def run() -> list[bytes]:
        async with AsyncRestStore(script.url, KEY) as store, await store.open("x") as body:
            return [block async for block in body]

    script.answers(found(DATA * 8))
    blocks = asyncio.run(run())
    assert b"".join(blocks) == DATA * 8
    assert {len(block) for block in blocks[:-1]} == {1 << 20}


@pytest.mark.parametrize("step", [7_777, 65_536, 1_000_000, -1])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (cut(found(DATA), 200_000), ObjectClerkConnectionException),
        (cut(chunked(DATA), 200_000), ObjectClerkConnectionException),
        (WRONG, ObjectVerificationException),
        (NO_END, ObjectVerificationException),
    ],
    ids=["cut", "cut chunk", "wrong", "no end"],
)
def test_a_failure_never_looks_like_an_end(
    clients: Clients, script: Script, answer: Step, error: type[Exception], step: int
) -> None:
    script.answers(answer)
    with clients(script.url).open("x") as body:
        got: list[int] = []

        def read_on() -> None:
            while block := body.read(step):
                got.append(len(block))

        with pytest.raises(error):
            read_on()
        assert sum(got) < len(DATA)
        for _ in range(3):
            with pytest.raises(error):
                body.read(step)
        assert body.receipt is None
    assert len(clients.of(Failed)) == 1
    assert clients.of(Finished) == []


def test_the_last_bytes_come_when_all_are_verified(store: RestStore, script: Script) -> None:
    script.answers(WRONG)
    with store.open("x") as body, pytest.raises(ObjectVerificationException):
        body.read(len(DATA))


def test_open_is_retried_until_it_is_open(clients: Clients, script: Script) -> None:
    script.answers(lost, reply(503), found(DATA))
    with clients(script.url).open("x") as body:
        assert body.read() == DATA
        assert body.receipt is not None
        assert body.receipt.attempts == 3
    assert [type(each) for each in clients.seen] == [Started, Retrying, Retrying, Finished]


def test_a_body_that_is_left_gives_up_its_connection(store: RestStore, script: Script) -> None:
    script.answers(found(DATA * 30), found(b"next"))
    with store.open("x") as body:
        body.read(10)
    assert store.get("x") == b"next"
    with pytest.raises(ValueError, match="closed"):
        body.read(1)
    body.close()


def test_an_interrupted_read_is_not_at_its_end(store: RestStore, script: Script) -> None:
    script.answers(found(DATA))
    with store.open("x") as body:
        inner: Any = body.raw if hasattr(body, "raw") else body.body  # type: ignore[attr-defined]
        pieces = inner._pieces

        def interrupted() -> None:
            raise KeyboardInterrupt

        class Interrupting:
            def __iter__(self) -> Any:
                interrupted()

            def __next__(self) -> bytes:
                interrupted()
                return b""

            async def __anext__(self) -> bytes:
                interrupted()
                return b""

        inner._pieces = Interrupting()
        with pytest.raises(KeyboardInterrupt):
            body.read(10)
        inner._pieces = pieces
        with pytest.raises(OperationCancelled, match="KeyboardInterrupt"):
            body.read(10)


def test_a_cancelled_read_is_not_at_its_end(script: Script) -> None:
    silence = threading.Event()

    def half(connection: socket.socket) -> None:
        connection.sendall(found(DATA)[:-1000])
        silence.wait(60)

    async def run() -> None:
        async with AsyncRestStore(script.url, KEY) as store, await store.open("x") as body:
            task = asyncio.ensure_future(body.read())
            await asyncio.wait((task,), timeout=0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(OperationCancelled):
                await body.read()

    script.answers(half)
    try:
        asyncio.run(run())
    finally:
        silence.set()


# -- files ---------------------------------------------------------------------------------


def test_download_replaces_and_keeps_the_mode(
    store: RestStore, script: Script, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    path.chmod(0o640)
    script.answers(found(DATA), found(DATA))
    store.download("x", str(path))
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    store.download("x", tmp_path / "new" / "deep" / "file")
    assert (tmp_path / "new" / "deep" / "file").read_bytes() == DATA
    assert names(tmp_path / "new" / "deep") == ["file"]


@pytest.mark.parametrize("target", [".", "file/below"])
def test_a_file_that_cannot_be_written(
    clients: Clients, script: Script, tmp_path: Path, target: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    script.answers(found(DATA))
    with pytest.raises(ObjectClerkFileException, match="cannot be written"):
        clients(script.url).download("x", tmp_path / target)
    assert names(tmp_path) == ["file"]
    assert clients.of(Retrying) == []


@pytest.mark.parametrize("path", ["", "a\0b", 7, None])
def test_impossible_paths(store: RestStore, script: Script, path: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        store.download("x", path)
    assert script.requests == []


# -- head ----------------------------------------------------------------------------------


def test_head(store: RestStore, script: Script) -> None:
    date = "Sat, 31 Jan 2026 12:00:00 GMT"
    script.answers(
        described(b"data", content_type="text/plain", last_modified=date),
        reply(200, content_length="", etag='W/"weak"', last_modified="whenever"),
    )
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    sha256 = hashlib.sha256(b"data").hexdigest()
    assert store.head("x") == ObjectHead("x", 4, "e1", "text/plain", moment, sha256)
    assert store.head("x") == ObjectHead("x", None, "weak")


def test_an_answer_that_is_not_expected(store: RestStore, script: Script) -> None:
    script.answers(reply(206, b"part"))
    with pytest.raises(ObjectClerkOperationException) as caught:
        store.get("x")
    assert caught.value.status == 206
