"""Usecases: namespaces on the server, with the defaults of this program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.session import wire
from object_clerk.session.durations import TimeToIdle, TimeToLive
from object_clerk.session.zstd import ZSTD

if TYPE_CHECKING:
    from object_clerk.session.metadata import Compression, ExpirationPolicy

#: Contents from this size on are sent in a way that can be taken up again.
RESUMABLE_BYTES = 256 << 20


class Usecase:
    """A namespace on the server, and the defaults for what is put there.

    Args:
        name: 1 to 64 letters, digits, ``-`` and ``_``. Newer servers want at least 3.
        compression: ``"zstd"`` or ``"none"``.
        expiration_policy: when objects expire by themselves; never if None.
        resumable_threshold_bytes: contents of at least so many bytes are sent by a resumable
            upload, if their length is known; ``"none"`` for never.
    """

    def __init__(
        self,
        name: str,
        compression: Compression = "zstd",
        expiration_policy: ExpirationPolicy | None = None,
        *,
        resumable_threshold_bytes: int | Literal["none"] = RESUMABLE_BYTES,
    ) -> None:
        self.name = wire.check_usecase(name)
        self.compression = check_compression(compression)
        self.expiration_policy = check_policy(expiration_policy)
        self.resumable_threshold_bytes = check_threshold(resumable_threshold_bytes)

    def __repr__(self) -> str:
        return f"Usecase({self.name!r})"


def check_compression(compression: object) -> Compression:
    """``"zstd"`` or ``"none"``."""
    if compression not in (ZSTD, "none"):
        raise ObjectClerkParameterException(
            f"compression is 'zstd' or 'none', not {str(compression)[:40]!r}"
        )
    return cast("Compression", compression)


def check_policy(policy: object) -> ExpirationPolicy | None:
    """A policy, or None."""
    if policy is not None and not isinstance(policy, TimeToLive | TimeToIdle):
        raise ObjectClerkTypeException(
            f"expiration_policy is TimeToLive or TimeToIdle, not {type(policy).__name__}"
        )
    return policy


def check_threshold(threshold: object) -> int | None:
    """A number of bytes; None for ``"none"``."""
    if threshold == "none":
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        raise ObjectClerkParameterException(
            "resumable_threshold_bytes is a whole number, more than 0, or 'none'"
        )
    return threshold
