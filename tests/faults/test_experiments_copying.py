"""Experiments E13, E14, E15 and E18: copies that are not made, or made of other bytes.

Each is tried with a copy and with a move: whatever the server says, the source is there until a
good copy is. What the numbers mean is told in ``test_experiments_reading.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.receipt import Finding
from object_clerk.testing import (
    Fault,
    Reply,
    body_after,
    callback,
    cut_response,
    drop_after,
    drop_before,
    error_document,
    flip_response_bit,
    rewrite_response_header,
)
from object_clerk.transfer.copy import Copy
from tests.faults.conftest import PART, Stage, content, scripted
from tests.faults.experiments import XML, flipped, keeps_other_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    Transfer = Callable[..., object]

pytestmark = pytest.mark.usefixtures("counted")

SMALL = content(100_000)
LARGE = content(PART + 1000)
OLD = content(len(SMALL), "old")
WRONG = flipped(SMALL, 1000)
EMPTY = Reply(200)
ERROR = error_document("InternalError")
COPY: Any = {"method": "PUT", "path": "/new", "query": ""}
COPIED_PART: Any = {"method": "PUT", "path": "/new", "query": "partNumber=1"}


@pytest.fixture(params=["copy_object", "move_object"])
def transfer(request: pytest.FixtureRequest, stage: Stage) -> Transfer:
    """Copy or move `key` to `new`."""
    verb = getattr(stage.clerk, request.param)
    return lambda **options: verb(stage.bucket, "key", stage.bucket, "new", **options)


def _check_done(stage: Stage, data: bytes) -> None:
    """The target is right, and the source is there unless it was moved."""
    assert stage.stored("new") == data
    assert stage.stored("key") == (None if stage.receipt.operation == "move_object" else data)
    assert stage.receipt.verdict is Verdict.CONTENT


def _check_kept(stage: Stage, data: bytes) -> None:
    """The source is there, and nobody tried to delete it."""
    assert stage.stored("key") == data
    assert [each for each in stage.sent("DELETE", "key") if not each.query] == []


def _put_parts(stage: Stage) -> None:
    stage.put_parts("key", LARGE[:PART], LARGE[PART:])


def _copies_parts(stage: Stage) -> None:
    if not stage.traits.upload_part_copy:
        pytest.skip("this server cannot copy in parts")


def _not_done(body: bytes = b"", **match: Any) -> Fault:
    return scripted(lambda _: Reply(200, body, XML), **match)


def _no_comparison(*_: object, **__: object) -> Finding:
    return Finding(Verdict.CONTENT, "nothing")


class TestE13E14E15AnswersThatProveNothing:
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", marks=pytest.mark.smoke),
            ERROR,
            b"<CopyObjectResult><ETag>",
            b"<html/>",
        ],
        ids=["empty", "error", "truncated", "other"],
    )
    @pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
    def test_e13_e14_e15_copy_answered_with_200(
        self, stage: Stage, transfer: Transfer, body: bytes, done: bool
    ) -> None:
        """The copy is looked at, and made again if it is not there."""
        stage.put("key", SMALL)
        stage.proxy.add(body_after(200, body, **COPY) if done else _not_done(body, **COPY))

        transfer()

        _check_done(stage, SMALL)
        assert len(stage.fired) == 1

    @pytest.mark.parametrize("before", [None, OLD], ids=["no object", "old object"])
    @pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
    def test_e14_e15_copy_that_is_never_made(
        self, stage: Stage, transfer: Transfer, before: bytes | None, verify: bool
    ) -> None:
        """An error; the source is kept, and so is what was there: it is not taken for the copy.

        Without verification the server's word is trusted, but not its silence.
        """
        stage.put("key", SMALL)
        if before:
            stage.put("new", before)
        stage.proxy.add(_not_done(times=None, **COPY))

        with pytest.raises(ObjectClerkServerInternalException, match="it is not there") as caught:
            transfer(verify_checksum=verify)

        assert caught.value.attempts == 4
        assert len(stage.fired) == 4
        _check_kept(stage, SMALL)
        assert stage.stored("new") == before

    @pytest.mark.smoke
    @pytest.mark.parametrize("body", [b"", ERROR], ids=["empty", "error"])
    def test_e13_e14_e15_copy_in_parts_completed_with_200(
        self, stage: Stage, transfer: Transfer, body: bytes
    ) -> None:
        """Also where the copy is assembled from parts; no parts are left."""
        _put_parts(stage)
        stage.proxy.add(_not_done(body, method="POST", path="/new", query="uploadId"))
        if not stage.traits.upload_part_copy:
            stage.proxy.add(_not_done(body, **COPY))

        transfer()

        _check_done(stage, LARGE)
        assert stage.fired == ["scripted"]

    @pytest.mark.parametrize("body", [b"", ERROR], ids=["empty", "error"])
    @pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
    def test_e13_e14_part_answered_with_200(
        self, stage: Stage, transfer: Transfer, body: bytes, done: bool
    ) -> None:
        """The part is copied again, and the copy is still one in parts."""
        _copies_parts(stage)
        _put_parts(stage)
        fault = body_after(200, body, **COPIED_PART) if done else _not_done(body, **COPIED_PART)
        stage.proxy.add(fault)

        transfer()

        _check_done(stage, LARGE)
        assert len(stage.fired) == 1
        assert "the server cannot copy in parts" not in str(stage.receipt.notes)

    @pytest.mark.parametrize("fault", [drop_after, drop_before])
    def test_e14_e15_lost_answer_to_a_copy(
        self, stage: Stage, transfer: Transfer, fault: Any
    ) -> None:
        """Made again, compared, and only then is the source deleted."""
        stage.put("key", SMALL)
        stage.proxy.add(fault(**COPY))

        transfer()

        _check_done(stage, SMALL)
        assert stage.receipt.attempts == 2
        assert len(stage.fired) == 1

    def test_e14_e15_lost_answer_to_the_completion_of_a_copy(
        self, stage: Stage, transfer: Transfer
    ) -> None:
        """The same for a copy in parts."""
        _copies_parts(stage)
        _put_parts(stage)
        stage.proxy.add(drop_after(method="POST", path="/new", query="uploadId"))

        transfer()

        _check_done(stage, LARGE)
        assert stage.fired == ["drop_after"]

    @pytest.mark.companion
    def test_e13_without_its_guard_it_fails(self, stage: Stage) -> None:
        """No second attempt."""
        stage.put("key", SMALL)
        stage.proxy.add(_not_done(ERROR, **COPY))

        with pytest.raises(ObjectClerkException):
            stage.new_clerk(retry_tries=1).copy_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("new") is None

    @pytest.mark.companion
    def test_e14_e15_without_its_guard_the_last_copy_is_deleted(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody looks at the copy, nor compares it."""
        monkeypatch.setattr(Copy, "look_at_copy", lambda _, source, __: source)
        monkeypatch.setattr(Copy, "_compare", _no_comparison)
        stage.put("key", SMALL)
        stage.proxy.add(_not_done(**COPY))

        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new", verify_checksum=False)

        assert stage.stored("key") is None
        assert stage.stored("new") is None


class TestE15CopiesWithOtherBytes:
    @pytest.mark.smoke
    def test_e15_server_that_copies_wrongly(self, stage: Stage, transfer: Transfer) -> None:
        """Every time: an error, and the source is kept."""
        stage.put("key", SMALL)
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), times=None, **COPY))

        with pytest.raises(ObjectVerificationException) as caught:
            transfer()

        assert type(caught.value) is ObjectVerificationException
        assert stage.fired == ["scripted"] * 3
        _check_kept(stage, SMALL)
        assert stage.stored("new") in (WRONG, None)  # removed only where it is surely ours

    @pytest.mark.smoke
    def test_e15_wrong_copy_is_never_accepted(self, stage: Stage, transfer: Transfer) -> None:
        """What is there instead of the copy may be another writer's: it is not ours to delete."""
        stage.put("key", SMALL)
        stage.proxy.add(
            callback(lambda: stage.put("new", WRONG), method="HEAD", path="/new", times=None)
        )

        with pytest.raises(ObjectVerificationException) as caught:
            transfer()

        assert type(caught.value) is ObjectVerificationException
        _check_kept(stage, SMALL)
        assert stage.stored("new") == WRONG
        assert stage.sent("DELETE") == []
        assert stage.fired == ["callback"] * 3

    @pytest.mark.smoke
    def test_e15_wrong_copy_in_a_bucket_with_versions(
        self, versioned: Stage, transfer: Transfer
    ) -> None:
        """Where its version says that it is ours, it is taken back, and the old one is there."""
        stage = versioned
        stage.put("key", SMALL)
        stage.put("new", OLD)
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), times=None, **COPY))

        with pytest.raises(ObjectVerificationException):
            transfer()

        _check_kept(stage, SMALL)
        assert stage.stored("new") == OLD
        assert stage.fired == ["scripted"] * 3

    def test_e15_wrong_copy_under_the_etag_of_the_source(
        self, stage: Stage, transfer: Transfer
    ) -> None:
        """An equal ETag is no proof: servers carry it over without looking."""
        etag = stage.s3.put_object(Bucket=stage.bucket, Key="key", Body=SMALL)["ETag"]
        stage.proxy.add(
            callback(lambda: stage.put("new", WRONG), method="GET", path="/new", times=None),
            rewrite_response_header("ETag", etag, method="HEAD", path="/new", times=None),
        )

        with pytest.raises((ObjectVerificationException, ObjectChanged)):
            transfer()

        _check_kept(stage, SMALL)
        assert "callback" in stage.fired

    def test_e15_wrong_copy_of_an_object_of_parts(self, stage: Stage, transfer: Transfer) -> None:
        """The same where the ETag is made of parts."""
        kinds: list[type[ObjectClerkException]]
        _put_parts(stage)
        wrong = content(len(LARGE), "wrong")
        stage.proxy.add(
            callback(lambda: stage.put("new", wrong), method="HEAD", path="/new", times=None)
        )

        kinds = [ObjectVerificationException, ObjectChanged]
        if not stage.traits.no_such_upload_on_complete:  # but fails when it is asked again
            kinds.append(ObjectClerkServerInternalException)
        with pytest.raises(tuple(kinds)):
            transfer()

        _check_kept(stage, LARGE)
        assert "callback" in stage.fired

    def test_e15_copy_that_is_wrong_once(self, stage: Stage, transfer: Transfer) -> None:
        """It is made again."""
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: stage.put("new", WRONG), method="HEAD", path="/new"))

        transfer()

        _check_done(stage, SMALL)
        assert stage.receipt.attempts == 2
        assert stage.fired == ["callback"]

    @pytest.mark.parametrize("fault", [flip_response_bit, cut_response])
    def test_e15_fault_while_the_copy_is_read_back(
        self, stage: Stage, transfer: Transfer, fault: Any
    ) -> None:
        """A good copy is not condemned by a bad connection."""
        stage.put("key", SMALL)
        stage.proxy.add(fault(5000, method="GET", path="/new"))

        transfer()

        _check_done(stage, SMALL)
        assert len(stage.fired) == 1

    @pytest.mark.companion
    def test_e15_without_its_guard_only_the_wrong_copy_is_left(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The copy is not compared."""
        monkeypatch.setattr(Copy, "_compare", _no_comparison)
        stage.put("key", SMALL)
        stage.proxy.add(scripted(keeps_other_bytes(stage, WRONG), **COPY))

        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("key") is None
        assert stage.stored("new") == WRONG


class TestE18WrongPartsOverAnOldObject:
    @pytest.mark.smoke
    def test_e15_e18_part_that_is_copied_wrongly(self, stage: Stage, transfer: Transfer) -> None:
        """Nothing is made of it, so what was there stays."""
        _copies_parts(stage)
        _put_parts(stage)
        stage.put("new", OLD)
        wrong = flipped(LARGE[:PART], 1000)
        stage.proxy.add(scripted(keeps_other_bytes(stage, wrong), times=None, **COPIED_PART))

        with pytest.raises(ObjectVerificationException):
            transfer()

        _check_kept(stage, LARGE)
        assert stage.stored("new") == OLD
        assert stage.sent("POST", "new", "uploadId") == []
        assert set(stage.fired) == {"scripted"}

    @pytest.mark.companion
    def test_e18_without_its_guard_the_old_object_is_lost(self, stage: Stage) -> None:
        """Not verified."""
        _copies_parts(stage)
        _put_parts(stage)
        stage.put("new", OLD)
        wrong = flipped(LARGE[:PART], 1000)
        stage.proxy.add(scripted(keeps_other_bytes(stage, wrong), **COPIED_PART))

        stage.clerk.copy_object(stage.bucket, "key", stage.bucket, "new", verify_checksum=False)

        assert stage.stored("new") == wrong + LARGE[PART:]
