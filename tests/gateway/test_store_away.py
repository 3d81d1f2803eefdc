"""A store that does not answer: clients hear so soon, and nothing else waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from object_clerk.gateway import health, patience
from object_clerk.store import ObjectStore
from tests.gateway.running import gateway

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request that asks it is answered by 504, and /health as ever."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.2)
    monkeypatch.setattr(health, "_PATIENCE_S", 0.2)
    store = ObjectStore({"framework": "memory", "root_bucket": "gateway"})
    answers = threading.Event()

    def hangs(**_: Any) -> Any:
        answers.wait(60)
        raise AssertionError("nobody is interested any more")

    for hook in ("_get_object", "_head_object", "_list_objects"):
        monkeypatch.setattr(store.client, hook, hangs)
    with gateway(tmp_path, store) as running:
        try:
            for call in (running.client.get, running.client.head, running.client.delete):
                assert call("/objects/key").status_code == 504
            listed = running.client.get("/objects")
            assert listed.status_code == 504
            assert "does not answer" in listed.json()["error"]["message"]
            assert running.client.get("/ready").status_code == 503
            assert running.client.get("/health").status_code == 200
        finally:
            answers.set()
