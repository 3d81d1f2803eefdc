"""Whether a client is botocore's own, or whether somebody else has a hand in it.

Handlers, tracers and mocks are called by boto3 alone, so where there are any it has to do the work.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from botocore import handlers
from botocore.client import BaseClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_s3 import S3Client


def in_every_client() -> bool:
    """Whether a library has a hand in every client that is made, as moto and tracers do."""
    return (
        any(
            not getattr(each[1], "__module__", "").startswith("botocore.")
            for each in handlers.BUILTIN_HANDLERS
        )
        or _module_of(BaseClient.__init__) != BaseClient.__module__
        or bool(os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS"))
    )


class Strangers:
    """Those who register a handler with a client from now on, or replace its methods.

    As long as there is one, the client is not botocore's own. It never is again if a handler goes
    that was there before.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._known: list[Any] = []
        events = client.meta.events
        for name in ("register", "register_first", "register_last"):
            setattr(events, name, partial(self._came, getattr(events, name)))
        events.unregister = partial(self._left, events.unregister)  # type: ignore[method-assign]

    def are_about(self, method: str) -> bool:
        """Whether a call of this method of the client would pass by one of them."""
        ways = getattr(self._client, method), getattr(self._client, "_make_api_call", None)
        return bool(self._known) or not all(map(_is_botocores, ways))

    def _came(
        self,
        register: Callable[..., None],
        event_name: str,
        handler: Any,
        unique_id: Any = None,
        unique_id_uses_count: bool = False,
    ) -> None:
        self._known.append((event_name, handler if unique_id is None else unique_id))
        register(event_name, handler, unique_id, unique_id_uses_count)

    def _left(
        self,
        unregister: Callable[..., None],
        event_name: str,
        handler: Any = None,
        unique_id: Any = None,
        unique_id_uses_count: bool = False,
    ) -> None:
        unregister(event_name, handler, unique_id, unique_id_uses_count)
        with contextlib.suppress(ValueError):
            self._known.remove((event_name, handler if unique_id is None else unique_id))
            return
        self._known.append(None)


def _is_botocores(method: Any) -> bool:
    return type(method) is MethodType and _module_of(method.__func__).startswith("botocore.")


def _module_of(function: Any) -> str:
    """Where a function was written, even if it says that it is another."""
    return str(getattr(function, "__globals__", {}).get("__name__", ""))
