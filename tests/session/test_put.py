"""What a put sends: every kind of contents, hashed, in bounded memory, and never twice."""

from __future__ import annotations

import array
import base64
import hashlib
import io
import os
import threading
import tracemalloc
from typing import IO, TYPE_CHECKING, Any, cast

import pytest
import urllib3

from object_clerk import events
from object_clerk.exceptions import ObjectSaveException, ObjectVerificationException
from object_clerk.receipt import Verdict
from object_clerk.session import Client, RequestError, Usecase
from object_clerk.session.zstd import zstd
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, Request, answer
from tests.session.support import scripted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = bytes(range(256)) * 4 * 1024  # 1 MiB: the most that is taken as a whole
LARGE = CONTENT * 3 + b"end"


class Tellless:
    """A stream that can do nothing but read."""

    def __init__(self, content: bytes, step: int = 100_000) -> None:
        self._inner = io.BytesIO(content)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, self._step) if size >= 0 else -1)


KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "reversed view": lambda content: memoryview(content[::-1])[::-1],
    "BytesIO": io.BytesIO,
    "tell-less": Tellless,
    "byte by byte": lambda content: Tellless(content, 4099),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT, CONTENT + b"y", LARGE], ids=len)
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_every_kind_of_contents(kind: str, content: bytes, compression: Any) -> None:
    imitation = Imitation(knows=True)
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", compression=compression))
        session.put(KINDS[kind](content), "k")
        stored, headers = imitation.objects["att/_/k"]
        assert (zstd.decompress(stored) if compression == "zstd" else stored) == content
        response = session.get("k")
        assert response.payload.read() == content
        request = raw.requests[0]
    known = len(content) <= len(CONTENT) or (
        compression == "none" and isinstance(KINDS[kind](content), bytes | bytearray | memoryview)
    )
    assert request.chunked is not known
    if known:
        digest = base64.b64encode(hashlib.sha256(stored).digest()).decode()
        assert headers["repr-digest"] == f"sha-256=:{digest}:"
        assert headers["x-oc-content-sha256"] == hashlib.sha256(content).hexdigest()
        assert response.verdict is Verdict.CONTENT
    else:
        assert "repr-digest" not in headers


def test_views_of_other_items() -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        client.session(Usecase("att")).put(array.array("I", [1, 2]), "k", "none")  # type: ignore[arg-type]
    assert imitation.objects["att/_/k"][0] == array.array("I", [1, 2]).tobytes()


@pytest.mark.parametrize("size", [10, len(LARGE)])
def test_a_stream_is_taken_from_where_it_stands(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"head" + LARGE[:size])
    imitation = Imitation()
    with (
        RawServer(imitation) as raw,
        Client(raw.url) as client,
        (tmp_path / "file").open("rb") as file,
    ):
        file.read(4)
        client.session(Usecase("att")).put(file, "k")
    assert zstd.decompress(imitation.objects["att/_/k"][0]) == LARGE[:size]


def test_a_pipe() -> None:
    reader, writer = os.pipe()
    imitation = Imitation()

    def feed() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(LARGE)

    thread = threading.Thread(target=feed)
    thread.start()
    with RawServer(imitation) as raw, Client(raw.url) as client, os.fdopen(reader, "rb") as pipe:
        client.session(Usecase("att")).put(pipe, "k")
    thread.join()
    assert zstd.decompress(imitation.objects["att/_/k"][0]) == LARGE


@pytest.mark.parametrize("content", [b"x", LARGE], ids=len)
def test_a_consumed_stream_is_refused_rather_than_sent_empty(content: bytes) -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att"))
        for stream in (io.BytesIO(content), cast("IO[bytes]", Tellless(content))):
            session.put(stream, "k")
            with pytest.raises(ObjectSaveException, match=r"read (to its end )?before"):
                session.put(stream, "k")
        read = io.BytesIO(content)
        read.read()
        with pytest.raises(ObjectSaveException, match="rewind it"):
            session.put(read, "k")
        read.seek(0)
        session.put(read, "k")
        assert len(raw.requests) == 3
        empty = io.BytesIO()
        session.put(empty, "empty")
        session.put(empty, "empty")
        empty.close()
        with pytest.raises(ObjectSaveException, match="closed file"):
            session.put(empty, "empty")


@pytest.mark.parametrize("size", [3, len(LARGE)])
@pytest.mark.parametrize("threshold", [1, "none"])
def test_what_failed_can_be_put_again(size: int, threshold: Any) -> None:
    """A file stands where it stood; what cannot be rewound is not taken from its middle."""
    content = LARGE[:size]
    imitation = Imitation(resumable="yes")
    failing = True

    def reply(request: Request) -> Any:
        if failing and request.method == "PUT":
            return answer(500)
        return imitation(request)

    with RawServer(reply) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=threshold))
        stream, once = io.BytesIO(b"before" + content), Tellless(content)
        stream.seek(6)
        for given in (stream, once):
            with pytest.raises(RequestError):
                session.put(given, "k", "none")
        assert stream.tell() == 6
        failing = False
        session.put(stream, "k", "none")
        assert imitation.objects["att/_/k"][0] == content
        with pytest.raises(ObjectSaveException, match="read before"):
            session.put(once, "k", "none")
        assert imitation.objects["att/_/k"][0] == content


def _busy(_: Request) -> bytes:
    return answer(503, b"busy", {"Retry-After": "0"})


@pytest.mark.parametrize("first", [lambda _: None, _busy], ids=["hang up", "busy"])
@pytest.mark.parametrize(
    "retries",
    [
        3,
        urllib3.Retry(total=3, read=3, allowed_methods=None),
        urllib3.Retry(connect=9),
        urllib3.Retry(read=0, status=2, status_forcelist=[503], allowed_methods=None),
        False,
    ],
    ids=["int", "read", "connect", "status", "none"],
)
@pytest.mark.parametrize("content", [b"x" * 1000, LARGE], ids=len)
@pytest.mark.parametrize("kind", [bytes, io.BytesIO, Tellless])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_users_retries_never_send_what_is_left(
    first: Any, retries: Any, content: bytes, kind: Any, compression: Any
) -> None:
    """Where urllib3 is told to send a body again, it is all of it, or an error."""
    imitation = Imitation()
    seen: list[Request] = []

    def reply(request: Request) -> Any:
        seen.append(request)
        return first(request) if len(seen) == 1 else imitation(request)

    options: Any = {"connection_kwargs": {"retries": retries}, "timeout_ms": 10_000}
    with RawServer(reply) as raw, Client(raw.url, **options) as client:
        session = client.session(Usecase("att", compression))
        try:
            session.put(kind(content), "k")
        except (ObjectSaveException, RequestError, urllib3.exceptions.HTTPError):
            assert imitation.objects == {}
        else:
            assert session.get("k").payload.read() == content
    if kind is bytes and retries == 3:
        assert len(seen) == 3
    elif len(content) == len(LARGE) and kind is not bytes:
        assert sum(request.whole for request in seen) == 1  # a stream cannot be sent again


@pytest.mark.parametrize("kind", [bytes, io.BytesIO, Tellless])
def test_users_retries_of_parts_and_chunks(kind: Any) -> None:
    imitation = Imitation(resumable="yes")
    imitation.uploads["u"] = {}
    seen: list[Request] = []

    def reply(request: Request) -> Any:
        seen.append(request)
        return None if request.body and len(seen) % 2 else imitation(request)

    retries = urllib3.Retry(total=3, read=3, allowed_methods=None)
    with (
        RawServer(reply) as raw,
        Client(raw.url, connection_kwargs={"retries": retries}) as client,
    ):
        session = client.session(Usecase("att", "none", resumable_threshold_bytes=1))
        upload = session.resume_multipart_upload("k", "u")
        if kind is Tellless:
            with pytest.raises(ObjectSaveException, match="cannot be sent again"):
                upload.put_part(kind(LARGE), part_number=1, content_length=len(LARGE))
            assert imitation.uploads["u"] == {}
            return
        upload.put_part(kind(LARGE), part_number=1)
        assert imitation.uploads["u"][1] == LARGE
        session.put(kind(LARGE), "k")
        assert imitation.objects["att/_/k"][0] == LARGE


class Failing(Tellless):
    """A stream that fails on the way."""

    def __init__(self, error: BaseException, after: int = 2 << 20) -> None:
        super().__init__(bytes(after))
        self._error = error

    def read(self, size: int = -1) -> bytes:
        if block := super().read(size):
            return block
        raise self._error


@pytest.mark.parametrize("after", [0, 2 << 20])
@pytest.mark.parametrize(
    "error",
    [
        OSError("disk"),
        BrokenPipeError("pipe"),
        ConnectionResetError("x"),
        KeyError("k"),
        StopIteration(),
    ],
)
def test_a_stream_that_fails_stores_nothing(error: Exception, after: int) -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att"))
        with pytest.raises(ObjectSaveException, match="cannot be read") as caught:
            session.put(cast("IO[bytes]", Failing(error, after)), "k")
        assert caught.value.__cause__ is error
        session.put(b"x", "other")  # the client is as good as before
    assert [*imitation.objects] == ["att/_/other"]


def test_an_interrupt_stores_nothing() -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.session(Usecase("att")).put(cast("IO[bytes]", Failing(KeyboardInterrupt())), "k")
        client.session(Usecase("att")).put(b"x", "other")
    assert [*imitation.objects] == ["att/_/other"]


def test_a_stream_that_gives_nothing_now() -> None:
    class Impatient:
        def read(self, _: int) -> None:
            return None

    with scripted(answer(200)) as (session, raw):
        with pytest.raises(ObjectSaveException, match="does not block"):
            session.put(cast("IO[bytes]", Impatient()))
        assert raw.requests == []


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_large_stream_in_bounded_memory(compression: Any) -> None:
    total = 128 << 20

    class Zeros:
        left = total

        def read(self, size: int) -> bytes:
            count = min(size, self.left)
            self.left -= count
            return bytes(count)

    with (
        RawServer(lambda _: answer(200, {"key": "k"}), keep=False) as raw,
        Client(raw.url) as client,
    ):
        tracemalloc.start()
        try:
            client.session(Usecase("att")).put(cast("IO[bytes]", Zeros()), "k", compression)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert raw.requests[0].whole
        if compression == "none":
            assert raw.requests[0].size == total
    assert most < 16 << 20


# -- what the server says of it ------------------------------------------------------------


def _saying(digest: Callable[[bytes], str]) -> Callable[[Request], bytes]:
    return lambda request: answer(200, {"key": "k", "sha256": digest(request.body)})


@pytest.mark.parametrize("contents", [b"x", LARGE, io.BytesIO(LARGE)], ids=["small", "large", "io"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_the_answer_is_held_against_what_was_sent(contents: Any, compression: Any) -> None:
    told: list[events.Event] = []
    good = _saying(lambda body: hashlib.sha256(body).hexdigest().upper())
    with scripted(good, on_event=told.append) as (session, _):
        if isinstance(contents, io.BytesIO):
            contents.seek(0)
        session.put(contents, "k", compression)
    finished = told[-1]
    assert isinstance(finished, events.Finished)
    assert finished.receipt is not None
    assert finished.receipt.verdict is Verdict.CONTENT
    with scripted(_saying(lambda body: hashlib.sha256(body + b"?").hexdigest())) as (session, _):
        if isinstance(contents, io.BytesIO):
            contents.seek(0)
        with pytest.raises(ObjectVerificationException, match="SHA-256"):
            session.put(contents, "k", compression)


def test_a_server_that_says_nothing_of_it() -> None:
    told: list[events.Event] = []
    with scripted(answer(200, {"key": "k"}), on_event=told.append) as (session, _):
        session.put(b"x", "k")
    assert isinstance(told[-1], events.Finished)
    assert told[-1].receipt is not None
    assert told[-1].receipt.verdict is Verdict.NONE
    assert "does not say" in told[-1].receipt.basis


def test_a_refusal_before_the_body_has_ended() -> None:
    reply = answer(413, {"detail": "too large"}, {"Connection": "close"})
    with RawServer(lambda _: b"", keep=False, early=reply) as raw, Client(raw.url) as client:
        with pytest.raises(RequestError, match="too large") as caught:
            client.session(Usecase("att")).put(io.BytesIO(LARGE), "k")
        assert caught.value.status == 413
