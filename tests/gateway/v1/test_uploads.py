"""Uploads of /v1 in pieces: multipart and resumable."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.gateway.v1 import multipart, resumable, uploads
from object_clerk.gateway.v1.sweeper import Sweeper
from object_clerk.session.zstd import compressed
from tests.gateway.v1.grounds import Ground, InFiles, InMemory, InS3
from tests.gateway.v1.running import path
from tests.gateway.v1.test_objects import blob, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx2

    from tests.gateway.v1.running import Running

_KEY = "a/b c"
_COLLECTION = "tests/org=42;project=7/"


def at(family: str, key: str = _KEY) -> str:
    return path(key).replace("/objects/", f"/objects:{family}/")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class _Multipart:
    """A multipart upload, as a client makes it."""

    def __init__(self, running: Running, **headers: str) -> None:
        self.client = running.client
        answer = self.client.put(at("multipart"), headers=headers)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"key", "upload_id"}
        assert answer.json()["key"] == _KEY
        self.query = {"upload_id": answer.json()["upload_id"]}

    def put(self, number: object, content: bytes, **headers: str) -> httpx2.Response:
        query = {**self.query, "part_number": str(number)}
        return self.client.put(
            at("multipart:parts"), params=query, content=content, headers=headers
        )

    def parts(self, **query: object) -> dict[str, Any]:
        given = {**self.query, **{name: str(value) for name, value in query.items()}}
        answer = self.client.get(at("multipart:parts"), params=given)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def complete(self, parts: Iterable[tuple[int, str]]) -> httpx2.Response:
        body = {"parts": [{"part_number": number, "etag": etag} for number, etag in parts]}
        return self.client.post(at("multipart:complete"), params=self.query, json=body)

    def abort(self) -> httpx2.Response:
        return self.client.delete(at("multipart"), params=self.query)


def failed(answer: httpx2.Response, code: str) -> None:
    """It says so with status 200."""
    assert answer.status_code == 200
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


def start(running: Running, length: object, key: str = _KEY, **headers: str) -> httpx2.Response:
    """Begin a resumable upload."""
    given = {"upload-length": str(length), **headers}
    return running.client.put(f"{path(key)}?upload_type=resumable", headers=given)


def session_of(running: Running, length: int, **headers: str) -> str:
    answer = start(running, length, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["key"] == _KEY
    session: str = answer.json()["session"]
    assert "=" not in session
    return session


def chunk(running: Running, session: str, offset: object, content: bytes = b"") -> httpx2.Response:
    headers = {"upload-offset": str(offset)}
    return running.client.put(
        f"{path(_KEY)}?session={session}&other=1", content=content, headers=headers
    )


class Contract(Ground):
    """The tests; a class below says over which store."""

    @pytest.mark.parametrize("sizes", [(3, 4), (0, 5), (2 << 20, 1 << 20, 7)])
    def test_multipart(self, running: Running, sizes: tuple[int, ...]) -> None:
        """Line 37: parts in any order become one object, with what was said of it."""
        upload = _Multipart(
            running,
            **{"content-type": "text/csv", "x-snme-a": "%C3%BC", "x-sn-expiration": "ttl:1h"},
        )
        contents = [blob(size) for size in sizes]
        for number, content in reversed([*enumerate(contents, 1)]):
            answer = upload.put(number, content)
            assert (answer.status_code, answer.json()) == (200, {"etag": md5(content)})
        assert running.client.get(path(_KEY)).status_code == 404
        running.clock.go(minutes=10)
        answer = upload.complete((n, md5(c)) for n, c in enumerate(contents, 1))
        assert (answer.status_code, answer.json()["key"]) == (200, _KEY)
        whole = b"".join(contents)
        assert answer.json()["sha256"] == hashlib.sha256(whole).hexdigest()
        found = running.client.get(path(_KEY))
        assert found.content == whole
        assert found.headers["content-type"] == "text/csv"
        assert found.headers["x-snme-a"] == "%C3%BC"
        assert found.headers["x-sn-time-created"] == "2026-03-01T12:10:00.250001Z"
        assert found.headers["x-sn-time-expires"] == "2026-03-01T13:10:00.250001Z"
        assert [key for key in running.stored() if "/uploads/" in key] == []
        assert upload.put(1, b"").status_code == 404
        assert upload.complete([(1, md5(contents[0]))]).status_code == 404

    def test_multipart_without_a_key(self, running: Running) -> None:
        """The server chooses one."""
        answer = running.client.post(f"/v1/objects:multipart/{_COLLECTION}")
        key, query = answer.json()["key"], {"upload_id": answer.json()["upload_id"]}
        assert len(key) == 36
        parts = at("multipart:parts", key)
        running.client.put(parts, params={**query, "part_number": 1}, content=b"abc")
        body = {"parts": [{"part_number": 1, "etag": f'"{md5(b"abc").upper()}"'}]}
        done = running.client.post(at("multipart:complete", key), params=query, json=body)
        assert done.json()["key"] == key
        assert running.client.get(path(key)).content == b"abc"

    def test_parts_are_listed(self, running: Running) -> None:
        """In pages, and each once, whatever was sent again."""
        upload = _Multipart(running)
        assert upload.parts() == {"parts": [], "is_truncated": False}
        for number in (5, 1, 9, 3):
            upload.put(number, b"first")
        upload.put(3, b"second")
        upload.put(9, b"first")
        page = upload.parts()
        assert page["is_truncated"] is False
        told = [(p["part_number"], p["etag"], p["size"]) for p in page["parts"]]
        first, second = (md5(b"first"), 5), (md5(b"second"), 6)
        assert told == [(1, *first), (3, *second), (5, *first), (9, *first)]
        for part in page["parts"]:
            assert datetime.fromisoformat(part["last_modified"]).tzinfo is not None
        page = upload.parts(max_parts=2)
        assert [p["part_number"] for p in page["parts"]] == [1, 3]
        assert (page["is_truncated"], page["next_part_number_marker"]) == (True, 3)
        page = upload.parts(max_parts=2, part_number_marker=3)
        assert [p["part_number"] for p in page["parts"]] == [5, 9]
        assert (page["is_truncated"], page.get("next_part_number_marker")) == (False, None)
        assert len([key for key in running.stored() if "/data/" in key]) == 4
        assert upload.complete([(3, md5(b"second")), (9, md5(b"first"))]).json()["key"] == _KEY
        assert running.client.get(path(_KEY)).content == b"secondfirst"

    def test_wrong_parts(self, running: Running) -> None:
        """Line 37: 200 and an error; nothing is stored, and the upload can go on."""
        upload = _Multipart(running)
        upload.put(1, b"one")
        upload.put(2, b"two")
        one, two = (1, md5(b"one")), (2, md5(b"two"))
        failed(upload.complete([one, (2, md5(b"one"))]), "InvalidPart")
        failed(upload.complete([one, (3, md5(b"two"))]), "InvalidPart")
        failed(upload.complete([two, one]), "InvalidPartOrder")
        failed(upload.complete([one, one]), "InvalidPartOrder")
        assert running.client.get(path(_KEY)).status_code == 404
        assert upload.complete([one, two]).json()["key"] == _KEY

    def test_abort(self, running: Running) -> None:
        """Line 37: the parts are gone."""
        upload = _Multipart(running)
        upload.put(1, b"one")
        answer = upload.abort()
        assert (answer.status_code, answer.content) == (204, b"")
        assert running.stored() == []
        assert upload.abort().status_code == 404
        refused(upload.put(1, b"one"), 404, "upload")
        assert running.client.get(at("multipart:parts"), params=upload.query).status_code == 404

    def test_malformed_multipart(self, running: Running) -> None:
        """400, and 422 for the list of parts."""
        upload = _Multipart(running)
        for number in ("0", "-1", "x", "", "10001", "1.5"):
            refused(upload.put(number, b""), 400, "part_number")
        for name in ("nothing", "../x", "a/b", "%2e", "x" * 1100):
            upload.query = {"upload_id": name}
            refused(upload.put(1, b""), 404)
        for call in (running.client.get, running.client.put):
            refused(call(at("multipart:parts"), params={"part_number": "1"}), 400, "upload_id")
        refused(running.client.delete(at("multipart")), 400, "upload_id")
        refused(running.client.post(at("multipart:complete"), json={"parts": []}), 400)
        upload = _Multipart(running)
        other = running.client.get(at("multipart:parts", "other"), params=upload.query)
        assert other.status_code == 404
        for query in ({"max_parts": "0"}, {"max_parts": "x"}, {"part_number_marker": "-1"}):
            asked = {**upload.query, **query}
            refused(running.client.get(at("multipart:parts"), params=asked), 400)
        for body in (
            "", "[]", "{", '{"parts": [{"part_number": 0, "etag": "a"}]}', '{"parts": []}',
            '{"parts": [{"part_number": true, "etag": "a"}]}', '{"parts": [1]}',
        ):  # fmt: skip
            answer = running.client.post(
                at("multipart:complete"), params=upload.query, content=body
            )
            refused(answer, 422)
        for header in ({"content-encoding": "gzip"}, {"x-sn-expiration": "x"},
                       {"x-snme-a": "x" * 2000}, {"repr-digest": "sha-256=:x:"}):  # fmt: skip
            refused(running.client.put(at("multipart"), headers=header), 400)

    def test_parts_are_checked(self, running: Running) -> None:
        """Content-MD5 is honoured, and a length is needed."""
        upload = _Multipart(running)
        good = base64.b64encode(hashlib.md5(b"one").digest()).decode()
        bad = base64.b64encode(bytes(16)).decode()
        refused(upload.put(1, b"one", **{"content-md5": bad}), 400, "digest")
        refused(upload.put(1, b"one", **{"content-md5": "x"}), 400, "MD5")
        query = {**upload.query, "part_number": "1"}
        chunked = running.client.put(at("multipart:parts"), params=query, content=iter([b"one"]))
        refused(chunked, 400, "Content-Length")
        assert upload.parts()["parts"] == []
        assert upload.put(1, b"one", **{"content-md5": good}).status_code == 200

    def test_whole_is_checked(self, running: Running) -> None:
        """What was said at the beginning of all of it has to be true at the end."""
        content = blob(100)
        frame = b"".join(compressed([content]))
        sha = base64.b64encode(hashlib.sha256(frame).digest()).decode()
        said = {
            "repr-digest": f"sha-256=:{sha}:", "content-encoding": "zstd",
            "x-oc-content-sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
        for good in (False, True):
            upload = _Multipart(running, **said)
            rest = frame[10:] if good else frame[11:]
            upload.put(1, frame[:10])
            upload.put(2, rest)
            answer = upload.complete([(1, md5(frame[:10])), (2, md5(rest))])
            if not good:
                failed(answer, "BadDigest")
                assert running.client.head(path(_KEY)).status_code == 404
        assert answer.json()["key"] == _KEY
        head = running.client.head(path(_KEY)).headers
        assert {name: head[name] for name in said} == said

    def test_damaged_part(self, running: Running) -> None:
        """What the store gives back as a part is what came, or there is no object."""
        upload = _Multipart(running)
        upload.put(1, b"one")
        data = next(key for key in running.stored() if "/data/" in key)
        running.service.store.store.put_object_v2(b"two", data)
        failed(upload.complete([(1, md5(b"one"))]), "InternalError")
        assert running.client.get(path(_KEY)).status_code == 404

    # -- resumable -------------------------------------------------------------------------

    @pytest.mark.parametrize("sizes", [(5, 6), (3,), (0,), (2 << 20, 1 << 20, 1)])
    def test_resumable(self, running: Running, sizes: tuple[int, ...]) -> None:
        """Line 39: chunk by chunk, and with the last byte it is an object."""
        contents = [blob(size) for size in sizes]
        whole = b"".join(contents)
        session = session_of(running, len(whole), **{"x-snme-a": "1", "content-type": "text/csv"})
        offset = 0
        for number, content in enumerate(contents, 1):
            asked = chunk(running, session, "*") if whole else None
            assert asked is None or (asked.status_code, asked.headers["upload-offset"]) == (
                204, str(offset)
            )  # fmt: skip
            assert running.client.get(path(_KEY)).status_code == 404
            answer = chunk(running, session, offset, content)
            offset += len(content)
            if number < len(contents):
                assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(offset))
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        assert answer.json()["sha256"] == hashlib.sha256(whole).hexdigest()
        found = running.client.get(path(_KEY))
        assert (found.content, found.headers["x-snme-a"]) == (whole, "1")
        assert [key for key in running.stored() if "/chunks/" in key] == []
        for again in (chunk(running, session, "*"), chunk(running, session, len(whole))):
            assert (again.status_code, again.json()) == (201, {"key": _KEY})
        if whole:
            assert chunk(running, session, 0, contents[0]).status_code == 409

    def test_resumable_without_a_key(self, running: Running) -> None:
        """The server chooses one; and ``session`` wins over ``upload_type``."""
        begun = running.client.post(
            f"/v1/objects/{_COLLECTION}?upload_type=resumable", headers={"upload-length": "3"}
        ).json()
        query = f"?session={begun['session']}&upload_type=resumable"
        headers = {"upload-offset": "0"}
        answer = running.client.put(path(begun["key"]) + query, content=b"abc", headers=headers)
        assert answer.status_code == 201
        assert running.client.get(path(begun["key"])).content == b"abc"

    def test_offsets(self, running: Running) -> None:
        """Line 39: 409 says where it goes on."""
        session = session_of(running, 10)
        chunk(running, session, 0, b"01234")
        for offset in (0, 4, 6, 10, 11):
            answer = chunk(running, session, offset, b"56789")
            refused(answer, 409)
            assert answer.headers["upload-offset"] == "5"
        refused(chunk(running, session, 5, b"567890"), 400)
        assert chunk(running, session, 5).headers["upload-offset"] == "5"
        assert chunk(running, session, 5, b"56789").status_code == 201
        assert running.client.get(path(_KEY)).content == b"0123456789"

    def test_cut_off_chunk(self, running: Running) -> None:
        """It is as if it had not been sent."""
        session = session_of(running, 10)
        with running.connect() as connection:
            head = f"PUT {path(_KEY)}?session={session} HTTP/1.1\r\nHost: x\r\nUpload-Offset: 0\r\n"
            connection.sendall(f"{head}Content-Length: 10\r\n\r\n01234".encode())
        assert chunk(running, session, "*").headers["upload-offset"] == "0"
        assert chunk(running, session, 0, b"0123456789").status_code == 201

    def test_two_send_the_same(self, running: Running) -> None:
        """However many do, every byte is there once."""
        content = blob(5000)
        session = session_of(running, len(content))
        answers: list[int] = []

        def send() -> None:
            offset = 0
            for _ in range(100):
                answer = chunk(running, session, offset, content[offset : offset + 500])
                answers.append(answer.status_code)
                if answer.status_code == 201:
                    return
                offset = int(answer.headers["upload-offset"])

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert set(answers) <= {201, 204, 409}
        assert 201 in answers
        assert running.client.get(path(_KEY)).content == content

    def test_lost_end(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that fails when all has come makes the object when it is asked again."""
        session = session_of(running, 3)
        assemble = uploads.Upload.assemble

        async def failing(self: uploads.Upload, *args: Any) -> dict[str, Any]:
            monkeypatch.setattr(uploads.Upload, "assemble", assemble)
            raise OSError("the machine is on fire")

        monkeypatch.setattr(uploads.Upload, "assemble", failing)
        assert chunk(running, session, 0, b"abc").status_code == 500
        assert running.client.get(path(_KEY)).status_code == 404
        answer = chunk(running, session, "*")
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        assert running.client.get(path(_KEY)).content == b"abc"

    def test_cancel(self, running: Running) -> None:
        """Line 39: 204, then 410; what was never there is 404."""
        session = session_of(running, 10)
        chunk(running, session, 0, b"01234")
        cancelled = running.client.delete(f"{path(_KEY)}?session={session}")
        assert (cancelled.status_code, cancelled.content) == (204, b"")
        refused(chunk(running, session, 5, b"56789"), 410)
        refused(chunk(running, session, "*"), 410)
        assert [key for key in running.stored() if "/chunks/" in key] == []
        refused(chunk(running, "abcd", "*"), 404)
        refused(running.client.delete(f"{path('other')}?session={session}"), 404)

    def test_cancel_keeps_the_object(self, running: Running) -> None:
        """A session is cancelled; the object of that name is not deleted."""
        running.client.put(path(_KEY), content=b"old")
        session = session_of(running, 10)
        running.client.delete(f"{path(_KEY)}?session={session}")
        assert running.client.get(path(_KEY)).content == b"old"

    def test_malformed_resumable(self, running: Running) -> None:
        """400, and 413 for what is too large."""
        for length in ("", "x", "-1", "1.5", "9" * 30):
            refused(start(running, length), 400, "upload-length")
        refused(start(running, running.service.max_object_bytes + 1), 413)
        refused(start(running, 3, **{"content-encoding": "gzip"}), 400)
        body = running.client.put(
            f"{path()}?upload_type=resumable", content=b"a", headers={"upload-length": "1"}
        )
        refused(body, 400, "body")
        session = session_of(running, 3)
        for offset in ("", "x", "-1", "**", "1.0"):
            refused(chunk(running, session, offset, b"a"), 400, "offset")
        refused(chunk(running, session, "*", b"a"), 400, "body")
        for bad in ("a=", "a.b", "abcde", "ü", ""):
            refused(chunk(running, bad, 0, b"a"), 400, "session")
        chunked = running.client.put(
            f"{path(_KEY)}?session={session}", content=iter([b"a"]), headers={"upload-offset": "0"}
        )
        refused(chunked, 400, "content-length")

    def test_other_queries_are_ignored(self, running: Running) -> None:
        """Parameters that mean nothing here change nothing."""
        answer = running.client.put(f"{path()}?upload_type=other&x=1", content=b"abc")
        assert answer.status_code == 200
        assert running.client.get(f"{path()}?session=abcd&upload_type=resumable").content == b"abc"

    def test_old_uploads_are_swept(self, running: Running) -> None:
        """Those that nobody goes on with; others are left."""
        old = _Multipart(running)
        old.put(1, b"one")
        chunk(running, session_of(running, 10), 0, b"01234")
        running.clock.go(days=6)
        new = session_of(running, 10)
        store, week = running.service.store.store, timedelta(days=7)
        before = running.stored()
        assert Sweeper(store, running.clock, week).batch(1000).removed == 0
        assert running.stored() == before
        running.clock.go(days=1)
        assert Sweeper(store, running.clock, week).batch(1000).removed == 2
        assert len(running.stored()) == 1
        assert chunk(running, new, 0, b"0123456789").status_code == 201


class TestMemory(InMemory, Contract):
    def test_many_chunks(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is an end to it."""
        monkeypatch.setattr(resumable, "MOST_CHUNKS", 2)
        session = session_of(running, 3)
        assert chunk(running, session, 0, b"0").status_code == 204
        assert chunk(running, session, 1, b"1").status_code == 204
        refused(chunk(running, session, 2, b"2"), 400, "chunks")

    def test_another_is_quicker(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who sends the same, or asks at the same time, is told that it is done."""
        session = session_of(running, 3)
        assemble, store = uploads.Upload.assemble, resumable._store

        async def assembled_before(self: uploads.Upload, *args: Any) -> dict[str, Any]:
            monkeypatch.setattr(uploads.Upload, "assemble", assemble)
            await assemble(self, *args)
            await resumable._end(args[0], self, uploads.DONE)
            return await assemble(self, *args)

        monkeypatch.setattr(uploads.Upload, "assemble", assembled_before)
        answer = chunk(running, session, 0, b"abc")
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        session = session_of(running, 3)

        async def done_before(service: Any, request: Any, upload: Any, offset: int) -> Any:
            await resumable._end(service, upload, uploads.DONE)
            return await store(service, request, upload, offset)

        monkeypatch.setattr(resumable, "_store", done_before)
        answer = chunk(running, session, 0, b"abc")
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        assert [key for key in running.stored() if "/chunks/" in key or "/data/" in key] == []

    def test_cancelled_meanwhile(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came after that leaves nothing behind."""
        session = session_of(running, 3)
        store = resumable._store

        async def cancelled(service: Any, request: Any, upload: Any, offset: int) -> Any:
            await resumable._end(service, upload, uploads.CANCELLED)
            return await store(service, request, upload, offset)

        monkeypatch.setattr(resumable, "_store", cancelled)
        refused(chunk(running, session, 0, b"abc"), 410)
        assert [key for key in running.stored() if not key.endswith("/manifest")] == []

    def test_too_large_in_all(self, running: Running) -> None:
        """Parts that are together more than an object may be."""
        upload = _Multipart(running)
        upload.put(1, b"one")
        object.__setattr__(running.service, "max_object_bytes", 2)
        failed(upload.complete([(1, md5(b"one"))]), "EntityTooLarge")

    def test_keeps_the_connection(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blanks come before the answer does."""
        monkeypatch.setattr(multipart, "KEEP_ALIVE_S", 0.02)
        upload = _Multipart(running)
        upload.put(1, b"one")
        goes_on = threading.Event()
        assemble = uploads.Upload.assemble

        async def slow(self: uploads.Upload, *args: Any) -> dict[str, Any]:
            await args[0].store.call(goes_on.wait, 60)
            return await assemble(self, *args)

        monkeypatch.setattr(uploads.Upload, "assemble", slow)
        body = {"parts": [{"part_number": 1, "etag": md5(b"one")}]}
        with upload.client.stream(
            "POST", at("multipart:complete"), params=upload.query, json=body
        ) as answer:
            pieces = answer.iter_raw()
            assert next(pieces).strip() == b""
            goes_on.set()
            rest = b"".join(pieces)
        assert json.loads(rest)["key"] == _KEY

    def test_part_of_an_upload_that_ended(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What came while it was aborted leaves nothing behind."""
        upload = _Multipart(running)
        is_there = uploads.Upload.is_there

        async def ended(self: uploads.Upload, *args: Any) -> bool:
            await self.remove(*args)
            return await is_there(self, *args)

        monkeypatch.setattr(uploads.Upload, "is_there", ended)
        refused(upload.put(1, b"one"), 404)
        assert running.stored() == []


class TestFilesystem(InFiles, Contract):
    pass


class TestS3(InS3, Contract):
    pass
