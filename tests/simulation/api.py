"""The requests that the made-up store understands, as boto3's client has them.

Every method takes boto3's parameters as a mapping and returns what boto3 would have parsed.
`ACCEPTS` has the parameters of each; another one is `Unsupported`, and so is another method.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.simulation.digests import ALGORITHMS, checksum, content_md5
from tests.simulation.errors import Unsupported, client_error, metadata
from tests.simulation.store import KEPT_HEADERS, Bucket, Store, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Params = dict[str, Any]
Answer = dict[str, Any]

ACCEPTS: dict[str, frozenset[str]] = {}

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")

#: Groups of parameters.
WHERE = "Bucket Key "
SSE = "SSECustomerAlgorithm SSECustomerKey SSECustomerKeyMD5 ServerSideEncryption SSEKMSKeyId "
KEPT = " ".join(KEPT_HEADERS) + " Metadata Tagging " + SSE
SUMS = "ContentMD5 ChecksumAlgorithm " + " ".join(f"Checksum{each} " for each in ALGORITHMS)
CONDITIONS = "IfMatch IfNoneMatch "
COPY = "CopySource CopySourceIfMatch CopySourceIfNoneMatch "


def accepts(parameters: str) -> Callable[[Any], Any]:
    """State the parameters of a request."""

    def register(function: Any) -> Any:
        ACCEPTS[function.__name__] = frozenset(parameters.split())
        return function

    return register


class Api:
    """S3 over a `Store`; no faults happen here."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.traits = store.traits
        self.profile = store.profile

    def call(self, method: str, given: Params) -> Answer:
        """Carry out one request."""
        if method not in ACCEPTS:
            raise Unsupported(f"the made-up store has no {method}")
        if unknown := given.keys() - ACCEPTS[method]:
            raise Unsupported(f"the made-up store knows no {sorted(unknown)} of {method}")
        self.store.method = method
        if "Bucket" in given and method != "create_bucket":
            self._bucket(method, given)
        try:
            answer: Answer = getattr(self, method)(given)
        except ClientError:
            raise
        except Exception as error:  # a mistake of ours must not pass for a failure of the server
            raise Unsupported(f"the made-up store fails at {method}: {error!r}") from error
        answer.setdefault("ResponseMetadata", metadata())
        return answer

    # -- shared ----------------------------------------------------------------------------

    def error(self, code: str, status: int) -> ClientError:
        return client_error(self.store.method, code, status)

    def _bucket(self, method: str, given: Params) -> Bucket:
        found = self.store.buckets.get(given["Bucket"])
        if found is None:
            raise client_error(method, "NoSuchBucket", 404)
        return found

    def find(self, given: Mapping[str, Any]) -> Version:
        """The version that is meant."""
        wanted = given.get("VersionId")
        bucket, key = given["Bucket"], given["Key"]
        if wanted in (None, "null"):
            found = self.store.current(bucket, key)
            if found is None:
                raise self.error("NoSuchKey", 404)
            return found
        for version in self.store.versions(bucket, key):
            if version.version_id == wanted:
                if version.marker:
                    raise self.error("MethodNotAllowed", 405)
                return version
        raise self.error("NoSuchVersion", 404)

    def is_versioned(self, given: Mapping[str, Any]) -> bool:
        return self.store.buckets[given["Bucket"]].versioned

    def _version_id(self, given: Params, version: Version) -> Answer:
        silent = self.store.method in self.profile.no_version_id
        return {} if silent or not self.is_versioned(given) else {"VersionId": version.version_id}

    def check_body(self, given: Params, data: bytes, check_sums: bool = True) -> None:
        """Refuse a body that its digests contradict, if this server does that."""
        if given.get("ContentLength", len(data)) != len(data):
            raise self.error("IncompleteBody", 400)
        stated = given.get("ContentMD5")
        if stated and self.traits.verifies_content_md5 and stated != content_md5(data):
            raise self.error("BadDigest", 400)
        for name in ALGORITHMS:
            stated = given.get(f"Checksum{name}")
            wrong = stated is not None and stated != checksum(name, data)
            if wrong and check_sums and self.traits.verifies_checksum_header:
                raise self.error("BadDigest", 400)

    def check_conditions(self, given: Params, if_match: str, if_none_match: bool) -> None:
        """Refuse to write where the target is not as the request wants it.

        Args:
            given: the parameters.
            if_match: "honoured", "ignored", "refused" (501), or "unquoted", as Ceph 16 has it.
            if_none_match: whether it is honoured.
        """
        there = self.store.current(given["Bucket"], given["Key"])
        if given.get("IfNoneMatch") is not None and if_none_match and there is not None:
            raise self.error("PreconditionFailed", 412)
        wanted = given.get("IfMatch")
        if wanted is None or if_match == "ignored":
            return
        if if_match == "refused":
            raise self.error("NotImplemented", 501)
        if there is None:
            raise self.error("NoSuchKey", 404)
        etag = wanted if if_match == "unquoted" else wanted.strip('"')
        if etag != there.etag:
            raise self.error("PreconditionFailed", 412)

    def describe(self, version: Version, given: Params) -> Answer:
        """What HEAD and GET say of a version."""
        answer: Answer = {
            "ETag": f'"{version.etag}"',
            "LastModified": version.modified,
            "AcceptRanges": "bytes",
            "Metadata": dict(version.metadata),
            **version.headers,
        }
        if self.is_versioned(given):
            answer["VersionId"] = version.version_id
        answer |= self.encryption()
        if given.get("ChecksumMode") == "ENABLED" or not self.traits.range_without_checksum:
            answer |= version.checksums
            if version.checksum_type and self.traits.verifies_checksum_header:
                answer["ChecksumType"] = version.checksum_type
        return answer

    # -- buckets ---------------------------------------------------------------------------

    @accepts("Bucket")
    def create_bucket(self, given: Params) -> Answer:
        self.store.buckets.setdefault(given["Bucket"], Bucket())
        return {}

    @accepts("Bucket")
    def delete_bucket(self, given: Params) -> Answer:
        if self.store.buckets[given["Bucket"]].objects:
            raise self.error("BucketNotEmpty", 409)
        del self.store.buckets[given["Bucket"]]
        return {}

    @accepts("Bucket")
    def head_bucket(self, given: Params) -> Answer:
        return {}

    @accepts("Bucket VersioningConfiguration")
    def put_bucket_versioning(self, given: Params) -> Answer:
        if not self.traits.versioning:
            raise self.error("NotImplemented", 501)
        status = given["VersioningConfiguration"]["Status"]
        self.store.buckets[given["Bucket"]].versioned = status == "Enabled"
        return {}

    @accepts("Bucket")
    def get_bucket_versioning(self, given: Params) -> Answer:
        return {"Status": "Enabled"} if self.is_versioned(given) else {}

    # -- objects ---------------------------------------------------------------------------

    @accepts(WHERE + "VersionId PartNumber ChecksumMode IfMatch IfNoneMatch " + SSE)
    def head_object(self, given: Params) -> Answer:
        version = self.find(given)
        self._check_read(given, version)
        data, described = self._part(given, version, self.traits.head_part_number)
        answer = self.describe(version, given) | described
        answer["ContentLength"] = len(data)
        headers = {"etag": answer["ETag"], "content-length": str(len(data))}
        answer["ResponseMetadata"] = metadata(206 if described else 200, headers)
        return answer

    @accepts(WHERE + "VersionId PartNumber Range ChecksumMode IfMatch IfNoneMatch " + SSE)
    def get_object(self, given: Params) -> Answer:
        """GetObject; the `Body` is bytes here, `wire` makes a stream of it."""
        version = self.find(given)
        self._check_read(given, version)
        data, described = self._part(given, version, self.traits.get_part_number)
        answer = self.describe(version, given) | described
        if match := _RANGE.fullmatch(given.get("Range", "")):
            begin, size = int(match[1]), len(version.data)
            end = min(int(match[2]) if match[2] else size - 1, size - 1)
            if begin > end:
                raise self.error("InvalidRange", 416)
            data = version.data[begin : end + 1]
            answer["ContentRange"] = f"bytes {begin}-{end}/{size}"
            if self.traits.range_without_checksum and len(data) < size:
                for name in version.checksums:
                    answer.pop(name, None)
        answer["ContentLength"] = len(data)
        answer["Body"] = data
        return answer

    def _check_read(self, given: Params, version: Version) -> None:
        wanted = given.get("IfMatch")
        if wanted and self.traits.get_if_match and wanted.strip('"') != version.etag:
            raise self.error("PreconditionFailed", 412)
        unwanted = given.get("IfNoneMatch")
        if unwanted and self.traits.get_if_none_match and unwanted.strip('"') == version.etag:
            raise client_error("head_object", "NotModified", 304)

    def _part(self, given: Params, version: Version, heeded: bool) -> tuple[bytes, Answer]:
        number = given.get("PartNumber")
        if number is None or not heeded:
            return version.data, {}
        sizes = version.part_sizes or (len(version.data),)
        if not 0 < number <= len(sizes):
            raise self.error("InvalidPart", 416)
        begin = sum(sizes[: number - 1])
        end = begin + sizes[number - 1]
        described: Answer = {"ContentRange": f"bytes {begin}-{end - 1}/{len(version.data)}"}
        if version.part_sizes:
            described["PartsCount"] = len(sizes)
        return version.data[begin:end], described

    @accepts(WHERE + "Body ContentLength " + KEPT + SUMS + CONDITIONS)
    def put_object(self, given: Params) -> Answer:
        data = given.get("Body", b"")
        self.check_body(given, data)
        self.check_conditions(given, self.profile.put_if_match, self.traits.put_if_none_match)
        stored = self.store.kept_of(data)
        version = self.store.version([stored], True, given)
        for name in ALGORITHMS:
            if (claimed := given.get(f"Checksum{name}")) is not None:
                self.store.add_checksum(version, name, claimed, "FULL_OBJECT", [stored])
        self.store.insert(given["Bucket"], given["Key"], version)
        return self._stored(given, version)

    def _stored(self, given: Params, version: Version) -> Answer:
        answer: Answer = {"ETag": f'"{version.etag}"', **self._version_id(given, version)}
        answer |= self.encryption()
        if self.traits.verifies_checksum_header:
            answer |= version.checksums
        return answer

    @accepts(
        WHERE + COPY + CONDITIONS + KEPT + "ChecksumAlgorithm MetadataDirective TaggingDirective"
    )
    def copy_object(self, given: Params) -> Answer:
        origin = given["CopySource"]
        source = self.copy_source(given)
        self.check_conditions(given, self.profile.copy_if_match, self.traits.copy_if_none_match)
        is_same = (origin["Bucket"], origin["Key"]) == (given["Bucket"], given["Key"])
        replaces = given.get("MetadataDirective") == "REPLACE"
        if is_same and not replaces and self.traits.copy_to_itself_rejected:
            raise self.error("InvalidRequest", 400)
        kept = given if replaces else {**source.headers, "Metadata": source.metadata}
        data = self.store.kept_of(source.data)
        version = self.store.version([data], True, kept)
        if not replaces:
            version.metadata, version.tags = dict(source.metadata), source.tags
        if not self.traits.copy_etag_computed:
            version.etag = source.etag
        algorithms = {name.removeprefix("Checksum") for name in source.checksums}
        algorithms = {given["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in given else algorithms
        for name in sorted(algorithms):
            self.store.add_checksum(version, name, None, "FULL_OBJECT", [data])
        self.store.insert(given["Bucket"], given["Key"], version)
        result = {"ETag": f'"{version.etag}"', "LastModified": version.modified}
        if self.traits.verifies_checksum_header:
            result |= version.checksums
        found = {"CopyObjectResult": result, **self._version_id(given, version)}
        return found | self.encryption()

    def encryption(self) -> Answer:
        """What an answer says of the encryption of what was stored."""
        return {"ServerSideEncryption": "aws:kms"} if self.profile.etag == "kms" else {}

    def copy_source(self, given: Params) -> Version:
        """The version to copy, if it is the one that is wanted."""
        origin = given["CopySource"]
        self._bucket(self.store.method, origin)
        source = self.find(origin)
        wanted = given.get("CopySourceIfMatch")
        if wanted and self.traits.copy_source_if_match and wanted.strip('"') != source.etag:
            raise self.error("PreconditionFailed", 412)
        return source

    @accepts(WHERE + "VersionId IfMatch")
    def delete_object(self, given: Params) -> Answer:
        self._delete_condition(given, given.get("IfMatch"))
        marker = self._remove(given, given.get("VersionId"))
        return {} if marker is None else {"DeleteMarker": True, "VersionId": marker.version_id}

    def _delete_condition(self, given: Params, wanted: str | None) -> None:
        if wanted is None or not self.traits.delete_if_match:
            return
        there = self.store.current(given["Bucket"], given["Key"])
        if there is None:
            raise self.error("NoSuchKey", 404)
        versioned = self.store.buckets[given["Bucket"]].versioned
        blind = (there.part_sizes and not self.traits.delete_if_match_of_parts) or (
            versioned and not self.traits.delete_if_match_of_versions
        )
        if wanted.strip('"') not in ("*", None if blind else there.etag):
            raise self.error("PreconditionFailed", 412)

    def _remove(self, given: Params, version_id: str | None) -> Version | None:
        version_id = None if version_id == "null" else version_id
        return self.store.remove(given["Bucket"], given["Key"], version_id)

    @accepts("Bucket Delete ContentMD5 ChecksumAlgorithm")
    def delete_objects(self, given: Params) -> Answer:
        answer: Answer = {}
        for entry in given["Delete"]["Objects"]:
            if unknown := entry.keys() - {"Key", "VersionId", "ETag"}:
                raise Unsupported(f"the made-up store knows no {sorted(unknown)} of a deletion")
            where = {"Bucket": given["Bucket"], "Key": entry["Key"]}
            if entry["Key"] in self.store.busy:
                error = {"Key": entry["Key"], "Code": "InternalError", "Message": "made up"}
                answer.setdefault("Errors", []).append(error)
                continue
            self._remove(where, entry.get("VersionId"))
            answer.setdefault("Deleted", []).append({"Key": entry["Key"]})
        return answer

    # -- tags and attributes ---------------------------------------------------------------

    @accepts(WHERE + "VersionId")
    def get_object_tagging(self, given: Params) -> Answer:
        if not self.traits.tagging:
            raise self.error("NotImplemented", 501)
        return {"TagSet": [dict(tag) for tag in self.find(given).tags]}

    @accepts(WHERE + "VersionId Tagging ContentMD5 ChecksumAlgorithm")
    def put_object_tagging(self, given: Params) -> Answer:
        if not self.traits.tagging:
            raise self.error("NotImplemented", 501)
        self.find(given).tags = tuple(given["Tagging"]["TagSet"])
        return {}

    @accepts(WHERE + "VersionId ObjectAttributes MaxParts PartNumberMarker")
    def get_object_attributes(self, given: Params) -> Answer:
        version = self.find(given)
        if not self.traits.get_object_attributes:  # it answers with the object itself
            raise client_error("get_object_attributes", "", 500)
        answer: Answer = {"ETag": version.etag, "ObjectSize": len(version.data)}
        if version.checksums:
            answer["Checksum"] = {**version.checksums, "ChecksumType": version.checksum_type}
        if version.part_sizes:
            parts = [{"PartNumber": n, "Size": s} for n, s in enumerate(version.part_sizes, 1)]
            answer["ObjectParts"] = {
                "TotalPartsCount": len(parts),
                "IsTruncated": False,
                "Parts": parts,
            }
        wanted = {*given["ObjectAttributes"], "ResponseMetadata"}
        return {name: value for name, value in answer.items() if name in wanted}
