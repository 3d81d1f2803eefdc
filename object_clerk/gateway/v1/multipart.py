"""Multipart uploads: numbered parts, in any order, and as often as one likes.

The bytes of a part are below ``data/``; that they are a part is said by the key of an empty object
below ``parts/``, which has number, MD5 and size in it. So one listing tells all of an upload, and
a part that is sent again takes the other's place at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import json
import logging
import re
import secrets
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.bodies import joined
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.v1.bodies import Checks, Incoming, Streamed, read_json
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.finishing import finish
from object_clerk.gateway.v1.uploads import DONE, Piece, Upload, forget
from object_clerk.session import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from starlette.requests import Request

    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service

log = logging.getLogger(__name__)

_KIND = "multipart"

#: While an object is put together, something is sent this often.
KEEP_ALIVE_S = 5.0

#: Parts of a listing where the client does not say, and at most.
LARGEST_PAGE = 1000

_MARKER = re.compile(r"([0-9]{5})/([0-9]{20})-([0-9a-f]{32})-([0-9]{1,19})-([0-9a-f]{32})")
_NUMBER = re.compile(r"[0-9]{1,9}")

#: A list of all parts that there may be is not larger.
MOST_JSON_BYTES = 2 << 20

#: What the body of a failed completion calls it.
_CODES = {400: "BadDigest", 404: "NoSuchUpload", 409: "InvalidPart", 503: "OperationAborted"}

#: Headers of a part that are of its own bytes.
_OF_A_PART = ("content-md5", "content-digest")


@dataclasses.dataclass(frozen=True)
class _Part:
    """A part that has come.

    Attributes:
        number: its number.
        piece: its bytes.
        came: when, by the store.
        marker: the key that says all this.
    """

    number: int
    piece: Piece
    came: datetime
    marker: str

    @property
    def order(self) -> tuple[datetime, str]:
        """Of two with one number, the greater came later; the marker begins with a time of ours."""
        return self.came, self.marker

    def told(self) -> wire.Part:
        """As it is listed."""
        assert self.piece.md5 is not None
        return wire.Part(self.number, self.piece.md5, self.came, self.piece.size)


async def initiate(service: Service, request: Request, place: Place) -> Response:
    """Begin an upload."""
    made = await Upload.begin(service, request, place, _KIND)
    return JSONResponse(wire.MultipartStarted(made.place.key, made.id).to_json())


async def put_part(service: Service, request: Request, place: Place) -> Response:
    """Take a part; one with the same number is replaced."""
    number = _number(request, "part_number", 1, wire.LARGEST_PART_NUMBER)
    upload = await _upload(service, request, place)
    if "content-length" not in request.headers:
        raise Problem(400, "a part needs a Content-Length")
    said = {name: value for name, value in joined(request).items() if name in _OF_A_PART}
    checks = Checks(said, None, 0, with_md5=True)
    name = secrets.token_hex(16)
    data, begin = f"{upload.prefix}data/{name}", f"{upload.prefix}parts/{number:05}/"
    content = await Incoming(service, place, request, checks).content()
    await service.store.put_object_v2(content, data)
    stamp = int(service.clock().timestamp() * 1e6)
    marker = f"{begin}{stamp:020}-{checks.md5}-{checks.size}-{name}"
    await service.store.put_object_v2(b"", marker)
    if not await upload.is_there(service):
        await forget(service, data, marker)
        raise Problem(404, "the upload was ended meanwhile")
    there = await _parts(service, upload, begin)
    own = next((part.order for part in there if part.marker == marker), None)
    for other in there:
        if own is not None and other.order < own:  # of two that come at once, one stays
            await forget(service, other.marker, other.piece.at)
    return JSONResponse({"etag": checks.md5})


async def list_parts(service: Service, request: Request, place: Place) -> Response:
    """What has come."""
    most = _number(request, "max_parts", 1, 10**9, LARGEST_PAGE)
    behind = _number(request, "part_number_marker", 0, 10**9, 0)
    upload = await _upload(service, request, place)
    latest = _latest(await _parts(service, upload, f"{upload.prefix}parts/"))
    left = [part for number, part in sorted(latest.items()) if number > behind]
    page = left[: min(most, LARGEST_PAGE)]
    more = page[-1].number if len(page) < len(left) else None
    told = wire.PartsPage(tuple(part.told() for part in page), more)
    return JSONResponse(told.to_json())


async def abort(service: Service, request: Request, place: Place) -> Response:
    """Give an upload up."""
    upload = await _upload(service, request, place)
    await upload.remove(service)
    return Response(status_code=204)


async def complete(service: Service, request: Request, place: Place) -> Response:
    """Put the object together; whether that worked is said in the body, for it may take long."""
    upload = await _upload(service, request, place, may_be_done=True)
    try:
        wanted = wire.parse_parts(await read_json(request, MOST_JSON_BYTES))
    except ValueError as error:
        raise Problem(422, "the body does not list the parts", str(error)) from None
    if not wanted:
        raise Problem(422, "the body lists no parts")
    answer = _patiently(_completed(service, upload, wanted))
    return Streamed(answer, 200, {"content-type": "application/json"})


class _Failed(Problem):
    """The parts do not make an object."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(400, detail)
        self.code = code


async def _completed(
    service: Service, upload: Upload, wanted: Sequence[wire.Part]
) -> Mapping[str, object]:
    """What the body of the answer says."""

    async def pieces(service: Service, upload: Upload) -> list[Piece]:
        return await _chosen(service, upload, wanted)

    try:
        named = "\n".join(f"{part.part_number} {_bare(part.etag)}" for part in wanted)
        of = hashlib.sha256(named.encode()).hexdigest()
        return await finish(service, upload, pieces, of)
    except _Failed as failed:
        return wire.MultipartFailed(failed.code, failed.detail).to_json()
    except Problem as problem:
        code = _CODES.get(problem.status, "InternalError")
        return wire.MultipartFailed(code, problem.detail).to_json()
    except ObjectClerkException as error:
        return wire.MultipartFailed("InternalError", Refusal.of(error).message).to_json()
    except Exception:  # the status is long gone
        log.exception("a multipart upload could not be completed")
        return wire.MultipartFailed("InternalError", "the gateway failed").to_json()


async def _chosen(service: Service, upload: Upload, wanted: Sequence[wire.Part]) -> list[Piece]:
    """The parts that the object is made of.

    Raises:
        Problem: they are not there, or too much together.
    """
    numbers = [part.part_number for part in wanted]
    if any(second <= first for first, second in itertools.pairwise(numbers)):
        raise _Failed("InvalidPartOrder", "the parts are not in ascending order")
    there = {
        (part.number, part.piece.md5): part.piece
        for part in await _parts(service, upload, f"{upload.prefix}parts/")
    }
    pieces = []
    for part in wanted:
        piece = there.get((part.part_number, _bare(part.etag)))
        if piece is None:
            said = f"part {part.part_number} has not come, or has another etag"
            raise _Failed("InvalidPart", said)
        pieces.append(piece)
    if sum(piece.size for piece in pieces) > service.max_object_bytes:
        said = f"objects here have at most {service.max_object_bytes} bytes"
        raise _Failed("EntityTooLarge", said)
    return pieces


def _bare(etag: str) -> str:
    return etag.strip('"').lower()


async def _patiently(work: Coroutine[Any, Any, Mapping[str, object]]) -> AsyncGenerator[bytes]:
    """Blanks until there is something to say, and then that."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait((task,), timeout=KEEP_ALIVE_S))[0]:
            yield b" "
        yield json.dumps(dict(task.result())).encode()
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _upload(
    service: Service, request: Request, place: Place, *, may_be_done: bool = False
) -> Upload:
    name = request.query_params.get("upload_id")
    if not name:
        raise Problem(400, "the parameter upload_id is missing")
    found = await Upload.find(service, place, name, _KIND)
    if found.state == DONE and not may_be_done:
        raise Problem(404, "the upload is over")
    return found


def _number(request: Request, name: str, least: int, most: int, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise Problem(400, f"the parameter {name} is a number, {least} to {most}")
    return int(text)


async def _parts(service: Service, upload: Upload, prefix: str) -> list[_Part]:
    """All that has come, replaced ones too if their removal failed."""

    def listed() -> list[_Part]:
        found = []
        for each in service.store.store.list_objects(prefix):
            match = _MARKER.fullmatch(each.key.removeprefix(f"{upload.prefix}parts/"))
            if match is not None:
                number, _, md5, size, name = match.groups()
                piece = Piece(f"{upload.prefix}data/{name}", int(size), md5)
                found.append(_Part(int(number), piece, each.updated_time, each.key))
        return found

    return await service.store.call(listed)


def _latest(parts: Sequence[_Part]) -> dict[int, _Part]:
    """For each number the part that came last."""
    return {part.number: part for part in sorted(parts, key=lambda part: part.order)}
