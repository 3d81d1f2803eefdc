"""Gateways over each kind of store, started once for a module or for all, and a place on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import skip_unavailable
from tests.servers import arrange
from tests.session.conformance.gateways import Gateway, Place, placed, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from tests.servers import Server


@pytest.fixture(scope="package")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Objects are in its memory."""
    with serving(tmp_path_factory.mktemp("memory"), None) as started:
        yield started


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Objects are in a directory."""
    store = {"type": "AsyncFilesystemStore", "config": {"root_path": "data", "durable": False}}
    directory = tmp_path_factory.mktemp("files")
    with serving(directory, {"stores": {"f": store}, "main": "f"}, workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def in_bucket(
    tmp_path_factory: pytest.TempPathFactory, server: Server, s3: S3Client
) -> Iterator[Gateway]:
    """Objects are in a bucket of each server."""
    with skip_unavailable(), arrange.fresh_bucket(server, s3) as bucket:
        config = {
            "bucket_name": bucket,
            "endpoint_url": server.endpoint_url,
            "s3_access_key": server.access_key,
            "s3_secret_key": server.secret_key,
        }
        storage = {"stores": {"s": {"type": "AsyncBucketStore", "config": config}}, "main": "s"}
        with serving(tmp_path_factory.mktemp("bucket"), storage, workers=2) as started:
            yield started


@pytest.fixture
def place(gateway: Gateway) -> Iterator[Place]:
    """A scope of its own for a test."""
    with placed(gateway) as made:
        yield made
