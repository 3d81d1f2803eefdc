"""What a put says of its object, and what the answer to it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkParameterException, ObjectVerificationException
from object_clerk.receipt import Finding, Verdict
from object_clerk.session.metadata import OCTETS, Metadata, headers_of
from object_clerk.session.usecase import check_compression, check_policy
from object_clerk.session.zstd import ZSTD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from object_clerk.session.metadata import ExpirationPolicy
    from object_clerk.session.outgoing import Outgoing
    from object_clerk.session.usecase import Usecase
    from object_clerk.session.wire import Stored


def packs(
    usecase: Usecase, compression: object, compress: bool | None, precompressed: bool
) -> bool:
    """Whether a put compresses, by the one of three arguments that says it."""
    if compression is not None and compress is not None:
        raise ObjectClerkParameterException("give compression or compress, not both")
    if compression is not None:
        chosen = check_compression(compression)
    elif compress is not None:
        chosen = "zstd" if compress else "none"
    else:
        chosen = "none" if precompressed else usecase.compression
    if precompressed and chosen != "none":
        raise ObjectClerkParameterException("precompressed contents are not compressed again")
    return chosen == ZSTD


def described(
    usecase: Usecase,
    *,
    content_type: str | None,
    compression: str | None,
    metadata: Mapping[str, str] | None,
    expiration_policy: ExpirationPolicy | None,
    origin: str | None,
    filename: str | None,
) -> dict[str, str]:
    """The headers that describe an object that is put."""
    policy = check_policy(expiration_policy)
    headers = headers_of(
        Metadata(
            content_type=OCTETS if content_type is None else content_type,
            compression=compression,
            expiration_policy=usecase.expiration_policy if policy is None else policy,
            origin=origin,
            custom=dict(metadata or {}),
            filename=filename,
        )
    )
    if content_type is None:
        del headers["content-type"]
    return headers


def held_against(stored: Stored, outgoing: Outgoing) -> Finding:
    """What the answer to a put proves.

    Raises:
        ObjectVerificationException: something else was stored.
    """
    if stored.sha256 is None:
        return Finding(Verdict.NONE, "the server does not say what it stored")
    if stored.sha256 != outgoing.sha256:
        raise ObjectVerificationException(
            "the SHA-256 of what the server stored is not that of what was sent: "
            "the object that it stored is damaged"
        )
    return Finding(Verdict.CONTENT, "SHA-256 of the stored bytes, by the server")
