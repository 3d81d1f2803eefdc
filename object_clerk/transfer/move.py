"""Move: a proved copy, then the deletion of exactly what was copied."""

from __future__ import annotations

import contextlib
import enum
import posixpath
import time
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

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
from object_clerk.transfer.delete import newest_version
from object_clerk.transfer.multipart import Inquiry, begin
from object_clerk.transfer.stream import Pin, pin, unchanged, version_of

if TYPE_CHECKING:
    from object_clerk.transfer.copy import Copy

_BURIED = (
    "the source was replaced by a tombstone on condition, and that was deleted: "
    "a write in between would be lost"
)


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
        if not source.version_id and guard is not SourceGuard.TOMBSTONE:
            # Now, so that nothing comes between the last look and the deletion.
            copy.connection.endpoint.learn_delete(Inquiry(op, copy.connection).ask, *copy.source)
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
    try:
        now = _look(op, copy)
        if Record.of(now.answer).tx == copy.tx and moved_to(now.answer):
            _delete(op, copy)  # the tombstone of an attempt before
            return _BURIED
        if _looks_like_the_copy(op, copy, now):
            _refuse_same_object(op, copy)
            now = _look(op, copy)
    except ObjectNotFoundException:
        if source.version_id:
            _check_marker(op, copy, source, None)
        return "the source was gone already when it was to be deleted"
    if not unchanged(now, source):
        raise _replaced(copy)
    if source.version_id:
        return _check_marker(op, copy, source, version_of(_delete(op, copy)))
    if guard is SourceGuard.TOMBSTONE:
        return _bury(op, copy, source)
    return _delete_if_unchanged(op, copy, source, guard)


def _delete_if_unchanged(op: Operation, copy: Copy, source: Pin, guard: SourceGuard) -> str:
    """Delete a source that was looked at just now, on condition where that counts."""
    begun = time.monotonic()
    support = copy.connection.endpoint.delete_if_match
    if guard is SourceGuard.REQUIRE and support is not Support.HONOURED:
        raise _unguarded("If-Match is not known to be honoured by this server when it deletes")
    # Where it is not known to count it does no harm either, unless it is refused altogether.
    match = None if support is Support.REFUSED else source.answer.get("ETag")
    try:
        _delete(op, copy, IfMatch=match)
    except ObjectNotFoundException:
        return "the source was gone already when it was to be deleted"
    except PreconditionFailed as error:
        begun = time.monotonic()
        if not unchanged(_look(op, copy), source):
            raise _replaced(copy) from error
        # Swift compares something else where an object is made of parts: it can never hold.
        if guard is SourceGuard.REQUIRE:
            raise _unguarded("this server's If-Match does not know this ETag") from error
        _delete(op, copy)
    else:
        if support is Support.HONOURED:
            return "the source was deleted on the condition that it was still what was copied"
    window_ms = (time.monotonic() - begun) * 1000
    return (
        f"the source was compared {window_ms:.0f} ms before it was deleted, not in the same step: "
        "a write in between would be lost"
    )


def _look(op: Operation, copy: Copy) -> Pin:
    bucket, key = copy.source
    return Pin.of(copy.connection.call(op, "head_object", Bucket=bucket, Key=key))


def _delete(op: Operation, copy: Copy, **parameters: Any) -> dict[str, Any]:
    bucket, key = copy.source
    return copy.connection.call(op, "delete_object", Bucket=bucket, Key=key, **parameters)


def _unguarded(why: str) -> UnsupportedError:
    return UnsupportedError(f"{why}, and source_guard is 'require'")


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
        newest = newest_version(op, copy.connection, bucket, key)
    except ObjectClerkException as error:
        return f"the source was deleted; its versions could not be listed ({error.message}){undo}"
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
    _delete(op, copy)
    return _BURIED


def _looks_like_the_copy(op: Operation, copy: Copy, source: Pin) -> bool:
    """Whether source and target may be two names of one object: they look alike in everything."""
    if _plain(copy.source[1]) != _plain(copy.target[1]):
        return False
    target = copy.copied
    if target is None or "LastModified" not in target.answer:
        try:
            target = copy.pin_of_copy(None)
        except ObjectNotFoundException as error:
            raise ObjectChanged("somebody removed the copy; the source was kept") from error
    return unchanged(source, target)


def _plain(key: str) -> str:
    """A key without what stores on top of file systems may not tell apart."""
    text = unicodedata.normalize("NFKC", unquote(key)).casefold()
    return posixpath.normpath(f"/{text.strip('/')}")


def _refuse_same_object(op: Operation, copy: Copy) -> None:
    """Raise unless source and target are two objects, and not names of one.

    Two keys of one bucket are two objects if both are listed. The same key in two buckets is one
    object if a multipart upload that is begun in one of them, and aborted at once, is seen in the
    other; nothing becomes visible. If it cannot be told, nothing is risked.
    """
    (bucket, key), (other_bucket, other_key) = copy.source, copy.target
    if bucket == other_bucket:
        same = not all(_is_listed(op, copy, bucket, each) for each in (key, other_key))
    else:
        same = _is_alias(op, copy)
    if same:
        raise ObjectClerkParameterException(
            f"{bucket}/{key} and {other_bucket}/{other_key} are two names of one object; it is kept"
        )


def _is_listed(op: Operation, copy: Copy, bucket: str, key: str) -> bool:
    # Keys come in the order of their bytes, so the key itself is the first that begins with it.
    page = request(op, copy.connection, "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=2)
    return any(entry["Key"] == key for entry in page.get("Contents", ()))


def _is_alias(op: Operation, copy: Copy) -> bool:
    """Whether the source's bucket is the target's under another name."""
    (bucket, key), (other_bucket, other_key) = copy.source, copy.target
    where = {"Bucket": other_bucket, "Key": other_key}
    upload_id = begin(op, copy.connection, where)
    try:
        page = request(op, copy.connection, "list_multipart_uploads", Bucket=bucket, Prefix=key)
    except ObjectNotFoundException:
        return False  # what rclone says of a bucket that never had one
    else:
        return any(each.get("UploadId") == upload_id for each in page.get("Uploads", ()))
    finally:
        with contextlib.suppress(ObjectNotFoundException):
            inquiry = Inquiry(op, copy.connection)
            inquiry.insist("abort_multipart_upload", **where, UploadId=upload_id)
