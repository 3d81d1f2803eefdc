"""How a request is refused: one exception, and the one JSON that all errors have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk import exceptions as e

if TYPE_CHECKING:
    from collections.abc import Mapping


class Refusal(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        message: what is wrong and what to do, for the client; no secret, no path of the server.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @classmethod
    def unauthenticated(cls, message: str) -> Refusal:
        """401, with the challenge that RFC 9110 wants."""
        return cls(401, message, {"www-authenticate": "Bearer"})
