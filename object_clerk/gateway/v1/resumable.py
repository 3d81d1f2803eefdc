"""Resumable uploads: chunks one after the other, and a server that knows how far it got.

A chunk is stored whole or not at all, below ``chunks/`` under its offset. How far the upload got
is what these say, and nothing else.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from object_clerk.exceptions import DestinationExists, ObjectClerkException
from object_clerk.gateway.v1.bodies import Checks, Incoming
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.uploads import CANCELLED, DONE, Piece, Upload
from object_clerk.session import wire
from object_clerk.store.models import Capability

if TYPE_CHECKING:
    from starlette.requests import Request

    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service

log = logging.getLogger(__name__)

_KIND = "resumable"

#: So many chunks make an object, at most.
MOST_CHUNKS = 10_000

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
    assert upload.length is not None
    if upload.state == DONE:
        if offset not in (None, upload.length):
            raise _elsewhere(upload.length)
        return JSONResponse({"key": place.key}, 201)
    chunks = await _chunks(service, upload)
    got = sum(chunk.size for chunk in chunks)
    if offset is None:
        await _no_body(request)
    elif offset != got:
        raise _elsewhere(got)
    elif offset + size > upload.length:
        raise Problem(400, f"the upload was begun for {upload.length} bytes, and these are more")
    elif len(chunks) >= MOST_CHUNKS:
        raise Problem(400, f"an upload has at most {MOST_CHUNKS} chunks: send larger ones")
    elif size:
        chunks.append(await _store(service, request, upload, offset))
        got = offset + size
    if got < upload.length:
        return Response(status_code=204, headers={wire.UPLOAD_OFFSET: str(got)})
    told = await upload.assemble(service, chunks)
    await _end(service, upload, chunks, DONE)
    return JSONResponse(told, 201)


async def cancel(service: Service, request: Request, place: Place) -> Response:
    """Give an upload up."""
    upload = await _upload(service, request, place)
    if upload.state != DONE:
        await _end(service, upload, await _chunks(service, upload), CANCELLED)
    return Response(status_code=204)


async def _store(service: Service, request: Request, upload: Upload, offset: int) -> Piece:
    said = {name: request.headers[name] for name in _OF_A_CHUNK if name in request.headers}
    checks = Checks(said, None, 0)
    at = f"{upload.prefix}chunks/{offset:020}"
    content = await Incoming(service, upload.place, request, checks).content()
    is_alone = Capability.CONDITIONS in service.store.store.client.capabilities
    try:
        await service.store.put_object_v2(content, at, if_absent=is_alone)
    except DestinationExists:  # somebody else sends the same upload
        got = sum(chunk.size for chunk in await _chunks(service, upload))
        raise _elsewhere(got) from None
    if not await upload.is_there(service):
        await service.store.delete_object(at)
        raise Problem(410, "the upload was ended meanwhile")
    return Piece(at, checks.size)


async def _end(service: Service, upload: Upload, chunks: list[Piece], state: str) -> None:
    """Keep in mind what became of it, for those who ask again; a sweep forgets it one day."""
    await dataclasses.replace(upload, state=state).note(service)
    for chunk in chunks:
        try:
            await service.store.delete_object(chunk.at)
        except ObjectClerkException as error:
            log.warning("a chunk of an upload that ended was not deleted: %s", error)


async def _chunks(service: Service, upload: Upload) -> list[Piece]:
    """What has come, from the first byte on, without a gap."""
    prefix = f"{upload.prefix}chunks/"

    def listed() -> list[Piece]:
        found: list[Piece] = []
        end = 0
        for each in service.store.store.list_objects(prefix):
            if each.key == f"{prefix}{end:020}":
                found.append(Piece(each.key, each.size))
                end += each.size
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


def _elsewhere(offset: int) -> Problem:
    headers = {wire.UPLOAD_OFFSET: str(offset)}
    return Problem(409, f"the upload goes on at {offset}", headers=headers)


def _count(request: Request, name: str) -> int:
    try:
        return wire.parse_count(request.headers.get(name, ""), name)
    except ValueError as error:
        raise Problem.malformed(f"the request needs the header {name}", error) from None


async def _no_body(request: Request) -> None:
    async for block in request.stream():
        if block:
            raise Problem(400, "such a request has no body")
