"""Reading under faults, beyond the experiments E1 to E8."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectChanged,
    ObjectUnverifiable,
    Verdict,
)
from object_clerk.testing import (
    callback,
    cut_response,
    rewrite_response_header,
)
from tests.faults.conftest import MIB, PART, Stage, content

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA = content(MIB + 12345)
CUT_AT = 600_000


class TestEtagsThatSayNothing:
    @pytest.mark.parametrize("value", ['"not-an-md5"', None])
    def test_etag_that_is_no_md5(self, stage: Stage, value: str | None) -> None:
        """Check 6: what cannot be verified is refused as such, and read only when told to."""
        stage.put("key", DATA)
        stage.proxy.add(rewrite_response_header("ETag", value, times=None))

        with pytest.raises(ObjectUnverifiable, match="verify_checksum=False"):
            stage.clerk.get_object(stage.bucket, "key")
        assert stage.clerk.get_object(stage.bucket, "key", verify_checksum=False) == DATA

        assert stage.receipt.verdict is Verdict.NONE
        assert set(stage.fired) == {"rewrite_response_header"}

    @pytest.mark.parametrize("verb", ["get_object", "open_object"])
    def test_refused_object_leaves_no_connection_open(self, stage: Stage, verb: str) -> None:
        """Check 28: a connection that is given up is closed at once, not some day."""
        stage.put("key", content(3 * MIB))
        stage.proxy.add(rewrite_response_header("ETag", '"opaque"', times=None))
        gc.collect()

        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(ObjectUnverifiable):
                _read_with(getattr(stage.clerk, verb), stage.bucket, "key")
            gc.collect()

        assert [str(each.message) for each in warned] == []
        assert set(stage.fired) == {"rewrite_response_header"}


class TestBrokenConnections:
    def test_body_that_is_cut_again_and_again(self, stage: Stage) -> None:
        """Check 22: as long as bytes come, the attempts are not used up."""
        stage.put("key", DATA)
        stage.proxy.add(cut_response(300_000, method="GET", times=3))
        clerk = stage.new_clerk(retry_tries=2)

        assert clerk.get_object(stage.bucket, "key") == DATA
        assert stage.fired == ["cut_response"] * 3

    def test_e03_range_of_a_parallel_download(self, stage: Stage, tmp_path: Path) -> None:
        """Check 22: only what is missing of that range is asked for again."""
        data = stage.put_parts("key", content(PART, "1"), content(PART, "2"))
        stage.proxy.add(cut_response(CUT_AT, method="GET", when=_second_range))

        stage.clerk.download_object(stage.bucket, "key", tmp_path / "target")

        assert (tmp_path / "target").read_bytes() == data
        assert stage.fired == ["cut_response"]
        begins = sorted(
            int((got.request_header("Range") or "").removeprefix("bytes=").split("-")[0])
            for got in stage.sent("GET", "key")
            if not got.query  # asking for the sizes of the parts
        )
        assert begins[:2] == [0, PART]
        assert PART < begins[2] <= PART + CUT_AT

    def test_object_deleted_before_the_rest_is_read(self, stage: Stage) -> None:
        """Check 22: an object that is gone in the middle is an error, not a short object."""
        stage.put("key", DATA)
        stage.proxy.add(
            cut_response(CUT_AT, method="GET"),
            callback(lambda: stage.s3.delete_object(Bucket=stage.bucket, Key="key"), method="GET"),
        )

        with pytest.raises((ObjectChanged, FileNotFoundError)):
            stage.clerk.get_object(stage.bucket, "key")

        assert stage.fired == ["cut_response", "callback"]


def _read_with(verb: Callable[..., Any], bucket: str, key: str) -> None:
    """Read an object to its end, with a verb that gives its bytes or a reader."""
    found = verb(bucket, key)
    if not isinstance(found, bytes):
        with found:
            found.read()


def _second_range(request: Any) -> bool:
    return bool(str(request.header("Range") or "").startswith(f"bytes={PART}-"))
