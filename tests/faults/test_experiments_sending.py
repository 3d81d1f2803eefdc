"""Experiments E11 to E14 and E28: answers to uploads that are lost or empty, sources that change.

What the numbers mean is told in ``test_experiments_reading.py``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    DestinationExists,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectSaveException,
    UnsupportedError,
    Verdict,
)
from object_clerk.testing import (
    Drop,
    Fault,
    Reply,
    Request,
    body_after,
    callback,
    drop_after,
    error_document,
    status_before,
)
from object_clerk.transfer import source, upload
from object_clerk.transfer.multipart import MultipartUpload
from tests.faults.conftest import MIB, PART, Stage, content, scripted
from tests.faults.experiments import XML, Pipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("counted")

SMALL = content(100_000)
LARGE = content(2 * PART + 1000)
OLD = content(len(LARGE), "old")
COMPLETE: Any = {"method": "POST", "query": "uploadId", "path": "/key"}
PUT: Any = {"method": "PUT", "path": "/key"}
NOT_COMPLETED: Any = {"name": "nothing done", "times": None, **COMPLETE}


def _has_conditions(stage: Stage, data: bytes) -> bool:
    """Whether an upload of this size can be told not to replace what is there."""
    return stage.traits.put_if_none_match or (
        len(data) >= PART and stage.traits.complete_if_none_match
    )


class TestE11AnswersLostUnderACondition:
    @pytest.mark.smoke
    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["at once", "in parts"])
    def test_e11_our_own_object_is_no_conflict(self, stage: Stage, data: bytes) -> None:
        """What is there when the request is repeated was made by the request itself."""
        if not _has_conditions(stage, data):
            with pytest.raises(UnsupportedError, match="nothing was sent"):
                stage.clerk.upload_object(data, stage.bucket, "key", if_absent=True)
            assert stage.sent("PUT", "key") == []
            assert stage.sent("POST", "key") == []
            return
        in_parts = len(data) >= PART and stage.traits.complete_if_none_match
        stage.proxy.add(drop_after(**(COMPLETE if in_parts else PUT)))

        receipt = stage.clerk.upload_object(data, stage.bucket, "key", if_absent=True)

        assert stage.stored("key") == data
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert stage.fired == ["drop_after"]

    @pytest.mark.smoke
    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["at once", "in parts"])
    def test_e11_somebody_elses_object_is_one(self, stage: Stage, data: bytes) -> None:
        """Also if it came in the last moment, and the first answer was lost."""
        if not _has_conditions(stage, data):
            pytest.skip("this server honours no condition, so nothing is sent")
        in_parts = len(data) >= PART and stage.traits.complete_if_none_match
        match = COMPLETE if in_parts else PUT
        stage.proxy.add(
            callback(lambda: stage.put("key", OLD), **match), status_before(500, **match)
        )

        with pytest.raises(DestinationExists):
            stage.clerk.upload_object(data, stage.bucket, "key", if_absent=True)

        assert stage.stored("key") == OLD
        assert "callback" in stage.fired

    @pytest.mark.companion
    def test_e11_without_its_guard_our_own_object_is_a_conflict(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody looks whose object it is."""
        if not stage.traits.put_if_none_match:
            pytest.skip("this server honours no condition")
        monkeypatch.setattr(upload.Upload, "_own_doing", lambda _: None)
        stage.proxy.add(drop_after(**PUT))

        with pytest.raises(DestinationExists):
            stage.clerk.upload_object(SMALL, stage.bucket, "key", if_absent=True)

        assert stage.stored("key") == SMALL


class TestE12CompletionsWhoseAnswerIsLost:
    @pytest.mark.smoke
    @pytest.mark.parametrize("repeatable", [True, False], ids=["again", "NoSuchUpload"])
    def test_e12_answer_to_complete(self, stage: Stage, repeatable: bool) -> None:
        """Success with the right bytes, also where Complete cannot be repeated."""
        stage.proxy.add(drop_after(**COMPLETE))
        if not repeatable:
            stage.proxy.add(status_before(404, "NoSuchUpload", **COMPLETE))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.size == len(LARGE)
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert [entry["Key"] for entry in stage.clerk.list_objects(stage.bucket)] == ["key"]
        assert stage.fired == ["drop_after", "status_before"][: 1 if repeatable else 2]
        assert len(stage.sent("POST", "key", "uploads")) <= 2, "it was begun once more"
        if not repeatable:
            assert "the answer to CompleteMultipartUpload was lost" in receipt.notes

    @pytest.mark.smoke
    def test_e12_upload_that_somebody_aborted(self, stage: Stage) -> None:
        """NoSuchUpload on a repeated Complete is no proof that the first one worked.

        A source that can be read again is uploaded again. Where the server does not say that the
        upload is gone, that is an error, and what was there stays.
        """
        stage.put("key", OLD)
        stage.proxy.add(scripted(lambda request: _abort(stage, request), **COMPLETE))

        if stage.traits.no_such_upload_on_complete:
            receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")
            assert stage.stored("key") == LARGE
            assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        else:
            with pytest.raises(ObjectClerkServerInternalException):
                stage.clerk.upload_object(LARGE, stage.bucket, "key")
            assert stage.stored("key") == OLD
        assert stage.fired == ["scripted"]

    def test_e12_aborted_upload_of_a_pipe(self, stage: Stage) -> None:
        """One that cannot be read again has failed, and what was there stays."""
        stage.put("key", OLD)
        stage.proxy.add(scripted(lambda request: _abort(stage, request), **COMPLETE))

        with pytest.raises(ObjectClerkServerInternalException):
            stage.clerk.upload_object(Pipe(LARGE), stage.bucket, "key")

        assert stage.stored("key") == OLD
        assert stage.fired == ["scripted"]

    @pytest.mark.companion
    def test_e12_without_its_guard_our_own_object_is_not_known(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody looks whose object it is: what was uploaded is uploaded again, or fails."""
        monkeypatch.setattr(MultipartUpload, "_is_ours", lambda *_: False)
        stage.proxy.add(
            drop_after(**COMPLETE), status_before(404, "NoSuchUpload", times=None, **COMPLETE)
        )

        with pytest.raises(ObjectClerkException):
            stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE

    @pytest.mark.companion
    def test_e12_without_its_guard_an_old_object_passes_for_ours(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It exists, so it must be ours."""
        if not stage.traits.no_such_upload_on_complete:
            pytest.skip("this server does not say that the upload is gone")
        monkeypatch.setattr(MultipartUpload, "_is_ours", lambda *_: True)
        stage.put("key", OLD)
        stage.proxy.add(scripted(lambda request: _abort(stage, request), **COMPLETE))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key", verify_checksum=False)

        assert receipt.size == len(LARGE)
        assert stage.stored("key") == OLD


def _nonsense(kind: str) -> bytes:
    return {
        "error": error_document("InternalError", "please try again"),
        "empty": b"",
        "truncated": b'<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>"0123',
        "other": b"<html>welcome</html>",
    }[kind]


def _completed(body: bytes, done: bool, **options: Any) -> Fault:
    """Complete is answered with 200 and this body, whether it was done or not."""
    match = {"name": "nonsense", **COMPLETE, **options}
    return body_after(200, body, **match) if done else _not_completed(body, **match)


def _not_completed(body: bytes, **match: Any) -> Fault:
    return scripted(lambda _: Reply(200, body, XML), **match)


class TestE13AndE14AnswersThatProveNothing:
    @pytest.mark.parametrize(
        "kind", ["error", pytest.param("empty", marks=pytest.mark.smoke), "truncated", "other"]
    )
    @pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
    def test_e13_e14_complete_that_answers_200(self, stage: Stage, kind: str, done: bool) -> None:
        """An answer that proves nothing is never taken for success."""
        stage.put("key", OLD)
        stage.proxy.add(_completed(_nonsense(kind), done))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        assert stage.fired == ["nonsense"]

    @pytest.mark.parametrize("kind", ["error", "empty"])
    @pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
    @pytest.mark.parametrize("before", [True, False], ids=["old object", "no object"])
    def test_e13_e14_complete_that_never_does_anything(
        self, stage: Stage, kind: str, verify: bool, before: bool
    ) -> None:
        """An error, nothing visible, nothing left behind, and what was there stays."""
        old = stage.put("key", OLD) if before else None
        stage.proxy.add(_completed(_nonsense(kind), False, times=None))

        with pytest.raises(ObjectClerkServerInternalException):
            stage.clerk.upload_object(LARGE, stage.bucket, "key", verify_checksum=verify)

        assert stage.stored("key") == old
        assert stage.fired == ["nonsense"] * 4

    @pytest.mark.companion
    def test_e13_without_its_guard_it_fails(self, stage: Stage) -> None:
        """No second attempt."""
        stage.proxy.add(_completed(_nonsense("error"), False))

        with pytest.raises(ObjectClerkServerInternalException):
            stage.new_clerk(retry_tries=1).upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") is None

    @pytest.mark.companion
    def test_e14_without_its_guard_nothing_is_success(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer is believed, and what is there is taken for what was sent."""
        monkeypatch.setattr(MultipartUpload, "_is_ours", lambda *_: True)
        stage.put("key", OLD)
        stage.proxy.add(_completed(_nonsense("empty"), False))

        receipt = stage.clerk.upload_object(LARGE, stage.bucket, "key", verify_checksum=False)

        assert receipt.size == len(LARGE)
        assert stage.stored("key") == OLD


class TestE28SourcesThatChange:
    @pytest.mark.parametrize(
        "change", [b"more", b""], ids=["grows", "is rewritten with the same size"]
    )
    def test_e28_file_that_changes_under_an_upload_in_parts(
        self, stage: Stage, tmp_path: Path, change: bytes
    ) -> None:
        """ObjectSaveException; nothing is visible, no parts are left."""
        stage.learn()
        path = tmp_path / "file"
        path.write_bytes(LARGE)

        def write() -> None:
            data = LARGE + change if change else OLD
            path.write_bytes(data)

        stage.proxy.add(callback(write, method="PUT", query="partNumber=2"))

        with pytest.raises(ObjectSaveException, match=r"changed|shorter"):
            stage.clerk.upload_object(path, stage.bucket, "key")

        assert stage.stored("key") is None
        assert stage.fired == ["callback"]

    @pytest.mark.smoke
    def test_e28_file_that_shrinks(self, stage: Stage, tmp_path: Path) -> None:
        """The same where there is nothing left to read; what was there stays."""
        path = tmp_path / "file"
        path.write_bytes(LARGE)
        stage.put("key", OLD)
        clerk = _one_after_another(stage)
        stage.proxy.add(callback(lambda: path.write_bytes(b"gone"), **FIRST))

        with pytest.raises(ObjectSaveException, match="shorter"):
            clerk.upload_object(path, stage.bucket, "key")

        assert stage.stored("key") == OLD
        assert stage.fired == ["callback"]

    @pytest.mark.parametrize("size", [len(SMALL), 9 * MIB], ids=["small", "streamed"])
    def test_e28_file_that_is_rewritten_during_a_single_put(
        self, stage: Stage, tmp_path: Path, size: int
    ) -> None:
        """ObjectSaveException, although the request itself succeeded."""
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
    def test_e28_stream_that_raises(self, stage: Stage, good: int, kind: type[Exception]) -> None:
        """ObjectSaveException from the stream's own error; everything is aborted."""
        stage.put("key", OLD)

        with pytest.raises(ObjectSaveException, match="the tape broke") as caught:
            stage.clerk.upload_object(Pipe(LARGE[:good], kind), stage.bucket, "key")

        assert isinstance(caught.value.__cause__, kind)
        assert stage.stored("key") == OLD
        assert stage.sent("POST", "key", "uploadId") == []

    @pytest.mark.smoke
    def test_e28_interrupt_in_a_stream_aborts_the_upload(self, stage: Stage) -> None:
        """Ctrl-C stays what it is, and leaves no parts."""
        with pytest.raises(KeyboardInterrupt):
            stage.clerk.upload_object(
                Pipe(LARGE[: PART + 1], KeyboardInterrupt), stage.bucket, "key"
            )

        assert stage.uploads() == []
        assert stage.stored("key") is None

    @pytest.mark.companion
    def test_e28_without_its_guard_two_states_of_the_file_are_mixed(
        self, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody looks whether the file is still what it was."""
        monkeypatch.setattr(source._File, "check_unchanged", lambda _: None)
        path = tmp_path / "file"
        path.write_bytes(LARGE)
        clerk = _one_after_another(stage)
        stage.proxy.add(callback(lambda: path.write_bytes(OLD), **FIRST))

        clerk.upload_object(path, stage.bucket, "key")

        assert stage.stored("key") == LARGE[:PART] + OLD[PART:]

    @pytest.mark.companion
    def test_e28_without_its_guard_parts_are_left_behind(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is aborted."""
        monkeypatch.setattr(MultipartUpload, "__exit__", lambda *_: None)

        with pytest.raises(ObjectSaveException):
            stage.clerk.upload_object(Pipe(LARGE[: PART + 1], OSError), stage.bucket, "key")

        assert len(stage.uploads()) == 1


FIRST: Any = {"method": "PUT", "query": "partNumber=1"}


def _one_after_another(stage: Stage) -> Any:
    """A clerk that sends one part at a time, and has learnt all it needs."""
    clerk = stage.new_clerk(transfer_config={"multipart_threshold": PART, "use_threads": False})
    stage.learn(clerk)
    return clerk


def _abort(stage: Stage, request: Request) -> Drop:
    """End the upload of a request behind the client's back, and close the connection."""
    found = re.search("uploadId=([^&]+)", request.query)
    assert found is not None
    (begun,) = stage.uploads()
    stage.s3.abort_multipart_upload(
        Bucket=stage.bucket, Key=begun["Key"], UploadId=begun["UploadId"]
    )
    return Drop()
