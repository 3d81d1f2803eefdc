"""Experiments E24, E25 and E27: servers that are slow, busy, or doubt who is asking.

More of E24 and E25 is in ``test_retrying.py``. What the numbers mean is told in
``test_experiments_reading.py``.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import sys
import time
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from botocore import auth

from object_clerk import (
    ObjectClerkException,
    ObjectClerkServerAuthException,
    ObjectClerkServerInternalException,
    Verdict,
    connection,
    exceptions,
    lane,
)
from object_clerk.retry import Operation
from object_clerk.testing import (
    Reply,
    callback,
    drip,
    drop_handshake,
    error_document,
    stall,
    stall_handshake,
    status_before,
)
from tests.faults.conftest import PART, Stage, content, scripted
from tests.faults.experiments import XML, Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from object_clerk import ObjectClerk
    from object_clerk.testing import Request

DATA = content(200_000)
LARGE = content(PART + 1000)
SKEW_S = 20 * 60

#: A clerk that asks as often as it likes, but not for long, and never waits long for an answer.
IMPATIENT: Any = {
    "retry_tries": -1,
    "retry_deadline": 2,
    "client_config": {"connect_timeout": 1, "read_timeout": 1},
}


class TestE24ServersThatAreSlow:
    def test_e24_drip(self, stage: Stage, tmp_path: Path) -> None:
        """A body that comes in drops is given up when the time is over, not when it is complete."""
        stage.put("key", DATA)
        target = Target(stage, tmp_path / "target", b"old")
        stage.proxy.add(drip(1024, delay_s=0.2, method="GET", times=None))

        with pytest.raises(ObjectClerkException) as caught:
            stage.new_clerk(**IMPATIENT).download_object(stage.bucket, "key", target.path)

        assert "the deadline" in str(caught.value)
        assert target.held() == [b"old"]
        assert sum(each.response_bytes for each in stage.proxy.fired) < len(DATA) // 2

    @pytest.mark.parametrize("after_bytes", [None, 0, 1000], ids=["head", "headers", "body"])
    def test_e24_stall(self, stage: Stage, after_bytes: int | None) -> None:
        """An answer that stops is asked for again until the time is over; the cause is told."""
        stage.put("key", DATA)
        stage.proxy.add(stall(30, after_bytes, method="GET", times=None))

        with pytest.raises(ObjectClerkServerInternalException, match=r"(?i)time(d )?out") as caught:
            stage.new_clerk(**IMPATIENT).get_object(stage.bucket, "key")

        assert "the deadline" in caught.value.gave_up
        assert set(stage.fired) == {"stall"}

    @pytest.mark.smoke
    def test_e24_stall_that_passes(self, stage: Stage) -> None:
        """One that stops once is fetched with the next attempt."""
        stage.put("key", DATA)
        stage.proxy.add(stall(30, 1000, method="GET"))
        clerk = stage.new_clerk(client_config=IMPATIENT["client_config"])

        assert clerk.get_object(stage.bucket, "key") == DATA
        assert stage.receipt.verdict is Verdict.CONTENT
        assert stage.fired == ["stall"]

    def test_e24_stall_in_the_handshake(self, secure_stage: Stage) -> None:
        """The same where the answer is that to the first word of TLS."""
        secure_stage.put("key", DATA)
        secure_stage.proxy.add(stall_handshake(30, times=None))

        with pytest.raises(ObjectClerkException, match=r"(?i)time(d )?out") as caught:
            secure_stage.new_clerk(**IMPATIENT).get_object(secure_stage.bucket, "key")

        assert "the deadline" in caught.value.gave_up
        assert set(secure_stage.fired) == {"stall_handshake"}

    def test_e24_handshakes_that_break(self, secure_stage: Stage) -> None:
        """A handshake that is cut off is made again."""
        secure_stage.put("key", DATA)
        secure_stage.proxy.add(drop_handshake(times=2))

        assert secure_stage.new_clerk().get_object(secure_stage.bucket, "key") == DATA
        assert secure_stage.receipt.attempts == 3
        assert secure_stage.fired == ["drop_handshake"] * 2

    @pytest.mark.companion
    def test_e24_without_its_guard_the_drip_is_waited_for(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No deadline: four seconds are taken where one was allowed."""
        monkeypatch.setattr(Operation, "remaining_s", 1e9)
        stage.put("key", DATA[:20_480])
        stage.proxy.add(drip(1024, delay_s=0.2, method="GET", times=None))
        clerk = stage.new_clerk(**{**IMPATIENT, "retry_deadline": 1})

        assert clerk.get_object(stage.bucket, "key") == DATA[:20_480]
        assert stage.receipt.elapsed_s > 3.9


class TestE25ServersThatAreBusy:
    @pytest.mark.smoke
    @pytest.mark.parametrize("times", [3, 30])
    def test_e25_slow_down(self, stage: Stage, times: int) -> None:
        """However often it is asked for patience, the call succeeds in its time."""
        stage.put("key", DATA)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=times))
        clerk = stage.new_clerk(retry_tries=-1, retry_max_delay=5)

        with _waits() as waited:
            assert clerk.get_object(stage.bucket, "key") == DATA

        assert stage.fired == ["status_before"] * times
        assert stage.receipt.attempts == len(stage.sent("GET", "key")) == times + 1
        assert waited == sorted(waited), "it gets more patient"
        assert waited[-1] == (5 if times == 30 else 0.04)

    def test_e25_extra_load(self, stage: Stage) -> None:
        """A request that failed costs one more, and no others: a tenth fails, a tenth is added."""
        stage.put("key", b"content")
        stage.proxy.add(status_before(503, "SlowDown", path="/key", times=30, when=_every(10)))
        clerk = stage.new_clerk(retry_tries=-1)

        with _waits():
            for _ in range(300):
                assert clerk.get_object(stage.bucket, "key") == b"content"

        assert len(stage.fired) == 30
        assert len(stage.proxy.log) == 330

    @pytest.mark.companion
    def test_e25_without_its_guard_a_busy_server_is_given_up(self, stage: Stage) -> None:
        """Three tries, as in boto3."""
        stage.put("key", DATA)
        stage.proxy.add(status_before(503, "SlowDown", method="GET", times=3))

        with pytest.raises(ObjectClerkServerInternalException):
            stage.new_clerk(retry_tries=3).get_object(stage.bucket, "key")


class TestE27ServersThatDoubtWhoAsks:
    DATA = content(6 * PART + 1000)

    def _clerk(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> ObjectClerk:
        """A clerk whose keys come from the environment, where they may be replaced."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", stage.server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stage.secret)
        clerk = stage.new_clerk(access_key=None, secret_key=None)
        stage.learn(clerk)
        return clerk

    def _expire(self, stage: Stage, monkeypatch: pytest.MonkeyPatch, **match: Any) -> None:
        """The seventh part is refused once; from then on there are other keys."""

        def answer(_: Request) -> Reply:
            if not stage.traits.verifies_signatures:
                monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fresh")
            return Reply(400, error_document("ExpiredToken"), XML)

        stage.proxy.add(scripted(answer, method="PUT", query="partNumber=7", **match))

    @pytest.mark.smoke
    def test_e27_token_that_expires_at_the_seventh_part(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The credentials are asked for anew, and that part is signed again; none is lost."""
        clerk = self._clerk(stage, monkeypatch)
        self._expire(stage, monkeypatch)

        receipt = clerk.upload_object(self.DATA, stage.bucket, "key")

        assert stage.stored("key") == self.DATA
        assert receipt.attempts == 2
        counts = [len(stage.sent("PUT", "key", f"partNumber={n}")) for n in range(1, 8)]
        assert counts == [1] * 6 + [2]
        signed = stage.sent("PUT", "key", "partNumber=7")[-1].request_header("Authorization")
        used = stage.server.access_key if stage.traits.verifies_signatures else "fresh"
        assert f"Credential={used}/" in (signed or "")
        assert stage.fired == ["scripted"]

    @pytest.mark.smoke
    def test_e27_token_that_stays_expired(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Asked for once more and no oftener; nothing is left behind."""
        clerk = self._clerk(stage, monkeypatch)
        stage.put("key", b"old")
        self._expire(stage, monkeypatch, times=None)

        with pytest.raises(ObjectClerkServerAuthException) as caught:
            clerk.upload_object(self.DATA, stage.bucket, "key")

        assert isinstance(caught.value, PermissionError)
        assert stage.fired == ["scripted"] * 2
        assert stage.stored("key") == b"old"

    @pytest.mark.companion
    def test_e27_without_its_guard_the_upload_fails(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client with the old credentials is kept."""
        clerk = self._clerk(stage, monkeypatch)
        self._expire(stage, monkeypatch)
        monkeypatch.setattr(connection.Connection, "recover", lambda *_: None)
        keys: set[str] = set()
        fresh: Any = {"when": lambda request: _note(keys, request)}
        stage.proxy.add(callback(lambda: None, method="PUT", times=None, **fresh))

        clerk.upload_object(self.DATA, stage.bucket, "key")

        assert keys == {stage.server.access_key}, "the new ones were never used"

    def test_e27_server_whose_clock_is_ahead(self, stage: Stage) -> None:
        """The difference is learnt from the first answer, once, and all else is signed by it."""
        if stage.traits.verifies_signatures:
            pytest.skip("this server has a clock of its own, which the next test is about")
        clerk = stage.new_clerk()
        stage.proxy.add(scripted(_refuse_other_times, times=None))

        receipt = clerk.upload_object(LARGE, stage.bucket, "key")

        assert stage.stored("key") == LARGE
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        refused = [each for each in stage.proxy.log if each.status == 403]
        assert len(refused) == len(stage.fired) == 1

    @pytest.mark.smoke
    def test_e27_clock_of_this_machine_is_behind(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same with a server that looks at the time by itself."""
        if not stage.traits.verifies_signatures:
            pytest.skip("this server does not look at the time")
        clerk = stage.new_clerk()
        with monkeypatch.context() as late:
            _set_clock_back(late)
            receipt = clerk.upload_object(DATA, stage.bucket, "key")

        assert stage.stored("key") == DATA
        assert receipt.verdict.strength >= Verdict.TRANSPORT.strength
        first, second = [each.status for each in stage.proxy.log]
        assert first in (400, 403)
        assert second == 200

    @pytest.mark.companion
    def test_e27_without_its_guard_nothing_is_accepted(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The difference is not learnt."""
        monkeypatch.setattr(exceptions, "_clock_ahead", lambda _: None)
        stage.proxy.add(scripted(_refuse_other_times, times=None))

        with pytest.raises(ObjectClerkServerAuthException, match="clock"):
            stage.new_clerk().upload_object(DATA, stage.bucket, "key")


@contextlib.contextmanager
def _waits() -> Iterator[list[float]]:
    """Note what operations would wait, without waiting."""
    waited: list[float] = []
    with mock.patch.object(Operation, "sleep", lambda _, seconds: waited.append(seconds)):
        yield waited


def _every(count: int) -> Any:
    """Matches one request in so many."""
    seen = iter(range(10**6))
    return lambda _: next(seen) % (count + 1) == 0


def _note(keys: set[str], request: Request) -> bool:
    found = (request.header("Authorization") or "").partition("Credential=")[2]
    keys.add(found.partition("/")[0])
    return False


def _refuse_other_times(request: Request) -> Reply | None:
    """A server whose clock is twenty minutes ahead."""
    ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SKEW_S)
    said = datetime.datetime.strptime(request.header("X-Amz-Date") or "", "%Y%m%dT%H%M%SZ")
    if abs((said.replace(tzinfo=datetime.UTC) - ahead).total_seconds()) < SKEW_S / 2:
        return None
    headers = (*XML, ("Date", email.utils.format_datetime(ahead, usegmt=True)))
    return Reply(403, error_document("RequestTimeTooSkewed"), headers)


def _set_clock_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who sign, and the clerk, believe that it is twenty minutes earlier."""
    behind = datetime.timedelta(seconds=SKEW_S)

    class Late(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.now(tz) - behind

        @classmethod
        def utcnow(cls) -> Any:
            return datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - behind

    def now(remove_tzinfo: bool = True) -> Any:
        return Late.utcnow() if remove_tzinfo else Late.now(datetime.UTC)

    late = types.SimpleNamespace(**{**vars(datetime), "datetime": Late})
    # With awscrt, botocore signs with that.
    for signer in filter(None, (auth, sys.modules.get("botocore.crt.auth"))):
        monkeypatch.setattr(signer, "datetime", late, raising=False)
        monkeypatch.setattr(signer, "get_current_datetime", now, raising=False)
    monkeypatch.setattr(connection, "datetime", late)
    clock = types.SimpleNamespace(**{**vars(time), "time": lambda: time.time() - SKEW_S})
    monkeypatch.setattr(exceptions, "time", clock)
    monkeypatch.setattr(lane, "time", clock)
