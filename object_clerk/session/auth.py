"""Tokens and presigned URLs, signed with Ed25519 keys: made here by clients, read by the gateway.

The functions are pure: keys, texts and the time come as arguments.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import jwt
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.session import wire
from object_clerk.session.durations import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from object_clerk.session.scope import Scope

ALGORITHM = "EdDSA"

#: How far clocks may be apart.
LEEWAY_S = 60

#: In a token, it stands for any value of a scope.
ANY = "*"

#: The last second of the year 9999.
_LAST = 253_402_300_800

_USECASE = "os:usecase"
_ISSUERS = ("sentry", "relay")
_AUDIENCE = "objectstore"


class Permission(enum.StrEnum):
    """What a token allows."""

    OBJECT_READ = "object.read"
    OBJECT_WRITE = "object.write"
    OBJECT_DELETE = "object.delete"

    @classmethod
    def max(cls) -> list[Permission]:
        """All that there are."""
        return list(cls)


class AuthError(ValueError):
    """A token or signature that does not open what was asked for.

    Args:
        status: the HTTP status that says so.
        message: what is wrong; no secret.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# -- making them ---------------------------------------------------------------------------


class SecretKey:
    """A key that signs tokens and URLs.

    Args:
        kid: what servers know the key by.
        secret_key: an Ed25519 private key in PEM (PKCS#8).
        expiry_seconds: how long its tokens hold.
        permissions: what its tokens allow; all if None.

    Raises:
        ObjectClerkParameterException: it is no such key, or another argument is impossible.
    """

    def __init__(
        self,
        kid: str,
        secret_key: str | bytes,
        expiry_seconds: int = 60,
        permissions: Iterable[Permission | str] | None = None,
    ) -> None:
        if not isinstance(kid, str) or not kid:
            raise ObjectClerkParameterException("kid is a str that is not empty")
        self.kid = kid
        self.expiry_seconds = _seconds(expiry_seconds)
        self.permissions = Permission.max() if permissions is None else _permissions(permissions)
        self._key = _private_key(secret_key)

    def __repr__(self) -> str:
        return f"SecretKey(kid={self.kid!r})"

    def sign_for_scope(
        self,
        usecase: str,
        scope: Scope,
        permissions: Iterable[Permission | str] | None = None,
        expiry_seconds: int | None = None,
    ) -> str:
        """A token for the objects of one scope of one usecase.

        Args:
            usecase: its name.
            scope: which objects.
            permissions: fewer than the key's own.
            expiry_seconds: another time than the key's own.

        Raises:
            ObjectClerkParameterException: the key itself lacks a permission.
        """
        allowed = self.permissions if permissions is None else _permissions(permissions)
        if lacking := [each.value for each in allowed if each not in self.permissions]:
            raise ObjectClerkParameterException(f"the key itself lacks {', '.join(lacking)}")
        seconds = self.expiry_seconds if expiry_seconds is None else _seconds(expiry_seconds)
        claims = claims_of(usecase, scope, allowed, int(time.time()) + seconds)
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self.kid})

    #: As newer clients call it.
    token_for_scope = sign_for_scope

    def signature_for_canonical_form(self, text: str) -> str:
        """The signature of a presigned URL, in base64url without padding."""
        return base64.urlsafe_b64encode(self._key.sign(text.encode())).decode().rstrip("=")


TokenGenerator = SecretKey

#: What opens a server: a key that signs a token for each request, or one token as it is.
TokenProvider: TypeAlias = SecretKey | str


def _private_key(pem: str | bytes) -> Ed25519PrivateKey:
    if not isinstance(pem, str | bytes):
        raise ObjectClerkTypeException(f"secret_key is a PEM, not {type(pem).__name__}")
    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ObjectClerkParameterException(
            "secret_key is no Ed25519 private key in PEM (PKCS#8), without a passphrase"
        )
    return key


def _permissions(given: Iterable[Permission | str]) -> list[Permission]:
    try:
        return [Permission(each) for each in given]
    except ValueError:
        known = ", ".join(Permission)
        raise ObjectClerkParameterException(f"permissions are some of {known}") from None


def _seconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ObjectClerkParameterException("expiry_seconds is a whole number, more than 0")
    return value


def claims_of(
    usecase: str, scope: Scope, permissions: Iterable[Permission], expires: int
) -> dict[str, Any]:
    """What a token says.

    Args:
        usecase: the name of the usecase.
        scope: which objects it opens.
        permissions: what it allows.
        expires: seconds since 1970.
    """
    return {
        "res": {_USECASE: wire.check_usecase(usecase), **dict(scope.pairs())},
        "permissions": [each.value for each in permissions],
        "exp": expires,
    }


def presigned_query(
    key: SecretKey, path: str, duration: timedelta, now: datetime | None = None
) -> str:
    """The query of a presigned URL for GET and HEAD.

    Args:
        key: what signs it.
        path: exactly as on the wire.
        duration: how long it holds, in whole seconds, at most a week.
        now: when it begins.

    Raises:
        ObjectClerkParameterException: the duration is impossible, or the key may not read.
    """
    if not isinstance(duration, timedelta):
        raise ObjectClerkTypeException(f"duration is a timedelta, not {type(duration).__name__}")
    if not timedelta(seconds=1) <= duration <= wire.LONGEST_PRESIGNED:
        raise ObjectClerkParameterException("a presigned URL holds from a second to a week")
    if Permission.OBJECT_READ not in key.permissions:
        raise ObjectClerkParameterException(f"the key itself lacks {Permission.OBJECT_READ}")
    begin = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    unsigned = wire.query(
        {
            wire.KID: key.kid,
            wire.TIMESTAMP: f"{begin.isoformat()}Z",
            wire.DURATION: int(duration.total_seconds()),
        }
    )
    signature = key.signature_for_canonical_form(wire.canonical_text("GET", path, unsigned))
    return f"{unsigned}&{wire.SIGNATURE}={signature}"


# -- reading them --------------------------------------------------------------------------


def public_key(pem: str | bytes) -> Ed25519PublicKey:
    """An Ed25519 public key from PEM.

    Raises:
        ObjectClerkParameterException: it is none.
    """
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ObjectClerkParameterException("this is no Ed25519 public key in PEM")
    return key


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What a token with a good signature says.

    Attributes:
        kid: the key that signed it.
        usecase: the usecase that it opens.
        scopes: name -> value, or ``*`` for any.
        permissions: what it allows; those that nobody knows are left out.
    """

    kid: str
    usecase: str
    scopes: Mapping[str, str]
    permissions: frozenset[Permission]


def bearer(value: str) -> str:
    """The token in a header.

    Raises:
        AuthError: 400, there is none.
    """
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthError(400, "the token must be sent as: Bearer <token>")
    return token.strip()


def read_token(
    token: str, keys: Callable[[str], Sequence[Ed25519PublicKey]], now: float | None = None
) -> Claims:
    """What a token says, once its signature, its time and its claims are found good.

    Args:
        token: as it came.
        keys: the public keys of a kid, each of which is tried; none if there is no such kid.
        now: seconds since 1970.

    Raises:
        AuthError: 401, it is not good.
    """
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise AuthError(401, "the token cannot be decoded") from None
    found = keys(kid) if isinstance(kid, str) and kid else ()
    if not found:
        raise AuthError(401, "the token was signed with a key that is not known here")
    given = _verified(token, found)
    _check_time(given, time.time() if now is None else now)
    audience = given.get("aud", _AUDIENCE)
    if _AUDIENCE not in (audience if isinstance(audience, list) else [audience]):
        raise AuthError(401, "the token is for another audience")
    if given.get("iss", _ISSUERS[0]) not in _ISSUERS:
        raise AuthError(401, "the token has an issuer that is not known here")
    match given:
        case {"res": {**res}, "permissions": [*permissions]}:
            scopes = {str(name): value for name, value in res.items() if isinstance(value, str)}
            if _USECASE in scopes and len(scopes) == len(res):
                known = frozenset(p for p in Permission if p.value in permissions)
                return Claims(str(kid), scopes.pop(_USECASE), scopes, known)
    raise AuthError(401, "the token does not say what it opens")


def _verified(token: str, keys: Sequence[Ed25519PublicKey]) -> dict[str, Any]:
    # Times and audience are checked by us: by a clock that is given, and with one rule for each.
    options = {
        f"verify_{each}": False for each in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
    }
    for key in keys:
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise AuthError(401, "the token cannot be decoded") from None
    raise AuthError(401, "the signature of the token is wrong")


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    for name in ("exp", "nbf"):
        value = claims.get(name)
        if value is None and name == "nbf":
            continue
        # JSON in Python has NaN and Infinity, and neither would ever expire.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 < value < _LAST:
            raise AuthError(401, f"the token has no time {name}")
    if claims["exp"] <= now - LEEWAY_S:
        raise AuthError(401, "the token has expired")
    if (claims.get("nbf") or 0) > now + LEEWAY_S:
        raise AuthError(401, "the token is not valid yet")


def check_claims(
    claims: Claims,
    usecase: str,
    scope: Scope,
    permission: Permission | None,
    at_most: Collection[Permission] = tuple(Permission),
) -> None:
    """Raise unless a token opens this.

    Every scope of the request has to be in the token, with the same value or ``*``, in any order.
    So a token for ``org=42;project=7`` opens ``org=42`` too.

    Args:
        claims: what the token says.
        usecase: of the request.
        scope: of the request.
        permission: what the request needs; None if its parts need different ones.
        at_most: what tokens of this key may allow.

    Raises:
        AuthError: 403, it does not.
    """
    if permission is not None and not (permission in claims.permissions and permission in at_most):
        raise AuthError(403, f"the token lacks the permission: {permission.value}")
    if claims.usecase != usecase:
        raise AuthError(403, "the token is for another usecase")
    for name, value in scope.pairs():
        if claims.scopes.get(name) not in (value, ANY):
            raise AuthError(403, f"the token is not for this value of the scope {name!r}")


def check_presigned(
    method: str,
    path: str,
    raw_query: str,
    keys: Callable[[str], Sequence[Ed25519PublicKey]],
    now: datetime | None = None,
) -> str:
    """The kid of the key that signed a URL, if the signature is good and it is time.

    Whether that key may read is left to the caller.

    Args:
        method: of the request.
        path: exactly as on the wire.
        raw_query: exactly as on the wire.
        keys: the public keys of a kid; none if there is no such kid.
        now: the time.

    Raises:
        AuthError: 403 for another method than GET and HEAD, 400 for parameters that make no sense
            or more than a week, 401 for a signature that is wrong, or not of this time.
    """
    if method.upper() not in ("GET", "HEAD"):
        raise AuthError(403, "a presigned URL is for GET and HEAD")
    kid, begin, duration, signature = _presigned_parameters(raw_query)
    text = wire.canonical_text(method, path, raw_query).encode()
    if not any(_signed(key, signature, text) for key in keys(kid)):
        raise AuthError(401, "the signature of the URL is wrong, or of a key not known here")
    moment = datetime.now(UTC) if now is None else now
    try:
        valid = begin - timedelta(seconds=LEEWAY_S) <= moment <= begin + duration
    except OverflowError:
        valid = False
    if not valid:
        raise AuthError(401, "the URL is not valid yet, or no longer")
    return kid


def _presigned_parameters(raw_query: str) -> tuple[str, datetime, timedelta, bytes]:
    try:
        pairs = [(name.lower(), value) for name, value in parse_qsl(raw_query, max_num_fields=64)]
        given = dict(pairs)
        if len(given) < len(pairs):
            raise AuthError(400, "a parameter of the presigned URL is there twice")
        kid = given[wire.KID]
        begin = parse_time(given[wire.TIMESTAMP].replace(" ", "+"))
        duration = timedelta(seconds=wire.parse_count(given[wire.DURATION], wire.DURATION))
        text = given[wire.SIGNATURE]
        signature = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except AuthError:
        raise
    except (KeyError, ValueError, OverflowError):
        raise AuthError(400, "the parameters of the presigned URL make no sense") from None
    if duration > wire.LONGEST_PRESIGNED:
        raise AuthError(400, "a presigned URL holds a week at most")
    return kid, begin, duration, signature


def _signed(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True
