"""Figures for Prometheus.

Several workers have several registries. With the variable ``PROMETHEUS_MULTIPROC_DIR``, which
names an empty directory, they write there, and each answers for all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.responses import Response

from object_clerk.gateway.addresses import is_near
from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

#: Who may read the figures: nobody, clients on this machine and in private networks, all.
Audience = Literal["off", "local", "public"]

_PREFIX = "object_clerk_gateway"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Anybody may make up methods. All others are counted as one.
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})

#: Seconds: from a small object in memory to a large one over a slow line.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

#: A proxy adds one of these. Whoever asks through it may be anywhere.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """What one application counts; no label has a key, a token or anything else of clients."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}_requests", "Requests", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "How long requests took, with their bodies",
            ("method", "route"),
            registry=registry,
            buckets=_BUCKETS,
        )
        self._bytes = Counter(
            f"{_PREFIX}_bytes", "Bytes of bodies", ("direction",), registry=registry
        )
        self._refused = Counter(
            f"{_PREFIX}_refused", "Requests refused", ("reason",), registry=registry
        )
        self._in_flight = Gauge(
            f"{_PREFIX}_in_flight",
            "Requests that are being answered",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def begin(self) -> None:
        """A request has come."""
        self._in_flight.inc()

    def end(self, said: Mapping[str, Any]) -> None:
        """A request was answered, or not; the fields are those of its record in the log."""
        method = said["method"] if said["method"] in _METHODS else "other"
        route, status = said["route"] or "none", said["status"]
        self._in_flight.dec()
        self._requests.labels(method, route, status or "none").inc()
        self._seconds.labels(method, route).observe(said["elapsed_ms"] / 1000)
        self._bytes.labels("in").inc(said["bytes_in"])
        self._bytes.labels("out").inc(said["bytes_out"])
        if said["refused"]:
            self._refused.labels(said["refused"]).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        directory = os.environ.get(_DIRECTORY)
        if directory is None:
            return generate_latest(self._registry)
        _forget_the_dead(Path(directory))
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, directory)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)

    def answer(self, request: Request, audience: Audience) -> Response:
        """The answer to a request for ``/metrics``.

        Raises:
            Refusal: 404 if nobody may have them, 403 if this client may not.
        """
        if audience == "off":
            raise Refusal(404, "there are no metrics here")
        host = request.client.host if request.client else None
        is_local = is_near(host) and not any(name in request.headers for name in _FORWARDED)
        if audience == "local" and not is_local:
            raise Refusal(403, "metrics are for clients on this machine and in private networks")
        return Response(self.text(), media_type=_CONTENT_TYPE)


def _forget_the_dead(directory: Path) -> None:
    """Take away what workers that were killed had in hand."""
    for path in directory.glob("gauge_live*.db"):
        found = re.search(r"_([0-9]+)\.db$", path.name)
        if found is not None and not _lives(int(found[1])):
            with contextlib.suppress(FileNotFoundError):  # another worker was first
                mark_process_dead(int(found[1]), str(directory))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
