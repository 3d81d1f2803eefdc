"""``/v1``: from what is on the wire to what is done, and back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute, Match, NoMatchFound

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.access import check_framing
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.v1 import batch, expiry, multipart, objects, resumable
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.places import LONGEST_ROOT, Place
from object_clerk.names import LONGEST_KEY_BYTES
from object_clerk.rest.wire import error_message
from object_clerk.session.auth import Permission
from object_clerk.session.wire import split_path
from object_clerk.store.models import Capability

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from starlette.datastructures import URLPath
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from object_clerk.gateway.v1.service import Service

    Handler = Callable[[Service, Request, Place], Awaitable[Response]]

log = logging.getLogger(__name__)

PREFIX = "/v1/"

#: What answers say of the server.
SERVER = f"objectstore/{__version__}".encode()

#: Under this name of a request's scope stands whether ``/v1`` itself has answered.
_NOTE = "object_clerk.v1"

_READ, _WRITE, _DELETE = Permission.OBJECT_READ, Permission.OBJECT_WRITE, Permission.OBJECT_DELETE

#: What follows ``/v1/``, the method, and whether a key follows -> what is done, and what one has
#: to be allowed for it; None where each part of the request asks for itself.
_OPERATIONS: dict[tuple[str, str, bool], tuple[Handler, Permission | None]] = {
    ("objects", "POST", False): (objects.post, _WRITE),
    ("objects", "PUT", True): (objects.put, _WRITE),
    ("objects", "GET", True): (objects.get, _READ),
    ("objects", "HEAD", True): (objects.head, _READ),
    ("objects", "DELETE", True): (objects.delete, _DELETE),
    ("objects", "PATCH", True): (expiry.patch, _WRITE),
    ("objects:multipart", "POST", False): (multipart.initiate, _WRITE),
    ("objects:multipart", "PUT", True): (multipart.initiate, _WRITE),
    ("objects:multipart", "DELETE", True): (multipart.abort, _WRITE),
    ("objects:multipart:parts", "PUT", True): (multipart.put_part, _WRITE),
    ("objects:multipart:parts", "GET", True): (multipart.list_parts, _WRITE),
    ("objects:multipart:complete", "POST", True): (multipart.complete, _WRITE),
    ("objects:batch", "POST", False): (batch.batch, None),
}

#: The same, for those that a parameter of the query makes something else.
_BY_QUERY: dict[tuple[str, str, bool], tuple[Handler, Permission | None]] = {
    ("upload_type", "POST", False): (resumable.create, _WRITE),
    ("upload_type", "PUT", True): (resumable.create, _WRITE),
    ("session", "PUT", True): (resumable.put_chunk, _WRITE),
    ("session", "DELETE", True): (resumable.cancel, _WRITE),
}

_FAMILIES = frozenset(family for family, _, _ in _OPERATIONS)


class Api(BaseRoute):
    """The route of everything below ``/v1``.

    The framework's own routes know decoded paths only; here a key is what was on the wire.

    Args:
        service: what serves.
    """

    path_format = PREFIX

    def __init__(self, service: Service) -> None:
        self._service = service

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this API."""
        ours = scope["type"] == "http" and is_ours(scope)
        return (Match.FULL if ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Nothing has a name here."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        scope["route"] = self
        try:
            response = await self._answer(request)
        except Problem as problem:
            response = problem.response(request.method)
        except ObjectClerkException as error:
            response = Problem.of(Refusal.of(error)).response(request.method)
        except ClientDisconnect:
            response = Problem(400, "the connection ended before the body").response("")
        scope.get(_NOTE, {})["answered"] = True
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            check_framing(request)
        except Refusal as refusal:
            raise Problem.of(refusal) from None
        family, place = _destination(request)
        has_key = bool(place.key)
        request.scope["route"] = _Template(family, has_key)
        if Capability.METADATA not in self._service.store.store.client.capabilities:
            raise Problem(501, "the store behind this server keeps no metadata")
        handler, permission = _operation(request, family, has_key)
        self._service.admit(request, place, permission)
        _refuse_conditions(request)
        return await handler(self._service, request, place)


def _operation(request: Request, family: str, has_key: bool) -> tuple[Handler, Permission | None]:
    """What is to be done.

    Raises:
        Problem: 405 or 404, there is nothing like that.
    """
    query, method = request.query_params, request.method
    if family == "objects":
        if "session" in query and ("session", method, has_key) in _BY_QUERY:
            return _BY_QUERY["session", method, has_key]
        wanted = ("upload_type", method, has_key)
        if query.get("upload_type") == "resumable" and wanted in _BY_QUERY:
            return _BY_QUERY[wanted]
    if (family, method, has_key) in _OPERATIONS:
        return _OPERATIONS[family, method, has_key]
    if allowed := sorted(m for f, m, k in _OPERATIONS if (f, k) == (family, has_key)):
        raise Problem(405, "there is no such method here", headers={"allow": ", ".join(allowed)})
    raise Problem(404, "there is no such operation")


def _refuse_conditions(request: Request) -> None:
    """Refuse what would be passed over, and the object changed although it was not to be.

    Raises:
        Problem: 501 for a condition, 400 for a part of an object.
    """
    if request.method in ("GET", "HEAD"):
        return
    if given := sorted(_CONDITIONS & set(request.headers)):
        raise Problem(501, f"nothing here depends on a condition: {', '.join(given)}")
    if "content-range" in request.headers:
        raise Problem(400, "a part of an object cannot be written: send all of it")


_CONDITIONS = frozenset(("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"))


class _Template:
    """What the path of a request looks like, for the figures."""

    def __init__(self, family: str, has_key: bool) -> None:
        self.path_format = f"{PREFIX}{family}/{{usecase}}/{{scopes}}/{'{key}' if has_key else ''}"


def _destination(request: Request) -> tuple[str, Place]:
    """What kind of request it is, and which object it is about."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    raw = raw.removeprefix(request.scope.get("root_path", "").encode())
    name, _, rest = raw.removeprefix(PREFIX.encode()).partition(b"/")
    family = unquote_to_bytes(name).decode(errors="replace")
    if family not in _FAMILIES or b"/" not in rest:  # no scopes: this is somebody else's path
        raise Problem.plain(404, "there is no such path")
    try:
        usecase, scope, key = split_path(rest)
    except ValueError as error:
        raise Problem.plain(400, f"the path is malformed: {error}") from None
    place = Place(usecase, scope, key)
    if len(place.root) > LONGEST_ROOT or len(place.at.encode()) > LONGEST_KEY_BYTES:
        raise Problem.plain(400, "usecase, scopes and key are too long together")
    return family, place


def is_ours(scope: Scope) -> bool:
    """Whether a request is for ``/v1``."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith(PREFIX)


class Dialect:
    """What the layers around the application refuse is said as ``/v1`` says it.

    Besides, all answers of ``/v1`` tell the name of the server.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_ours(scope):
            await self._app(scope, receive, send)
            return
        note: dict[str, bool] = {}
        scope[_NOTE] = note
        await self._app(scope, receive, _Translated(send, note, scope["method"]).send)


class _Translated:
    """One answer."""

    def __init__(self, send: Send, note: dict[str, bool], method: str) -> None:
        self._send = send
        self._note = note
        self._method = method
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"server", SERVER)]
            message = {**message, "headers": headers}
            if not self._note.get("answered"):
                self._held = message
                return
        elif self._held is not None and message["type"] == "http.response.body":
            start, self._held = self._held, None
            message = self._translate(start, message)
            await self._send(start)
        await self._send(message)

    def _translate(self, start: Message, body: Message) -> Message:
        said = error_message(body.get("body", b"")) or "the request is refused"
        new = bytes(Problem(start["status"], said).response("").body)
        start["headers"] = [
            (name, str(len(new)).encode() if name == b"content-length" else value)
            for name, value in start["headers"]
        ]
        return {**body, "body": new}
