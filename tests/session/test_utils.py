"""Accept-Encoding, and what kind of file it is."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session.utils import HEAD_BYTES, guess_mime_type, parse_accept_encoding


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("", []),
        ("gzip", ["gzip"]),
        ("GZip , ZSTD;q=0.5", ["gzip", "zstd"]),
        ("br;q=0, gzip;q=0.0, zstd; q=0.001", ["zstd"]),
        ("*", ["*"]),
        ("*;q=0,identity", ["identity"]),
        ("gzip;q=, ,;q=1", ["gzip"]),
        ("gzip; Q = 0", []),
    ],
)
def test_parse_accept_encoding(header: str, names: list[str]) -> None:
    assert parse_accept_encoding(header) == names


@given(st.text(max_size=40))
def test_parse_accept_encoding_takes_anything(header: str) -> None:
    assert all(name == name.lower().strip() != "" for name in parse_accept_encoding(header))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"%PDF-1.7", "application/pdf"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x28\xb5\x2f\xfd", "application/zstd"),
        (b"SIMPLE  =                    T", "image/fits"),
        (_zip(), "application/zip"),
        (_tar(), "application/x-tar"),
        (b"", None),
        (b"plain text", None),
        (b"RIFF", None),
        (bytes(HEAD_BYTES) + b"\x89PNG\r\n\x1a\n", None),
    ],
)
def test_guess_mime_type(contents: bytes, kind: str | None) -> None:
    assert guess_mime_type(contents) == kind
    file = io.BytesIO(b"head" + contents)
    file.seek(4)
    assert guess_mime_type(file) == kind
    assert file.tell() == 4


def test_what_cannot_be_rewound_is_left_alone() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"%PDF-1.7")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert guess_mime_type(pipe) is None
        assert pipe.read() == b"%PDF-1.7"
    nothing: Any = object()
    assert guess_mime_type(nothing) is None
    text: Any = io.StringIO("%PDF-")
    assert guess_mime_type(text) is None
    assert text.tell() == 0
