"""Who may do what: tokens and presigned URLs, checked with the public keys that were configured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkConfigurationException, ObjectClerkException
from object_clerk.gateway.v1.errors import Problem
from object_clerk.session import auth, wire
from object_clerk.session.auth import AuthError, Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from starlette.requests import Request

    from object_clerk.gateway.v1.config import Auth
    from object_clerk.gateway.v1.places import Place

log = logging.getLogger(__name__)

#: A token is looked for in these headers; the first that is there counts.
_HEADERS = (wire.TOKEN, "authorization")


class Doors:
    """Lets requests in, or not.

    Args:
        config: whether that is enforced, and the keys. Their files are read now.
        clock: what time it is.

    Raises:
        ObjectClerkConfigurationException: a file cannot be read, or is no public key.
    """

    def __init__(self, config: Auth, clock: Callable[[], datetime]) -> None:
        self._enforce = config.enforce
        self._clock = clock
        self._keys: dict[str, Sequence[Ed25519PublicKey]] = {}
        self._at_most: dict[str, frozenset[Permission]] = {}
        for kid, each in config.keys.items():
            self._at_most[kid] = frozenset(map(Permission, each.max_permissions))
            found = []
            for path in each.key_files:
                try:
                    found.append(auth.public_key(path.expanduser().read_bytes()))
                except (OSError, RuntimeError, ObjectClerkException) as error:
                    said = getattr(error, "strerror", None) or error
                    raise ObjectClerkConfigurationException(
                        f"auth.keys.{kid}: {path} cannot be used: {said}"
                    ) from error
            self._keys[kid] = found
        if not self._enforce:
            log.warning("auth.enforce is false: /v1 lets everybody read, write and delete")

    def check(self, request: Request, place: Place, permission: Permission | None) -> None:
        """Let a request in.

        Args:
            request: what is asked.
            place: for which object.
            permission: what that takes; None where each part of the request asks for its own.

        Raises:
            Problem: 400 without a token, 401 with one that is not good, 403 if it does not allow
                this.
        """
        try:
            if self._is_presigned(request):
                request.state.token = self._presigned(request, permission)
            else:
                request.state.token = self._token(request, place, permission)
        except AuthError as error:
            if self._enforce:
                challenge = {"www-authenticate": "Bearer"} if error.status == 401 else None
                raise Problem(error.status, str(error), headers=challenge) from None
            log.info("a request would be refused with %s: %s", error.status, error)

    def _keys_of(self, kid: str) -> Sequence[Ed25519PublicKey]:
        return self._keys.get(kid, ())

    def _token(self, request: Request, place: Place, permission: Permission | None) -> str:
        claims = auth.read_token(_token_of(request), self._keys_of, self._clock().timestamp())
        auth.check_claims(claims, place.usecase, place.scope, permission, self._at_most[claims.kid])
        return claims.kid

    def _is_presigned(self, request: Request) -> bool:
        return any(name.lower() == wire.SIGNATURE for name in request.query_params)

    def _presigned(self, request: Request, permission: Permission | None) -> str:
        path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        kid = auth.check_presigned(request.method, path, query, self._keys_of, self._clock())
        if permission is not Permission.OBJECT_READ or permission not in self._at_most[kid]:
            wanted = "more than to read" if permission is None else permission.value
            raise AuthError(403, f"the key of the URL lacks the permission: {wanted}")
        return kid


def _token_of(request: Request) -> str:
    for name in _HEADERS:
        if len(given := request.headers.getlist(name)) > 1:
            raise AuthError(400, f"there is more than one {name}")
        if given:
            return auth.bearer(given[0])
    if token := request.query_params.get(wire.TOKEN_PARAMETER):
        return token
    raise AuthError(400, f"there is no token: send {wire.TOKEN}: Bearer <token>")
