"""The state of the made-up store, and a journal of all that ever changed in it."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.simulation.digests import checksum as checksum_of
from tests.simulation.digests import composite_checksum, composite_etag, md5

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.simulation.profiles import Profile
    from tests.simulation.stagecraft import Clock

_EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

#: Headers of an object that come back as they were sent.
KEPT_HEADERS = (
    *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage"),
    *("ContentType", "Expires", "StorageClass", "WebsiteRedirectLocation"),
)


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit turned over; `bit` may be any number."""
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def _tags(header: str) -> tuple[Mapping[str, str], ...]:
    """The tags in an x-amz-tagging header."""
    return tuple({"Key": key, "Value": value} for key, value in parse_qsl(header))


@dataclasses.dataclass(slots=True, eq=False)
class Version:
    """One generation of an object, or a delete marker."""

    version_id: str
    author: str
    data: bytes
    etag: str
    modified: datetime.datetime
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tags: Sequence[Mapping[str, str]] = ()
    part_sizes: tuple[int, ...] = ()
    checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checksum_type: str | None = None
    marker: bool = False

    def __repr__(self) -> str:
        what = "marker" if self.marker else f"{len(self.data)} bytes {md5(self.data)[:6]}"
        return f"<{self.version_id} {what} by {self.author}>"


@dataclasses.dataclass(slots=True)
class Upload:
    """A multipart upload that was begun: its parts by number, and what the object will have."""

    upload_id: str
    author: str
    bucket: str
    key: str
    kept: Mapping[str, Any]
    request: int
    parts: dict[int, Version] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Bucket:
    """Keys and their versions, the newest last."""

    versioned: bool = False
    objects: dict[str, list[Version]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class Change:
    """One line of the journal.

    Attributes:
        author: who did it.
        method: with which request.
        bucket: where.
        key: under which key.
        made: the version that came to be, a marker included.
        before: what a reader saw until then.
        after: what a reader saw from then on.
        lost: versions of which no trace is left.
        looked: how long the journal was when the author last looked at the key.
        since: how many requests ago that was, this one included.
    """

    author: str
    method: str
    bucket: str
    key: str
    made: Version | None
    before: Version | None
    after: Version | None
    lost: list[Version]
    looked: int = 0
    since: int = 0


class Store:
    """Buckets, objects, versions, uploads.

    Attributes:
        author: on whose behalf the next changes are made.
        method: by which request.
        request: the number of that request.
        looked: how long the journal was when the author last looked at a key, and at which request.
        journal: every change so far.
        rot: where the next body is spoilt on its way to the disk, if at all.
        busy: keys that a bulk deletion leaves out for now.
    """

    def __init__(self, profile: Profile, clock: Clock, smallest_part: int) -> None:
        self.profile = profile
        self.traits = profile.traits
        self.smallest_part = smallest_part
        self.buckets: dict[str, Bucket] = {}
        self.uploads: dict[str, Upload] = {}
        self.completed: dict[str, dict[str, Any]] = {}
        self.journal: list[Change] = []
        self.looked: dict[tuple[str, str], tuple[int, int]] = {}
        self.rot: int | None = None
        self.busy: frozenset[str] = frozenset()
        self.author = "before"
        self.method = ""
        self.request = -1
        self._clock = clock
        self._serial = 0

    def next_serial(self) -> int:
        """A number that was not given before."""
        self._serial += 1
        return self._serial

    def now(self) -> datetime.datetime:
        """The time, in whole seconds as S3 tells it."""
        return _EPOCH + datetime.timedelta(seconds=int(self._clock.now))

    def kept_of(self, data: bytes) -> bytes:
        """What the disk makes of a body, after all checks of it."""
        if self.rot is None or not data:
            return data
        at, self.rot = self.rot % len(data), None
        # A whole byte, so that a bit that is flipped on the way cannot make up for it.
        return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]

    # -- making versions -------------------------------------------------------------------

    def version(self, parts: Sequence[bytes], whole: bool, kept: Mapping[str, Any]) -> Version:
        """A version made of one body (`whole`), or of parts."""
        serial = self.next_serial()
        data = parts[0] if whole else b"".join(parts)
        version = Version(
            version_id=f"v{serial}",
            author=self.author,
            data=data,
            etag=self._etag(parts, whole, serial),
            modified=self.now(),
            metadata=self._metadata(kept.get("Metadata", {})),
            headers={name: kept[name] for name in KEPT_HEADERS if name in kept},
            tags=_tags(kept.get("Tagging", "")),
            part_sizes=() if whole else tuple(len(part) for part in parts),
        )
        if self.profile.default_checksum and "ChecksumAlgorithm" not in kept:
            self.add_checksum(version, self.profile.default_checksum, None, "FULL_OBJECT", parts)
        return version

    def _metadata(self, given: Mapping[str, str]) -> Mapping[str, str]:
        if self.traits.metadata_case_kept:
            return dict(given)
        return {name.title(): value for name, value in given.items()} | {"Mtime": "1"}

    def _etag(self, parts: Sequence[bytes], whole: bool, serial: int) -> str:
        if self.profile.etag != "md5":
            unlike = hashlib.md5(b"%d" % serial).hexdigest()
            if self.profile.etag == "opaque":
                return f"opaque.{unlike}"
            return unlike if whole else f"{unlike}-{len(parts)}"
        if whole:
            return md5(parts[0])
        if not self.traits.multipart_etag_kept:
            return md5(b"".join(parts))
        return composite_etag(parts)

    def add_checksum(
        self,
        version: Version,
        algorithm: str,
        claimed: str | None,
        kind: str,
        parts: Sequence[bytes],
    ) -> None:
        """Remember a checksum: our own, unless the server believes whatever it is told."""
        if not self.traits.returns_checksum:
            return
        if claimed is not None and not self.traits.verifies_checksum_header:
            value = claimed
        elif kind == "COMPOSITE":
            value = composite_checksum(algorithm, parts)
        else:
            value = checksum_of(algorithm, version.data)
        version.checksums = {**version.checksums, f"Checksum{algorithm}": value}
        version.checksum_type = kind

    # -- looking ---------------------------------------------------------------------------

    def current(self, bucket: str, key: str) -> Version | None:
        """What a reader sees."""
        found = self.buckets.get(bucket)
        versions = found.objects.get(key) if found else None
        return versions[-1] if versions and not versions[-1].marker else None

    def versions(self, bucket: str, key: str) -> list[Version]:
        """All versions of a key, the oldest first."""
        return self.buckets[bucket].objects.get(key, [])

    def keys(self, bucket: str) -> list[str]:
        """The keys that a reader sees, in order."""
        return sorted(key for key in self.buckets[bucket].objects if self.current(bucket, key))

    # -- changing --------------------------------------------------------------------------

    def insert(self, bucket: str, key: str, made: Version) -> None:
        """Put a new version, or a marker, on top."""
        before = self.current(bucket, key)
        versions = self.buckets[bucket].objects.setdefault(key, [])
        lost = [] if self.buckets[bucket].versioned else list(versions)
        if not self.buckets[bucket].versioned:
            versions.clear()
        versions.append(made)
        self._note(bucket, key, made, before, lost)

    def remove(self, bucket: str, key: str, version_id: str | None) -> Version | None:
        """Delete a version for good, or the object; returns a marker that was made."""
        before = self.current(bucket, key)
        versions = self.buckets[bucket].objects.get(key, [])
        if version_id is None and self.buckets[bucket].versioned:
            marker = Version(
                f"v{self.next_serial()}", self.author, b"", "", self.now(), marker=True
            )
            self.insert(bucket, key, marker)
            return marker
        gone = [
            version
            for version in versions
            if version_id is None or version.version_id == version_id
        ]
        for version in gone:
            versions.remove(version)
        if not versions:
            self.buckets[bucket].objects.pop(key, None)
        if gone:
            self._note(bucket, key, None, before, gone)
        return None

    def _note(
        self,
        bucket: str,
        key: str,
        made: Version | None,
        before: Version | None,
        lost: list[Version],
    ) -> None:
        looked, request = self.looked.get((bucket, key), (0, -1))
        self.journal.append(
            Change(
                author=self.author,
                method=self.method,
                bucket=bucket,
                key=key,
                made=made,
                before=before,
                after=self.current(bucket, key),
                lost=[version for version in lost if not version.marker],
                looked=looked,
                since=self.request - request,
            )
        )
