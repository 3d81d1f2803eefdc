"""What the store hands out: buckets, objects, and what is known of them."""

from __future__ import annotations

import dataclasses
import enum
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Capability(enum.Enum):
    """What not every backend can do. What is not declared raises UnsupportedError."""

    BUCKETS = "create and delete buckets"
    CONDITIONS = "writes that depend on what is there (if_absent, if_match)"
    CONDITIONAL_DELETES = "deletes that depend on what is there (if_unchanged)"
    METADATA = "content type and metadata beside an object"
    RANGES = "reads of some bytes without those before them"
    PRESIGNED_URLS = "URLs for readers and writers without credentials"
    VERSIONS = "older generations of an object"


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A bucket.

    Attributes:
        name: its name.
        created_time: when it was made, with its time zone.
    """

    name: str
    created_time: datetime


@dataclasses.dataclass(frozen=True)
class ObjectMetadata:
    """An entry of a listing.

    Attributes:
        key: the object's key.
        updated_time: when it was written last, with its time zone.
        size: its length in bytes.
    """

    key: str
    updated_time: datetime
    size: int


@dataclasses.dataclass(frozen=True)
class ObjectInfo(ObjectMetadata):
    """All that a store knows of an object without reading it.

    Attributes:
        etag: its ETag without quotes.
        content_type: its media type; None where a listing does not tell.
        content_encoding: how its bytes are encoded, where somebody has said so.
        metadata: the user's metadata; None where a listing does not tell.
        version: the generation, where the backend has several.
        is_latest: whether this is the generation that is read without a version.
        digests: name -> hexadecimal value of the digests that the store keeps.
    """

    etag: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    metadata: Mapping[str, str] | None = None
    version: str | None = None
    is_latest: bool = True
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ObjectVersion(ObjectInfo):
    """A generation of an object.

    Attributes:
        is_delete_marker: whether it says that the object was deleted; it has no content then.
    """

    is_delete_marker: bool = False


@dataclasses.dataclass(frozen=True)
class Object:
    """An object that was opened.

    Attributes:
        body: its content, a binary file that is read once, from front to back. The last bytes come
            only when all are verified. Close it, or read it to its end.
        updated_time: when the object was written last, with its time zone.
    """

    body: IO[bytes]
    updated_time: datetime


@dataclasses.dataclass(frozen=True)
class OpenedObject(Object):
    """An object that was opened, and what is known of it. A context manager that closes it."""

    info: ObjectInfo

    def __enter__(self) -> OpenedObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.body.close()
