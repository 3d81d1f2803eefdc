"""An object beyond the 5 GiB that one request can copy: uploaded, copied, moved, read, resumed."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerk, Verdict
from object_clerk.events import Event, Transferred

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from tests.servers import Server

MIB = 1 << 20
SIZE = (5 << 30) + 300 * MIB + 12345
#: A stretch of bytes in every so many, and zeros in between, which take no room on the disk.
STRETCH, STEP = 64 * 1024, 97 * MIB


class _Stop(BaseException):
    """Ends a download in the middle, as Ctrl-C does."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "source"
    with path.open("wb") as file:
        for offset in range(0, SIZE - STRETCH, STEP):
            file.seek(offset)
            file.write(hashlib.shake_128(str(offset).encode()).digest(STRETCH))
        file.truncate(SIZE)
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(3600)
def test_life_of_a_large_object(
    server: Server, s3: S3Client, bucket: str, source: Path, tmp_path: Path
) -> None:
    if not server.traits.upload_part_copy:
        pytest.skip("trait upload_part_copy: this server cannot copy more than 5 GiB")
    where: dict[str, Any] = {
        "endpoint_url": server.endpoint_url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
    }
    moved = itertools.count()

    def stop(event: Event) -> None:
        if isinstance(event, Transferred) and next(moved) == 2000:
            raise _Stop

    with ObjectClerk(**where, transfer_config={"multipart_threshold": 64 * MIB}) as clerk:
        uploaded = clerk.upload_object(source, bucket, "large")
        assert (uploaded.verdict, uploaded.size) == (Verdict.CONTENT, SIZE)

        copied = clerk.copy_object(bucket, "large", bucket, "copy")
        assert (copied.verdict, copied.size) == (Verdict.CONTENT, SIZE)

        moved_to = clerk.move_object(bucket, "copy", bucket, "moved")
        assert moved_to.verdict is Verdict.CONTENT
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        assert keys == ["large", "moved"]

        target = tmp_path / "target"
        with ObjectClerk(**where, on_event=stop) as interrupted, pytest.raises(_Stop):
            interrupted.download_object(bucket, "moved", target, resume=True)
        assert not target.exists()
        (partial,) = tmp_path.glob(".target.*.part")
        assert partial.stat().st_size == SIZE
        read = clerk.download_object(bucket, "moved", target, resume=True)

    assert read.verdict is Verdict.CONTENT
    assert _sha256(target) == _sha256(source)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
