"""Deletes of one generation, where the bytes of two are the same and the clock is no help."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.store import (
    Capability,
    ObjectInfo,
    ObjectStore,
    ObjectStoreConfiguration,
    ObjectVersion,
)
from object_clerk.store.adapters import _catalogue, _local, memory
from object_clerk.store.adapters._local import check_unchanged
from object_clerk.store.adapters.s3 import _generation
from tests.store.tape import TapeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 21, 20, 15, 0, 123456, UTC)
TICK = timedelta(microseconds=1)
DATA = b"content"


@pytest.fixture(params=["memory", "filesystem"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    connection = {"root": tmp_path / "objects", "durable": False}
    made: dict[str, Any] = {"framework": request.param, "root_bucket": "raw"}
    return {**made, "connection": connection} if request.param == "filesystem" else made


@pytest.fixture
def store(config: dict[str, Any]) -> Iterator[ObjectStore]:
    with ObjectStore(config) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """A clock that stands still; the function sets it to a time from NOW."""

    class Clock(datetime):
        shown = NOW

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return cls.shown

    monkeypatch.setattr(_local, "datetime", Clock)
    return lambda delta: setattr(Clock, "shown", NOW + delta)


def put(store: ObjectStore, data: bytes = DATA) -> ObjectInfo:
    store.put_object_v2(data, "key")
    return store.head_object("key")


# -- two writes of the same bytes --------------------------------------------------------------


def test_clock_that_stands_still(store: ObjectStore, clock: Callable[[timedelta], None]) -> None:
    infos = [put(store) for _ in range(5)]

    assert [each.updated_time for each in infos] == [NOW + number * TICK for number in range(5)]
    for info in infos[:-1]:
        with pytest.raises(PreconditionFailed, match=r"raw/key.*kept"):
            store.delete_object("key", if_unchanged=info)
    store.delete_object("key", if_unchanged=infos[-1])
    assert list(store.list_objects()) == []


def test_clock_that_is_set_back(store: ObjectStore, clock: Callable[[timedelta], None]) -> None:
    first = put(store)
    clock(timedelta(hours=-1))
    second = put(store)
    clock(timedelta(hours=1))
    third = put(store)

    times = [each.updated_time - NOW for each in (first, second, third)]
    assert times == [timedelta(), TICK, timedelta(hours=1)]
    for info in (first, second):
        with pytest.raises(PreconditionFailed):
            store.delete_object("key", if_unchanged=info)


def test_copies_are_later_too(store: ObjectStore, clock: Callable[[timedelta], None]) -> None:
    before = put(store)
    store.put_object_v2(DATA, "source")
    store.copy_object("source", "key")

    assert store.head_object("key").updated_time == NOW + TICK
    with pytest.raises(PreconditionFailed):
        store.delete_object("key", if_unchanged=before)


def test_times_of_others_do_not_matter(
    store: ObjectStore, clock: Callable[[timedelta], None]
) -> None:
    put(store)
    store.put_object_v2(DATA, "other")

    assert store.head_object("other").updated_time == NOW


def test_all_ways_to_look_tell_the_same(store: ObjectStore) -> None:
    told = put(store)
    with store.get_object("key") as opened:
        assert opened.info == told == next(store.list_objects())


@pytest.mark.parametrize(
    "change",
    [{"etag": "0" * 32}, {"etag": None}, {"size": 8}, {"updated_time": NOW}],
    ids=["etag", "no etag", "size", "time"],
)
def test_everything_is_compared(change: dict[str, Any], store: ObjectStore) -> None:
    info = put(store)
    with pytest.raises(PreconditionFailed):
        store.delete_object("key", if_unchanged=dataclasses.replace(info, **change))

    assert store.head_object("key") == info


def test_compared_and_deleted_in_one_step(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets in between, so what replaces the object is not deleted in its stead."""
    info = put(store)
    writer = threading.Thread(target=store.put_object_v2, args=(DATA, "key"))

    def check(*infos: Any) -> None:
        check_unchanged(*infos)
        writer.start()
        writer.join(0.5)

    for module in (_local, _catalogue, memory):
        monkeypatch.setattr(module, "check_unchanged", check)
    store.delete_object("key", if_unchanged=info)
    writer.join()

    assert [each.key for each in store.list_objects()] == ["key"]


# -- the seam ----------------------------------------------------------------------------------


class Recorder(TapeClient):
    """Remembers what it was asked to delete."""

    capabilities = frozenset((Capability.CONDITIONAL_DELETES, Capability.VERSIONS))

    def __init__(self) -> None:
        config = {"framework": "tape", "root_bucket": "first"}
        super().__init__(ObjectStoreConfiguration.model_construct(None, **config))
        self.asked: list[dict[str, Any]] = []

    def _delete_object(self, **given: Any) -> None:
        self.asked.append(given)


INFO = ObjectInfo("key", NOW, 7, "0" * 32)
WHERE = {"key": "key", "bucket": "first"}


def test_adapter_gets_what_was_given() -> None:
    client = Recorder()
    client.delete_object("key")
    client.delete_object("key", if_unchanged=None)
    client.delete_object("key", if_unchanged=INFO)
    client.delete_object("key", "second", if_unchanged=ObjectVersion("key", NOW, 7))

    assert client.asked == [
        WHERE,
        WHERE,
        {**WHERE, "if_unchanged": INFO},
        {**WHERE, "bucket": "second", "if_unchanged": ObjectVersion("key", NOW, 7)},
    ]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"if_unchanged": "0" * 32}, ObjectClerkTypeException),
        ({"if_unchanged": False}, ObjectClerkTypeException),
        ({"if_unchanged": dataclasses.replace(INFO, key="key2")}, ObjectClerkParameterException),
        ({"if_unchanged": INFO, "version": "1"}, ObjectClerkParameterException),
        (
            {"if_unchanged": ObjectVersion("key", NOW, 0, is_delete_marker=True)},
            ObjectClerkParameterException,
        ),
    ],
    ids=["etag", "bool", "another key", "version", "delete marker"],
)
def test_nonsense_never_gets_to_the_adapter(given: dict[str, Any], kind: type[Exception]) -> None:
    client = Recorder()
    with pytest.raises(kind):
        client.delete_object("key", **given)

    assert client.asked == []


def test_capability_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "capabilities", frozenset())
    client = Recorder()
    with pytest.raises(UnsupportedError, match=r"no deletes that depend .*first/key|first/key.*no"):
        client.delete_object("key", if_unchanged=INFO)

    assert client.asked == []


# -- S3 ----------------------------------------------------------------------------------------


def test_what_s3_compares() -> None:
    made = _generation(dataclasses.replace(INFO, version="3"))

    assert (made.etag, made.size, made.modified, made.version_id) == ("0" * 32, 7, NOW, "3")
    assert _generation(dataclasses.replace(INFO, version="null")).version_id is None
    with pytest.raises(ObjectClerkParameterException, match="no ETag"):
        _generation(dataclasses.replace(INFO, etag=None))
