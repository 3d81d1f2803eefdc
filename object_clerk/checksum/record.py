"""The record: what an upload writes about itself into the object's metadata.

It names the upload, so that one whose answer was lost can be told from somebody else's; it tells
the part size, so that readers need not guess; and where the ETag says nothing it has the digest.
rclone's record ``md5chksum`` is understood too (rclone, "S3: Integrity").
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from object_clerk.checksum.algorithm import MD5, SHA256, Algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Metadata names that belong to the record.
PREFIX = "clerk-"

_TX = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def new_tx() -> str:
    """A name for one upload, never used before."""
    return secrets.token_hex(16)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What an object's metadata says about its bytes.

    Attributes:
        tx: the upload that made it, 32 hexadecimal digits.
        size: its length in bytes.
        part_size: the size of its parts in bytes, if it was uploaded in parts.
        digests: digests of the whole.
    """

    tx: str | None = None
    size: int | None = None
    part_size: int | None = None
    digests: Mapping[Algorithm, bytes] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Record:
        """The record in a HEAD or GET answer; what makes no sense in it is left out.

        Names count in any case, since some stores capitalise them. A record of another size is
        of other bytes: somebody carried the metadata over to new content.
        """
        if not (metadata := answer.get("Metadata")):
            return cls()
        found = {str(k).lower(): str(v) for k, v in metadata.items()}
        tx = found.get(f"{PREFIX}tx", "")
        size = _number(found.get(f"{PREFIX}size"))
        record = cls(tx if _TX.fullmatch(tx) else None, size)
        if size is not None and size != answer.get("ContentLength"):
            return record
        digests = {
            algorithm: digest
            for algorithm in (MD5, SHA256)
            if (digest := _hex(found.get(f"{PREFIX}{algorithm.name.lower()}"), algorithm.size))
        }
        if MD5 not in digests and (digest := _base64(found.get("md5chksum"))):
            digests[MD5] = digest
        return dataclasses.replace(
            record, part_size=_number(found.get(f"{PREFIX}part")) or None, digests=digests
        )

    def metadata(self) -> dict[str, str]:
        """The record as metadata."""
        values: dict[str, object] = {
            "tx": self.tx,
            "size": self.size,
            "part": self.part_size,
            **{algorithm.name.lower(): digest.hex() for algorithm, digest in self.digests.items()},
        }
        return {f"{PREFIX}{name}": str(v) for name, v in values.items() if v is not None}


def tombstone(tx: str, target: str) -> dict[str, str]:
    """The metadata of the empty object that a move may leave for a moment in the source's place."""
    return {f"{PREFIX}tx": tx, f"{PREFIX}moved-to": quote(target)}


def moved_to(answer: Mapping[str, Any]) -> str | None:
    """Where the object was moved to, if a HEAD says that it is only a tombstone."""
    found = {str(k).lower(): str(v) for k, v in (answer.get("Metadata") or {}).items()}
    target = found.get(f"{PREFIX}moved-to")
    return unquote(target) if target and answer.get("ContentLength") == 0 else None


def without_record(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata without an old record, which would be wrong for new bytes."""
    return {k: v for k, v in metadata.items() if not k.lower().startswith(PREFIX)}


def _number(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None


def _hex(text: str | None, size: int) -> bytes | None:
    matches = text and re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text)
    return bytes.fromhex(text) if text and matches else None


def _base64(text: str | None) -> bytes | None:
    try:
        digest = base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == MD5.size else None
