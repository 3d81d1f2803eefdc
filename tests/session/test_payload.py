"""The stream that a get gives: an ordinary file, verified before it ends, in bounded memory."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import signal
import tracemalloc
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import HTTPError, ProtocolError

from object_clerk.exceptions import ObjectVerificationException
from object_clerk.receipt import Verdict
from object_clerk.session import RequestError
from object_clerk.session.wire import repr_digest
from object_clerk.session.zstd import compressed
from tests.session.raw import Request, answer, chunked
from tests.session.support import pool_of, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = b"".join(b"line %d\n" % number for number in range(100_000))
FRAME = b"".join(compressed([TEXT]))
ZSTD = {"Content-Encoding": "zstd"}


def digests(stored: bytes, content: bytes | None = None) -> dict[str, str]:
    headers = {"Repr-Digest": repr_digest(hashlib.sha256(stored).digest())}
    if content is not None:
        headers["X-OC-Content-SHA256"] = hashlib.sha256(content).hexdigest()
    return headers


@pytest.fixture(params=["length", "chunks"])
def reply(request: pytest.FixtureRequest) -> bytes:
    """The same object with Content-Length, and in chunks."""
    if request.param == "length":
        return answer(200, FRAME, ZSTD)
    return chunked(200, (FRAME[i : i + 999] for i in range(0, len(FRAME), 999)), ZSTD)


def test_an_ordinary_file(reply: bytes) -> None:
    with scripted(reply) as (session, raw):
        with session.get("k") as response:
            payload = response.payload
            assert isinstance(payload, io.BufferedIOBase)
            assert payload.readable()
            assert not payload.writable()
            assert not payload.seekable()
            assert payload.read(5) == TEXT[:5]
            assert payload.readline() == TEXT[5:7]
            assert next(payload) == b"line 1\n"
            buffer = bytearray(70_000)
            assert payload.readinto(buffer) == 70_000
            assert buffer == TEXT[14:70_014]
            assert payload.read1(10)
            assert payload.peek(1)
            position = 70_024
            assert payload.read() == TEXT[position:]
            assert payload.read() == b""
        assert payload.closed
        assert [*session.get("k").payload] == TEXT.splitlines(keepends=True)
        assert raw.connections == 1


def test_small_reads(reply: bytes) -> None:
    with scripted(reply) as (session, _), session.get("k").payload as payload:
        assert b"".join(iter(lambda: payload.read(777), b"")) == TEXT


def test_an_empty_object() -> None:
    empty = b"".join(compressed([]))
    for each in (answer(200), answer(200, empty, ZSTD), chunked(200, [])):
        with scripted(each) as (session, _):
            assert session.get("k").payload.read() == b""


def test_closing_gives_the_connection_back() -> None:
    pieces = [answer(200, bytes(4 << 20))]
    with scripted(pieces[0]) as (session, raw):
        for _ in range(3):
            session.get("k").payload.close()
        with session.get("k") as response:
            response.payload.read(10)
        session.get("k")
        gc.collect()  # nobody holds the last one: it is closed
        assert len(session.get("k").payload.read()) == 4 << 20
        assert pool_of(session._client).qsize() == 10
        assert len(raw.requests) == 6
        with pytest.raises(ValueError, match="closed"):
            response.payload.read()


def test_reading_to_the_end_gives_the_connection_back() -> None:
    with scripted(answer(200, b"x")) as (session, raw):
        for _ in range(5):
            payload = session.get("k").payload
            assert payload.read(1) == b"x"
            assert pool_of(session._client).qsize() == 10
        assert raw.connections == 1


# -- verdicts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "verdict", "basis"),
    [
        (
            answer(200, FRAME, {**ZSTD, **digests(FRAME, TEXT)}),
            Verdict.CONTENT,
            "and of the content",
        ),
        (answer(200, FRAME, {**ZSTD, **digests(FRAME)}), Verdict.CONTENT, "stored bytes, kept"),
        (answer(200, TEXT, digests(TEXT, TEXT)), Verdict.CONTENT, "and of the content"),
        (answer(200, FRAME, ZSTD), Verdict.IDENTITY, "the length alone"),
        (chunked(200, [FRAME], ZSTD), Verdict.NONE, "neither a digest nor a length"),
    ],
)
def test_verdicts(reply: bytes, verdict: Verdict, basis: str) -> None:
    with scripted(reply) as (session, _):
        response = session.get("k")
        assert response.verdict is Verdict.NONE
        assert "not read to its end" in response.basis
        assert response.payload.read() == TEXT
        assert response.verdict is verdict
        assert basis in response.basis


def test_as_stored_is_held_against_the_stored_bytes_alone() -> None:
    with scripted(answer(200, FRAME, {**ZSTD, **digests(FRAME, TEXT)})) as (session, _):
        response = session.get("k", decompress=False)
        assert response.payload.read() == FRAME
        assert response.verdict is Verdict.CONTENT
        assert "and of the content" not in response.basis


@pytest.mark.parametrize(
    "headers",
    [{**ZSTD, **digests(FRAME + b"?")}, {**ZSTD, **digests(FRAME, TEXT + b"?")}],
)  # fmt: skip
@pytest.mark.parametrize("step", [-1, 1000, 1 << 20])
def test_damaged_bytes_never_end_well(headers: dict[str, str], step: int) -> None:
    with scripted(answer(200, FRAME, headers)) as (session, _):
        response = session.get("k")
        came = bytearray()
        with pytest.raises(ObjectVerificationException, match="SHA-256"):  # noqa: PT012
            while block := response.payload.read(step):
                came += block
        assert len(came) < len(TEXT)
        assert response.verdict is Verdict.NONE
        for _ in range(2):  # and it does not look like the end afterwards
            with pytest.raises(ObjectVerificationException, match="failed before"):
                response.payload.read(step)
        response.payload.close()


@pytest.mark.parametrize("cut", [1, 4, 5, 100, len(FRAME) - 1])
def test_a_truncated_frame(cut: int) -> None:
    with scripted(answer(200, FRAME[:cut], ZSTD)) as (session, _):
        payload = session.get("k").payload
        with pytest.raises(ObjectVerificationException, match="cut off"):
            payload.read()


def test_no_frame_at_all() -> None:
    for body in (b"plain text", b"", FRAME + b"junk"):
        with scripted(answer(200, body, ZSTD)) as (session, _):
            payload = session.get("k").payload
            with pytest.raises(ObjectVerificationException, match="damaged"):
                payload.read()


def test_frames_one_after_another() -> None:
    with scripted(answer(200, FRAME + FRAME, ZSTD)) as (session, _):
        assert session.get("k").payload.read() == TEXT + TEXT


@pytest.mark.parametrize("whole", [answer(200, TEXT), chunked(200, [TEXT[:500], TEXT[500:]])])
@pytest.mark.parametrize("encoding", [{}, ZSTD])
def test_a_body_that_is_cut_off(whole: bytes, encoding: dict[str, str]) -> None:
    reply = answer(200, FRAME, encoding) if encoding else whole
    with scripted(lambda _: [reply[:-6]]) as (session, _):
        payload = session.get("k").payload
        with pytest.raises(ProtocolError):
            payload.read()
        payload.close()


def test_a_bomb_is_read_in_bounded_memory() -> None:
    bomb = b"".join(compressed(repeat(bytes(1 << 20), 512)))
    with scripted(answer(200, bomb, ZSTD)) as (session, _), session.get("k") as response:
        buffer = bytearray(1 << 16)
        total = 0
        tracemalloc.start()
        try:
            while count := response.payload.readinto(buffer):
                total += count
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == 512 << 20
        assert most < 8 << 20


def test_a_large_body_comes_in_bounded_memory() -> None:
    def pieces(_: Request) -> Iterator[bytes]:
        yield answer(200, headers={"Content-Length": str(64 << 20)}, length=False)
        yield from repeat(bytes(1 << 20), 64)

    with scripted(pieces) as (session, _):
        payload: Any = session.get("k").payload
        total = 0
        tracemalloc.start()
        try:
            while block := payload.read(1 << 16):
                total += len(block)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == 64 << 20
        assert most < 8 << 20


def test_what_is_left_is_given_once() -> None:
    with scripted(answer(200, TEXT)) as (session, _):
        payload = session.get("k").payload
        assert payload.raw.readinto(bytearray(10)) == 10
        assert payload.read() == TEXT[10:]
        assert payload.read() == b""
        assert payload.raw.readall() == b""


class Interrupt(Exception):
    """What a handler of a signal raises, such as the end of a task's time."""


#: Every way to read, from the middle of the buffer to beyond it.
READS: dict[str, Any] = {
    "read": lambda payload: payload.read(300_000),
    "read all": lambda payload: payload.read(),
    "read1": lambda payload: payload.read1(300_000),
    "readinto": lambda payload: payload.readinto(bytearray(300_000)),
    "readinto1": lambda payload: payload.readinto1(bytearray(300_000)),
    "readline": lambda payload: payload.readline(),
    "readlines": lambda payload: payload.readlines(),
    "peek": lambda payload: (payload.read(len(payload.peek(1))), payload.peek(1)),
    "next": lambda payload: next(payload),
    "for": lambda payload: [*payload],
}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Interrupt])
@pytest.mark.parametrize(
    ("where", "how"),
    [
        *(("response", how) for how in READS),
        *(("readall" if how == "read all" else "readinto", how) for how in READS),
    ],
)
def test_an_interrupt_does_not_look_like_the_end(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], how: str, where: str
) -> None:
    """Python's buffer forgets what an interrupted read had collected: nothing may follow that."""
    content = bytes(1 << 20)  # one line
    with scripted(answer(200, content, digests(content))) as (session, _):
        payload = session.get("k").payload
        assert payload.read(100_000) == content[:100_000]
        count = 0

        def interrupted(method: Any) -> Any:
            def instead(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count > 1 or where == "readall":
                    raise kind
                return method(*args, **kwargs)

            return instead

        place = payload.raw._response if where == "response" else payload.raw
        for name in ("read", "stream") if where == "response" else (where,):
            monkeypatch.setattr(place, name, interrupted(getattr(place, name)))
        with pytest.raises(kind):  # noqa: PT012
            for _ in range(9):
                READS[how](payload)
        monkeypatch.undo()
        for each in READS.values():
            with pytest.raises(ObjectVerificationException, match="failed before"):
                each(payload)
        assert payload.finding.verdict is Verdict.NONE
        assert pool_of(session._client).qsize() == 10
        payload.close()


def test_signals_leave_no_holes() -> None:
    content = TEXT * 8

    def alarm(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with scripted(answer(200, content, digests(content))) as (session, _):
            for number in range(100):
                got, payload = b"", session.get("k").payload
                try:
                    with contextlib.suppress(Interrupt):
                        signal.setitimer(signal.ITIMER_REAL, 0.0003 * (number % 20 + 1))
                        got += payload.read(len(content) - 1)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    got += payload.read()
                except (Interrupt, ObjectVerificationException):
                    assert got != content
                else:
                    assert got == content
                payload.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_verdict_outlives_the_payload() -> None:
    with scripted(answer(200, TEXT, digests(TEXT))) as (session, _):
        with session.get("k") as response:
            response.payload.read()
        with pytest.raises(ValueError, match="closed"):
            response.payload.read()
        assert response.verdict is Verdict.CONTENT


# -- lengths -------------------------------------------------------------------------------


def _size(size: int) -> dict[str, str]:
    return {"X-SN-Size": str(size)}


@pytest.mark.parametrize(
    "reply",
    [
        chunked(200, [TEXT[:10]], _size(len(TEXT))),
        [answer(200, TEXT[:10], {"Connection": "close", **_size(len(TEXT))}, length=False)],
        [answer(200, FRAME[:-6] + FRAME[:9], {"Connection": "close", **ZSTD, **_size(len(FRAME))},
                length=False)],
    ],
)  # fmt: skip
def test_a_body_that_ends_too_early(reply: Any) -> None:
    with scripted(lambda _: reply) as (session, _):
        response = session.get("k")
        with pytest.raises(ObjectVerificationException):
            response.payload.read()
        assert response.verdict is Verdict.NONE


def test_the_size_alone_is_a_length() -> None:
    with scripted(chunked(200, [FRAME], {**ZSTD, **_size(len(FRAME))})) as (session, _):
        response = session.get("k")
        assert response.payload.read() == TEXT
        assert response.verdict is Verdict.IDENTITY
    with (
        scripted(chunked(200, [TEXT], _size(len(TEXT) - 1))) as (session, _),
        pytest.raises(ObjectVerificationException, match="stored bytes"),
    ):
        session.get("k").payload.read()


def test_two_lengths_that_differ() -> None:
    with (
        scripted(answer(200, TEXT, _size(len(TEXT) + 1))) as (session, _),
        pytest.raises(RequestError, match="makes no sense"),
    ):
        session.get("k")
    part = answer(206, b"23", {"Content-Range": "bytes 2-3/10", **_size(10)})
    with scripted(part) as (session, _):
        assert session.get("k", begin=2, end=4).payload.read() == b"23"


@pytest.mark.parametrize(
    ("lengths", "good"),
    [("3\r\ncontent-length: 3", True), ("3, 3", True), ("3,4", False), ("+3", False), ("3 ", True)],
)
def test_a_length_that_is_said_twice(lengths: str, good: bool) -> None:
    """RFC 9110, 8.6: it is one length, if all are the same."""
    reply = f"HTTP/1.1 200 OK\r\ncontent-length: {lengths}\r\n\r\nabc".encode()
    with scripted(lambda _: [reply]) as (session, _):
        if good:
            assert session.get("k").payload.read() == b"abc"
        else:
            with pytest.raises((RequestError, HTTPError)):
                session.get("k")
