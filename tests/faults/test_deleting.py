"""Deleting under faults: the source of a move, and many keys at once (experiment E29)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import DeleteIncomplete, DeleteOutcome, MoveIncomplete, Verdict
from object_clerk.testing import Fault, Reply, drop_after, status_before
from object_clerk.transfer import delete
from tests.faults.conftest import Stage, content, scripted
from tests.faults.experiments import XML

if TYPE_CHECKING:
    from object_clerk.testing import Request

SMALL = content(100_000)
EMPTY = Reply(200)


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
        stage.learn()
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
        stage.learn()
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
        stage.learn()
        stage.put("key", SMALL)
        stage.proxy.add(drop_after(method="DELETE", path="/key"))

        stage.clerk.move_object(stage.bucket, "key", stage.bucket, "new")

        assert (stage.stored("key"), stage.stored("new")) == (None, SMALL)
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

    def _refusing(self, stage: Stage, refused: dict[str, str]) -> Fault:
        """A server that deletes all keys but some, and says so inside a 200."""

        def answer(_: Request) -> Reply:
            for key in self.KEYS:
                if key not in refused:
                    stage.s3.delete_object(Bucket=stage.bucket, Key=key)
            return Reply(200, self._answer(stage, refused), XML)

        return scripted(answer, method="POST")

    @pytest.mark.smoke
    def test_e29_keys_that_are_refused_are_named(self, stage: Stage) -> None:
        """Check 12: three of ten were refused inside a 200; the exception says which."""
        for key in self.KEYS:
            stage.put(key, b"content")
        refused = dict.fromkeys(self.KEYS[3:6], "AccessDenied")
        stage.proxy.add(self._refusing(stage, refused))

        with pytest.raises(DeleteIncomplete, match="3 of 10") as caught:
            stage.clerk.delete_objects(stage.bucket, self.KEYS)

        outcomes = {outcome.key: outcome for outcome in caught.value.outcomes}
        assert tuple(outcomes) == self.KEYS
        assert [key for key in self.KEYS if not outcomes[key].deleted] == list(refused)
        assert {outcomes[key].code for key in refused} == {"AccessDenied"}
        assert all(key in str(caught.value) for key in refused)
        assert [key for key in self.KEYS if stage.stored(key) is not None] == list(refused)
        assert stage.fired == ["scripted"]
        assert len(stage.sent("POST")) == 1, "asking again would not help"

    @pytest.mark.companion
    def test_e29_without_its_guard_nobody_is_told(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the answer says of single keys is not read."""
        monkeypatch.setattr(delete, "DeleteOutcome", lambda key, *_, **__: DeleteOutcome(key, True))
        for key in self.KEYS:
            stage.put(key, b"content")
        stage.proxy.add(self._refusing(stage, dict.fromkeys(self.KEYS[3:6], "AccessDenied")))

        stage.clerk.delete_objects(stage.bucket, self.KEYS)

        assert stage.stored(self.KEYS[4]) == b"content"

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
