"""The page about the doctor: its examples run, and its table says what the code says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.cli.app import COMMANDS
from object_clerk.endpoint.answers import NOT_TAKEN, Support
from object_clerk.endpoint.features import FEATURES
from object_clerk.names import STAGE_MARK
from tests.docs.rst import Page, page

if TYPE_CHECKING:
    from object_clerk.testing import EmbeddedServer


@pytest.fixture(scope="module")
def doctor() -> Page:
    return page("docs/doctor.rst")


def test_what_findings_mean_is_what_the_code_says(doctor: Page) -> None:
    stated = [(row[0], *row[2:]) for row in doctor.table("features")]
    assert stated == [(each.label, each.honoured, each.missing, each.settings) for each in FEATURES]


def test_every_kind_of_answer_is_explained(doctor: Page) -> None:
    assert doctor.terms() == [
        each.name.lower()
        for each in (Support.HONOURED, Support.IGNORED, Support.REFUSED, Support.UNKNOWN)
    ]
    *first, last = map(str, NOT_TAKEN)
    assert f"{', '.join(first)} or {last}, or the right value is refused as well" in doctor.text


def test_commands_are_there(doctor: Page) -> None:
    named = {
        match[1]
        for _, text in doctor.blocks()
        for match in re.finditer(r"object-clerk (\w+)", text)
    }
    assert named == {"doctor", "sweep"}
    assert named <= set(COMMANDS)
    assert STAGE_MARK in doctor.text


def test_examples_run(
    doctor: Page,
    store: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store.create_bucket("raw")
    monkeypatch.setenv("OBJECT_STORE_ENDPOINT_URL", store.endpoint_url)
    monkeypatch.setenv("OBJECT_STORE_ACCESS_KEY", store.access_key)
    monkeypatch.setenv("OBJECT_STORE_SECRET_KEY", store.secret_key)
    namespace: dict[str, Any] = {}
    for _, text in doctor.blocks("python"):
        exec(text, namespace)

    shown = capsys.readouterr().out
    assert all(f"{each.label}: " in shown for each in FEATURES)
    assert namespace["outcomes"] == []
