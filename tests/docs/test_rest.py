"""The page on the REST clients: its examples run, and its tables say what the code does."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import object_clerk
from object_clerk import rest
from object_clerk.store import ObjectStore
from tests.docs.rst import Page, page
from tests.gateway.running import gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.running import Running


@pytest.fixture(scope="module")
def text() -> Page:
    return page("docs/rest.rst")


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    memory = ObjectStore({"framework": "memory", "root_bucket": "objects"})
    with gateway(tmp_path_factory.mktemp("gateway"), memory) as started:
        yield started


def test_examples_run_in_their_order(
    text: Page,
    running: Running,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEST_API_KEY", running.token)
    namespace: dict[str, Any] = {}
    for line, code in text.blocks("python"):
        mine = code.replace("http://localhost:8000", running.url)
        exec(compile("\n" * line + mine, "docs/rest.rst", "exec"), namespace)

    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == ["TRANSPORT 30", "2026/night.fits 30", "it is there already", "CONTENT"]
    assert shown[4].startswith("Object not found: get nonexistent-key: ")
    assert len(shown) == 5
    assert namespace["first"] + namespace["rest"] == namespace["whole"] == b"0\n1\n2\n"
    assert (workplace / "copies" / "lines.txt").read_bytes() == namespace["whole"]
    assert namespace["found"] == running.keys()
    assert "again.txt" in namespace["found"]
    assert httpx2.get(namespace["url"]).content == namespace["whole"]


def test_settings_and_their_defaults(text: Page) -> None:
    rows = {row[0]: row[1] for row in text.table("rest-settings")}
    for made in (rest.RestStore, rest.RestStore.create):
        parameters = inspect.signature(made).parameters.values()
        assert rows == {
            each.name: "" if each.default is each.empty else str(each.default)
            for each in parameters
        }


def test_errors_are_there(text: Page) -> None:
    for name, meaning in text.table("rest-errors"):
        error = getattr(rest, name, None) or getattr(object_clerk, name)
        assert ("KeyError" in meaning) == issubclass(error, KeyError)
        assert ("NotImplementedError" in meaning) == issubclass(error, NotImplementedError)
        assert issubclass(error, object_clerk.ObjectClerkOperationException)
