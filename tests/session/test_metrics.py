"""Numbers and events: exactly those that are promised."""

from __future__ import annotations

import gc
import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import MaxRetryError

from object_clerk import events
from object_clerk.exceptions import (
    ObjectClerkConnectionException,
    ObjectSaveException,
    ObjectVerificationException,
)
from object_clerk.receipt import Verdict
from object_clerk.session import Client, MetricsBackend, NoOpMetricsBackend, RequestError, Usecase
from tests.session.imitation import Imitation
from tests.session.raw import RawServer, answer
from tests.session.support import scripted
from tests.session.test_transport import closed_port

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT = b"a" * 10_000


class Recorder:
    """A backend that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, dict[str, str], str | None]] = []

    def increment(
        self, name: str, value: int | float = 1, tags: Mapping[str, str] | None = None
    ) -> None:
        raise AssertionError("nothing is counted")

    def gauge(self, name: str, value: int | float, tags: Mapping[str, str] | None = None) -> None:
        raise AssertionError("nothing is gauged")

    def distribution(
        self,
        name: str,
        value: int | float,
        tags: Mapping[str, str] | None = None,
        unit: str | None = None,
    ) -> None:
        self.told.append((name, value, dict(tags or {}), unit))

    def names(self) -> list[str]:
        return [name for name, *_ in self.told]

    def of(self, name: str) -> list[tuple[float, str | None, str | None]]:
        return [
            (value, tags.get("compression"), unit)
            for n, value, tags, unit in self.told
            if n == name
        ]


def test_backends_are_recognised() -> None:
    assert isinstance(Recorder(), MetricsBackend)
    assert isinstance(NoOpMetricsBackend(), MetricsBackend)
    assert not isinstance(object(), MetricsBackend)
    backend = NoOpMetricsBackend()
    backend.increment("a")
    backend.gauge("a", 1)
    backend.distribution("a", 1, unit="byte")


@pytest.mark.parametrize("stream", [False, True])
def test_numbers_of_a_put(stream: bool) -> None:
    recorder = Recorder()
    imitation = Imitation()
    with RawServer(imitation) as raw, Client(raw.url, recorder) as client:
        session = client.session(Usecase("att"), org=1)
        session.put(io.BytesIO(CONTENT) if stream else CONTENT, "k")
    packed = len(imitation.objects["att/org=1/k"][0])
    assert sorted(recorder.names()) == sorted(
        ["storage.put.latency", *["storage.put.size"] * 2, "storage.put.compression_ratio",
         *["storage.put.throughput"] * 2, *["storage.put.inverse_throughput"] * 2]
    )  # fmt: skip
    assert recorder.of("storage.put.size") == [
        (len(CONTENT), "none", "byte"), (packed, "zstd", "byte"),
    ]  # fmt: skip
    assert recorder.of("storage.put.compression_ratio")[0][0] == packed / len(CONTENT)
    for (fast, *_), (slow, *_) in zip(
        recorder.of("storage.put.throughput"),
        recorder.of("storage.put.inverse_throughput"),
        strict=True,
    ):
        assert fast * slow == pytest.approx(1)
    assert {tags["usecase"] for _, _, tags, _ in recorder.told} == {"att"}
    assert recorder.told[0][0] == "storage.put.latency"
    assert recorder.told[0][2] == {"usecase": "att"}
    assert recorder.told[0][1] > 0


def test_numbers_of_a_put_without_compression() -> None:
    recorder = Recorder()
    with scripted(answer(200, {"key": "k"}), metrics_backend=recorder) as (session, _):
        session.put(CONTENT, "k", "none")
    assert recorder.of("storage.put.size") == [(len(CONTENT), "none", "byte")]
    assert recorder.of("storage.put.compression_ratio") == []


def test_nothing_has_no_ratio_and_no_throughput() -> None:
    recorder = Recorder()
    with scripted(answer(200, {"key": "k"}), metrics_backend=recorder) as (session, _):
        session.put(b"", "k")
    assert recorder.of("storage.put.size")[0][:2] == (0, "none")
    assert recorder.of("storage.put.compression_ratio") == []
    assert [each[1] for each in recorder.of("storage.put.throughput")] == ["zstd"]


def test_latency_is_told_of_failures_too() -> None:
    recorder = Recorder()
    with scripted(answer(500), metrics_backend=recorder) as (session, _):
        for verb in (
            lambda: session.put(b"x"),
            lambda: session.get("k"),
            lambda: session.delete("k"),
        ):
            with pytest.raises(RequestError):
                verb()
        with pytest.raises(RequestError):
            session.head("k")
    assert recorder.names() == [f"storage.{op}.latency" for op in ("put", "get", "delete")]
    with Client(f"http://127.0.0.1:{closed_port()}", recorder) as client:
        session = client.session(Usecase("att"))
        with pytest.raises(MaxRetryError):
            session.get("k")
    assert len(recorder.told) == 4


def test_a_backend_or_a_listener_that_fails_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(NoOpMetricsBackend):
        def distribution(self, *_: Any, **__: Any) -> None:
            raise ZeroDivisionError

    def broken(_: events.Event) -> None:
        raise ZeroDivisionError

    with (
        scripted(answer(200, {"key": "k"}), metrics_backend=Broken(), on_event=broken) as (
            session,
            _,
        ),
        caplog.at_level(logging.ERROR),
    ):
        assert session.put(b"x") == "k"
    assert "metrics backend failed" in caplog.text


# -- events --------------------------------------------------------------------------------


def test_events_of_the_verbs() -> None:
    told: list[Any] = []
    with (
        RawServer(Imitation(knows=True)) as raw,
        Client(raw.url, on_event=(told.append,)) as client,
    ):
        session = client.session(Usecase("att"), org=1)
        key = session.put(CONTENT)
        response = session.get(key)
        assert [type(each) for each in told[2:]] == [events.Started]
        response.payload.read()
        session.delete(key)
    assert [(type(each).__name__, each.operation) for each in told] == [
        ("Started", "put"), ("Finished", "put"), ("Started", "get"), ("Finished", "get"),
        ("Started", "delete"), ("Finished", "delete"),
    ]  # fmt: skip
    assert {each.bucket for each in told} == {"att/org=1"}
    assert told[0].key is None
    assert {each.key for each in told[1:]} == {key}
    receipt = told[3].receipt
    assert (receipt.operation, receipt.size, receipt.verdict) == ("get", 10_000, Verdict.CONTENT)


class Bad(io.BytesIO):
    """A file that cannot be read."""

    def read(self, _: int | None = -1) -> bytes:
        raise OSError("disk")


def test_contents_that_cannot_be_read_are_failures_too() -> None:
    told: list[Any] = []
    recorder = Recorder()
    with scripted(answer(200), metrics_backend=recorder, on_event=told.append) as (session, _):
        with pytest.raises(ObjectSaveException):
            session.put(Bad(), "k")
        assert recorder.names() == ["storage.put.latency"]
        with pytest.raises(ObjectSaveException) as caught:
            session.resume_multipart_upload("k", "u").put_part(Bad(), part_number=1)
        assert [(type(each).__name__, each.operation) for each in told] == [
            ("Started", "put"), ("Failed", "put"),
            ("Started", "multipart.put_part"), ("Failed", "multipart.put_part"),
        ]  # fmt: skip
        assert told[-1].error is caught.value
        assert caught.value.key == "k"


def test_that_there_is_no_such_object_is_an_answer() -> None:
    told: list[Any] = []
    with scripted(answer(404), on_event=told.append) as (session, _):
        assert not session.exists("k")
        assert session.head("k") is None
    assert [type(each) for each in told] == [events.Started, events.Finished] * 2
    with scripted(answer(403), on_event=told.append) as (session, _):
        with pytest.raises(RequestError):
            session.exists("k")
        assert isinstance(told[-1], events.Failed)


@pytest.mark.parametrize("content", [CONTENT, b""], ids=len)
@pytest.mark.parametrize("how", ["closed", "dropped", "detached"])
@pytest.mark.parametrize("taken", [0, 5])
def test_a_payload_that_is_not_read_to_its_end(content: bytes, how: str, taken: int) -> None:
    told: list[Any] = []
    with scripted(answer(200, content * 100), on_event=told.append) as (session, _):
        payload: Any = session.get("k").payload
        payload.read(taken)
        if how == "closed":
            payload.close()
            payload.close()
        elif how == "detached":
            payload.detach().close()
        del payload
        gc.collect()
    assert [type(each) for each in told] == [events.Started, events.Finished]
    whole = taken and not content
    assert told[-1].receipt.verdict is (Verdict.IDENTITY if whole else Verdict.NONE)
    assert ("not read" in told[-1].receipt.basis) is not whole


def test_a_payload_that_is_interrupted() -> None:
    told: list[Any] = []
    with scripted(answer(200, CONTENT * 100), on_event=told.append) as (session, _):
        payload = session.get("k").payload
        payload.raw._blocks = _interrupted()
        with pytest.raises(KeyboardInterrupt):
            payload.read()
        with pytest.raises(ObjectVerificationException, match="failed before"):
            payload.read()
        payload.close()
    assert [type(each) for each in told] == [events.Started, events.Failed]


def _interrupted() -> Any:
    yield b"x"
    raise KeyboardInterrupt


def test_events_of_failures() -> None:
    told: list[Any] = []
    with scripted(answer(404), on_event=told.append) as (session, _):
        with pytest.raises(RequestError):
            session.get("k")
        assert isinstance(told[-1], events.Failed)
        assert told[-1].error.status == 404
    with Client(f"http://127.0.0.1:{closed_port()}", on_event=told.append) as client:
        with pytest.raises(MaxRetryError):
            client.session(Usecase("att")).get("k")
        assert isinstance(told[-1].error, ObjectClerkConnectionException)
    damaged = answer(200, b"x", {"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"})
    with scripted(damaged, on_event=told.append) as (session, _):
        payload = session.get("k").payload
        with pytest.raises(ObjectVerificationException):
            payload.read()
        assert isinstance(told[-1], events.Failed)
        assert told[-1].key == "k"
