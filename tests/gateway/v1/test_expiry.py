"""Objects of /v1 that expire, live longer, and are swept; by a clock that the test moves."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.gateway.v1.deadlines import Deadlines, LostRace
from object_clerk.gateway.v1.expiry import _TRIES
from object_clerk.testing.store import Gap
from tests.gateway.v1.grounds import Ground, InFiles, InMemory, InS3
from tests.gateway.v1.running import ROOT, path, serving
from tests.gateway.v1.sweeping import sweeper
from tests.gateway.v1.test_objects import refused

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from object_clerk.store import ObjectStore
    from tests.gateway.v1.running import Running

_OBJECT = f"{ROOT}/objects/key"


def put(running: Running, expiration: str | None, key: str = "key", content: bytes = b"c") -> None:
    headers = {} if expiration is None else {"x-sn-expiration": expiration}
    assert running.client.put(path(key), content=content, headers=headers).status_code == 200


def statuses(running: Running, key: str = "key") -> tuple[int, int]:
    """Of HEAD and GET."""
    return running.client.head(path(key)).status_code, running.client.get(path(key)).status_code


def expires(answer: httpx2.Response) -> timedelta:
    """How long after its creation the object expires."""
    assert answer.status_code in (200, 204)
    told = [
        datetime.fromisoformat(answer.headers[f"x-sn-time-{each}"])
        for each in ("created", "expires")
    ]
    return told[1] - told[0]


def extend(running: Running, key: str = "key", **wanted: Any) -> httpx2.Response:
    return running.client.patch(path(key), json={"extend_expiry": wanted})


def records(running: Running) -> list[str]:
    """The records of deadlines."""
    return [key for key in running.stored() if key.startswith(f"{ROOT}/deadlines/")]


class Contract(Ground):
    """The tests; a class below says over which store."""

    def test_time_to_live(self, running: Running) -> None:
        """Line 12: to the microsecond, and not prolonged by reading."""
        put(running, "ttl:1h")
        answer = running.client.get(path())
        assert answer.headers["x-sn-expiration"] == "ttl:1h"
        assert expires(answer) == timedelta(hours=1)
        running.clock.go(minutes=59, seconds=59.999999)
        assert statuses(running) == (204, 200)
        assert expires(running.client.head(path())) == timedelta(hours=1)
        running.clock.go(microseconds=1)
        assert statuses(running) == (404, 404)
        refused(extend(running, after="1h", **{"from": "now"}), 404)
        assert running.stored() == [_OBJECT]  # and nobody had to sweep
        put(running, "ttl:1h")
        assert statuses(running) == (204, 200)

    @pytest.mark.parametrize(
        ("given", "told", "time"),
        [("ttl:31d", "ttl:31d", timedelta(days=31)), ("ttl:400d", "ttl:400d", timedelta(days=400)),
         ("ttl:1 days 7205 seconds", "ttl:1d 2h 5s", timedelta(days=1, seconds=7205)),
         ("ttl:1day 2h", "ttl:1d 2h", timedelta(hours=26)),
         ("tti:90min", "tti:1h 30m", timedelta(minutes=90)),
         ("ttl:1month", "ttl:30d 10h 33m 36s", timedelta(days=30.44)),
         ("ttl:1500ms", "ttl:2s", timedelta(seconds=1.5)), ("ttl:1w", "ttl:7d", timedelta(7))],
    )  # fmt: skip
    def test_grammar(self, running: Running, given: str, told: str, time: timedelta) -> None:
        """Lines 13 and 14: both ways to write it, and one way to read it."""
        put(running, given)
        answer = running.client.head(path())
        assert answer.headers["x-sn-expiration"] == told
        assert expires(answer) == time
        running.clock.now += time
        assert statuses(running) == (404, 404)

    def test_no_time_at_all(self, running: Running) -> None:
        """What lives for no time is dead at once."""
        put(running, "ttl:0s")
        assert statuses(running) == (404, 404)

    def test_manual(self, running: Running) -> None:
        """Line 16: it stays."""
        for given in (None, "manual"):
            put(running, given)
            running.clock.go(days=100_000)
            answer = running.client.get(path())
            assert "x-sn-expiration" not in answer.headers
            assert "x-sn-time-expires" not in answer.headers

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_time_to_idle(self, running: Running, method: str) -> None:
        """Line 15: reads keep it alive, and tell when it would have died without them."""
        put(running, "tti:1h")
        put(running, "tti:1h", "unread")
        for number in range(5):
            running.clock.go(minutes=40)
            answer = running.client.request(method, path())
            before = timedelta(hours=1) + timedelta(minutes=40 * number)
            assert expires(answer) == before
        assert statuses(running, "unread") == (404, 404)
        running.clock.go(minutes=60)
        assert statuses(running) == (404, 404)

    def test_time_to_idle_is_moved_seldom(self, running: Running) -> None:
        """Not for less than a quarter of the time; and never is the object itself written."""
        put(running, "tti:1h")
        info = running.service.store.store.head_object(_OBJECT)
        running.clock.go(minutes=15)
        assert statuses(running) == (204, 200)
        assert running.stored() == [_OBJECT]
        running.clock.go(seconds=1)
        assert statuses(running) == (204, 200)
        assert len(records(running)) == 1
        assert expires(running.client.head(path())) == timedelta(hours=1, minutes=15, seconds=1)
        again = running.service.store.store.head_object(_OBJECT)
        assert (again.updated_time, again.metadata) == (info.updated_time, info.metadata)

    def test_long_time_to_idle(self, running: Running) -> None:
        """A day is the longest that nothing is written down."""
        put(running, "tti:400d")
        running.clock.go(days=1)
        assert statuses(running) == (204, 200)
        assert running.stored() == [_OBJECT]
        running.clock.go(seconds=1)
        assert statuses(running) == (204, 200)
        assert len(records(running)) == 1

    def test_record_of_another_generation(self, running: Running) -> None:
        """A write begins anew, whatever was read before; and a late reader undoes nothing."""
        put(running, "tti:1h")
        running.clock.go(minutes=59)
        assert statuses(running) == (204, 200)
        put(running, "tti:10m", content=b"new")
        answer = running.client.get(path())
        assert (answer.content, expires(answer)) == (b"new", timedelta(minutes=10))
        running.clock.go(minutes=10)
        assert statuses(running) == (404, 404)

    @pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"deadline": 1}', b"\xff", b"[" * 99])
    def test_damaged_record(self, running: Running, record: bytes) -> None:
        """It is as if it were not there, and is replaced; a sweep does not know whose it is."""
        put(running, "tti:1h")
        running.clock.go(minutes=30)
        assert statuses(running) == (204, 200)
        running.service.store.store.put_object_v2(record, records(running)[0])
        assert expires(running.client.get(path())) == timedelta(hours=1)
        assert expires(running.client.get(path())) == timedelta(minutes=90)
        running.service.store.store.put_object_v2(record, records(running)[0])
        assert sweeper(running).batch(9).removed == 0
        assert len(running.stored()) == 2

    # -- PATCH -----------------------------------------------------------------------------

    @pytest.mark.parametrize("expiration", ["ttl:1h", "tti:1h"])
    def test_extend(self, running: Running, expiration: str) -> None:
        """Line 40: to a time, from its creation, from now; and never back."""
        put(running, expiration)
        running.clock.go(minutes=10)
        wanted: list[tuple[dict[str, str], timedelta]] = [
            ({"after": "2h", "from": "creation"}, timedelta(hours=2)),
            ({"after": "2h", "from": "now"}, timedelta(hours=2, minutes=10)),
            ({"after": "1m", "from": "now"}, timedelta(hours=2, minutes=10)),
            ({"at": "2026-03-01T15:00:00.250001Z"}, timedelta(hours=3)),
            ({"at": "2026-03-01T17:00:00.250001+01:00"}, timedelta(hours=4)),
            ({"at": "2020-01-01T00:00:00Z"}, timedelta(hours=4)),
        ]
        for given, after in wanted:
            answer = extend(running, **given)
            assert (answer.status_code, answer.content) == (204, b"")
            assert expires(running.client.head(path())) == after
        running.clock.go(hours=3, minutes=49)
        assert statuses(running) == (204, 200)

    def test_extend_what_cannot_be(self, running: Running) -> None:
        """Line 40: 404 and 409."""
        refused_status = extend(running, after="1h", **{"from": "now"})
        assert refused_status.status_code == 404
        put(running, None)
        refused(extend(running, after="1h", **{"from": "now"}), 409, "never")

    @pytest.mark.parametrize(
        "body",
        ["", "{", "[]", "{}", '{"extend_expiry": {}}', '{"extend_expiry": {"at": "soon"}}',
         '{"extend_expiry": {"at": "2030-01-01T00:00:00"}}', '{"extend_expiry": {"after": "1h"}}',
         '{"extend_expiry": {"after": "1h", "from": "birth"}}', '{"extend_expiry": 1, "a": 2}',
         '{"extend_expiry": {"after": "", "from": "now"}}', '{"extend_expiry": {"at": 5}}',
         '{"extend_expiry": {"after": "1h", "from": "now"}, "more": 1}',
         '{"extend_expiry": {"after": "1h", "from": "now", "at": "2030-01-01T00:00:00Z"}}',
         '{"extend_expiry": {"after": "8000y", "from": "now"}}', "[" * 100_000],
    )  # fmt: skip
    def test_malformed_extensions(self, running: Running, body: str) -> None:
        """400, and the deadline stays."""
        put(running, "ttl:1h")
        refused(running.client.patch(path(), content=body), 400)
        assert expires(running.client.head(path())) == timedelta(hours=1)

    def test_extend_with_very_much(self, running: Running) -> None:
        """A body that is no JSON of anybody's."""
        put(running, "ttl:1h")
        refused(running.client.patch(path(), content=b" " * (2 << 20)), 413)

    def test_extend_against_another(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who loses a race tries again, and then says so."""
        put(running, "ttl:1h")
        move, lost = Deadlines.move, 0

        def losing(self: Deadlines, *args: Any) -> None:
            nonlocal lost
            lost += 1
            if lost % _TRIES != turn:
                raise LostRace
            move(self, *args)

        monkeypatch.setattr(Deadlines, "move", losing)
        turn = 2
        assert extend(running, after="2h", **{"from": "now"}).status_code == 204
        assert (lost, expires(running.client.head(path()))) == (2, timedelta(hours=2))
        lost, turn = 0, _TRIES + 1
        refused(extend(running, after="3h", **{"from": "now"}), 409)
        assert lost == _TRIES

    @pytest.mark.parametrize("has_record", [False, True])
    def test_reader_against_an_extension(
        self,
        running: Running,
        monkeypatch: pytest.MonkeyPatch,
        can_condition: bool,
        has_record: bool,
    ) -> None:
        """A reader who saw an old deadline does not undo a new one."""
        if not can_condition:
            pytest.skip("this server ignores conditions")
        put(running, "tti:1h")
        running.clock.go(minutes=30)
        if has_record:
            assert statuses(running) == (204, 200)
            running.clock.go(minutes=30)
        touch = Deadlines.touch

        def late(self: Deadlines, *args: Any) -> None:
            monkeypatch.setattr(Deadlines, "touch", touch)
            assert extend(running, after="9h", **{"from": "creation"}).status_code == 204
            touch(self, *args)

        monkeypatch.setattr(Deadlines, "touch", late)
        assert running.client.get(path()).status_code == 200
        assert expires(running.client.head(path())) == timedelta(hours=9)

    @pytest.fixture
    def can_condition(self) -> bool:
        return True

    # -- sweeping --------------------------------------------------------------------------

    def test_sweep(self, running: Running) -> None:
        """The dead are removed with what lies beside them, and nobody else is."""
        put(running, "ttl:1h", "a")
        put(running, "tti:1h", "b")
        put(running, "tti:1h", "c")
        put(running, None, "d")
        put(running, "ttl:3h", "e", bytes(2 << 20))
        store = running.service.store.store
        foreign = [
            "elsewhere", "data/deadlines/x", "data/digests/x", "data/uploads/x/manifest",
            "tests/org.42/project.7/deadlines/x", "tests/org.42/project.7/uploads/x/manifest",
            f"{ROOT}/objects/foreign", f"{ROOT}/deadlines/foreign", f"{ROOT}/digests/foreign",
            f"{ROOT}/uploads/foreign/manifest", f"{ROOT}/more", ".sessions/more",
        ]  # fmt: skip
        for key in foreign:
            store.put_object_v2(b"", key)
        running.clock.go(minutes=30)
        assert running.client.get(path("b")).status_code == 200
        assert running.client.get(path("c")).status_code == 200
        running.clock.go(minutes=45)
        before = running.stored()
        assert sweeper(running, dry_run=True).batch(1000).removed == 1
        assert running.stored() == before
        assert sweeper(running).batch(1000).removed == 1
        assert running.stored() == [key for key in before if not key.endswith("/a")]
        assert statuses(running, "b") == (204, 200)
        running.clock.go(days=1)
        swept = sweeper(running).batch(1000)
        assert (swept.looked, swept.last) == (len(before) - 1 - 6, None)
        assert running.stored() == sorted([*foreign, f"{ROOT}/objects/d"])

    def test_sweep_in_batches(self, running: Running) -> None:
        """A few keys at a time, from where the last batch has ended."""
        for number in range(7):
            put(running, "ttl:1h" if number % 2 else None, str(number))
        running.clock.go(hours=1)
        last, batches = None, []
        while True:
            swept = sweeper(running).batch(3, last)
            batches.append((swept.looked, swept.removed))
            last = swept.last
            if last is None:
                break
        assert batches == [(3, 1), (3, 2), (1, 0)]
        assert len(running.stored()) == 4

    def test_sweep_leaves_what_was_replaced(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look and the removal anybody may write."""
        put(running, "ttl:1h")
        running.clock.go(hours=1)
        store = running.service.store.store
        delete, tries = store.delete_object, 0

        def deleting(*args: Any, **options: Any) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                put(running, "ttl:1h", content=b"new")
            delete(*args, **options)

        monkeypatch.setattr(store, "delete_object", deleting)
        sweeper(running, unconditional=False).batch(10)
        assert (tries, statuses(running)) == (1, (204, 200))

    def test_sweep_gives_clocks_time(self, running: Running) -> None:
        """One that is ahead does not remove what others still serve."""
        put(running, "ttl:1h")
        running.clock.go(hours=1, minutes=59)
        assert statuses(running) == (404, 404)
        assert sweeper(running, grace=timedelta(hours=1)).batch(10).removed == 0
        running.clock.go(minutes=1)
        assert sweeper(running, grace=timedelta(hours=1)).batch(10).removed == 1
        assert running.stored() == []

    def test_sweep_finds_orphans(self, running: Running) -> None:
        """Records of objects that are gone go too."""
        put(running, "tti:1h")
        running.clock.go(minutes=30)
        assert statuses(running) == (204, 200)
        running.service.store.store.delete_object(_OBJECT)
        assert running.stored() == records(running)
        assert sweeper(running).batch(10).removed == 1
        assert running.stored() == []


class TestMemory(InMemory, Contract):
    def test_background(
        self,
        store: ObjectStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The service sweeps by itself, if it is told to, from the start again and again."""
        sweep = "{interval: 1s, batch: 2, grace: 0s}"
        variables = {"OS__AUTH__ENFORCE": "false", "OS__SWEEP": sweep}
        with serving(tmp_path, store, monkeypatch, variables) as running:
            for key in "abcdef":
                put(running, "ttl:1h", key)
            put(running, None, "stays")
            running.clock.go(hours=1)
            end = time.monotonic() + 120
            while len(running.stored()) > 1:
                assert time.monotonic() < end, "nobody sweeps"
                time.sleep(0.1)
            assert running.stored() == [f"{ROOT}/objects/stays"]

    def test_readers_and_writers_at_once(self, running: Running) -> None:
        """Reads never bring old bytes or old deadlines back."""
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                running.client.get(path())

        readers = [threading.Thread(target=read) for _ in range(4)]
        put(running, "tti:1h")
        for reader in readers:
            reader.start()
        try:
            for number in range(50):
                running.clock.go(minutes=30)
                content = str(number).encode()
                put(running, "tti:1h", content=content)
                assert running.client.get(path()).content == content
        finally:
            done.set()
            for reader in readers:
                reader.join(60)
        info = json.loads(json.dumps(dict(running.client.head(path()).headers)))
        created = datetime.fromisoformat(info["x-sn-time-created"])
        assert created == running.clock.now.astimezone(UTC)


class TestFilesystem(InFiles, Contract):
    pass


class TestS3(InS3, Contract):
    @pytest.fixture
    def can_condition(self, gaps: frozenset[Gap]) -> bool:
        return not gaps & {Gap.IF_ABSENT, Gap.IF_MATCH}
