"""The client: one pool of connections, from which sessions are made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.names import check_text
from object_clerk.session.errors import RequestError
from object_clerk.session.metrics import MetricsBackend, NoOpMetricsBackend
from object_clerk.session.payload import GetResponse
from object_clerk.session.scope import Scope
from object_clerk.session.session import Session
from object_clerk.session.transport import Transport
from object_clerk.session.usecase import Usecase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from object_clerk.events import Listener
    from object_clerk.session.auth import TokenProvider

__all__ = ["Client", "GetResponse", "RequestError", "Session", "Usecase"]


class Client:
    """A connection to a server. Make one, keep it, and use it from as many threads as you like.

    A forked child that uses it has connections of its own.

    Args:
        base_url: http or https, such as ``http://localhost:8888``. A path in it goes before the
            path of every request.
        metrics_backend: what is told sizes and latencies.
        propagate_traces: send ``sentry-trace`` and ``baggage`` if the Sentry SDK is initialised.
        retries: how often connecting is tried again; 3 if None, and 0 means not at all. Nothing
            else is repeated, but in resumable uploads: a stream that was begun cannot be sent from
            its start.
        timeout_ms: the longest gap between bytes, in milliseconds; None waits for ever. For
            connecting there are 100 ms. To change those, give a ``urllib3.Timeout`` as
            ``connection_kwargs["timeout"]``.
        connection_kwargs: arguments of ``urllib3.HTTPConnectionPool``, which win over all others.
            Headers in it are sent with every request. ``maxsize`` is 10 if it is not there.
        token: a TokenGenerator, which signs a token for each request, or one token as it is.
        token_generator: the same thing under its older name.
        spool_dir: where large contents are kept while they are compressed for a resumable upload.
        on_event: called with each event of ``object_clerk.events``; or several to be called.

    Raises:
        ObjectClerkConfigurationException: ``base_url`` is no such URL.
        ObjectClerkParameterException: another argument is impossible, or there are two tokens.
    """

    def __init__(
        self,
        base_url: str,
        metrics_backend: MetricsBackend | None = None,
        propagate_traces: bool = False,
        retries: int | None = None,
        timeout_ms: float | None = None,
        connection_kwargs: Mapping[str, Any] | None = None,
        token: TokenProvider | None = None,
        *,
        token_generator: TokenProvider | None = None,
        spool_dir: str | Path | None = None,
        on_event: Listener | tuple[Listener, ...] = (),
    ) -> None:
        if token is not None and token_generator is not None:
            raise ObjectClerkParameterException("give token or token_generator, not both")
        self._token = _checked(token if token_generator is None else token_generator)
        self._metrics = NoOpMetricsBackend() if metrics_backend is None else metrics_backend
        self._listeners = on_event if isinstance(on_event, tuple) else (on_event,)
        self._spool_dir = None if spool_dir is None else Path(spool_dir)
        #: whether the server knows resumable uploads; None until it was asked
        self._resumable: bool | None = None
        self._transport = Transport(
            base_url,
            retries=retries,
            timeout_ms=timeout_ms,
            connection_kwargs=connection_kwargs,
            propagate_traces=propagate_traces,
        )

    def session(self, usecase: Usecase, /, **scopes: str | int | bool) -> Session:
        """Work with the objects of one scope.

        Args:
            usecase: the namespace they are in.
            **scopes: the scope, whose order counts; ``org`` and ``project`` first, by convention.

        Raises:
            ObjectClerkParameterException: a scope has characters that it cannot have.
        """
        if not isinstance(usecase, Usecase):
            raise ObjectClerkTypeException(f"usecase is a Usecase, not {type(usecase).__name__}")
        return Session(self, usecase, Scope(**scopes))

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._transport.base_url!r})"


def _checked(token: TokenProvider | None) -> TokenProvider | None:
    if isinstance(token, str):
        try:
            return check_text("token", token)
        except ValueError:  # its text would have the token in it
            raise ObjectClerkParameterException("the token cannot stand in a header") from None
    if token is not None and not hasattr(token, "sign_for_scope"):
        raise ObjectClerkTypeException(
            f"token is a TokenGenerator or a str, not {type(token).__name__}"
        )
    return token
