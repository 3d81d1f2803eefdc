"""PATCH: an object lives longer than it was meant to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from object_clerk.gateway.v1 import objects
from object_clerk.gateway.v1.bodies import read_json
from object_clerk.gateway.v1.deadlines import LostRace
from object_clerk.gateway.v1.errors import Problem
from object_clerk.session.metadata import TimeToLive
from object_clerk.session.wire import Extension

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request

    from object_clerk.gateway.v1.places import Place
    from object_clerk.gateway.v1.service import Service
    from object_clerk.gateway.v1.stored import Stored

#: How often a deadline that others move at the same time is tried.
_TRIES = 3


async def patch(service: Service, request: Request, place: Place) -> Response:
    """Move the deadline of an object; never to an earlier time."""
    try:
        wanted = Extension.from_json(await read_json(request))
    except ValueError as error:
        raise Problem.malformed("the body extends no expiry", error) from None
    for _ in range(_TRIES):
        stored, _size = await objects.known(service, place)
        try:
            await service.ask(_extend, service, place, stored, wanted)
            return Response(status_code=204)
        except LostRace:
            continue
    raise Problem(409, "somebody else extends the expiry at the same time")


def _extend(service: Service, place: Place, stored: Stored, wanted: Extension) -> None:
    now = service.clock()
    found = service.deadlines.of(place.root, stored)
    if found.moment is None:
        raise Problem(409, "the object never expires")
    if found.has_passed(now):
        raise Problem.missing()
    moment = _moment(wanted, stored, now)
    policy = service.config.usecases.get(place.usecase)
    if policy is not None:
        is_ttl = isinstance(stored.metadata.expiration_policy, TimeToLive)
        most = (policy.expiration.ttl if is_ttl else policy.expiration.tti).max
        if most is not None and moment - now > most:
            raise Problem(400, "the usecase does not allow the object to live so long")
    if moment > found.moment:
        service.deadlines.move(place, stored, found, moment)


def _moment(wanted: Extension, stored: Stored, now: datetime) -> datetime:
    """Until when the object is to live."""
    if wanted.at is not None:
        return wanted.at
    begin = stored.metadata.time_created if wanted.origin == "creation" else now
    assert begin is not None
    assert wanted.after is not None
    try:
        return begin + wanted.after
    except OverflowError:
        raise Problem(400, "the expiry is too far away") from None
