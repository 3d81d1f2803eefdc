"""Experiments E16, E17 and E22: moves that somebody else crosses, or that lead back to themselves.

What the numbers mean is told in ``test_experiments_reading.py``.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    DestinationExists,
    MoveIncomplete,
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    UnsupportedError,
    Verdict,
)
from object_clerk.endpoint import Support
from object_clerk.testing import callback, drop_after
from object_clerk.transfer import move
from tests.faults.conftest import PART, Stage, content
from tests.faults.experiments import afterwards, redirected

if TYPE_CHECKING:
    from collections.abc import Callable

    from object_clerk import Receipt
    from object_clerk.testing import Request

pytestmark = pytest.mark.usefixtures("counted")

SMALL = content(100_000)
LARGE = content(PART + 1000)
NEWER = content(len(SMALL), "newer")
COPY: Any = {"method": "PUT", "path": "/new", "query": ""}


def _is_delete(request: Request) -> bool:
    return "uploadId" not in request.query


DELETE: Any = {"method": "DELETE", "path": "/key", "when": _is_delete}


def _deletes(stage: Stage, key: str = "key") -> int:
    """How often the deletion of an object was asked for."""
    return len([each for each in stage.sent("DELETE", key) if "uploadId" not in each.query])


def _deletes_on_condition(stage: Stage) -> bool:
    stage.learn()
    return stage.clerk.endpoint.delete_if_match is Support.HONOURED


def _move(stage: Stage, source: str = "key", target: str = "new", **options: Any) -> Receipt:
    return stage.clerk.move_object(stage.bucket, source, stage.bucket, target, **options)


class TestE16SourcesThatChange:
    @pytest.mark.smoke
    @pytest.mark.parametrize("size", [len(SMALL), 77], ids=["same size", "other size"])
    def test_e16_before_the_copy(self, stage: Stage, size: int) -> None:
        """ObjectChanged, whether or not the server looks at the condition."""
        stage.put("key", SMALL)
        newer = content(size, "newer")
        stage.proxy.add(callback(lambda: stage.put("key", newer), **COPY))

        with pytest.raises(ObjectChanged):
            _move(stage)

        assert stage.stored("key") == newer
        assert _deletes(stage) == 0
        assert "callback" in stage.fired

    @pytest.mark.smoke
    @pytest.mark.parametrize("guard", ["check", "require"])
    def test_e16_between_copy_and_delete(self, stage: Stage, guard: str) -> None:
        """ObjectChanged; the newer source survives, and so does the copy."""
        stage.learn()
        stage.put("key", SMALL)
        stage.proxy.add(afterwards(lambda: stage.put("key", NEWER), **COPY))

        with pytest.raises(ObjectChanged):
            _move(stage, source_guard=guard)

        assert stage.stored("key") == NEWER
        assert stage.stored("new") == SMALL
        assert _deletes(stage) == 0
        assert stage.fired == ["afterwards"]

    @pytest.mark.smoke
    def test_e16_in_the_instant_of_the_delete(self, stage: Stage) -> None:
        """It survives where the server deletes on condition; elsewhere the receipt says so."""
        honoured = _deletes_on_condition(stage)
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: stage.put("key", NEWER), **DELETE))

        if honoured:
            with pytest.raises(ObjectChanged):
                _move(stage)
            assert stage.stored("key") == NEWER
        else:
            receipt = _move(stage)
            assert any("a write in between would be lost" in note for note in receipt.notes)
        assert stage.stored("new") == SMALL
        assert stage.fired == ["callback"]

    @pytest.mark.smoke
    def test_e16_guard_that_is_required(self, stage: Stage) -> None:
        """Where the server cannot delete on condition, the source is kept; else as above."""
        honoured = _deletes_on_condition(stage)
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: stage.put("key", NEWER), **DELETE))

        with pytest.raises(ObjectChanged if honoured else MoveIncomplete):
            _move(stage, source_guard="require")

        assert stage.stored("key") == (NEWER if honoured else SMALL)
        assert stage.stored("new") == SMALL
        assert _deletes(stage) == len(stage.fired) == honoured

    @pytest.mark.smoke
    def test_e16_tombstone(self, stage: Stage) -> None:
        """The source is replaced on condition first, where the server can do that."""
        stage.put("key", SMALL)
        tombstone: Any = {"when": lambda request: request.header("Content-Length") == "0"}
        bury = callback(
            lambda: stage.put("key", NEWER), method="PUT", path="/key", query="", **tombstone
        )
        stage.proxy.add(bury)

        with pytest.raises((ObjectChanged, MoveIncomplete)) as caught:
            _move(stage, source_guard="tombstone")

        can = stage.clerk.endpoint.put_if_match is Support.HONOURED
        assert type(caught.value) is (ObjectChanged if can else MoveIncomplete)
        assert stage.stored("key") == (NEWER if can else SMALL)
        assert stage.stored("new") == SMALL
        assert _deletes(stage) == 0
        assert len(stage.fired) == can

    @pytest.mark.smoke
    def test_e16_in_a_bucket_with_versions(self, versioned: Stage) -> None:
        """A delete marker on top of what somebody has just written is taken back."""
        stage = versioned
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: stage.put("key", NEWER), **DELETE))

        with pytest.raises(ObjectChanged):
            _move(stage)

        assert stage.stored("key") == NEWER
        assert stage.stored("new") == SMALL
        assert stage.fired == ["callback"]

    def test_e16_answer_to_the_delete_is_lost_and_somebody_writes(self, stage: Stage) -> None:
        """What was written since is not deleted by a second attempt."""
        stage.learn()
        stage.put("key", SMALL)
        lost = drop_after(**DELETE)
        late: Any = {"when": lambda _: "drop_after" in stage.fired}
        stage.proxy.add(
            lost, callback(lambda: stage.put("key", NEWER), method="HEAD", path="/key", **late)
        )

        with pytest.raises(ObjectChanged):
            _move(stage)

        assert stage.stored("key") == NEWER
        assert stage.stored("new") == SMALL
        assert stage.fired == ["drop_after", "callback"]

    def test_e16_source_deleted_by_somebody_else(self, stage: Stage) -> None:
        """There is nothing left to do; the copy stands, and the receipt is honest."""
        stage.learn()
        stage.put("key", SMALL)
        gone = callback(
            lambda: stage.s3.delete_object(Bucket=stage.bucket, Key="key"),
            method="HEAD",
            path="/key",
            skip=1,
        )
        stage.proxy.add(gone)

        receipt = _move(stage)

        assert stage.stored("new") == SMALL
        assert "the source was gone already when it was to be deleted" in receipt.notes
        assert _deletes(stage) == 0
        assert stage.fired == ["callback"]

    @pytest.mark.companion
    def test_e16_without_its_guard_the_newer_source_is_lost(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Deleted without a condition."""
        delete = move._delete
        monkeypatch.setattr(move, "_delete", lambda op, copy, **_: delete(op, copy))
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: stage.put("key", NEWER), **DELETE))

        _move(stage)

        assert stage.stored("key") is None
        assert stage.stored("new") == SMALL


class TestE17MovesOntoThemselves:
    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "above the threshold"])
    @pytest.mark.parametrize("verb", ["copy_object", "move_object"])
    def test_e17_are_refused_before_any_request(self, stage: Stage, data: bytes, verb: str) -> None:
        """No fault is needed here: there must be nothing that one could befall."""
        stage.put("key", data)

        with pytest.raises(ObjectClerkParameterException, match="same object"):
            getattr(stage.clerk, verb)(stage.bucket, "key", stage.bucket, "key")

        assert stage.proxy.log == []
        assert stage.stored("key") == data

    @pytest.mark.smoke
    @pytest.mark.parametrize("spelling", ["./key", "/key", "x/../key", "KEY"])
    def test_e17_other_spelling(self, stage: Stage, spelling: str) -> None:
        """Whether it is another key or the same to this server, the object is not lost."""
        stage.put("key", SMALL)

        with contextlib.suppress(ObjectClerkException):
            _move(stage, target=spelling)

        moved = bool(stage.receipts)
        assert stage.proxy.log
        assert stage.stored(spelling if moved else "key") == SMALL

    def test_e17_other_name_of_the_bucket(self, stage: Stage) -> None:
        """An alias, as an access point is one: noticed before the object is deleted."""
        _check_signatures_are_not_looked_at(stage)
        stage.put("key", SMALL)
        stage.proxy.add(redirected(stage, "/the-alias/", f"/{stage.bucket}/"))

        with pytest.raises((ObjectClerkParameterException, ObjectChanged)):
            stage.clerk.move_object(stage.bucket, "key", "the-alias", "key")

        assert stage.stored("key") == SMALL
        assert _deletes(stage) == 0
        assert set(stage.fired) == {"redirected"}

    @pytest.mark.companion
    def test_e17_without_its_guard_the_object_is_lost(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody asks whether the two are one."""
        _check_signatures_are_not_looked_at(stage)
        monkeypatch.setattr(move, "_looks_like_the_copy", lambda *_: False)
        monkeypatch.setattr(move, "unchanged", lambda *_: True)
        stage.put("key", SMALL)
        stage.proxy.add(redirected(stage, "/the-alias/", f"/{stage.bucket}/"))

        with contextlib.suppress(ObjectClerkException):
            stage.clerk.move_object(stage.bucket, "key", "the-alias", "key")

        assert stage.stored("key") is None


def _check_signatures_are_not_looked_at(stage: Stage) -> None:
    if stage.traits.verifies_signatures or stage.traits.copy_to_itself_rejected:
        pytest.skip("requests cannot be redirected here, or none is copied onto itself")


class TestE22MoversTogether:
    def _decisive(self, stage: Stage) -> Any:
        """The request by which a conditional copy becomes visible."""
        if stage.traits.complete_if_none_match:
            return {"method": "POST", "path": "/new", "query": "uploadId"}
        return {"method": "PUT", "path": "/new", "query": ""}

    @pytest.mark.smoke
    def test_e22_two_sources_and_one_target(self, stage: Stage) -> None:
        """One wins; the other gets DestinationExists, and keeps its source."""
        a, b = stage.put("a", SMALL), stage.put("b", NEWER)
        if not (stage.traits.put_if_none_match or stage.traits.complete_if_none_match):
            with pytest.raises(UnsupportedError):
                _move(stage, "a", if_absent=True)
            assert (stage.stored("a"), stage.stored("new")) == (a, None)
            return
        second = callback(lambda: _move(stage, "b", if_absent=True), **self._decisive(stage))
        stage.proxy.add(second)

        with pytest.raises(DestinationExists):
            _move(stage, "a", if_absent=True)

        assert [stage.stored(key) for key in ("a", "b", "new")] == [a, None, b]
        assert (stage.receipt.source or "").endswith("/b")
        assert stage.fired == ["callback"]

    @pytest.mark.smoke
    @pytest.mark.parametrize("at", ["copied", "looked at", "deleted"])
    def test_e22_two_movers_of_one_source(self, stage: Stage, at: str) -> None:
        """Both end well, and there is one good copy."""
        stage.learn()
        stage.put("key", SMALL)
        place: dict[str, Callable[..., Any]] = {
            "copied": lambda f: afterwards(f, **COPY),
            "looked at": lambda f: callback(f, method="HEAD", path="/key", skip=1),
            "deleted": lambda f: callback(f, **DELETE),
        }
        stage.proxy.add(place[at](lambda: _move(stage)))

        receipt = _move(stage)

        assert (stage.stored("key"), stage.stored("new")) == (None, SMALL)
        assert receipt.verdict is Verdict.CONTENT
        assert len(stage.receipts) == 2
        assert len(stage.fired) == 1

    @pytest.mark.smoke
    def test_e22_second_mover_that_comes_too_late(self, stage: Stage) -> None:
        """Nothing is lost, and the error says that the first may have done it."""
        stage.put("key", SMALL)
        stage.proxy.add(callback(lambda: _move(stage), **COPY))

        with pytest.raises((ObjectNotFoundException, ObjectChanged)):
            _move(stage)

        assert (stage.stored("key"), stage.stored("new")) == (None, SMALL)
        with pytest.raises(ObjectNotFoundException, match="earlier move"):
            _move(stage)
        assert stage.fired == ["callback"]

    def test_e22_movers_in_threads(self, stage: Stage) -> None:
        """The same without a script: who does not succeed finds the source gone."""
        stage.learn()
        stage.put("key", SMALL)
        together = threading.Barrier(3)
        errors: list[ObjectClerkException] = []

        def run() -> None:
            together.wait(timeout=30)
            try:
                _move(stage)
            except ObjectClerkException as error:
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert (stage.stored("key"), stage.stored("new")) == (None, SMALL)
        assert len(stage.receipts) + len(errors) == 3
        assert stage.receipts
        assert all(isinstance(e, (ObjectNotFoundException, ObjectChanged)) for e in errors), errors

    @pytest.mark.companion
    def test_e22_without_its_guard_one_object_is_lost(self, stage: Stage) -> None:
        """Nobody asks that the target be absent: the last wins, and both say that they have."""
        stage.put("a", SMALL)
        stage.put("b", NEWER)
        stage.proxy.add(callback(lambda: _move(stage, "b"), method="PUT", path="/new", query=""))

        _move(stage, "a")

        assert [stage.stored(key) for key in ("a", "b", "new")] == [None, None, SMALL]
        assert len(stage.receipts) == 2
