"""What happens to an upload when bytes change, answers are lost, or the source misbehaves."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkException,
    ObjectSaveException,
    Verdict,
)
from object_clerk.testing import (
    Drop,
    Reply,
    Request,
    body_after,
    callback,
    drop_after,
    error_document,
    status_before,
)
from tests.faults.conftest import MIB, PART, Stage, content, scripted

if TYPE_CHECKING:
    from pathlib import Path

SMALL = content(100_000)
LARGE = content(2 * PART + 1000)
COMPLETE: Any = {"method": "POST", "query": "uploadId"}
OTHER_MD5 = '"0123456789abcdef0123456789abcdef"'


class TestLostAnswers:
    def test_answer_to_put(self, stage: Stage) -> None:
        """Check 20: the object was stored and the answer lost; storing it again does no harm."""
        stage.proxy.add(drop_after(method="PUT"))

        receipt = stage.clerk.upload_object(SMALL, stage.bucket, "key")

        assert stage.stored("key") == SMALL
        assert (receipt.attempts, receipt.verdict) == (2, Verdict.CONTENT)
        assert stage.fired == ["drop_after"]

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

    def test_answer_to_complete(self, stage: Stage) -> None:
        """Check 20: success with the right bytes, also where Complete cannot be repeated."""
        stage.proxy.add(drop_after(**COMPLETE))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.size == len(LARGE)
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert [entry["Key"] for entry in stage.clerk.list_objects(stage.bucket)] == ["key"]
        assert stage.uploads() == []
        assert stage.fired == ["drop_after"]
        if not stage.traits.complete_repeatable:
            assert "the answer to CompleteMultipartUpload was lost" in receipt.notes

    def test_answer_to_create(self, stage: Stage) -> None:
        """Check 20: begun twice, finished once; what was begun without a name can be swept."""
        stage.learn()
        stage.proxy.add(drop_after(method="POST", query="uploads"))

        stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert stage.fired == ["drop_after"]
        assert len(stage.uploads()) == 1
        stage.clerk.sweep_uploads(stage.bucket, older_than_s=0)

    @pytest.mark.parametrize("kind", ["error", "empty", "truncated", "other"])
    @pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
    def test_complete_that_answers_200_and_nonsense(
        self, stage: Stage, kind: str, done: bool
    ) -> None:
        """Check 9: an answer that proves nothing is never taken for success."""
        body = {
            "error": error_document("InternalError", "please try again"),
            "empty": b"",
            "truncated": b'<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"0123',
            "other": b"<html>welcome</html>",
        }[kind]
        stage.put("key", content(len(LARGE), "old"))
        if done:
            stage.proxy.add(body_after(200, body, name="nonsense", **COMPLETE))
        else:
            answer = Reply(200, body, (("Content-Type", "application/xml"),))
            stage.proxy.add(scripted(lambda _: answer, name="nonsense", **COMPLETE))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert stage.uploads() == []
        assert stage.fired == ["nonsense"]

    @pytest.mark.parametrize("body", [b"", error_document("InternalError")], ids=["empty", "error"])
    @pytest.mark.parametrize("before", [True, False], ids=["old object", "no object"])
    def test_complete_that_never_does_anything(
        self, stage: Stage, body: bytes, before: bool
    ) -> None:
        """Check 9: an error, nothing visible, nothing left behind, and what was there stays."""
        old = stage.put("key", content(len(LARGE), "old")) if before else None
        answer = Reply(200, body, (("Content-Type", "application/xml"),))
        stage.proxy.add(scripted(lambda _: answer, times=None, **COMPLETE))

        with pytest.raises(ObjectClerkException):
            stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == old
        assert stage.uploads() == []
        assert set(stage.fired) == {"scripted"}

    def test_upload_that_somebody_aborted(self, stage: Stage) -> None:
        """Check 9: NoSuchUpload on a repeated Complete is no proof that the first one worked.

        A source that can be read again is uploaded again.
        """
        old = stage.put("key", content(len(LARGE), "old"))
        stage.proxy.add(scripted(lambda request: _abort(stage, request), **COMPLETE))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert old != LARGE == stage.stored("key")
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert stage.fired == ["scripted"]
        assert len(stage.sent("POST", "key", "uploads")) == 2, "it began anew"


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
            stage.clerk.upload_object(_Pipe(data), stage.bucket, "key")
            assert stage.stored("key") == data

        assert stage.fired == ["status_before"] * 2

    def test_file_that_grows_while_it_is_uploaded(self, stage: Stage, tmp_path: Path) -> None:
        """Check 4: ObjectSaveException; nothing is visible, no parts are left."""
        stage.learn()
        path = tmp_path / "file"
        path.write_bytes(LARGE)

        def write() -> None:
            with path.open("ab") as file:
                file.write(b"more")

        stage.proxy.add(callback(write, method="PUT", query="partNumber=2"))

        with pytest.raises(ObjectSaveException, match="changed"):
            stage.clerk.upload_object(path, stage.bucket, "key")

        assert stage.stored("key") is None
        assert stage.uploads() == []
        assert stage.fired == ["callback"]

    def test_file_that_shrinks_while_it_is_uploaded(self, stage: Stage, tmp_path: Path) -> None:
        """Check 4: the same where there is nothing left to read."""
        stage.learn()
        path = tmp_path / "file"
        path.write_bytes(LARGE)
        stage.put("key", content(10, "old"))
        clerk = stage.new_clerk(transfer_config={"multipart_threshold": PART, "use_threads": False})
        stage.learn(clerk)
        stage.proxy.add(
            callback(lambda: path.write_bytes(b"gone"), method="PUT", query="partNumber=1")
        )

        with pytest.raises(ObjectSaveException, match="shorter"):
            clerk.upload_object(path, stage.bucket, "key")

        assert stage.stored("key") == content(10, "old")
        assert stage.uploads() == []
        assert stage.fired == ["callback"]

    @pytest.mark.parametrize("size", [len(SMALL), 9 * MIB], ids=["small", "streamed"])
    def test_file_that_is_rewritten_during_a_single_put(
        self, stage: Stage, tmp_path: Path, size: int
    ) -> None:
        """Check 4: ObjectSaveException, although the request itself succeeded."""
        path = tmp_path / "file"
        path.write_bytes(content(size))
        clerk = stage.new_clerk(transfer_config={"multipart_threshold": 64 * MIB})
        newer = content(size - 1, "newer")
        stage.proxy.add(callback(lambda: path.write_bytes(newer), method="PUT"))

        with pytest.raises(ObjectSaveException):
            clerk.upload_object(path, stage.bucket, "key")

        assert stage.fired == ["callback"]
        assert stage.receipts == []

    @pytest.mark.parametrize("good", [0, 10, PART + 10], ids=["at once", "first part", "later"])
    @pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError])
    def test_stream_that_raises(self, stage: Stage, good: int, kind: type[Exception]) -> None:
        """Check 4: ObjectSaveException from the stream's own error; everything is aborted."""
        stage.put("key", content(10, "old"))

        with pytest.raises(ObjectSaveException, match="the tape broke") as caught:
            stage.clerk.upload_object(_Pipe(LARGE[:good], kind), stage.bucket, "key")

        assert isinstance(caught.value.__cause__, kind)
        assert stage.stored("key") == content(10, "old")
        assert stage.uploads() == []

    def test_abort_is_tried_again(self, stage: Stage) -> None:
        """Check 9: cleaning up survives a failing request as well."""
        stage.learn()
        stage.proxy.add(status_before(503, "ServiceUnavailable", method="DELETE", path="/key"))

        with pytest.raises(ObjectSaveException, match="the tape broke"):
            stage.clerk.upload_object(_Pipe(LARGE[: PART + 1], OSError), stage.bucket, "key")

        assert stage.uploads() == []
        assert stage.fired == ["status_before"]

    def test_probe_leaves_nothing(self, stage: Stage) -> None:
        """Check 9: what the clerk begins to learn about the server is ended as surely."""
        stage.proxy.add(status_before(503, "ServiceUnavailable", method="DELETE", path="/key"))

        stage.new_clerk().upload_object(LARGE, stage.bucket, "key")

        assert stage.uploads() == []
        assert stage.fired == ["status_before"]

    def test_interrupt_in_a_stream_aborts_the_upload(self, stage: Stage) -> None:
        """Check 9: Ctrl-C stays what it is, and leaves no parts."""
        with pytest.raises(KeyboardInterrupt):
            stage.clerk.upload_object(
                _Pipe(LARGE[: PART + 1], KeyboardInterrupt), stage.bucket, "key"
            )

        assert stage.uploads() == []
        assert stage.stored("key") is None


class _Pipe(io.RawIOBase):
    """A stream that cannot be rewound, and may end with an error."""

    def __init__(self, data: bytes, error: type[BaseException] | None = None) -> None:
        self._stream = io.BytesIO(data)
        self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(size)
        if not data and self._error is not None:
            raise self._error("the tape broke")
        return data


def _has_body_of(total: int) -> Any:
    """Matches the PUT of an object, or of its first part, but not the clerk's own question."""
    length = str(min(total, PART))
    return lambda request: request.header("Content-Length") == length


def _abort(stage: Stage, request: Request) -> Drop:
    """End the upload of a request behind the client's back, and close the connection."""
    found = re.search("uploadId=([^&]+)", request.query)
    assert found is not None
    (upload,) = stage.uploads()
    stage.s3.abort_multipart_upload(
        Bucket=stage.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
    )
    return Drop()
