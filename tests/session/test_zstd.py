"""Frames in bounded steps."""

from __future__ import annotations

import tracemalloc
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_clerk.session.zstd import (
    STEP_BYTES,
    FrameError,
    compressed,
    decompressed,
    zstd,
)

#: An empty frame that wants a window of 2 GiB: magic, a descriptor that says there is a window
#: descriptor, exponent 21 (10 + 21 bits), and one last empty raw block.
WIDE = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([21 << 3]) + b"\x01\x00\x00"
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(st.lists(st.binary(max_size=2000), max_size=5), st.integers(1, 64))
def test_round_trip(blocks: list[bytes], size: int) -> None:
    frame = b"".join(compressed(blocks))
    assert b"".join(decompressed(_pieces(frame, size))) == b"".join(blocks)
    assert zstd.decompress(frame) == b"".join(blocks)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 300))
def test_frames_one_after_another(contents: list[bytes], size: int) -> None:
    frames = b"".join(b"".join(compressed([each])) for each in contents)
    assert b"".join(decompressed(_pieces(frames, size))) == b"".join(contents)


@given(st.binary(max_size=300), st.data())
def test_a_truncated_frame_is_an_error(content: bytes, data: st.DataObject) -> None:
    frame = b"".join(compressed([content]))
    cut = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(FrameError, match="cut off"):
        list(decompressed([frame[:cut]]))


@given(st.binary(max_size=100))
def test_nothing_but_frame_errors(data: bytes) -> None:
    with pytest.raises(FrameError):
        list(decompressed([b"\x28\xb5\x2f\xfd" + data, b"?"]))


def test_frames_have_the_checksum_of_their_content() -> None:
    frame = b"".join(compressed([b"content"]))
    assert frame[4] & 0x04  # RFC 8878, "Frame_Header_Descriptor": Content_Checksum_flag


def test_a_changed_byte_is_an_error() -> None:
    frame = bytearray(b"".join(compressed([bytes(range(256)) * 10])))
    frame[-1] ^= 1  # the checksum, which we put into each frame
    with pytest.raises(FrameError, match="no zstd frame"):
        list(decompressed([bytes(frame)]))


def test_something_behind_the_frame_is_an_error() -> None:
    with pytest.raises(FrameError, match="no zstd frame"):
        list(decompressed([b"".join(compressed([b"x"])), b"junk of some length"]))


def test_skippable_frames_are_skipped() -> None:
    frame = b"".join(compressed([b"content"]))
    assert b"".join(decompressed([SKIPPABLE + frame + SKIPPABLE])) == b"content"


def test_a_frame_that_wants_too_much_memory_is_refused() -> None:
    with pytest.raises(FrameError, match="no zstd frame"):
        list(decompressed([WIDE]))


def test_a_bomb_comes_in_steps() -> None:
    """A gigabyte in a hundred kilobytes: no step is larger, and memory does not grow with it."""
    bomb = b"".join(compressed(repeat(bytes(1 << 20), 1024)))
    assert len(bomb) < 200_000
    total = 0
    tracemalloc.start()
    try:
        for block in decompressed([bomb]):
            assert len(block) <= STEP_BYTES
            total += len(block)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 1 << 30
    assert most < 4 << 20


def test_views_of_other_items_are_taken() -> None:
    view = memoryview(bytes(16)).cast("I")
    assert b"".join(decompressed(compressed([view]))) == bytes(16)
