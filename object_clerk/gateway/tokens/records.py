"""What is known of a token: everything but the token."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import (
    ObjectClerkConfigurationException,
    ObjectClerkParameterException,
)
from object_clerk.gateway._files import in_utc, read_time
from object_clerk.names import check_unicode
from object_clerk.rest.wire import check_rest_key

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What a token may allow.
SCOPES = ("read", "write", "delete")

#: Bytes of chance in a token; as text they are 43 characters.
_SECRET_BYTES = 32

_LONGEST_NAME = 200
_HASH = re.compile(r"[0-9a-f]{64}")
_NEEDED = {"name", "hash", "expires"}
_FIELDS = _NEEDED | {"created_at", "scopes", "prefix"}


@dataclasses.dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as the gateway knows it.

    Attributes:
        name: whose it is.
        hash: the SHA-256 of its text, in hexadecimal digits; not shown by ``repr``.
        expires: when it ends, in UTC; a naive time is taken to be UTC.
        created_at: when it was made, if that is known.
        scopes: what it allows, sorted, each once; the gateway knows read, write and delete.
        prefix: it allows that only for keys that begin with this; empty for all.
    """

    name: str
    hash: str = dataclasses.field(repr=False)
    expires: datetime
    created_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    prefix: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", tuple(sorted(set(self.scopes))))
        object.__setattr__(self, "expires", in_utc(self.expires))
        if self.created_at is not None:
            object.__setattr__(self, "created_at", in_utc(self.created_at))

    def has_expired(self, now: datetime) -> bool:
        """Whether it allows nothing any more."""
        return self.expires <= in_utc(now)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in the file."""
        fields = {
            "name": self.name,
            "hash": self.hash,
            "expires": self.expires.isoformat(),
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "scopes": list(self.scopes),
        }
        return fields | ({"prefix": self.prefix} if self.prefix else {})

    @classmethod
    def from_dict(cls, given: Any) -> TokenRecord:
        """As it was kept in the file.

        Unknown fields are refused: one that is misspelt might be the prefix.

        Raises:
            ObjectClerkConfigurationException: it is no such record. The text names the token and
                the field, and never the hash.
        """
        if not isinstance(given, dict):
            raise _bad("is not an object")
        if unknown := sorted(given.keys() - _FIELDS):
            raise _bad(f"has the unknown field {unknown[0][:40]!r}")
        if missing := sorted(_NEEDED - given.keys()):
            raise _bad(f"has no {missing[0]}")
        name, scopes, created = given["name"], given.get("scopes", []), given.get("created_at")
        if not isinstance(name, str) or not name:
            raise _bad("has a name that is not a text")
        if not isinstance(given["hash"], str) or not _HASH.fullmatch(given["hash"]):
            raise _bad("has a hash that is not 64 hexadecimal digits", name)
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise _bad("has scopes that are not a list of texts", name)
        if not isinstance(prefix := given.get("prefix", ""), str):
            raise _bad("has a prefix that is not a text", name)
        return cls(
            name,
            given["hash"],
            _time(given["expires"], "expires", name),
            None if created is None else _time(created, "created_at", name),
            tuple(scopes),
            prefix,
        )


def _bad(what: str, name: str | None = None) -> ObjectClerkConfigurationException:
    whose = "a token" if name is None else f"the token {name[:_LONGEST_NAME]!r}"
    return ObjectClerkConfigurationException(f"{whose} {what}")


def _time(value: object, field: str, name: str) -> datetime:
    try:
        return read_time(value)
    except ValueError:
        raise _bad(f"has no time in ISO 8601 as {field}", name) from None


# -- new ones ------------------------------------------------------------------------------


def new_text() -> str:
    """The text of a new token, which nobody can guess."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(text: str) -> str:
    """What is kept of a token's text, whatever the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check_name(name: str) -> str:
    """Return ``name`` if a new token can have it."""
    check_unicode("the name of a token", name)
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ObjectClerkParameterException(
            f"the name of a token has 1 to {_LONGEST_NAME} printable characters"
        )
    return name


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return ``scopes``, sorted and each once, if a new token can have them."""
    wanted = tuple(sorted(set(scopes)))
    known = ", ".join(SCOPES)
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise ObjectClerkParameterException(
            f"there is no scope {unknown[0][:40]!r}; the scopes are {known}"
        )
    if not wanted:
        raise ObjectClerkParameterException(
            f"a token without a scope allows nothing: give at least one of {known}"
        )
    return wanted


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if there can be keys that begin with it; empty for all keys."""
    return check_rest_key(prefix) if prefix else prefix


def end_of_life(ttl_days: float, now: datetime) -> datetime:
    """When a token ends that is made now.

    Args:
        ttl_days: for how many days it is good, more than 0; fractions are fine.
        now: the time.

    Raises:
        ObjectClerkParameterException: it would never have been good, or end beyond year 9999.
    """
    try:
        expires = now + timedelta(days=ttl_days)
    except (OverflowError, ValueError):  # infinite, or not a number
        expires = now
    if expires <= now:
        raise ObjectClerkParameterException(
            f"a time to live of {ttl_days:g} days is impossible: it is more than 0, and ends "
            "before the year 10000"
        )
    return expires
