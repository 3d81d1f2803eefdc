"""Resumable uploads inside put: when, how they go on, and what happens where there are none."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, cast

import pytest
from urllib3.exceptions import MaxRetryError

from object_clerk.exceptions import ObjectSaveException
from object_clerk.receipt import Verdict
from object_clerk.session import Client, RequestError, Session, Usecase, resumable
from object_clerk.session.wire import repr_digest
from object_clerk.session.zstd import zstd
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, Request, answer
from tests.session.test_put import Tellless

#: Not to be compressed much.
CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(70_000))
CHUNK = 1 << 20
PLACE = "att/_/k"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without doing it; and small chunks."""
    waited: list[float] = []
    monkeypatch.setattr("object_clerk.session.resumable.time.sleep", waited.append)
    monkeypatch.setattr(resumable, "CHUNK_BYTES", CHUNK)
    return waited


@pytest.fixture
def imitation() -> Imitation:
    return Imitation(knows=True, resumable="yes")


@pytest.fixture
def opened(imitation: Imitation) -> Any:
    with RawServer(imitation) as raw, Client(raw.url) as client:
        yield client.session(Usecase("att", resumable_threshold_bytes=1 << 20)), raw


Opened = tuple[Session, RawServer]


def chunks(raw: RawServer) -> list[tuple[str, int]]:
    return [
        (request.headers["upload-offset"], len(request.body))
        for request in raw.requests
        if "upload-offset" in request.headers
    ]


@pytest.mark.parametrize("kind", [bytes, io.BytesIO, bytearray])
@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("key", ["k", None])
def test_large_contents_go_in_chunks(
    opened: Opened, imitation: Imitation, kind: Any, compression: Any, key: str | None
) -> None:
    session, raw = opened
    made = session.put(kind(CONTENT), key, compression, "a/b", {"n": "v"})
    stored, headers = imitation.objects[f"att/_/{made}"]
    assert (zstd.decompress(stored) if compression == "zstd" else stored) == CONTENT
    assert headers["content-type"] == "a/b"
    assert headers["x-snme-n"] == "v"
    assert headers["repr-digest"] == repr_digest(hashlib.sha256(stored).digest())
    assert [int(offset) for offset, _ in chunks(raw)] == [*range(0, len(stored), CHUNK)]
    assert imitation.sessions == {}  # the one that asked whether there are any was cancelled
    assert session.get(made).payload.read() == CONTENT
    assert [place for place, _ in imitation.history] == [f"att/_/{made}"]


def test_what_begins_an_upload(opened: Opened) -> None:
    session, raw = opened
    session.put(CONTENT, "k", "none")
    session.put(CONTENT, "k", "none")
    begun = [r for r in raw.requests if "upload_type=resumable" in r.target]
    assert [request.method for request in begun] == ["POST", "PUT", "PUT"]  # it is asked once
    assert begun[1].target == "/v1/objects/att/_/k?upload_type=resumable"
    assert begun[1].headers["upload-length"] == str(len(CONTENT))
    assert begun[1].headers["content-length"] == "0"
    assert {request.body for request in begun} == {b""}


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (CONTENT[: 1 << 20][:-1], {}),
        (CONTENT, {"resumable_threshold_bytes": "none"}),
        (CONTENT, {"resumable_threshold_bytes": len(CONTENT) + 1}),
        (Tellless(CONTENT), {}),
    ],
)
def test_what_does_not(opened: Opened, content: Any, options: Any) -> None:
    session, raw = opened
    session.put(content, "k", **options)
    assert [request.target for request in raw.requests] == ["/v1/objects/att/_/k"]


def test_a_stream_from_where_it_stands(opened: Opened, imitation: Imitation) -> None:
    for compression in ("none", "zstd"):
        stream = io.BytesIO(b"head" + CONTENT)
        stream.read(4)
        opened[0].put(stream, "k", cast("Any", compression))
        stored, _ = imitation.objects[PLACE]
        assert (zstd.decompress(stored) if compression == "zstd" else stored) == CONTENT


def test_the_granularity_of_the_server() -> None:
    imitation = Imitation(resumable="yes", granularity=300_000)
    with RawServer(imitation) as raw, Client(raw.url) as client:
        client.session(Usecase("att", "none", resumable_threshold_bytes=1)).put(CONTENT, "k")
    assert {size % 300_000 for _, size in chunks(raw)[:-1]} == {0}
    assert chunks(raw)[0][1] == 900_000
    assert imitation.objects[PLACE][0] == CONTENT


# -- servers that know nothing of it -------------------------------------------------------


@pytest.mark.parametrize("kind", ["old", "declines"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("key", ["k", None])
def test_the_fallback_never_replaces_an_object_by_nothing(
    kind: str, compression: Any, key: str | None
) -> None:
    imitation = Imitation(resumable=kind)
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=1))
        for _ in range(2):
            made = session.put(io.BytesIO(CONTENT), key, compression)
            assert session.get(made).payload.read() == CONTENT
            assert (f"att/_/{made}", b"") not in imitation.history
        asked = [r for r in raw.requests if "upload_type" in r.target]
        assert len(asked) == 1
    assert b"" not in [body for body, _ in imitation.objects.values()]


def test_a_server_that_declines_this_one() -> None:
    """It knows resumable uploads, but not for this object: what was spooled is sent as it is."""
    imitation = Imitation(knows=True, resumable="yes")
    imitation.before = lambda request: (
        answer(501) if request.target.endswith("/k?upload_type=resumable") else None
    )
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=1))
        session.put(io.BytesIO(CONTENT), "k")
        assert session.get("k").payload.read() == CONTENT
        assert raw.requests[-2].headers["content-length"] == str(len(imitation.objects[PLACE][0]))


@pytest.mark.parametrize("key", ["k", None])
def test_an_older_server_behind_the_same_address(key: str | None) -> None:
    """The empty object that it makes of the beginning is replaced at once."""
    imitation = Imitation(resumable="yes")
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=1))
        session.put(CONTENT, "other")
        imitation._resumable = "old"
        made = session.put(io.BytesIO(CONTENT), key)
        assert session.get(made).payload.read() == CONTENT
    assert len(imitation.objects) == 2


def test_a_beginning_that_is_refused(opened: Opened, imitation: Imitation) -> None:
    imitation.before = lambda request: (
        answer(413, {"detail": "too large"}) if "/k?upload_type" in request.target else None
    )
    with pytest.raises(RequestError, match="too large"):
        opened[0].put(CONTENT, "k")
    assert imitation.objects == {}


@pytest.mark.parametrize("offset", ["x", "9" * 5000, str(len(CONTENT) + 1)])
def test_a_conflict_that_makes_no_sense(opened: Opened, imitation: Imitation, offset: str) -> None:
    reply = answer(409, {"detail": "elsewhere"}, {"Upload-Offset": offset})
    _failing(imitation, {2}, reply)
    with pytest.raises(RequestError, match="elsewhere"):
        opened[0].put(CONTENT, "k", "none")


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_contents_that_fail_while_they_are_spooled(
    opened: Opened, imitation: Imitation, compression: Any
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > CHUNK:
                raise OSError("disk")
            return super().read(size)

    with pytest.raises(ObjectSaveException, match="disk"):
        opened[0].put(Failing(CONTENT), "k", compression)
    assert imitation.objects == {}
    assert imitation.sessions == {}


def test_other_refusals_are_told_by_the_put_itself() -> None:
    with RawServer(lambda _: answer(403, {"detail": "no"})) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=1))
        with pytest.raises(RequestError, match="no"):
            session.put(CONTENT, "k")
        assert len(raw.requests) == 2
        assert client._resumable is None


# -- failures on the way -------------------------------------------------------------------


def _failing(imitation: Imitation, which: set[int], how: Any) -> list[int]:
    """Let some of the chunks fail, by their number."""
    count = [0]

    def before(request: Request) -> Any:
        if request.headers.get("upload-offset", "*") == "*":
            return None
        count[0] += 1
        if count[0] not in which:
            return None
        return how(request) if callable(how) else how

    imitation.before = before
    return count


@pytest.mark.parametrize("how", [answer(503), answer(429), answer(500), "hang up"])
def test_it_goes_on_after_a_failure(
    opened: Opened, imitation: Imitation, pauses: list[float], how: Any
) -> None:
    def hang_up(_: Request) -> Any:
        return iter([b""])  # closes the connection

    session, raw = opened
    _failing(imitation, {2, 3}, hang_up if how == "hang up" else how)
    session.put(CONTENT, "k", "none")
    assert imitation.objects[PLACE][0] == CONTENT
    assert len(pauses) == 2
    assert 2 <= pauses[0] <= 3
    assert 4 <= pauses[1] <= 5
    assert [offset for offset, _ in chunks(raw)] == [
        "0", str(CHUNK), "*", str(CHUNK), "*", str(CHUNK), str(2 * CHUNK),
    ]  # fmt: skip


def test_progress_makes_it_patient_again(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    _failing(imitation, {1, 2, 4, 5, 7, 8}, answer(503))
    opened[0].put(CONTENT, "k", "none")
    assert imitation.objects[PLACE][0] == CONTENT
    assert [round(each) // 2 for each in pauses] == [1, 2] * 3


def test_it_gives_up_without_progress(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    count = _failing(imitation, {2, 3, 4, 5, 6}, answer(503, {"detail": "ill"}))
    with pytest.raises(RequestError, match="ill"):
        opened[0].put(CONTENT, "k", "none")
    assert count == [4]
    assert len(pauses) == 2
    assert imitation.objects == {}


@pytest.mark.parametrize(("key", "cancelled"), [("k", False), (None, True)])
def test_what_failed_is_cancelled_where_nothing_can_be_lost(
    opened: Opened, imitation: Imitation, key: str | None, cancelled: bool
) -> None:
    """An older server behind the same address would delete the object that has the key."""
    _failing(imitation, {2}, answer(400))
    with pytest.raises(RequestError):
        opened[0].put(CONTENT, key, "none")
    assert (imitation.sessions == {}) is cancelled
    deleted = [request.path for request in opened[1].requests if request.method == "DELETE"]
    assert "/v1/objects/att/_/k" not in deleted
    assert len(deleted) == 1 + cancelled


def test_a_server_that_stays_away(imitation: Imitation, pauses: list[float]) -> None:
    with RawServer(imitation) as raw, Client(raw.url, retries=0) as client:
        session = client.session(Usecase("att", "none", resumable_threshold_bytes=1))
        _failing(imitation, set(range(1, 99)), lambda _: iter([b""]))
        with pytest.raises(MaxRetryError):
            session.put(CONTENT, "k")
    assert len(pauses) == 2


def test_the_server_knows_better_where_it_stands(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    """It took a chunk whose answer got lost, and says so when it is sent again."""

    def lose(request: Request) -> Any:
        [upload] = imitation.sessions.values()
        upload["body"] += request.body
        at = {"Upload-Offset": str(len(upload["body"]))}
        return answer(409, {"detail": "another offset"}, at)

    _failing(imitation, {2}, lose)
    opened[0].put(CONTENT, "k", "none")
    assert imitation.objects[PLACE][0] == CONTENT
    assert pauses == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413])
def test_what_ends_it_at_once(
    opened: Opened, imitation: Imitation, pauses: list[float], status: int
) -> None:
    count = _failing(imitation, {2}, answer(status, {"detail": "over"}))
    with pytest.raises(RequestError, match="over"):
        opened[0].put(CONTENT, "k", "none")
    assert count == [2]
    assert pauses == []
    assert imitation.objects == {}


@pytest.mark.parametrize("status", [204, 409])
@pytest.mark.parametrize(
    "offset", ["x", "-1", str(len(CONTENT) + 1), str(len(CONTENT)), str(CHUNK + 1), None]
)
def test_nonsense_offsets(
    opened: Opened, imitation: Imitation, offset: str | None, status: int
) -> None:
    """Nobody has bytes that were never sent."""
    headers = {} if offset is None else {"Upload-Offset": offset}
    _failing(imitation, {1, 2, 3}, answer(status, headers=headers))
    with pytest.raises(RequestError, match=r"makes no sense|than was sent|Conflict"):
        opened[0].put(CONTENT, "k", "none")
    assert imitation.objects == {}


def test_an_offset_within_a_chunk(opened: Opened, imitation: Imitation) -> None:
    """A connection that breaks may have brought some of it."""

    def half(request: Request) -> Any:
        [upload] = imitation.sessions.values()
        upload["body"] += request.body[:1000]
        return iter([b""])

    _failing(imitation, {2}, half)
    opened[0].put(CONTENT, "k", "none")
    assert imitation.objects[PLACE][0] == CONTENT
    assert ("*", 0) in chunks(opened[1])
    assert chunks(opened[1])[3][0] == str(CHUNK + 1000)


# -- while servers are replaced ------------------------------------------------------------

OLD_OBJECT = (b"precious", {"content-type": "a/b"})


def _mixed(imitation: Imitation, answers: dict[tuple[str, int], Any]) -> None:
    """Let some requests of an upload of ``k`` come to an older server, or be answered oddly."""
    seen: list[str] = []

    def before(request: Request) -> Any:
        if "session=" not in request.target or request.path != "/v1/objects/att/_/k":
            return None
        chunk = request.headers.get("upload-offset") != "*"
        kind = request.method if request.method == "DELETE" else "chunk" if chunk else "ask"
        seen.append(kind)
        how = answers.get((kind, seen.count(kind)))
        # an older server takes no notice of the query
        return imitation._plain(request, PLACE, "k") if how == "old" else how

    imitation.objects[PLACE] = OLD_OBJECT
    imitation.before = before


@pytest.mark.parametrize(
    "answers",
    [
        {("chunk", 1): "old"},
        {("chunk", 3): "old"},
        {("chunk", 2): answer(503), ("ask", 1): "old"},
        {("chunk", 2): answer(503), ("ask", 1): answer(200, {"key": "k"})},
    ],
    ids=["first chunk", "last chunk", "ask", "200 to the ask"],
)
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_chunk_that_became_an_object_is_replaced_by_all(
    opened: Opened, imitation: Imitation, answers: Any, compression: Any
) -> None:
    _mixed(imitation, answers)
    opened[0].put(io.BytesIO(CONTENT), "k", compression, "c/d", {"n": "v"})
    response = opened[0].get("k")
    assert response.payload.read() == CONTENT
    assert response.metadata.content_type == "c/d"
    assert response.metadata.custom == {"n": "v"}
    assert "DELETE" not in [
        request.method for request in opened[1].requests if request.path.endswith("/k")
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({("chunk", 1): answer(201, {"key": "k"})}, "has all"),
        ({("chunk", 2): answer(503), ("ask", 1): answer(201, {"key": "k"})}, "has all"),
        ({("chunk", 1): answer(202, {"key": "k"})}, "makes no sense"),
        ({("chunk", 2): answer(400), ("DELETE", 1): "old"}, "Bad Request"),
    ],
    ids=["201 too early", "201 to the ask too early", "202", "cancelled"],
)
def test_no_success_and_no_loss(
    opened: Opened, imitation: Imitation, answers: Any, said: str
) -> None:
    _mixed(imitation, answers)
    with pytest.raises(RequestError, match=said):
        opened[0].put(CONTENT, "k", "none")
    assert imitation.objects[PLACE] == OLD_OBJECT


@pytest.mark.parametrize("where", [("chunk", 3), ("ask", 1)])
def test_an_answer_about_another_object(
    opened: Opened, imitation: Imitation, where: tuple[str, int]
) -> None:
    _mixed(imitation, {("chunk", 3): answer(503), where: answer(201, {"key": "other"})})
    with pytest.raises(RequestError, match="calls it 'other'"):
        opened[0].put(CONTENT, "k", "none")


# -- while the object is put together ------------------------------------------------------


class Assembling:
    """All bytes are there, and it takes some rounds until they are an object.

    Args:
        rounds: so many.
        wait: what the client is told meanwhile.
    """

    def __init__(self, imitation: Imitation, rounds: int, wait: Any) -> None:
        self._imitation = imitation
        self._left = rounds
        self._wait = wait
        imitation.before = self

    def __call__(self, request: Request) -> Any:
        if "session=" not in request.target or not request.path.endswith("/k"):
            return None
        [upload] = self._imitation.sessions.values()
        if request.headers["upload-offset"] != "*":
            upload["body"] += request.body
        if len(upload["body"]) < upload["length"]:
            at = {"Upload-Offset": str(len(upload["body"]))}
            return answer(204, headers=at)
        self._left -= 1
        if self._left >= 0:
            return self._wait
        body = bytes(upload["body"])
        self._imitation._store(upload["place"], body, upload["headers"])
        return answer(201, {"key": "k", "sha256": hashlib.sha256(body).hexdigest(), "size": 1})


WAIT = answer(503, {"detail": "it is being put together"}, {"Retry-After": "7"})


def test_it_waits_until_the_object_is_put_together(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    told: list[Any] = []
    opened[0]._client._listeners = (told.append,)
    Assembling(imitation, 20, WAIT)
    opened[0].put(CONTENT, "k", "none")
    assert pauses == [7] * 20
    assert [offset for offset, _ in chunks(opened[1])][-20:] == ["*"] * 20
    assert told[-1].receipt.verdict is Verdict.CONTENT


def test_a_last_empty_chunk_may_have_to_wait_too(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    everything = answer(204, headers={"Upload-Offset": str(len(CONTENT))})
    waits = iter([everything, *[WAIT] * 3])
    assembling = Assembling(imitation, 4, None)
    imitation.before = lambda request: (
        assembling(request)
        or (next(waits) if "session=" in request.target and request.path.endswith("/k") else None)
    )
    opened[0].put(CONTENT, "k", "none")
    assert pauses == [7] * 3
    assert chunks(opened[1])[-4:] == [(str(len(CONTENT)), 0), ("*", 0), ("*", 0), ("*", 0)]


def test_it_does_not_wait_for_ever(
    opened: Opened, imitation: Imitation, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "ASSEMBLY_S", 0.2)
    wait = answer(503, {"detail": "it is being put together"}, {"Retry-After": "0"})
    Assembling(imitation, 10**9, wait)
    with pytest.raises(RequestError, match="put together"):
        opened[0].put(CONTENT, "k", "none")
    assert pauses
    assert max(pauses) < 0.201  # as exact as sums of such numbers are


@pytest.mark.parametrize("after", [None, "soon", "-1", "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_without_a_time_it_is_a_failure_like_others(
    opened: Opened, imitation: Imitation, pauses: list[float], after: str | None
) -> None:
    headers = {} if after is None else {"Retry-After": after}
    Assembling(imitation, 99, answer(503, {"detail": "ill"}, headers))
    with pytest.raises(RequestError, match="ill"):
        opened[0].put(CONTENT, "k", "none")
    assert len(pauses) == 2


def test_a_busy_server_before_all_is_sent_is_a_failure_like_others(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    _failing(imitation, {2, 3, 4}, WAIT)
    with pytest.raises(RequestError, match="put together"):
        opened[0].put(CONTENT, "k", "none")
    assert len(pauses) == 2
    assert 7 not in pauses


def test_a_server_that_loses_what_it_had(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    """It was busy, and did not take the last chunk."""
    _failing(imitation, {3}, WAIT)
    opened[0].put(CONTENT, "k", "none")
    assert imitation.objects[PLACE][0] == CONTENT
    assert pauses == [7]


def test_a_server_that_takes_nothing(
    opened: Opened, imitation: Imitation, pauses: list[float]
) -> None:
    _failing(imitation, set(range(1, 99)), answer(204, headers={"Upload-Offset": "0"}))
    with pytest.raises(RequestError, match="takes no more"):
        opened[0].put(CONTENT, "k", "none")
    assert len(pauses) == 2


def _always(reply: bytes) -> Any:
    return lambda _: reply


def test_nonsense_beginnings() -> None:
    for body in ('{"key": "k", "session": "no = token"}', "{}", '{"session": "abcd"}'):
        with RawServer(_always(answer(200, body))) as raw, Client(raw.url) as client:
            session = client.session(Usecase("att", resumable_threshold_bytes=1))
            with pytest.raises(RequestError, match="makes no sense"):
                session.put(CONTENT, "k")


class Shrinking(io.BytesIO):
    """A file that somebody cuts after it was read once."""

    def seek(self, position: int, whence: int = 0) -> int:
        if position == CHUNK:
            self.truncate(CHUNK)
        return super().seek(position, whence)


def test_a_file_that_shrinks_stores_nothing(opened: Opened, imitation: Imitation) -> None:
    with pytest.raises(ObjectSaveException, match="shorter"):
        opened[0].put(Shrinking(CONTENT), "k", "none")
    assert imitation.objects == {}


def test_the_spool_folder(imitation: Imitation, tmp_path: Any) -> None:
    with RawServer(imitation) as raw, Client(raw.url, spool_dir=tmp_path / "none") as client:
        session = client.session(Usecase("att", resumable_threshold_bytes=1))
        with pytest.raises(ObjectSaveException, match="temporary file") as caught:
            session.put(CONTENT, "k")
    assert not isinstance(caught.value, FileNotFoundError)  # which a missing object is
    assert imitation.objects == {}


def test_a_full_disk(opened: Opened, imitation: Imitation, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - as TemporaryFile
    monkeypatch.setattr("object_clerk.session.spool.tempfile.TemporaryFile", lambda **_: full)
    with pytest.raises(ObjectSaveException, match="No space left"):
        opened[0].put(CONTENT, "k")
    assert full.closed
    assert imitation.objects == {}
