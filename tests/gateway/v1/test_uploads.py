"""Uploads of /v1 in pieces: multipart and resumable."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import ObjectClerkServerInternalException
from object_clerk.gateway.v1 import claims, finishing, multipart, objects, resumable, uploads
from object_clerk.gateway.v1.claims import Busy, Claim
from object_clerk.session.zstd import compressed
from object_clerk.testing.store import Gap
from tests.gateway.v1.grounds import Ground, InFiles, InMemory, InS3
from tests.gateway.v1.running import ROOT, path
from tests.gateway.v1.sweeping import sweeper
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


def gone(running: Running) -> None:
    """No pieces of uploads are left, once those have gone that are being removed."""
    end = time.monotonic() + 60
    while left := [
        key for key in running.stored() if "/uploads/" in key and not key.endswith("/manifest")
    ]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


class _All:
    """An upload of either kind, of which all has come but the last request."""

    def __init__(self, running: Running, kind: str, **headers: str) -> None:
        self._running = running
        self._kind = kind
        if kind == "multipart":
            multipart_upload = _Multipart(running, **headers)
            multipart_upload.put(1, b"upload")
            self.query = multipart_upload.query
        else:
            self.query = {"session": session_of(running, 6, **headers)}
            chunk(running, self.query["session"], 0, b"uplo")

    def complete(self) -> httpx2.Response:
        """The last request, or that which asks what became of it."""
        if self._kind == "multipart":
            body = {"parts": [{"part_number": 1, "etag": md5(b"upload")}]}
            return self._running.client.post(at("multipart:complete"), params=self.query, json=body)
        answer = chunk(self._running, self.query["session"], 4, b"ad")
        if answer.status_code == 409:
            answer = chunk(self._running, self.query["session"], "*")
        return answer

    def finish(self) -> str | None:
        """The key, or None for an error."""
        key: str | None = self.complete().json().get("key")
        return key

    def give_up(self) -> httpx2.Response:
        way = at("multipart") if self._kind == "multipart" else path(_KEY)
        return self._running.client.delete(way, params=self.query)


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
        gone(running)
        assert upload.put(1, b"").status_code == 404
        failed(upload.complete([(1, md5(contents[0]))]), "InvalidPart")

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
        running.clock.go(seconds=1)
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
        gone(running)
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
        gone(running)
        for again in (chunk(running, session, "*"), chunk(running, session, len(whole))):
            assert (again.status_code, again.json()) == (201, answer.json())
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
        write = finishing._Finish._write

        async def failing(self: Any, *args: Any) -> dict[str, Any]:
            monkeypatch.setattr(finishing._Finish, "_write", write)
            raise OSError("the machine is on fire")

        monkeypatch.setattr(finishing._Finish, "_write", failing)
        assert chunk(running, session, 0, b"abc").status_code == 500
        assert running.client.get(path(_KEY)).status_code == 404
        answer = chunk(running, session, "*")
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        assert running.client.get(path(_KEY)).content == b"abc"

    # -- an upload becomes an object once ------------------------------------------------------

    @pytest.fixture
    def can_condition(self) -> bool:
        return True

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    def test_done_is_done(self, running: Running, kind: str) -> None:
        """Who asks again is told the same, and what was written later stays."""
        upload = _All(running, kind)
        assert upload.finish() == _KEY
        assert running.client.get(path(_KEY)).content == b"upload"
        running.client.put(path(_KEY), content=b"later")
        again = upload.complete().json()
        assert (again["key"], again["sha256"]) == (_KEY, hashlib.sha256(b"upload").hexdigest())
        assert running.client.get(path(_KEY)).content == b"later"
        running.client.delete(path(_KEY))
        assert upload.finish() == _KEY
        assert running.client.get(path(_KEY)).status_code == 404

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    @pytest.mark.parametrize("lost", ["answer", "note", "process"])
    @pytest.mark.parametrize("then", ["nothing", "put"])
    def test_broken_off_when_it_was_written(
        self,
        running: Running,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        lost: str,
        then: str,
    ) -> None:
        """Nobody knows that the object was made, or that it was replaced since; it stays."""
        upload = _All(running, kind, **{"x-sn-expiration": "ttl:1m"})
        end, write = uploads.Upload.end, objects.write

        async def failing(self: uploads.Upload, *args: Any, **more: Any) -> None:
            monkeypatch.setattr(uploads.Upload, "end", end)
            raise ObjectClerkServerInternalException("the machine is on fire")

        async def written(*args: Any, **more: Any) -> dict[str, Any]:
            monkeypatch.setattr(objects, "write", write)
            await write(*args, **more)
            raise ObjectClerkServerInternalException("the store's answer is lost")

        if lost == "answer":
            monkeypatch.setattr(objects, "write", written)
        else:
            monkeypatch.setattr(uploads.Upload, "end", failing)
        if lost == "process":
            monkeypatch.setattr(Claim, "close", lambda _: None)
        assert upload.finish() is None
        assert running.client.get(path(_KEY)).content == b"upload"
        if then == "put":
            running.client.put(path(_KEY), content=b"later")
        monkeypatch.setattr(claims, "LEASE", timedelta(seconds=-1))
        again = upload.complete().json()
        assert again["key"] == _KEY
        content = b"later" if then == "put" else b"upload"
        assert running.client.get(path(_KEY)).content == content
        if then == "nothing":
            assert again["sha256"] == hashlib.sha256(b"upload").hexdigest()

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    @pytest.mark.parametrize("where", ["reading", "writing"])
    @pytest.mark.parametrize("gone", ["deleted", "replaced", "nothing"])
    def test_broken_off_before_it_was_written(
        self,
        running: Running,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        where: str,
        gone: str,
    ) -> None:
        """What was never written is written when it is asked for again, not taken for done."""
        running.client.put(path(_KEY), content=b"old")
        upload = _All(running, kind)
        begin, write = Claim.begin, objects.write

        def not_begun(self: Claim, before: str) -> None:
            monkeypatch.setattr(Claim, "begin", begin)
            raise ObjectClerkServerInternalException("the machine is on fire")

        async def not_written(*_: Any, **__: Any) -> dict[str, Any]:
            monkeypatch.setattr(objects, "write", write)
            raise ObjectClerkServerInternalException("the machine is on fire")

        if where == "reading":
            monkeypatch.setattr(Claim, "begin", not_begun)
        else:
            monkeypatch.setattr(objects, "write", not_written)
        assert upload.finish() is None
        assert running.client.get(path(_KEY)).content == b"old"
        if gone == "deleted":
            running.client.delete(path(_KEY))
        elif gone == "replaced":
            running.client.put(path(_KEY), content=b"later")
        assert upload.finish() == _KEY
        # What was written after the object might have been there is left alone.
        is_left = (where, gone) == ("writing", "replaced")
        assert running.client.get(path(_KEY)).content == (b"later" if is_left else b"upload")

    def test_other_parts_are_not_those(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That an object was made of other parts is never told as success."""
        upload = _Multipart(running)
        upload.put(1, b"one")
        upload.put(2, b"two")
        end = uploads.Upload.end

        async def failing(self: uploads.Upload, *args: Any, **more: Any) -> None:
            monkeypatch.setattr(uploads.Upload, "end", end)
            raise ObjectClerkServerInternalException("the machine is on fire")

        monkeypatch.setattr(uploads.Upload, "end", failing)
        one, two = (1, md5(b"one")), (2, md5(b"two"))
        failed(upload.complete([one]), "InternalError")
        failed(upload.complete([one, two]), "InvalidPart")
        assert upload.complete([one]).json()["sha256"] == hashlib.sha256(b"one").hexdigest()
        assert running.client.get(path(_KEY)).content == b"one"

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    def test_over_what_is_swept_meanwhile(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """An object that has expired may go while another takes its place."""
        headers = {"x-sn-expiration": "ttl:1s"}
        running.client.put(path(_KEY), content=b"old", headers=headers)
        running.clock.go(hours=2)
        upload = _All(running, kind)
        begin = Claim.begin

        def late(self: Claim, before: str) -> None:
            monkeypatch.setattr(Claim, "begin", begin)
            assert sweeper(running).batch(100).removed == 1
            begin(self, before)

        monkeypatch.setattr(Claim, "begin", late)
        assert upload.finish() == _KEY
        assert running.client.get(path(_KEY)).content == b"upload"

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    @pytest.mark.parametrize("same_process", [False, True])
    def test_two_finish_at_once(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, kind: str, same_process: bool
    ) -> None:
        """One puts it together, and the other waits for that."""
        upload = _All(running, kind)
        write, writes = objects.write, []
        waits, goes_on = threading.Event(), threading.Event()

        async def slow(*args: Any, **more: Any) -> dict[str, Any]:
            writes.append(args)
            waits.set()
            await args[0].store.call(goes_on.wait, 60)
            return await write(*args, **more)

        monkeypatch.setattr(objects, "write", slow)
        told: list[str | None] = []
        threads = [threading.Thread(target=lambda: told.append(upload.finish())) for _ in range(2)]
        threads[0].start()
        assert waits.wait(60)
        if not same_process:
            running.service.finishing.clear()
        threads[1].start()
        threads[1].join(1)
        assert threads[1].is_alive()
        goes_on.set()
        for thread in threads:
            thread.join(60)
        assert (told, len(writes)) == ([_KEY, _KEY], 1)

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    def test_others_write_meanwhile(
        self,
        running: Running,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        can_condition: bool,
    ) -> None:
        """What is written while pieces are put together is not replaced by them."""
        if not can_condition:
            pytest.skip("this server ignores conditions")
        upload = _All(running, kind)
        begin = Claim.begin

        def late(self: Claim, before: str) -> None:
            running.client.put(path(_KEY), content=b"later")
            begin(self, before)

        monkeypatch.setattr(Claim, "begin", late)
        assert upload.finish() == _KEY
        assert running.client.get(path(_KEY)).content == b"later"

    @pytest.mark.parametrize("kind", ["multipart", "resumable"])
    def test_given_up_meanwhile(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """An upload that is cancelled while it is put together becomes no object."""
        upload = _All(running, kind)
        begin = Claim.begin

        def late(self: Claim, before: str) -> None:
            assert upload.give_up().status_code == 204
            begin(self, before)

        monkeypatch.setattr(Claim, "begin", late)
        assert upload.finish() is None
        assert running.client.get(path(_KEY)).status_code == 404
        gone(running)

    def test_client_who_goes(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """The object is made all the same: a large one may take longer than connections hold."""
        upload = _All(running, "multipart")
        goes_on, write = threading.Event(), objects.write

        async def slow(*args: Any, **more: Any) -> dict[str, Any]:
            await args[0].store.call(goes_on.wait, 60)
            return await write(*args, **more)

        monkeypatch.setattr(objects, "write", slow)
        monkeypatch.setattr(multipart, "KEEP_ALIVE_S", 0.02)
        body = {"parts": [{"part_number": 1, "etag": md5(b"upload")}]}
        with running.client.stream(
            "POST", at("multipart:complete"), params=upload.query, json=body
        ) as answer:
            assert next(answer.iter_raw()).strip() == b""
        goes_on.set()
        assert upload.finish() == _KEY
        assert running.client.get(path(_KEY)).content == b"upload"

    def test_cancel(self, running: Running) -> None:
        """Line 39: 204, then 410; what was never there is 404."""
        session = session_of(running, 10)
        chunk(running, session, 0, b"01234")
        cancelled = running.client.delete(f"{path(_KEY)}?session={session}")
        assert (cancelled.status_code, cancelled.content) == (204, b"")
        refused(chunk(running, session, 5, b"56789"), 410)
        refused(chunk(running, session, "*"), 410)
        gone(running)
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
        before = running.stored()
        assert sweeper(running).batch(1000).removed == 0
        assert running.stored() == before
        running.clock.go(days=1)
        assert sweeper(running).batch(1000).removed == 2
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

    def test_claims_of_the_dead(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for them for ever, and for those who live there is an answer."""
        monkeypatch.setattr(finishing, "TRIES", 1)
        store = running.service.store.store
        upload = _All(running, "multipart")
        prefix = f"{ROOT}/uploads/{upload.query['upload_id']}/claims/"
        claim = Claim.make(store, prefix, "")
        failed(upload.complete(), "OperationAborted")
        claim.close()
        monkeypatch.setattr(finishing, "TRIES", 9)
        assert upload.finish() == _KEY
        monkeypatch.setattr(finishing, "TRIES", 1)
        for damaged in (None, b"", b"[]", b"{", b'{"of": 1}'):
            upload = _All(running, "resumable")
            prefix = f"{ROOT}/uploads/{upload.query['session']}/claims/"
            if damaged is None:
                Claim.make(store, prefix, "")
            else:
                store.put_object_v2(damaged, f"{prefix}damaged")
            monkeypatch.setattr(claims, "LEASE", timedelta(seconds=60))
            answer = upload.complete()
            refused(answer, 503, "put together")
            assert int(answer.headers["retry-after"]) > 0
            monkeypatch.setattr(claims, "LEASE", timedelta(seconds=-1))
            monkeypatch.setattr(finishing, "TRIES", 9)
            assert upload.finish() == _KEY
            monkeypatch.setattr(finishing, "TRIES", 1)

    def test_claim_that_was_not_kept(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who slept too long may have been taken for dead, and begins anew."""
        store = running.service.store.store
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now)
        claim = Claim.make(store, "claims/", "")
        claim.begin("")
        now += 29
        claim.renew()
        now += 29
        claim.begin("")
        now += 31
        claim.renew()
        with pytest.raises(Busy):
            claim.begin("")
        claim.close()
        assert [attempt.before for attempt in Claim.make(store, "claims/", "").earlier] == [""]

    def test_many_finish_at_once(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is an end to it."""
        upload = _All(running, "multipart")
        monkeypatch.setattr(finishing, "MOST_AT_ONCE", 0)
        failed(upload.complete(), "OperationAborted")

    def test_claims_are_renewed(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """As long as they are used, and not any longer."""
        monkeypatch.setattr(claims, "RENEWAL_S", 0.01)
        claim = Claim.make(running.service.store.store, "claims/", "")
        renewals = threading.Semaphore(0)
        monkeypatch.setattr(claim, "renew", renewals.release)

        async def use() -> None:
            async with claims.kept(claim):
                for _ in range(3):
                    assert await asyncio.to_thread(renewals.acquire, timeout=60)

        asyncio.run(use())
        count = renewals._value
        time.sleep(0.1)
        assert renewals._value == count

    def test_done_meanwhile(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """A chunk that comes when all is done already leaves nothing behind."""
        session = session_of(running, 3)
        store = resumable._store

        async def done_before(service: Any, request: Any, upload: Any, offset: int) -> Any:
            await upload.end(service, uploads.DONE)
            return await store(service, request, upload, offset)

        monkeypatch.setattr(resumable, "_store", done_before)
        answer = chunk(running, session, 0, b"abc")
        assert (answer.status_code, answer.json()["key"]) == (201, _KEY)
        gone(running)

    def test_cancelled_meanwhile(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came after that leaves nothing behind."""
        session = session_of(running, 3)
        store = resumable._store

        async def cancelled(service: Any, request: Any, upload: Any, offset: int) -> Any:
            await upload.end(service, uploads.CANCELLED)
            return await store(service, request, upload, offset)

        monkeypatch.setattr(resumable, "_store", cancelled)
        refused(chunk(running, session, 0, b"abc"), 410)
        gone(running)

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
        write = finishing._Finish._write

        async def slow(self: Any, *args: Any) -> Any:
            await self.service.store.call(goes_on.wait, 60)
            return await write(self, *args)

        monkeypatch.setattr(finishing._Finish, "_write", slow)
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
    @pytest.fixture
    def can_condition(self, gaps: frozenset[Gap]) -> bool:
        return not gaps & {Gap.IF_ABSENT, Gap.IF_MATCH}
