"""URLs that are good for one object, one method and some time, without a token.

They are signed with HMAC-SHA256 and a key that only the gateways know which share the file of keys.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import math
import re
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkParameterException
from object_clerk.gateway._files import JsonFile, Watched, in_utc, read_time, utc_now
from object_clerk.gateway.errors import Refusal
from object_clerk.rest.wire import check_rest_key

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

#: The longest life of a URL, as with S3, and the longest time for which a key signs.
LONGEST_LIFE = timedelta(days=7)

#: By so much the clocks of gateways may differ that share a file.
LEEWAY = timedelta(seconds=60)

#: Method of a request -> method that has to be signed.
_METHODS = {"GET": "GET", "HEAD": "GET", "PUT": "PUT"}

#: The parameters, and what each looks like.
_SHAPES = {
    "expires": re.compile(r"[1-9][0-9]{0,11}"),
    "kid": re.compile(r"[0-9a-f]{16}"),
    "signature": re.compile(r"[A-Za-z0-9_-]{43}"),
}
_SECRET = _SHAPES["signature"]  # 32 bytes as well

#: The first line of what is signed: another rule would have another one.
_VERSION = "object-clerk-url-1"


@dataclasses.dataclass(frozen=True, slots=True)
class UrlKey:
    """A key.

    Attributes:
        kid: its name, which is in the URLs that it has signed.
        secret: what it signs with; not shown by ``repr``.
        created: since when it signs.
        retired: since when it signs no more; None for the one that does.
    """

    kid: str
    secret: str = dataclasses.field(repr=False)
    created: datetime
    retired: datetime | None = None

    @classmethod
    def new(cls, now: datetime) -> UrlKey:
        """A key that nobody can guess."""
        return cls(secrets.token_hex(8), secrets.token_urlsafe(32), now)

    def signs(self, now: datetime) -> bool:
        """Whether new URLs are signed with it; one that is not yet there has a wrong clock."""
        return self.retired is None and abs(now - self.created) <= LONGEST_LIFE

    def verifies(self, now: datetime) -> bool:
        """Whether URLs that it has signed may be good."""
        return self.retired is None or now <= self.retired + LONGEST_LIFE + LEEWAY

    def signature(self, method: str, key: str, expires: str) -> str:
        """The signature; the key of the object is last, since it may have any character in it."""
        text = "\n".join((_VERSION, _METHODS[method], expires, key))
        signed = text.encode("utf-8", "surrogatepass")
        digest = hmac.digest(self.secret.encode(), signed, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in the file."""
        retired = self.retired.isoformat() if self.retired else None
        return {
            "kid": self.kid,
            "secret": self.secret,
            "created": self.created.isoformat(),
            "retired": retired,
        }

    @classmethod
    def from_dict(cls, given: Any) -> UrlKey:
        """As it was kept in the file.

        Raises:
            ValueError: it is no key.
        """
        match given:
            case {"kid": str() as kid, "secret": str() as secret, "created": created, **rest}:
                retired = rest.get("retired")
                if _SHAPES["kid"].fullmatch(kid) and _SECRET.fullmatch(secret):
                    end = None if retired is None else read_time(retired)
                    return cls(kid, secret, read_time(created), end)
        raise ValueError("not a key")


class UrlKeys:
    """Signs URLs and checks them, with the keys in a JSON file.

    The file is made when the first URL is signed, for its owner alone. A key signs for 7 days, then
    a new one takes its place; it is kept for as long as there may be URLs that it has signed. Safe
    for any number of threads and processes: what one changes, the others see at their next call.

    Args:
        path: the file.
        clock: tells the time.
    """

    def __init__(
        self, path: str | os.PathLike[str], clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._file = JsonFile(path)
        self._clock = clock
        self._keys: Watched[Sequence[UrlKey]] = Watched(self._file, self._understood, ())

    def sign(self, method: str, key: str, expires_at: datetime) -> dict[str, str]:
        """The query parameters that make the URL of an object good without a token.

        Args:
            method: ``GET``, which also allows HEAD, or ``PUT``.
            key: the object's key.
            expires_at: when the URL ends, at most 7 days ahead; kept to the second, rounded up.

        Raises:
            ObjectClerkParameterException: a bad argument.
            ObjectClerkConfigurationException: a key has to be made, and the file is corrupt.
            ObjectClerkFileException: a key has to be made, and the file cannot be read or written.
        """
        if method not in _METHODS:
            raise ObjectClerkParameterException("only URLs for GET and PUT are signed")
        check_rest_key(key)
        now = self._clock()
        if not now < in_utc(expires_at) <= now + LONGEST_LIFE:
            raise ObjectClerkParameterException(
                f"a URL is good for more than 0 seconds and at most {LONGEST_LIFE.days} days"
            )
        expires = str(math.ceil(in_utc(expires_at).timestamp()))
        signer = _signer(self._keys.current(), now) or self._renewed(now)
        return {
            "expires": expires,
            "kid": signer.kid,
            "signature": signer.signature(method, key, expires),
        }

    def check(self, method: str, key: str, query: Mapping[str, str]) -> None:
        """Return if the query parameters of a request allow it.

        Args:
            method: the method of the request.
            key: the key of the object.
            query: all parameters. If it can hold several of one name, as Starlette's
                ``QueryParams`` can, all of them are looked at.

        Raises:
            Refusal: 403; why is in the message.
        """
        if method not in _METHODS:
            raise _refused(f"no URL is signed for {method}")
        expires, kid, signature = _parameters(query)
        now = self._clock()
        if int(expires) > (now + LONGEST_LIFE + LEEWAY).timestamp():
            raise _refused(f"it is good for more than {LONGEST_LIFE.days} days")
        if int(expires) <= now.timestamp():
            raise _refused("it has expired")
        for each in self._keys.current():
            if each.kid == kid and each.verifies(now):
                if hmac.compare_digest(each.signature(method, key, expires), signature):
                    return
                break
        raise _refused("its signature is wrong, or for another object or method")

    def rotate(self, *, drop_old: bool = False) -> list[UrlKey]:
        """Make a new key, which signs from now on.

        Args:
            drop_old: also forget the other keys, because they are known to others: no URL that was
                signed until now is good any more. Whatever is in the file is replaced.

        Returns:
            all keys that are in the file now, the one that signs last.

        Raises:
            ObjectClerkConfigurationException: the file is corrupt.
            ObjectClerkFileException: it cannot be read or written.
        """
        with self._file.locked() as replace:
            return self._rotated(replace, () if drop_old else self._read(), self._clock())

    def _renewed(self, now: datetime) -> UrlKey:
        """The key that signs; a new one, unless another process has just made it."""
        with self._file.locked() as replace:
            keys = self._read()
            return _signer(keys, now) or self._rotated(replace, keys, now)[-1]

    def _rotated(
        self, replace: Callable[[Any], None], keys: Sequence[UrlKey], now: datetime
    ) -> list[UrlKey]:
        retired = [dataclasses.replace(each, retired=each.retired or now) for each in keys]
        kept = [each for each in retired if each.verifies(now)]
        kept.append(UrlKey.new(now))
        replace({"keys": [each.to_dict() for each in kept]})
        self._keys.current()  # read now, they hold even if the file is damaged at once
        return kept

    def _read(self) -> Sequence[UrlKey]:
        document = self._file.read()
        return () if document is None else self._understood(document)

    def _understood(self, document: Any) -> Sequence[UrlKey]:
        match document:
            case {"keys": [*given], **rest} if not rest:
                pass
            case _:
                raise self._file.bad('it is not an object with a list of "keys"')
        keys = []
        for number, each in enumerate(given, 1):
            try:
                keys.append(UrlKey.from_dict(each))
            except ValueError:
                raise self._file.bad(f"entry {number} of keys is not a key for URLs") from None
        return keys


def _signer(keys: Sequence[UrlKey], now: datetime) -> UrlKey | None:
    """The key that signs: all that are older are retired."""
    return next((each for each in keys if each.signs(now)), None)


def _parameters(query: Mapping[str, str]) -> list[str]:
    """The three parameters, if they are what they should be, and all there are.

    Anything else in the query was not signed, so nobody should believe it.
    """
    pairs = sorted(getattr(query, "multi_items", query.items)())
    if [name for name, _ in pairs] != sorted(_SHAPES):
        raise _refused(f"it has to have the parameters {', '.join(_SHAPES)}, once each, alone")
    for name, value in pairs:
        if not _SHAPES[name].fullmatch(value):
            raise _refused(f"its parameter {name} is malformed")
    return [value for _, value in pairs]


def _refused(why: str) -> Refusal:
    return Refusal(403, f"the signed URL is refused: {why}")
