"""Objects: write, read, look at, delete, and let live longer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException
from object_clerk.gateway.bodies import Outgoing, joined
from object_clerk.gateway.v1.bodies import Checks, Incoming, payload
from object_clerk.gateway.v1.deadlines import Deadline, LostRace
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.places import DIGESTS
from object_clerk.gateway.v1.stored import Stored
from object_clerk.session import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from starlette.requests import Request

    from object_clerk.gateway.v1.deadlines import Deadlines
    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service
    from object_clerk.session.metadata import Metadata

log = logging.getLogger(__name__)

#: So long a reader waits until it is written down that the object was read.
TOUCH_S = 1.0

#: What is being written down, also for readers who do not wait any more.
_touches: set[asyncio.Future[None]] = set()

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")


def new_key() -> str:
    """A key that nobody has."""
    return str(uuid.uuid4())


async def post(service: Service, request: Request, place: Place) -> Response:
    """Store an object under a new key."""
    place = dataclasses.replace(place, key=new_key())
    return JSONResponse(await _put(service, request, place), 201)


async def put(service: Service, request: Request, place: Place) -> Response:
    """Store an object, whole and verified or not at all; one that is there is replaced."""
    return JSONResponse(await _put(service, request, place))


async def _put(service: Service, request: Request, place: Place) -> dict[str, Any]:
    said = service.said(place, request.headers)
    checks = Checks(joined(request), said.compression, service.max_object_bytes)
    content = await Incoming(service, place, request, checks).content()
    return await write(service, place, said, checks, content)


async def write(
    service: Service,
    place: Place,
    said: Metadata,
    checks: Checks,
    content: bytes | AsyncIterator[bytes],
    generation: str | None = None,
    **conditions: Any,
) -> dict[str, Any]:
    """Store what has come, and say what it was.

    Args:
        service: where to.
        place: which object.
        said: what its writer said of it.
        checks: what has looked at the bytes, or does so as they come.
        content: the bytes.
        generation: the name of this write, if it has one already.
        **conditions: of the store.

    Raises:
        Problem: 400, the bytes or the metadata will not do.
    """
    sha256 = checks.sha256 if isinstance(content, bytes) else checks.said_sha256
    stored = Stored.new(said, service.clock(), sha256, checks.content_sha256, generation)
    options = {"content_type": said.content_type, "metadata": stored.packed(), **conditions}
    await service.store.put_object_v2(content, place.at, **options)
    if stored.has_digest_beside:
        await service.store.call(_keep_digest, service, place, stored, checks.sha256)
    await begin_time(service, place, stored)
    return told(place, checks.sha256, checks.size)


def told(place: Place, sha256: str | None, size: int) -> dict[str, Any]:
    """What a writer is told of an object."""
    digest = {} if sha256 is None else {"sha256": sha256}
    return {"key": place.key, **digest, "size": size}


async def begin_time(service: Service, place: Place, stored: Stored) -> None:
    """Let the time of an object begin when it is there; a long upload would use it up."""
    first = Deadline(stored.metadata.time_expires)
    later = service.deadlines.later(stored, first)
    if later is not None:
        with contextlib.suppress(LostRace):  # it was extended already
            await service.store.call(service.deadlines.move, place, stored, first, later)


async def get(service: Service, request: Request, place: Place) -> Response:
    """Read an object, or some of its bytes, as they are stored."""
    wanted = _range(request)
    out, headers = await opened(service, place, wanted)
    try:
        status, size = 200, out.info.size
        headers["accept-ranges"] = "bytes"
        if wanted is not None:
            if (found := wanted.within(size)) is None:
                there = {"content-range": f"bytes */{size}"}
                raise Problem(416, f"the object has {size} bytes, none of these", headers=there)
            headers["content-range"] = wire.content_range(found, size)
            status, size = 206, len(found)
        return payload(service, place, out, status, headers, size)
    except BaseException:
        await out.give_up(service.store)
        raise


async def opened(
    service: Service, place: Place, wanted: wire.ByteRange | None = None
) -> tuple[Outgoing, dict[str, str]]:
    """Open an object that lives, or some of its bytes; and let it live longer, if it is one so.

    Returns:
        its bytes, and the headers that tell of it.

    Raises:
        Problem: 404, there is none.
    """
    begin, end = _ends(wanted)
    try:
        out = await service.ask(Outgoing.of, service.store.store, place.at, begin, end)
    except ObjectNotFoundException as error:
        raise _absent(error) from None
    try:
        stored = Stored.of(out.info)
        found = await _alive(service, place, stored)
        return out, await _told(service, place, stored, found.moment, out.info.size)
    except BaseException:
        await out.give_up(service.store)
        raise


def _range(request: Request) -> wire.ByteRange | None:
    headers = request.headers
    if "range" not in headers or "if-range" in headers:
        return None  # nothing here has a tag that If-Range could name
    try:
        return wire.parse_range(headers["range"])
    except ValueError as error:
        raise Problem.malformed("the range cannot be read", error) from None


def _ends(wanted: wire.ByteRange | None) -> tuple[int, int | None]:
    """The ends of a slice that has these bytes."""
    if wanted is None:
        return 0, None
    if wanted.first is None:
        return (-wanted.last, None) if wanted.last else (0, 0)
    return wanted.first, None if wanted.last is None else wanted.last + 1


async def head(service: Service, request: Request, place: Place) -> Response:
    """What is known of an object."""
    headers = await look(service, place)
    return Response(status_code=204, headers={**headers, "accept-ranges": "bytes"})


async def look(service: Service, place: Place) -> dict[str, str]:
    """The headers that tell of an object; it counts as a read.

    Raises:
        Problem: 404, there is none.
    """
    stored, size = await known(service, place)
    found = await _alive(service, place, stored)
    return await _told(service, place, stored, found.moment, size)


async def known(service: Service, place: Place) -> tuple[Stored, int]:
    """What is known of an object, dead or alive, and its stored bytes.

    Raises:
        Problem: 404, there is none.
    """
    try:
        info = await service.ask(service.store.store.head_object, place.at)
    except ObjectNotFoundException as error:
        raise _absent(error) from None
    return Stored.of(info), info.size


async def delete(service: Service, request: Request, place: Place) -> Response:
    """Delete an object; that there is none is no error."""
    await remove(service, place)
    return Response(status_code=204)


async def remove(service: Service, place: Place) -> None:
    """Delete an object, and what lies beside it."""
    try:
        stored, _ = await known(service, place)
    except Problem as problem:
        if problem.status == HTTPStatus.NOT_FOUND:
            return  # there is none, or it is nothing that was written here
        raise
    # As long as it takes: a client that was told to try again may have written the key before an
    # attempt comes through that nobody waits for any more.
    await service.store.delete_object(place.at)
    await service.ask(forget_beside, service.deadlines, place.root, stored)


async def _alive(service: Service, place: Place, stored: Stored) -> Deadline:
    """The deadline of an object as it was, moved on if it is read now."""
    if stored.metadata.time_expires is None:
        return Deadline(None)
    found = await service.ask(service.deadlines.of, place.root, stored)
    if found.has_passed(service.clock()):
        raise Problem.missing()
    touch = asyncio.ensure_future(service.store.call(service.deadlines.touch, place, stored, found))
    _touches.add(touch)
    touch.add_done_callback(_touches.discard)
    await asyncio.wait((touch,), timeout=TOUCH_S)  # a store that is slow to write delays no reader
    return found


async def sha256_of(service: Service, place: Place, stored: Stored) -> str | None:
    """The SHA-256 of the stored bytes, if it is kept anywhere."""
    if stored.has_digest_beside:
        return await service.ask(_digest, service, place.root, stored.generation)
    return stored.sha256


async def _told(
    service: Service, place: Place, stored: Stored, expires: datetime | None, size: int
) -> dict[str, str]:
    headers = stored.headers(expires, size)
    sha256 = await sha256_of(service, place, stored)
    if sha256 is not None:
        headers[wire.REPR_DIGEST] = wire.repr_digest(bytes.fromhex(sha256))
    if stored.content_sha256 is not None:
        headers[wire.CONTENT_SHA256] = stored.content_sha256
    return headers


def _absent(error: ObjectNotFoundException) -> Exception:
    """404 for an object that is not there; a bucket that is not there is another matter."""
    return Problem.missing() if type(error) is ObjectNotFoundException else error


# -- what lies beside an object ----------------------------------------------------------------


def forget_beside(deadlines: Deadlines, root: str, stored: Stored) -> None:
    """Delete what lay beside an object that is gone. Called in a thread.

    Should that fail, it is of no meaning to any other object, and a sweep finds it.
    """
    try:
        deadlines.forget(root, stored)
        if stored.has_digest_beside:
            deadlines.store.delete_object(_digest_at(root, stored.generation))
    except ObjectClerkException as error:
        log.warning("what lay beside a deleted object was not deleted: %s", error)


def _keep_digest(service: Service, place: Place, stored: Stored, sha256: str) -> None:
    """Write the digest that was not known before the bytes had come, unless the store has it."""
    store = service.store.store
    try:
        if "sha256" not in store.head_object(place.at).digests:
            record = {"key": place.key, "sha256": sha256}
            at = _digest_at(place.root, stored.generation)
            store.put_object_v2(json.dumps(record).encode(), at)
    except ObjectClerkException as error:
        # The object is stored; who reads it only has less to compare it with.
        log.warning("the digest of a large object was not kept: %s", error)


def _digest(service: Service, root: str, generation: str) -> str | None:
    """What was written beside the object, if it can be read."""
    try:
        with service.store.store.get_object(_digest_at(root, generation)) as found:
            match json.loads(found.body.read()):
                case {"sha256": str() as sha256} if _HEX_SHA256.fullmatch(sha256):
                    return sha256
    except (ObjectNotFoundException, ValueError):
        pass
    except ObjectClerkException as error:  # the object itself may be read all the same
        log.warning("the digest of a large object cannot be read: %s", error)
    return None


def _digest_at(root: str, generation: str) -> str:
    return f"{root}/{DIGESTS}/{generation}"
