"""``/health``, ``/ready`` and ``/metrics``: whether the process lives, and what it has done."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkException

if TYPE_CHECKING:
    from object_clerk.gateway.app import Gateway

log = logging.getLogger(__name__)

router = APIRouter(tags=["operations"])

#: The store is asked at most so often, however many ask us, and waited for so long.
_FRESH_S = 2.0
_PATIENCE_S = 5.0


class Readiness:
    """Whether the store answers, as it was found a moment ago."""

    def __init__(self) -> None:
        self._asked = -_FRESH_S
        self._is_ready = False
        self._lock = asyncio.Lock()

    async def of(self, gateway: Gateway) -> bool:
        """Ask the store, unless that was done just now."""
        async with self._lock:
            if time.monotonic() - self._asked >= _FRESH_S:
                self._is_ready = await _answers(gateway)
                self._asked = time.monotonic()
        return self._is_ready


@router.get("/health")
@router.head("/health", include_in_schema=False)
async def health() -> JSONResponse:
    """Whether the process lives. It asks nothing of the store."""
    return JSONResponse({"status": "healthy", "service": "object-clerk", "version": __version__})


@router.get("/ready")
@router.head("/ready", include_in_schema=False)
async def ready(request: Request) -> JSONResponse:
    """Whether requests can be served: 503 while the store does not answer."""
    gateway: Gateway = request.app.state.gateway
    if await gateway.readiness.of(gateway):
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "unavailable"}, 503, headers={"retry-after": "2"})


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Figures for Prometheus, for those whom the setting ``metrics`` allows."""
    gateway: Gateway = request.app.state.gateway
    return gateway.metrics.answer(request, gateway.settings.metrics)


async def _answers(gateway: Gateway) -> bool:
    def look() -> None:
        for _ in gateway.store.store.list_objects(limit=1):
            pass

    try:
        await asyncio.wait_for(gateway.store.call(look), _PATIENCE_S)
    except (ObjectClerkException, TimeoutError) as error:
        log.warning("the store does not answer: %s", error or "it takes too long")
        return False
    return True
