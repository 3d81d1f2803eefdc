"""Writing under faults, beyond the experiments E9 to E14 and E18, E19, E28."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkException,
    ObjectSaveException,
    Verdict,
)
from object_clerk.testing import (
    drop_after,
    status_before,
)
from tests.faults.conftest import PART, content
from tests.faults.experiments import Pipe

if TYPE_CHECKING:
    from tests.faults.conftest import Stage

SMALL = content(100_000)
LARGE = content(2 * PART + 1000)


class TestLostAnswers:
    def test_answer_to_put(self, stage: Stage) -> None:
        """Check 20: the object was stored and the answer lost; storing it again does no harm."""
        stage.proxy.add(drop_after(method="PUT"))

        receipt = stage.clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") == SMALL
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["drop_after"]

    @pytest.mark.smoke
    def test_answer_to_a_part(self, stage: Stage) -> None:
        """Check 20: the part is sent again, where the server lets parts be replaced."""
        stage.learn()
        stage.proxy.add(drop_after(method="PUT", query="partNumber=2"))

        try:
            stage.clerk.upload_object(LARGE, stage.bucket, "key")
        except ObjectClerkException:  # a server may refuse to take a part twice
            assert not stage.traits.part_replaceable
            assert stage.stored("key") is None
        else:
            assert stage.stored("key") == LARGE
        assert stage.uploads() == []
        assert stage.fired == ["drop_after"]

    @pytest.mark.smoke
    def test_answer_to_create(self, stage: Stage) -> None:
        """Check 20: begun twice, finished once; what was begun without a name can be swept."""
        stage.learn()
        stage.proxy.add(drop_after(method="POST", query="uploads"))

        stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert stage.fired == ["drop_after"]
        assert len(stage.uploads()) == 1
        stage.clerk.sweep_uploads(stage.bucket, older_than_s=0)


class TestSources:
    def test_stream_is_sent_again_from_where_it_stood(self, stage: Stage) -> None:
        """Check 3: a stream is rewound for every attempt, and left open."""
        stream = io.BytesIO(b"header" + SMALL)
        stream.seek(6)
        stage.proxy.add(status_before(503, "SlowDown", method="PUT", times=2))

        stage.clerk.upload_object(stream, stage.bucket, "key")

        assert stage.stored("key") == SMALL
        assert not stream.closed
        assert stage.fired == ["status_before"] * 2

    def test_pipe_is_sent_again_from_what_was_set_aside(self, stage: Stage) -> None:
        """Check 3: also a stream that cannot be rewound, in one request or in parts."""
        for data in (SMALL, LARGE):
            stage.proxy.add(
                status_before(503, "SlowDown", method="PUT", when=_has_body_of(len(data)))
            )
            stage.clerk.upload_object(Pipe(data), stage.bucket, "key")
            assert stage.stored("key") == data

        assert stage.fired == ["status_before"] * 2

    def test_abort_is_tried_again(self, stage: Stage) -> None:
        """Check 9: cleaning up survives a failing request as well."""
        stage.learn()
        stage.proxy.add(status_before(503, "ServiceUnavailable", method="DELETE", path="/key"))

        with pytest.raises(ObjectSaveException, match="the tape broke"):
            stage.clerk.upload_object(Pipe(LARGE[: PART + 1], OSError), stage.bucket, "key")

        assert stage.uploads() == []
        assert stage.fired == ["status_before"]

    def test_probe_leaves_nothing(self, stage: Stage) -> None:
        """Check 9: what the clerk begins to learn about the server is ended as surely."""
        stage.proxy.add(status_before(503, "ServiceUnavailable", method="DELETE", path="/key"))

        stage.new_clerk().upload_object(LARGE, stage.bucket, "key")

        assert stage.uploads() == []
        assert stage.fired == ["status_before"]


def _has_body_of(total: int) -> Any:
    """Matches the PUT of an object, or of its first part, but not the clerk's own question."""
    length = str(min(total, PART))
    return lambda request: request.header("Content-Length") == length
