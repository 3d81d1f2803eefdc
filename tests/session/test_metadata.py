"""Metadata and headers, both ways."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPHeaderDict

from object_clerk.session.metadata import (
    Metadata,
    TimeToIdle,
    TimeToLive,
    check_content_type,
    content_disposition,
    headers_of,
    metadata_of,
)
from tests.session.raw import title

NAMES = st.text(string.ascii_lowercase + string.digits + "-_.", min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
POLICIES = st.none() | st.builds(
    lambda kind, seconds: kind(timedelta(seconds=seconds)),
    st.sampled_from([TimeToLive, TimeToIdle]),
    st.integers(0, 10**9),
)
METADATA = st.builds(
    Metadata,
    content_type=st.sampled_from(["text/plain", 'text/plain; charset="utf-8"', "a/b+c"]),
    compression=st.sampled_from([None, "zstd"]),
    expiration_policy=POLICIES,
    time_created=MOMENTS,
    time_expires=MOMENTS,
    origin=st.none() | TEXTS,
    custom=st.dictionaries(NAMES, TEXTS, max_size=4),
    filename=st.none() | TEXTS,
    size=st.none() | st.integers(0, 10**15),
)


@given(METADATA)
def test_round_trip(metadata: Metadata) -> None:
    headers = headers_of(metadata, answer=True)
    assert all(name == name.lower() for name in headers)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert metadata_of(headers, answer=True) == metadata
    assert metadata_of(title(headers), answer=True) == metadata


@given(METADATA)
def test_a_client_says_nothing_that_only_servers_know(metadata: Metadata) -> None:
    headers = headers_of(metadata)
    assert not {"x-sn-time-created", "x-sn-time-expires", "x-sn-size", "content-disposition"} & set(
        headers
    )
    received = metadata_of(headers_of(metadata, answer=True))
    assert (received.time_created, received.time_expires, received.size) == (None, None, None)
    assert received.custom == metadata.custom


def test_defaults_and_what_is_absent() -> None:
    assert headers_of(Metadata()) == {"content-type": "application/octet-stream"}
    assert metadata_of({}) == Metadata()
    assert metadata_of({"Content-Encoding": "identity"}).compression is None
    assert metadata_of({"Content-Encoding": "ZSTD"}).compression == "zstd"
    assert metadata_of({"content-encoding": "gzip"}).compression == "gzip"


def test_unicode_is_percent_encoded_and_old_values_are_read() -> None:
    headers = headers_of(Metadata(custom={"Who": "Zoë 100% ok"}, origin="a/b?c"))
    assert headers["x-snme-who"] == "Zo%C3%AB%20100%25%20ok"
    assert headers["x-sn-origin"] == "a/b?c"
    assert metadata_of({"x-snme-a": "100% raw %zz"}).custom == {"a": "100% raw %zz"}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-sn-expiration": "foo"},
        {"x-sn-expiration": "ttl:"},
        {"x-snme-a": "%ff"},
        {"x-sn-origin": "%C3"},
        {"x-sn-filename": "\xe9"},
        {"content-type": "nonsense"},
        {"content-type": "text/plain; a"},
        {"content-type": "text/plain\r\nx: y"},
    ],
)
def test_malformed_headers(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        metadata_of(headers)


@pytest.mark.parametrize(
    "headers",
    [{"x-sn-time-created": "yesterday"}, {"x-sn-time-expires": ""}, {"x-sn-size": "-1"},
     {"x-sn-size": "1e3"}],
)  # fmt: skip
def test_malformed_answers(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        metadata_of(headers, answer=True)
    assert metadata_of(headers) == Metadata()


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("x-snme-a", "caf%E9", "caf%E9"),
        ("x-snme-a", "caf\xe9", "caf\xe9"),
        ("x-sn-origin", "caf\xe9 100%", "caf\xe9 100%"),
        ("x-sn-filename", "%ff", "%ff"),
        ("x-snme-a", "Zo\xc3\xab", "Zo\xc3\xab"),
        ("x-sn-expiration", "ttl:", None),
        ("x-sn-expiration", "never", None),
        ("x-sn-expiration", "", None),
        ("x-sn-time-created", "yesterday", None),
        ("x-sn-time-expires", "12026-01-01T00:00:00Z", None),
        ("x-sn-size", "1e3", None),
    ],
)
def test_a_reader_takes_what_it_cannot_understand_as_it_is(
    name: str, value: str, kept: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {name: value, "content-encoding": "zstd", "x-snme-b": "c"}
    metadata = metadata_of(headers, answer=True, lenient=True)
    assert metadata.compression == "zstd"
    assert metadata.custom.pop("b") == "c"
    found = [
        *metadata.custom.values(), metadata.origin, metadata.filename, metadata.expiration_policy,
        metadata.time_created, metadata.time_expires, metadata.size,
    ]  # fmt: skip
    assert [each for each in found if each is not None] == ([] if kept is None else [kept])
    if kept in (None, value):
        assert name in caplog.text
        with pytest.raises(ValueError, match=r"."):
            metadata_of(headers, answer=True)


def test_more_names_than_python_reads_headers() -> None:
    custom = {f"n{number}": "x" for number in range(65)}
    with pytest.raises(ValueError, match="64"):
        headers_of(Metadata(custom=custom))
    headers = headers_of(Metadata(custom=custom), answer=True)  # it is there already
    assert metadata_of(headers, answer=True).custom == custom
    with pytest.raises(ValueError, match="64"):
        metadata_of(headers)
    del headers["x-snme-n0"], custom["n0"]
    assert metadata_of(headers).custom == custom
    assert len(headers_of(Metadata(custom=custom))) == 65


def test_headers_that_are_there_twice() -> None:
    headers = HTTPHeaderDict({"x-sn-origin": "a"})
    headers.add("X-Sn-Origin", "b")
    with pytest.raises(ValueError, match="twice"):
        metadata_of(headers)
    with pytest.raises(ValueError, match="twice"):
        metadata_of({"x-snme-A": "1", "x-snme-a": "2"})
    with pytest.raises(ValueError, match="twice"):
        headers_of(Metadata(custom={"A": "1", "a": "2"}))


def test_what_headers_cannot_carry() -> None:
    for name in ("", "a b", "a:b", "ä", "a\n"):
        with pytest.raises(ValueError, match="name of a header"):
            headers_of(Metadata(custom={name: "x"}))
    with pytest.raises(TypeError, match="is a str"):
        headers_of(Metadata(custom={"a": 1}))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="UTF-8"):
        headers_of(Metadata(origin="\ud800"))
    with pytest.raises(TypeError, match="content_type is a str"):
        headers_of(Metadata(content_type=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "good", ["a/b", "text/html;charset=utf-8", 'm/x; b="a \\" ;"; c=d', "a/b;"]
)
def test_media_types(good: str) -> None:
    assert check_content_type(good) == good


@pytest.mark.parametrize(
    "bad", ["", "a", "a/", "/b", "a b/c", "a/b; c", "a/b\n", "ä/b", 'a/b; c="']
)
def test_what_is_no_media_type(bad: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        check_content_type(bad)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("../a\\b", 'attachment; filename="..-a-b"'),
        ("..", 'attachment; filename="--"'),
        ('say "hi"', 'attachment; filename="say \\"hi\\""'),
        ("é b", "attachment; filename=\"_ b\"; filename*=UTF-8''%C3%A9%20b"),
        ("a\r\nb", 'attachment; filename="a__b"'),
    ],
)
def test_content_disposition(name: str, value: str) -> None:
    assert content_disposition(name) == value


@given(st.text(max_size=30))
def test_a_disposition_is_one_line_of_ascii(name: str) -> None:
    try:
        value = content_disposition(name)
    except UnicodeEncodeError:
        assert any("\ud800" <= c <= "\udfff" for c in name)
        return
    assert value.isascii()
    assert value.isprintable()
    assert "/" not in value.replace("filename*=UTF-8", "")


@given(st.dictionaries(st.sampled_from(
    ["x-sn-expiration", "x-sn-origin", "x-snme-a", "content-type", "x-sn-size", "x-sn-filename",
     "x-sn-time-created", "content-encoding"]), st.text(max_size=20)), st.booleans())  # fmt: skip
def test_metadata_of_raises_nothing_but_value_error(headers: dict[str, str], answer: bool) -> None:
    assert isinstance(metadata_of(headers, answer=True, lenient=True), Metadata)
    try:
        metadata = metadata_of(headers, answer=answer)
    except ValueError:
        return
    assert isinstance(metadata, Metadata)


def test_times_of_an_answer() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    headers = headers_of(Metadata(time_created=moment, size=3, filename="a"), answer=True)
    assert headers["x-sn-time-created"] == "2026-01-01T00:00:00.000000Z"
    assert headers["x-sn-size"] == "3"
    assert headers["content-disposition"] == 'attachment; filename="a"'
