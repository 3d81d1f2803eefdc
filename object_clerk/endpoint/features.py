"""What servers differ in, and what each difference means for what the clerk can promise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from object_clerk.endpoint.answers import Answer, Support

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One thing that servers do or do not do.

    Attributes:
        name: the attribute of :class:`~object_clerk.endpoint.Endpoint`.
        label: what reports call it.
        honoured: what it means that the server does it.
        missing: what it means that the server does not.
        settings: what helps then.
        says: the findings in words, where they are not those of ``Support``.
    """

    name: str
    label: str
    honoured: str
    missing: str
    settings: str = ""
    says: Mapping[Support, str] = dataclasses.field(default_factory=dict)

    def finding(self, answer: Answer) -> Finding:
        """What the answer of a server comes to."""
        support, detail = answer.support, answer.detail
        text = self.says.get(support, support.value)
        if support is Support.UNKNOWN:
            return Finding(self.label, support, detail or text, "nothing is built on it")
        text = f"{text} ({detail})" if detail else text
        if support is Support.HONOURED:
            return Finding(self.label, support, text, self.honoured)
        return Finding(self.label, support, text, self.missing, self.settings)


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one feature.

    Attributes:
        feature: what it is called.
        support: what the server makes of it.
        text: the same in words.
        meaning: what that means for guarantees.
        settings: what helps, if anything is needed.
    """

    feature: str
    support: Support
    text: str
    meaning: str
    settings: str = ""


_CONDITION = {
    Support.HONOURED: "one that does not hold is refused",
    Support.IGNORED: "one that does not hold is passed over",
    Support.REFUSED: "the server does not take it",
}
_WHOLE = {Support.REFUSED: "the server does not take it, not even the right one"}

FEATURES = (
    Feature(
        name="crc32",
        label="x-amz-checksum-crc32",
        honoured="parts carry a CRC32 that the server checks before it keeps them",
        missing="no CRC32 is sent: uploads rest on Content-MD5 and on the ETags that come back",
    ),
    Feature(
        name="crc64nvme",
        label="x-amz-checksum-crc64nvme",
        honoured="parts carry a CRC64NVME that the server checks before it keeps them, which costs "
        "a tenth of an MD5 and takes its place",
        missing="no CRC64NVME is sent: uploads in parts take the time that MD5 takes",
    ),
    Feature(
        name="content_md5",
        label="Content-MD5",
        honoured="every body is checked on arrival, so uploads are proved even where the ETag is "
        "no MD5",
        missing="nothing is checked on arrival: uploads rest on the ETags that come back, and "
        "where the ETag is no MD5 they are read back",
    ),
    Feature(
        name="put_if_none_match",
        label="PUT If-None-Match",
        honoured="an upload in one request can be told not to replace what is there",
        missing="an upload in one request may replace what another writer has just put there",
        settings="let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="put_if_match",
        label="PUT If-Match",
        honoured="an upload in one request can be told to replace one state of an object only",
        missing="an upload in one request may replace a newer object unseen",
        settings="let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="complete_if_none_match",
        label="Complete If-None-Match",
        honoured="an upload in parts can be told not to replace what is there",
        missing="an upload in parts may replace what another writer has just put there",
        settings="where PUT If-None-Match is honoured, raise MULTIPART_THRESHOLD above the size "
        "of what must not be replaced; else let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="complete_if_match",
        label="Complete If-Match",
        honoured="an upload in parts can be told to replace one state of an object only",
        missing="an upload in parts may replace a newer object unseen",
        settings="let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="copy_source_if_match",
        label="Copy source If-Match",
        honoured="the server copies the state of the source that was looked at, or nothing",
        missing="that a source is replaced underway is noticed by looking before and after, not "
        "prevented",
        says=_CONDITION,
    ),
    Feature(
        name="copy_if_none_match",
        label="Copy If-None-Match",
        honoured="a copy in one request can be told not to replace what is there",
        missing="a copy in one request may replace what another writer has just put there",
        settings="let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="copy_if_match",
        label="Copy If-Match",
        honoured="a copy in one request can be told to replace one state of an object only",
        missing="a copy in one request may replace a newer object unseen",
        settings="let each key have one writer",
        says=_CONDITION,
    ),
    Feature(
        name="get_if_match",
        label="GET If-Match",
        honoured="a read never mixes two states of an object: the server refuses the second",
        missing="a read never mixes two states of an object, only since the ETag of every answer "
        "is compared here",
        says=_CONDITION,
    ),
    Feature(
        name="delete_if_match",
        label="DELETE If-Match",
        honoured="move_object deletes the source only while it is what was copied, and "
        "delete_object has if_match",
        missing="move_object looks at the source again just before deleting; what another writer "
        "puts there in that window is lost; if_match of delete_object is refused",
        settings="source_guard='require' keeps the source instead",
        says=_CONDITION,
    ),
    Feature(
        name="part_number",
        label="partNumber",
        honoured="where the parts of a foreign object begin and end can be asked for",
        missing="where the parts of a foreign object begin and end is inferred from its size; one "
        "with unusual parts may end in ObjectUnverifiable",
        says={
            Support.HONOURED: "a part can be asked for",
            Support.IGNORED: "the whole object comes instead of a part",
            Support.REFUSED: "the server does not take a part number",
        },
    ),
    Feature(
        name="copy_etag",
        label="ETag of a copy",
        honoured="the ETag of a copy is that of what was stored",
        missing="the ETag of a copy is its source's, whatever was stored: copies are made in the "
        "same parts or read back",
        says={
            Support.HONOURED: "computed anew",
            Support.IGNORED: "carried over from the source",
        },
    ),
    Feature(
        name="checksums",
        label="stored checksums",
        honoured="they come back with an object, and prove a read if the server has checked them "
        "(see x-amz-checksum-crc32); else they are what the writer claimed",
        missing="none comes back with an object: reads are proved by ETags and metadata",
        says={
            Support.HONOURED: "returned",
            Support.IGNORED: "not returned",
            Support.REFUSED: "the server does not take one",
        },
    ),
    Feature(
        name="full_object",
        label="checksum at Complete",
        honoured="the server compares a checksum of the whole when an upload in parts is completed",
        missing="when an upload in parts is completed, nobody compares a checksum of the whole: "
        "the parts are compared one by one before",
        says=_WHOLE,
    ),
    Feature(
        name="object_size",
        label="size at Complete",
        honoured="the server compares the size when an upload in parts is completed",
        missing="when an upload in parts is completed, the server does not compare the size: it "
        "is compared here afterwards",
        says=_WHOLE,
    ),
    Feature(
        name="versioning",
        label="versions",
        honoured="what is replaced or deleted can be had back, and a move makes sure that its "
        "delete marker hides only what it copied",
        missing="what is replaced or deleted is gone",
        says={
            Support.HONOURED: "the bucket keeps them",
            Support.IGNORED: "the bucket keeps none",
            Support.REFUSED: "the bucket keeps those it has, and makes no more",
        },
    ),
)
