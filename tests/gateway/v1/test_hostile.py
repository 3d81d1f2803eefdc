"""What strangers and accidents may send to /v1, and what must not come of it."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import ObjectClerkTimeoutException
from object_clerk.gateway import patience
from object_clerk.gateway.tokens import TokenFile
from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.deadlines import Deadlines
from object_clerk.gateway.v1.forms import _headers
from object_clerk.session.metadata import check_content_type
from object_clerk.session.zstd import Decompressor, zstd
from object_clerk.store import ObjectStore
from tests.gateway.v1.grounds import Ground, InFiles, InMemory
from tests.gateway.v1.running import path, serving
from tests.gateway.v1.test_access import key_files, keys, token
from tests.gateway.v1.test_batch import _PATH, ask, part, told
from tests.gateway.v1.test_expiry import put, statuses
from tests.gateway.v1.test_objects import blob, refused
from tests.gateway.v1.test_uploads import _KEY, _Multipart, chunk, md5, session_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.gateway.v1.running import Running

__all__ = ["key_files", "keys"]  # fixtures

WRONG = base64.b64encode(bytes(32)).decode()


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def quickly(call: Callable[[], object]) -> None:
    """It fails, and not after ages: what takes for ever takes for ever here."""
    done = threading.Thread(target=_try, args=(call,), daemon=True)
    done.start()
    done.join(60)
    assert not done.is_alive()


def _try(call: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        call()


@pytest.mark.parametrize(
    "text", ["a/b" + "; " * 400 + "@", "a/b" + " ;" * 400 + "@", "a/b;a=b" + " " * 900 + "@"]
)
def test_media_types_are_read_in_one_way(text: str) -> None:
    quickly(lambda: check_content_type(text))
    for good in ("a/b;", "a/b ;c=d", 'a/b; c="d;\\""; e=f', "a/b;;c=d"):
        assert check_content_type(good) == good


def test_headers_of_parts_are_read_in_one_way() -> None:
    quickly(lambda: _headers(b"x:" + b" " * 16000 + b"\0"))
    assert _headers(b"a: \t b c \t\r\nD:") == {"a": "b c", "d": ""}


def test_tiny_frames_are_read_in_linear_time() -> None:
    empty = zstd.compress(b"")

    def read(count: int) -> float:
        begin = time.process_time()
        decompressor = Decompressor()
        assert b"".join(decompressor.feed(empty * count)) == b""
        decompressor.finish()
        return time.process_time() - begin

    read(100)
    assert read(64_000) < 40 * (read(8_000) + 0.05)  # squared, it would be 64 times as much


class Contract(Ground):
    """The tests; a class below says over which store."""

    # -- digests ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "value",
        [f"sha-256={WRONG}", "sha-256=:nonsense:", f"{digest(b'x')}, sha-256=:{WRONG}:",
         f"sha-256=:{WRONG}:, {digest(b'x')}", "sha-256=::", f"sha-256=:{WRONG}"],
    )  # fmt: skip
    def test_no_digest_is_passed_over(self, running: Running, value: str) -> None:
        for name in ("repr-digest", "content-digest"):
            answer = running.client.put(path(), content=b"x", headers={name: value})
            refused(answer, 400)
        assert running.client.get(path()).status_code == 404

    def test_no_second_line_is_passed_over(self, running: Running) -> None:
        right, wrong = digest(b"x"), f"sha-256=:{WRONG}:"
        good, bad = md5_text(b"x"), md5_text(b"y")
        sha, other = hashlib.sha256(b"x").hexdigest(), "0" * 64
        for lines in (
            (f"Repr-Digest: {right}", f"Repr-Digest: {wrong}"),
            (f"Repr-Digest: {wrong}", f"Repr-Digest: {right}"),
            ("Repr-Digest: sha-512=:AAAA:", f"Repr-Digest: {wrong}"),
            (f"Content-MD5: {good}", f"Content-MD5: {bad}"),
            (f"x-oc-content-sha256: {sha}", f"x-oc-content-sha256: {other}"),
        ):
            status, _, _ = running.raw(
                f"PUT {path()} HTTP/1.1", "Content-Length: 1", *lines, body=b"x"
            )
            assert status == 400, lines
        for lines in ((f"Repr-Digest: {right}", f"Repr-Digest: {right}"),):
            status, _, _ = running.raw(
                f"PUT {path()} HTTP/1.1", "Content-Length: 1", *lines, body=b"x"
            )
            assert status == 200

    # -- what would be passed over -----------------------------------------------------------

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    def test_conditions(self, running: Running, method: str) -> None:
        put(running, None, content=b"old")
        for name, value in (("if-none-match", "*"), ("if-match", '"x"'),
                            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT")):  # fmt: skip
            answer = running.client.request(method, path(), headers={name: value}, content=b"new")
            refused(answer, 501, name)
        assert running.client.get(path()).content == b"old"

    def test_a_part_is_not_the_whole(self, running: Running) -> None:
        put(running, None, content=b"old")
        headers = {"content-range": "bytes 0-3/100"}
        refused(running.client.put(path(), headers=headers, content=b"part"), 400, "part")
        assert running.client.get(path()).content == b"old"
        headers = {"range": "bytes=0-0", "if-range": '"x"'}
        answer = running.client.get(path(), headers=headers)
        assert (answer.status_code, answer.content) == (200, b"old")

    def test_framing(self, running: Running) -> None:
        """What two readers may understand in two ways."""
        status, headers, _ = running.raw(
            f"PUT {path()} HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 3",
            body=b"5\r\nabcde\r\n0\r\n\r\n",
        )  # fmt: skip
        lower = {name.lower(): value for name, value in headers}
        assert (status, lower["connection"]) == (400, "close")
        assert running.client.get(path()).status_code == 404

    # -- time ------------------------------------------------------------------------------

    @pytest.mark.parametrize("expiration", ["ttl:1m", "tti:1m"])
    def test_a_long_upload_does_not_use_up_the_time(
        self, running: Running, expiration: str
    ) -> None:
        def slow() -> Any:
            yield bytes(600_000)
            running.clock.go(minutes=5)
            yield b"end"

        answer = running.client.put(path(), content=slow(), headers={"x-sn-expiration": expiration})
        assert answer.status_code == 200
        running.clock.go(seconds=59)
        assert running.client.get(path()).status_code == 200
        running.clock.go(minutes=1, seconds=1)
        assert running.client.get(path()).status_code == 404

    # -- uploads ---------------------------------------------------------------------------

    def test_a_part_that_comes_twice_at_once(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two that overlap one stays, whichever was noted first."""
        upload = _Multipart(running)
        store = running.service.store.store
        list_objects, both = store.list_objects, threading.Barrier(2)

        def listing(prefix: str = "", **options: Any) -> Any:
            if prefix.endswith("/parts/00001/"):
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(60)
            return list_objects(prefix, **options)

        monkeypatch.setattr(store, "list_objects", listing)
        threads = [
            threading.Thread(target=upload.put, args=(1, content)) for content in (b"a", b"bb")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        (left,) = upload.parts()["parts"]
        answer = upload.complete([(1, left["etag"])])
        assert answer.json()["key"] == _KEY

    def test_many_parts_can_be_completed(self, running: Running) -> None:
        upload = _Multipart(running)
        upload.put(10_000, b"last")
        parts = [(number, md5(b"")) for number in range(1, 10_000)]
        answer = upload.complete([*parts, (10_000, md5(b"last"))])
        assert answer.json()["error"]["code"] == "InvalidPart"

    def test_two_send_different_bytes(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One resumable upload, and two who mean different objects: never a mixture."""
        session = session_of(running, 8)
        store = running.service.store.store
        put_object, both = store.put_object_v2, threading.Barrier(2)

        def putting(content: Any, key: str, *args: Any, **options: Any) -> Any:
            if "/chunks/" in key:
                with contextlib.suppress(threading.BrokenBarrierError):
                    both.wait(60)
            return put_object(content, key, *args, **options)

        monkeypatch.setattr(store, "put_object_v2", putting)
        answers: list[int] = []

        def send(content: bytes) -> None:
            answers.append(chunk(running, session, 0, content).status_code)

        threads = [threading.Thread(target=send, args=(each,)) for each in (b"AAAA", b"BBBBBB")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        both.abort()
        assert answers.count(204) <= 1
        offset = int(chunk(running, session, "*").headers["upload-offset"])
        rest = {0: b"CCCCCCCC", 4: b"AAAA", 6: b"BB"}[offset]
        assert chunk(running, session, offset, rest).status_code == 201
        assert len(set(running.client.get(path(_KEY)).content)) == 1

    # -- batches ---------------------------------------------------------------------------

    def test_what_is_inserted_after_a_delete_stays(self, running: Running) -> None:
        put(running, None, "z", b"old")
        for key, other in (("z", "z"), ("%C3%BC", "ü")):
            operations = [
                part("delete", key), part("delete", other), part("insert", key, b"new"),
                part("delete", "other"),
            ]  # fmt: skip
            done = [each[2][:3] for each in told(ask(running.client, *operations))]
            assert done == ["204", "204", "201", "204"]
            assert running.client.get(f"/v1/objects/tests/org=42;project=7/{key}").content == b"new"

    # -- names -----------------------------------------------------------------------------

    def test_a_scope_that_is_named_self(self, running: Running) -> None:
        assert running.client.put(path("k", "self=1"), content=b"x").status_code == 200
        assert running.client.get(path("k", "self=1")).content == b"x"

    def test_names_of_all_headers_are_in_lower_case(self, running: Running) -> None:
        put(running, None)
        for method in ("GET", "HEAD", "POST"):
            way = _PATH if method == "POST" else path()
            _, headers, _ = running.raw(f"{method} {way} HTTP/1.1", "Content-Length: 0")
            assert [name for name, _ in headers if name != name.lower()] == []


class TestMemory(InMemory, Contract):
    # -- a store that does not answer, or only slowly ----------------------------------------

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH"])
    def test_a_store_that_hangs(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        put(running, "ttl:1h")
        monkeypatch.setattr(patience, "PATIENCE_S", 0.1)
        goes_on = threading.Event()
        store = running.service.store.store
        for name in ("head_object", "get_object"):
            monkeypatch.setattr(store, name, lambda *_, **__: goes_on.wait(60))
        body = b'{"extend_expiry": {"after": "2h", "from": "now"}}'
        answer = running.client.request(method, path(), content=body)
        goes_on.set()
        assert answer.status_code == 504
        assert int(answer.headers["retry-after"]) > 0

    def test_a_store_that_is_slow_to_write(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for a deadline to be written down; it is, in the end."""
        put(running, "tti:1h")
        running.clock.go(minutes=30)
        monkeypatch.setattr(objects, "TOUCH_S", 0.05)
        goes_on, touch = threading.Event(), Deadlines.touch
        done = threading.Event()

        def slow(self: Deadlines, *args: Any) -> None:
            goes_on.wait(60)
            touch(self, *args)
            done.set()

        monkeypatch.setattr(Deadlines, "touch", slow)
        assert running.client.get(path()).status_code == 200
        assert not done.is_set()
        goes_on.set()
        assert done.wait(60)
        running.clock.go(minutes=50)
        assert statuses(running) == (204, 200)

    @pytest.mark.parametrize("record", [None, b"{}", b'{"sha256": "' + b"x" * 64 + b'"}'])
    def test_a_digest_that_cannot_be_read(
        self, running: Running, monkeypatch: pytest.MonkeyPatch, record: bytes | None
    ) -> None:
        """The object can be read all the same."""
        content = blob(1 << 20)
        store = running.service.store.store
        head = store.head_object
        monkeypatch.setattr(store, "head_object", without_digests(head))
        assert running.client.put(path(), content=iter([content])).status_code == 200
        (at,) = (key for key in running.stored() if "/digests/" in key)
        get_object = store.get_object

        def getting(key: str, *args: Any, **options: Any) -> Any:
            if key == at and record is None:
                raise ObjectClerkTimeoutException("too slow")
            return get_object(key, *args, **options)

        if record is not None:
            store.put_object_v2(record, at)
        monkeypatch.setattr(store, "get_object", getting)
        assert running.client.get(path()).content == content

    def test_figures_tell_routes(self, running: Running) -> None:
        put(running, None)
        running.client.get(path())
        running.client.get("/v1/objects/tests/no scope/k")
        text = running.client.get("/metrics").text
        assert 'route="/v1/objects/{usecase}/{scopes}/{key}"' in text


class TestFilesystem(InFiles, Contract):
    pass


def without_digests(head: Callable[..., Any]) -> Callable[..., Any]:
    """As of a store that keeps none."""

    def asked(*args: Any, **options: Any) -> Any:
        return dataclasses.replace(head(*args, **options), digests={})

    return asked


def md5_text(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_batches_of_strangers_are_not_read(
    tmp_path: Path, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no token is refused before the form comes."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with serving(tmp_path, store, monkeypatch, {"OS__AUTH__KEYS": keys}) as running:
        head = f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        head += "Content-Type: multipart/form-data; boundary=frontier\r\n\r\n"
        with running.connect() as connection:
            connection.sendall(head.encode() + b"--frontier\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
        long = {"content-type": 'multipart/form-data; a="' + ";" * 30_000}
        text = token(running)
        answer = running.client.post(
            _PATH, content=b"", headers={**long, "x-os-auth": f"Bearer {text}"}
        )
        refused(answer, 400, "long")
        twice = (f"x-os-auth: Bearer {text}", f"x-os-auth: Bearer {text}")
        assert running.raw(f"GET {path()} HTTP/1.1", *twice)[0] == 400


def test_rest_does_not_see_sessions(running_both: tuple[Running, dict[str, str]]) -> None:
    """Neither reads, lists, writes, signs nor deletes what is /v1's."""
    running, authorised = running_both
    client = running.client
    put(running, None)
    (at,) = running.stored()
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        answer = client.request(method, f"/objects/{at}", headers=authorised)
        assert answer.status_code == 403
    signed = client.post("/presigned", headers=authorised, json={"key": at})
    assert signed.status_code == 403
    for key in ("-first", ".last", ".sessionsX", "a", "b"):
        assert client.put(f"/objects/{key}", headers=authorised).status_code == 200
    names: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for _ in range(9):
        page = client.get("/objects", headers=authorised, params=query).json()
        names += page["keys"]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert names == ["-first", ".last", ".sessionsX", "a", "b"]
    assert statuses(running) == (204, 200)


@pytest.fixture
def running_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = TokenFile(tmp_path / "tokens.json").add("all", 1, ("read", "write", "delete"))
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    with serving(tmp_path, store, monkeypatch) as running:
        yield running, {"authorization": f"Bearer {made.text}"}
