"""Who asks, and what they may do."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException
from object_clerk.gateway.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from object_clerk.gateway.limits import RateLimiter
    from object_clerk.gateway.tokens import TokenFile, TokenRecord
    from object_clerk.gateway.url_keys import UrlKeys


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What a request may do.

    Attributes:
        scopes: read, write, delete.
        prefix: all keys that it may name begin with it.
    """

    scopes: frozenset[str]
    prefix: str = ""

    def check(self, scope: str, key: str | None = None) -> None:
        """Raise Refusal (403) unless it may do this to this object."""
        if scope not in self.scopes:
            raise Refusal(403, f"the token lacks the scope: {scope}")
        if key is not None and not key.startswith(self.prefix):
            raise Refusal(403, "the token is not for keys that begin so")

    def listing(self, prefix: str) -> str:
        """The prefix to list, where this one was asked for.

        Raises:
            Refusal: 403, no such key may be seen.
        """
        if self.prefix.startswith(prefix):
            return self.prefix
        self.check("read", prefix)
        return prefix


class Gate:
    """Lets requests in by a token, or by the signature of a presigned URL.

    Args:
        tokens: those that there are.
        url_keys: what URLs are signed with.
        limiter: how many requests each may make.
    """

    def __init__(self, tokens: TokenFile, url_keys: UrlKeys, limiter: RateLimiter) -> None:
        self._tokens = tokens
        self._url_keys = url_keys
        self._limiter = limiter

    async def token(self, request: Request) -> Access:
        """Let a request in by its token, before anything else of it is looked at.

        Raises:
            Refusal: 401 without a good token, 429 if it asks for too much.
        """
        try:
            check_framing(request)
            record = self._record(request)
        except Refusal:
            await self._limiter.address(address_of(request))
            raise
        request.state.token = record.name
        await self._limiter.token(record.name)
        return Access(frozenset(record.scopes), record.prefix)

    async def object(self, request: Request, scope: str, key_of: Callable[[Request], str]) -> str:
        """Let a request for one object in, by its token or by the signature in its URL.

        Args:
            request: what is asked.
            scope: what it takes.
            key_of: finds the key in it, or raises.

        Returns:
            the key.

        Raises:
            Refusal: as for :meth:`token`, and 403 if it does not allow this.
        """
        query = request.query_params
        if "signature" not in query or "authorization" in request.headers:
            access = await self.token(request)
            key = key_of(request)
            access.check(scope, key)
            return key
        try:
            check_framing(request)
            key = key_of(request)
            self._url_keys.check(request.method, key, query)
        except (Refusal, ObjectClerkException):
            await self._limiter.address(address_of(request))
            raise
        await self._limiter.token(f"presigned {address_of(request)}")
        return key

    def _record(self, request: Request) -> TokenRecord:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Refusal.unauthenticated("Not authenticated: send Authorization: Bearer <token>")
        record = self._tokens.find(text.strip())
        if record is None:
            raise Refusal.unauthenticated("Invalid or missing token")
        if record.has_expired(datetime.now(UTC)):
            raise Refusal.unauthenticated("Token expired")
        return record


def check_framing(request: Request) -> None:
    """Refuse what two readers may understand in two ways (RFC 9112, 6.3).

    Raises:
        Refusal: 400.
    """
    headers = request.headers
    if "transfer-encoding" in headers and "content-length" in headers:
        said = "Content-Length and Transfer-Encoding exclude each other"
        raise Refusal(400, said, {"connection": "close"})
    if len(headers.getlist("authorization")) > 1:
        raise Refusal(400, "there is more than one Authorization")


def address_of(request: Request) -> str:
    """The address of the client, or of the proxy in front."""
    return request.client.host if request.client else "unknown"
