"""Patience that a busy machine needs."""

from __future__ import annotations

import pytest

from object_clerk.gateway.v1 import objects


@pytest.fixture(autouse=True)
def _patient_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # A read does not wait for a deadline to be written by a slow store, but a test does.
    monkeypatch.setattr(objects, "TOUCH_S", 60.0)
