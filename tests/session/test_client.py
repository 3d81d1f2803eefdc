"""The verbs, against a server in memory."""

from __future__ import annotations

import io
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from object_clerk.exceptions import (
    ObjectNotFoundException,
    ObjectVerificationException,
    UnsupportedError,
)
from object_clerk.receipt import Verdict
from object_clerk.session import (
    Client,
    Metadata,
    ObjectNotFound,
    RequestError,
    Session,
    TimeToIdle,
    TimeToLive,
    Usecase,
)
from object_clerk.session.errors import ExpiryExtensionRejected
from object_clerk.session.zstd import compressed, zstd
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, answer
from tests.session.support import scripted
from tests.session.test_wire import KEYS

Server = tuple[Imitation, RawServer]
CONTENT = b"Hello, world! " * 50


def stored(double: Server, key: str) -> tuple[bytes, dict[str, str]]:
    return double[0].objects[f"attachments/org=42;project=1337/{key}"]


def test_put_compresses_and_get_gives_it_back(double: Server, session: Session) -> None:
    key = session.put(CONTENT)
    body, headers = stored(double, key)
    assert headers["content-encoding"] == "zstd"
    assert zstd.decompress(body) == CONTENT
    response = session.get(key)
    assert response.payload.read() == CONTENT
    assert response.metadata.compression is None
    assert response.metadata.content_type == "application/octet-stream"
    assert response.metadata.expiration_policy is None
    assert response.metadata.time_expires is None
    assert session.put(CONTENT) != key


def test_what_a_request_looks_like(double: Server, session: Session) -> None:
    session.put(b"x", "k", compression="none")
    request = double[1].requests[-1]
    assert (request.method, request.target) == (
        "PUT",
        "/v1/objects/attachments/org=42;project=1337/k",
    )
    assert request.headers["accept-encoding"] == "identity"
    assert (
        not {"content-encoding", "content-type", "x-os-auth", "authorization"}
        & request.headers.keys()
    )
    session.put(io.BytesIO(bytes(3 << 20)), content_type="text/plain")
    request = double[1].requests[-1]
    assert (request.method, request.target) == (
        "POST",
        "/v1/objects/attachments/org=42;project=1337/",
    )
    assert request.chunked
    assert request.headers["content-type"] == "text/plain"
    assert request.headers["content-encoding"] == "zstd"


@pytest.mark.parametrize("options", [{"compression": "none"}, {"compress": False}])
def test_without_compression(double: Server, session: Session, options: Any) -> None:
    session.put(CONTENT, "k", **options)
    body, headers = stored(double, "k")
    assert body == CONTENT
    assert "content-encoding" not in headers
    assert session.get("k").payload.read() == CONTENT


@pytest.mark.parametrize(
    "options",
    [{"decompress": False}, {"accept_encoding": ["zstd"]}, {"accept_encoding": ["*"]},
     {"accept_encoding": "gzip, ZSTD;q=0.5"}],
)  # fmt: skip
def test_as_stored(session: Session, options: Any) -> None:
    session.put(CONTENT, "k")
    response = session.get("k", **options)
    assert zstd.decompress(response.payload.read()) == CONTENT
    assert response.metadata.compression == "zstd"


def test_what_was_compressed_before(double: Server, session: Session) -> None:
    frames = b"".join(compressed([CONTENT])) + b"".join(compressed([b"more"]))
    session.put(frames, "k", precompressed=True)
    assert stored(double, "k")[0] == frames
    headers = double[1].requests[0].headers
    assert headers["content-encoding"] == "zstd"
    assert "x-oc-content-sha256" not in headers  # nobody looked into the frames
    assert session.get("k").payload.read() == CONTENT + b"more"
    for options in ({"compress": True}, {"compression": "zstd"}):
        with pytest.raises(ValueError, match="not compressed again"):
            session.put(frames, precompressed=True, **options)


def test_options_that_make_no_sense_are_refused_before_any_request(
    double: Server, session: Session
) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"compression": "gzip"}, "'zstd' or 'none'"),
        ({"compression": "none", "compress": True}, "not both"),
        ({"content_type": "x"}, "media type"),
        ({"metadata": {"a b": "c"}}, "name of a header"),
        ({"expiration_policy": timedelta(1)}, "TimeToLive or TimeToIdle"),
        ({"key": "../x"}, "survive"),
        ({"contents": "text"}, "bytes or a binary file"),
        ({"contents": None}, "bytes or a binary file"),
        ({"contents": io.StringIO("text")}, "binary mode"),
        ({"resumable_threshold_bytes": 0}, "resumable_threshold_bytes"),
    ]
    for options, said in bad:
        with pytest.raises((ValueError, TypeError), match=said):
            session.put(**{"contents": b"x", **options})
    assert double[1].requests == []


def test_metadata_round_trip(double: Server, session: Session) -> None:
    session.put(
        b"x", "k", content_type="text/plain; charset=utf-8", origin="203.0.113.42",
        metadata={"Source": "Zoë's 100% upload", "n": ""}, filename="é/b.txt",
        expiration_policy=TimeToIdle(timedelta(days=400)),
    )  # fmt: skip
    assert stored(double, "k")[1]["x-sn-expiration"] == "tti:400d"
    for metadata in (session.get("k").metadata, session.head("k")):
        assert metadata is not None
        assert metadata.content_type == "text/plain; charset=utf-8"
        assert metadata.origin == "203.0.113.42"
        assert metadata.custom == {"source": "Zoë's 100% upload", "n": ""}
        assert metadata.filename == "é/b.txt"
        assert metadata.expiration_policy == TimeToIdle(timedelta(days=400))
        assert metadata.time_created is not None
        assert abs(metadata.time_created - datetime.now(UTC)) < timedelta(minutes=5)


def test_defaults_of_the_usecase(double: Server) -> None:
    usecase = Usecase("att", compression="none", expiration_policy=TimeToLive(timedelta(hours=1)))
    with Client(double[1].url) as client:
        session = client.session(usecase)
        session.put(b"x", "a")
        session.put(b"x", "b", compression="zstd", expiration_policy=TimeToLive(timedelta(0)))
    first, second = double[0].objects["att/_/a"], double[0].objects["att/_/b"]
    assert first[0] == b"x"
    assert first[1]["x-sn-expiration"] == "ttl:1h"
    assert second[1]["content-encoding"] == "zstd"
    assert second[1]["x-sn-expiration"] == "ttl:0s"


@settings(max_examples=40)
@given(KEYS)
def test_any_key(key: str) -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        session = client.session(Usecase("att"), org=1)
        assert session.put(b"x", key) == key
        assert [*imitation.objects] == [f"att/org=1/{key}"]
        assert session.get(key).payload.read() == b"x"
        assert session.object_url(key) == raw.url + raw.requests[-1].target
        session.delete(key)
    assert imitation.objects == {}


def test_scopes_are_apart(double: Server) -> None:
    with Client(double[1].url) as client:
        usecase = Usecase("attachments")
        client.session(usecase, a=1, b=2).put(b"x", "k")
        assert client.session(usecase, a=1, b=2).exists("k")
        assert not client.session(usecase, b=2, a=1).exists("k")
        assert not client.session(usecase).exists("k")
    targets = [request.target for request in double[1].requests]
    assert targets[2:] == ["/v1/objects/attachments/b=2;a=1/k", "/v1/objects/attachments/_/k"]


def test_a_missing_object(session: Session) -> None:
    assert session.head("k") is None
    assert not session.exists("k")
    for verb in (session.get, session.delete):
        with pytest.raises(ObjectNotFound) as caught:
            verb("k")
        for kind in (RequestError, ObjectNotFoundException, FileNotFoundError):
            assert isinstance(caught.value, kind)
        assert caught.value.status == 404
        assert caught.value.key == "k"
        assert "attachments/org=42;project=1337/k" in str(caught.value)


def test_delete(session: Session) -> None:
    session.put(b"x", "k")
    assert session.exists("k")
    session.delete("k")
    assert not session.exists("k")


@pytest.mark.parametrize("status", [200, 201])
def test_answers_to_put_of_either_status(status: int) -> None:
    with scripted(answer(status, {"key": "chosen"})) as (session, _):
        assert session.put(b"x") == "chosen"


@pytest.mark.parametrize("status", [200, 204])
def test_answers_to_head_and_delete_of_either_status(status: int) -> None:
    with scripted(answer(status, headers={"Content-Type": "a/b"})) as (session, _):
        assert session.head("k") == Metadata(content_type="a/b")
        session.delete("k")


@pytest.mark.parametrize("status", [300, 400, 401, 403, 413, 429, 500, 501, 503])
def test_refusals(status: int) -> None:
    body = {"detail": "not so", "causes": ["one", "two"]}
    reply = answer(status, body, {"Retry-After": "7"})
    with scripted(reply) as (session, raw):
        for verb in (lambda: session.put(b"x"), lambda: session.get("k")):
            with pytest.raises(RequestError) as caught:
                verb()
            error = caught.value
            assert error.status == status
            assert error.detail == "not so"
            assert error.causes == ("one", "two")
            assert error.headers["retry-after"] == "7"
            assert '"causes"' in error.response
            assert f"not so (one; two) [{status}]" in str(error)
            assert not isinstance(error, ObjectNotFound)
        assert len(raw.requests) == 2


def test_refusals_in_plain_text_and_without_any() -> None:
    with scripted(answer(403, "killed")) as (session, _):
        with pytest.raises(RequestError) as caught:
            session.delete("k")
        assert caught.value.response == "killed"
        assert caught.value.detail is None
        assert "killed" in str(caught.value)
    with (
        scripted(answer(599)) as (session, _),
        pytest.raises(RequestError, match=r"gave no reason \[599\]"),
    ):
        session.get("k")


def test_errors_survive_pickling() -> None:
    with scripted(answer(404, {"detail": "gone"}, {"a": "b"})) as (session, _):
        with pytest.raises(ObjectNotFound) as caught:
            session.get("k")
        again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is ObjectNotFound
    assert (again.status, again.detail, again.headers["a"]) == (404, "gone", "b")
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("given", [None, "k"])
@pytest.mark.parametrize("said", ["", "other", "K", "k/"])
def test_an_answer_about_another_object(given: str | None, said: str) -> None:
    reply = answer(200, {"key": said, "upload_id": "u", "session": "abcd"})
    with scripted(reply) as (session, _):
        verbs: tuple[Any, ...] = (
            lambda: session.put(b"x", given),
            lambda: session.put(b"x", given, resumable_threshold_bytes=1),
            lambda: session.initiate_multipart_upload(key=given),
        )
        for verb in verbs if said == "" or given else ():
            with pytest.raises(RequestError, match="calls it"):
                verb()
        upload = session.resume_multipart_upload("k", "u")
        with pytest.raises(RequestError, match="calls it"):
            upload.complete([(1, "e")])


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"key": 1}', "<html>"])
def test_nonsense_after_a_put(body: str) -> None:
    with (
        scripted(answer(200, body)) as (session, _),
        pytest.raises(RequestError, match="makes no sense"),
    ):
        session.put(b"x", "k")


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    for status in (200, 500):
        with (
            scripted(answer(status, bytes(3 << 20))) as (session, _),
            pytest.raises(RequestError) as caught,
        ):
            session.put(b"x", "k")
        assert len(caught.value.response) <= 1 << 20


@pytest.mark.parametrize(
    "headers",
    [{"repr-digest": "sha-256=:YQ==:"}, {"x-oc-content-sha256": "0"}],
)  # fmt: skip
def test_nonsense_in_the_digests_of_an_answer(headers: dict[str, str]) -> None:
    with scripted(answer(200, b"x", headers)) as (session, _):
        with pytest.raises(RequestError, match="makes no sense") as caught:
            session.get("k")
        assert caught.value.status == 200


@pytest.mark.parametrize(
    "headers",
    [{"x-sn-expiration": "ttl:"}, {"x-sn-time-created": "now"}, {"x-snme-a": "%ff"},
     {"x-sn-origin": "caf\xe9"}, {"x-sn-time-expires": "+12026-01-01T00:00:00Z"}],
)  # fmt: skip
def test_odd_metadata_keeps_nobody_from_reading(headers: dict[str, str]) -> None:
    with scripted(answer(200, b"x", headers)) as (session, _):
        assert session.get("k").payload.read() == b"x"
        metadata = session.head("k")
        assert metadata is not None
        assert (metadata.expiration_policy, metadata.time_created) == (None, None)
        assert metadata.custom == ({"a": "%ff"} if "x-snme-a" in headers else {})


def test_blanks_around_values_are_no_part_of_them() -> None:
    headers = {"x-sn-expiration": "manual ", "x-sn-time-created": "2026-01-01T00:00:00Z\t ",
               "content-encoding": " identity ", "x-sn-size": "1 "}  # fmt: skip
    with scripted(answer(200, b"x", headers)) as (session, _):
        response = session.get("k")
        assert response.metadata.time_created == datetime(2026, 1, 1, tzinfo=UTC)
        assert response.metadata.size == 1
        assert response.payload.read() == b"x"


def test_other_encodings() -> None:
    with scripted(answer(200, b"x", {"Content-Encoding": "br"})) as (session, raw):
        with pytest.raises(NotImplementedError, match="stored as br"):
            session.get("k")
        for options in ({"decompress": False}, {"accept_encoding": ["BR"]}):
            response = session.get("k", **options)
            assert response.payload.read() == b"x"
            assert response.metadata.compression == "br"
        assert raw.connections == 2  # the refused one was closed, not drained


def test_ranges() -> None:
    def part(request: Any) -> bytes:
        asked = request.headers.get("range")
        if asked == "bytes=50-":
            return answer(416, {"detail": "no"}, {"Content-Range": "bytes */10"})
        said = "bytes 8-9/10" if asked == "bytes=-2" else "bytes 2-3/10"
        return answer(206, b"23", {"Content-Range": said, "Content-Encoding": "zstd",
                                   "Repr-Digest": "sha-256=:" + "A" * 43 + "=:"})  # fmt: skip

    with scripted(part) as (session, raw):
        response = session.get("k", begin=2, end=4)
        assert response.payload.read() == b"23"
        assert response.metadata.compression == "zstd"
        assert response.verdict is Verdict.IDENTITY
        session.get("k", begin=-2).payload.close()
        with pytest.raises(RequestError) as caught:
            session.get("k", begin=50)
        assert caught.value.status == 416
        assert caught.value.headers["content-range"] == "bytes */10"
        assert [r.headers["range"] for r in raw.requests] == ["bytes=2-3", "bytes=-2", "bytes=50-"]
        for begin, end in ((3, 3), (4, 3), (-3, 5)):
            with pytest.raises(ValueError, match="range"):
                session.get("k", begin=begin, end=end)
        with pytest.raises(TypeError, match="whole number"):
            session.get("k", begin="1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "body", "error"),
    [
        ("bytes 2-3/10", b"234", ObjectVerificationException),
        ("bytes 1-3/10", b"123", RequestError),
        ("bytes 2-4/10", b"234", RequestError),
        ("bytes 1-3/*", b"123", RequestError),
        ("", b"23", RequestError),
    ],
)
def test_a_range_that_is_not_what_was_asked_for(
    said: str, body: bytes, error: type[Exception]
) -> None:
    with (
        scripted(answer(206, body, {"Content-Range": said})) as (session, _),
        pytest.raises(error),
    ):
        session.get("k", begin=2, end=4).payload.read()


def test_the_total_of_a_range_may_be_unknown() -> None:
    with scripted(answer(206, b"23", {"Content-Range": "bytes 2-3/*"})) as (session, _):
        assert session.get("k", begin=2, end=4).payload.read() == b"23"


def test_a_server_that_knows_no_ranges() -> None:
    with scripted(answer(200, b"0123")) as (session, _), pytest.raises(UnsupportedError):
        session.get("k", begin=1)


def test_extend_expiry(session: Session, double: Server) -> None:
    session.put(b"x", "k", expiration_policy=TimeToLive(timedelta(hours=1)))
    session.extend_expiry("k", from_now=timedelta(days=1))
    session.extend_expiry("k", from_creation=timedelta(days=1, seconds=1))
    session.extend_expiry("k", at=datetime(2030, 1, 1, tzinfo=UTC))
    assert [request.body for request in double[1].requests[1:]] == [
        b'{"extend_expiry": {"after": "1d", "from": "now"}}',
        b'{"extend_expiry": {"after": "1d 1s", "from": "creation"}}',
        b'{"extend_expiry": {"at": "2030-01-01T00:00:00.000000Z"}}',
    ]
    assert {r.method for r in double[1].requests[1:]} == {"PATCH"}
    with pytest.raises(ObjectNotFound):
        session.extend_expiry("other", from_now=timedelta(1))
    for bad in ({}, {"at": datetime.now(UTC), "from_now": timedelta(1)}):
        with pytest.raises(ValueError, match="one of"):
            session.extend_expiry("k", **bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timedelta"):
        session.extend_expiry("k", from_now=60)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        session.extend_expiry("k", at=datetime(2030, 1, 1))


def test_an_extension_that_is_refused() -> None:
    with scripted(answer(409, {"detail": "it never expires"})) as (session, _):
        with pytest.raises(ExpiryExtensionRejected, match="it never expires") as caught:
            session.extend_expiry("k", from_now=timedelta(1))
        assert caught.value.status == 409
    with scripted(answer(400)) as (session, _):
        with pytest.raises(RequestError) as refused:
            session.extend_expiry("k", from_now=timedelta(1))
        assert type(refused.value) is RequestError


def test_impossible_clients() -> None:
    for bad in ("", "localhost:8888", "ftp://x", "http://u:p@x", "http://x?y", "http://x/#y"):
        with pytest.raises(ValueError, match="base_url"):
            Client(bad)
    for options in ({"timeout_ms": 0}, {"timeout_ms": -1}, {"timeout_ms": True}, {"retries": -1},
                    {"timeout_ms": float("nan")}, {"timeout_ms": float("inf")},
                    {"retries": True}, {"retries": 1.5}):  # fmt: skip
        with pytest.raises(ValueError, match=r"timeout_ms|retries"):
            Client("http://x", **options)
    with Client("http://x") as client:
        with pytest.raises(TypeError, match="Usecase"):
            client.session("attachments")  # type: ignore[arg-type]
        assert repr(client) == "Client('http://x')"
        session = client.session(Usecase("att"), usecase=1)  # a name like any other
        assert repr(session) == "Session('att', 'usecase=1')"
    for name in ("", "a b", "x" * 65):
        with pytest.raises(ValueError, match="usecase"):
            Usecase(name)
    with pytest.raises(ValueError, match="'zstd' or 'none'"):
        Usecase("a", compression="gzip")  # type: ignore[arg-type]
    assert repr(Usecase("abc")) == "Usecase('abc')"
    assert Usecase("abc", resumable_threshold_bytes="none").resumable_threshold_bytes is None
