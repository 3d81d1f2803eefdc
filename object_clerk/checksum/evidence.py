"""The one place that decides whether bytes are proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from object_clerk.checksum.etag import EtagHasher, parts_of
from object_clerk.exceptions import Failure, ObjectUnverifiable, ObjectVerificationException
from object_clerk.receipt import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from object_clerk.checksum.etag import Layout


class Stored(Protocol):
    """How the server describes a stored object."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    @property
    def answer(self) -> Mapping[str, Any]:
        """The description, as boto3 parsed it."""


def etag_may_differ(answer: Mapping[str, Any]) -> bool:
    """Whether the answer's encryption lets its ETag be something other than an MD5.

    Under SSE-KMS, DSSE-KMS and SSE-C Amazon S3 returns ETags that only look like one; Ceph keeps
    the MD5. So a difference proves nothing there, while equality still proves the bytes.
    """
    kms = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
    return kms or bool(answer.get("SSECustomerAlgorithm"))


def require_evidence(etag: str | None, layouts: Sequence[Layout]) -> None:
    """Raise ObjectUnverifiable if no bytes whatever could be compared with this ETag."""
    if layouts:
        return
    if parts_of(etag) is None:
        raise ObjectUnverifiable(f"its ETag {etag!r} is not made from MD5")
    raise ObjectUnverifiable(f"its ETag is {etag}: it was uploaded in parts of an unknown size")


def judge_read(
    etag: str | None, size: int, hasher: EtagHasher, answer: Mapping[str, Any]
) -> Finding:
    """Decide whether bytes that were read are those of the stored object.

    Args:
        etag: the object's ETag, bare.
        size: the object's size in bytes, as the server stated it.
        hasher: has taken all bytes that were read, under at least one layout.
        answer: the server's description of the object.

    Returns:
        a CONTENT finding.

    Raises:
        ObjectVerificationException: the bytes differ. Reading again may help.
        ObjectUnverifiable: the ETag need not be an MD5, or no known layout gives it. Reading
            again may help in the second case, since a changed byte looks just the same.
    """
    if hasher.size != size:
        raise ObjectVerificationException(
            f"{hasher.size} bytes arrived of an object of {size}", failure=Failure.INTEGRITY
        )
    computed = hasher.etags()
    for layout, value in computed.items():
        if value == (etag or "").lower():
            return Finding(Verdict.CONTENT, f"ETag ({layout})")
    if etag_may_differ(answer):
        raise ObjectUnverifiable(f"it is encrypted, and its ETag {etag} is not made from MD5")
    values = ", ".join(computed.values())
    if parts_of(etag):
        raise ObjectUnverifiable(
            f"its ETag is {etag}, ours would be {values}: the bytes changed on their way, or it "
            "was uploaded in parts of an unknown size",
            failure=Failure.INTEGRITY,
        )
    raise ObjectVerificationException(
        f"the bytes have the MD5 {values}, the object's ETag is {etag}", failure=Failure.INTEGRITY
    )


def judge_stored(expected: str, etag: str | None, size: int, head: Stored | None) -> Finding | None:
    """Decide whether the object that was made is the one that was sent.

    Args:
        expected: the ETag that the bytes sent should have.
        etag: the ETag the server gave, bare.
        size: bytes sent.
        head: how the server describes the object, None if it was not asked.

    Returns:
        a finding, or None if this does not settle it: without ``head`` that should be asked for,
        with it only reading the object back can tell.

    Raises:
        ObjectVerificationException: the object has the wrong size.
    """
    if head is not None and head.size != size:
        raise ObjectVerificationException(
            f"{size} bytes were sent and {head.size} are stored", failure=Failure.INTEGRITY
        )
    if (etag or "").lower() == expected:
        return Finding(Verdict.CONTENT, "ETag equals the MD5 of what was sent")
    if head is not None and (parts_of(etag) is None or etag_may_differ(head.answer)):
        return Finding(
            Verdict.TRANSPORT, "the server checked every Content-MD5, and the size is right"
        )
    return None


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
