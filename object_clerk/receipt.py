"""Receipts: what an operation did, and what was proved about the bytes."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkParameterException

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Verdict(enum.Enum):
    """How well the bytes are proved, strongest first."""

    CONTENT = "CONTENT"
    """Our digest of all bytes equals an independent digest of the stored object."""
    TRANSPORT = "TRANSPORT"
    """The server checked each request body before it kept it, and the object's size fits."""
    IDENTITY = "IDENTITY"
    """Only size or ETag were compared."""
    NONE = "NONE"
    """Nothing was compared; the basis says why."""

    @property
    def strength(self) -> int:
        """3 for CONTENT down to 0 for NONE."""
        return 3 - list(Verdict).index(self)


class Verification(enum.Enum):
    """How much proof an operation must have; the values of ``verify_checksum``."""

    STRICT = "strict"
    """Raise ObjectUnverifiable below CONTENT; an upload passes with TRANSPORT too. Same as True."""
    AVAILABLE = "available"
    """Take the best proof there is. Bytes that are known to be wrong still raise."""
    OFF = "off"
    """Compare no digests. Same as False."""

    @classmethod
    def of(cls, verify_checksum: bool | str) -> Verification:
        """What a caller means by ``verify_checksum``.

        Raises:
            ObjectClerkParameterException: there is no such value.
        """
        if isinstance(verify_checksum, bool):
            return cls.STRICT if verify_checksum else cls.OFF
        try:
            return cls(verify_checksum)
        except ValueError:
            known = ", ".join(repr(each.value) for each in cls)
            raise ObjectClerkParameterException(
                f"verify_checksum (True, False) is one of {known}"
            ) from None

    def __bool__(self) -> bool:
        return self is not Verification.OFF


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what it rests on."""

    verdict: Verdict
    basis: str


#: What a receipt says when the caller asked for no proof.
SWITCHED_OFF = Finding(Verdict.NONE, "verification was switched off")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The record of one finished operation.

    Attributes:
        operation: the verb, such as ``upload_object``.
        bucket: the bucket of the object that was read or made.
        key: its key.
        size: its length in bytes.
        verdict: how well its bytes are proved.
        basis: what the verdict rests on, in words.
        etag: its ETag without quotes, as the server gave it.
        version_id: its version, where the bucket has versions.
        source: ``bucket/key`` it was copied or moved from.
        digests: name of digest -> hexadecimal value, as computed here.
        attempts: 1 + the number of requests that had to be repeated.
        elapsed_s: seconds from call to receipt.
        request_ids: the server's ids of the answers seen, at most the last eight.
        notes: what a careful reader should know besides.
    """

    operation: str
    bucket: str
    key: str
    size: int
    verdict: Verdict
    basis: str
    etag: str | None = None
    version_id: str | None = None
    source: str | None = None
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    attempts: int = 1
    elapsed_s: float = 0.0
    request_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The receipt as plain values that JSON can hold."""
        return dataclasses.asdict(self) | {
            "verdict": self.verdict.value,
            "request_ids": list(self.request_ids),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The receipt as one line of JSON."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def __str__(self) -> str:
        return (
            f"{self.operation} {self.bucket}/{self.key}: {self.size} bytes, "
            f"{self.verdict.value} ({self.basis}), {self.attempts} attempts, {self.elapsed_s:.3f} s"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteOutcome:
    """What became of one key of a bulk delete.

    Attributes:
        key: the key.
        deleted: whether the server says that it is gone (or never was).
        code: S3's error code if it is not.
        message: the server's reason if it is not.
    """

    key: str
    deleted: bool
    code: str | None = None
    message: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was begun, and neither completed nor aborted.

    Attributes:
        key: the key it is for.
        upload_id: the server's name of it.
        initiated: when it was begun, by the server's clock; None if the server does not say.
    """

    key: str
    upload_id: str
    initiated: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class SweptUpload(DeleteOutcome):
    """What became of one leftover of an upload.

    Attributes:
        upload_id: the upload that was aborted; None for a temporary object that was deleted.
        initiated: when it was begun, by the server's clock.
    """

    upload_id: str | None = None
    initiated: datetime | None = None
