"""Many operations in one request, over every kind of store; and the form they come in."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.gateway.v1 import batch
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.forms import Form
from object_clerk.store import ObjectStore
from tests.gateway.v1.grounds import Ground, InFiles, InMemory, InS3
from tests.gateway.v1.running import path, serving
from tests.gateway.v1.test_access import ALL, key_files, keys, token
from tests.gateway.v1.test_objects import blob, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from tests.gateway.v1.running import Running

__all__ = ["key_files", "keys"]  # fixtures

_PATH = "/v1/objects:batch/tests/org=42;project=7/"
_TYPE = "multipart/form-data; boundary=frontier"


def part(kind: str | None, key: str | None = None, body: bytes = b"", **headers: str) -> bytes:
    given = {"content-disposition": 'form-data; name="a"'}
    if kind is not None:
        given["X-Sn-Batch-Operation-Kind"] = kind
    if key is not None:
        given["x-sn-batch-operation-key"] = key
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"--frontier\r\n{lines}\r\n".encode() + body + b"\r\n"


def ask(client: httpx2.Client, *parts: bytes, **headers: str) -> httpx2.Response:
    given = {"content-type": _TYPE, **headers}
    return client.post(_PATH, content=b"".join((*parts, b"--frontier--\r\n")), headers=given)


def told(answer: httpx2.Response) -> list[tuple[str, str, str, dict[str, str], bytes]]:
    """Of each operation kind, key, status, headers and body, as the standard library has them."""
    assert answer.status_code == 200, answer.text
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/form-data"
    found = []
    for number, each in enumerate(message.get_payload()):
        assert not isinstance(each, str)
        headers = {name: str(value) for name, value in each.items()}
        assert [name for name in headers if name != name.lower()] == []
        assert headers.pop("x-sn-batch-operation-index") == str(number)
        kind, key, status = (
            headers.pop(f"x-sn-batch-operation-{name}") for name in ("kind", "key", "status")
        )
        found.append((kind, key, status, headers, each.get_payload(decode=True) or b""))
    return found


class Contract(Ground):
    """The tests; a class below says over which store."""

    def test_batch(self, running: Running) -> None:
        """All kinds of operations, each with its own end."""
        running.client.put(path("old"), content=b"old", headers={"x-snme-a": "1"})
        content = blob(100_000) + b"\r\n--frontie\r\n--\r\n"
        answer = ask(
            running.client,
            part("insert", "a%20b/%C3%BC", content, content_type="text/csv", x_snme_b="2"),
            part("get", "old"),
            part("head", "a%20b/%C3%BC"),
            part("delete", "old"),
            part("get", "missing"),
            part("insert", None, b""),
            part("head", "missing"),
        )
        done = told(answer)
        assert [(kind, status) for kind, _, status, _, _ in done] == [
            ("insert", "201 Created"), ("get", "200 OK"), ("head", "204 No Content"),
            ("delete", "204 No Content"), ("get", "404 Not Found"), ("insert", "201 Created"),
            ("head", "404 Not Found"),
        ]  # fmt: skip
        assert [key for _, key, _, _, _ in done[:5]] == [
            "a%20b/%C3%BC", "old", "a%20b/%C3%BC", "old", "missing"
        ]  # fmt: skip
        assert (done[1][3]["x-snme-a"], done[1][4]) == ("1", b"old")
        assert (done[2][3]["x-snme-b"], done[2][3]["content-type"]) == ("2", "text/csv")
        assert json.loads(done[4][4]) == {"detail": "object not found"}
        assert running.client.get(path("a b/ü")).content == content
        assert running.client.get(path(done[5][1])).content == b""
        assert running.client.get(path("old")).status_code == 404

    def test_large_objects_are_read(self, running: Running) -> None:
        """What is read may be larger than what may be inserted."""
        contents = [blob(3 << 20), blob(2 << 20)]
        for number, content in enumerate(contents):
            running.client.put(path(str(number)), content=content)
        done = told(ask(running.client, part("get", "0"), part("get", "1")))
        assert [hashlib.sha256(body).digest() for *_, body in done] == [
            hashlib.sha256(content).digest() for content in contents
        ]

    def test_bad_operations(self, running: Running) -> None:
        """They end alone."""
        done = told(
            ask(
                running.client,
                part(None, "a"),
                part("steal", "a"),
                part("get"),
                part("get", "a/../b"),
                part("get", "%FF"),
                part("insert", "a", b"x", content_encoding="gzip"),
                part("insert", "a", b"x", x_sn_expiration="foo"),
                part("insert", "a", b"x", x_oc_content_sha256="0" * 64),
                part("insert", "good", b"x", x_sn_expiration="ttl:1h"),
            )
        )
        assert [status for _, _, status, _, _ in done] == ["400 Bad Request"] * 8 + ["201 Created"]
        assert [set(json.loads(body)) <= {"detail", "causes"} for *_, body in done[:8]] == [
            True
        ] * 8
        running.clock.go(hours=1)
        assert told(ask(running.client, part("get", "good")))[0][2] == "404 Not Found"

    def test_empty_batch(self, running: Running) -> None:
        """Nothing is done."""
        assert ask(running.client).content.count(b"--") == 2


class TestMemory(InMemory, Contract):
    def test_malformed_forms(self, running: Running) -> None:
        """400: they are no form, or break off."""
        client = running.client
        for content_type in ("", "text/plain", "multipart/form-data", "multipart/mixed; boundary=a",
                             "multipart/form-data; boundary=" + "x" * 71):  # fmt: skip
            refused(client.post(_PATH, content=b"", headers={"content-type": content_type}), 400)
        good = part("insert", "a", b"abc")
        for body in (b"", b"--other--", good, good[:-5], b"--frontier\r\nnonsense\r\n\r\n",
                     b"--frontierX\r\n\r\n", b"--frontier\r\na: b\r\nA: c\r\n\r\n\r\n--frontier--",
                     b"--frontier\r\n: x\r\n\r\n\r\n--frontier--"):  # fmt: skip
            refused(client.post(_PATH, content=body, headers={"content-type": _TYPE}), 400)

    def test_limits(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        """413: too many, too large, too much."""
        most = batch.MOST_PART_BYTES
        assert told(ask(running.client, part("insert", "a", bytes(most))))[0][2] == "201 Created"
        refused(ask(running.client, part("insert", "b", bytes(most + 1))), 413)
        refused(ask(running.client, part("insert", "b", b"", more="x" * 20_000)), 413)
        monkeypatch.setattr(batch, "MOST_OPERATIONS", 2)
        assert len(told(ask(running.client, *[part("get", "a")] * 2))) == 2
        refused(ask(running.client, *[part("get", "a")] * 3), 413)
        monkeypatch.setattr(batch, "MOST_BYTES", 1000)
        refused(ask(running.client, part("insert", "b", bytes(1000))), 413)
        assert len(running.stored()) == 1


class TestFilesystem(InFiles, Contract):
    pass


class TestS3(InS3, Contract):
    pass


def test_each_operation_is_let_in(
    tmp_path: Path, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the permission that it needs."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    operations = [
        part("insert", "a", b"x"),
        part("get", "a"),
        part("head", "a"),
        part("delete", "a"),
    ]

    with serving(tmp_path, store, monkeypatch, {"OS__AUTH__KEYS": keys}) as running:

        def statuses(text: str | None) -> list[str]:
            headers = {} if text is None else {"x-os-auth": f"Bearer {text}"}
            done = told(ask(running.client, *operations, **headers))
            return [status[:3] for _, _, status, _, _ in done]

        assert statuses(token(running)) == ["201", "200", "204", "204"]
        assert statuses(token(running, permissions=["object.read"])) == ["403", "404", "404", "403"]
        assert statuses(token(running, permissions=ALL[1:])) == ["201", "403", "403", "204"]
        for text, status in (("garbage", 401), (token(running, usecase="other"), 403)):
            headers = {"x-os-auth": f"Bearer {text}"}
            refused(ask(running.client, *operations, **headers), status)
        refused(ask(running.client, *operations), 400, "token")


def test_each_operation_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the rate of requests, and by the killswitches."""
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    throughput = "{global_rps: 0.001, burst: 4}"
    variables = {"OS__AUTH__ENFORCE": "false", "OS__RATE_LIMITS__THROUGHPUT": throughput}
    with serving(tmp_path, store, monkeypatch, variables) as running:
        done = told(ask(running.client, *[part("get", "a")] * 5))
        assert [each[2][:3] for each in done] == ["404"] * 3 + ["429"] * 2


@pytest.mark.parametrize("seed", range(30))
def test_form_in_any_pieces(seed: int) -> None:
    """However the bytes are cut, the parts are the same."""
    rng = random.Random(seed)
    contents = [rng.randbytes(rng.choice((0, 1, 50))) + rng.choice((b"", b"\r\n", b"\r\n--", b"-"))
                for _ in range(5)]  # fmt: skip
    body = b"".join(
        b"--frontier" + rng.choice((b"", b" \t")) + b"\r\na: %d\r\n\r\n" % number + each + b"\r\n"
        for number, each in enumerate(contents)
    )
    body = rng.choice((b"", b"preamble\r\n")) + body + b"--frontier--" + rng.choice((b"", b"\r\nx"))

    async def blocks() -> AsyncIterator[bytes]:
        at = 0
        while at < len(body):
            step = rng.randint(1, 12)
            yield body[at : at + step]
            at += step

    async def read() -> list[tuple[Any, bytes]]:
        form = Form(_TYPE, blocks(), 100)
        return [(each.headers["a"], each.body) async for each in form.parts()]

    assert asyncio.run(read()) == [(str(n), each) for n, each in enumerate(contents)]


def test_form_is_bounded() -> None:
    """A part that has no end is refused when it is too long, not when it is all there."""
    taken = 0

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b"--frontier\r\na: b\r\n\r\n"
        for _ in range(1000):
            taken += 1
            yield bytes(100)

    async def read() -> None:
        async for _ in Form(_TYPE, blocks(), 1000).parts():
            pass

    with pytest.raises(Problem) as caught:
        asyncio.run(read())
    assert caught.value.status == 413
    assert taken < 20
