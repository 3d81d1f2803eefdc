"""``/objects``: write, read, delete and list objects."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.convertors import Convertor, register_url_convertor

from object_clerk.gateway import openapi
from object_clerk.gateway.access import Access  # noqa: TC001 - FastAPI reads annotations
from object_clerk.gateway.bodies import SMALL_BYTES, Incoming, Outgoing, joined
from object_clerk.gateway.conditions import (
    Span,
    for_writing,
    http_date,
    is_unchanged,
    keeps_range,
)
from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.reserved import checked, keys_of_others
from object_clerk.rest import wire
from object_clerk.store.models import Capability

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import Receive, Scope, Send

    from object_clerk.gateway.app import Gateway
    from object_clerk.store.models import ObjectInfo

router = APIRouter(tags=["objects"])


class _AnyKey(Convertor[str]):
    """All that is left of a path: the usual one leaves keys out that have a line break."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("key", _AnyKey())
_OBJECT = f"{wire.OBJECTS}/{{key:key}}"

_BEFORE_KEY = f"{wire.OBJECTS}/".encode()

#: Where the SHA-256 of an object is kept, on stores that keep none themselves.
_SHA256 = "object-clerk-sha256"

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")

#: A type for what nobody has told the type of.
_UNTYPED = "application/octet-stream"


@router.put(_OBJECT, **openapi.PUT)
async def put_object(request: Request) -> Response:
    """Store an object, whole and verified or not at all; one that is there is replaced."""
    gateway = _gateway(request)
    key = await gateway.gate.object(request, "write", _key)
    body = Incoming(request)
    options: dict[str, Any] = for_writing(joined(request))
    content = await body.content()
    if Capability.METADATA in gateway.capabilities:
        options["content_type"] = request.headers.get("content-type") or _UNTYPED
        if body.sha256 is not None:
            options["metadata"] = {_SHA256: body.sha256}
    length = -1 if body.length is None else body.length
    receipt = await gateway.store.put_object_v2(content, key, length=length, **options)
    answer = {
        "key": key,
        "size": receipt.size,
        "created_at": wire.rfc3339(datetime.now(UTC)),
        "etag": receipt.etag,
        "sha256": body.sha256,
        "verdict": receipt.verdict.name,
    }
    return JSONResponse(answer, headers=_tag(receipt.etag))


@router.head(_OBJECT, **openapi.HEAD)
async def head_object(request: Request) -> Response:
    """What is known of an object: what GET would answer, without its bytes."""
    gateway = _gateway(request)
    key = await gateway.gate.object(request, "read", _key)
    info = await gateway.ask(gateway.store.store.head_object, key)
    headers = _described(info)
    if is_unchanged(joined(request), info):
        return Response(status_code=304, headers=headers)
    return Response(headers={**headers, "content-length": str(info.size)})


@router.get(_OBJECT, **openapi.GET)
async def get_object(request: Request) -> Response:
    """Read an object, or some of its bytes; all of them are verified while they are sent."""
    gateway = _gateway(request)
    key = await gateway.gate.object(request, "read", _key)
    span = Span.of(request.headers.get("range"))
    out = await gateway.ask(Outgoing.of, gateway.store.store, key, span.begin, span.end)
    if not span.is_whole and not keeps_range(request.headers, out.info):
        await out.give_up(gateway.store)
        span = Span()
        out = await gateway.ask(Outgoing.of, gateway.store.store, key, span.begin, span.end)
    try:
        return _answer(request, gateway, out, span)
    except BaseException:
        await out.give_up(gateway.store)
        raise


@router.delete(_OBJECT, **openapi.DELETE)
async def delete_object(request: Request) -> Response:
    """Delete an object."""
    gateway = _gateway(request)
    key = await gateway.gate.object(request, "delete", _key)
    if {"if-match", "if-none-match", "if-unmodified-since"} & set(request.headers):
        raise Refusal(501, "deletes cannot depend on a condition")
    await gateway.ask(gateway.store.store.head_object, key)  # a missing one is 404, on every store
    # As long as it takes: a client that was told to try again may have written the key before an
    # attempt comes through that nobody waits for any more.
    await gateway.store.delete_object(key)
    return Response(status_code=204)


async def _access(request: Request) -> Access:
    """Before parameters are looked at."""
    return await _gateway(request).gate.token(request)


@router.get(wire.OBJECTS, **openapi.LIST)
async def list_objects(
    request: Request,
    access: Annotated[Access, Depends(_access)],
    prefix: Annotated[str, Query(max_length=1024)] = "",
    limit: Annotated[int, Query(ge=1, le=wire.LARGEST_PAGE)] = wire.DEFAULT_PAGE,
    cursor: Annotated[str | None, Query(max_length=8192)] = None,
) -> Response:
    """A page of the keys, in order; the cursor holds whatever is written or deleted meanwhile."""
    gateway = _gateway(request)
    access.check("read")
    _check_query(request)
    begin = None if cursor is None else wire.last_key_of(cursor)
    if "\0" in prefix:
        raise Refusal(400, "the prefix contains a NUL")
    prefix = access.listing(prefix)

    def page() -> list[str]:
        return list(keys_of_others(gateway.store.store, prefix, begin, limit + 1))

    keys = await gateway.ask(page)
    more = wire.cursor_of(keys[limit - 1]) if len(keys) > limit else None
    return JSONResponse(wire.Page(tuple(keys[:limit]), more).to_json())


class _ObjectResponse(StreamingResponse):
    """A body that is closed whatever becomes of the connection."""

    def __init__(self, blocks: AsyncGenerator[bytes], status: int, headers: dict[str, str]) -> None:
        super().__init__(blocks, status, headers)
        self._blocks = blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._blocks.aclose()


def _answer(request: Request, gateway: Gateway, out: Outgoing, span: Span) -> Response:
    info = out.info
    headers = _described(info)
    if is_unchanged(joined(request), info):
        out.close()
        return Response(status_code=304, headers=headers)
    status, size = 200, info.size
    if not span.is_whole:
        found = span.within(info.size)
        status, size = 206, len(found)
        headers["content-range"] = f"bytes {found.start}-{found.stop - 1}/{info.size}"
    headers["content-length"] = str(size)
    if size < SMALL_BYTES:
        return Response(out.begun, status, headers)
    return _ObjectResponse(out.blocks(gateway.store), status, headers)


def _described(info: ObjectInfo) -> dict[str, str]:
    """The headers that tell of an object. Its type is the writer's, never the reader's wish."""
    headers = {
        "content-type": info.content_type or _UNTYPED,
        "last-modified": http_date(info.updated_time),
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        **_tag(info.etag),
    }
    if info.content_encoding:
        headers["content-encoding"] = info.content_encoding
    sha256 = info.digests.get("sha256") or (info.metadata or {}).get(_SHA256, "")
    if _HEX_SHA256.fullmatch(sha256):  # anybody may write metadata
        headers[wire.REPR_DIGEST] = wire.repr_digest(bytes.fromhex(sha256))
    return headers


def _tag(etag: str | None) -> Mapping[str, str]:
    return {} if etag is None else {"etag": f'"{etag}"'}


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _key(request: Request) -> str:
    """The key, decoded once, from what was on the wire: frameworks replace what is no UTF-8."""
    scope = request.scope
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    raw = raw.removeprefix(scope.get("root_path", "").encode())
    if not raw.startswith(_BEFORE_KEY):
        raise Refusal(
            404, "Not Found"
        )  # %6fbjects, which others on the way take for something else
    return checked(wire.key_of(raw.removeprefix(_BEFORE_KEY)))


def _check_query(request: Request) -> None:
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise Refusal(400, "the query is not UTF-8") from None
