"""Staging: an object is uploaded beside its key, proved there, and only then put in its place.

A server that spoils what it stores, after it has checked it, cannot spoil what is under the key
this way. It costs a copy within the store.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from object_clerk.exceptions import ObjectClerkException
from object_clerk.transfer.multipart import Inquiry

if TYPE_CHECKING:
    from object_clerk.receipt import Receipt
    from object_clerk.transfer.copy import Copy
    from object_clerk.transfer.upload import Upload


def upload_staged(upload: Upload, copy: Copy, *, allow_empty: bool) -> Receipt:
    """Upload to the staging key, then copy with proof to the final one.

    Whatever happens, the staged object is removed, unless the process dies.

    Args:
        upload: goes to the staging key.
        copy: from there to the final key.
        allow_empty: as for :meth:`Upload.run`.
    """
    uploaded: Receipt | None = None
    try:
        uploaded = upload.run(allow_empty=allow_empty)
        receipt, _ = copy.run()
    finally:
        _remove(upload, uploaded.version_id if uploaded else None)
    return dataclasses.replace(
        upload.op.renewed(receipt),
        source=None,
        digests=uploaded.digests,
        basis=f"{receipt.basis}; staged, and proved there by {uploaded.basis}",
    )


def _remove(upload: Upload, version_id: str | None) -> None:
    """Remove the staged object, in all the versions that repeated requests may have made."""
    end = Inquiry(upload.op, upload.connection).end
    try:
        versions = {version_id}
        if version_id is not None:
            found = end("list_object_versions", Bucket=upload.bucket, Prefix=upload.key)
            versions |= {each["VersionId"] for each in found.get("Versions", ())}
        for each in versions:
            end("delete_object", **upload.where, VersionId=each)
    except ObjectClerkException as error:
        upload.op.notes.append(f"the staged object {upload.key} was left behind: {error.message}")
