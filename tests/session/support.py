"""What several test modules need."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from object_clerk.session import Client, Session, Usecase
from tests.session.raw import RawServer

if TYPE_CHECKING:
    import queue
    from collections.abc import Iterator


@contextlib.contextmanager
def scripted(
    answer: Any, usecase: Usecase | None = None, **options: Any
) -> Iterator[tuple[Session, RawServer]]:
    """A session on a server that always answers so."""
    reply = answer if callable(answer) else lambda _: answer
    with RawServer(reply) as raw, Client(raw.url, **options) as client:
        yield client.session(usecase or Usecase("attachments"), org=42), raw


def pool_of(client: Client) -> queue.LifoQueue[Any]:
    """The connections that nobody uses, and the room for them."""
    pool = client._transport._pool.pool
    assert pool is not None
    return pool
