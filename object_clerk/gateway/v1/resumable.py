"""Resumable uploads: chunks one after the other, and a server that knows how far it got.

The bytes of a chunk are below ``data/``, whole or not at all; that they are a chunk is said by the
key of an empty object below ``chunks/``, which has offset, size and MD5 in it. How far the upload
got is what these say, and nothing else. Should two send the same upload at once, there may be two
chunks of one offset; their bytes are the same, so either will do.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from object_clerk.exceptions import ObjectNotFoundException
from object_clerk.gateway.v1.bodies import Checks, Incoming
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.sweeper import remove_pieces
from object_clerk.gateway.v1.uploads import CANCELLED, DONE, Piece, Upload, forget
from object_clerk.session import wire

if TYPE_CHECKING:
    from starlette.requests import Request

    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service

_KIND = "resumable"

#: So many chunks make an object, at most.
MOST_CHUNKS = 10_000

_MARKER = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9a-f]{32})-([0-9a-f]{32})")

#: Headers of a chunk that are of its own bytes.
_OF_A_CHUNK = ("content-md5", "content-digest")


async def create(service: Service, request: Request, place: Place) -> Response:
    """Begin an upload."""
    length = _count(request, wire.UPLOAD_LENGTH)
    if length > service.max_object_bytes:
        raise Problem(413, f"objects here have at most {service.max_object_bytes} bytes")
    await _no_body(request)
    made = await Upload.begin(service, request, place, _KIND, length)
    return JSONResponse(wire.ResumableStarted(made.place.key, made.id).to_json())


async def put_chunk(service: Service, request: Request, place: Place) -> Response:
    """Take a chunk, or say how far the upload got; with the last byte it becomes an object."""
    try:
        offset = wire.parse_upload_offset(request.headers.get(wire.UPLOAD_OFFSET, ""))
    except ValueError as error:
        raise Problem.malformed("the upload's offset cannot be read", error) from None
    size = 0 if offset is None else _count(request, "content-length")
    upload = await _upload(service, request, place)
    if offset is None:
        await _no_body(request)
    elif await _is_next(service, upload, offset, size):
        upload = await _store(service, request, upload, offset)
    if upload.state == DONE:
        return _done(place)
    chunks = await _chunks(service, upload)
    got = sum(chunk.size for chunk in chunks)
    if got != upload.length:
        return Response(status_code=204, headers={wire.UPLOAD_OFFSET: str(got)})
    try:
        told = await upload.assemble(service, chunks)
    except ObjectNotFoundException:  # another, who asks at the same time, was quicker
        if (await _upload(service, request, place)).state == DONE:
            return _done(place)
        raise
    await _end(service, upload, DONE)
    return JSONResponse(told, 201)


async def _is_next(service: Service, upload: Upload, offset: int, size: int) -> bool:
    """Whether there are bytes to take.

    Raises:
        Problem: 409, they are not the next ones; 400, they are too many.
    """
    assert upload.length is not None
    chunks = [] if upload.state == DONE else await _chunks(service, upload)
    got = upload.length if upload.state == DONE else sum(chunk.size for chunk in chunks)
    if offset != got:
        headers = {wire.UPLOAD_OFFSET: str(got)}
        raise Problem(409, f"the upload goes on at {got}", headers=headers)
    if offset + size > upload.length:
        raise Problem(400, f"the upload was begun for {upload.length} bytes, and these are more")
    if len(chunks) >= MOST_CHUNKS:
        raise Problem(400, f"an upload has at most {MOST_CHUNKS} chunks: send larger ones")
    return size > 0


def _done(place: Place) -> Response:
    return JSONResponse(wire.Stored(place.key).to_json(), 201)


async def cancel(service: Service, request: Request, place: Place) -> Response:
    """Give an upload up."""
    upload = await _upload(service, request, place)
    if upload.state != DONE:
        await _end(service, upload, CANCELLED)
    return Response(status_code=204)


async def _store(service: Service, request: Request, upload: Upload, offset: int) -> Upload:
    """Take the bytes of a chunk; the upload, as it is then."""
    said = {name: request.headers[name] for name in _OF_A_CHUNK if name in request.headers}
    checks = Checks(said, None, 0, with_md5=True)
    name = secrets.token_hex(16)
    data = f"{upload.prefix}data/{name}"
    content = await Incoming(service, upload.place, request, checks).content()
    await service.store.put_object_v2(content, data)
    marker = f"{upload.prefix}chunks/{offset:020}-{checks.size:020}-{checks.md5}-{name}"
    await service.store.put_object_v2(b"", marker)
    try:
        now = await _upload(service, request, upload.place)
    except Problem:
        await forget(service, data, marker)
        raise
    if now.state == DONE:
        await forget(service, data, marker)
    return now


async def _end(service: Service, upload: Upload, state: str) -> None:
    """Keep in mind what became of it, for those who ask again; a sweep forgets it one day."""
    await dataclasses.replace(upload, state=state).note(service)
    await service.store.call(remove_pieces, service.store.store, upload.prefix)


async def _chunks(service: Service, upload: Upload) -> list[Piece]:
    """What has come, from the first byte on, without a gap."""
    prefix = f"{upload.prefix}chunks/"

    def listed() -> list[Piece]:
        found: list[Piece] = []
        end = 0
        for each in service.store.store.list_objects(prefix):
            match = _MARKER.fullmatch(each.key.removeprefix(prefix))
            if match is not None and int(match[1]) == end:
                found.append(Piece(f"{upload.prefix}data/{match[4]}", int(match[2]), match[3]))
                end += int(match[2])
        return found

    return await service.store.call(listed)


async def _upload(service: Service, request: Request, place: Place) -> Upload:
    try:
        name = wire.check_session_token(request.query_params["session"])
    except ValueError as error:
        raise Problem.malformed("the session is malformed", error) from None
    found = await Upload.find(service, place, name, _KIND)
    if found.state == CANCELLED:
        raise Problem(410, "the upload was cancelled")
    return found


def _count(request: Request, name: str) -> int:
    try:
        return wire.parse_count(request.headers.get(name, ""), name)
    except ValueError as error:
        raise Problem.malformed(f"the request needs the header {name}", error) from None


async def _no_body(request: Request) -> None:
    async for block in request.stream():
        if block:
            raise Problem(400, "such a request has no body")
