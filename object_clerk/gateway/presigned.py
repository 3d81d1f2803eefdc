"""``/presigned``: URLs for readers and writers who have no token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from object_clerk.gateway import openapi
from object_clerk.gateway.bodies import json_of
from object_clerk.gateway.errors import Refusal, said_of
from object_clerk.gateway.reserved import checked
from object_clerk.rest import wire
from object_clerk.store.client import DEFAULT_PRESIGNED_S, LONGEST_PRESIGNED_S

if TYPE_CHECKING:
    from object_clerk.gateway.app import Gateway

router = APIRouter(tags=["objects"])


class Wish(BaseModel):
    """What a URL is to be good for.

    Attributes:
        key: the one object.
        method: GET, which HEAD goes with, or PUT.
        expires: seconds of its life, at most a week.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str
    method: Literal["GET", "PUT"] = "GET"
    expires: Annotated[int, Field(ge=1, le=LONGEST_PRESIGNED_S)] = DEFAULT_PRESIGNED_S


@router.post("/presigned", **openapi.PRESIGN)
async def presign(request: Request) -> dict[str, Any]:
    """Sign a URL with which anybody can read or write one object until it expires."""
    gateway: Gateway = request.app.state.gateway
    access = await gateway.gate.token(request)
    try:
        wish = Wish.model_validate_json(await json_of(request))
    except ValidationError as error:
        raise Refusal(422, said_of(error.errors())) from None
    key = checked(wire.check_rest_key(wish.key))
    access.check("read" if wish.method == "GET" else "write", key)
    until = (datetime.now(UTC) + timedelta(seconds=wish.expires)).replace(microsecond=0)
    query = await gateway.store.call(gateway.url_keys.sign, wish.method, key, until)
    base = gateway.settings.public_url or str(request.base_url)
    url = f"{base.rstrip('/')}{wire.path_of(key)}?{urlencode(query)}"
    return {"url": url, "expires_at": wire.rfc3339(until)}
