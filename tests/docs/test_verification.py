"""The page on verification: its requests are those that are made, its names those that are used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerk, Verification
from object_clerk.checksum import layout, record
from object_clerk.checksum.algorithm import MD5, SHA256
from object_clerk.endpoint import Support
from object_clerk.testing import FaultProxy
from object_clerk.transfer.copy import LARGEST_IN_MEMORY, LARGEST_WHOLE_PART
from object_clerk.transfer.upload import LARGEST_METADATA
from tests.docs.rst import Page, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from object_clerk.testing import EmbeddedServer, Exchange

MIB = 1 << 20
PART = 5 * MIB
N = 3
SMALL, LARGE = b"small", bytes(2 * PART + 1)

#: Method and what stands in the query -> name of the request, the first that fits.
_NAMES = (
    ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("PUT", "uploadId", "UploadPart"),
    ("GET", "uploadId", "ListParts"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
    ("GET", "uploads", "ListMultipartUploads"),
    ("GET", "list-type", "ListObjectsV2"),
    ("GET", "versioning", "GetBucketVersioning"),
    ("GET", "versions", "ListObjectVersions"),
    ("GET", "tagging", "GetObjectTagging"),
    ("GET", "", "GetObject"),
    ("HEAD", "", "HeadObject"),
    ("PUT", "", "PutObject"),
    ("DELETE", "", "DeleteObject"),
)


@pytest.fixture(scope="module")
def verification() -> Page:
    return page("docs/verification.rst")


# -- requests ------------------------------------------------------------------------------


def name_of(exchange: Exchange) -> str:
    """The name that S3 has for a request."""
    parameters = {part.partition("=")[0] for part in exchange.query.split("&")} | {""}
    name = next(n for method, q, n in _NAMES if method == exchange.method and q in parameters)
    if "/" not in exchange.path.strip("/"):
        name = {"HeadObject": "HeadBucket", "PutObject": "CreateBucket"}.get(name, name)
    if exchange.request_header("x-amz-copy-source") is None:
        return name
    return {"UploadPart": "UploadPartCopy", "PutObject": "CopyObject"}[name]


class Counter:
    """A clerk behind a proxy that tells which requests a call made."""

    def __init__(self, store: EmbeddedServer, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self.clerk = ObjectClerk(
            endpoint_url=proxy.endpoint_url,
            access_key=store.access_key,
            secret_key=store.secret_key,
            transfer_config={"multipart_threshold": PART, "multipart_chunksize": PART},
        )

    def __call__(self, call: Callable[[], object]) -> list[str]:
        self._proxy.clear_log()
        call()
        return [name_of(exchange) for exchange in self._proxy.log]


@pytest.fixture
def counter(store: EmbeddedServer) -> Iterator[Counter]:
    with FaultProxy(store.endpoint_url) as proxy:
        made = Counter(store, proxy)
        yield made
        made.clerk.close()


def expanded(cell: str) -> list[str]:
    """The requests of a cell, those that are made n times so many times."""
    names: list[str] = []
    for each in cell.split(", "):
        times, _, name = each.rpartition(" ")
        names += [name] * (N if times else 1)
    return names


def measured(
    counter: Counter, store: EmbeddedServer, path: Path
) -> Iterator[tuple[str, list[str]]]:
    """What the calls of the page make, in the page's words; the clerk has learnt nothing before."""
    for bucket in ("counted", "versioned"):
        store.create_bucket(bucket)
    counter.clerk.client.put_bucket_versioning(
        Bucket="versioned", VersioningConfiguration={"Status": "Enabled"}
    )

    def upload(data: bytes, key: str, **arguments: Any) -> list[str]:
        return counter(lambda: counter.clerk.upload_object(data, "counted", key, **arguments))

    def copy(key: str, target: str, **arguments: Any) -> list[str]:
        call = counter.clerk.copy_object
        return counter(lambda: call("counted", key, "counted", target, **arguments))

    def move(key: str, bucket: str = "counted", **arguments: Any) -> list[str]:
        counter.clerk.upload_object(SMALL, bucket, key)
        call = counter.clerk.move_object
        return counter(lambda: call(bucket, key, bucket, f"{key} moved", **arguments))

    def delete(key: str, bucket: str = "counted") -> list[str]:
        counter.clerk.upload_object(SMALL, bucket, key)
        etag = counter.clerk.get_object_info(bucket, key)["etag"]
        return counter(lambda: counter.clerk.delete_object(bucket, key, if_match=etag))

    single = upload(SMALL, "small")
    yield "upload in one request", single
    first = upload(LARGE, "large")
    again = upload(LARGE, "large")
    yield "upload in n parts", again
    assert first[-len(again) :] == again
    yield "before the first of these", first[: -len(again)]
    yield "upload with a stage, in one request", upload(SMALL, "staged", stage=True)

    get = counter(lambda: counter.clerk.get_object("counted", "large"))
    with counter.clerk.open_object("counted", "large") as stream:
        assert counter(stream.read) == get[1:]
    yield "get_object, open_object", get
    download = counter(lambda: counter.clerk.download_object("counted", "large", path))
    yield "download to a path, in n ranges", download

    copied = copy("small", "copied")
    yield "copy in one request", copied
    yield "copy in n parts", copy("large", "large copied")

    moved = move("one")
    assert moved[: len(copied)] == copied
    second = move("two")
    assert second[: len(copied)] == copied
    yield "move, after the copy", second[len(copied) :]
    rest = moved[len(copied) :]
    assert rest[-2:] == second[-2:]
    yield "before the first deletion of these", rest[:-2]
    yield "move in a bucket with versions, after the copy", move("one", "versioned")[len(copied) :]
    yield "delete_object with if_match", delete("one")
    yield "the same in a bucket with versions", delete("two", "versioned")
    counter.clerk.endpoint.delete_if_match = Support.UNKNOWN
    asked = delete("one")
    assert asked[-2:] == ["HeadObject", "DeleteObject"]
    yield "before the first of these, where there are no versions", asked[:-2]

    counter.clerk.examine_endpoint("counted")
    trusted = copy("small", "trusted")
    yield "the same, where the server is known to compute the ETag anew", trusted
    buried = move("three", source_guard="tombstone")
    assert buried[: len(trusted)] == trusted
    yield "move with a tombstone, after the copy", buried[len(trusted) :]
    absent = upload(SMALL, "absent", if_absent=True)
    assert absent[1:] == single
    yield "before a conditional upload", absent[:1]
    conditional = copy("large", "large absent", if_absent=True)
    plain = copy("large", "large present")
    assert [conditional[0], *conditional[2:]] == plain
    yield "before a conditional copy", conditional[1:2]

    clerk = counter.clerk
    yield "list_uploads, per 1000 uploads", counter(lambda: list(clerk.list_uploads("counted")))
    yield "list_versions, per 1000 versions", counter(lambda: list(clerk.list_versions("counted")))
    yield "create_bucket", counter(lambda: clerk.create_bucket("another"))
    yield (
        "sweep_uploads, before anything is removed",
        counter(lambda: clerk.sweep_uploads("counted")),
    )


def test_requests_are_those_that_are_made(
    verification: Page, counter: Counter, store: EmbeddedServer, tmp_path: Path
) -> None:
    stated = {row[0]: expanded(row[1]) for row in verification.table("requests")}
    assert dict(measured(counter, store, tmp_path / "file")) == stated


# -- names and figures ---------------------------------------------------------------------


def test_modes_are_those_of_the_argument(verification: Page) -> None:
    modes = re.findall(r'"(\w+)"', " ".join(row[0] for row in verification.table("modes")))
    assert modes == [mode.value for mode in Verification]


def test_names_of_the_record_are_those_that_are_written(verification: Page) -> None:
    digests = {MD5: bytes(MD5.size), SHA256: bytes(SHA256.size)}
    written = record.Record(record.new_tx(), 1, 1, digests).metadata().keys()
    buried = record.tombstone(record.new_tx(), "bucket/key").keys()
    assert {row[0] for row in verification.table("record")} == written | buried
    example = record.Record(record.new_tx(), 12 * MIB, PART).metadata()
    size = sum(len(name) + len(value) for name, value in example.items())
    assert f"An object of 12 MiB in parts has {size} bytes of it" in verification.text
    assert f"S3 allows {LARGEST_METADATA} bytes" in verification.text


def test_limits_are_those_of_the_code(verification: Page) -> None:
    assert (layout.MOST_CANDIDATES, layout.MOST_LATER_CANDIDATES) == (4, 128)
    assert "four are computed while the bytes arrive" in verification.text
    assert f"try {layout.MOST_LATER_CANDIDATES} more" in verification.text
    assert f"copied as one part, up to {LARGEST_WHOLE_PART >> 30} GiB" in verification.text
    assert f"a source of up to {LARGEST_IN_MEMORY >> 20} MiB is read" in verification.text
