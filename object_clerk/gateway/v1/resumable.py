"""Resumable uploads: chunks one after the other, and a server that knows how far it got.

The bytes of a chunk are below ``data/``, whole or not at all; that they are a chunk is said by the
key of an empty object below ``chunks/``, which has offset, size and MD5 in it. How far the upload
got is what these say, and nothing else. Should two send the same upload at once, there may be two
chunks of one offset. If their bytes are the same, either will do. If not, neither counts, and who
has written one looks for others and takes it back if there are any: so at most one stays. If
several have stayed all the same, since somebody died, whoever comes next removes them after a
while, and all behind them, and the upload goes on from there.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.bodies import joined
from object_clerk.gateway.v1.bodies import Checks, Incoming
from object_clerk.gateway.v1.claims import LEASE, Busy
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.finishing import finish
from object_clerk.gateway.v1.uploads import CANCELLED, DONE, OPEN, Piece, Upload, forget
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
    if upload.state != DONE:
        got = sum(chunk.size for chunk in await _chunks(service, upload))
        if got != upload.length:
            return Response(status_code=204, headers={wire.UPLOAD_OFFSET: str(got)})
    return JSONResponse(dict(await finish(service, upload, _all_chunks)), 201)


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


async def cancel(service: Service, request: Request, place: Place) -> Response:
    """Give an upload up."""
    upload = await _upload(service, request, place)
    if upload.state == OPEN:
        await upload.end(service, CANCELLED)
    return Response(status_code=204)


async def _store(service: Service, request: Request, upload: Upload, offset: int) -> Upload:
    """Take the bytes of a chunk; the upload, as it is then."""
    said = {name: value for name, value in joined(request).items() if name in _OF_A_CHUNK}
    checks = Checks(said, None, 0, with_md5=True)
    name = secrets.token_hex(16)
    data = f"{upload.prefix}data/{name}"
    content = await Incoming(service, upload.place, request, checks).content()
    await service.store.put_object_v2(content, data)
    marker = f"{upload.prefix}chunks/{offset:020}-{checks.size:020}-{checks.md5}-{name}"
    await service.store.put_object_v2(b"", marker)
    try:
        now = await _upload(service, request, upload.place)
        unlike = await _unlike(service, upload, offset, marker) if now.state == OPEN else None
        if unlike is not None:
            await forget(service, *unlike)
            got = {wire.UPLOAD_OFFSET: str(offset)}
            raise Problem(409, "somebody else sends other bytes at the same time", headers=got)
    except (Problem, ObjectClerkException):
        await forget(service, marker, data)
        raise
    if now.state == DONE:
        await forget(service, marker, data)
    return now


async def _unlike(service: Service, upload: Upload, offset: int, marker: str) -> list[str] | None:
    """What to remove, if there are other bytes at an offset than those of a marker; else None."""
    prefix = f"{upload.prefix}chunks/"

    def looked() -> list[str] | None:
        # Those of this offset, and all behind.
        there = [*service.store.store.list_objects(prefix, start_after=f"{prefix}{offset:020}")]
        own = next((each for each in there if each.key == marker), None)
        here = [each for each in there if each.key.startswith(f"{prefix}{offset:020}-")]
        if own is None or len({_said(each.key) for each in here}) == 1:
            return None
        others = {_said(each.key) for each in here if each.key != marker}
        is_old = all(own.updated_time - e.updated_time > LEASE for e in here if e is not own)
        in_doubt = is_old and len(others) > 1
        return [each.key for each in there if each is not own] if in_doubt else []

    return await service.ask(looked)


def _said(marker: str) -> str:
    """What a marker says of its bytes: size and MD5."""
    return marker.rpartition("-")[0]


async def _all_chunks(service: Service, upload: Upload) -> list[Piece]:
    """All of the object.

    Raises:
        Busy: the upload is ended at this moment, and pieces are gone already.
    """
    chunks = await _chunks(service, upload)
    if sum(chunk.size for chunk in chunks) != upload.length:
        raise Busy
    return chunks


async def _chunks(service: Service, upload: Upload) -> list[Piece]:
    """What has come, from the first byte on, without a gap."""
    prefix = f"{upload.prefix}chunks/"

    def listed() -> list[Piece]:
        there: dict[int, dict[tuple[int, str], str]] = {}
        for each in service.store.store.list_objects(prefix):
            if match := _MARKER.fullmatch(each.key.removeprefix(prefix)):
                said = (int(match[2]), match[3])
                there.setdefault(int(match[1]), {})[said] = match[4]
        found: list[Piece] = []
        end = 0
        while len(alike := there.get(end, {})) == 1:
            ((size, md5), name) = alike.popitem()
            found.append(Piece(f"{upload.prefix}data/{name}", size, md5))
            end += size
        return found

    return await service.ask(listed)


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
