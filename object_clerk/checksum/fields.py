"""Digests as HTTP's headers carry them (RFC 9530 "Digest Fields", RFC 1864 "Content-MD5")."""

from __future__ import annotations

import base64
import binascii
import re

from object_clerk.exceptions import ObjectClerkParameterException

REPR_DIGEST = "repr-digest"

_NAMED = re.compile(r"(?:^|,)\s*sha-256\s*=", re.IGNORECASE)
_GIVEN = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):\s*(?=,|$)", re.IGNORECASE)


def repr_digest(sha256: bytes) -> str:
    """The value of a Repr-Digest header.

    >>> repr_digest(bytes(32))
    'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    """
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def sha256_in(value: str) -> bytes | None:
    """The SHA-256 in a Repr-Digest or Content-Digest header; None if it has none, only others.

    Raises:
        ObjectClerkParameterException: it has one that cannot be read, or two that differ.
    """
    given = _GIVEN.findall(value)
    if len(given) < len(_NAMED.findall(value)):
        raise ObjectClerkParameterException(
            "the SHA-256 in Repr-Digest or Content-Digest is not :<base64>:"
        )
    found = {decoded(each, 32, "the SHA-256 in Repr-Digest or Content-Digest") for each in given}
    if len(found) > 1:
        raise ObjectClerkParameterException(
            "Repr-Digest or Content-Digest has two SHA-256s that differ"
        )
    return found.pop() if found else None


def decoded(text: str, length: int, what: str) -> bytes:
    """A digest that was written in base64.

    Raises:
        ObjectClerkParameterException: it is no base64, or has another length.
    """
    try:
        value = base64.b64decode(text.encode(), validate=True)
    except (ValueError, binascii.Error):
        value = b""
    if len(value) != length:
        raise ObjectClerkParameterException(f"{what} is not {length} bytes in base64")
    return value
