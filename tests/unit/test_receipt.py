"""Receipts can be kept: as values, as dicts, as lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk import DeleteOutcome, Receipt, Verdict

FULL = Receipt(
    operation="upload_object",
    bucket="bucket",
    key="a/key",
    size=12,
    verdict=Verdict.CONTENT,
    basis="because",
    etag="0123-2",
    version_id="v1",
    source="other/key",
    digests={"md5": "0123"},
    attempts=3,
    elapsed_s=1.5,
    request_ids=("R-1", "R-2"),
    notes=("a note",),
)

text = st.text(max_size=10)
receipts = st.builds(
    Receipt,
    operation=text,
    bucket=text,
    key=text,
    size=st.integers(0),
    verdict=st.sampled_from(Verdict),
    basis=text,
    etag=st.none() | text,
    version_id=st.none() | text,
    source=st.none() | text,
    digests=st.dictionaries(text, text, max_size=3),
    attempts=st.integers(1),
    elapsed_s=st.floats(0, 1e9),
    request_ids=st.lists(text, max_size=3).map(tuple),
    notes=st.lists(text, max_size=3).map(tuple),
)


def _from_dict(values: dict[str, Any]) -> Receipt:
    return Receipt(
        **{
            **values,
            "verdict": Verdict(values["verdict"]),
            "request_ids": tuple(values["request_ids"]),
            "notes": tuple(values["notes"]),
        }
    )


@given(receipts)
def test_round_trips(receipt: Receipt) -> None:
    line = receipt.to_json()

    assert _from_dict(receipt.to_dict()) == receipt
    assert _from_dict(json.loads(line)) == receipt
    assert "\n" not in line
    assert pickle.loads(pickle.dumps(receipt)) == receipt


def test_dict_has_every_field_as_a_plain_value() -> None:
    values = FULL.to_dict()

    assert list(values) == [field.name for field in dataclasses.fields(Receipt)]
    assert values["verdict"] == "CONTENT"
    assert values["request_ids"] == ["R-1", "R-2"]
    assert values["digests"] == {"md5": "0123"}


def test_dict_is_a_copy() -> None:
    FULL.to_dict()["digests"]["md5"] = "changed"

    assert FULL.digests == {"md5": "0123"}


@pytest.mark.parametrize("name", ["size", "verdict", "notes", "new"])
def test_is_frozen(name: str) -> None:
    with pytest.raises((AttributeError, TypeError)):
        setattr(FULL, name, None)


def test_reads_as_a_sentence() -> None:
    assert str(FULL) == (
        "upload_object bucket/a/key: 12 bytes, CONTENT (because), 3 attempts, 1.500 s"
    )


def test_verdicts_are_ordered() -> None:
    order = [Verdict.CONTENT, Verdict.TRANSPORT, Verdict.IDENTITY, Verdict.NONE]

    assert [verdict.strength for verdict in order] == [3, 2, 1, 0]
    assert list(Verdict) == order


def test_outcome_of_a_delete() -> None:
    outcome = DeleteOutcome("key", deleted=True)

    assert (outcome.code, outcome.message) == (None, None)
    with pytest.raises(AttributeError):
        outcome.deleted = False  # type: ignore[misc]
