"""Paths, ranges, JSON bodies and the rest that both sides share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session import wire
from object_clerk.session.scope import Scope

KEYS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60
).filter(lambda key: not key.startswith("/") and not {".", ".."} & set(key.split("/")))


# -- paths ---------------------------------------------------------------------------------


@given(KEYS, st.sampled_from([Scope(), Scope(org=42), Scope(a="(x)$!+'", b=False)]))
def test_paths_round_trip(key: str, scope: Scope) -> None:
    path = wire.object_path("my-usecase", scope, key)
    assert path.isascii()
    assert not set(path) & set(' ?#"<>\\^`{|}')
    assert wire.split_path(path.removeprefix(wire.OBJECTS).encode()) == ("my-usecase", scope, key)
    assert unquote(path).endswith(f"/{key}")


def test_what_stays_as_it_is_in_a_path() -> None:
    plain = "az/:@!$&'()*+,;=-._~"
    assert wire.object_path("u", Scope(a=1), plain) == f"/v1/objects/u/a=1/{plain}"
    assert wire.object_path("u", Scope(), "%41?#") == "/v1/objects/u/_/%2541%3F%23"


def test_prefixes() -> None:
    assert wire.collection_path("u", Scope()) == "/v1/objects/u/_/"
    assert wire.collection_path("u", Scope(), wire.BATCH) == "/v1/objects:batch/u/_/"
    path = wire.object_path("u", Scope(), "k", wire.MULTIPART_COMPLETE)
    assert path == "/v1/objects:multipart:complete/u/_/k"


@pytest.mark.parametrize("raw", [b"u/a=1", b"u/a=1/"])
def test_a_collection_has_no_key(raw: bytes) -> None:
    assert wire.split_path(raw) == ("u", Scope(a=1), "")


@pytest.mark.parametrize(
    "raw",
    [b"", b"u", b"u/", b"u//k", b"u u/_/k", b"u/a/k", b"u/_/../k", b"u/_/%2e%2e/k", b"u/_/a/./b",
     b"u/_//k", b"u/_/%2Fk", b"u/_/%00", b"u/_/%ff", b"%ff/_/k", b"u/%ff/k", b"u/a=%2A/k",
     b"u/_/" + b"x" * 1025, b"x" * 65 + b"/_/k", b"u.v/_/k"],
)  # fmt: skip
def test_what_is_no_path(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.split_path(raw)


@pytest.mark.parametrize("key", ["", "/a", "a/../b", ".", "a\0", "\ud800"])
def test_keys_that_do_not_survive(key: str) -> None:
    with pytest.raises(ValueError, match=r"key"):
        wire.object_path("u", Scope(), key)


@given(st.binary(max_size=60))
def test_split_path_raises_nothing_but_value_error(raw: bytes) -> None:
    try:
        usecase, scope, key = wire.split_path(raw)
    except ValueError:
        return
    path = wire.object_path(usecase, scope, key) if key else wire.collection_path(usecase, scope)
    assert wire.split_path(path.removeprefix(wire.OBJECTS).encode()) == (usecase, scope, key)


def test_queries() -> None:
    assert wire.query({"a": "b c&d=e", "t": "2026-01-01T00:00:00Z", "n": 3}) == (
        "a=b%20c%26d%3De&t=2026-01-01T00:00:00Z&n=3"
    )


# -- errors --------------------------------------------------------------------------------


def test_errors() -> None:
    assert wire.error_json("no") == {"detail": "no"}
    assert wire.error_json("no", ["a"]) == {"detail": "no", "causes": ["a"]}
    assert wire.error_detail('{"detail": "no", "causes": ["a", 1]}') == ("no", ("a",))
    assert wire.error_detail('{"detail": "no"}') == ("no", ())
    for body in ("", "plain", "[]", '{"detail": 1}', "[" * 100_000):
        assert wire.error_detail(body) == (None, ())


# -- ranges --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size", "span"),
    [
        ("bytes=0-4", 10, range(5)),
        ("bytes=5-", 10, range(5, 10)),
        ("bytes=-3", 10, range(7, 10)),
        ("bytes=-30", 10, range(10)),
        ("bytes=8-99", 10, range(8, 10)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=0-0", 0, None),
    ],
)
def test_ranges(text: str, size: int, span: range | None) -> None:
    asked = wire.parse_range(text)
    assert asked is not None
    assert asked.within(size) == span
    assert str(asked) == text


def test_several_ranges_are_all_bytes() -> None:
    assert wire.parse_range("bytes=0-1,3-4") is None
    assert wire.parse_range("bytes=0-1, -4") is None


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes=", "bytes=-", "bytes=4-1", "bytes=a-b", "items=0-1", "bytes=0-1,x",
     "bytes=0-1,", "bytes 0-1", "bytes=٣-", "bytes=" + "0-1," * 5000 + "0-1"],
)  # fmt: skip
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        wire.parse_range(text)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 50))
def test_content_range_round_trip(start: int, count: int, more: int) -> None:
    span = range(start, start + count)
    text = wire.content_range(span, start + count + more)
    assert wire.parse_content_range(text) == (span, start + count + more)
    assert wire.parse_content_range(text.partition("/")[0] + "/*") == (span, None)


@pytest.mark.parametrize("text", ["", "bytes */3", "bytes 4-1/9", "bytes 1-2"])
def test_what_is_no_content_range(text: str) -> None:
    with pytest.raises(ValueError, match="no Content-Range"):
        wire.parse_content_range(text)


# -- digests -------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
def test_digests(digest: bytes) -> None:
    assert wire.sha256_in(f"md5=:YQ==:, {wire.repr_digest(digest)}") == digest
    assert wire.content_sha256_in(digest.hex()) == digest


def test_malformed_digests() -> None:
    assert wire.sha256_in("") is None
    assert wire.sha256_in("sha-512=:YQ==:") is None
    for text in ("sha-256=:YQ==:", "sha-256=:Y:"):
        with pytest.raises(ValueError, match="32 bytes"):
            wire.sha256_in(text)
    for text in ("", "00", "g" * 64, "0" * 65):
        with pytest.raises(ValueError, match="64 hex"):
            wire.content_sha256_in(text)


# -- JSON ----------------------------------------------------------------------------------

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        wire.Stored("k"),
        wire.Stored("k", "ab" * 32),
        wire.MultipartStarted("k", "u"),
        wire.PartsPage((wire.Part(1, "e", MOMENT, 3), wire.Part(2, "f")), 2),
        wire.PartsPage(()),
        wire.ResumableStarted("k", "abcd"),
        wire.ResumableStarted("k", "abcd", 256),
        wire.Extension(at=MOMENT),
        wire.Extension(after=timedelta(days=1), origin="creation"),
        wire.Extension(after=timedelta(hours=1)),
    ],
)
def test_json_round_trip(value: Any) -> None:
    assert type(value).from_json(json.dumps(value.to_json())) == value


def test_the_shape_of_what_is_sent() -> None:
    assert wire.Extension(after=timedelta(days=1)).to_json() == {
        "extend_expiry": {"after": "1d", "from": "now"}
    }
    assert wire.PartsPage((), 3).to_json() == {
        "parts": [], "is_truncated": True, "next_part_number_marker": 3,
    }  # fmt: skip
    assert wire.parts_json([wire.Part(1, "e", MOMENT, 5)]) == {
        "parts": [{"part_number": 1, "etag": "e"}]
    }
    assert wire.json_body({"a": 1}) == (
        b'{"a": 1}', {"content-type": "application/json", "content-length": "8"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ['{"extend_expiry": {"at": "x"}}', '{"extend_expiry": {}}', "{}",
     '{"extend_expiry": {"at": "2026-01-01T00:00:00Z", "more": 1}}',
     '{"extend_expiry": {"at": "2026-01-01T00:00:00Z"}, "more": 1}',
     '{"extend_expiry": {"after": "1d"}}', '{"extend_expiry": {"after": "1d", "from": "birth"}}',
     '{"extend_expiry": {"after": "", "from": "now"}}'],
)  # fmt: skip
def test_what_is_no_extension(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.Extension.from_json(text)


PARSERS = (
    wire.Stored.from_json, wire.MultipartStarted.from_json, wire.PartsPage.from_json,
    wire.ResumableStarted.from_json, wire.Extension.from_json, wire.parse_parts,
    wire.parse_completion, wire.parse_etag,
)  # fmt: skip
NAMES = (
    "key", "session", "upload_id", "parts", "etag", "part_number", "is_truncated", "error", "code",
    "message", "extend_expiry", "at", "after", "from", "last_modified", "size", "granularity",
    "next_part_number_marker", "sha256",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=8,
)


@given(st.sampled_from(PARSERS), JSON.map(json.dumps) | st.text(max_size=20))
def test_parsers_raise_nothing_but_value_error(parse: Any, text: str) -> None:
    try:
        value = parse(text)
    except ValueError:
        return
    assert value is not None or parse == wire.ResumableStarted.from_json


def test_deep_json_is_no_answer() -> None:
    for parse in PARSERS:
        with pytest.raises(ValueError, match="the JSON is no"):
            parse("[" * 100_000)


def test_multipart_bodies() -> None:
    parts = (wire.Part(1, "a"), wire.Part(2, "b"))
    assert wire.parse_parts(json.dumps(wire.parts_json(parts))) == parts
    for bad in (0, True, "1", None):
        with pytest.raises(ValueError, match="no part"):
            wire.parse_parts(json.dumps({"parts": [{"part_number": bad, "etag": "e"}]}))
    failed = wire.MultipartFailed("InvalidPart", "no")
    assert wire.parse_completion("  \n" + json.dumps(failed.to_json())) == failed
    assert wire.parse_completion('   {"key": "k"}') == wire.Stored("k")
    assert wire.parse_etag('{"etag": "e"}') == "e"


def test_resumable_values() -> None:
    assert wire.ResumableStarted.from_json('{"key": "k"}') is None
    assert wire.parse_upload_offset("*") is None
    assert wire.parse_upload_offset("12") == 12
    for text in ("", "-1", "1.0", "x", "1" * 30):
        with pytest.raises(ValueError, match="number of bytes"):
            wire.parse_upload_offset(text)
    for text in ("", "a=", "a b", "abcde", "ä"):
        with pytest.raises(ValueError, match="base64url"):
            wire.check_session_token(text)


# -- presigned URLs ------------------------------------------------------------------------


def test_canonical_text() -> None:
    text = wire.canonical_text("head", "/v1/x%20y", "os_sig=abc&B=2&a=1&OS_KID=k&os_SIG=d&flag")
    assert text == "GET\n/v1/x%20y\na=1&b=2&flag&os_kid=k"
    assert wire.canonical_text("put", "/", "") == "PUT\n/\n"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 65, "a.b", "*"])
def test_what_is_no_usecase(name: str) -> None:
    with pytest.raises(ValueError, match="no usecase"):
        wire.check_usecase(name)
    with pytest.raises(TypeError, match="a usecase is a str"):
        wire.check_usecase(3)
