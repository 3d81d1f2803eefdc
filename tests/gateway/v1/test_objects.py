"""Objects of /v1 over every kind of store."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from object_clerk._version import __version__
from object_clerk.gateway.v1.stored import MOST_BYTES
from object_clerk.session.zstd import compressed, zstd
from tests.gateway.v1.grounds import Ground, InFiles, InMemory, InS3
from tests.gateway.v1.running import ROOT, path, serving
from tests.gateway.v1.sweeping import sweeper

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from object_clerk.store import ObjectStore
    from tests.gateway.v1.running import Running

_KEYS = ("plain", "a/b/c", "a b", "50%", "50%41x", "a#frag", "a?x=1", "a+b", "ü/ß", "日本", "a;b=c")


def blob(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def refused(answer: httpx2.Response, status: int, *words: str) -> None:
    """The answer is this error, as JSON."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert set(said) <= {"detail", "causes"}
    text = " ".join((said["detail"], *said.get("causes", ())))
    assert [word for word in words if word not in text] == [], text


def refused_plainly(answer: httpx2.Response, status: int) -> None:
    """The answer is this error, as text."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text


class Contract(Ground):
    """The tests; a class below says over which store."""

    def test_post_chooses_a_key(self, client: httpx2.Client) -> None:
        """Line 1."""
        keys = set()
        for collection in ("/v1/objects/tests/org=42/", "/v1/objects/tests/org=42"):
            answer = client.post(collection, content=b"content")
            assert answer.status_code == 201
            keys.add(key := answer.json()["key"])
            assert client.get(path(key, "org=42")).content == b"content"
        assert len(keys) == 2

    @pytest.mark.parametrize("key", _KEYS)
    def test_put_takes_a_key(self, running: Running, key: str) -> None:
        """Line 2: literally; and it is where other parts of the gateway look for it."""
        answer = running.client.put(path(key), content=key.encode())
        assert (answer.status_code, answer.json()["key"]) == (200, key)
        assert running.client.get(path(key)).content == key.encode()
        assert running.stored() == [f"{ROOT}/objects/{key}"]

    def test_put_replaces(self, running: Running) -> None:
        """Line 3: bytes, metadata and the time of creation."""
        client = running.client
        client.put(path(), content=b"first", headers={"x-snme-a": "1", "x-sn-origin": "here"})
        first = client.head(path()).headers
        running.clock.go(seconds=1.5)
        client.put(path(), content=b"second", headers={"x-snme-b": "2"})
        answer = client.get(path())
        assert answer.content == b"second"
        assert (answer.headers["x-snme-b"], answer.headers.get("x-snme-a")) == ("2", None)
        assert "x-sn-origin" not in answer.headers
        times = [datetime.fromisoformat(h["x-sn-time-created"]) for h in (first, answer.headers)]
        assert (times[1] - times[0]).total_seconds() == 1.5

    @pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20])
    def test_chunked_bodies(self, client: httpx2.Client, size: int) -> None:
        """Line 4: of any size, with their length or without."""
        content = blob(size)
        pieces = (content[at : at + 70_000] for at in range(0, size, 70_000))
        for body in (pieces, content):
            told = client.put(path(), content=body)
            assert told.status_code == 200
            assert told.json()["sha256"] == hashlib.sha256(content).hexdigest()
            answer = client.get(path())
            assert answer.content == content
            assert answer.headers["content-length"] == str(size)
            assert answer.headers["x-sn-size"] == str(size)

    def test_headers_on_the_wire(self, running: Running) -> None:
        """Line 5: names in lower case, whatever is answered, and the name of the server."""
        running.client.put(path(), content=b"content", headers={"X-SNME-Name": "Value"})
        for request, status in (
            (f"GET {path()} HTTP/1.1", 200), (f"HEAD {path()} HTTP/1.1", 204),
            (f"GET {path('missing')} HTTP/1.1", 404), ("GET /v1/objects/a/b/c HTTP/1.1", 400),
            ("GET /v1/nothing HTTP/1.1", 404), (f"POST {path()} HTTP/1.1", 405),
        ):  # fmt: skip
            found, headers, _ = running.raw(request)
            assert found == status
            # Connection is the server's own, and nobody's metadata.
            names = [name for name, _ in headers if name not in ("Connection",)]
            assert names == [name.lower() for name in names]
            assert (status == 204) != ("content-length" in names)
            servers = [value for name, value in headers if name == "server"]
            assert servers == [f"objectstore/{__version__}"]

    def test_metadata(self, client: httpx2.Client) -> None:
        """Lines 10 and 11: types, origin, file name and one's own names come back."""
        headers = {
            "content-type": "text/plain; charset=utf-8", "x-sn-origin": "203.0.113.42",
            "x-sn-filename": "r%C3%A4port.txt", "x-snme-Name": "a%20b", "x-snme-under_score": "%25",
            "x-snme-empty": "", "x-sn-time-created": "nonsense", "x-sn-size": "7",
        }  # fmt: skip
        assert client.put(path(), content=b"abc", headers=headers).status_code == 200
        for answer in (client.get(path()), client.head(path())):
            told = answer.headers
            assert told["content-type"] == "text/plain; charset=utf-8"
            assert told["x-sn-origin"] == "203.0.113.42"
            assert told["x-sn-filename"] == "r%C3%A4port.txt"
            assert told["content-disposition"] == (
                "attachment; filename=\"r_port.txt\"; filename*=UTF-8''r%C3%A4port.txt"
            )
            assert (told["x-snme-name"], told["x-snme-under_score"]) == ("a%20b", "%25")
            assert told["x-snme-empty"] == ""
            assert told["x-sn-time-created"] == "2026-03-01T12:00:00.250001Z"
            assert told["x-sn-size"] == "3"
            assert "x-sn-expiration" not in told  # line 16
            assert "x-sn-time-expires" not in told
        client.put(path(), content=b"abc")
        assert client.get(path()).headers["content-type"] == "application/octet-stream"

    def test_much_metadata(self, client: httpx2.Client) -> None:
        """As much as every store can keep, and no more."""

        def put(size: int) -> httpx2.Response:
            return client.put(path(), content=b"", headers={"x-snme-text": "x" * size})

        assert put(MOST_BYTES - 400).status_code == 200
        assert client.head(path()).headers["x-snme-text"] == "x" * (MOST_BYTES - 400)
        refused(put(MOST_BYTES), 400, "metadata")
        assert client.head(path()).headers["x-snme-text"] == "x" * (MOST_BYTES - 400)

    def test_encodings(self, running: Running) -> None:
        """Bytes come back as they are stored, and say how; others than zstd are not known."""
        frame = b"".join(compressed([b"content"]))
        client = running.client
        client.put(path(), content=frame, headers={"content-encoding": "zstd"})
        with client.stream("GET", path()) as answer:
            assert answer.headers["content-encoding"] == "zstd"
            assert b"".join(answer.iter_raw()) == frame
        for wrong in ("gzip", "br", "zstd, gzip", "snappy"):
            refused(client.put(path("a"), content=b"", headers={"content-encoding": wrong}), 400)
        client.put(path("b"), content=b"plain", headers={"content-encoding": "identity"})
        assert "content-encoding" not in client.get(path("b")).headers
        assert len(running.stored()) == 2

    @pytest.mark.parametrize(
        ("name", "value"),
        [("content-type", "nonsense"), ("content-type", "text/"), ("x-sn-expiration", "foo"),
         ("x-sn-expiration", "ttl:"), ("x-sn-expiration", "ttl:abc"), ("x-sn-expiration", "ttl:1"),
         ("x-sn-expiration", "tti:-1s"), ("x-sn-expiration", "ttl:9999999999y"),
         ("x-sn-expiration", "ttl:9000y"), ("x-sn-expiration", ""), ("x-sn-origin", "%FF"),
         ("x-snme-a", "%C3"), ("repr-digest", "sha-256=:AAAA:"), ("content-md5", "nonsense"),
         ("x-oc-content-sha256", "abc"), ("x-oc-content-sha256", "")],
    )  # fmt: skip
    def test_malformed_headers(self, running: Running, name: str, value: str) -> None:
        """Line 14: 400, and nothing is stored."""
        refused(running.client.put(path(), content=b"content", headers={name: value}), 400)
        assert running.stored() == []

    def test_headers_twice(self, running: Running) -> None:
        """Nobody knows which was meant."""
        for header in ("x-snme-a: ", "x-sn-expiration: ttl:1h", "content-encoding: zstd"):
            status, _, body = running.raw(
                f"PUT {path()} HTTP/1.1", "content-length: 0", f"{header}1", header
            )
            assert (status, "twice" in body.decode()) == (400, True)
        assert running.stored() == []

    def test_scopes(self, running: Running) -> None:
        """Lines 17 and 18: they separate, in their order; none is ``_``."""
        client = running.client
        client.put(path("k", "org=1;project=2"), content=b"1")
        for other in ("org=1", "org=2;project=2", "project=2;org=1", "_"):
            assert client.get(path("k", other)).status_code == 404
        assert client.get(path("k", "org=1;project=2", "other")).status_code == 404
        client.put(path("k", "project=2;org=1"), content=b"2")
        client.put(path("k", "_"), content=b"3")
        assert client.get(path("k", "org=1;project=2")).content == b"1"
        assert client.get(path("k", "org%3D1%3Bproject%3D2")).content == b"1"
        assert client.get(path("k", "_")).content == b"3"
        assert ".sessions/tests/objects/k" in running.stored()

    @pytest.mark.parametrize(
        "scope",
        ["a", "a=", "=1", "a=1;", ";", "a=*", "a=b.c", "a=1=2", "a=%2F", "a=1;a=2", "a=%FF", "",
         "a.b=1", "a=b%20c"],
    )  # fmt: skip
    def test_bad_scopes(self, running: Running, scope: str) -> None:
        """Line 18: 400, as text."""
        refused_plainly(running.client.put(path("k", scope), content=b""), 400)
        refused_plainly(running.client.post(f"/v1/objects/tests/{scope}/", content=b""), 400)
        assert running.stored() == []

    @pytest.mark.parametrize(
        "raw", ["/a", "a/../b", "a/%2e%2E/b", "..", "%00", "%ff", "a%C3", "x" * 1025]
    )
    def test_impossible_keys(self, running: Running, raw: str) -> None:
        """What would lead elsewhere, or is no key, is refused as text."""
        for method in ("GET", "PUT", "DELETE"):
            status, _, body = running.raw(f"{method} /v1/objects/tests/_/{raw} HTTP/1.1")
            assert status == 400
            assert b"path" in body
        assert running.stored() == []

    def test_key_that_is_too_long_with_its_scope(self, running: Running) -> None:
        """A key may be one, and too long for its scope in the store."""
        key = "/".join(["d" * 100] * 10)
        scope = f"org={'x' * 100}"
        for method in ("PUT", "GET"):
            answer = running.client.request(method, path(key, scope))
            assert (answer.status_code, "too long" in answer.text) == (400, True)
        long = ";".join(f"s{number}={'x' * 100}" for number in range(8))
        assert running.client.put(path("k", long), content=b"").status_code == 400
        assert running.client.put(path("/".join(["d" * 100] * 9)), content=b"").status_code == 200

    def test_missing(self, client: httpx2.Client) -> None:
        """Line 19: 404, without a body."""
        for method in ("GET", "HEAD"):
            answer = client.request(method, path())
            assert (answer.status_code, answer.content) == (404, b"")

    def test_delete(self, running: Running) -> None:
        """Line 20: 204; that there is nothing to delete is no error."""
        client = running.client
        client.put(path(), content=b"", headers={"x-sn-expiration": "tti:1h"})
        running.clock.go(minutes=30)
        client.get(path())
        for _ in range(2):
            answer = client.delete(path())
            assert (answer.status_code, answer.content) == (204, b"")
            assert client.get(path()).status_code == 404
        assert running.stored() == []

    def test_head(self, client: httpx2.Client) -> None:
        """Line 21: 204, and what GET says."""
        client.put(path(), content=b"content", headers={"x-sn-expiration": "ttl:1h"})
        head, get = client.head(path()), client.get(path())
        assert (head.status_code, head.content) == (204, b"")
        ours = {name for name in [*get.headers] if name.startswith(("x-s", "content-t", "repr"))}
        assert len(ours) == 6
        assert {name: head.headers[name] for name in ours} == {n: get.headers[n] for n in ours}

    def test_objects_of_others(self, running: Running) -> None:
        """What /v1 has not written, it does not know."""
        store = running.service.store.store
        store.put_object_v2(b"", f"{ROOT}/objects/key")
        store.put_object_v2(b"", f"{ROOT}/objects/b", metadata={"v1-0": "a=1"})
        for key in ("key", "b"):
            assert running.client.get(path(key)).status_code == 404
            assert running.client.head(path(key)).status_code == 404

    def test_methods(self, running: Running) -> None:
        """Methods that an address does not have, and addresses that are none."""
        answer = running.client.post(path())
        refused(answer, 405)
        assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
        assert running.client.get("/v1/objects/tests/_/").status_code == 405
        refused_plainly(running.client.put("/v1/nothing/tests/_/a"), 404)
        assert running.client.get("/health").json()["status"] == "healthy"
        assert set(running.client.get("/objects/a").json()) == {"error"}

    @pytest.mark.parametrize("compression", ["identity", "zstd"])
    def test_ranges(self, client: httpx2.Client, compression: str) -> None:
        """Line 36: some of the stored bytes, whatever they are."""
        stored = zstd.compress(b"0") if compression == "zstd" else b"0123456789"
        client.put(path(), content=stored, headers={"content-encoding": compression})
        assert len(stored) == 10
        for wanted, found, told in (
            ("bytes=0-4", stored[:5], "0-4"), ("bytes=7-", stored[7:], "7-9"),
            ("bytes=-3", stored[-3:], "7-9"), ("bytes=8-99", stored[8:], "8-9"),
            ("bytes=-99", stored, "0-9"), ("bytes=0-", stored, "0-9"),
        ):  # fmt: skip
            with client.stream("GET", path(), headers={"range": wanted}) as answer:
                assert (answer.status_code, b"".join(answer.iter_raw())) == (206, found)
            assert answer.headers["content-range"] == f"bytes {told}/10"
            assert answer.headers["content-length"] == str(len(found))
            assert answer.headers["accept-ranges"] == "bytes"
            assert answer.headers["x-sn-size"] == "10"
        for wanted in ("bytes=10-", "bytes=99-100", "bytes=-0"):
            answer = client.get(path(), headers={"range": wanted})
            refused(answer, 416)
            assert answer.headers["content-range"] == "bytes */10"
        with client.stream("GET", path(), headers={"range": "bytes=0-1,5-6"}) as answer:
            assert (answer.status_code, b"".join(answer.iter_raw())) == (200, stored)
        for wanted in ("lines=0-4", "bytes=4-0", "bytes=", "bytes=-", "bytes=a-b", "0-4", ""):
            refused(client.get(path(), headers={"range": wanted}), 400, "range")
        assert client.get(path("missing"), headers={"range": "bytes=0-1"}).status_code == 404
        assert client.head(path()).headers["accept-ranges"] == "bytes"

    def test_ranges_of_a_large_object(self, client: httpx2.Client) -> None:
        """As large as one likes, and the digest is that of the whole."""
        content = blob(5 << 20)
        client.put(path(), content=content)
        whole = client.head(path()).headers["repr-digest"]
        for begin, end in ((1, 3 << 20), (4 << 20, 5 << 20)):
            answer = client.get(path(), headers={"range": f"bytes={begin}-{end - 1}"})
            assert (answer.status_code, answer.content) == (206, content[begin:end])
            assert answer.headers["repr-digest"] == whole
        client.put(path("empty"), content=b"")
        refused(client.get(path("empty"), headers={"range": "bytes=0-"}), 416)

    def test_reader_who_goes(self, running: Running) -> None:
        """What he did not take is given up, and others are served."""
        running.client.put(path(), content=bytes(8 << 20))
        for _ in range(5):
            with running.connect() as connection:
                connection.sendall(f"GET {path()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert connection.recv(1000)
        assert len(running.client.get(path()).content) == 8 << 20

    # -- digests ---------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 7, 3 << 20])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_digests_are_compared(self, running: Running, size: int, chunked: bool) -> None:
        """Bytes that are not what their digest says are not stored."""
        content = blob(size)
        md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
        sha = base64.b64encode(hashlib.sha256(content).digest()).decode()
        client = running.client

        def put(name: str, value: str) -> httpx2.Response:
            body = iter([content]) if chunked else content
            return client.put(path(), content=body, headers={name: value})

        zero = base64.b64encode(bytes(32)).decode()
        refused(put("repr-digest", f"sha-256=:{zero}:"), 400, "digest")
        refused(put("content-md5", base64.b64encode(bytes(16)).decode()), 400, "digest")
        refused(put("x-oc-content-sha256", "0" * 64), 400, "x-oc-content-sha256")
        assert running.stored() == []
        assert put("content-md5", md5).status_code == 200
        assert put("x-oc-content-sha256", hashlib.sha256(content).hexdigest()).status_code == 200
        assert client.head(path()).headers["x-oc-content-sha256"] == (
            hashlib.sha256(content).hexdigest()
        )
        assert put("repr-digest", f"sha-256=:{sha}:").status_code == 200
        assert client.get(path()).headers["repr-digest"] == f"sha-256=:{sha}:"

    def test_digest_of_a_large_stream(self, running: Running) -> None:
        """Nobody knew it when the object was begun; whoever reads it does."""
        for size in (3 << 20, 4 << 20):
            content = blob(size)
            running.client.put(path(), content=iter([content]))
            sha = base64.b64encode(hashlib.sha256(content).digest()).decode()
            assert running.client.head(path()).headers["repr-digest"] == f"sha-256=:{sha}:"
        running.client.delete(path())
        sweeper(running).batch(9)  # the first one was replaced, and nobody asked what it was
        assert running.stored() == []

    def test_content_is_compared(self, running: Running) -> None:
        """What is compressed is looked into."""
        content = blob(100_000) + bytes(30 << 20)
        frame = b"".join(compressed([content[:5], content[5:]]))
        frame = frame[: len(frame)]
        sha = hashlib.sha256(content).hexdigest()

        def put(body: bytes, digest: str) -> httpx2.Response:
            headers = {"content-encoding": "zstd", "x-oc-content-sha256": digest}
            return running.client.put(path(), content=body, headers=headers)

        refused(put(frame, "0" * 64), 400, "x-oc-content-sha256")
        for damaged in (frame[:-5], frame + b"x", b"nonsense", b""):
            answer = running.client.put(
                path(), content=damaged, headers={"content-encoding": "zstd"}
            )
            refused(answer, 400, "zstd")
        refused(put(frame[:-5], sha), 400, "zstd")
        refused(put(b"nonsense", sha), 400, "zstd")
        refused(put(b"", sha), 400, "zstd")
        assert running.stored() == []
        assert put(frame, sha).status_code == 200
        assert running.client.head(path()).headers["x-oc-content-sha256"] == sha

    # -- whole or not at all ---------------------------------------------------------------

    @pytest.mark.parametrize("size", [1000, 3 << 20])
    def test_broken_uploads(self, running: Running, size: int) -> None:
        """Line 35: what was cut off is never seen."""
        running.client.put(path(), content=b"old")
        for head, rest in (
            (f"Content-Length: {size + 1}", blob(size)),
            ("Transfer-Encoding: chunked", b"%x\r\n" % (size + 1) + blob(size)),
        ):
            with running.connect() as connection:
                said = f"PUT {path()} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"
                connection.sendall(said.encode() + rest)
        assert running.client.put(path("b"), content=b"").status_code == 200
        assert running.client.get(path()).content == b"old"
        assert len(running.stored()) == 2

    def test_many_at_once(self, running: Running) -> None:
        """Line 35: nothing is lost or mixed up."""
        wrong: list[int] = []

        def work(number: int) -> None:
            content = blob(1000 + number)
            at = path(f"key/{number}")
            put = running.client.put(at, content=content)
            if put.status_code != 200 or running.client.get(at).content != content:
                wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(running.stored()) == 100


class TestMemory(InMemory, Contract):
    def test_layers_speak_the_same(self, running: Running) -> None:
        """What is refused before /v1 looks at it is said as /v1 says it."""
        limit = running.service.max_object_bytes + 1
        status, headers, body = running.raw(f"PUT {path()} HTTP/1.1", f"Content-Length: {limit}")
        assert status == 413
        assert set(json.loads(body)) == {"detail"}
        assert ("content-length", str(len(body))) in headers
        assert ("server", f"objectstore/{__version__}") in headers

    def test_store_without_metadata(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It cannot be done there, and that is said."""
        monkeypatch.setattr(type(running.service.store.store.client), "capabilities", frozenset())
        refused(running.client.put(path(), content=b""), 501, "metadata")

    @pytest.mark.parametrize("size", [1001, 3 << 20])
    def test_too_large(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        """Also where nobody said before how large it is."""
        with serving(tmp_path, store, monkeypatch, max_object_bytes=1000) as running:
            for body in (iter([bytes(size)]), bytes(size)):
                answer = running.client.put(path(), content=body)
                refused(answer, 413, "1000")
                assert answer.headers["server"].startswith("objectstore/")
            assert running.client.put(path("good"), content=bytes(1000)).status_code == 200
            assert len(running.stored()) == 1

    def test_bomb(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Few bytes that become more than an object may have are not looked at any further."""
        content = bytes(10 << 20)
        frame = b"".join(compressed([content]))
        headers = {
            "content-encoding": "zstd",
            "x-oc-content-sha256": hashlib.sha256(content).hexdigest(),
        }
        for most, status in ((len(content) - 1, 400), (len(content), 200)):
            with serving(tmp_path, store, monkeypatch, max_object_bytes=most) as running:
                answer = running.client.put(path(), content=frame, headers=headers)
                assert answer.status_code == status
                if status == 400:
                    refused(answer, 400, "larger")
                    assert running.stored() == []

    def test_slow_client(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is told so in the words of /v1, and nothing is stored."""
        with serving(tmp_path, store, monkeypatch, idle_timeout_s=0.2) as running:
            status, _, body = running.raw(f"PUT {path()} HTTP/1.1", "Content-Length: 9", body=b"a")
            assert status == 408
            assert set(json.loads(body)) == {"detail"}
            assert running.stored() == []


class TestFilesystem(InFiles, Contract):
    pass


class TestS3(InS3, Contract):
    pass
