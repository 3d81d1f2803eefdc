"""Many small operations in one request: each is a part of a form, and is answered by one.

What is inserted is stored as it comes; the rest is done when the answer gets there, so that there
is never more than one part in memory, but for a delete that an insert of the same key follows. A
token for the scope is wanted before anything is read of the form; each operation is then let in,
counted and refused by itself. A form that is malformed, or too large, ends the request, and what
came before that was done.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.bodies import Checks, Streamed, counted
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.forms import Form
from object_clerk.session import wire
from object_clerk.session.auth import Permission

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from object_clerk.gateway.bodies import Outgoing
    from object_clerk.gateway.v1.forms import FormPart
    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service

MOST_OPERATIONS = 1000
MOST_PART_BYTES = 1 << 20
MOST_BYTES = 1 << 30

_PERMISSIONS = {
    "get": Permission.OBJECT_READ,
    "head": Permission.OBJECT_READ,
    "insert": Permission.OBJECT_WRITE,
    "delete": Permission.OBJECT_DELETE,
}


@dataclasses.dataclass(frozen=True)
class _Result:
    """What became of an operation.

    Attributes:
        status: as of a request of its own.
        headers: what is known of the object.
        body: a small body.
        out: the bytes of an object that was opened.
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    out: Outgoing | None = None


@dataclasses.dataclass
class _Operation:
    """An operation that was taken.

    Attributes:
        kind: what it is, as far as that can be told.
        place: the object, as far as that can be told.
        result: what became of it, or what will tell that when the answer gets there.
    """

    kind: str
    place: Place
    result: Callable[[], Awaitable[_Result]]


async def batch(service: Service, request: Request, place: Place) -> Response:
    """Do many things."""
    blocks = _limited(request)
    form = Form(request.headers.get("content-type", ""), blocks, MOST_PART_BYTES)
    operations: list[_Operation] = []
    deletes: dict[str, list[_Operation]] = {}  # those that are still to be done, by key
    async for part in form.parts():
        if len(operations) == MOST_OPERATIONS:
            raise Problem(413, f"a batch has at most {MOST_OPERATIONS} operations")
        operations.append(await _take(service, request, place, part, deletes))
    boundary = secrets.token_hex(16)
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return Streamed(_answer(service, operations, boundary), 200, headers)


async def _limited(request: Request) -> AsyncIterator[bytes]:
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > MOST_BYTES:
            raise Problem(413, f"a batch has at most {MOST_BYTES} bytes")
        yield block


async def _take(
    service: Service,
    request: Request,
    place: Place,
    part: FormPart,
    deletes: dict[str, list[_Operation]],
) -> _Operation:
    """Do what has to be done while its part is at hand, and leave the rest for the answer."""
    kind = part.headers.get(wire.BATCH_KIND, "")
    try:
        place = dataclasses.replace(place, key=_key(kind, part))
        permission = _PERMISSIONS.get(kind)
        if permission is None:
            raise Problem(400, f"the kind of an operation is one of {', '.join(_PERMISSIONS)}")
        service.admit(request, place, permission)
    except Problem as problem:
        return _Operation(kind, place, _done(_refused(problem)))
    if kind == "insert":
        for before in deletes.pop(place.key, ()):
            before.result = _done(await before.result())
        return _Operation(kind, place, _done(await _guarded(_insert(service, place, part))))
    act = {"get": _get, "head": _head, "delete": _delete}[kind]
    taken = _Operation(kind, place, lambda: _guarded(act(service, place)))
    if kind == "delete":
        deletes.setdefault(place.key, []).append(taken)
    return taken


def _key(kind: str, part: FormPart) -> str:
    raw = part.headers.get(wire.BATCH_KEY)
    if raw is None:
        if kind == "insert":
            return objects.new_key()
        raise Problem(400, f"the operation needs {wire.BATCH_KEY}")
    try:
        return wire.check_session_key(unquote_to_bytes(raw.encode("latin-1")).decode())
    except ValueError as error:
        raise Problem.malformed("the key of an operation is malformed", error) from None


def _done(result: _Result) -> Callable[[], Awaitable[_Result]]:
    async def tell() -> _Result:
        return result

    return tell


async def _guarded(work: Awaitable[_Result]) -> _Result:
    """What an operation came to, whatever that is."""
    try:
        return await work
    except Problem as problem:
        return _refused(problem)
    except Refusal as refusal:
        return _refused(Problem.of(refusal))
    except ObjectClerkException as error:
        return _refused(Problem.of(Refusal.of(error)))


def _refused(problem: Problem) -> _Result:
    headers = {**problem.headers, "content-type": "application/json"}
    return _Result(problem.status, headers, json.dumps(problem.to_json()).encode())


async def _insert(service: Service, place: Place, part: FormPart) -> _Result:
    said = service.said(place, part.headers)
    checks = Checks(part.headers, said.compression, service.max_object_bytes)
    service.passed(place, len(part.body))
    await checks.take(part.body)
    checks.end()
    await objects.write(service, place, said, checks, part.body)
    return _Result(201)


async def _get(service: Service, place: Place) -> _Result:
    out, headers = await objects.opened(service, place)
    return _Result(200, headers, out=out)


async def _head(service: Service, place: Place) -> _Result:
    return _Result(204, await objects.look(service, place))


async def _delete(service: Service, place: Place) -> _Result:
    await objects.remove(service, place)
    return _Result(204)


async def _answer(
    service: Service, operations: list[_Operation], boundary: str
) -> AsyncGenerator[bytes]:
    for index, operation in enumerate(operations):
        result = await operation.result()
        yield _head_of(boundary, index, operation, result)
        if result.out is None:
            yield result.body
        else:
            blocks = counted(service, operation.place, result.out)
            try:
                async for block in blocks:
                    yield block
            finally:
                await blocks.aclose()
                await result.out.give_up(service.store)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _head_of(boundary: str, index: int, operation: _Operation, result: _Result) -> bytes:
    status = f"{result.status} {HTTPStatus(result.status).phrase}"
    # A file name is told by its own header; the disposition is that of a form.
    headers = {
        **result.headers,
        "content-disposition": f'form-data; name="{index}"',
        wire.BATCH_INDEX: str(index),
        wire.BATCH_KEY: quote(operation.place.key),
        wire.BATCH_KIND: operation.kind,
        wire.BATCH_STATUS: status,
    }
    lines = (f"{name}: {value}" for name, value in headers.items())
    return "\r\n".join((f"--{boundary}", *lines, "", "")).encode("latin-1")
