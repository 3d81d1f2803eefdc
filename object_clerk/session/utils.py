"""Small helpers: what kind of file this is, and what a reader accepts."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Enough of a file to tell its kind.
HEAD_BYTES = 261


def parse_accept_encoding(header: str) -> list[str]:
    """The encodings in an Accept-Encoding header, in lower case, without those of weight zero.

    >>> parse_accept_encoding("gzip;q=0.5, ZSTD, br;q=0, *")
    ['gzip', 'zstd', '*']
    """
    found = []
    for each in header.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name and not any(_refuses(parameter) for parameter in parameters):
            found.append(name)
    return found


def _refuses(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    try:
        return name.strip() == "q" and float(value) == 0
    except ValueError:
        return False


#: Media type, and how a file of that kind begins: (offset, bytes), all of which must fit. The
#: values are from the formats' own specifications.
_KINDS: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("image/png", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("image/jpeg", ((0, b"\xff\xd8\xff"),)),
    ("image/gif", ((0, b"GIF87a"),)),
    ("image/gif", ((0, b"GIF89a"),)),
    ("image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
    ("image/tiff", ((0, b"II*\x00"),)),
    ("image/tiff", ((0, b"MM\x00*"),)),
    ("image/bmp", ((0, b"BM"), (6, b"\x00\x00\x00\x00"))),
    ("image/x-icon", ((0, b"\x00\x00\x01\x00"),)),
    ("image/avif", ((4, b"ftypavif"),)),
    ("image/heic", ((4, b"ftypheic"),)),
    ("image/fits", ((0, b"SIMPLE  ="),)),
    ("application/pdf", ((0, b"%PDF-"),)),
    ("application/zip", ((0, b"PK\x03\x04"),)),
    ("application/zip", ((0, b"PK\x05\x06"),)),
    ("application/gzip", ((0, b"\x1f\x8b\x08"),)),
    ("application/zstd", ((0, b"\x28\xb5\x2f\xfd"),)),
    ("application/x-bzip2", ((0, b"BZh"), (4, b"1AY&SY"))),
    ("application/x-xz", ((0, b"\xfd7zXZ\x00"),)),
    ("application/x-7z-compressed", ((0, b"7z\xbc\xaf\x27\x1c"),)),
    ("application/x-tar", ((257, b"ustar"[:4]),)),
    ("application/wasm", ((0, b"\x00asm"),)),
    ("application/x-executable", ((0, b"\x7fELF"),)),
    ("application/vnd.sqlite3", ((0, b"SQLite format 3\x00"),)),
    ("application/x-hdf5", ((0, b"\x89HDF\r\n\x1a\n"),)),
    ("audio/wav", ((0, b"RIFF"), (8, b"WAVE"))),
    ("audio/mpeg", ((0, b"ID3"),)),
    ("audio/flac", ((0, b"fLaC"),)),
    ("audio/ogg", ((0, b"OggS"),)),
    ("video/webm", ((0, b"\x1aE\xdf\xa3"),)),
    ("video/x-msvideo", ((0, b"RIFF"), (8, b"AVI "))),
    ("video/quicktime", ((4, b"ftypqt  "),)),
    ("video/mp4", ((4, b"ftyp"),)),
)


def guess_mime_type(contents: bytes | IO[bytes]) -> str | None:
    """The media type that the first 261 bytes speak of.

    Args:
        contents: bytes, or a file that can be rewound, which then stands where it stood.

    Returns:
        the media type; None if it is not known, or the file cannot be rewound.
    """
    head = _head(contents)
    for kind, marks in _KINDS:
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return kind
    return None


def _head(contents: bytes | IO[bytes]) -> bytes:
    if isinstance(contents, bytes | bytearray | memoryview):
        return bytes(contents[:HEAD_BYTES])
    seek: Callable[[int], int]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        position, seek = contents.tell(), contents.seek
        seek(position)
        try:
            head = contents.read(HEAD_BYTES)
        finally:
            seek(position)
        return head if isinstance(head, bytes) else b""
    return b""
