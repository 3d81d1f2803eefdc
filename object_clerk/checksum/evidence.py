"""The one place that decides whether bytes are proved."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from object_clerk.checksum.algorithm import CRC64NVME, STORED, Algorithm
from object_clerk.checksum.etag import digest_of, parts_of
from object_clerk.checksum.hasher import WHOLE, Hasher, Hashing, Layout, Pieces
from object_clerk.checksum.layout import MOST_CANDIDATES, candidate_layouts, fits
from object_clerk.checksum.record import Record
from object_clerk.exceptions import Failure, ObjectUnverifiable, ObjectVerificationException
from object_clerk.receipt import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_STORED = re.compile(r"([A-Za-z0-9+/]+={0,2})(?:-([1-9][0-9]{0,4}))?")


class Stored(Protocol):
    """How the server describes a stored object."""

    @property
    def etag(self) -> str | None:
        """Its ETag, bare."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def answer(self) -> Mapping[str, Any]:
        """The description, as boto3 parsed it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Something that states a digest of a stored object.

    Attributes:
        source: where it stands, such as ``ETag``.
        way: how that digest is made.
        expected: the digest.
        firm: whether a difference proves damage. It does not where the way is only a guess, or
            where the value may be something else than it looks like.
    """

    source: str
    way: Hashing
    expected: bytes
    firm: bool

    def __str__(self) -> str:
        return f"{self.source} ({self.way})"


def etag_may_differ(answer: Mapping[str, Any]) -> bool:
    """Whether the answer's encryption lets its ETag be something other than an MD5.

    Under SSE-KMS, DSSE-KMS and SSE-C Amazon S3 returns ETags that only look like one; Ceph keeps
    the MD5. So a difference proves nothing there, while equality still proves the bytes.
    """
    kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    return kms or bool(answer.get("SSECustomerAlgorithm"))


# -- reading -------------------------------------------------------------------------------


def evidence_of(
    stored: Stored, own_part_size: int, known: Layout | None = None
) -> Iterator[Evidence]:
    """All that speaks for or against bytes that are read, the best first.

    A CRC64NVME of the whole costs least; then comes what is made from MD5, in the ETag or in a
    record; then other checksums that the store keeps; then guesses at the parts of an ETag. What
    cannot be computed here is left out.

    Args:
        stored: the server's description of the object.
        own_part_size: the part size of our own uploads, in bytes, a good first guess.
        known: the layout, if the server has told it.
    """
    record = Record.of(stored.answer)
    parts = parts_of(stored.etag)
    if known is None and record.part_size:
        known = Layout(record.part_size)
    if parts and (known is None or not fits(known, stored.size, parts)):
        known = next(candidate_layouts(stored.etag, stored.size, 0)) if parts == 1 else None
    checksums = list(_checksums(stored, known))
    best = [e for e in checksums if e.firm and e.way == Hashing(CRC64NVME)]
    yield from best
    opaque = etag_may_differ(stored.answer)
    etag = _etag_evidence(stored, own_part_size, known, firm=not opaque)
    if not opaque and (known or parts == 0):
        yield from etag
    for algorithm, digest in record.digests.items():
        yield Evidence("record in the metadata", Hashing(algorithm), digest, firm=True)
    yield from sorted((e for e in checksums if e not in best), key=lambda e: not e.firm)
    yield from etag  # what is left of it: nothing, if it has been given already


def _etag_evidence(
    stored: Stored, own_part_size: int, known: Layout | None, *, firm: bool
) -> Iterator[Evidence]:
    digest = digest_of(stored.etag)
    if known and parts_of(stored.etag):
        yield Evidence("ETag", Hashing(layout=known), digest, firm)
        return
    for layout in candidate_layouts(stored.etag, stored.size, own_part_size):
        yield Evidence("ETag", Hashing(layout=layout), digest, firm and layout == WHOLE)


def _checksums(stored: Stored, known: Layout | None) -> Iterator[Evidence]:
    """The checksums that the store keeps, of the whole or of parts.

    Amazon S3 marks those of parts with ``-N`` and a type, but not every store does, and some say
    the one and give the other. So the type decides only where nothing contradicts it.
    """
    kind = stored.answer.get("ChecksumType")
    in_parts = bool(parts_of(stored.etag))
    for algorithm in STORED:
        if not (value := stored.answer.get(algorithm.member)):
            continue
        match = _STORED.fullmatch(str(value))
        digest = _decoded(match[1], algorithm) if match else None
        if match is None or digest is None or not algorithm.available:
            continue
        header = f"x-amz-checksum-{algorithm.name.lower()}"
        whole = kind == "FULL_OBJECT" or not in_parts
        if not match[2]:
            yield Evidence(header, Hashing(algorithm), digest, firm=whole and kind != "COMPOSITE")
        if known and in_parts and kind != "FULL_OBJECT":
            firm = match[2] is not None and fits(known, stored.size, int(match[2]))
            yield Evidence(header, Hashing(algorithm, known), digest, firm)


def _decoded(text: str, algorithm: Algorithm) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == algorithm.size else None


def choose(evidence: Sequence[Evidence], *, suspicious: bool) -> list[Evidence]:
    """What to compute while bytes arrive: the best, or all of it when something is wrong."""
    firm = [e for e in evidence if e.firm]
    guesses = list(islice((e for e in evidence if not e.firm), MOST_CANDIDATES))
    if suspicious:
        return firm + guesses
    return firm[:1] or guesses


def require_evidence(stored: Stored, evidence: Collection[Evidence]) -> None:
    """Raise ObjectUnverifiable if no bytes whatever could be compared with anything."""
    if evidence:
        return
    unknown = [a.name for a in STORED if stored.answer.get(a.member) and not a.available]
    if unknown:
        raise ObjectUnverifiable(
            f"its only checksum is {unknown[0]}, which takes the extra object-clerk[crt]"
        )
    if parts_of(stored.etag) is None:
        raise ObjectUnverifiable(
            f"its ETag {stored.etag!r} is not made from MD5, and the server keeps no checksum"
        )
    raise ObjectUnverifiable(
        f"its ETag is {stored.etag}: no usual size of parts makes so many of {stored.size} bytes",
        failure=Failure.INTEGRITY,  # a size that was told wrongly looks the same
    )


def judge_read(evidence: Sequence[Evidence], size: int, hasher: Hasher | Pieces) -> Finding:
    """Decide whether bytes that were read are those of the stored object.

    One equal digest proves them, whatever others say: servers were seen to give a wrong checksum
    of right bytes. The basis then tells of the contradiction.

    Args:
        evidence: what to compare with; only what the hasher has computed counts.
        size: the object's size in bytes, as the server stated it.
        hasher: has taken all bytes that were read.

    Returns:
        a CONTENT finding.

    Raises:
        ObjectVerificationException: the bytes differ. Reading again may help.
        ObjectUnverifiable: they equal nothing, but nothing that differs is sure to be right.
            Reading again may help if parts were guessed, since a changed byte looks the same.
    """
    if hasher.size != size:
        raise ObjectVerificationException(
            f"{hasher.size} bytes arrived of an object of {size}", failure=Failure.INTEGRITY
        )
    digests = hasher.digests()
    tried = [e for e in evidence if e.way in digests]
    differing = [e for e in tried if e.firm and digests[e.way] != e.expected]
    for e in tried:
        if digests[e.way] == e.expected:
            but = f", but not its {differing[0]}" if differing else ""
            return Finding(Verdict.CONTENT, f"{e}{but}")
    said = ", ".join(f"{digests[e.way].hex()} by {e.way}" for e in tried)
    if differing:
        e = differing[0]
        raise ObjectVerificationException(
            f"the bytes have {e.way.algorithm.name} {digests[e.way].hex()} ({e.way.layout}), the "
            f"object's {e.source} says {e.expected.hex()}",
            failure=Failure.INTEGRITY,
        )
    e = tried[0]
    if e.way.layout == WHOLE:
        raise ObjectUnverifiable(
            f"the object's {e.source} says {e.expected.hex()}, which need not be a digest of its "
            f"bytes (they have {said}): it is encrypted, or its parts are unknown"
        )
    raise ObjectUnverifiable(
        f"the object's {e.source} says {e.expected.hex()} of parts of an unknown size, ours would "
        f"be {said}: the bytes changed on their way, or the parts are of another size",
        failure=Failure.INTEGRITY,
    )


# -- writing -------------------------------------------------------------------------------


def judge_stored(
    expected: str,
    etag: str | None,
    size: int,
    head: Stored | None,
    checksums: Mapping[str, Collection[str]] | None = None,
) -> Finding | None:
    """Decide whether the object that was made is the one that was sent.

    Args:
        expected: the ETag that the bytes sent should have.
        etag: the ETag the server gave, bare.
        size: bytes sent.
        head: how the server describes the object, None if it was not asked.
        checksums: boto3's name of a checksum -> the values it may have; only of those that the
            server was seen to check, since others just repeat what they are told.

    Returns:
        a finding, or None if this does not settle it: without ``head`` that should be asked for,
        with it only reading the object back can tell.

    Raises:
        ObjectVerificationException: the object has the wrong size.
    """
    if head is not None:
        _require_size(head, size)
    if (etag or "").lower() == expected:
        return Finding(Verdict.CONTENT, "ETag equals the MD5 of what was sent")
    if head is None:
        return None
    for name, values in (checksums or {}).items():
        if head.answer.get(name) in values:
            return Finding(Verdict.CONTENT, f"{name} equals that of what was sent")
    if parts_of(etag) is None or etag_may_differ(head.answer):
        return Finding(
            Verdict.TRANSPORT, "the server checked every Content-MD5, and the size is right"
        )
    return None


def judge_checked(
    checksum: str,
    values: Collection[str],
    expected: str,
    answered: str | None,
    head: Stored,
    size: int,
) -> Finding | None:
    """Decide on an object of parts that the server has checked by a checksum of each.

    Args:
        checksum: boto3's name of the checksum, such as ``ChecksumCRC64NVME``.
        values: what it may be of the whole.
        expected: the composite of the ETags that the parts got; empty if these are no MD5s.
        answered: the ETag in the answer to Complete, bare.
        head: how the server describes the object.
        size: bytes sent.

    Returns:
        a finding, or None if only reading the object back can tell.

    Raises:
        ObjectVerificationException: the object has the wrong size.
    """
    _require_size(head, size)
    found = head.answer.get(checksum)
    looks_like_one = bool(expected and parts_of(head.etag)) and not etag_may_differ(head.answer)
    if looks_like_one and (head.etag or "").lower() != expected:
        return None  # whatever else it says, its own ETag says that it is made of other parts
    if found in values:
        return Finding(Verdict.CONTENT, f"{checksum} equals that of what was sent")
    same = bool(expected) and expected in ((head.etag or "").lower(), (answered or "").lower())
    if found is None and (same or parts_of(head.etag) is None or etag_may_differ(head.answer)):
        return Finding(
            Verdict.TRANSPORT, f"the server checked the {checksum} of every part, and the size"
        )
    return None


def _require_size(head: Stored, size: int) -> None:
    if head.size != size:
        raise ObjectVerificationException(
            f"{size} bytes were sent and {head.size} are stored", failure=Failure.INTEGRITY
        )


def judge_assembled(expected: str, answered: str | None, etag: str | None) -> Finding | None:
    """Decide on an object of parts whose ETag is not their composite.

    Some stores answer Complete with the composite and give the object the MD5 of the whole,
    which was never computed here.

    Args:
        expected: the composite of the parts that were sent.
        answered: the ETag in the answer to Complete, bare.
        etag: the ETag of the object, bare.
    """
    if (answered or "").lower() == expected and parts_of(etag) == 0:
        return Finding(Verdict.TRANSPORT, "the parts' ETags are right, and so is the size")
    return None


def part_stored(expected: str, etag: str, answer: Mapping[str, Any]) -> bool:
    """Whether the ETag of an uploaded part allows that it is the one that was sent."""
    return etag.lower() == expected or parts_of(etag) != 0 or etag_may_differ(answer)
