"""What the requests of one process share."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from object_clerk.gateway.errors import Refusal
from object_clerk.gateway.patience import ask
from object_clerk.gateway.v1.access import Doors
from object_clerk.gateway.v1.config import SessionsConfig
from object_clerk.gateway.v1.deadlines import Deadlines
from object_clerk.gateway.v1.errors import Problem
from object_clerk.gateway.v1.limits import Limits
from object_clerk.session.durations import format_duration
from object_clerk.session.metadata import TimeToLive, metadata_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from object_clerk.gateway.v1.places import Place
    from object_clerk.session.auth import Permission
    from object_clerk.session.metadata import Metadata
    from object_clerk.store.aio import AsyncObjectStore

log = logging.getLogger(__name__)

T = TypeVar("T")


def now_utc() -> datetime:
    """What time it is."""
    return datetime.now(UTC)


@dataclasses.dataclass(frozen=True)
class Service:
    """All of it; no state that a second process would have to know.

    Attributes:
        store: where objects are.
        config: what was configured.
        clock: what time it is.
        max_object_bytes: the largest object that may be put together.
        doors: who may do what.
        limits: how much of it.
        deadlines: when objects die.
        finishing: the uploads that this process puts together just now.
    """

    store: AsyncObjectStore
    config: SessionsConfig
    clock: Callable[[], datetime]
    max_object_bytes: int
    doors: Doors
    limits: Limits
    deadlines: Deadlines
    finishing: dict[tuple[str, str], asyncio.Task[Mapping[str, Any]]] = dataclasses.field(
        default_factory=dict
    )

    @classmethod
    def of(
        cls,
        store: AsyncObjectStore,
        max_object_bytes: int,
        config: SessionsConfig | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> Service:
        """Make all of it.

        Raises:
            ObjectClerkConfigurationException: a setting is wrong, or a key cannot be read.
        """
        config = SessionsConfig.load() if config is None else config
        clock = now_utc if clock is None else clock
        doors = Doors(config.auth, clock)
        deadlines = Deadlines(store.store, clock)
        return cls(store, config, clock, max_object_bytes, doors, Limits(config), deadlines)

    def admit(self, request: Request, place: Place, permission: Permission | None) -> None:
        """Let a request in, and count it; who has no business here uses up nobody's share.

        Args:
            request: what is asked.
            place: for which object.
            permission: what that takes; None where each part of the request asks for its own.

        Raises:
            Problem: 403, such requests are switched off; 400, 401 or 403, the token does not allow
                it; 429, there are too many.
        """
        self.limits.check_switches(
            place.usecase, place.scopes, request.headers.get("x-downstream-service")
        )
        self.doors.check(request, place, permission)
        self.limits.count(place.usecase, place.scopes, str(place.scope))

    async def ask(self, call: Callable[..., T], *args: Any) -> T:
        """What the store answers, if it does so in time.

        Raises:
            Problem: 504, it does not.
        """
        try:
            return await ask(self.store, call, *args)
        except Refusal as refusal:
            raise Problem.of(refusal) from None

    def passed(self, place: Place, count: int) -> None:
        """Count bytes of payload."""
        self.limits.passed(place.usecase, str(place.scope), count)

    def said(self, place: Place, headers: Mapping[str, str]) -> Metadata:
        """What a writer says of an object.

        Raises:
            Problem: 400, it is malformed, or the usecase does not allow it.
        """
        try:
            said = metadata_of(headers)
        except (ValueError, TypeError) as error:
            raise Problem.malformed("the headers are no metadata", error) from None
        if said.compression not in (None, "zstd"):
            raise Problem(400, "the content encoding is not zstd, and no other is known")
        self._check_expiration(place.usecase, said)
        return said

    def _check_expiration(self, usecase: str, said: Metadata) -> None:
        policy = self.config.usecases.get(usecase)
        if policy is None:
            return
        wanted, allowed = said.expiration_policy, policy.expiration
        if wanted is None:
            if not allowed.manual.allowed:
                raise Problem(400, "the usecase does not allow objects that never expire")
            return
        is_ttl = isinstance(wanted, TimeToLive)
        name, rule = ("ttl", allowed.ttl) if is_ttl else ("tti", allowed.tti)
        if not rule.allowed:
            raise Problem(400, f"the usecase does not allow the expiration {name}")
        if rule.max is not None and wanted.delta > rule.max:
            most = format_duration(rule.max)
            raise Problem(400, f"the usecase allows a {name} of {most} at most")
