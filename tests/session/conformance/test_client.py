"""The lines of the check-list about the client alone, against a gateway in memory.

Where a test has to see what goes over the wire, the client speaks to a relay that notes it.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest
import urllib3
from urllib3.exceptions import MaxRetryError, NewConnectionError, ReadTimeoutError

from object_clerk.session import (
    Client,
    Permission,
    RequestError,
    Session,
    TimeToLive,
    TokenGenerator,
    Usecase,
)
from object_clerk.session.scope import Scope
from tests.session.conformance.asking import PATIENCE_S, ask
from tests.session.conformance.gateways import (
    STRICT,
    USECASE,
    Gateway,
    Place,
    placed,
    signing,
)
from tests.session.conformance.old_clients import Client016, Client0210
from tests.session.keys import KEY, pem
from tests.session.raw import RawServer, Request, answer
from tests.session.test_metrics import Recorder
from tests.session.test_transport import closed_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = b"Hello, world! " * 100


@pytest.fixture
def gateway(in_memory: Gateway) -> Gateway:
    return in_memory


@contextlib.contextmanager
def relay(
    gateway: Gateway, prefix: str = "", before: Callable[[], object] = lambda: None
) -> Iterator[RawServer]:
    """What passes requests on, and notes them.

    Args:
        gateway: answers them.
        prefix: what their paths begin with here, and not there.
        before: called before each is passed on.
    """

    def passed(request: Request) -> bytes:
        before()
        assert request.target.startswith(f"{prefix}/v1/")
        framing = ("content-length", "transfer-encoding", "host")
        headers = {n: v for n, v in request.headers.items() if n not in framing}
        body = [request.body] if request.chunked else request.body
        target = request.target.removeprefix(prefix)
        found = ask(gateway.url, request.method, target, headers, body)
        kept = {name: value for name, value in found.headers if name.lower() not in framing}
        return answer(found.status, found.body, kept, length=request.method != "HEAD")

    with RawServer(passed) as raw:
        yield raw


def all_verbs(session: Session, raw: RawServer) -> list[Request]:
    """Call every verb that there is; the requests that this took."""
    key = session.put(CONTENT)
    session.put(io.BytesIO(CONTENT), "k", expiration_policy=TimeToLive(timedelta(hours=1)))
    session.get("k").payload.read()
    session.head("k")
    session.extend_expiry("k", from_now=timedelta(days=1))
    upload = session.initiate_multipart_upload(key="parts")
    part = upload.put_part(b"x", part_number=1)
    upload.list_parts()
    upload.complete([part])
    session.initiate_multipart_upload(key="other").abort()
    session.delete(key)
    session.put(CONTENT, "k", resumable_threshold_bytes=1)
    assert {r.method for r in raw.requests} == {"POST", "PUT", "GET", "HEAD", "PATCH", "DELETE"}
    assert len(raw.requests) >= 13
    return [*raw.requests]


def test_tokens(place: Place) -> None:
    """Line 23: a token says what it opens, to whom and how long, and nothing else."""
    generator = TokenGenerator("main", pem(KEY), expiry_seconds=90)
    scope = Scope(org=42, project="x", flag=True)
    before = int(time.time())
    token = generator.sign_for_scope("attachments", scope)
    claims = jwt.decode(
        token, KEY.public_key(), algorithms=["EdDSA"], options={"verify_exp": False}
    )
    assert before + 90 <= claims.pop("exp") <= time.time() + 90
    assert claims == {
        "res": {"os:usecase": "attachments", "org": "42", "project": "x", "flag": "True"},
        "permissions": ["object.read", "object.write", "object.delete"],
    }
    said = jwt.get_unverified_header(token)
    assert (said["alg"], said["kid"]) == ("EdDSA", "main")
    reader = TokenGenerator("main", pem(KEY), permissions=[Permission.OBJECT_READ])
    fewer = reader.sign_for_scope("attachments", Scope())
    claims = jwt.decode(fewer, KEY.public_key(), algorithms=["EdDSA"])
    assert (claims["res"], claims["permissions"]) == (
        {"os:usecase": "attachments"}, ["object.read"],
    )  # fmt: skip
    # And the gateway takes it for what it is.
    for signer, status in ((generator, 200), (reader, 403)):
        signed = signer.sign_for_scope(USECASE, Scope(**place.scope))
        headers = {"x-os-auth": f"Bearer {signed}"}
        assert ask(place.gateway.url, "PUT", place.path("k"), headers, b"").status == status


@pytest.mark.parametrize("name", ["token", "token_generator"])
def test_static_tokens(place: Place, name: str) -> None:
    """Line 25: a token that is given as text is sent as it is."""
    options: dict[str, Any] = {name: place.token()}
    with relay(place.gateway) as raw, Client(raw.url, **options) as client:
        session = client.session(Usecase(USECASE), **place.scope)
        for _ in range(2):
            session.put(CONTENT, "k")
        assert session.mint_token() == options[name]
        assert session.get("k").payload.read() == CONTENT
    sent = [request.headers["x-os-auth"] for request in raw.requests]
    assert sent == [f"Bearer {options[name]}"] * 3


def test_old_readers(place: Place) -> None:
    """Line 13: months and years are wrong to both old clients, so nobody may send them."""
    days = {31: "1month 13h 26m 24s", 400: "1year 1month 4days 7h 40m 48s", 1: "1day"}
    old, new = Client016(place), Client0210(place)
    assert old.read_duration(days[31]) == timedelta(hours=13, minutes=27, seconds=24)
    assert old.read_duration(days[400]) == timedelta(days=4, hours=7, minutes=41, seconds=48)
    for text in days.values():
        with pytest.raises(ValueError, match="no duration"):
            new.read_duration(text)
    for count in days:
        delta = timedelta(days=count, seconds=7205)
        assert old.read_duration(new.duration(delta)) == delta
        assert new.read_duration(new.duration(delta)) == delta
    assert old.duration(timedelta(days=1, seconds=7205)) == "1 days 7205 seconds"
    assert (old.duration(timedelta(0)), new.duration(timedelta(0))) == ("", "0s")


@pytest.mark.parametrize(("retries", "tries"), [(None, 4), (0, 1), (2, 3)])
def test_closed_port(monkeypatch: pytest.MonkeyPatch, retries: int | None, tries: int) -> None:
    """Line 28: nobody listens: it is tried as often as was said, and urllib3's error comes."""
    tried = []
    connect = urllib3.util.connection.create_connection

    def counted(*args: Any, **kwargs: Any) -> Any:
        tried.append(args)
        return connect(*args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", counted)
    with signing(f"http://127.0.0.1:{closed_port()}", retries=retries) as client:
        session = client.session(Usecase(USECASE))
        for verb in (lambda: session.put(CONTENT), lambda: session.get("k")):
            tried.clear()
            with pytest.raises(MaxRetryError) as caught:
                verb()
            assert isinstance(caught.value.reason, NewConnectionError)
            assert len(tried) == tries


def test_silent_server(place: Place) -> None:
    """Line 28: a gateway that is stopped is silent, and is waited for as long as was said."""
    place.put("k", CONTENT)
    os.kill(place.gateway.process.pid, signal.SIGSTOP)
    try:
        with signing(place.gateway.url, timeout_ms=200) as client:
            session = client.session(Usecase(USECASE), **place.scope)
            for verb in (lambda: session.get("k"), lambda: session.head("k")):
                began = time.monotonic()
                with pytest.raises(MaxRetryError) as caught:
                    verb()
                assert isinstance(caught.value.reason, ReadTimeoutError)
                assert time.monotonic() - began >= 0.2
    finally:
        os.kill(place.gateway.process.pid, signal.SIGCONT)
    assert place.session.get("k").payload.read() == CONTENT


@pytest.mark.parametrize("slash", ["", "/"])
def test_prefix(place: Place, slash: str) -> None:
    """Line 29: a path in ``base_url`` goes before that of every request."""
    with (
        relay(place.gateway, "/some/where") as raw,
        signing(f"{raw.url}/some/where{slash}") as client,
    ):
        session = client.session(Usecase(USECASE), **place.scope)
        for request in all_verbs(session, raw):
            assert request.target.startswith("/some/where/v1/objects")
        assert session.get("k").payload.read() == CONTENT
        assert session.object_url("k") == f"{raw.url}/some/where{place.path('k')}"
        url = urlsplit(session.object_url("k", timedelta(minutes=5)))
        assert ask(raw.url, "GET", f"{url.path}?{url.query}").status == 200
    assert place.session.get("k").payload.read() == CONTENT


def test_metrics(place: Place) -> None:
    """Line 30: a backend is told what a put, a get and a delete took, by name, tags and unit."""
    recorder = Recorder()
    with signing(place.gateway.url, metrics_backend=recorder) as client:
        session = client.session(Usecase(USECASE), **place.scope)
        session.put(CONTENT, "k")
        stored = len(place.get("k").body)
        plain, packed = (
            {"usecase": USECASE, "compression": "none"}, {"usecase": USECASE, "compression": "zstd"}
        )  # fmt: skip
        told = {(name, tags.get("compression")): value for name, value, tags, _ in recorder.told}
        assert told["storage.put.size", "none"] == len(CONTENT)
        assert told["storage.put.size", "zstd"] == stored
        ratio = [value for name, value, *_ in recorder.told if name.endswith("compression_ratio")]
        assert ratio == [stored / len(CONTENT)]
        sizes = [(tags, unit) for name, _, tags, unit in recorder.told if name.endswith("put.size")]
        assert sizes == [(plain, "byte"), (packed, "byte")]
        rates = ("storage.put.throughput", "storage.put.inverse_throughput")
        for name in rates:
            tags = [each for told_name, _, each, _ in recorder.told if told_name == name]
            assert tags == [plain, packed]
        assert sorted(set(recorder.names())) == sorted(
            {"storage.put.latency", "storage.put.size", "storage.put.compression_ratio", *rates}
        )
        recorder.told.clear()
        payload = session.get("k").payload
        assert recorder.names() == ["storage.get.latency"]  # of the head alone
        payload.read()
        session.delete("k")
        assert recorder.names() == ["storage.get.latency", "storage.delete.latency"]
        assert [tags for _, _, tags, _ in recorder.told] == [{"usecase": USECASE}] * 2
        assert all(value > 0 for _, value, *_ in recorder.told)


def test_metrics_of_failures(place: Place) -> None:
    """Line 30: latency is told of what fails, too, and nothing else is."""
    recorder = Recorder()
    reader = TokenGenerator("main", pem(KEY), permissions=["object.read"])
    with signing(place.gateway.url, metrics_backend=recorder, token=reader) as client:
        session = client.session(Usecase(USECASE), **place.scope)
        verbs = (
            lambda: session.put(CONTENT),
            lambda: session.get("k"),
            lambda: session.delete("k"),
        )
        for verb in verbs:
            with pytest.raises(RequestError):
                verb()
    with (
        signing(place.gateway.url, metrics_backend=recorder) as client,
        pytest.raises(RequestError),
    ):
        client.session(Usecase(STRICT), **place.scope).put(CONTENT)
    with (
        signing(f"http://127.0.0.1:{closed_port()}", metrics_backend=recorder) as client,
        pytest.raises(MaxRetryError),
    ):
        client.session(Usecase(USECASE)).put(CONTENT)
    names = [f"storage.{each}.latency" for each in ("put", "get", "delete", "put", "put")]
    assert recorder.names() == names
    usecases = [tags for _, _, tags, _ in recorder.told]
    assert usecases == [{"usecase": each} for each in (*[USECASE] * 3, STRICT, USECASE)]


@pytest.mark.parametrize(("options", "sent"), [({}, False), ({"propagate_traces": True}, True)])
def test_traces(
    monkeypatch: pytest.MonkeyPatch, place: Place, options: dict[str, Any], sent: bool
) -> None:
    """Line 31: traces go along only if that was asked for."""
    sdk: Any = types.ModuleType("sentry_sdk")
    sdk.is_initialized = lambda: True
    sdk.get_traceparent = lambda: "abc-def-1"
    sdk.get_baggage = lambda: "sentry-trace_id=abc"
    monkeypatch.setitem(sys.modules, "sentry_sdk", sdk)
    with relay(place.gateway) as raw, signing(raw.url, **options) as client:
        requests = all_verbs(client.session(Usecase(USECASE), **place.scope), raw)
    for request in requests:
        assert request.headers.get("sentry-trace") == ("abc-def-1" if sent else None)
        assert request.headers.get("baggage") == ("sentry-trace_id=abc" if sent else None)


def test_headers_of_the_pool(place: Place) -> None:
    """Line 32: headers of ``connection_kwargs`` go along with every verb."""
    options = {"headers": {"X-Mine": "1", "User-Agent": "me"}}
    with (
        relay(place.gateway) as raw,
        signing(raw.url, connection_kwargs=options) as client,
    ):
        requests = all_verbs(client.session(Usecase(USECASE), **place.scope), raw)
    for request in requests:
        assert (request.headers["x-mine"], request.headers["user-agent"]) == ("1", "me")


def test_size_of_the_pool(place: Place) -> None:
    """Line 32: ``maxsize`` is how many connections are kept, and with ``block`` the most."""
    place.put("k", CONTENT)
    count = 12  # more than are kept without it

    def get(session: Session) -> bool:
        return session.get("k").payload.read() == CONTENT

    def connections(before: Callable[[], object], **options: object) -> int:
        with (
            relay(place.gateway, before=before) as raw,
            signing(raw.url, connection_kwargs=options) as client,
            ThreadPoolExecutor(count) as threads,
        ):
            session = client.session(Usecase(USECASE), **place.scope)
            for _ in range(3):
                assert [*threads.map(get, [session] * count)] == [True] * count
            return raw.connections

    together = threading.Barrier(count)
    assert connections(lambda: together.wait(PATIENCE_S), maxsize=count) == count
    assert connections(lambda: None, maxsize=2, block=True) <= 2


def test_places_are_apart(gateway: Gateway) -> None:
    """Line 17: no test sees what another one has stored."""
    with placed(gateway) as one, placed(gateway) as other:
        one.put("k", CONTENT)
        assert (one.get("k").status, other.get("k").status) == (200, 404)
