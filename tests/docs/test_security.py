"""The page on security: what it lists is what there is."""

from __future__ import annotations

import dataclasses
import re

import pytest

from object_clerk.gateway.middleware.headers import answered
from object_clerk.gateway.settings import GatewaySettings
from tests.docs.rst import Page, page


@pytest.fixture(scope="module")
def text() -> Page:
    return page("docs/security.rst")


def test_headers_are_those_of_answers(text: Page) -> None:
    listed = [tuple(row) for row in text.table("security-headers")]
    sent = [(name.decode(), value.decode()) for name, value in answered([], "/objects/a", "https")]
    assert sorted(listed) == sorted(sent)


def test_every_limit_is_listed(text: Page) -> None:
    """A new setting that limits something belongs on the page."""
    listed = {row[2].lower() for row in text.table("security-limits")}
    fields = {field.name for field in dataclasses.fields(GatewaySettings)}
    assert listed <= fields
    assert listed == {name for name in fields if re.search("limit|^max_|timeout", name)}


def test_every_variable_that_is_named_is_one(text: Page) -> None:
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text.text)) | {"HOST", "METRICS"}
    assert named <= {field.name.upper() for field in dataclasses.fields(GatewaySettings)}
