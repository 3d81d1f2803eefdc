"""What servers refuse, as exceptions. Transport errors are urllib3's own and come as they are."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkOperationException, ObjectNotFoundException
from object_clerk.session import wire

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestError(ObjectClerkOperationException):
    """The server refused a request, or its answer made no sense.

    Args:
        message: what happened.
        status: the HTTP status.
        response: the text of the answer.
        headers: its headers, with names in lower case.

    Attributes:
        response: the text of the answer, at most its first MiB.
        headers: its headers, with names in lower case.
        detail: what the server says in its JSON; None if it sent none.
        causes: what it says besides.
    """

    def __init__(
        self,
        message: str = "",
        status: int | None = None,
        response: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message, status=status, **more)
        self.response = response
        self.headers = dict(headers or {})
        self.detail, self.causes = wire.error_detail(response)


class ObjectNotFound(RequestError, ObjectNotFoundException):
    """There is no such object, or it has expired."""


class ExpiryExtensionRejected(RequestError):
    """The object never expires, or somebody else changed it in between."""


class MultipartCompleteError(RequestError):
    """The parts were not made an object. The status is 200: the answer had begun before."""


def error_of(status: int, response: str, headers: Mapping[str, str]) -> RequestError:
    """The exception for an answer that is no success."""
    detail, causes = wire.error_detail(response)
    said = detail or response.strip()[:200] or _phrase(status)
    if causes:
        said += f" ({'; '.join(causes)[:400]})"
    kind = ObjectNotFound if status == HTTPStatus.NOT_FOUND else RequestError
    return kind(said, status, response, headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "the server gave no reason"
