"""A store for the documentation's examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.testing import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def store(_clean_session_environment: None) -> Iterator[EmbeddedServer]:
    """A running store, the same for all examples."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
