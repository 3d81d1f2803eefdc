"""Checks of bucket names, keys, metadata and the like, made before any request."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What S3 takes as a bucket: a name (old and foreign ones are laxer than today's rule), or the
#: ARN of an access point.
_BUCKET = re.compile(r"[A-Za-z0-9._\-]{1,255}|arn:[A-Za-z0-9\-]+:s3[A-Za-z0-9\-]*:\S+")
_METADATA_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")

#: The longest key, in bytes of UTF-8 (Amazon S3 user guide, "Naming objects").
LONGEST_KEY_BYTES = 1024

#: The longest name of a file, in bytes, on most file systems.
LONGEST_NAME_BYTES = 255

#: What the key of a temporary object has in it, before the random end.
STAGE_MARK = ".clerk-stage-"
_STAGED = re.compile(re.escape(STAGE_MARK) + r"[0-9a-f]{32}\Z")


def check_bucket(bucket: object) -> str:
    """Return ``bucket`` if it can be a bucket's name."""
    if not isinstance(bucket, str):
        raise ObjectClerkTypeException(f"a bucket is a str, not {type(bucket).__name__}")
    if not _BUCKET.fullmatch(bucket):
        raise ObjectClerkParameterException(
            f"{bucket!r} cannot be a bucket: letters, digits, '.', '-' and '_', 1 to 255 of them"
        )
    return bucket


def check_unicode(name: str, value: object) -> str:
    """Return ``value`` if it is a str that UTF-8 can write."""
    if not isinstance(value, str):
        raise ObjectClerkTypeException(f"{name} is a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ObjectClerkParameterException(
            f"{name} cannot be written as UTF-8: {value!r}"
        ) from error
    return value


def check_key(value: object) -> str:
    """Return ``value`` if it can be an object's key."""
    key = check_unicode("a key", value)
    length = len(key.encode())
    if not 0 < length <= LONGEST_KEY_BYTES:
        raise ObjectClerkParameterException(
            f"a key has 1 to {LONGEST_KEY_BYTES} bytes, this one has {length}: {key[:40]!r}"
        )
    if "\0" in key:
        raise ObjectClerkParameterException(f"the key {key!r} contains a NUL")
    return key


def random_key(near: str, mark: str) -> str:
    """A key that nobody has yet: it begins like ``near``, has ``mark`` in it, and a random end.

    A long one is cut, between two of its characters, so that it still is a key, and the name
    behind the last slash still one of a file: several stores keep objects as files.
    """
    end = f"{mark}{uuid.uuid4().hex}"
    folder, slash, name = near.rpartition("/")
    name = _cut(name, LONGEST_NAME_BYTES - len(end))
    return _cut(f"{folder}{slash}{name}", LONGEST_KEY_BYTES - len(end)) + end


def _cut(text: str, length: int) -> str:
    return text.encode()[:length].decode(errors="ignore")


def is_staged(key: str) -> bool:
    """Whether a key was made by :func:`random_key` for a temporary object of ours."""
    return _STAGED.search(key) is not None


def check_metadata(metadata: object) -> Mapping[str, str]:
    """Return ``metadata`` if HTTP headers can carry it: a dict of printable ASCII strings."""
    if not isinstance(metadata, dict):
        raise ObjectClerkTypeException(f"metadata is a dict, not {type(metadata).__name__}")
    seen: dict[str, str] = {}
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ObjectClerkTypeException(
                f"metadata maps str to str, but {name!r} is {type(value).__name__}"
            )
        if not _METADATA_NAME.fullmatch(name):
            raise ObjectClerkParameterException(f"{name!r} cannot be the name of a header")
        if not (value.isascii() and (value == "" or value.isprintable())):
            raise ObjectClerkParameterException(
                f"the metadata value of {name!r} has characters that HTTP headers cannot carry; "
                "encode it first, for example with urllib.parse.quote"
            )
        if value != value.strip():
            raise ObjectClerkParameterException(
                f"the metadata value of {name!r} begins or ends with blanks, which HTTP takes away"
            )
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ObjectClerkParameterException(
                f"the metadata names {other!r} and {name!r} are the same to HTTP"
            )
    return metadata


def check_text(name: str, value: Any) -> str:
    """Return ``value`` if it is a str that a header can carry."""
    if not isinstance(value, str):
        raise ObjectClerkTypeException(f"{name} is a str, not {type(value).__name__}")
    if not value.isascii() or not value.isprintable() or not value:
        raise ObjectClerkParameterException(f"{name} {value!r} cannot stand in a header")
    return value


def check_span(begin: object, end: object) -> None:
    """Raise unless these are ends of a slice: ``begin`` may count from the end, ``end`` be None."""
    for name, value in (("begin", begin), ("end", 0 if end is None else end)):
        if type(value) is not int:
            raise ObjectClerkTypeException(f"{name} is a whole number, not {type(value).__name__}")
    if isinstance(end, int) and end < 0:
        raise ObjectClerkParameterException("end is a number of bytes from the start, or None")
