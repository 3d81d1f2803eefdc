"""How long clients wait for the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_clerk.store.aio import AsyncObjectStore

T = TypeVar("T")

#: How long a client waits for the store to begin its answer.
PATIENCE_S = 30.0


async def ask(store: AsyncObjectStore, call: Callable[..., T], *args: Any) -> T:
    """What the store answers, or a refusal if that takes too long.

    The clerk would go on asking for minutes, and a client would hear nothing and ask again.

    Raises:
        Refusal: 504.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await store.call(call, *args)
    except ObjectClerkException:
        raise
    except TimeoutError:
        said = "the store behind this gateway does not answer"
        raise Refusal(504, said, {"retry-after": "1"}) from None
