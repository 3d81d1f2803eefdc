"""How a request of ``/v1`` is refused: ``{"detail", "causes"}``, or a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response

from object_clerk.session.wire import error_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from object_clerk.gateway.errors import Refusal

#: What these do not find is told without a body.
_BODILESS = frozenset({"GET", "HEAD"})


class Problem(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        detail: what is wrong, for the client; no secret, no path of the server.
        *causes: what led to it, the nearest first.
        headers: more headers of the answer.
        is_plain: whether it is answered with text: what is refused before it is looked at.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *causes: str,
        headers: Mapping[str, str] | None = None,
        is_plain: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.causes = tuple(each for each in causes if each)
        self.headers = dict(headers or {})
        self.is_plain = is_plain

    @classmethod
    def plain(cls, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
        """The refusal of a request whose path, or whose sender's zeal, is not acceptable."""
        return cls(status, detail, headers=headers, is_plain=True)

    @classmethod
    def malformed(cls, detail: str, error: Exception) -> Problem:
        """400, because of what a parser said."""
        return cls(400, detail, str(error))

    @classmethod
    def missing(cls) -> Problem:
        """404; an object that has expired is as missing as one that never was."""
        return cls(404, "object not found")

    @classmethod
    def of(cls, refusal: Refusal) -> Problem:
        """What another part of the gateway, or the store, has refused."""
        return cls(refusal.status, refusal.message, headers=refusal.headers)

    def to_json(self) -> dict[str, object]:
        """The body of the answer."""
        return error_json(self.detail, self.causes)

    def response(self, method: str) -> Response:
        """The answer to a request with this method."""
        if self.is_plain:
            return PlainTextResponse(self.detail, self.status, headers=self.headers)
        if self.status == 404 and method in _BODILESS:
            return Response(status_code=404, headers=self.headers)
        return JSONResponse(self.to_json(), self.status, headers=self.headers)
