"""What a request's scope tells all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Scope

#: A server that can break a connection off at once says so under this name.
ABORT = "object_clerk.abort"

#: A server that hangs up on those who read too slowly gives under this name what tells whether it
#: has done so.
HUNG_UP = "object_clerk.hung_up"

#: So many bytes a second of a body, or of an answer, are the least, on the whole: whoever is slower
#: holds a place that others want. A modem of 1990 is faster.
LEAST_BYTES_PER_S = 1024


def state_of(scope: Scope) -> dict[str, Any]:
    """The notes on one request, which the application has as ``request.state``."""
    state: dict[str, Any] = scope.setdefault("state", {})
    return state


def path_of(scope: Scope) -> str:
    """The path as the application's routes see it."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path


def break_off(scope: Scope) -> None:
    """Close the connection without sending what waits to be sent, if the server can do that.

    An ordinary close waits for a client to take that, and for as long as it likes.
    """
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()
