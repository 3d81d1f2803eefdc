"""How one of S3's operations becomes a request, and its answer what boto3 returns; no I/O.

Where each parameter goes, and what each header means, is read from botocore's own description of
the service. What that would take more than a header or a query for is left to botocore.
"""

from __future__ import annotations

import abc
import dataclasses
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from object_clerk.lane import xml
from object_clerk.lane.moment import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from botocore.model import OperationModel, Shape, StructureShape

    from object_clerk.lane.http import Answer

#: Parameters for which botocore does more than to send them: it makes keys and digests of them.
_TAKEN_APART = re.compile(r"(CopySource)?SSECustomer|Checksum(Algorithm|Mode|Type)$")

#: The same names, where they are no more than headers.
_ONLY_HEADERS = {
    "HeadObject": ("ChecksumMode",),
    "CreateMultipartUpload": ("ChecksumAlgorithm", "ChecksumType"),
    "CopyObject": ("ChecksumAlgorithm",),
}

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TYPES: Mapping[str, tuple[type, Callable[[Any], str]]] = {
    "string": (str, str),
    "integer": (int, str),
    "long": (int, str),
    "boolean": (bool, lambda value: str(value).lower()),
}


class Streamed(abc.ABC):
    """A body that is not held in memory: it is read to be sent, and knows its own digest."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Its length in bytes."""

    @abc.abstractmethod
    def sha256(self) -> str:
        """The digest of all of it, in hexadecimal; asked for where the body is to be signed."""

    @abc.abstractmethod
    def begin_sending(self) -> None:
        """Called before it is read to be sent; reading begins at its start."""

    @abc.abstractmethod
    def read(self, amount: int, /) -> bytes:
        """The next bytes, at most ``amount``; none at the end."""

    @abc.abstractmethod
    def seek(self, offset: int, /) -> int:
        """Move to another place."""


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A request that is not addressed and signed yet.

    Attributes:
        bucket: the bucket.
        path: what follows the bucket in the path, percent-encoded.
        query: the query, percent-encoded and sorted.
        headers: by lower-case name.
        body: what it carries; None if it carries nothing.
        encoded: whether the answer is to have its keys encoded, without the caller's asking.
    """

    bucket: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes | bytearray | Streamed | None
    encoded: bool


_BODIES = (bytes, bytearray, Streamed, type(None))


class Plan:
    """How to speak of one operation.

    Attributes:
        name: S3's name of the operation.
        method: the method of HTTP.
        streams: whether the body of the answer is handed over as it comes.
    """

    def __init__(self, model: OperationModel) -> None:
        assert model.input_shape is not None
        assert model.output_shape is not None
        self.name = model.name
        self.method: str = model.http["method"]
        self.streams: bool = model.has_streaming_output
        self.output: StructureShape = model.output_shape
        _, _, self._static_query = model.http["requestUri"].partition("?")
        self._payload = model.input_shape.serialization.get("payload")
        self._places = dict(_places(self.name, model.input_shape.members))
        self._readers = dict(_readers(model.output_shape.members))
        self._prefixes = {
            name: member
            for member, shape in model.output_shape.members.items()
            if (name := _at(shape, "headers"))
        }
        self._members = frozenset(model.input_shape.members)
        self._required = frozenset(model.input_shape.required_members)
        self._of_object = "Key" in self._members
        self._listing = self.name == "ListObjectsV2"

    def call(self, parameters: Mapping[str, Any]) -> Call | None:
        """The request with these parameters, or None if it takes more than is known here."""
        if not self._required <= parameters.keys() <= self._members:
            return None  # boto3 says what is wrong
        query = [part for part in (self._static_query,) if part]
        headers: dict[str, str] = {}
        given = dict(parameters)
        bucket, key = given.pop("Bucket", None), given.pop("Key", None)
        body = given.pop(self._payload, None) if self._payload else None
        encoded = self._listing and "EncodingType" not in given
        if encoded:
            query.append("encoding-type=url")  # as boto3: a listing may hold what XML cannot
        if "CopySource" in given:
            headers["x-amz-copy-source"] = _copy_source(given.pop("CopySource"))
        if "Metadata" in given:
            metadata = _metadata_headers(given.pop("Metadata"))
            if metadata is None:
                return None
            headers |= metadata
        for name, value in given.items():
            place = self._places.get(name)
            if place is None or type(value) is not place.type:
                return None
            if place.in_query:
                query.append(f"{place.name}={quote(place.text(value), safe='-_.~')}")
            else:
                headers[place.name] = place.text(value)
        if not (_plain(headers) and isinstance(bucket, str) and isinstance(body, _BODIES)):
            return None
        if self._of_object and not (isinstance(key, str) and key):
            return None
        length = str(len(body or b""))
        if headers.get("content-length", length) != length:
            return None
        path = quote(key, safe="/~") if key else ""
        return Call(
            bucket,
            path,
            "&".join(sorted(query, key=_pair)),
            headers,
            body,
            encoded,
        )

    def answer(self, call: Call, answer: Answer) -> dict[str, Any]:
        """What boto3 would return for an answer that is a success.

        Raises:
            ValueError: the answer makes no sense; ErrorBody if it is an error after all.
        """
        found: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for name, value in answer.headers:
            lower = name.lower()
            seen[lower] = value
            if reader := self._readers.get(lower):
                found[reader.member] = reader.value(value)
            elif lower.startswith("x-amz-meta-") and "x-amz-meta-" in self._prefixes:
                found.setdefault("Metadata", {})[name[len("x-amz-meta-") :]] = value
        for member in self._prefixes.values():
            found.setdefault(member, {})
        if text := found.get("ExpiresString"):
            try:
                found["Expires"] = moment(text)
            except (ValueError, RuntimeError):  # it is whatever the uploader said
                del seen["expires"]
        if self.streams:
            found["Body"] = answer.body
        else:
            found |= xml.parse(answer.body, self.output, encoded=call.encoded)
        found["ResponseMetadata"] = _metadata(answer.status, seen)
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where a parameter goes."""

    in_query: bool
    name: str
    type: type
    text: Callable[[Any], str]


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """What a header of the answer becomes."""

    member: str
    value: Callable[[str], Any]


def _at(shape: Shape, location: str) -> str | None:
    """The name of a member on the wire, in lower case, if that is where it is."""
    there = shape.serialization.get("location") == location
    return shape.serialization["name"].lower() if there else None


def _places(operation: str, members: Mapping[str, Shape]) -> Iterable[tuple[str, _Place]]:
    for member, shape in members.items():
        if _TAKEN_APART.match(member) and member not in _ONLY_HEADERS.get(operation, ()):
            continue
        if shape.type_name not in _TYPES:
            continue
        if shape.serialization.get("location") == "querystring":
            yield member, _Place(True, shape.serialization["name"], *_TYPES[shape.type_name])
        elif name := _at(shape, "header"):
            yield member, _Place(False, name, *_TYPES[shape.type_name])


def _readers(members: Mapping[str, Shape]) -> Iterable[tuple[str, _Reader]]:
    values: Mapping[str, Callable[[str], Any]] = {
        "string": str,
        "integer": int,
        "long": int,
        "boolean": "true".__eq__,
        "timestamp": moment,
    }
    for member, shape in members.items():
        if member == "Expires":  # as boto3: it need not be a time
            yield "expires", _Reader("ExpiresString", str)
        elif (name := _at(shape, "header")) and shape.type_name in values:
            yield name, _Reader(member, values[shape.type_name])


def _copy_source(source: Any) -> str:
    """The header for a source; only the form with Bucket, Key and VersionId is taken."""
    if not (isinstance(source, dict) and all(isinstance(each, str) for each in source.values())):
        return ""
    bucket, key, version = map(source.get, ("Bucket", "Key", "VersionId"))
    if bucket is None or key is None or ":" in bucket:
        return ""
    text = quote(f"{bucket}/{key}", safe="/~")
    return text if version is None else f"{text}?versionId={version}"


def _metadata_headers(metadata: Any) -> dict[str, str] | None:
    """The headers for metadata; None if boto3 would refuse it, or make two headers of one name."""
    if not (isinstance(metadata, dict) and all(isinstance(name, str) for name in metadata)):
        return None
    headers = {f"x-amz-meta-{name.lower()}": value for name, value in metadata.items()}
    return headers if len(headers) == len(metadata) else None


def _plain(headers: Mapping[str, str]) -> bool:
    """Whether all headers can be sent and signed as they are."""
    return all(
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
        and value != ""
        and "  " not in value
        and _TOKEN.fullmatch(name)
        for name, value in headers.items()
    )


def ask_for_checksums(headers: dict[str, str]) -> None:
    """Ask for the checksums of a whole object.

    As a header of our own: the parameter would make botocore compare them while the body is
    read, a second time and with an error of its own. Of a range, some stores give those of the
    whole, so they are not asked for there.
    """
    if not headers.keys() & {"Range", "range"}:
        headers["x-amz-checksum-mode"] = "ENABLED"


def _pair(query: str) -> tuple[str, str, str]:
    """What it is sorted by: the name first, which may be the beginning of another."""
    return query.partition("=")


def _metadata(status: int, headers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "HTTPStatusCode": status,
        "HTTPHeaders": headers,
        "RetryAttempts": 0,
    }
    if "x-amzn-requestid" in headers:
        found["RequestId"] = headers["x-amzn-requestid"]
    elif "x-amz-request-id" in headers:
        found["RequestId"] = headers["x-amz-request-id"]
        found["HostId"] = headers.get("x-amz-id-2", "")
    return found
