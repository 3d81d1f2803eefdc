"""Uploads in parts."""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from object_clerk.exceptions import ObjectSaveException
from object_clerk.session import (
    Client,
    MultipartCompleteError,
    MultipartUpload,
    ObjectNotFound,
    RequestError,
    Session,
    TimeToLive,
    Usecase,
)
from object_clerk.session.wire import Part
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, answer
from tests.session.support import scripted
from tests.session.test_put import Tellless

Double = tuple[Imitation, RawServer]
LARGE = bytes(3 << 20)


def test_parts_become_an_object(double: Double, session: Session) -> None:
    upload = session.initiate_multipart_upload(key="a/ü b")
    assert upload.key == "a/ü b"
    first = upload.put_part(b"one", part_number=1)
    third = upload.put_part(io.BytesIO(LARGE), part_number=3)
    upload.put_part(b"wrong", part_number=2)
    second = upload.put_part(cast("Any", Tellless(b"two")), part_number=2, content_length=3)
    listed = upload.list_parts()
    assert [(part.part_number, part.size) for part in listed] == [(1, 3), (2, 3), (3, len(LARGE))]
    assert listed[0].last_modified == datetime(2026, 1, 1, tzinfo=UTC)
    again = session.resume_multipart_upload(upload.key, upload.upload_id)
    assert again.complete([first, second, third]) == "a/ü b"
    assert session.get("a/ü b").payload.read() == b"onetwo" + LARGE
    targets = [request.target for request in double[1].requests]
    assert targets[0] == "/v1/objects:multipart/attachments/org=42;project=1337/a/%C3%BC%20b"
    assert targets[1].startswith(
        "/v1/objects:multipart:parts/attachments/org=42;project=1337/a/%C3%BC%20b?upload_id="
    )
    assert targets[1].endswith("&part_number=1")
    part = double[1].requests[1].headers
    assert part["content-length"] == "3"
    assert part["content-md5"] == base64.b64encode(hashlib.md5(b"one").digest()).decode()
    digest = base64.b64encode(hashlib.md5(LARGE).digest()).decode()
    assert double[1].requests[2].headers["content-md5"] == digest
    assert not double[1].requests[2].chunked


def test_headers_of_the_beginning(double: Double, session: Session) -> None:
    session.initiate_multipart_upload(
        compression="zstd", content_type="a/b", metadata={"A": "b"}, origin="o", filename="f",
        expiration_policy=TimeToLive(timedelta(hours=1)),
    )  # fmt: skip
    request = double[1].requests[0]
    assert (request.method, request.target) == (
        "POST", "/v1/objects:multipart/attachments/org=42;project=1337/",
    )  # fmt: skip
    said = {n: v for n, v in request.headers.items() if n.startswith(("x-", "content-"))}
    assert said == {
        "content-encoding": "zstd", "content-type": "a/b", "x-snme-a": "b", "x-sn-origin": "o",
        "x-sn-filename": "f", "x-sn-expiration": "ttl:1h", "content-length": "0",
    }  # fmt: skip
    session.initiate_multipart_upload(key="k")
    assert "content-encoding" not in double[1].requests[1].headers  # nothing is compressed here


def test_the_digest_of_a_large_stream(double: Double, session: Session) -> None:
    """It is read twice, if that can be done."""
    upload = session.resume_multipart_upload("k", "u")
    double[0].uploads["u"] = {}
    stream = io.BytesIO(b"head" + LARGE)
    stream.seek(4)
    upload.put_part(stream, part_number=1, content_length=len(LARGE))
    assert stream.read() == b""
    given: Any = Tellless(LARGE)
    upload.put_part(given, part_number=2, content_length=len(LARGE))
    stream.seek(4)
    upload.put_part(stream, part_number=3, content_md5="mine")
    digest = base64.b64encode(hashlib.md5(LARGE).digest()).decode()
    sent = [request.headers.get("content-md5") for request in double[1].requests]
    assert sent == [digest, None, "mine"]
    assert {body == LARGE for body in double[0].uploads["u"].values()} == {True}


def test_parts_that_are_given_as_json_has_them(session: Session) -> None:
    upload = session.initiate_multipart_upload(key="k")
    part = upload.put_part(b"one", part_number=1)
    for wrong in ({"etag": part.etag}, {"part_number": "1", "etag": part.etag}):
        with pytest.raises(ValueError, match="part of a multipart upload"):
            upload.complete([wrong])
    assert upload.complete([{"part_number": 1, "etag": part.etag}]) == "k"


def test_completion_that_fails(session: Session) -> None:
    upload = session.initiate_multipart_upload(key="k")
    upload.put_part(b"one", part_number=1)
    with pytest.raises(MultipartCompleteError, match="no such part") as caught:
        upload.complete([(1, "wrong")])
    assert caught.value.status == 200
    assert caught.value.code == "InvalidPart"
    assert isinstance(caught.value, RequestError)
    upload.abort()
    with pytest.raises(ObjectNotFound):
        upload.list_parts()


@pytest.mark.parametrize("number", [0, -1, 10_001, True, "1"])
def test_impossible_part_numbers(session: Session, number: Any) -> None:
    with pytest.raises(ValueError, match="part_number"):
        session.resume_multipart_upload("k", "u").put_part(b"", part_number=number)


@pytest.mark.parametrize("content", [b"one", LARGE], ids=len)
@pytest.mark.parametrize("wrong", [-1, 1])
def test_parts_of_another_length(content: bytes, wrong: int) -> None:
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url) as client:
        upload = client.session(Usecase("att")).initiate_multipart_upload(key="k")
        for kind in (bytes, io.BytesIO, Tellless):
            with pytest.raises(ObjectSaveException, match="bytes that it should have"):
                upload.put_part(
                    cast("Any", kind(content)), part_number=1, content_length=len(content) + wrong
                )
        assert upload.list_parts() == []
        with pytest.raises(ValueError, match="content_length is needed"):
            upload.put_part(cast("Any", Tellless(LARGE)), part_number=1)


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        ("{}", lambda upload: upload.put_part(b"", part_number=1)),
        ("{}", lambda upload: upload.list_parts()),
        ("", lambda upload: upload.complete([])),
        ('{"error": 1}', lambda upload: upload.complete([Part(1, "e")])),
    ],
)  # fmt: skip
def test_nonsense(body: str, verb: Any) -> None:
    with scripted(answer(200, body)) as (session, _):
        with pytest.raises(RequestError, match="makes no sense"):
            verb(session.resume_multipart_upload("k", "u"))
        with pytest.raises(RequestError, match="makes no sense"):
            session.initiate_multipart_upload()


def test_a_given_digest_is_sent_as_it_is() -> None:
    with scripted(answer(200, {"etag": "e"})) as (session, raw):
        upload = session.resume_multipart_upload("k", "u&v")
        assert upload.put_part(b"x", part_number=1, content_md5="mine") == Part(1, "e")
        assert raw.requests[0].headers["content-md5"] == "mine"
        assert "upload_id=u%26v&" in raw.requests[0].target
        assert repr(upload) == "MultipartUpload('k')"  # who has the id can write to it
        assert isinstance(upload, MultipartUpload)


def test_a_list_that_goes_round_in_circles() -> None:
    page = {"parts": [], "is_truncated": True, "next_part_number_marker": 5}
    with scripted(answer(200, page)) as (session, raw):
        with pytest.raises(RequestError, match="round in circles"):
            session.resume_multipart_upload("k", "u").list_parts()
        assert len(raw.requests) == 2
