"""An end must be the end: after an error nothing that follows may look like one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from object_clerk import ObjectClerkException, ObjectClerkServerInternalException
from object_clerk.testing import flip_response_bit, status_before
from object_clerk.transfer.stream import ObjectStream
from tests.faults.conftest import content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.conftest import Stage

DATA = content(3 << 20)


def test_listing_after_a_page_that_failed_for_good(stage: Stage) -> None:
    """Check 17: who catches the error and goes on does not take a part for the whole."""
    for number in range(5):
        stage.put(f"key{number}", b"content")
    stage.proxy.add(status_before(503, "SlowDown", query="list-type", skip=1, times=None))
    listing = stage.clerk.list_objects(stage.bucket, page_size=2)
    assert [next(listing)["Key"] for _ in range(2)] == ["key0", "key1"]

    for _ in range(2):
        with pytest.raises(ObjectClerkServerInternalException):
            next(listing)

    assert stage.fired


def test_reader_after_a_failed_verification(stage: Stage) -> None:
    """Check 6: reading on after the error gives the error again, not an end."""
    stage.put("key", DATA)
    stage.proxy.add(flip_response_bit(100, method="GET", times=None))

    with stage.clerk.open_object(stage.bucket, "key") as reader:
        for _ in range(2):
            with pytest.raises(ObjectClerkException):
                reader.read()
        assert reader.receipt is None

    assert stage.fired


def test_reader_after_an_interruption(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 6: nor does it after Ctrl-C."""
    stage.put("key", DATA)
    blocks = ObjectStream.__iter__

    def interrupted(stream: ObjectStream) -> Iterator[bytes]:
        for number, block in enumerate(blocks(stream)):
            if number == 2:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(ObjectStream, "__iter__", interrupted)

    with stage.clerk.open_object(stage.bucket, "key") as reader:
        with pytest.raises(KeyboardInterrupt):
            reader.read()
        with pytest.raises(ObjectClerkException, match="interrupted"):
            reader.read()


def test_progress_of_a_failed_download_adds_up_to_nothing(stage: Stage, tmp_path: Path) -> None:
    """What was fetched in vain is taken back, part by part."""
    stage.put("key", DATA)
    stage.proxy.add(flip_response_bit(100, method="GET", times=None))

    with pytest.raises(ObjectClerkException):
        stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

    moved = [event.delta_bytes for event in stage.events if hasattr(event, "delta_bytes")]
    assert moved
    assert sum(moved) == 0


def test_pipe_as_target(stage: Stage) -> None:
    """A path that names a pipe is written to; it is not replaced, and gets all bytes."""
    stage.put("key", DATA)
    read_end, write_end = os.pipe()
    got: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read_end, "rb") as pipe:
            got.append(pipe.read())

    thread = threading.Thread(target=drain)
    thread.start()
    receipt = stage.clerk.download_object(stage.bucket, "key", f"/dev/fd/{write_end}")
    os.close(write_end)
    thread.join(30)

    assert receipt.size == len(DATA)
    assert got == [DATA]
