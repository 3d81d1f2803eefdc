"""Objects that other programs wrote: what they left behind proves the bytes."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectVerificationException, Receipt, Verdict
from object_clerk.checksum.algorithm import STORED
from object_clerk.testing import FaultProxy, flip_response_bit
from tests.contract.opaque import opaque_etags
from tests.contract.support import LARGE, MIB, SMALL, blob
from tests.simulation.digests import checksum

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from object_clerk import ObjectClerk
    from tests.contract.conftest import MakeClerk
    from tests.servers import Server, Traits

ALGORITHMS = ("CRC32", "SHA256", "SHA1", "CRC32C", "CRC64NVME")
PARTS = (blob(5 * MIB, 1), blob(SMALL, 2))
ETAGS = pytest.mark.parametrize("renamed", [False, True], ids=["MD5", "opaque"])


@pytest.fixture
def receipts() -> list[Receipt]:
    return []


@pytest.fixture
def reader(make_clerk: MakeClerk, proxy: FaultProxy, receipts: list[Receipt]) -> ObjectClerk:
    """A clerk behind the proxy whose receipts are kept."""
    return make_clerk(endpoint_url=proxy.endpoint_url, on_receipt=receipts.append)


def need(algorithm: str) -> None:
    """Skip what takes the extra crt, if it is not installed."""
    if not {each.name: each.available for each in STORED}[algorithm]:
        pytest.skip(f"{algorithm} takes the extra crt, which is not installed")


def put(s3: S3Client, bucket: str, algorithm: str) -> None:
    """One request with the checksum of the body."""
    value: Any = {f"Checksum{algorithm}": checksum(algorithm, blob(SMALL))}
    if algorithm == "CRC64NVME":  # which is slow to compute here, so boto3 has to do it
        value = {}
    s3.put_object(
        Bucket=bucket,
        Key="key",
        Body=blob(SMALL),
        ChecksumAlgorithm=algorithm,  # type: ignore[arg-type]
        **value,
    )


def put_in_parts(s3: S3Client, bucket: str, algorithm: Any, **kind: Any) -> bytes:
    """An upload in parts that asks for checksums of parts, or of the whole."""
    where: Any = {"Bucket": bucket, "Key": "key"}
    created = s3.create_multipart_upload(**where, ChecksumAlgorithm=algorithm, **kind)
    where["UploadId"] = created["UploadId"]
    done: list[Any] = []
    for number, body in enumerate(PARTS, 1):
        answer: Any = s3.upload_part(
            **where, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm
        )
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if value := answer.get(f"Checksum{algorithm}"):
            part[f"Checksum{algorithm}"] = value
        done.append(part)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    return b"".join(PARTS)


def kept(s3: S3Client, bucket: str, algorithm: str) -> dict[str, Any]:
    """What the server says of the checksum; skip if it says nothing."""
    head: Any = s3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    if f"Checksum{algorithm}" not in head:
        pytest.skip(f"this server gives no {algorithm} back")
    return {name: value for name, value in head.items() if name.startswith("Checksum")}


def test_nothing_but_a_plain_etag(
    reader: ObjectClerk, receipts: list[Receipt], s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=blob(SMALL))

    assert reader.get_object(bucket, "key") == blob(SMALL)
    assert (receipts[-1].verdict, receipts[-1].basis) == (
        Verdict.CONTENT,
        "ETag (MD5 of the whole)",
    )


@ETAGS
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksum_of_an_object_stored_whole(
    algorithm: str,
    renamed: bool,
    reader: ObjectClerk,
    receipts: list[Receipt],
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """Where the ETag says nothing it is the checksum that proves the bytes, or condemns them."""
    need(algorithm)
    put(s3, bucket, algorithm)
    kept(s3, bucket, algorithm)
    if renamed:
        proxy.add(opaque_etags(traits))
    best = renamed or algorithm == "CRC64NVME"
    name = f"x-amz-checksum-{algorithm.lower()} ({algorithm} of the whole)"

    assert reader.get_object(bucket, "key") == blob(SMALL)
    assert receipts[-1].verdict is Verdict.CONTENT
    assert receipts[-1].basis == (name if best else "ETag (MD5 of the whole)")


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_checksum_of_other_bytes(
    algorithm: str,
    make_clerk: MakeClerk,
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """With an ETag that says nothing, a changed bit is noticed all the same."""
    put(s3, bucket, algorithm)
    kept(s3, bucket, algorithm)
    proxy.add(opaque_etags(traits))
    with FaultProxy(proxy.endpoint_url) as changing:
        changing.add(flip_response_bit(9, method="GET", times=None))
        clerk = make_clerk(endpoint_url=changing.endpoint_url)
        with pytest.raises(ObjectVerificationException, match=algorithm.lower()) as caught:
            clerk.get_object(bucket, "key")

    assert type(caught.value) is ObjectVerificationException
    assert caught.value.attempts == 3


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256", "CRC32C"])
def test_checksums_of_parts(
    algorithm: str,
    reader: ObjectClerk,
    receipts: list[Receipt],
    s3: S3Client,
    bucket: str,
) -> None:
    """COMPOSITE, with its number of parts or without: never taken for one of the whole."""
    need(algorithm)
    data = put_in_parts(s3, bucket, algorithm)

    assert reader.get_object(bucket, "key") == data
    assert receipts[-1].verdict is Verdict.CONTENT
    assert receipts[-1].basis.startswith("ETag (MD5 of ")


@ETAGS
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_checksum_of_the_whole_of_an_object_in_parts(
    algorithm: str,
    renamed: bool,
    reader: ObjectClerk,
    receipts: list[Receipt],
    proxy: FaultProxy,
    server: Server,
    s3: S3Client,
    bucket: str,
) -> None:
    """FULL_OBJECT, by its type."""
    need(algorithm)
    try:
        data = put_in_parts(s3, bucket, algorithm, ChecksumType="FULL_OBJECT")
    except s3.exceptions.ClientError as error:
        pytest.skip(f"this server makes no such object: {error}")
    said = kept(s3, bucket, algorithm)
    if said.get("ChecksumType") != "FULL_OBJECT":
        pytest.skip("this server does not say of what its checksum is")
    if (server.name, algorithm) == ("moto", "CRC32C"):
        pytest.skip("moto's CRC32C of the whole is wrong")
    if renamed:
        proxy.add(opaque_etags(server.traits))

    assert reader.get_object(bucket, "key") == data
    assert receipts[-1].verdict is Verdict.CONTENT
    whole = f"x-amz-checksum-{algorithm.lower()} ({algorithm} of the whole)"
    if renamed or algorithm == "CRC64NVME":
        assert receipts[-1].basis == whole
    else:
        assert receipts[-1].basis.startswith(("ETag (MD5 of ", whole))


@ETAGS
@pytest.mark.parametrize("name", ["md5chksum", "Md5Chksum"])
def test_record_of_rclone(
    name: str,
    renamed: bool,
    reader: ObjectClerk,
    receipts: list[Receipt],
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    text = base64.b64encode(hashlib.md5(blob(LARGE)).digest()).decode()
    s3.put_object(Bucket=bucket, Key="key", Body=blob(LARGE), Metadata={name: text})
    if renamed:
        proxy.add(opaque_etags(traits))

    assert reader.get_object(bucket, "key") == blob(LARGE)
    assert receipts[-1].verdict is Verdict.CONTENT
    assert receipts[-1].basis == (
        "record in the metadata (MD5 of the whole)" if renamed else "ETag (MD5 of the whole)"
    )


def test_record_of_our_own(
    reader: ObjectClerk,
    receipts: list[Receipt],
    proxy: FaultProxy,
    s3: S3Client,
    traits: Traits,
    bucket: str,
) -> None:
    """Once a clerk has seen that ETags say nothing, it writes the digest into the metadata."""
    proxy.add(opaque_etags(traits))
    for _ in range(2):
        reader.upload_object(blob(SMALL), bucket, "key")
    receipts.clear()

    metadata = s3.head_object(Bucket=bucket, Key="key")["Metadata"]
    found = {key.lower(): value for key, value in metadata.items()}
    assert found["clerk-md5"] == hashlib.md5(blob(SMALL)).hexdigest()
    assert reader.get_object(bucket, "key") == blob(SMALL)
    assert receipts[-1].verdict is Verdict.CONTENT
    assert receipts[-1].basis.startswith(("record in the metadata", "x-amz-checksum-"))
