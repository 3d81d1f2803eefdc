"""What the gateway does, over every kind of store."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2
import pytest

from object_clerk.rest import wire
from object_clerk.store import ObjectStore
from object_clerk.store.models import Capability
from object_clerk.testing.store import Gap
from tests.gateway.running import Running, gateway
from tests.servers import ODD_KEYS
from tests.store.test_contract import OnS3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from tests.servers import Server, Traits

_KEYS = (
    "plain", "a/b/c", "a b", "50%", "50%41x", "a#frag", "a?x=1", "a+b", "a&b=c;d", "ü/ß", "日本/🛰",
    "a//b", "~tilde", "quote'\"", "back\\slash", "a:b@c", "%2F", "end.",
    ".hidden", "a/..b", "line\nbreak\r",
)  # fmt: skip


def path(key: str) -> str:
    """The path of an object, with everything encoded that can be."""
    return "/objects/" + quote(key, safe="")


def blob(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def refused(answer: httpx2.Response, status: int, *words: str) -> None:
    """The answer is this error, in the one shape that all have."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == str(status)
    assert [word for word in words if word not in error["message"]] == [], error["message"]


class GatewayContract:
    """The tests; a class below says over which store."""

    @pytest.fixture
    def running(self, store: ObjectStore, tmp_path: Path) -> Iterator[Running]:
        with gateway(tmp_path, store) as started:
            yield started

    @pytest.fixture
    def client(self, running: Running) -> httpx2.Client:
        return running.client

    # -- objects ---------------------------------------------------------------------------

    def test_put_tells(self, client: httpx2.Client) -> None:
        """Check 2: key, size and a time in UTC; and more of what was proved."""
        answer = client.put("/objects/key", content=b"content")
        assert answer.status_code == 200
        told = answer.json()
        assert (told["key"], told["size"]) == ("key", 7)
        created = datetime.fromisoformat(told["created_at"])
        assert told["created_at"].endswith("Z")
        assert abs((datetime.now(UTC) - created).total_seconds()) < 600
        assert told["sha256"] == hashlib.sha256(b"content").hexdigest()
        assert answer.headers["etag"] == f'"{told["etag"]}"'

    @pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 50 << 20])
    def test_round_trip(self, client: httpx2.Client, size: int) -> None:
        """Check 3: every byte comes back, with its length."""
        content = blob(size)
        assert client.put("/objects/key", content=content).json()["size"] == size
        answer = client.get("/objects/key")
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["content-length"] == str(size)

    def test_round_trip_all_bytes(self, client: httpx2.Client) -> None:
        """Check 3: bytes are bytes."""
        content = bytes(range(256))
        client.put("/objects/key", content=content)
        assert client.get("/objects/key").content == content

    @pytest.mark.parametrize("size", [0, 10, 3 << 20])
    def test_chunked_body(self, client: httpx2.Client, size: int) -> None:
        """A body need not say its length."""
        content = blob(size)
        pieces = (content[at : at + 70_000] for at in range(0, size, 70_000))
        told = client.put("/objects/key", content=pieces).json()
        assert told["size"] == size
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
        assert client.get("/objects/key").content == content

    def test_head(self, client: httpx2.Client) -> None:
        """Check 4: what GET says, without the body."""
        client.put("/objects/key", content=b"content", headers={"content-type": "text/csv"})
        head, get = client.head("/objects/key"), client.get("/objects/key")
        assert (head.status_code, head.content) == (200, b"")
        names = ("content-length", "content-type", "etag", "last-modified", "accept-ranges")
        assert [head.headers[name] for name in names] == [get.headers[name] for name in names]
        assert head.headers["content-length"] == "7"
        missing = client.head("/objects/other")
        assert (missing.status_code, missing.content) == (404, b"")

    def test_delete(self, client: httpx2.Client) -> None:
        """Checks 4 and 23: 204, and 404 for what is not there."""
        client.put("/objects/key", content=b"content")
        answer = client.delete("/objects/key")
        assert (answer.status_code, answer.content) == (204, b"")
        refused(client.delete("/objects/key"), 404, "no such object")
        refused(client.get("/objects/key"), 404, "no such object")
        assert client.head("/objects/key").status_code == 404

    def test_replace(self, running: Running) -> None:
        """Check 5: the last content wins, and it is listed once."""
        for content in (b"first", b"second, longer", b"3"):
            running.client.put("/objects/key", content=content)
        assert running.client.get("/objects/key").content == b"3"
        assert running.keys() == ["key"]

    @pytest.mark.parametrize("key", _KEYS)
    def test_keys(self, running: Running, key: str, unsupported_keys: frozenset[str]) -> None:
        """Checks 6 and 8: a key is what it is, on the way there and back."""
        if key in unsupported_keys:
            pytest.skip("this server cannot hold such a key")
        told = running.client.put(path(key), content=key.encode())
        assert told.json()["key"] == key
        assert running.client.get(path(key)).content == key.encode()
        assert running.keys() == [key]
        assert running.client.delete(path(key)).status_code == 204

    def test_encoded_slash_is_a_slash(self, client: httpx2.Client) -> None:
        """``a%2Fb`` and ``a/b`` are the same key."""
        client.put("/objects/a%2Fb", content=b"content")
        assert client.get("/objects/a/b").content == b"content"

    def test_key_and_folder(self, running: Running, unsupported_keys: frozenset[str]) -> None:
        """Check 22: ``a`` and ``a/b`` are two objects."""
        if "a" in unsupported_keys:
            pytest.skip("this server keeps objects as files, and folders as directories")
        running.client.put("/objects/a", content=b"one")
        running.client.put("/objects/a/b", content=b"two")
        assert running.client.get("/objects/a").content == b"one"
        assert running.client.get("/objects/a/b").content == b"two"
        assert running.keys() == ["a", "a/b"]

    @pytest.mark.parametrize(
        "raw",
        ["..%2Fname", "%2Fetc%2Fpasswd", "/etc/passwd", "a/../b", "a/%2e%2E/b", "./a", "a/.",
         "a%00b", "%00", "%ff", "a%C3", "", "x" * 1025, "%FC", "a/%2e"],
    )  # fmt: skip
    def test_impossible_keys(self, running: Running, raw: str) -> None:
        """Check 21: what is no key, or would become another on the way, is refused."""
        for method, body in (("PUT", b"5\r\nbytes\r\n0\r\n\r\n"), ("GET", b""), ("DELETE", b"")):
            coding = b"Transfer-Encoding: chunked\r\n" if body else b""
            answer = running.raw(
                f"{method} /objects/{raw} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                f"Authorization: Bearer {running.token}\r\n".encode()
                + coding
                + b"\r\n"
                + body
            )
            head, _, said = answer.partition(b"\r\n\r\n")
            assert head.split(b" ", 2)[1] == b"400", answer
            assert json.loads(said)["error"]["code"] == "400"
        assert running.keys() == []

    def test_longest_key(self, running: Running, unsupported_keys: frozenset[str]) -> None:
        """Check 21: a key may be as long as one of S3."""
        key = "/".join(["d" * 200] * 5)
        running.client.put(path(key), content=b"content")
        assert running.client.get(path(key)).content == b"content"

    def test_content_type(self, client: httpx2.Client, store: ObjectStore) -> None:
        """Check 30: the type is the writer's, whatever the reader would accept."""
        if Capability.METADATA not in store.client.capabilities:
            pytest.skip("this store keeps no types")
        client.put("/objects/typed", content=b"a,b", headers={"content-type": "text/csv"})
        client.put("/objects/untyped", content=b"<script>")
        for accept in ("text/html", "*/*", "image/png"):
            typed = client.get("/objects/typed", headers={"accept": accept})
            assert typed.headers["content-type"] == "text/csv"
            untyped = client.get("/objects/untyped", headers={"accept": accept})
            assert untyped.headers["content-type"] == "application/octet-stream"
            assert untyped.headers["x-content-type-options"] == "nosniff"

    # -- digests ---------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 7, 2 << 20])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_digests_are_compared(self, running: Running, size: int, chunked: bool) -> None:
        """A body that is not what its digest says is refused, and nothing is stored."""
        content = blob(size)
        client = running.client

        def put(key: str, name: str, value: str) -> httpx2.Response:
            body = iter([content]) if chunked else content
            return client.put(f"/objects/{key}", content=body, headers={name: value})

        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        sha = base64.b64encode(hashlib.sha256(content).digest()).decode()
        good = {
            "Content-MD5": md5,
            "Repr-Digest": f"md5=:{md5}:, sha-256=:{sha}:",
            "Content-Digest": f"sha-256=:{sha}:",
        }
        for name, value in good.items():
            assert put("good", name, value).status_code == 200
        wrong = base64.b64encode(bytes(32)).decode()
        bad = {
            "Content-MD5": base64.b64encode(bytes(16)).decode(),
            "Repr-Digest": f"sha-256=:{wrong}:",
            "Content-Digest": f"sha-256=:{wrong}:",
        }
        for name, value in bad.items():
            refused(put("bad", name, value), 400, "digest")
        refused(put("bad", "Content-MD5", "nonsense"), 400, "Content-MD5")
        for unclear in ("sha-256=:AAAA:", "sha-256=deadbeef", "md5=:AAAA:, SHA-256 = 1"):
            refused(put("bad", "Repr-Digest", unclear), 400, "Repr-Digest")
        twice = [("repr-digest", "sha-512=:AAAA:"), ("repr-digest", bad["Repr-Digest"])]
        refused(client.put("/objects/bad", content=content, headers=twice), 400, "digest")
        assert running.keys() == ["good"]

    def test_digest_comes_back(self, client: httpx2.Client, store: ObjectStore) -> None:
        """The SHA-256 that is known of an object comes with it."""
        if Capability.METADATA not in store.client.capabilities:
            pytest.skip("this store keeps no digests")
        for size in (10, 3 << 20):
            content = blob(size)
            digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
            said = f"sha-256=:{digest}:"
            client.put("/objects/key", content=content, headers={"repr-digest": said})
            assert client.get("/objects/key").headers["repr-digest"] == said
            assert client.head("/objects/key").headers["repr-digest"] == said

    def test_encoded_bodies_are_refused(self, running: Running) -> None:
        """Nobody is given compressed bytes without being told."""
        answer = running.client.put(
            "/objects/key", content=b"zipped", headers={"content-encoding": "gzip"}
        )
        refused(answer, 415, "Content-Encoding")
        answer = running.client.put(
            "/objects/key", content=b"part", headers={"content-range": "bytes 0-3/8"}
        )
        refused(answer, 400, "part")
        assert running.keys() == []

    # -- conditions and ranges -----------------------------------------------------------------

    def test_conditional_reads(self, client: httpx2.Client) -> None:
        """A reader who has it is told so."""
        client.put("/objects/key", content=b"content")
        whole = client.get("/objects/key")
        etag, when = whole.headers["etag"], whole.headers["last-modified"]
        for call in (client.get, client.head):
            for same in (etag, f"W/{etag}", f'"other", {etag}', "*"):
                answer = call("/objects/key", headers={"if-none-match": same})
                assert (answer.status_code, answer.content) == (304, b"")
                assert answer.headers["etag"] == etag
            assert call("/objects/key", headers={"if-none-match": '"other"'}).status_code == 200
            assert call("/objects/key", headers={"if-match": etag}).status_code == 200
            assert call("/objects/key", headers={"if-match": '"other"'}).status_code == 412
            assert call("/objects/key", headers={"if-match": f"W/{etag}"}).status_code == 412
            assert call("/objects/key", headers={"if-modified-since": when}).status_code == 304
            assert call("/objects/key", headers={"if-unmodified-since": when}).status_code == 200
            old = "Sat, 01 Jan 2000 00:00:00 GMT"
            assert call("/objects/key", headers={"if-modified-since": old}).status_code == 200
            assert call("/objects/key", headers={"if-unmodified-since": old}).status_code == 412
            assert call("/objects/key", headers={"if-modified-since": "soon"}).status_code == 200
        # Swift rounds up.
        age = datetime.now(UTC) - parsedate_to_datetime(when)
        assert abs(age.total_seconds()) < 600

    def test_conditional_writes(self, running: Running, can_condition: bool) -> None:
        """A write that must not replace does not."""
        if not can_condition:
            pytest.skip("this store cannot write on a condition")
        client = running.client
        absent = {"if-none-match": "*"}
        first = client.put("/objects/key", content=b"first", headers=absent)
        assert first.status_code == 200
        refused(client.put("/objects/key", content=b"again", headers=absent), 412, "there already")
        etag = first.headers["etag"]
        wrong = {"if-match": '"0123456789abcdef0123456789abcdef"'}
        refused(client.put("/objects/key", content=b"again", headers=wrong), 412)
        assert client.get("/objects/key").content == b"first"
        second = client.put("/objects/key", content=b"second", headers={"if-match": etag})
        assert second.status_code == 200
        assert client.get("/objects/key").content == b"second"

    @pytest.mark.parametrize(
        "headers",
        [{"if-none-match": '"tag"'}, {"if-match": "*"}, {"if-match": '"a", "b"'},
         {"if-match": 'W/"a"'}, {"if-match": '"a"', "if-none-match": "*"},
         {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}, {"if-match": "bare"}],
    )  # fmt: skip
    def test_impossible_conditions(self, running: Running, headers: dict[str, str]) -> None:
        """A condition that cannot be kept is refused, not ignored."""
        refused(running.client.put("/objects/key", content=b"x", headers=headers), 400)
        assert running.keys() == []
        running.client.put("/objects/key", content=b"x")
        answer = running.client.delete("/objects/key", headers={"if-match": '"tag"'})
        refused(answer, 501, "condition")
        assert running.keys() == ["key"]

    @pytest.mark.parametrize(
        ("asked", "begin", "end"),
        [("0-4", 0, 5), ("5-5", 5, 6), ("10-", 10, None), ("-7", -7, None), ("0-", 0, None),
         ("-10000000", None, None), ("2999990-4000000", 2_999_990, None),
         ("7-2100000", 7, 2_100_001)],
    )  # fmt: skip
    def test_ranges(
        self, client: httpx2.Client, asked: str, begin: int | None, end: int | None
    ) -> None:
        """Some bytes are 206, and the place they are from."""
        content = blob(3_000_000)
        client.put("/objects/key", content=content)
        answer = client.get("/objects/key", headers={"range": f"bytes={asked}"})
        assert answer.content == content[begin:end]
        if asked == "0-":  # all of it
            assert answer.status_code == 200
            return
        assert answer.status_code == 206
        found = range(3_000_000)[begin:end]
        assert answer.headers["content-range"] == f"bytes {found.start}-{found.stop - 1}/3000000"
        assert answer.headers["content-length"] == str(len(found))

    def test_ranges_that_are_none(self, client: httpx2.Client) -> None:
        """What is beyond the end is 416; what need not be understood is all of it."""
        client.put("/objects/key", content=b"0123456789")
        for asked in ("bytes=10-", "bytes=99-100", "bytes=-0"):
            answer = client.get("/objects/key", headers={"range": asked})
            refused(answer, 416)
            assert answer.headers["content-range"] == "bytes */10"
        for asked in (
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=5-2",
            "bytes=-",
            "bytes=x-y",
            "nonsense",
        ):
            answer = client.get("/objects/key", headers={"range": asked})
            assert (answer.status_code, answer.content) == (200, b"0123456789")

    def test_if_range(self, client: httpx2.Client) -> None:
        """Some bytes of the same object, or all of the new one."""
        etag = client.put("/objects/key", content=b"0123456789").headers["etag"]
        headers = {"range": "bytes=2-3", "if-range": etag}
        assert client.get("/objects/key", headers=headers).content == b"23"
        # A date is never enough: another object may have been written in the same second.
        when = client.head("/objects/key").headers["last-modified"]
        for other in ('"other"', f"W/{etag}", when, "Sat, 01 Jan 2000 00:00:00 GMT"):
            headers = {"range": "bytes=2-3", "if-range": other}
            assert client.get("/objects/key", headers=headers).content == b"0123456789"

    def test_if_range_while_others_write(self, running: Running, is_atomic: bool) -> None:
        """Some bytes are of the object that was meant, whoever replaces it meanwhile."""
        if not is_atomic:
            pytest.skip("this server gives errors while an object is replaced")
        contents = [bytes([number]) * 5000 for number in range(2)]
        etags = [
            running.client.put("/objects/key", content=content).headers["etag"]
            for content in contents
        ]
        ends = threading.Event()

        def write() -> None:
            while not ends.is_set():
                for content in contents:
                    running.client.put("/objects/key", content=content)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            answers = [
                running.client.get(
                    "/objects/key", headers={"range": "bytes=1000-", "if-range": etags[0]}
                )
                for _ in range(60)
            ]
        finally:
            ends.set()
            writer.join(60)
        for answer in answers:
            if answer.status_code == 206:
                assert answer.content == contents[0][1000:]
            elif answer.status_code != 503:  # it was replaced between two requests to S3
                assert (answer.status_code, answer.content) in [(200, each) for each in contents]

    # -- listings --------------------------------------------------------------------------

    def test_list_empty(self, client: httpx2.Client) -> None:
        """Check 17: nothing is an empty page."""
        answer = client.get("/objects")
        assert answer.json() == {"keys": [], "next_cursor": None, "has_more": False}

    def test_list_pages(self, client: httpx2.Client, store: ObjectStore) -> None:
        """Check 16: 250 keys are 3 pages of 100, without loss and in order."""
        keys = [f"{number:03}" for number in range(250)]
        for key in random.Random(1).sample(keys, len(keys)):
            store.put_object_v2(b"", key)
        pages: list[list[str]] = []
        cursor: str | None = None
        while cursor or not pages:
            page = client.get(
                "/objects", params={} if cursor is None else {"cursor": cursor}
            ).json()
            assert page["has_more"] == (page["next_cursor"] is not None)
            pages.append(page["keys"])
            cursor = page["next_cursor"]
        assert [len(page) for page in pages] == [100, 100, 50]
        assert [key for page in pages for key in page] == keys

    def test_list_prefix(self, running: Running) -> None:
        """Check 17: only keys that begin so."""
        for key in ("a/1", "a/2", "ab", "b"):
            running.client.put(f"/objects/{key}", content=b"")
        assert running.keys(prefix="a/") == ["a/1", "a/2"]
        assert running.keys(prefix="a") == ["a/1", "a/2", "ab"]
        assert running.keys(prefix="c") == []
        assert running.keys(prefix="a", limit=1) == ["a/1", "a/2", "ab"]

    def test_list_while_keys_go(self, client: httpx2.Client) -> None:
        """Check 19: what is deleted during a walk neither breaks it nor makes it skip."""
        keys = [f"{number:02}" for number in range(20)]
        for key in keys:
            client.put(f"/objects/{key}", content=b"")
        found: list[str] = []
        cursor: str | None = None
        while True:
            asked = {"limit": "3", **({"cursor": cursor} if cursor else {})}
            page = client.get("/objects", params=asked).json()
            found += page["keys"]
            for key in page["keys"]:  # the one that the cursor stands behind too
                client.delete(f"/objects/{key}")
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == keys

    @pytest.mark.parametrize(
        ("query", "status"),
        [("limit=0", 422), ("limit=-1", 422), ("limit=1001", 422), ("limit=x", 422),
         ("limit=", 422), ("limit=1e3", 422), ("cursor=nonsense", 400), ("cursor=", 400),
         ("cursor=e30=", 400),
         ("cursor=eyJsYXN0X2tleSI6MX0=", 400), ("prefix=%ff", 400), ("prefix=a%00", 400),
         ("cursor=" + "W1tb" * 2000, 400),
         ("cursor=eyJsYXN0X2tleSI6ICJceDAwIn0=", 400), ("prefix=" + "x" * 1025, 422)],
    )  # fmt: skip
    def test_bad_queries(self, client: httpx2.Client, query: str, status: int) -> None:
        """Check 18: what makes no sense is refused."""
        refused(client.get(f"/objects?{query}"), status)

    # -- concurrency -------------------------------------------------------------------------

    def test_readers_see_one_version(self, running: Running, is_atomic: bool) -> None:
        """Check 31: whoever reads while others write gets one version, whole."""
        if not is_atomic:
            pytest.skip("this server gives errors while an object is replaced")
        contents = [bytes([number]) * 300_000 for number in range(4)]
        running.client.put("/objects/key", content=contents[0])
        wrong: list[Any] = []

        def write(content: bytes) -> None:
            for _ in range(5):
                answer = running.client.put("/objects/key", content=content)
                if answer.status_code != 200:
                    wrong.append(answer.text)

        def read() -> None:
            for _ in range(15):
                answer = running.client.get("/objects/key")
                if answer.status_code != 200 or answer.content not in contents:
                    wrong.append((answer.status_code, answer.content[:200]))

        threads = [threading.Thread(target=write, args=(content,)) for content in contents]
        threads += [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert wrong == []

    def test_broken_uploads_leave_nothing(self, running: Running) -> None:
        """Check 32: a body that breaks off, or is broken, stores nothing."""
        head = (
            f"PUT /objects/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n"
        ).encode()
        large = b"x" * (2 << 20)
        for request in (
            b"Content-Length: 10\r\n\r\nshort",
            b"Content-Length: 3000000\r\n\r\n" + large,
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + large + b"\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\nnonsense\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        ):
            running.raw(head + request)
        assert running.keys() == []
        assert running.client.get("/health").status_code == 200

    def test_paths_that_only_look_like_objects(self, running: Running) -> None:
        """A path is routed as it is written, for us as for whoever stands before us."""
        for method in ("GET", "PUT", "DELETE"):
            for raw in ("/%6fbjects/a/objects/b", "/objects%2Fa", "/%6fbjects/a"):
                answer = running.raw(
                    f"{method} {raw} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    f"Content-Length: 0\r\nAuthorization: Bearer {running.token}\r\n\r\n".encode()
                )
                assert answer.split(b" ", 2)[1] == b"404", answer
        assert running.keys() == []

    def test_strangers_are_asked_who_they_are_first(self, running: Running) -> None:
        """Neither a body nor a parameter is looked at before the token."""
        head = b"Host: x\r\n"
        for request in (
            b"POST /presigned HTTP/1.1\r\n" + head + b"Content-Length: 5000000000\r\n\r\n{",
            b"PUT /objects/key HTTP/1.1\r\n" + head + b"Content-Length: 5000000000\r\n\r\nx",
            b"GET /objects?limit=x HTTP/1.1\r\n" + head + b"\r\n",
            b"PUT /objects/%ff HTTP/1.1\r\n" + head + b"Content-Length: 0\r\n\r\n",
        ):
            assert running.raw(request).split(b" ", 2)[1] == b"401", request

    def test_ambiguous_requests(self, running: Running) -> None:
        """What two readers may understand in two ways is refused."""
        token = f"Authorization: Bearer {running.token}\r\n"
        both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        for headers in (token + both, token + token + "Content-Length: 10\r\n"):
            answer = running.raw(
                f"PUT /objects/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
                "a\r\n0123456789\r\n0\r\n\r\n".encode()
            )
            assert answer.split(b" ", 2)[1] == b"400", answer
        assert running.keys() == []

    def test_too_much_json(self, client: httpx2.Client) -> None:
        """JSON that cannot be meant is not taken."""
        refused(client.post("/presigned", content=b" " * 20_000), 413, "JSON")
        for bad in (b"{", b"[]", b'{"key": 1}', b'{"key": "a", "method": "DELETE"}'):
            refused(client.post("/presigned", content=bad), 422)

    def test_missing_is_marked(self, client: httpx2.Client) -> None:
        """A client can tell a missing object from a path that is nothing here."""
        marked = wire.MARK, wire.MISSING
        for call in (client.get, client.head, client.delete):
            assert marked in call("/objects/none").headers.items()
            assert (wire.MARK, wire.OURS) in call("/v0/objects/none").headers.items()
        assert client.get("/objects").headers[wire.MARK] == wire.OURS

    def test_metrics(self, running: Running) -> None:
        """What was done is counted, without naming a key."""
        running.client.put("/objects/secret-key", content=b"content")
        running.client.get("/objects/secret-key")
        figures = running.client.get("/metrics").text
        line = 'object_clerk_gateway_requests_total{method="PUT",route="/objects/{key}",'
        assert f'{line}status="200"}} 1.0' in figures
        assert "secret-key" not in figures
        assert running.client.get("/ready").json() == {"status": "ready"}

    def test_presigned(self, running: Running) -> None:
        """A URL without a token reads or writes its one object, until it expires."""
        client = running.client
        client.put(path("a b/ü"), content=b"content")
        told = client.post("/presigned", json={"key": "a b/ü", "expires": 60})
        assert told.status_code == 200
        with httpx2.Client() as anybody:
            url = told.json()["url"]
            assert anybody.get(url).content == b"content"
            assert anybody.head(url).headers["content-length"] == "7"
            assert anybody.put(url, content=b"evil").status_code == 403
            assert anybody.get(url.replace("%20b", "%20c")).status_code == 403
            asked = {"key": "new", "method": "PUT"}
            url = client.post("/presigned", json=asked).json()["url"]
            assert anybody.put(url, content=b"new").status_code == 200
            refused(anybody.get(url), 403)
            refused(anybody.get(running.url + "/objects/new"), 401)
        assert client.get("/objects/new").content == b"new"


class TestMemory(GatewayContract):
    """Over objects in memory."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        return ObjectStore({"framework": "memory", "root_bucket": "gateway"})

    @pytest.fixture
    def unsupported_keys(self) -> frozenset[str]:
        return frozenset()

    @pytest.fixture
    def can_condition(self) -> bool:
        return True

    @pytest.fixture
    def is_atomic(self) -> bool:
        return True


class TestFilesystem(TestMemory):
    """Over objects in a directory."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        connection = {"root": tmp_path / "store", "durable": False}
        return ObjectStore(
            {"framework": "filesystem", "root_bucket": "gateway", "connection": connection}
        )

    def test_survives(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 22: a restart loses nothing."""
        for number in range(2):
            directory = tmp_path / f"gateway-{number}"
            directory.mkdir()
            with gateway(directory, ObjectStore(store.config)) as running:
                if number == 0:
                    running.client.put("/objects/nested/key", content=b"content")
                assert running.client.get("/objects/nested/key").content == b"content"


@pytest.mark.one_server
class TestS3(OnS3, GatewayContract):
    """Over a bucket. What differs from server to server is the store's contract."""

    @pytest.fixture
    def store(self, config: dict[str, Any]) -> ObjectStore:
        return ObjectStore(config)

    @pytest.fixture
    def unsupported_keys(self, server: Server, traits: Traits) -> frozenset[str]:
        unsupported: set[str] = set()
        if ODD_KEYS["newline"] in traits.unsupported_keys:
            unsupported.add("line\nbreak\r")
        if ODD_KEYS["double slash"] in traits.unsupported_keys:
            unsupported.add("a//b")
        if ODD_KEYS["trailing slash"] in traits.unsupported_keys:
            unsupported.add("a")  # beside a/b
        return frozenset(unsupported)

    def test_objects_of_others(
        self, running: Running, s3: S3Client, bucket: str, server: Server
    ) -> None:
        """What others have stored is given as it is, and their metadata is not ours."""
        s3.put_object(
            Bucket=bucket, Key="key", Body=b"zipped", ContentEncoding="gzip",
            ContentType="text/plain", Metadata={"sha256": "0" * 64},
        )  # fmt: skip
        with running.client.stream("GET", "/objects/key") as answer:
            assert b"".join(answer.iter_raw()) == b"zipped"
        assert "repr-digest" not in answer.headers
        if server.name != "rclone":  # keeps no encoding
            assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["content-type"] == "text/plain"

    def test_missing_bucket(self, config: dict[str, Any], tmp_path: Path) -> None:
        """A bucket that is gone is the operator's trouble, and no missing object."""
        store = ObjectStore({**config, "root_bucket": "no-such-bucket-there"})
        with gateway(tmp_path, store) as running:
            for headers in ({}, {"range": "bytes=0-3"}):
                refused(running.client.get("/objects/key", headers=headers), 503, "bucket")

    @pytest.fixture
    def can_condition(self, gaps: frozenset[Gap]) -> bool:
        return not gaps & {Gap.IF_ABSENT, Gap.IF_MATCH}

    @pytest.fixture
    def is_atomic(self, gaps: frozenset[Gap]) -> bool:
        return Gap.ATOMIC not in gaps
