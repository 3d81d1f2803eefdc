"""What the store keeps of an object besides its bytes: all of it in the user's metadata.

It is one text of pairs, as in a query, cut into pieces: stores bound the length of a value and of
all of them (S3: 2 KB in all), and not all of them leave names and letters alone.
"""

from __future__ import annotations

import dataclasses
import secrets
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from object_clerk.gateway.v1.errors import Problem
from object_clerk.session.metadata import (
    Metadata,
    TimeToIdle,
    TimeToLive,
    headers_of,
    metadata_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from object_clerk.store.models import ObjectInfo

#: Each piece is ``v1-<number>``.
_PIECE = "v1-"
_PIECE_BYTES = 250

#: What S3 allows in all (Amazon S3 user guide, "Working with object metadata"), less what an
#: upload writes there about itself.
MOST_BYTES = 2048 - 256

_GENERATION = "generation"
_SHA256 = "sha256"
_CONTENT_SHA256 = "content-sha256"
_DIGEST_BESIDE = "digest-beside"


@dataclasses.dataclass(frozen=True)
class Stored:
    """What is known of an object.

    Attributes:
        metadata: what its writer said, with the times that were computed then.
        generation: a name that no other write has.
        sha256: of the stored bytes, in hexadecimal; None if it was not known before they came.
        content_sha256: of the bytes before they were compressed, if the writer said so.
        has_digest_beside: whether the SHA-256 is in an object of its own.
    """

    metadata: Metadata
    generation: str
    sha256: str | None = None
    content_sha256: str | None = None
    has_digest_beside: bool = False

    @classmethod
    def new(
        cls,
        said: Metadata,
        now: datetime,
        sha256: str | None,
        content_sha256: str | None = None,
        generation: str | None = None,
    ) -> Stored:
        """An object that is to be written now.

        Args:
            said: what its writer says of it.
            now: the time.
            sha256: of the stored bytes; None if nobody knows yet.
            content_sha256: of the bytes before they were compressed, if the writer says so.
            generation: its name, if it has one already.

        Raises:
            Problem: 400, it would expire later than any calendar goes.
        """
        now = now.astimezone(UTC)
        try:
            expires = deadline(said, now)
        except OverflowError:
            raise Problem(400, "the expiration is too far away") from None
        metadata = dataclasses.replace(said, time_created=now, time_expires=expires, size=None)
        name = new_generation() if generation is None else generation
        return cls(metadata, name, sha256, content_sha256, sha256 is None)

    @classmethod
    def of(cls, info: ObjectInfo) -> Stored:
        """What the store knows of an object.

        Raises:
            Problem: 404, it was not written by ``/v1``.
        """
        given = info.metadata or {}
        count = sum(name.lower().startswith(_PIECE) for name in given)
        text = "".join(given.get(f"{_PIECE}{number}", "") for number in range(count))
        try:
            fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
            generation = fields.pop(_GENERATION)
            sha256, content = fields.pop(_SHA256, None), fields.pop(_CONTENT_SHA256, None)
            beside = fields.pop(_DIGEST_BESIDE, None) is not None
            metadata = dataclasses.replace(metadata_of(fields, answer=True), size=info.size)
        except (ValueError, KeyError):
            raise Problem.missing() from None
        kept = info.digests.get("sha256")  # what the store itself has taken is no hearsay
        return cls(metadata, generation, kept or sha256, content, beside and kept is None)

    def packed(self) -> dict[str, str]:
        """The metadata to give to the store.

        Raises:
            Problem: 400, there is too much of it.
        """
        fields = {
            _GENERATION: self.generation,
            _SHA256: self.sha256,
            _CONTENT_SHA256: self.content_sha256,
            _DIGEST_BESIDE: "1" if self.has_digest_beside else None,
            **headers_of(self.metadata, answer=True),
            "content-disposition": None,  # it only says the filename again
        }
        text = urlencode({name: value for name, value in fields.items() if value is not None})
        begins = range(0, len(text), _PIECE_BYTES)
        pieces = {f"{_PIECE}{n}": text[at : at + _PIECE_BYTES] for n, at in enumerate(begins)}
        if sum(len(name) + len(value) for name, value in pieces.items()) > MOST_BYTES:
            raise Problem(400, f"the metadata has more than {MOST_BYTES} bytes when it is encoded")
        return pieces

    def headers(self, expires: datetime | None, size: int) -> dict[str, str]:
        """The headers that tell of it.

        Args:
            expires: when it does, as it was before this reader came.
            size: its stored bytes.
        """
        told = dataclasses.replace(self.metadata, time_expires=expires, size=size)
        return headers_of(told, answer=True)


def stored_of(info: ObjectInfo) -> Stored | None:
    """What is known of an object; None if ``/v1`` did not write it."""
    try:
        return Stored.of(info)
    except Problem:
        return None


def new_generation() -> str:
    """A name that no write has."""
    return secrets.token_hex(16)


def deadline(metadata: Metadata, since: datetime) -> datetime | None:
    """When an object expires that was written, or is read, at this time; None for never.

    Raises:
        OverflowError: later than any calendar goes.
    """
    match metadata.expiration_policy:
        case TimeToLive(delta) | TimeToIdle(delta):
            return since + delta
    return None
