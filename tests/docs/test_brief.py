"""Every call that the README of the first releases shows, typed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import ObjectClerk, ObjectNotFoundException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk.testing import EmbeddedServer

BUCKETS = ("bucket", "source_bucket", "destination_bucket", "bucket_name")
CONTENT = b"observed by night" * 100


@pytest.fixture(scope="module")
def buckets(store: EmbeddedServer) -> None:
    for name in BUCKETS:
        store.create_bucket(name)


@pytest.fixture
def clerk(store: EmbeddedServer, buckets: None) -> Iterator[ObjectClerk]:
    # The keys are numbers there, and the constructor has no context manager.
    clerk = ObjectClerk(
        host=store.host,
        port=store.port,
        access_key=12342,
        secret_key=12342,
        retry_delay=1,
        retry_backoff=1,
        retry_jitter=(1, 3),
        retry_max_delay=5,
        retry_tries=3,
        use_ssl=False,
    )
    yield clerk
    clerk.close()


@pytest.fixture
def stored(clerk: ObjectClerk) -> None:
    clerk.upload_object(CONTENT, "bucket", "object_key")
    clerk.upload_object(CONTENT, "source_bucket", "source_object_key")


@pytest.mark.usefixtures("stored")
class TestCalls:
    def test_get(self, clerk: ObjectClerk) -> None:
        assert clerk.get_object("bucket", "object_key") == CONTENT
        assert clerk.get_object("bucket", "object_key", verify_checksum=False) == CONTENT

    def test_delete(self, clerk: ObjectClerk) -> None:
        clerk.delete_object("bucket", "object_key")
        with pytest.raises(ObjectNotFoundException):
            clerk.get_object("bucket", "object_key")

    def test_info(self, clerk: ObjectClerk) -> None:
        info = clerk.get_object_info("bucket", "object_key")
        assert info["content-length"] == str(len(CONTENT))
        assert info["etag"].startswith('"')

    @pytest.mark.parametrize("options", [{}, {"verify_checksum": False}])
    def test_copy(self, clerk: ObjectClerk, options: dict[str, Any]) -> None:
        clerk.copy_object(
            "source_bucket",
            "source_object_key",
            "destination_bucket",
            "destination_object_key",
            **options,
        )
        assert clerk.get_object("destination_bucket", "destination_object_key") == CONTENT
        assert clerk.exists("source_bucket", "source_object_key")

    @pytest.mark.parametrize("options", [{}, {"verify_checksum": False}])
    def test_move(self, clerk: ObjectClerk, options: dict[str, Any]) -> None:
        clerk.move_object(
            "source_bucket",
            "source_object_key",
            "destination_bucket",
            "destination_object_key",
            **options,
        )
        assert clerk.get_object("destination_bucket", "destination_object_key") == CONTENT
        assert not clerk.exists("source_bucket", "source_object_key")

    @pytest.mark.parametrize("options", [{}, {"verify_checksum": False}])
    def test_upload(self, clerk: ObjectClerk, workplace: Path, options: dict[str, Any]) -> None:
        (workplace / "file").write_bytes(CONTENT[::-1])
        with open("file", mode="rb") as f:  # noqa: PTH123 - as the brief has it
            clerk.upload_object(f, "bucket", "object_key", **options)
            assert not f.closed
        assert clerk.get_object("bucket", "object_key") == CONTENT[::-1]


def test_list(clerk: ObjectClerk) -> None:
    assert list(clerk.list_objects("bucket_name", 1000)) == []
    keys = [f"key-{number}" for number in range(5)]
    for key in keys:
        clerk.upload_object(b"x", "bucket_name", key)
    for page_size in (1000, 2):
        assert [entry["Key"] for entry in clerk.list_objects("bucket_name", page_size)] == keys


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The four variables of the brief, each with an effect."""
    monkeypatch.setenv("MULTIPART_THRESHOLD", "6000000")
    monkeypatch.setenv("S3_CLIENT_CONFIG", '{"connect_timeout": 7}')
    monkeypatch.setenv("S3_UPLOAD_CONFIG", '{"max_concurrency": 3}')
    monkeypatch.setenv("S3_DOWNLOAD_CONFIG", '{"max_concurrency": 4}')
    with ObjectClerk("127.0.0.1", 1, "12342", "12342", 1, 1, (1, 3), 5, 3, False) as clerk:
        assert clerk.config.upload.threshold_bytes == 6_000_000
        assert clerk.config.upload.part_size_bytes == 6_000_000
        assert clerk.client.meta.config.connect_timeout == 7  # type: ignore[attr-defined]
        assert clerk.config.upload.workers == 3
        assert clerk.config.download.workers == 4
