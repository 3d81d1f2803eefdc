"""Scopes: what they may be, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session.scope import Scope

WORDS = st.text("AZaz09-_()$!+'", min_size=1, max_size=12)


def test_order_counts_and_values_are_kept() -> None:
    scope = Scope(org=42, project="p", flag=True)
    assert str(scope) == "org=42;project=p;flag=True"
    assert scope.dict() == {"org": 42, "project": "p", "flag": True}
    assert scope.pairs() == (("org", "42"), ("project", "p"), ("flag", "True"))
    assert scope != Scope(project="p", org=42, flag=True)
    assert scope == Scope.parse("org=42;project=p;flag=True")
    assert hash(scope) == hash(Scope.parse(str(scope)))
    assert repr(scope) == "Scope(org=42, project='p', flag=True)"


def test_zero_false_and_nothing_are_scopes() -> None:
    assert str(Scope(org=0, on=False)) == "org=0;on=False"
    assert str(Scope()) == "_"
    assert Scope.parse("_") == Scope()


@pytest.mark.parametrize("value", ["", "a.b", "a/b", "a=b", "a;b", "ü", "a b", "%41", "a\n"])
def test_other_characters_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Scope(org=value)
    with pytest.raises(ValueError, match="does not fit"):
        Scope(**{value: 1})


def test_the_wildcard_of_tokens_is_no_value() -> None:
    with pytest.raises(ValueError, match="stands for any value in tokens"):
        Scope(org="*")


@pytest.mark.parametrize("value", [None, 1.5, b"a", ["a"]])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="a str, an int or a bool"):
        Scope(org=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=a", ";", "a=1;", ";a=1", "a=1;a=2", "a=1=2", "_;a=1", "a=*", "__"]
)
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match=r"scope"):
        Scope.parse(text)


@given(st.dictionaries(WORDS, WORDS, max_size=5))
def test_round_trip(pairs: dict[str, str]) -> None:
    scope = Scope(**pairs)
    assert Scope.parse(str(scope)) == scope
    assert Scope.parse(str(scope)).pairs() == tuple(pairs.items())


@given(st.text(max_size=40))
def test_parse_raises_nothing_but_value_error(text: str) -> None:
    try:
        scope = Scope.parse(text)
    except ValueError:
        return
    assert str(scope) == text
