"""What each server does not do the way S3 is documented to, in one table.

`Traits()` is a server without a gap. Every field is measured by the function of the same name in
`probes`, and `tests/contract/test_server_traits.py` compares, so that a row cannot lie.
"""

from __future__ import annotations

from dataclasses import dataclass

# Keys that are legal in S3 and known to trip something up.
ODD_KEYS = {
    "unicode": "t\u00e4st/\u65e5\u672c\u8a9e \U0001f600.txt",
    "plus and space": "a+b c  d",
    "percent": "100%/%2F%25",
    "query": "what?version=1&x#fragment",
    "markup": '<a href="x">&amp;\'</a>',
    "backslash": "back\\slash",
    "colon": "C:1:2",
    "newline": "line\nbreak",
    "double slash": "a//b",
    "dot": "./a/./b",
    "leading slash": "/a",
    "trailing slash": "folder/",
}


@dataclass(frozen=True)
class Traits:
    """What a server does; the defaults are what S3 is documented to do."""

    # --- who is asking
    verifies_signatures: bool = True
    """A request signed with the wrong secret is refused."""
    unknown_access_key_rejected: bool = True
    """A request with an access key that does not exist is refused."""
    presigned_expiry: bool = True
    """A presigned URL stops working when its time is over."""

    # --- what arrives is what was sent
    verifies_content_md5: bool = True
    """PutObject and UploadPart with a wrong Content-MD5 are refused."""
    verifies_signed_sha256: bool = True
    """A body that differs from the signed x-amz-content-sha256 is refused."""
    verifies_checksum_header: bool = True
    """PutObject with a wrong x-amz-checksum-crc32 is refused."""
    returns_checksum: bool = True
    """A CRC32 sent with PutObject is returned by HeadObject with ChecksumMode."""
    range_without_checksum: bool = True
    """A ranged GET does not carry the checksum of the whole object, which boto3 would refuse."""

    # --- keys and metadata
    unsupported_keys: frozenset[str] = frozenset()
    """The values of ODD_KEYS that cannot be stored, read back and listed."""
    key_length_enforced: bool = True
    """A key of 1025 bytes is refused."""
    metadata_case_kept: bool = True
    """User metadata comes back with the names as sent (lower case) and no others."""
    tagging: bool = True
    """PutObjectTagging and GetObjectTagging work."""
    versioning: bool = True
    """A bucket can be versioned: an overwritten version is read back by its id."""

    # --- conditions
    get_if_match: bool = True
    """GetObject with a wrong If-Match gives 412."""
    get_if_none_match: bool = True
    """GetObject with If-None-Match of the present ETag gives 304."""
    put_if_none_match: bool = True
    """PutObject with If-None-Match: * gives 412 when the key exists, else stores."""
    put_if_none_match_atomic: bool = True
    """Of many concurrent such puts exactly one wins."""
    put_if_match: bool = True
    """PutObject with If-Match stores for the present ETag and gives 412 for another."""
    complete_if_none_match: bool = True
    """CompleteMultipartUpload with If-None-Match: * gives 412 when the key exists."""
    complete_if_match: bool = True
    """CompleteMultipartUpload with a wrong If-Match gives 412."""
    copy_source_if_match: bool = True
    """CopyObject with a wrong CopySourceIfMatch gives 412."""
    copy_if_none_match: bool = True
    """CopyObject with If-None-Match: * gives 412 when the target exists."""
    copy_if_match: bool = True
    """CopyObject with a wrong If-Match gives 412."""
    delete_if_match: bool = True
    """DeleteObject with a wrong If-Match gives 412."""
    delete_if_match_of_parts: bool = True
    """DeleteObject with If-Match deletes an object of parts whose ETag that is."""
    delete_if_match_of_versions: bool = True
    """In a bucket with versions DeleteObject compares If-Match with the latest version."""

    # --- copies
    copy_to_itself_rejected: bool = True
    """CopyObject onto the same key without any change is refused."""
    copy_etag_computed: bool = True
    """The copy of a multipart object in one request has the MD5 of its bytes as its ETag."""
    upload_part_copy: bool = True
    """UploadPartCopy with a range works, and its reply has the part's ETag."""

    # --- multipart uploads
    multipart_etag_kept: bool = True
    """The ETag of a multipart object is md5-of-md5s-N; otherwise it is anything."""
    complete_reply_has_etag: bool = True
    """The reply to CompleteMultipartUpload has the ETag that HeadObject then shows."""
    complete_repeatable: bool = True
    """CompleteMultipartUpload sent again (a retry) succeeds again."""
    part_replaceable: bool = True
    """A part number can be uploaded again (a retry); the last one counts."""
    upload_survives_bad_part: bool = True
    """After a part with a wrong Content-MD5 the right one can be uploaded and completed."""
    wrong_part_etag_rejected: bool = True
    """CompleteMultipartUpload with another ETag for a part is refused."""
    min_part_size_enforced: bool = True
    """A part other than the last that is smaller than 5 MiB is refused on completion."""
    no_such_upload_on_part: bool = True
    """UploadPart after the upload was aborted gives NoSuchUpload."""
    no_such_upload_on_complete: bool = True
    """CompleteMultipartUpload after the upload was aborted gives NoSuchUpload."""
    get_part_number: bool = True
    """GetObject with PartNumber gives that part alone."""
    head_part_number: bool = True
    """HeadObject with PartNumber tells how many parts there are."""
    full_object_checksum: bool = True
    """CompleteMultipartUpload compares the CRC32 of the whole: a wrong one is refused."""
    object_size_compared: bool = True
    """CompleteMultipartUpload with a wrong MpuObjectSize is refused."""
    upload_initiated: bool = True
    """ListMultipartUploads tells when an upload was begun."""

    # --- the rest
    get_object_attributes: bool = True
    """GetObjectAttributes works."""
    create_again: str = ""
    """Error code for creating one's own bucket again; empty when that succeeds."""


def _odd(*names: str) -> frozenset[str]:
    return frozenset(ODD_KEYS[name] for name in names)


TRAITS: dict[str, Traits] = {
    # Verifies nothing at all: a test that wants a refusal has to look elsewhere.
    "moto": Traits(
        verifies_signatures=False,  # any key, any secret
        unknown_access_key_rejected=False,
        presigned_expiry=False,  # 200 for an expired URL
        verifies_content_md5=False,
        verifies_signed_sha256=False,
        verifies_checksum_header=False,  # and returns the claimed value afterwards
        unsupported_keys=_odd("newline"),  # 404 already when it is put
        key_length_enforced=False,
        complete_if_match=False,  # ignored
        copy_source_if_match=False,  # ignored
        copy_if_none_match=False,  # ignored
        copy_if_match=False,  # ignored
        no_such_upload_on_part=False,  # 500, which looks worth a retry
        no_such_upload_on_complete=False,  # the same
        get_part_number=False,  # the whole object with 200
        full_object_checksum=False,  # ignored
        object_size_compared=False,  # ignored
        upload_initiated=False,  # a day in 2010, always the same
    ),
    # Checks what arrives but not who sends it.
    "ministack": Traits(
        verifies_signatures=False,
        unknown_access_key_rejected=False,
        verifies_signed_sha256=False,
        key_length_enforced=False,
        copy_if_none_match=False,  # ignored
        copy_if_match=False,  # ignored
        copy_to_itself_rejected=False,
        copy_etag_computed=False,  # the source's is kept
        min_part_size_enforced=False,
        head_part_number=False,  # ignored, although GET heeds it
        full_object_checksum=False,  # the right one is refused too
    ),
    # Plain files behind an S3 front: no versions, no conditions, no memory of parts.
    "rclone": Traits(
        verifies_signed_sha256=False,
        verifies_checksum_header=False,  # and returns the claimed value afterwards
        range_without_checksum=False,  # a ranged GET has the checksum of the whole object
        # Paths have no empty or dot steps, and a file is no directory.
        unsupported_keys=_odd("double slash", "dot", "leading slash", "trailing slash"),
        metadata_case_kept=False,  # names are capitalised, and `mtime` is added
        versioning=False,
        get_if_match=False,  # all conditions but If-None-Match of a GET are ignored
        put_if_none_match=False,
        put_if_none_match_atomic=False,
        put_if_match=False,
        complete_if_none_match=False,
        complete_if_match=False,
        copy_source_if_match=False,
        copy_if_none_match=False,
        copy_if_match=False,
        delete_if_match=False,
        delete_if_match_of_versions=False,
        copy_to_itself_rejected=False,
        upload_part_copy=False,  # the reply has no ETag of the part
        multipart_etag_kept=False,  # the plain MD5 of the whole
        complete_reply_has_etag=False,  # md5-of-md5s-N there, the plain MD5 later
        complete_repeatable=False,  # NoSuchUpload, although the object is there
        part_replaceable=False,  # 501: a part whose reply was lost cannot be sent again
        upload_survives_bad_part=False,  # one refused part ends the whole upload
        min_part_size_enforced=False,
        get_part_number=False,  # the whole object with 200
        head_part_number=False,
        full_object_checksum=False,  # ignored
        object_size_compared=False,  # ignored
        get_object_attributes=False,  # answers with the object itself
        create_again="BucketAlreadyExists",
    ),
    "swift": Traits(
        returns_checksum=False,  # verified, then forgotten
        tagging=False,  # 501
        put_if_none_match_atomic=False,  # up to half of 16 writers won
        put_if_match=False,  # 501
        complete_if_match=False,  # 501
        copy_if_match=False,  # 501
        delete_if_match_of_parts=False,  # 412 for every ETag
        delete_if_match_of_versions=False,  # the same
        copy_etag_computed=False,  # the source's is kept
        full_object_checksum=False,  # ignored
        object_size_compared=False,  # ignored
        get_object_attributes=False,  # answers with the object itself
        create_again="BucketAlreadyOwnedByYou",
    ),
    # Release 16: before checksums other than MD5, and before conditional writes on completion.
    "ceph": Traits(
        verifies_checksum_header=False,  # ignored
        returns_checksum=False,
        put_if_match=False,  # 412 for the quoted ETag that S3 itself returns
        complete_if_none_match=False,  # ignored
        complete_if_match=False,  # ignored
        copy_source_if_match=False,  # ignored
        copy_if_none_match=False,  # ignored
        copy_if_match=False,  # ignored
        delete_if_match=False,  # ignored
        delete_if_match_of_versions=False,  # ignored
        copy_etag_computed=False,  # the source's is kept
        complete_reply_has_etag=False,  # an empty string
        no_such_upload_on_complete=False,  # 500 InternalError, which looks worth a retry
        get_part_number=False,  # the whole object with 200
        head_part_number=False,
        full_object_checksum=False,  # ignored
        object_size_compared=False,  # ignored
        get_object_attributes=False,  # answers with the object itself
    ),
    "minio": Traits(
        unsupported_keys=_odd("double slash", "dot", "leading slash"),
        copy_if_none_match=False,  # ignored
        copy_if_match=False,  # ignored
        delete_if_match=False,  # ignored
        delete_if_match_of_versions=False,  # ignored
        complete_repeatable=False,  # NoSuchUpload, although the object is there
        object_size_compared=False,  # ignored
        create_again="BucketAlreadyOwnedByYou",
    ),
}
