"""What is counted, who may read it, and how several processes count together."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client.parser import text_string_to_metric_families

from object_clerk.gateway import errors
from object_clerk.gateway.metrics import Audience, Metrics
from object_clerk.gateway.middleware import Accounting

from .asgi import Answer, ask, pieces, scope_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Scope


def figures(text: bytes) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name.removeprefix("object_clerk_gateway_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def application(metrics: Metrics, audience: Audience = "local") -> Accounting:
    app = FastAPI()
    errors.install(app)

    @app.api_route("/objects/{key:path}", methods=["GET", "PUT"])
    async def objects(request: Request, key: str) -> Response:
        await request.body()
        match key:
            case "limited":
                raise errors.Refusal(429, "no")
            case "forbidden":
                raise errors.Refusal(403, "no")
            case "busy":
                request.state.refused = "concurrency"
                raise errors.Refusal(503, "no")
        return PlainTextResponse(f"{figures(metrics.text())['in_flight',]:g}")

    @app.get("/metrics")
    def read(request: Request) -> Response:
        return metrics.answer(request, audience)

    return Accounting(app, metrics)


def test_what_is_counted() -> None:
    metrics = Metrics()
    app = application(metrics)

    async def story() -> None:
        assert (await ask(app, scope_of("GET", "/objects/a"))).body == b"1"
        assert (await ask(app, scope_of("PUT", "/objects/b/c"), pieces(b"abc", b"de"))).body == b"1"
        for key in ("limited", "forbidden", "busy"):
            await ask(app, scope_of("GET", f"/objects/{key}"))
        await ask(app, scope_of("MADE-UP", "/elsewhere"))

    asyncio.run(story())
    counted = figures(metrics.text())
    route = "/objects/{key}"
    assert counted["requests_total", "GET", route, "200"] == 1
    assert counted["requests_total", "PUT", route, "200"] == 1
    assert counted["requests_total", "GET", route, "429"] == 1
    assert counted["requests_total", "other", "none", "404"] == 1
    assert counted["request_seconds_count", "GET", route] == 4
    assert counted["bytes_total", "in"] == 5
    assert counted["bytes_total", "out"] > 2
    assert counted["in_flight",] == 0
    for reason in ("rate", "auth", "concurrency"):
        assert counted["refused_total", reason] == 1


def test_no_label_is_a_client_s_to_choose() -> None:
    """Neither keys nor methods make more of them, or memory would fill up."""
    metrics = Metrics()
    app = application(metrics)

    async def story() -> None:
        for number in range(20):
            await ask(app, scope_of("GET", f"/objects/{number}"))
            await ask(app, scope_of(f"M{number}", f"/{number}"))

    asyncio.run(story())
    names = [each for each in figures(metrics.text()) if each[0] == "requests_total"]
    assert len(names) == 2


def test_a_request_that_breaks_is_no_more_in_flight() -> None:
    metrics = Metrics()

    async def app(scope: Scope, receive: object, send: object) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask(Accounting(app, metrics)))
    counted = figures(metrics.text())
    assert counted["in_flight",] == 0
    assert counted["requests_total", "GET", "none", "503"] == 1


@pytest.mark.parametrize(
    ("audience", "host", "headers", "status"),
    [
        ("local", "127.0.0.1", {}, 200),
        ("local", "10.0.0.7", {}, 200),
        ("local", "8.8.8.8", {}, 403),
        ("local", None, {}, 403),
        ("local", "127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, 403),
        ("local", "127.0.0.1", {"forwarded": "for=10.0.0.7"}, 403),
        ("public", "8.8.8.8", {"x-forwarded-for": "8.8.4.4"}, 200),
        ("public", None, {}, 200),
        ("off", "127.0.0.1", {}, 404),
    ],
)
def test_who_may_read_them(
    audience: Audience, host: str | None, headers: dict[str, str], status: int
) -> None:
    client = None if host is None else (host, 1)
    scope = scope_of("GET", "/metrics", *headers.items(), client=client)
    answer: Answer = asyncio.run(ask(application(Metrics(), audience), scope))
    assert answer.status == status
    if status == 200:
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert figures(answer.body)["in_flight",] == 1
    else:
        assert answer.error


_CHILD = """
import os, sys
from object_clerk.gateway.metrics import Metrics
metrics = Metrics()
said = {"method": "GET", "route": "/r", "status": 200, "elapsed_ms": 1.0, "bytes_in": 1,
        "bytes_out": 2, "refused": None}
for _ in range(3):
    metrics.begin()
    metrics.end(said)
metrics.begin()
if sys.argv[1] == "dies":
    os._exit(0)
sys.stdout.buffer.write(metrics.text())
"""


def test_several_processes_count_together(tmp_path: Path) -> None:
    """Of one that was killed, what it has done counts on, and what it was doing does not."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for act in ("dies", "lives"):
        command = [sys.executable, "-c", _CHILD, act]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    counted = figures(done.stdout)
    assert counted["requests_total", "GET", "/r", "200"] == 6
    assert counted["bytes_total", "out"] == 12
    assert counted["in_flight",] == 1
