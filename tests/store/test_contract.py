"""The contract of adapters, kept by those that come with the package."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest

from object_clerk.store import AsyncObjectStore, Framework, ObjectStore
from object_clerk.testing import FaultProxy, flip_response_bit
from object_clerk.testing.store import ODD_KEYS as KEYS
from object_clerk.testing.store import Gap, StoreContract
from object_clerk.testing.store.ground import Ground, keys
from object_clerk.testing.store.sharing import Sharing
from object_clerk.testing.store.urls import Urls
from tests.conftest import skip_unavailable
from tests.contract.support import LARGE, QUICK, THRESHOLD, blob
from tests.servers import ODD_KEYS, arrange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from types_boto3_s3 import S3Client

    from object_clerk.store.adapters.memory import MemoryClient
    from object_clerk.store.adapters.s3 import S3Client as S3StoreClient
    from tests.servers import Server, Traits


def _damaged(data: bytes) -> bytes:
    """The same bytes but for one bit, which is not in the last block."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class TestMemory(StoreContract):
    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return {"framework": "memory", "root_bucket": "contract"}

    @pytest.fixture
    def corrupt(self, store: ObjectStore) -> Callable[[str, str], object]:
        def corrupt(bucket: str, key: str) -> None:
            objects = cast("MemoryClient", store.client)._buckets[bucket].objects
            info, data = objects[key.encode()]
            objects[key.encode()] = (info, _damaged(data))

        return corrupt


class TestFilesystem(StoreContract):
    @pytest.fixture
    def config(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        root = tmp_path_factory.mktemp("store")
        # Not durable: what a loss of power leaves is tested elsewhere, and 1000 keys take a while.
        connection = {"root": root, "durable": False}
        return {"framework": "filesystem", "root_bucket": "contract", "connection": connection}

    @pytest.fixture
    def corrupt(self, config: dict[str, Any]) -> Callable[[str, str], object]:
        """The bytes of all objects are damaged, whatever their names."""

        def corrupt(bucket: str, key: str) -> None:
            found = config["connection"]["root"].glob("data/**/*")
            files = [each for each in found if each.is_file()]
            assert files
            for each in files:
                each.write_bytes(_damaged(each.read_bytes()))

        return corrupt


def _steps(key: str) -> list[str]:
    return key.split("/")


def _gaps(server: Server) -> frozenset[Gap]:
    traits = server.traits
    absent = traits.put_if_none_match
    # Ceph takes the ETag without its quotes, and so it gets it.
    match = traits.put_if_match or server.name == "ceph"
    honoured = {
        Gap.IF_ABSENT: absent,
        Gap.IF_MATCH: match,
        # A copy can be made in parts, whatever its size.
        Gap.COPY_IF_ABSENT: absent or traits.complete_if_none_match,
        Gap.COPY_IF_MATCH: match or traits.complete_if_match,
        Gap.IF_UNCHANGED: traits.delete_if_match,
        Gap.IF_UNCHANGED_VERSIONS: traits.delete_if_match_of_versions,
        Gap.EXPIRY: traits.presigned_expiry,
        Gap.SIGNATURES: traits.verifies_signatures,
        Gap.VERSIONS: traits.versioning,
        # These keep objects as files, and write them where they are read.
        Gap.FOLDERS: ODD_KEYS["trailing slash"] not in traits.unsupported_keys,
        Gap.ATOMIC: ODD_KEYS["trailing slash"] not in traits.unsupported_keys,
        # Swift looks for the character that comes after the last one of the prefix: 503.
        Gap.LAST_PREFIX: server.name != "swift",
    }
    return frozenset(gap for gap, kept in honoured.items() if not kept)


class OnS3(Ground):
    """A store on a server, in a bucket of its own, quick to give up."""

    framework = Framework.MINIO
    large = LARGE
    tick_s = 1.1  # a HEAD tells seconds

    @pytest.fixture
    def config(
        self,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
        server: Server,
        bucket: str,
    ) -> dict[str, Any]:
        # Three attempts at changed bytes shall take milliseconds, not seconds.
        monkeypatch.setenv(
            "CHECKSUM_RETRY_CONFIG", '{"retry_delay": 0.01, "retry_max_delay": 0.05}'
        )
        url = server.endpoint_url
        if "corrupt" in request.fixturenames:
            url = request.getfixturevalue("proxy").endpoint_url
        return {
            "framework": self.framework,
            "root_bucket": bucket,
            "connection": {
                "endpoint": urlsplit(url).netloc,
                "access_key": server.access_key,
                "secret_key": server.secret_key,
                "secure": urlsplit(url).scheme == "https",
            },
            "options": {"transfer_config": {"multipart_threshold": THRESHOLD}, **QUICK},
        }

    @pytest.fixture
    def store(self, config: dict[str, Any], bucket: str) -> Iterator[ObjectStore]:
        with ObjectStore(config) as store:
            yield store
            if len(left := keys(store)) > 100:  # one by one that takes many times as long
                cast("S3StoreClient", store.client).clerk.delete_objects(bucket, left)

    @pytest.fixture
    def other_bucket(self, server: Server, s3: S3Client) -> Iterator[str]:
        with skip_unavailable(), arrange.fresh_bucket(server, s3) as name:
            yield name

    @pytest.fixture
    def versioned(self, s3: S3Client, traits: Traits, bucket: str) -> None:
        if traits.versioning:
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    @pytest.fixture
    def proxy(self, server: Server) -> Iterator[FaultProxy]:
        if urlsplit(server.endpoint_url).scheme != "http":
            pytest.skip("the proxy speaks plain HTTP, the server HTTPS")
        with FaultProxy(server.endpoint_url) as started:
            yield started

    @pytest.fixture
    def corrupt(self, proxy: FaultProxy) -> Callable[[str, str], object]:
        """The server's bytes come changed, every time."""
        return lambda bucket, key: proxy.add(
            flip_response_bit(offset=-1, method="GET", path=f"/{bucket}/{key}", times=None)
        )

    @pytest.fixture
    def unreachable(self, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        with socket.socket() as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            host, port = nobody_listens.getsockname()
            connection = {**config["connection"], "endpoint": f"{host}:{port}", "secure": False}
            yield {**config, "connection": connection}

    @pytest.fixture
    def denied(self, config: dict[str, Any], traits: Traits) -> dict[str, Any] | None:
        if not traits.verifies_signatures:
            return None
        return {**config, "connection": {**config["connection"], "secret_key": "not-the-secret"}}

    @pytest.fixture
    def gaps(self, server: Server) -> frozenset[Gap]:
        return _gaps(server)

    @pytest.fixture
    def unsupported_keys(self, server: Server, traits: Traits) -> frozenset[str]:
        """By the table of the servers, which has fewer keys of each kind."""
        # Ceph stores control characters, and then cannot list them: 500.
        unsupported = {KEYS["control"]} if server.name == "ceph" else set()
        if ODD_KEYS["newline"] in traits.unsupported_keys:
            unsupported |= {key for key in KEYS.values() if "\n" in key}
        if ODD_KEYS["dot"] in traits.unsupported_keys:
            unsupported |= {key for key in KEYS.values() if {".", ".."} & {*_steps(key)}}
        if ODD_KEYS["double slash"] in traits.unsupported_keys:
            unsupported |= {key for key in KEYS.values() if "" in _steps(key)[:-1]}
        if ODD_KEYS["trailing slash"] in traits.unsupported_keys:
            # It keeps files in directories: names have the limits of those of files.
            unsupported |= {
                key
                for key in KEYS.values()
                if key.endswith("/") or any(len(step.encode()) > 255 for step in _steps(key))
            }
        return frozenset(unsupported)


class TestMinio(OnS3, StoreContract):
    """The framework ``minio``, and what only S3 has."""

    def test_parts(self, store: ObjectStore, s3: S3Client, traits: Traits, tmp_path: Path) -> None:
        """Check 7: above the threshold of ``options`` an object goes in parts."""
        (tmp_path / "file").write_bytes(blob(LARGE))
        for receipt in (
            store.upload_file(tmp_path / "file", "key"),
            store.put_object_v2(blob(LARGE), "key"),
        ):
            etag = s3.head_object(Bucket=store.root_bucket, Key="key")["ETag"].strip('"')
            assert receipt.etag == etag
            assert etag.endswith("-2") == traits.multipart_etag_kept

    def test_options_of_s3(self, store: ObjectStore, s3: S3Client, tmp_path: Path) -> None:
        """Check 20: what S3 has besides arrives there."""
        (tmp_path / "file").write_bytes(b"content")
        extra = {"CacheControl": "no-store"}
        store.upload_file(tmp_path / "file", "key", extra_args=extra, metadata={"a": "b"})
        head = s3.head_object(Bucket=store.root_bucket, Key="key")
        assert head["CacheControl"] == "no-store"
        assert {name.lower(): value for name, value in head["Metadata"].items()}["a"] == "b"

    def test_secret_stays_one(self, unreachable: dict[str, Any]) -> None:
        """Check 8: no text has the secret in it, nor has a URL."""
        secret = "h0kusp0kus"
        connection = {**unreachable["connection"], "secret_key": secret}
        with ObjectStore({**unreachable, "connection": connection}) as store:
            with pytest.raises(RuntimeError) as caught:
                store.get_object("key")
            shown = [caught.value, store, store.client, store.config]
            assert secret not in f"{shown!r} {caught.value}"
            assert secret not in store.get_presigned_url("key")

    def test_async(self, store: ObjectStore) -> None:
        """The same for programs with an event loop; what was not finished leaves nothing behind."""

        async def blocks(whole: bool) -> AsyncIterator[bytes]:
            for begin in range(0, LARGE, 1 << 20):
                yield blob(LARGE)[begin : begin + (1 << 20)]
            if not whole:
                raise EOFError("the producer broke")

        async def use() -> list[str]:
            async with AsyncObjectStore(store, max_threads=4) as wrapped:
                receipt = await wrapped.put_object_v2(blocks(whole=True), "made")
                assert (receipt.size, receipt.verdict.strength >= 2) == (LARGE, True)
                with pytest.raises(EOFError):
                    await wrapped.put_object_v2(blocks(whole=False), "broken")
                async with await wrapped.get_object("made") as opened:
                    assert b"".join([block async for block in opened.body]) == blob(LARGE)
                calls = [wrapped.put_object_v2(b"%d" % n, f"small/{n}") for n in range(20)]
                await asyncio.gather(*calls)
                return [each.key async for each in wrapped.list_files()]

        expected = ["made", *sorted(f"small/{n}" for n in range(20))]
        assert asyncio.run(use()) == expected
        clerk = cast("S3StoreClient", store.client).clerk
        assert list(clerk.list_uploads(store.root_bucket)) == []

    @pytest.mark.parametrize("framework", ["missing", None, "minio", *Framework])
    def test_frameworks(self, framework: Any, config: dict[str, Any]) -> None:
        """Check 1, 6: however the framework is named, it is the same store."""
        if framework in (Framework.FILESYSTEM, Framework.MEMORY):
            with pytest.raises(ValueError, match="connection"):
                ObjectStore({**config, "framework": framework, "connection": {"endpoint": "a"}})
            return
        config["framework"] = framework
        if framework == "missing":
            del config["framework"]
        with ObjectStore(config) as store:
            store.put_object_v2(b"content", "key")
            with contextlib.closing(store.get_file("key").body) as body:
                assert body.read() == b"content"


class TestBoto3(OnS3, Sharing, Urls):
    """The framework ``boto3`` is the same code, so part of the contract shows that it is wired."""

    framework = Framework.BOTO3


def test_no_test_hides_another() -> None:
    """The parts of the contract have no names in common, or some would never run."""
    parts = [part for part in StoreContract.__mro__ if "testing.store" in part.__module__]
    names = [name for part in parts for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names))
    assert len(names) > 80
