"""How a request is refused: one exception, and the one JSON that all errors have."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from object_clerk import exceptions as ours
from object_clerk.rest import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)

#: What a client does about an error that passes.
_SOON = {"retry-after": "1"}

#: What to say where the truth is for the operator, who finds it in the log.
_STORE_FAILED = "the store behind this gateway failed; the log tells more under this request id"

#: Error of the store -> status and, where its own text is not for clients, what is said instead.
#: The most specific come first.
_STATUSES: tuple[tuple[type[ours.ObjectClerkException], int, str], ...] = (
    (ours.BucketNotFoundException, 503, "the bucket of this gateway is missing"),
    (ours.ObjectNotFoundException, 404, "there is no such object"),
    (ours.DestinationExists, 412, "the object is there already"),
    (ours.PreconditionFailed, 412, "a condition of the request does not hold"),
    (ours.ObjectClerkParameterException, 400, ""),
    (ours.ObjectClerkTypeException, 400, ""),
    (ours.ObjectSaveException, 400, ""),
    (ours.UnsupportedError, 501, "the store behind this gateway cannot do that"),
    (ours.ObjectChanged, 503, "somebody replaces the object all the time; try again"),
    (ours.ObjectVerificationException, 502, "the bytes in the store do not verify"),
    (ours.ObjectClerkTimeoutException, 504, "the store behind this gateway is too slow"),
    (ours.ObjectClerkServerAuthException, 502, "the store refuses this gateway"),
    (ours.ObjectClerkServerInternalException, 503, _STORE_FAILED),
    (ours.ObjectClerkException, 500, _STORE_FAILED),
)


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

    @classmethod
    def of(cls, error: ours.ObjectClerkException) -> Refusal:
        """What a client gets to know of an error of the store; the operator gets all of it."""
        status, said = next((s, text) for kind, s, text in _STATUSES if isinstance(error, kind))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED:
            log.error("%s", error, exc_info=error)
        soon = status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
        headers = dict(_SOON) if soon else {}
        if status == HTTPStatus.NOT_FOUND:
            headers[wire.MARK] = wire.MISSING
        return cls(status, said or error.message, headers)

    def response(self) -> JSONResponse:
        """The answer."""
        body = wire.error_json(self.status, self.message)
        return JSONResponse(body, self.status, headers=self.headers)


def said_of(errors: Iterable[Mapping[str, Any]]) -> str:
    """What pydantic finds wrong, without what it was given."""
    return "; ".join(
        f"{'.'.join(str(step) for step in each['loc'] if step != 'query')}: {each['msg']}"
        for each in errors
    ).removeprefix(": ")


def install(app: FastAPI) -> None:
    """Make all errors of an application look alike."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        return error.response()

    async def store_failed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ours.ObjectClerkException)
        return Refusal.of(error).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return Refusal(error.status_code, str(error.detail), error.headers).response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return Refusal(422, said_of(error.errors())).response()

    async def gone(_: Request, error: Exception) -> JSONResponse:
        return Refusal(400, "the connection was closed before the body ended").response()

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(ours.ObjectClerkException, store_failed)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)
