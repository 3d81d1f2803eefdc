"""The application: ``uvicorn object_clerk.gateway.app:app``, or ``object-clerk serve``."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.gateway import errors, health, objects, presigned, v1
from object_clerk.gateway.access import Gate
from object_clerk.gateway.health import Readiness
from object_clerk.gateway.limits import RateLimiter
from object_clerk.gateway.metrics import Metrics
from object_clerk.gateway.middleware import Accounting, BodyLimit, Concurrency, SlowClients
from object_clerk.gateway.openapi import SECURITY_SCHEMES
from object_clerk.gateway.patience import ask
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.storage import open_store
from object_clerk.gateway.tokens import TokenFile
from object_clerk.gateway.url_keys import UrlKeys
from object_clerk.store.aio import AsyncObjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from object_clerk.store.models import Capability
    from object_clerk.store.store import ObjectStore

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Gateway:
    """What the requests of one process share.

    Attributes:
        settings: as it was configured.
        store: where objects are.
        gate: lets requests in.
        url_keys: what URLs are signed with.
        limiter: how many requests each may make.
        metrics: what is counted.
        readiness: whether the store answers.
    """

    settings: GatewaySettings
    store: AsyncObjectStore
    gate: Gate
    url_keys: UrlKeys
    limiter: RateLimiter
    metrics: Metrics
    readiness: Readiness

    @classmethod
    def of(cls, settings: GatewaySettings, store: ObjectStore) -> Gateway:
        """Make all of it; nothing is asked of the store."""
        limiter = RateLimiter(
            settings.rate_limit, settings.anonymous_rate_limit, settings.rate_limit_store
        )
        url_keys = UrlKeys(settings.url_keys_file)
        gate = Gate(TokenFile(settings.auth_tokens_file), url_keys, limiter)
        # A thread for each request: slow uploads hold theirs, and nobody waits for them.
        threads = AsyncObjectStore(store, max_threads=settings.max_requests)
        return cls(settings, threads, gate, url_keys, limiter, Metrics(), Readiness())

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the store can do."""
        return self.store.store.client.capabilities

    async def ask(self, call: Callable[..., T], *args: Any) -> T:
        """What the store answers; see :func:`object_clerk.gateway.patience.ask`."""
        return await ask(self.store, call, *args)


def create_app(
    settings: GatewaySettings | None = None, store: ObjectStore | None = None
) -> FastAPI:
    """An application over a store.

    Args:
        settings: None for those of the environment.
        store: None for the one that the settings name; it is closed with the application.

    Raises:
        ObjectClerkConfigurationException: a setting is wrong; the text names it.
    """
    settings = GatewaySettings.load() if settings is None else settings
    gateway = Gateway.of(settings, open_store(settings) if store is None else store)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await gateway.limiter.close()
            # Requests had their time to end: who is left waits for a store that does not answer.
            await gateway.store.close(wait=False)
            gateway.store.store.close()

    app = FastAPI(
        title="object-clerk",
        version=__version__,
        description="Objects over HTTP: verified, atomic, with tokens.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.gateway = gateway
    for each in (objects, presigned, health):
        app.include_router(each.router)
    errors.install(app)
    _say_how_to_authenticate(app)
    # The last one is the outermost.
    app.add_middleware(Concurrency, max_requests=settings.max_requests)
    app.add_middleware(BodyLimit, max_object_bytes=settings.max_object_bytes)
    app.add_middleware(SlowClients, idle_timeout_s=settings.idle_timeout_s)
    app.add_middleware(Accounting, metrics=gateway.metrics)
    v1.install(app, v1.Service.of(gateway.store, settings.max_object_bytes))
    return app


def _say_how_to_authenticate(app: FastAPI) -> None:
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def __getattr__(name: str) -> Any:
    """``app``, made of the environment when a server asks for it."""
    if name != "app":
        raise AttributeError(name)
    try:
        made = create_app()
    except ObjectClerkConfigurationException as error:
        # One line instead of a traceback, and the code by which uvicorn knows not to try again.
        print(f"object-clerk: {error}", file=sys.stderr)
        raise SystemExit(STARTUP_FAILURE) from error
    globals()["app"] = made
    return made
