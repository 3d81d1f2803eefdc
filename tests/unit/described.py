"""An object of a few bytes, how servers may describe it, and the evidence that this gives."""

from __future__ import annotations

import dataclasses
from typing import Any

from object_clerk.checksum.algorithm import MD5, Algorithm
from object_clerk.checksum.evidence import Evidence, evidence_of
from object_clerk.checksum.hasher import WHOLE, Hashing, Layout
from tests.simulation.digests import ALGORITHMS, composite_etag, md5

MIB = 1 << 20
DATA = b"the bytes of an object"
SIZE = len(DATA)
PARTS = [DATA[:10], DATA[10:20], DATA[20:]]
KNOWN = Layout(10)
PLAIN = md5(DATA)
COMPOSITE = composite_etag(PARTS)
OPAQUE = "opaque"
KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}


@dataclasses.dataclass
class Head:
    """How a server describes an object."""

    etag: str | None
    size: int = SIZE
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)


def evidence(
    etag: str | None,
    known: Layout | None = None,
    *,
    size: int = SIZE,
    own: int = 5 * MIB,
    metadata: dict[str, str] | None = None,
    **answer: Any,
) -> list[Evidence]:
    """All evidence there is for such an object."""
    described = {"ContentLength": size, "Metadata": metadata or {}, **answer}
    return list(evidence_of(Head(etag, size, described), own, known))


def whole(algorithm: Algorithm, *, firm: bool = True) -> Evidence:
    digest = ALGORITHMS[algorithm.name](DATA)
    return Evidence(f"x-amz-checksum-{algorithm.name.lower()}", Hashing(algorithm), digest, firm)


def of_parts(algorithm: Algorithm, *, firm: bool = True) -> Evidence:
    compute = ALGORITHMS[algorithm.name]
    digest = compute(b"".join(compute(part) for part in PARTS))
    header = f"x-amz-checksum-{algorithm.name.lower()}"
    return Evidence(header, Hashing(algorithm, KNOWN), digest, firm)


def by_etag(layout: Layout, *, firm: bool = True, etag: str = COMPOSITE) -> Evidence:
    return Evidence("ETag", Hashing(MD5, layout), bytes.fromhex(etag[:32]), firm)


MD5_ETAG = by_etag(WHOLE, etag=PLAIN)
