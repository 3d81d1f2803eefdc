"""Move: a proved copy, then the deletion of exactly what was copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from object_clerk.exceptions import (
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkException,
    ObjectNotFoundException,
)
from object_clerk.retry import Operation, retried

if TYPE_CHECKING:
    from object_clerk.receipt import Receipt
    from object_clerk.transfer.copy import Copy
    from object_clerk.transfer.stream import Pin

#: What must not have changed between copy and delete.
_IDENTITY = ("ETag", "ContentLength", "LastModified", "VersionId")


def move(op: Operation, copy: Copy) -> Receipt:
    """Copy, prove, make sure that the source is still what was copied, and delete it.

    A crash at any point leaves the source, or the source and its proved copy, or the copy. In a
    bucket with versions the deletion leaves a marker, and the source can be brought back.

    Raises:
        MoveIncomplete: the copy is proved, but the source could not be deleted.
        ObjectChanged: somebody replaced the source after it was copied; it was not deleted.
    """
    receipt, source = copy.run()
    try:
        deleted = _delete_source(op, copy, source)
    except ObjectChanged:
        raise
    except ObjectClerkException as error:
        incomplete = MoveIncomplete(
            f"copied to {'/'.join(copy.target)} and proved, but the source was not deleted: "
            f"{error.message}; run the move again",
            operation=op.name,
            bucket=copy.source[0],
            key=copy.source[1],
            code=error.code,
            status=error.status,
            request_id=error.request_id,
        )
        incomplete.receipt = receipt
        incomplete.attempts = error.attempts
        raise incomplete from error
    op.notes.append(
        "the source was compared just before it was deleted, not in the same step"
        if deleted
        else "the source was gone already when it was to be deleted"
    )
    return op.renewed(receipt)


@retried
def _delete_source(op: Operation, copy: Copy, source: Pin) -> bool:
    """Delete the source if it is still what was copied: looked at anew before every attempt.

    An attempt whose answer was lost may have deleted it, and somebody may have written the key
    since; that must not be deleted by another attempt.
    """
    bucket, key = copy.source
    where = {"Bucket": bucket, "Key": key}
    try:
        now = copy.connection.call(op, "head_object", **where)
    except ObjectNotFoundException:
        return False  # deleted by an attempt before, or by somebody else
    if any(now.get(name) != source.answer.get(name) for name in _IDENTITY):
        raise ObjectChanged(
            "the source was replaced after it was copied; its new content is kept, and the copy "
            f"of the old one is {'/'.join(copy.target)}"
        )
    copy.connection.call(op, "delete_object", **where)
    return True
