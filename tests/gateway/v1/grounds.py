"""The stores that the tests of /v1 run over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.gateway.v1 import finishing
from object_clerk.store import ObjectStore
from tests.gateway.v1.running import Running, serving
from tests.store.test_contract import OnS3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2


class Ground:
    """A gateway over a store; a class below says over which."""

    @pytest.fixture
    def running(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Running]:
        monkeypatch.setattr(finishing, "PAUSES_S", (0.01, 0.05))
        with serving(tmp_path, store, monkeypatch) as started:
            yield started

    @pytest.fixture
    def client(self, running: Running) -> httpx2.Client:
        return running.client


class InMemory(Ground):
    """Objects in memory."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        return ObjectStore({"framework": "memory", "root_bucket": "gateway"})


class InFiles(Ground):
    """Objects in a directory."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        connection = {"root": tmp_path / "store", "durable": False}
        return ObjectStore(
            {"framework": "filesystem", "root_bucket": "gateway", "connection": connection}
        )


@pytest.mark.one_server
class InS3(OnS3, Ground):
    """Objects in a bucket. What differs from server to server is the store's contract."""

    @pytest.fixture
    def store(self, config: dict[str, Any]) -> ObjectStore:
        return ObjectStore(config)
