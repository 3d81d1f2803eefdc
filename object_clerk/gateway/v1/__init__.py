"""``/v1``: scoped, expiring objects with signed tokens, over any store.

The HTTP API of :mod:`object_clerk.session`: what is below ``/v1`` has paths, statuses, errors and
tokens of its own, everything else is the REST API's. It is one line in the application::

    v1.install(app, Service.of(store, max_object_bytes))
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from object_clerk.gateway.v1.access import Doors
from object_clerk.gateway.v1.api import Api, Dialect
from object_clerk.gateway.v1.config import SessionsConfig
from object_clerk.gateway.v1.service import Service, now_utc
from object_clerk.gateway.v1.sweeper import sweep_forever

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from fastapi import FastAPI

__all__ = ["Service", "check", "install"]


def install(app: FastAPI, service: Service) -> None:
    """Serve ``/v1``; to be called when the application has all its layers."""
    app.router.routes.insert(0, Api(service))
    app.add_middleware(Dialect)
    app.state.sessions = service
    lifespan = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def sweeping(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(app) as state, _background(service):
            yield state

    app.router.lifespan_context = sweeping


def check() -> None:
    """Read configuration and keys, so that a mistake is told before anything is served.

    Raises:
        ObjectClerkConfigurationException: a setting is wrong, or a key cannot be read.
    """
    Doors(SessionsConfig.load().auth, now_utc)


@contextlib.asynccontextmanager
async def _background(service: Service) -> AsyncIterator[None]:
    """Sweep while the application runs, if that was configured."""
    if service.config.sweep.interval is None:
        yield
        return
    task = asyncio.create_task(sweep_forever(service))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
