"""What goes wrong, and what is said of it: missing is not forbidden, and neither is an outage."""

from __future__ import annotations

import contextlib
import pickle
import socket
import ssl
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from object_clerk import (
    BucketNotFoundException,
    ObjectClerkConnectionException,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkServerAuthException,
    ObjectClerkServerInternalException,
    ObjectNotFoundException,
    UnsupportedError,
)
from object_clerk.rest import KeyNotFound
from tests.rest.conftest import KEY, cut, found, refusal, reply

if TYPE_CHECKING:
    from object_clerk.rest import RestStore
    from tests.rest.conftest import Clients, Script

VERBS = ("get", "head", "delete", "open")


@pytest.mark.parametrize("verb", VERBS)
def test_missing(store: RestStore, script: Script, verb: str) -> None:
    script.answers(refusal(404, "there is no object 'a b'", x_request_id="r-1"))
    with pytest.raises(KeyError) as caught:
        getattr(store, verb)("a b")
    error = caught.value
    assert isinstance(error, KeyNotFound)
    assert isinstance(error, ObjectNotFoundException)
    assert not isinstance(error, BucketNotFoundException)
    said = "there is no such object" if verb == "head" else "there is no object 'a b'"
    assert str(error) == f"{verb} a b: {said} [404, request id r-1]"
    assert (error.key, error.status, error.request_id) == ("a b", 404, "r-1")
    assert len(script.requests) == 1


def test_missing_reads_well_and_can_be_pickled() -> None:
    error = KeyNotFound("there is no such object", key="x")
    error.concerning("get", "", None)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is KeyNotFound
    assert str(copy) == str(error) == "get x: there is no such object"
    assert f"Object not found: {error}" == "Object not found: get x: there is no such object"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ObjectClerkOperationException),
        (401, ObjectClerkServerAuthException),
        (403, ObjectClerkServerAuthException),
        (405, UnsupportedError),
        (408, ObjectClerkOperationException),
        (409, ObjectClerkOperationException),
        (418, ObjectClerkOperationException),
        (422, ObjectClerkOperationException),
        (429, ObjectClerkServerInternalException),
        (500, ObjectClerkServerInternalException),
        (501, UnsupportedError),
        (502, ObjectClerkServerInternalException),
        (503, ObjectClerkServerInternalException),
        (504, ObjectClerkServerInternalException),
        (599, ObjectClerkServerInternalException),
        (300, ObjectClerkOperationException),
        (307, ObjectClerkOperationException),
    ],
)
@pytest.mark.parametrize("verb", ["get", "exists"])
def test_statuses(
    clients: Clients, script: Script, status: int, error: type[Exception], verb: str
) -> None:
    body = "" if verb == "exists" else "these are the reasons"
    script.answers(*[refusal(status, "these are the reasons", x_request_id="r-2")] * 3)
    if not body:  # the answer to a HEAD has no body
        script.answers(*[reply(status, x_request_id="r-2")] * 3)
    with pytest.raises(error, match=(body or r"\[") if status >= 400 else "redirects") as caught:
        getattr(clients(script.url), verb)("x")
    assert not isinstance(caught.value, KeyError)
    assert type(caught.value) is error
    assert isinstance(caught.value, ObjectClerkException)
    assert (caught.value.status, caught.value.request_id) == (status, "r-2")
    again = status == 429 or (status >= 500 and status != 501)
    assert len(script.requests) == caught.value.attempts == (3 if again else 1)


def test_matching_builtins(store: RestStore, script: Script) -> None:
    script.answers(reply(403), reply(501))
    with pytest.raises(PermissionError):
        store.get("x")
    with pytest.raises(NotImplementedError):
        store.get("x")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><h1>502</h1></html>", "the server failed, and gave no reason"),
        (b"", "the server failed, and gave no reason"),
        (b'{"detail": "of the framework."}', "of the framework"),
        (b'{"error": "text"}', "the server failed, and gave no reason"),
        (b"\xff\xfe\x00", "the server failed, and gave no reason"),
        (b"[" * 100_000, "the server failed, and gave no reason"),
        (b'{"error": {"message": "two\\nlines \\u001b[31mred"}}', r"two lines \?\[31mred"),
    ],
)
def test_bodies_of_errors(clients: Clients, script: Script, body: bytes, said: str) -> None:
    script.answers(reply(500, body))
    with pytest.raises(ObjectClerkServerInternalException, match=f": {said} "):
        clients(script.url, max_retries=1).get("x")


def test_a_long_message_is_cut(clients: Clients, script: Script) -> None:
    script.answers(refusal(500, "word " * 10_000))
    with pytest.raises(ObjectClerkServerInternalException) as caught:
        clients(script.url, max_retries=1).get("x")
    assert len(str(caught.value)) < 700


def test_an_error_without_end_is_not_kept(clients: Clients, script: Script) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(reply(500, content_length=str(1 << 40)))
        for _ in range(40):
            connection.sendall(bytes(1 << 20))

    script.answers(endless)
    with pytest.raises(ObjectClerkServerInternalException, match="more than 16777216 bytes"):
        clients(script.url, max_retries=1).get("x")


def test_the_api_key_is_in_no_text(clients: Clients, script: Script) -> None:
    script.answers(refusal(401, f"unknown token {KEY}"), reply(500))
    store = clients(script.url, max_retries=1)
    assert KEY not in repr(store)
    for verb in (store.get, store.get):
        with pytest.raises(ObjectClerkException) as caught:
            verb("x")
        text = "".join(traceback.format_exception(caught.value))
        assert KEY not in text + repr(caught.value) + str(vars(caught.value))
    assert KEY not in repr(clients.seen)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://elsewhere.example/objects/x?signature=secret", "elsewhere.example:"),
        ("/login?secret", "another path:"),
        ("http://[::1/secret", "a place that is no URL:"),
    ],
)
def test_redirects_are_not_followed(
    store: RestStore, script: Script, location: str, said: str
) -> None:
    script.answers(reply(307, location=location), found(b""))
    with pytest.raises(ObjectClerkOperationException, match=f"redirects to {said}") as caught:
        store.get("x")
    assert "secret" not in str(caught.value)
    assert len(script.requests) == 1


@pytest.mark.parametrize("location", ["http:secret", "http://h:secret/x", "\x7f"])
def test_redirects_that_no_library_would_follow(
    store: RestStore, script: Script, location: str
) -> None:
    script.answers(reply(307, location=location), found(b""))
    with pytest.raises(ObjectClerkOperationException, match="redirects to ") as caught:
        store.get("x")
    assert "secret" not in str(caught.value)
    assert len(script.requests) == 1


def test_a_wrong_base_url(store: RestStore, script: Script) -> None:
    script.answers(reply(404, b"<html>"), reply(200, b"<html>"), reply(200, {"url": 1}), reply(404))
    with pytest.raises(ObjectClerkOperationException, match="is base_url right") as caught:
        list(store.keys())
    assert not isinstance(caught.value, KeyError)
    with pytest.raises(ObjectClerkServerInternalException, match="is base_url right"):
        list(store.keys())
    with pytest.raises(ObjectClerkServerInternalException, match="is base_url right"):
        store.presign("x")
    with pytest.raises(UnsupportedError, match="no presigned URLs"):
        store.presign("x")


@pytest.mark.parametrize("verb", [*VERBS, "exists", "presign"])
def test_a_404_of_the_gateway_that_is_about_no_object(
    store: RestStore, script: Script, verb: str
) -> None:
    answers: Any = {"x_object_clerk": "object-clerk", "x_request_id": "r-3"}
    script.answers(reply(404, **answers) if verb == "exists" else refusal(404, "no", **answers))
    with pytest.raises(ObjectClerkOperationException, match="is base_url right") as caught:
        getattr(store, verb)("x")
    assert type(caught.value) is ObjectClerkOperationException
    assert (caught.value.status, caught.value.attempts) == (404, 1)


@pytest.mark.parametrize("verb", VERBS)
def test_a_404_of_the_gateway_that_is_about_the_object(
    store: RestStore, script: Script, verb: str
) -> None:
    script.answers(*[reply(404, x_object_clerk="missing")] * 2)
    with pytest.raises(KeyNotFound, match="there is no such object"):
        getattr(store, verb)("x")
    assert store.exists("x") is False


def test_a_404_of_what_is_before_the_gateway(store: RestStore, script: Script) -> None:
    """A proxy that has forgotten the way is no news of the object."""
    script.answers(reply(404), reply(204, x_object_clerk="object-clerk"), *[reply(404)] * 3)
    assert store.exists("x") is False
    store.delete("x")
    for verb in (store.exists, store.get, store.delete):
        with pytest.raises(ObjectClerkOperationException, match="is base_url right") as caught:
            verb("x")
        assert not isinstance(caught.value, KeyError)


@pytest.mark.parametrize("headers", [{}, {"x_object_clerk": "missing"}])
def test_what_is_put_cannot_be_missing(store: RestStore, script: Script, headers: Any) -> None:
    script.answers(refusal(404, "Not Found", **headers))
    with pytest.raises(
        ObjectClerkOperationException, match=r"Not Found \(is base_url right\?\)"
    ) as caught:
        store.put("x", b"data")
    assert not isinstance(caught.value, KeyError)


# -- connections ---------------------------------------------------------------------------


def test_nobody_listens(clients: Clients) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = clients(f"http://127.0.0.1:{port}")
    for verb in (store.get, store.exists, store.delete, store.head, store.presign):
        with pytest.raises(ObjectClerkConnectionException) as caught:
            verb("x")
        assert caught.value.attempts == 3
    with pytest.raises(ObjectClerkConnectionException):
        store.put("x", b"data")
    with pytest.raises(ObjectClerkConnectionException):
        list(store.keys())


def test_a_stream_waits_for_a_server_that_refuses_connections(clients: Clients) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ObjectClerkConnectionException) as caught:
        clients(f"http://127.0.0.1:{port}").put("x", iter([b"data"]))
    assert caught.value.attempts == 3
    assert "only once" not in str(caught.value)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_silent_server(clients: Clients, script: Script, begun: bytes) -> None:
    over = threading.Event()

    def silent(connection: socket.socket) -> None:
        connection.sendall(begun)
        over.wait(60)

    script.answers(silent)
    try:
        with pytest.raises(ObjectClerkConnectionException, match=r"silent for 0\.2 s"):
            clients(script.url, timeout=0.2, max_retries=1).get("x")
    finally:
        over.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        cut(reply(500, b"reasons", content_length="100"), 3),
    ],
    ids=["another protocol", "huge headers", "no status", "no length", "cut"],
)
def test_answers_that_make_no_sense(clients: Clients, script: Script, answer: Any) -> None:
    script.answers(*[answer + b""] * 3)
    with pytest.raises(ObjectClerkConnectionException) as caught:
        clients(script.url).get("x")
    assert caught.value.attempts == 3
    assert len(str(caught.value)) < 700


def test_tls_where_there_is_none(clients: Clients, script: Script) -> None:
    with pytest.raises(ObjectClerkConnectionException):
        clients(script.url.replace("http:", "https:"), timeout=0.3, max_retries=1).get("x")


def test_a_certificate_of_nobody(clients: Clients) -> None:
    """An authority that is unknown stays unknown: it is not asked again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ObjectClerkConnectionException, match="authority known here") as caught:
            clients(url).get("x")
        assert caught.value.attempts == 1
        thread.join(60)
