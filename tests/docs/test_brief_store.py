"""Every call that the guide to the ObjectStore of the first releases shows, typed anew."""

from __future__ import annotations

import dataclasses
import logging
import typing
import urllib.error
import urllib.request
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from object_clerk import ObjectClerk
from object_clerk.store import Bucket, Object, ObjectMetadata, ObjectStore
from object_clerk.store.configurations import (
    Framework,
    ObjectStoreConfiguration,
    ObjectStoreConnectionConfiguration,
)
from object_clerk.testing import EmbeddedServer
from tests.contract.support import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk import Receipt

BUCKETS = ("archive-bucket", "my-bucket", "source-bucket", "versioned-bucket")
CONTENT = b"observed by night\n" * 100
SECRET = "your-secret-key"

logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server with the buckets that the guide mentions, and no others."""
    with EmbeddedServer() as server:
        for name in BUCKETS:
            server.create_bucket(name)
        with ObjectClerk(server.host, server.port, "a", "b") as clerk:
            clerk.client.put_bucket_versioning(
                Bucket="versioned-bucket", VersioningConfiguration={"Status": "Enabled"}
            )
        yield urlsplit(server.endpoint_url).netloc


@pytest.fixture
def config(endpoint: str) -> dict[str, Any]:
    """The dict of the guide, with another endpoint."""
    return {
        "framework": "minio",
        "root_bucket": "my-bucket",
        "connection": {
            "endpoint": endpoint,
            "access_key": "your-access-key",
            "secret_key": SECRET,
            "secure": False,
        },
    }


@pytest.fixture
def store(config: dict[str, Any]) -> Iterator[ObjectStore]:
    # The guide closes nothing. Whoever runs many tests has to.
    store = ObjectStore(config)
    yield store
    for name in BUCKETS:
        for each in store.list_files(bucket=name):
            store.delete_file(each.key, bucket=name)
    store.close()


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that are uploaded."""
    monkeypatch.chdir(tmp_path)
    for name in ("file.txt", "local.txt"):
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


def content(store: ObjectStore, key: str, bucket: str | None = None) -> bytes:
    with store.get_file(key, bucket) as opened:
        return opened.body.read()


def configured(path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the default configuration."""
    (path / "configs").mkdir()
    text = yaml.safe_dump({"data_store": {**config, "options": {**QUICK, "retry_jitter": 0.01}}})
    (path / "configs" / "store.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("CONFIG_PATH", str(path / "configs"))


class TestConfiguration:
    def test_default(
        self, config: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configured(workplace, config, monkeypatch)
        store = ObjectStore()
        assert list(store.list_files()) == []
        assert store.root_bucket == "my-bucket"
        store.close()

    def test_nothing_is_configured(self) -> None:
        with pytest.raises(ValueError, match="not found"):
            ObjectStore()

    def test_dict(self, config: dict[str, Any]) -> None:
        store = ObjectStore(config)
        assert list(store.list_files()) == []
        store.close()

    def test_models(self, endpoint: str) -> None:
        config = ObjectStoreConfiguration(
            framework=Framework.MINIO,
            root_bucket="my-bucket",
            connection=ObjectStoreConnectionConfiguration(
                endpoint=endpoint,
                access_key="your-access-key",
                secret_key=SECRET,  # type: ignore[arg-type]
                secure=False,
            ),
        )
        store = ObjectStore(config)
        assert list(store.list_files()) == []
        store.close()

    def test_frameworks(self) -> None:
        assert (Framework.MINIO, Framework.BOTO3) == ("minio", "boto3")

    def test_client_is_made_at_first_use(self, config: dict[str, Any]) -> None:
        store = ObjectStore(config)
        files = store.list_files()
        client = store.client
        store.upload_file("local.txt", "remote.txt")
        assert store.client is client
        assert [each.key for each in files] == ["remote.txt"]
        store.delete_file("remote.txt")
        store.close()


class TestFiles:
    def test_upload_file(self, store: ObjectStore) -> None:
        for where in ({"bucket": "my-bucket"}, {}):
            result = store.upload_file(file_path="file.txt", key="uploads/file.txt", **where)
            assert (result.bucket, result.key) == ("my-bucket", "uploads/file.txt")
            assert content(store, "uploads/file.txt") == CONTENT
            store.delete_file("uploads/file.txt")

    def test_upload_object(self, store: ObjectStore) -> None:
        result = store.upload_object(
            file_path="file.txt", key="uploads/file.txt", bucket="my-bucket"
        )
        assert (result.size, result.verdict.strength > 0) == (len(CONTENT), True)
        assert content(store, "uploads/file.txt") == CONTENT

    def test_download_file(self, store: ObjectStore, workplace: Path) -> None:
        store.upload_file("file.txt", "uploads/file.txt")
        for where in ({"bucket": "my-bucket"}, {}):
            store.download_file(
                key="uploads/file.txt", file_path="local/new/downloaded.txt", **where
            )
            assert (workplace / "local/new/downloaded.txt").read_bytes() == CONTENT
            (workplace / "local/new/downloaded.txt").unlink()

    def test_download_object(self, store: ObjectStore, workplace: Path) -> None:
        store.upload_file("file.txt", "uploads/file.txt")
        obj = store.download_object(
            key="uploads/file.txt", file_path="local/downloaded.txt", bucket="my-bucket"
        )
        assert (workplace / "local/downloaded.txt").read_bytes() == CONTENT
        assert obj.body.read() == CONTENT
        obj.body.close()

    def test_get_file(self, store: ObjectStore) -> None:
        store.upload_file("file.txt", "uploads/file.txt")
        file_obj = store.get_file(key="uploads/file.txt", bucket="my-bucket")
        data = file_obj.body.read()
        assert data == CONTENT
        assert f"File size: {len(data)} bytes" == "File size: 1800 bytes"
        assert isinstance(file_obj.updated_time, datetime)
        # Read to its end, it holds no connection; whoever leaves early has to close it.
        file_obj.body.close()

    def test_delete(self, store: ObjectStore) -> None:
        store.upload_file("file.txt", "uploads/file.txt")
        store.delete_file(key="uploads/file.txt", bucket="my-bucket")
        assert list(store.list_files()) == []
        store.upload_file("file.txt", "uploads/file.txt")
        store.delete_object(key="uploads/file.txt", bucket="my-bucket")
        assert list(store.list_files()) == []


class TestBuckets:
    def test_list(self, store: ObjectStore) -> None:
        lines = [f"{bucket.name} {bucket.created_time:%Y}" for bucket in store.list_buckets()]
        assert [line.partition(" ")[0] for line in lines] == list(BUCKETS)
        assert all(line.partition(" ")[2] >= "2020" for line in lines)

    def test_create_and_delete(self, store: ObjectStore) -> None:
        client = store.client
        client.create_bucket("new-bucket")
        assert "new-bucket" in [bucket.name for bucket in store.list_buckets()]
        client.delete_bucket("new-bucket")
        assert [bucket.name for bucket in store.list_buckets()] == list(BUCKETS)


class TestListing:
    @pytest.fixture(autouse=True)
    def _files(self, store: ObjectStore) -> None:
        for key in ("documents/a", "images/b", "images/c/d", "uploads/e"):
            store.upload_file("file.txt", key)

    def test_list_files(self, store: ObjectStore) -> None:
        for metadata in store.list_files(bucket="my-bucket"):
            assert metadata.size == len(CONTENT)
            assert isinstance(metadata.updated_time, datetime)
        found = [metadata.key for metadata in store.list_files(bucket="my-bucket")]
        assert found == ["documents/a", "images/b", "images/c/d", "uploads/e"]
        found = [each.key for each in store.list_files(prefix="uploads/", bucket="my-bucket")]
        assert found == ["uploads/e"]
        assert [each.key for each in store.list_files(prefix="documents/")] == ["documents/a"]

    def test_list_objects(self, store: ObjectStore) -> None:
        lines = [
            f"{metadata.key}: {metadata.size} bytes, {metadata.updated_time:%Y}"
            for metadata in store.list_objects(prefix="images/", bucket="my-bucket")
        ]
        assert [line[:-4] for line in lines] == [
            "images/b: 1800 bytes, ",
            "images/c/d: 1800 bytes, ",
        ]

    def test_is_there(self, store: ObjectStore) -> None:
        files = list(store.list_files(prefix="your-prefix/"))
        assert f"Found {len(files)} files" == "Found 0 files"


class TestCopies:
    def test_within_a_bucket(self, store: ObjectStore) -> None:
        store.upload_file("file.txt", "source-file.txt")
        result = store.copy_object(
            src_object="source-file.txt",
            dst_object="backup/source-file.txt",
            src_bucket="my-bucket",
            dst_bucket="my-bucket",
        )
        assert result.key == "backup/source-file.txt"
        assert content(store, "backup/source-file.txt") == CONTENT

    def test_between_buckets(self, store: ObjectStore) -> None:
        store.upload_file("file.txt", "source-file.txt", "source-bucket")
        result = store.copy_object(
            src_object="source-file.txt",
            dst_object="archived/source-file.txt",
            src_bucket="source-bucket",
            dst_bucket="archive-bucket",
        )
        assert (result.bucket, result.size) == ("archive-bucket", len(CONTENT))
        assert content(store, "archived/source-file.txt", "archive-bucket") == CONTENT


class TestVersions:
    @pytest.fixture
    def version(self, store: ObjectStore) -> str:
        """The first of two."""
        key, bucket = "versioned-file.txt", "versioned-bucket"
        first = store.upload_file("file.txt", key, bucket).version_id
        store.put_object_v2(b"second", key, bucket)
        assert first
        return first

    def test_get(self, store: ObjectStore, version: str) -> None:
        obj = store.get_object(key="versioned-file.txt", version=version, bucket="versioned-bucket")
        assert obj.body.read() == CONTENT
        obj.body.close()

    def test_delete(self, store: ObjectStore, version: str) -> None:
        for each in ("version-id-123", version):
            store.delete_object(key="versioned-file.txt", version=each, bucket="versioned-bucket")
            assert content(store, "versioned-file.txt", "versioned-bucket") == b"second"
        with pytest.raises(RuntimeError, match=r"versioned-file\.txt"):
            store.get_object(key="versioned-file.txt", version=version, bucket="versioned-bucket")


class Answer:
    """What of the answers of the package requests is used here."""

    def __init__(self, url: str, method: str, data: IO[bytes] | None = None) -> None:
        headers = {} if data is None else {"Content-Type": ""}
        body = None if data is None else data.read()
        request = urllib.request.Request(url, body, headers, method=method)
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.content = b""
        self._error: urllib.error.HTTPError | None = None
        try:
            with directly.open(request, timeout=30) as answer:
                self.content = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            self._error = error

    def raise_for_status(self) -> None:
        if self._error is not None:
            raise self._error


class TestUrls:
    def test_are_signed(self, store: ObjectStore) -> None:
        download = store.get_presigned_url(key="private-file.txt", bucket="my-bucket", expires=3600)
        upload = store.get_presigned_upload_url(
            key="uploads/user-upload.txt", bucket="my-bucket", expires=1800
        )
        for url, path, life in (
            (download, "/my-bucket/private-file.txt", "3600"),
            (upload, "/my-bucket/uploads/user-upload.txt", "1800"),
        ):
            assert urlsplit(url).path == path
            assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [life]
            assert SECRET not in url

    def test_are_used_by_anybody(self, store: ObjectStore) -> None:
        def upload(url: str, file_path: str) -> Answer:
            with open(file_path, "rb") as f:  # noqa: PTH123 - as the guide has it
                response = Answer(url, "PUT", data=f)
            response.raise_for_status()
            return response

        def download(url: str) -> bytes:
            response = Answer(url, "GET")
            response.raise_for_status()
            return response.content

        upload_url = store.get_presigned_upload_url("user-upload.txt")
        download_url = store.get_presigned_url("user-upload.txt")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            download(download_url)
        upload(upload_url, "file.txt")
        assert download(download_url) == CONTENT
        assert content(store, "user-upload.txt") == CONTENT


class TestModels:
    @pytest.mark.parametrize(
        ("model", "fields"),
        [
            (Bucket, {"name": str, "created_time": datetime}),
            (ObjectMetadata, {"key": str, "updated_time": datetime, "size": int}),
            (Object, {"body": IO[bytes], "updated_time": datetime}),
        ],
    )
    def test_fields(self, model: Any, fields: dict[str, Any]) -> None:
        names = [field.name for field in dataclasses.fields(model)]
        assert names == list(fields)
        assert model.__dataclass_params__.frozen
        told = typing.get_type_hints(model, {"datetime": datetime, "IO": IO})
        assert told == fields


class TestErrors:
    @staticmethod
    def kind(store: ObjectStore, *arguments: Any) -> str:
        """The branches of the guide, in its order."""
        try:
            store.upload_file(*arguments)
        except ValueError as error:
            return f"Configuration error: {error}"
        except RuntimeError as error:
            return f"Operation failed: {error}"
        except Exception as error:
            return f"Unexpected error: {error}"
        return "done"

    def test_each_kind(self, store: ObjectStore, config: dict[str, Any]) -> None:
        assert self.kind(store, "local.txt", "remote.txt") == "done"
        for arguments in (
            ("local.txt", ""),
            ("local.txt", "a\0b"),
            ("local.txt", "remote.txt", "no/bucket"),
        ):
            assert self.kind(store, *arguments).startswith("Configuration error: ")
        for arguments in (("missing.txt", "remote.txt"), ("local.txt", "remote.txt", "missing")):
            assert self.kind(store, *arguments).startswith("Operation failed: ")
        with pytest.raises(ValueError, match="root_bucket"):
            ObjectStore({name: value for name, value in config.items() if name != "root_bucket"})

    def test_configuration_can_be_looked_at(self, store: ObjectStore, endpoint: str) -> None:
        connection: Any = store.config.connection
        assert connection.endpoint == endpoint
        assert connection.access_key == "your-access-key"
        assert SECRET not in f"{connection} {store.config!r}"

    def test_debug_log(self, config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            store = ObjectStore(config)
            store.upload_file("local.txt", "remote.txt")
            store.delete_file("remote.txt")
            store.close()
        assert caplog.records
        assert SECRET not in caplog.text


def robust_upload(
    store: ObjectStore,
    local_path: str,
    remote_key: str,
    bucket: str = None,  # type: ignore[assignment]  # noqa: RUF013 - as the guide has it
    max_retries: int = 3,
) -> Receipt:
    """The loop of the guide around a call that tries again by itself."""
    for attempt in range(max_retries):
        try:
            result = store.upload_file(file_path=local_path, key=remote_key, bucket=bucket)
            logger.info(f"{local_path} is now {remote_key}")  # noqa: G004 - as the guide has it
            return result
        except Exception as e:
            logger.warning(f"attempt {attempt + 1}: {e}")  # noqa: G004
            if attempt == max_retries - 1:
                logger.error(f"gave up after {max_retries} attempts")  # noqa: G004
                raise
    raise AssertionError("the last attempt returns or raises")


class TestRobustUpload:
    @pytest.fixture
    def store(
        self, config: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[ObjectStore]:
        configured(workplace, config, monkeypatch)
        with ObjectStore() as store:
            yield store

    @pytest.mark.parametrize("where", [(), ("archive-bucket",), ("source-bucket", 1)])
    def test_succeeds(
        self, where: Any, store: ObjectStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, logger=__name__):
            result = robust_upload(store, "local.txt", "remote.txt", *where)
        assert (result.key, result.size) == ("remote.txt", len(CONTENT))
        assert content(store, "remote.txt", *where[:1]) == CONTENT
        assert caplog.messages == ["local.txt is now remote.txt"]
        store.delete_object("remote.txt", *where[:1])

    def test_gives_up(self, store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(RuntimeError, match="missing-bucket"):
            robust_upload(store, "local.txt", "remote.txt", "missing-bucket", 2)
        mine = [each.message for each in caplog.records if each.name == __name__]
        assert [message[:10] for message in mine] == ["attempt 1:", "attempt 2:", "gave up af"]
        assert "missing-bucket/remote.txt" in mine[0]
