"""Signature version 4 in the Authorization header, as S3 wants it.

Source: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header". It is
checked against botocore's own signer, byte for byte, over generated requests.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The digest of no bytes at all, and what stands in its place where the body is not signed.
EMPTY_SHA256 = hashlib.sha256().hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"

#: Headers that proxies may change, so they are not signed.
_NOT_SIGNED = frozenset(("expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"))


def authorization(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    region: str,
    access_key: str,
    secret_key: str,
) -> str:
    """The value of the header Authorization.

    Args:
        method: such as ``GET``.
        path: the path as it is sent, percent-encoded.
        query: the query as it is sent, percent-encoded and sorted; empty if there is none.
        headers: all headers by lower-case name, with ``host``, ``x-amz-date`` and
            ``x-amz-content-sha256``; no value has spaces at its ends or two in a row.
        region: the region to sign for.
        access_key: the public half of the keys.
        secret_key: the secret half.
    """
    names = sorted(headers.keys() - _NOT_SIGNED)
    signed = ";".join(names)
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    payload = headers["x-amz-content-sha256"]
    pairs = "&".join(each if "=" in each else f"{each}=" for each in query.split("&") if each)
    canonical = f"{method}\n{path}\n{pairs}\n{lines}\n{signed}\n{payload}"
    stamp = headers["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = _hmac(_signing_key(secret_key, stamp[:8], region), text).hex()
    return (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, "
        f"Signature={signature}"
    )


@functools.lru_cache(maxsize=16)
def _signing_key(secret_key: str, date: str, region: str) -> bytes:
    """The key of one day, which is worth keeping: it takes four of the five digests."""
    key = _hmac(f"AWS4{secret_key}".encode(), date)
    return _hmac(_hmac(_hmac(key, region), "s3"), "aws4_request")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
