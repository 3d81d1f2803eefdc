"""What servers differ in, and what each difference means for what the clerk can promise."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from object_clerk.endpoint.answers import Support

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Feature:
    """One thing that servers do or do not do.

    Attributes:
        name: the attribute of :class:`~object_clerk.endpoint.Endpoint`.
        label: what reports call it.
        honoured: what it means that the server does it.
        missing: what it means that the server does not, and which setting helps.
        says: the findings in words, where they are not those of ``Support``.
    """

    name: str
    label: str
    honoured: str
    missing: str
    says: Mapping[Support, str] = dataclasses.field(default_factory=dict)

    def finding(self, support: Support, detail: str) -> str:
        """The finding in words."""
        if support is Support.UNKNOWN and detail:
            return detail
        text = self.says.get(support, support.value)
        return f"{text} ({detail})" if detail else text

    def meaning(self, support: Support) -> str:
        """What the finding means for guarantees."""
        if support is Support.UNKNOWN:
            return "nothing rests on it until it is known"
        return self.honoured if support is Support.HONOURED else self.missing


_CONDITION = {
    Support.HONOURED: "a condition that does not hold is refused",
    Support.IGNORED: "a condition that does not hold is passed over",
    Support.REFUSED: "the server does not take the condition",
}

FEATURES = (
    Feature(
        "crc32",
        "x-amz-checksum-crc32",
        "parts carry a CRC32 that the server checks before it keeps them",
        "no CRC32 is sent: uploads rest on Content-MD5 and on the ETags that are compared",
    ),
    Feature(
        "content_md5",
        "Content-MD5",
        "every body is checked on arrival, so uploads are proved even where ETags are not MD5s",
        "nothing is checked on arrival: where the ETag is not an MD5, an upload is read back "
        "before it counts as proved",
    ),
    Feature(
        "put_if_none_match",
        "PUT If-None-Match",
        "an upload in one request can be told not to replace what is there",
        "an upload in one request may replace what another writer has just put there: let each "
        "key have one writer",
        _CONDITION,
    ),
    Feature(
        "put_if_match",
        "PUT If-Match",
        "an upload in one request can be told to replace one state of the object only",
        "an upload in one request may replace a newer object unseen: let each key have one writer",
        _CONDITION,
    ),
    Feature(
        "complete_if_none_match",
        "Complete If-None-Match",
        "an upload in parts can be told not to replace what is there",
        "an upload in parts may replace what another writer has just put there: raise "
        "MULTIPART_THRESHOLD if PUT If-None-Match is honoured, else let each key have one writer",
        _CONDITION,
    ),
    Feature(
        "copy_source_if_match",
        "Copy source If-Match",
        "the server copies the state of the source that was looked at, or nothing",
        "a source that is replaced underway is noticed by comparing before and after, not by "
        "the server",
        _CONDITION,
    ),
    Feature(
        "copy_if_none_match",
        "Copy If-None-Match",
        "a copy in one request can be told not to replace what is there",
        "a copy in one request may replace what another writer has just put there",
        _CONDITION,
    ),
    Feature(
        "get_if_match",
        "GET If-Match",
        "a read never mixes two states of an object: the server refuses the second",
        "a read never mixes two states of an object either, but only since the ETag of every "
        "answer is compared",
        _CONDITION,
    ),
    Feature(
        "delete_if_match",
        "DELETE If-Match",
        "move_object deletes the source only while it is what was copied",
        "DELETE ignores If-Match: move_object looks at the source again just before deleting; a "
        "writer in that window is lost; source_guard='require' keeps the source instead",
        _CONDITION,
    ),
    Feature(
        "part_number",
        "partNumber",
        "where the parts of a foreign object begin and end can be asked for",
        "where the parts of a foreign object begin and end has to be inferred from its size; an "
        "object with unusual parts ends in ObjectUnverifiable",
        {
            Support.HONOURED: "a part can be asked for",
            Support.IGNORED: "the whole object comes instead of a part",
            Support.REFUSED: "the server does not take a part number",
        },
    ),
    Feature(
        "copy_etag",
        "ETag of a copy",
        "a copy has an ETag of its own, made of what was stored",
        "a copy has the ETag of its source, whatever was stored: copies are made in the same "
        "parts or read back",
        {
            Support.HONOURED: "computed anew",
            Support.IGNORED: "carried over from the source",
        },
    ),
    Feature(
        "checksums",
        "stored checksums",
        "checksums that come back with an object can prove a read, provided that the server "
        "has checked them (see x-amz-checksum-crc32)",
        "no checksum comes back with an object: reads are proved by ETags and metadata",
        {
            Support.HONOURED: "returned",
            Support.IGNORED: "not returned",
            Support.REFUSED: "the server does not take a checksum",
        },
    ),
    Feature(
        "full_object",
        "whole-object checksum",
        "the server compares the checksum of the whole when an upload in parts is completed",
        "nobody compares a checksum of the whole when an upload in parts is completed: the parts "
        "are compared one by one",
        {Support.REFUSED: "the server does not take it, not even the right one"},
    ),
    Feature(
        "object_size",
        "whole-object size",
        "the server compares the size when an upload in parts is completed",
        "nobody compares the size when an upload in parts is completed: the parts are counted "
        "before, and the object is looked at afterwards",
        {Support.REFUSED: "the server does not take it, not even the right one"},
    ),
    Feature(
        "versioning",
        "versions",
        "what is replaced or deleted can be had back, and moves delete the one version they copied",
        "what is replaced or deleted is gone",
        {
            Support.HONOURED: "the bucket keeps them",
            Support.IGNORED: "the bucket keeps none",
            Support.REFUSED: "the bucket keeps those it has and makes no more",
        },
    ),
)
