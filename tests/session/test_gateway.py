"""The client and our gateway, together: everything that the one says, the other understands."""

from __future__ import annotations

import asyncio
import io
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import urllib3

from object_clerk.gateway.v1 import finishing, objects
from object_clerk.receipt import Verdict
from object_clerk.session import (
    Client,
    ExpiryExtensionRejected,
    MultipartCompleteError,
    ObjectNotFound,
    RequestError,
    SecretKey,
    TimeToIdle,
    TimeToLive,
    Usecase,
    resumable,
)
from object_clerk.session.metadata import MOST_NAMES
from object_clerk.store import ObjectStore
from tests.gateway.v1.running import Running, serving
from tests.session.keys import KEY, OTHER, pem, public_pem
from tests.session.test_put import LARGE, Tellless

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = SecretKey("kid", pem(KEY))


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A gateway that asks for tokens."""
    (tmp_path / "public.pem").write_text(public_pem(KEY))
    (tmp_path / "other.pem").write_text(public_pem(OTHER))
    files = [str(tmp_path / name) for name in ("other.pem", "public.pem")]
    keys = {"kid": {"key_files": files, "max_permissions": list(SECRET.permissions)}}
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    variables = {"OS__AUTH__ENFORCE": "true", "OS__AUTH__KEYS": json.dumps(keys)}
    with serving(tmp_path, store, monkeypatch, variables) as started:
        started.clock.now = datetime.now(UTC)  # the client's tokens are of today
        yield started


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, token=SECRET) as client:
        yield client


@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("content", [b"", b"Hello, world!", LARGE], ids=len)
@pytest.mark.parametrize("kind", [bytes, io.BytesIO, Tellless])
def test_there_and_back(client: Client, compression: Any, content: bytes, kind: Any) -> None:
    session = client.session(Usecase("attachments", compression), org=42)
    told: list[Any] = []
    client._listeners = (told.append,)
    key = session.put(kind(content), metadata={"Who": "Zoë"}, filename="é.txt", origin="o")
    assert told[-1].receipt.verdict is Verdict.CONTENT
    response = session.get(key)
    assert response.payload.read() == content
    assert response.verdict is Verdict.CONTENT
    assert response.metadata.custom == {"who": "Zoë"}
    assert response.metadata.filename == "é.txt"
    assert response.metadata.origin == "o"
    assert response.metadata.compression is None
    assert response.metadata.time_created is not None
    assert session.exists(key)
    session.delete(key)
    with pytest.raises(ObjectNotFound):
        session.get(key)
    assert session.head(key) is None


def test_as_many_names_as_python_reads(client: Client, running: Running) -> None:
    session = client.session(Usecase("attachments"))
    names = {f"n{number}": "x" for number in range(MOST_NAMES)}
    session.put(b"x", "k", metadata=names)
    assert session.get("k").metadata.custom == names
    with pytest.raises(ValueError, match="names"):
        session.put(b"x", "k", metadata={**names, "more": "x"})
    headers = {f"x-snme-{name}": "x" for name in (*names, "more")}
    headers["x-os-auth"] = f"Bearer {session.mint_token()}"
    answer = urllib3.request("PUT", session.object_url("k"), headers=headers, body=b"y")
    assert answer.status == 400
    assert session.get("k").payload.read() == b"x"


@pytest.mark.parametrize("key", ["a b", "50%41", "x?y#z", "ü/ö//ä", "+&=;:@!$'()*,~", "a\\b"])
def test_keys(client: Client, key: str) -> None:
    session = client.session(Usecase("attachments"))
    assert session.put(b"x", key) == key
    assert session.get(key).payload.read() == b"x"
    session.delete(key)


def test_expiry(client: Client, running: Running) -> None:
    client._token = SecretKey("kid", pem(KEY), expiry_seconds=10**9)  # it outlives the objects
    session = client.session(Usecase("attachments"), org=1)
    for days in (31, 400):
        session.put(b"x", "k", expiration_policy=TimeToLive(timedelta(days=days)))
        metadata = session.head("k")
        assert metadata is not None
        assert metadata.expiration_policy == TimeToLive(timedelta(days=days))
        assert metadata.time_expires is not None
        assert metadata.time_created is not None
        assert metadata.time_expires - metadata.time_created == timedelta(days=days)
    session.extend_expiry("k", from_creation=timedelta(days=500))
    running.clock.go(days=499)
    assert session.exists("k")
    running.clock.go(days=2)
    assert not session.exists("k")
    session.put(b"x", "idle", expiration_policy=TimeToIdle(timedelta(days=10)))
    session.put(b"x", "ever")
    with pytest.raises(ExpiryExtensionRejected):
        session.extend_expiry("ever", from_now=timedelta(days=1))
    with pytest.raises(ObjectNotFound):
        session.extend_expiry("none", from_now=timedelta(days=1))


def test_ranges_are_of_the_stored_bytes(client: Client) -> None:
    session = client.session(Usecase("attachments", "none"))
    session.put(b"0123456789", "k")
    for begin, end, expected in ((0, 5, b"01234"), (7, None, b"789"), (-2, None, b"89")):
        assert session.get("k", begin=begin, end=end).payload.read() == expected
    with pytest.raises(RequestError) as caught:
        session.get("k", begin=10)
    assert caught.value.status == 416


def test_parts(client: Client) -> None:
    session = client.session(Usecase("attachments"))
    upload = session.initiate_multipart_upload(key="k", metadata={"a": "b"})
    parts = [
        upload.put_part(LARGE, part_number=1),
        upload.put_part(cast("Any", Tellless(b"end")), part_number=2, content_length=3),
    ]
    assert [(part.part_number, part.etag) for part in upload.list_parts()] == [
        (part.part_number, part.etag) for part in parts
    ]
    with pytest.raises(MultipartCompleteError) as caught:
        upload.complete([(1, "wrong")])
    assert caught.value.code == "InvalidPart"
    again = session.resume_multipart_upload("k", upload.upload_id)
    assert again.complete(parts) == "k"
    response = session.get("k")
    assert response.payload.read() == LARGE + b"end"
    assert response.metadata.custom == {"a": "b"}
    other = session.initiate_multipart_upload(key="k2")
    other.abort()
    with pytest.raises(RequestError):
        other.list_parts()


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_resumable_uploads(
    client: Client, monkeypatch: pytest.MonkeyPatch, compression: Any
) -> None:
    monkeypatch.setattr(resumable, "CHUNK_BYTES", 1 << 20)
    session = client.session(Usecase("attachments", compression, resumable_threshold_bytes=1 << 20))
    session.put(LARGE, "k", metadata={"a": "b"})
    assert client._resumable is True
    response = session.get("k")
    assert response.payload.read() == LARGE
    assert response.verdict is Verdict.CONTENT
    assert response.metadata.custom == {"a": "b"}


def test_an_object_that_takes_its_time_to_be_put_together(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client loses its patience with the last chunk, and not with the object."""
    write = objects.write
    pauses: list[float] = []

    async def slowly(*args: Any, **more: Any) -> Any:
        await asyncio.sleep(6)
        return await write(*args, **more)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(0.3)

    monkeypatch.setattr(objects, "write", slowly)
    monkeypatch.setattr(finishing, "TRIES", 1)
    monkeypatch.setattr(resumable, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(resumable, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    told: list[Any] = []
    with Client(running.url, token=SECRET, timeout_ms=3000, on_event=told.append) as client:
        session = client.session(Usecase("attachments", "none", resumable_threshold_bytes=1 << 20))
        session.put(LARGE, "k")
        assert told[-1].receipt.verdict is Verdict.CONTENT
        assert session.get("k").payload.read() == LARGE
    assert pauses[1:] == [5] * len(pauses[1:])  # what the gateway wishes
    assert len(pauses) > 1


def test_tokens_and_urls(client: Client, running: Running) -> None:
    session = client.session(Usecase("attachments"), org=42)
    session.put(b"x", "a b/ü%41", compression="none")
    for url in (
        session.object_url("a b/ü%41", timedelta(minutes=5)),
        session.presigned_object_url("GET", "a b/ü%41"),
    ):
        answer = urllib3.request("GET", url, retries=False)
        assert (answer.status, answer.data) == (200, b"x")
        assert urllib3.request("HEAD", url, retries=False).status == 204
        assert urllib3.request("DELETE", url, retries=False).status in (400, 401, 403)
    assert urllib3.request("GET", session.object_url("a b/ü%41"), retries=False).status == 400
    with Client(running.url, token=session.mint_token(["object.read"])) as reader:
        reading = reader.session(Usecase("attachments"), org=42)
        assert reading.get("a b/ü%41").payload.read() == b"x"
        for verb in (lambda: reading.put(b"x"), lambda: reading.delete("a b/ü%41")):
            with pytest.raises(RequestError) as caught:
                verb()
            assert caught.value.status == 403
        with pytest.raises(RequestError) as caught:
            reader.session(Usecase("attachments"), org=43).head("k")
        assert caught.value.status == 403
    with Client(running.url) as stranger:
        with pytest.raises(RequestError) as caught:
            stranger.session(Usecase("attachments")).put(b"x")
        assert caught.value.status == 400
        assert caught.value.detail
    with Client(running.url, token=SecretKey("kid", pem(OTHER))) as rotated:
        assert rotated.session(Usecase("attachments")).put(b"x")
