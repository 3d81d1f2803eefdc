"""Move: a proved copy, then the deletion of exactly what was copied."""

from __future__ import annotations

import enum
import functools
import time
from typing import TYPE_CHECKING, Any

from object_clerk.checksum.record import Record, moved_to, tombstone
from object_clerk.connection import request
from object_clerk.endpoint import Support
from object_clerk.exceptions import (
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.receipt import Finding, Receipt, Verdict
from object_clerk.retry import Operation, retried
from object_clerk.transfer.conditions import Conditions
from object_clerk.transfer.copy import AlreadyMoved
from object_clerk.transfer.multipart import CLEANING_UP
from object_clerk.transfer.stream import Pin, pin, version_of

if TYPE_CHECKING:
    from object_clerk.transfer.copy import Copy

#: What must not have changed between copy and delete.
_IDENTITY = ("ETag", "ContentLength", "LastModified", "VersionId")


class SourceGuard(enum.Enum):
    """What to do where the server cannot delete the source only if it is what was copied."""

    CHECK = "check"
    """Look at it once more and delete it at once. A write in between would be lost."""
    REQUIRE = "require"
    """Keep it, and raise MoveIncomplete."""
    TOMBSTONE = "tombstone"
    """Replace it by an empty object on condition, and delete that. Readers may see it."""


def move(op: Operation, copy: Copy, guard: SourceGuard) -> Receipt:
    """Copy, prove, make sure that the source is still what was copied, and delete it.

    A crash at any point leaves the source, or the source and its proved copy, or the copy. In a
    bucket with versions the deletion leaves a marker, and the source can be brought back.

    Raises:
        MoveIncomplete: the copy is proved, but the source could not be deleted.
        ObjectChanged: somebody replaced the source after it was copied; it was not deleted.
        ObjectClerkParameterException: source and target are one object under two names.
    """
    try:
        receipt, source = copy.run()
    except AlreadyMoved as moved:
        receipt, source = _of_earlier_move(op, copy, moved), moved.tombstone
    except ObjectNotFoundException as error:
        _explain(op, copy, error)
        raise
    try:
        op.notes.append(_delete_source(op, copy, source, guard))
    except (ObjectChanged, ObjectClerkParameterException):
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
    return op.renewed(receipt)


def _of_earlier_move(op: Operation, copy: Copy, moved: AlreadyMoved) -> Receipt:
    """The receipt of a move that was broken off when only the source's tombstone was left."""
    if moved.target != "/".join(copy.target):
        raise moved
    there = copy.pin_of_copy(None)
    copy.copied = there
    return op.receipt(
        Finding(Verdict.IDENTITY, "an earlier move has copied and proved it"),
        size=there.size,
        etag=there.etag,
        version_id=there.version_id,
        source="/".join(copy.source),
    )


def _explain(op: Operation, copy: Copy, error: ObjectNotFoundException) -> None:
    """Say so if the source may be missing because an earlier move has succeeded."""
    try:
        there = copy.pin_of_copy(None)
    except ObjectClerkException:
        return
    error.message += (
        f"; {'/'.join(copy.target)} exists ({there.size} bytes, of "
        f"{there.answer.get('LastModified')}), so an earlier move may have done all of it"
    )


@retried
def _delete_source(op: Operation, copy: Copy, source: Pin, guard: SourceGuard) -> str:
    """Delete the source if it is still what was copied; tells how.

    It is looked at anew before every attempt. An attempt whose answer was lost may have deleted
    it, and somebody may have written the key since; that must not be deleted by another attempt.
    """
    bucket, key = copy.source
    where: dict[str, Any] = {"Bucket": bucket, "Key": key}
    begun = time.monotonic()
    try:
        now = Pin.of(copy.connection.call(op, "head_object", **where))
    except ObjectNotFoundException:
        if source.version_id:
            _check_marker(op, copy, source, None)
        return "the source was gone already when it was to be deleted"
    ours = Record.of(now.answer).tx == copy.tx
    if ours and moved_to(now.answer):
        copy.connection.call(op, "delete_object", **where)  # the tombstone of an attempt before
        return "the source was replaced by a tombstone on condition, and that was deleted"
    if ours or _is_same_object(op, copy, now):
        raise ObjectClerkParameterException(
            f"{bucket}/{key} and {'/'.join(copy.target)} are two names of one object, or cannot "
            "be told apart; it was kept"
        )
    if any(now.answer.get(name) != source.answer.get(name) for name in _IDENTITY):
        raise _replaced(copy)
    if source.version_id:
        marker = version_of(copy.connection.call(op, "delete_object", **where))
        return _check_marker(op, copy, source, marker)
    if guard is SourceGuard.TOMBSTONE:
        return _bury(op, copy, source)
    endpoint = copy.connection.endpoint
    endpoint.learn_delete(functools.partial(copy.connection.call, op), bucket, key)
    proved = endpoint.delete_if_match is Support.HONOURED
    if guard is SourceGuard.REQUIRE and not proved:
        raise UnsupportedError(
            "this server was not seen to honour If-Match when it deletes, and source_guard is "
            "'require'"
        )
    # Where it is not known to count it does no harm either, unless it is refused altogether.
    match = None if endpoint.delete_if_match is Support.REFUSED else now.answer.get("ETag")
    try:
        copy.connection.call(op, "delete_object", **where, IfMatch=match)
    except PreconditionFailed as error:
        raise _replaced(copy) from error
    if proved:
        return "the source was deleted on the condition that it was still what was copied"
    window_ms = (time.monotonic() - begun) * 1000
    return (
        f"the source was compared {window_ms:.0f} ms before it was deleted, not in the same step: "
        "a write in between would be lost"
    )


def _replaced(copy: Copy) -> ObjectChanged:
    return ObjectChanged(
        "the source was replaced after it was copied; its new content is kept, and the copy of "
        f"the old one is {'/'.join(copy.target)}"
    )


def _check_marker(op: Operation, copy: Copy, source: Pin, marker: str | None) -> str:
    """Make sure that a delete marker hides nothing but what was copied; else take it back."""
    bucket, key = copy.source
    undo = f"; deleting its marker {marker} brings it back" if marker else ""
    try:
        answer = request(
            op, copy.connection, "list_object_versions", Bucket=bucket, Prefix=key, MaxKeys=100
        )
    except ObjectClerkException as error:
        return f"the source was deleted; its versions could not be listed ({error.message}){undo}"
    versions = [each for each in answer.get("Versions", ()) if each.get("Key") == key]
    newest = versions[0] if versions else {}
    if newest.get("VersionId") in (source.version_id, None) or newest.get("IsLatest"):
        return f"the source is still there as a version{undo}"
    if marker:
        request(op, copy.connection, "delete_object", Bucket=bucket, Key=key, VersionId=marker)
    raise _replaced(copy)


def _bury(op: Operation, copy: Copy, source: Pin) -> str:
    """Replace the source by an empty object if it is what was copied, then delete that."""
    bucket, key = copy.source
    conditions = Conditions(if_match=source.etag)
    if not conditions.honoured_by(op, copy.connection, bucket, "put"):
        raise UnsupportedError(
            "this server was not seen to honour If-Match when it stores, so no tombstone could be "
            "put in the source's place safely"
        )
    try:
        copy.connection.call(
            op,
            "put_object",
            Bucket=bucket,
            Key=key,
            Body=b"",
            Metadata=tombstone(copy.tx, "/".join(copy.target)),
            **conditions.parameters(copy.connection),
        )
    except PreconditionFailed as error:
        if moved_to(pin(op, copy.connection, bucket, key, {}).answer) is None:
            raise _replaced(copy) from error
    copy.connection.call(op, "delete_object", Bucket=bucket, Key=key)
    return "the source was replaced by a tombstone on condition, and that was deleted"


def _is_same_object(op: Operation, copy: Copy, source: Pin) -> bool:
    """Whether source and target are one object under two names, such as a bucket's alias.

    Two objects that look alike in everything are told apart with a multipart upload: one that is
    begun under the target's name is known under the source's name only if they are the same.
    Nothing becomes visible, and the upload is aborted.
    """
    target = copy.copied
    if target is None or "LastModified" not in target.answer:
        target = copy.pin_of_copy(None)
    if any(source.answer.get(name) != target.answer.get(name) for name in _IDENTITY):
        return False
    connection = copy.connection
    (bucket, key), (other_bucket, other_key) = copy.source, copy.target
    try:
        begun = connection.call(op, "create_multipart_upload", Bucket=other_bucket, Key=other_key)
    except ObjectClerkException:
        return True  # it cannot be told, so nothing is risked
    upload_id = begun["UploadId"]
    try:
        connection.call(op, "list_parts", Bucket=bucket, Key=key, UploadId=upload_id)
    except ObjectNotFoundException:
        return False
    except ObjectClerkException:
        return True
    else:
        return True
    finally:
        ending = op.child("abort_multipart_upload", CLEANING_UP)
        request(
            ending,
            connection,
            "abort_multipart_upload",
            Bucket=other_bucket,
            Key=other_key,
            UploadId=upload_id,
        )
