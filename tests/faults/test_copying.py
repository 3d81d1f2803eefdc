"""Copy, move and delete: whatever a server answers, one good copy of the bytes survives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    DeleteIncomplete,
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkServerInternalException,
    ObjectVerificationException,
    Verdict,
)
from object_clerk.testing import (
    Reply,
    body_after,
    callback,
    cut_response,
    drop_after,
    drop_before,
    error_document,
    flip_response_bit,
    rewrite_response_header,
    status_before,
)
from tests.faults.conftest import PART, Stage, content, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = content(100_000)
LARGE = content(PART + 1000)
EMPTY = Reply(200)
COPY: Any = {"method": "PUT", "path": "/new", "query": ""}


@pytest.fixture(params=["copy_object", "move_object"])
def transfer(request: pytest.FixtureRequest, stage: Stage) -> Callable[[], object]:
    """Copy or move `key` to `new`."""
    verb = getattr(stage.clerk, request.param)
    return lambda: verb(stage.bucket, "key", stage.bucket, "new")


def _check_done(stage: Stage, data: bytes) -> None:
    """The target is right, and the source is there unless it was moved."""
    assert stage.stored("new") == data
    assert stage.stored("key") == (None if stage.receipt.operation == "move_object" else data)
    assert stage.receipt.verdict is Verdict.CONTENT
    assert stage.uploads() == []


class TestAnswersThatProveNothing:
    @pytest.mark.parametrize(
        "body",
        [b"", error_document("InternalError"), b"<CopyObjectResult><ETag>", b"<html/>"],
        ids=["empty", "error", "truncated", "other"],
    )
    @pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
    def test_copy_answered_with_200_and_nonsense(
        self, stage: Stage, transfer: Callable[[], object], body: bytes, done: bool
    ) -> None:
        """Check 14: the copy is looked at, and made again if it is not there."""
        stage.put("key", SMALL)
        answer = Reply(200, body, (("Content-Type", "application/xml"),))
        stage.proxy.add(
            body_after(200, body, **COPY) if done else scripted(lambda _: answer, **COPY)
        )

        transfer()

        _check_done(stage, SMALL)
        assert len(stage.fired) == 1

    def test_copy_that_is_never_made(self, stage: Stage, transfer: Callable[[], object]) -> None:
        """Check 14: an error, and the source is kept."""
        stage.put("key", SMALL)
        stage.proxy.add(scripted(lambda _: EMPTY, times=None, **COPY))

        with pytest.raises(ObjectClerkServerInternalException) as caught:
            transfer()

        assert caught.value.attempts == 4
        assert len(stage.fired) == 4
        assert stage.stored("key") == SMALL
        assert stage.stored("new") is None
        assert stage.sent("DELETE") == []

    def test_copy_that_is_never_made_over_another_object(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: what was there before is neither taken for the copy nor deleted."""
        stage.put("key", SMALL)
        stage.put("new", content(len(SMALL), "old"))
        stage.proxy.add(scripted(lambda _: EMPTY, times=None, **COPY))

        with pytest.raises(ObjectClerkServerInternalException, match="it is not there"):
            transfer()

        assert stage.stored("key") == SMALL
        assert stage.stored("new") == content(len(SMALL), "old")
        assert stage.sent("DELETE") == []
        assert len(stage.fired) == 4

    def test_unverified_copy_still_needs_an_answer(self, stage: Stage) -> None:
        """Check 7: verify_checksum=False trusts the server's word, but not its silence."""
        stage.put("key", SMALL)
        stage.proxy.add(scripted(lambda _: EMPTY, times=None, **COPY))

        with pytest.raises(ObjectClerkException):
            stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new", verify_checksum=False)

        assert stage.stored("key") == SMALL
        assert len(stage.fired) == 4

    def test_copy_in_parts_completed_with_nothing(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: also where the copy is assembled from parts; no parts are left."""
        stage.put_parts("key", LARGE[:PART], LARGE[PART:])
        answer = {"method": "POST", "path": "/new", "query": "uploadId"}
        stage.proxy.add(scripted(lambda _: EMPTY, **answer))
        if not stage.traits.upload_part_copy:
            stage.proxy.add(scripted(lambda _: EMPTY, **COPY))

        transfer()

        _check_done(stage, LARGE)
        assert stage.fired == ["scripted"]

    @pytest.mark.parametrize("fault", [drop_after, drop_before])
    def test_lost_answer_to_a_copy(
        self, stage: Stage, transfer: Callable[[], object], fault: Any
    ) -> None:
        """Check 14: made again, compared, and only then is the source deleted."""
        stage.put("key", SMALL)
        stage.proxy.add(fault(**COPY))

        transfer()

        _check_done(stage, SMALL)
        assert stage.receipt.attempts == 2
        assert len(stage.fired) == 1

    def test_lost_answer_to_the_completion_of_a_copy(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: the same for a copy in parts."""
        if not stage.traits.upload_part_copy:
            pytest.skip("this server cannot copy in parts")
        stage.put_parts("key", LARGE[:PART], LARGE[PART:])
        stage.proxy.add(drop_after(method="POST", path="/new", query="uploadId"))

        transfer()

        _check_done(stage, LARGE)
        assert stage.fired == ["drop_after"]


class TestCopiesWithOtherBytes:
    def test_wrong_copy_is_never_accepted(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: a copy that stored other bytes raises, and the source is kept."""
        stage.put("key", SMALL)
        wrong = content(len(SMALL), "wrong")
        stage.proxy.add(
            callback(lambda: stage.put("new", wrong), method="HEAD", path="/new", times=None)
        )

        with pytest.raises(ObjectVerificationException) as caught:
            transfer()

        assert type(caught.value) is ObjectVerificationException
        assert stage.stored("key") == SMALL
        assert stage.stored("new") == wrong  # perhaps another writer's: not ours to delete
        assert stage.sent("DELETE") == []
        assert stage.fired == ["callback"] * 3

    def test_wrong_copy_under_the_etag_of_the_source(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: an equal ETag is no proof: servers carry it over without looking."""
        etag = stage.s3.put_object(Bucket=stage.bucket, Key="key", Body=SMALL)["ETag"]
        wrong = content(len(SMALL), "wrong")
        stage.proxy.add(
            callback(lambda: stage.put("new", wrong), method="GET", path="/new", times=None),
            rewrite_response_header("ETag", etag, method="HEAD", path="/new", times=None),
        )

        with pytest.raises((ObjectVerificationException, ObjectChanged)):
            transfer()

        assert stage.stored("key") == SMALL
        assert stage.sent("DELETE") == []
        assert "callback" in stage.fired

    def test_wrong_copy_of_an_object_of_parts(
        self, stage: Stage, transfer: Callable[[], object]
    ) -> None:
        """Check 14: the same where the ETag is made of parts."""
        stage.put_parts("key", LARGE[:PART], LARGE[PART:])
        wrong = content(len(LARGE), "wrong")
        stage.proxy.add(
            callback(lambda: stage.put("new", wrong), method="HEAD", path="/new", times=None)
        )

        with pytest.raises(ObjectVerificationException):
            transfer()

        assert stage.stored("key") == LARGE
        assert stage.sent("DELETE", "key") == []
        assert stage.uploads() == []
        assert "callback" in stage.fired

    def test_copy_that_is_wrong_once(self, stage: Stage, transfer: Callable[[], object]) -> None:
        """Check 14: it is made again."""
        stage.put("key", SMALL)
        wrong = content(len(SMALL), "wrong")
        stage.proxy.add(callback(lambda: stage.put("new", wrong), method="HEAD", path="/new"))

        transfer()

        _check_done(stage, SMALL)
        assert stage.receipt.attempts == 2
        assert stage.fired == ["callback"]

    @pytest.mark.parametrize("fault", [flip_response_bit, cut_response])
    def test_fault_while_the_copy_is_read_back(
        self, stage: Stage, transfer: Callable[[], object], fault: Any
    ) -> None:
        """Check 14: a good copy is not condemned by a bad connection."""
        stage.put("key", SMALL)
        stage.proxy.add(fault(5000, method="GET", path="/new"))

        transfer()

        _check_done(stage, SMALL)
        assert len(stage.fired) == 1


class TestSourcesThatChange:
    def test_source_overwritten_before_the_delete(self, stage: Stage) -> None:
        """Check 14: ObjectChanged; the newer source survives, and so does the copy."""
        stage.put("key", SMALL)
        newer = content(len(SMALL), "newer")
        stage.proxy.add(
            callback(lambda: stage.put("key", newer), method="HEAD", path="/key", skip=1)
        )

        with pytest.raises(ObjectChanged):
            stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("key") == newer
        assert stage.stored("new") == SMALL
        assert stage.sent("DELETE") == []
        assert stage.fired == ["callback"]

    @pytest.mark.parametrize("size", [len(SMALL), 77], ids=["same size", "other size"])
    def test_source_overwritten_before_the_copy(
        self, stage: Stage, transfer: Callable[[], object], size: int
    ) -> None:
        """Check 14: ObjectChanged, whether or not the server looks at the condition."""
        stage.put("key", SMALL)
        newer = content(size, "newer")
        stage.proxy.add(callback(lambda: stage.put("key", newer), **COPY))

        with pytest.raises(ObjectChanged):
            transfer()

        assert stage.stored("key") == newer
        assert stage.sent("DELETE") == []
        assert "callback" in stage.fired

    def test_source_deleted_by_somebody_else(self, stage: Stage) -> None:
        """Check 14: there is nothing left to do; the copy stands, and the receipt is honest."""
        stage.put("key", SMALL)
        stage.proxy.add(
            callback(
                lambda: stage.s3.delete_object(Bucket=stage.bucket, Key="key"),
                method="HEAD",
                path="/key",
                skip=1,
            )
        )

        receipt = stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert stage.stored("new") == SMALL
        assert not any("compared just before it was deleted" in note for note in receipt.notes)
        assert stage.sent("DELETE") == []
        assert stage.fired == ["callback"]


class TestDeleteThatFails:
    @pytest.mark.parametrize(
        "match",
        [{"method": "DELETE", "path": "/key"}, {"method": "HEAD", "path": "/key", "skip": 1}],
        ids=["delete", "comparison"],
    )
    def test_move_is_incomplete_and_can_be_run_again(
        self, stage: Stage, match: dict[str, Any]
    ) -> None:
        """Check 14: MoveIncomplete with the copy's receipt; both are kept; a re-run converges."""
        stage.put("key", SMALL)
        stage.proxy.add(status_before(503, "SlowDown", times=None, **match))

        with pytest.raises(MoveIncomplete, match="run the move again") as caught:
            stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert caught.value.receipt is not None
        assert caught.value.receipt.verdict is Verdict.CONTENT
        assert caught.value.attempts == len(stage.fired) == 4
        assert stage.stored("key") == stage.stored("new") == SMALL

        stage.proxy.clear()
        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")
        assert stage.stored("key") is None
        assert stage.stored("new") == SMALL

    def test_forbidden_delete(self, stage: Stage) -> None:
        """Check 14: the same for an error that asking again does not change."""
        stage.put("key", SMALL)
        denied = status_before(
            403,
            "AccessDenied",
            method="DELETE",
            when=lambda request: "uploadId" not in request.query,
            times=None,
        )
        stage.proxy.add(denied)

        with pytest.raises(MoveIncomplete) as caught:
            stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert caught.value.code == "AccessDenied"
        assert stage.stored("key") == stage.stored("new") == SMALL
        assert stage.fired == ["status_before"]

    def test_lost_answer_to_the_delete(self, stage: Stage) -> None:
        """Check 12: deleting what is already deleted is no error."""
        stage.put("key", SMALL)
        stage.proxy.add(drop_after(method="DELETE", path="/key"))

        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        _check_done(stage, SMALL)
        assert stage.fired == ["drop_after"]


class TestManyDeletes:
    KEYS = tuple(f"dir/key {number}" for number in range(10))

    def _answer(self, stage: Stage, failing: dict[str, str]) -> bytes:
        rows = [
            f"<Error><Key>{key}</Key><Code>{failing[key]}</Code><Message>no</Message></Error>"
            if key in failing
            else f"<Deleted><Key>{key}</Key></Deleted>"
            for key in self.KEYS
        ]
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'<DeleteResult xmlns="{namespace}">{"".join(rows)}</DeleteResult>'.encode()

    def test_partial_errors_are_named(self, stage: Stage) -> None:
        """Check 12: three of ten were refused inside a 200; the exception says which."""
        refused = dict.fromkeys(self.KEYS[3:6], "AccessDenied")
        stage.proxy.add(body_after(200, self._answer(stage, refused), method="POST"))

        with pytest.raises(DeleteIncomplete, match="3 of 10") as caught:
            stage.clerk.delete_objects(stage.bucket, self.KEYS)

        outcomes = {outcome.key: outcome for outcome in caught.value.outcomes}
        assert tuple(outcomes) == self.KEYS
        assert [key for key in self.KEYS if not outcomes[key].deleted] == list(refused)
        assert {outcomes[key].code for key in refused} == {"AccessDenied"}
        assert all(key in str(caught.value) for key in refused)
        assert stage.fired == ["body_after"]
        assert len(stage.sent("POST")) == 1

    def test_keys_that_were_busy_are_asked_for_again(self, stage: Stage) -> None:
        """Check 12: and only they."""
        for key in self.KEYS:
            stage.put(key, b"content")
        busy = dict.fromkeys(self.KEYS[:2], "SlowDown")
        stage.proxy.add(scripted(lambda _: Reply(200, self._answer(stage, busy)), method="POST"))

        outcomes = stage.clerk.delete_objects(stage.bucket, self.KEYS)

        assert all(outcome.deleted for outcome in outcomes)
        assert [stage.stored(key) for key in self.KEYS[:3]] == [None, None, b"content"]
        assert stage.fired == ["scripted"]

    def test_keys_that_stay_busy(self, stage: Stage) -> None:
        """Check 12: after all attempts they are named; the attempts do not multiply."""
        busy = dict.fromkeys(self.KEYS[:2], "SlowDown")
        stage.proxy.add(
            scripted(lambda _: Reply(200, self._answer(stage, busy)), method="POST", times=None)
        )

        with pytest.raises(DeleteIncomplete, match="SlowDown"):
            stage.clerk.delete_objects(stage.bucket, self.KEYS)

        assert len(stage.fired) == 4

    def test_empty_answer_is_no_success(self, stage: Stage) -> None:
        """Check 12: keys that the server does not speak of were not deleted."""
        for key in self.KEYS:
            stage.put(key, b"content")
        stage.proxy.add(scripted(lambda _: EMPTY, method="POST", times=None))

        with pytest.raises(DeleteIncomplete, match="10 of 10"):
            stage.clerk.delete_objects(stage.bucket, self.KEYS)

        stage.proxy.clear()
        outcomes = stage.clerk.delete_objects(stage.bucket, self.KEYS)
        assert all(outcome.deleted for outcome in outcomes)
        assert stage.stored(self.KEYS[0]) is None
