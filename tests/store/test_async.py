"""AsyncObjectStore: the verbs in threads, cancellation, listings, and the pipe of uploads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import gc
import inspect
import io
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    PreconditionFailed,
    Receipt,
)
from object_clerk.store import AsyncObjectStore, ObjectInfo, ObjectStore, aio
from object_clerk.store.pipe import ROOM_BYTES, Pipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

MIB = 1 << 20

#: Longer than anything here takes; only a test that fails waits for it.
PATIENCE_S = 60.0


@pytest.fixture(params=["memory", "filesystem"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    connection = {"root": tmp_path / "objects", "durable": False}
    return {
        "framework": request.param,
        "root_bucket": "raw",
        "connection": connection if request.param == "filesystem" else {},
    }


MEMORY = {"framework": "memory", "root_bucket": "raw"}


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await coroutine

    asyncio.run(bounded())


async def blocks_of(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        await asyncio.sleep(0)
        yield block


async def keys_of(store: AsyncObjectStore, prefix: str = "") -> list[str]:
    return [each.key async for each in store.list_files(prefix)]


async def until(reached: Callable[[], bool]) -> None:
    """Let others run until it is so; the time limit of the test ends it if it never is."""
    while not reached():
        await asyncio.sleep(0.001)


class Gate:
    """Where a thread waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(PATIENCE_S)

    async def is_reached(self) -> None:
        await until(self.entered.is_set)


class TestVerbs:
    def test_are_those_of_the_store(self) -> None:
        """With the same names of arguments, in the same order, with the same defaults."""
        sync = {name for name in vars(ObjectStore) if not name.startswith("_")} - {"client"}
        ours = {name for name in vars(AsyncObjectStore) if not name.startswith("_")}
        assert ours - {"call"} == sync
        for name in sync - {"named", "close"}:
            expected = inspect.signature(getattr(ObjectStore, name))
            found = inspect.signature(getattr(AsyncObjectStore, name))
            assert [(each.name, each.kind, each.default) for each in found.parameters.values()] == [
                (each.name, each.kind, each.default) for each in expected.parameters.values()
            ]

    def test_do_what_those_do(self, config: dict[str, Any], tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"a file")

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                receipt = await store.upload_file(source, "a/file")
                assert isinstance(receipt, Receipt)
                assert (receipt.bucket, receipt.key, receipt.size) == ("raw", "a/file", 6)
                await store.upload_object(source, "a/object")
                await store.put_object_v2(b"bytes", "a/bytes", metadata={"by": "me"})
                await store.put_object_v2(io.BytesIO(b"a stream"), "a/stream", length=8)
                await store.put_object_v2(blocks_of(b"one", b"", b" two"), "a/blocks", length=7)

                info = await store.head_object("a/bytes")
                assert (info.size, info.metadata) == (5, {"by": "me"})
                async with await store.get_file("a/blocks") as opened:
                    assert await opened.body.read(4) == b"one "
                    assert await opened.body.read() == b"two"
                    assert await opened.body.read() == b""
                    assert opened.updated_time == opened.info.updated_time

                await store.copy_object("a/stream", "b/stream")
                assert (await store.download_file("b/stream", tmp_path / "down")).size == 8
                assert (tmp_path / "down").read_bytes() == b"a stream"
                async with await store.download_object("a/file", tmp_path / "d2") as opened:
                    assert await opened.body.read() == b"a file"

                stale = dataclasses.replace(await store.head_object("a/object"), size=1)
                with pytest.raises(PreconditionFailed):
                    await store.delete_object("a/object", if_unchanged=stale)
                await store.delete_object("a/object")
                await store.delete_file("a/file")
                assert await keys_of(store) == ["a/blocks", "a/bytes", "a/stream", "b/stream"]
                assert await keys_of(store, "b/") == ["b/stream"]
                listed = store.list_objects("a/", limit=1)
                assert [each.key async for each in listed] == ["a/blocks"]
                assert [each.name async for each in store.list_buckets()] == ["raw"]

        run(story())

    def test_errors_are_the_same(self, config: dict[str, Any]) -> None:
        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                with pytest.raises(ObjectNotFoundException) as caught:
                    await store.get_object("missing")
                assert (caught.value.bucket, caught.value.key) == ("raw", "missing")
                with pytest.raises(ObjectClerkParameterException):
                    await store.put_object_v2(b"", "")
                for ask in (store.get_presigned_url, store.get_presigned_upload_url):
                    with pytest.raises(RuntimeError):
                        await ask("key", expires=60)
                with pytest.raises(RuntimeError):
                    await anext(store.list_versions())
                with pytest.raises(ObjectClerkTypeException):
                    await anext(store.list_files(3))  # type: ignore[arg-type]

        run(story())

    def test_content_comes_in_blocks(self, config: dict[str, Any]) -> None:
        data = bytes(range(256)) * (3 * MIB // 256) + b"end"

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                await store.put_object_v2(data, "key")
                opened = await store.get_object("key")
                blocks = [block async for block in opened]
                await opened.close()
                assert b"".join(blocks) == data
                assert max(map(len, blocks)) <= aio.BLOCK_BYTES
                assert len(blocks) == 4

        run(story())

    def test_object_goes_from_one_store_to_another(self, config: dict[str, Any]) -> None:
        """What is opened is itself an async iterator of bytes."""

        async def story() -> None:
            async with AsyncObjectStore(MEMORY) as here, AsyncObjectStore(config) as there:
                await here.put_object_v2(b"x" * 5 * MIB, "key")
                async with await here.get_object("key") as opened:
                    receipt = await there.put_object_v2(opened, "copy")
                assert receipt.size == 5 * MIB

        run(story())

    def test_several_event_loops_may_use_it_in_turn(self, config: dict[str, Any]) -> None:
        store = AsyncObjectStore(config)

        async def put(key: str) -> None:
            await store.put_object_v2(blocks_of(b"x"), key)

        async def look() -> None:
            assert await keys_of(store) == ["1", "2"]
            await store.close()

        run(put("1"))
        run(put("2"))
        run(look())

    def test_context_variables_arrive(self) -> None:
        who = contextvars.ContextVar("who", default="nobody")
        seen = []

        class Store(ObjectStore):
            def head_object(self, *args: Any, **options: Any) -> ObjectInfo:
                seen.append(who.get())
                return super().head_object(*args, **options)

            def put_object_v2(self, *args: Any, **options: Any) -> Receipt:
                seen.append(who.get())
                return super().put_object_v2(*args, **options)

        async def ask(store: AsyncObjectStore, name: str) -> None:
            who.set(name)
            await store.put_object_v2(blocks_of(b"x"), name)
            await store.head_object(name)

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                await asyncio.gather(*(ask(store, str(i)) for i in range(8)))

        run(story())
        assert sorted(seen) == sorted([str(i) for i in range(8)] * 2)


class TestThreads:
    @pytest.mark.parametrize("most", [1, 3])
    def test_many_calls_share_a_few(self, config: dict[str, Any], most: int) -> None:
        running, peak, lock = set[int](), [0], threading.Lock()

        class Store(ObjectStore):
            def head_object(self, *args: Any, **options: Any) -> ObjectInfo:
                me = threading.get_ident()
                with lock:
                    running.add(me)
                    peak[0] = max(peak[0], len(running))
                try:
                    return super().head_object(*args, **options)
                finally:
                    with lock:
                        running.discard(me)

        async def story() -> None:
            async with AsyncObjectStore(Store(config), max_threads=most) as store:
                keys = [f"{i:03}" for i in range(150)]
                await asyncio.gather(*(store.put_object_v2(b"x" * 9, key) for key in keys))
                infos = await asyncio.gather(*(store.head_object(key) for key in keys))
                assert [info.key for info in infos] == keys
                assert await keys_of(store) == keys

        before = threading.active_count()
        run(story())
        assert 1 <= peak[0] <= most
        assert threading.active_count() <= before

    def test_uploads_that_read_the_store_do_not_wait_for_each_other(
        self, config: dict[str, Any]
    ) -> None:
        """Each holds a thread while its producer needs another one."""

        async def story() -> None:
            async with AsyncObjectStore(config, max_threads=1) as store:
                await store.put_object_v2(b"x" * 3 * MIB, "key")

                async def copy(number: int) -> None:
                    async with await store.get_object("key") as opened:
                        await store.put_object_v2(opened, f"copy-{number}")

                await asyncio.gather(*(copy(number) for number in range(5)))
                assert len(await keys_of(store, "copy-")) == 5

        run(story())

    @pytest.mark.parametrize("most", [0, -1, True, 1.5, "2", None])
    def test_number_is_checked(self, most: Any) -> None:
        with pytest.raises(ObjectClerkParameterException, match="max_threads"):
            AsyncObjectStore(MEMORY, max_threads=most)

    def test_event_loop_goes_on_meanwhile(self) -> None:
        gate = Gate()

        class Store(ObjectStore):
            def head_object(self, *_: Any, **__: Any) -> Any:
                gate.pass_through()

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                asking = asyncio.create_task(store.head_object("key"))
                await gate.is_reached()  # which it could not be if the loop were held up
                gate.opened.set()
                await asking

        run(story())


class TestClosing:
    def test_close_waits_for_calls_that_were_begun(self) -> None:
        gate, ends = Gate(), []

        class Store(ObjectStore):
            def head_object(self, *_: Any, **__: Any) -> Any:
                gate.pass_through()
                ends.append("call")

            def close(self) -> None:
                ends.append("store")

        async def story() -> None:
            store = AsyncObjectStore(Store(MEMORY))
            store._is_ours = True
            asking = asyncio.create_task(store.head_object("key"))
            await gate.is_reached()
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0.01)
            assert not closing.done()
            gate.opened.set()
            await closing
            await asking

        run(story())
        assert ends == ["call", "store"]

    def test_store_of_the_caller_is_left_open(self, tmp_path: Path) -> None:
        on_disk = {"framework": "filesystem", "connection": {"root": tmp_path / "store"}}
        inner = ObjectStore({**MEMORY, **on_disk})
        client = inner.client

        async def story() -> None:
            async with AsyncObjectStore(inner) as store:
                assert store.store is inner
                await store.put_object_v2(b"x", "key")

        run(story())
        assert inner.client is client
        inner.close()

    def test_own_store_is_closed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OBJECT_STORE_FRAMEWORK", "filesystem")
        monkeypatch.setenv("OBJECT_STORE_ROOT", "default")
        monkeypatch.setenv("OBJECT_STORE_ROOT_BUCKET", "default")
        monkeypatch.setenv("OBJECT_STORE_RAW_FRAMEWORK", "filesystem")
        monkeypatch.setenv("OBJECT_STORE_RAW_ROOT", "raw")
        monkeypatch.setenv("OBJECT_STORE_RAW_ROOT_BUCKET", "of-raw")

        async def story() -> None:
            for made, bucket in (
                (AsyncObjectStore(), "default"), (AsyncObjectStore.named("raw"), "of-raw"),
            ):  # fmt: skip
                assert made.root_bucket == made.config.root_bucket == bucket
                assert repr(made) == f"AsyncObjectStore(filesystem, root_bucket={bucket!r})"
                client = made.store.client
                assert await keys_of(made) == []
                await made.close()
                await made.close()
                assert made.store.client is not client
                await made.put_object_v2(b"x", "the next use makes new ones")
                await made.close()

        run(story())


class TestCancellation:
    def test_call_that_was_begun_goes_on(self) -> None:
        gate = Gate()

        class Store(ObjectStore):
            def upload_file(self, *args: Any, **options: Any) -> Receipt:
                gate.pass_through()
                return super().put_object_v2(b"whole", "key")

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                uploading = asyncio.create_task(store.upload_file("unused", "key"))
                await gate.is_reached()
                uploading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await uploading
                gate.opened.set()
                await until(lambda: [each.key for each in store.store.list_files()] == ["key"])

        run(story())

    def test_call_that_waits_for_a_thread_is_not_made(self) -> None:
        gate, made = Gate(), []

        class Store(ObjectStore):
            def head_object(self, key: str, *_: Any, **__: Any) -> Any:
                made.append(key)
                gate.pass_through()

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY), max_threads=1) as store:
                first = asyncio.create_task(store.head_object("first"))
                await gate.is_reached()
                second = asyncio.create_task(store.head_object("second"))
                await asyncio.sleep(0)
                second.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await second
                gate.opened.set()
                await first
                await store.head_object("third")

        run(story())
        assert made == ["first", "third"]

    def test_close_need_not_wait(self) -> None:
        """What was begun goes on, what was not begun is not made."""
        gate, made = Gate(), []

        class Store(ObjectStore):
            def head_object(self, key: str, *args: Any, **options: Any) -> Any:
                gate.pass_through()
                made.append(key)

        async def story() -> None:
            store = AsyncObjectStore(Store(MEMORY), max_threads=1)
            begun = asyncio.create_task(store.head_object("begun"))
            await gate.is_reached()
            waiting = asyncio.create_task(store.head_object("waiting"))
            await asyncio.sleep(0)
            await store.close(wait=False)
            assert made == []
            with pytest.raises(asyncio.CancelledError):
                await waiting
            gate.opened.set()
            await begun
            assert made == ["begun"]

        run(story())

    def test_object_that_was_opened_for_nobody_is_closed(self) -> None:
        gate, opened = Gate(), []

        class Store(ObjectStore):
            def get_object(self, *args: Any, **options: Any) -> Any:
                gate.pass_through()
                opened.append(super().get_object(*args, **options))
                return opened[0]

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                await store.put_object_v2(b"x", "key")
                opening = asyncio.create_task(store.get_object("key"))
                await gate.is_reached()
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening
                gate.opened.set()
            assert opened[0].body.closed

        run(story())

    def test_cancelled_read_spoils_the_body(self) -> None:
        """What it read is lost, and what comes next would have a hole."""
        gate = Gate()

        class Body(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if self.tell():
                    gate.pass_through()
                return super().read(size)

        class Store(ObjectStore):
            def get_object(self, *args: Any, **options: Any) -> Any:
                opened = super().get_object(*args, **options)
                opened.body.close()
                return type(opened)(body, opened.updated_time, opened.info)

        body = Body(b"one two")

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY), max_threads=2) as store:
                await store.put_object_v2(b"x", "key")
                async with await store.get_object("key") as opened:
                    assert await opened.body.read(4) == b"one "
                    reading = asyncio.create_task(opened.body.read(2))
                    await gate.is_reached()
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                    with pytest.raises(ObjectClerkOperationException, match="read was cancelled"):
                        await opened.body.read(2)
                # Left while the read goes on; the file is closed behind it.
                await asyncio.sleep(0.05)
                assert not body.closed
                gate.opened.set()
                await until(lambda: body.closed)

        run(story())


class TestListings:
    def test_are_whole_and_in_order(
        self, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(aio, "BATCH", 7)

        async def story() -> None:
            async with AsyncObjectStore(config, max_threads=4) as store:
                for count in (0, 1, 6, 7, 8, 50):
                    keys = [f"{count:02}/{i:02}" for i in range(count)]
                    await asyncio.gather(*(store.put_object_v2(b"", key) for key in keys))
                    assert await keys_of(store, f"{count:02}/") == keys

        run(story())

    def test_ask_nothing_before_the_first_is_taken(self) -> None:
        async def story() -> None:
            async with AsyncObjectStore(Counting(MEMORY)) as store:
                listing = store.list_files()
                await asyncio.sleep(0.01)
                assert Counting.taken == 0
                assert (await anext(listing)).key == "0"

        Counting.taken = 0
        run(story())

    def test_are_fetched_some_at_a_time(self) -> None:
        async def story() -> None:
            async with AsyncObjectStore(Counting(MEMORY)) as store:
                listing = store.list_files()
                for number in range(aio.BATCH + 1):
                    assert (await anext(listing)).key == str(number)
                    assert Counting.taken <= number + aio.BATCH
                await listing.aclose()

        Counting.taken = 0
        run(story())

    @pytest.mark.parametrize("how", ["break", "aclose", "forgotten"])
    def test_abandoned_one_closes_its_source(self, how: str) -> None:
        async def story() -> None:
            async with AsyncObjectStore(Counting(MEMORY)) as store:
                if how == "break":
                    async for _ in store.list_files():
                        break
                else:
                    listing = store.list_files()
                    await anext(listing)
                    assert not Counting.closed
                    if how == "aclose":
                        await listing.aclose()
                        await listing.aclose()
                        assert [each async for each in listing] == []
                    del listing
                await until(lambda: Counting.closed)

        Counting.closed = False
        run(story())

    def test_cancelled_wait_loses_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aio, "BATCH", 3)
        gate = Gate()

        class Store(ObjectStore):
            def list_objects(self, *_: Any, **__: Any) -> Iterator[Any]:
                for number in range(8):
                    if number == 3:
                        gate.pass_through()
                    yield number

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                listing = store.list_objects()
                found: list[Any] = [await anext(listing) for _ in range(3)]
                for _ in range(3):
                    waiting = asyncio.ensure_future(listing.__anext__())
                    await gate.is_reached()
                    waiting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                gate.opened.set()
                found += [each async for each in listing]
                assert found == list(range(8))

        run(story())

    def test_error_comes_behind_the_entries_before_it_and_stays(self) -> None:
        class Store(ObjectStore):
            def list_objects(self, *_: Any, **__: Any) -> Iterator[Any]:
                yield 1
                yield 2
                raise ObjectClerkOperationException("the store has gone")

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                listing: Any = store.list_objects()
                assert [await anext(listing), await anext(listing)] == [1, 2]
                for _ in range(2):
                    with pytest.raises(ObjectClerkOperationException, match="has gone"):
                        await anext(listing)

        run(story())


class Counting(ObjectStore):
    """A listing without end that counts what is taken from it."""

    taken = 0
    closed = False

    def list_objects(self, *_: Any, **__: Any) -> Iterator[Any]:
        cls = type(self)
        try:
            while True:
                cls.taken += 1
                yield ObjectInfo(str(cls.taken - 1), None, 0)  # type: ignore[arg-type]
        finally:
            cls.closed = True


class TestUploadsFromIterators:
    def test_any_blocks_arrive_as_they_were(self, config: dict[str, Any]) -> None:
        blocks: list[Any] = [
            b"",
            b"a",
            bytearray(b"bc"),
            memoryview(b"def"),
            b"x" * 9 * MIB,
            b"",
            b"end",
        ]

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                receipt = await store.put_object_v2(blocks_of(*blocks), "key")
                assert receipt.size == sum(map(len, blocks))
                async with await store.get_object("key") as opened:
                    assert await opened.body.read() == b"".join(blocks)
                assert (await store.put_object_v2(blocks_of(), "empty")).size == 0

        run(story())

    def test_buffer_may_be_filled_again(self, config: dict[str, Any]) -> None:
        async def refilled() -> AsyncIterator[bytearray]:
            buffer = bytearray(1000)
            for number in range(200):
                buffer[:] = bytes([number]) * 1000
                yield buffer

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                await store.put_object_v2(refilled(), "key")  # type: ignore[arg-type]
                async with await store.get_object("key") as opened:
                    expected = b"".join(bytes([number]) * 1000 for number in range(200))
                    assert await opened.body.read() == expected

        run(story())

    def test_failing_producer_stores_nothing(self, config: dict[str, Any]) -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"x" * 3 * MIB
            raise LookupError("no more")

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                await store.put_object_v2(b"old", "key")
                for key in ("key", "new"):
                    with pytest.raises(LookupError, match="no more"):
                        await store.put_object_v2(failing(), key)
                assert await keys_of(store) == ["key"]
                assert (await store.head_object("key")).size == 3

        run(story())

    @pytest.mark.parametrize("block", ["text", 1, None, [b"x"]])
    def test_blocks_are_bytes(self, config: dict[str, Any], block: Any) -> None:
        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                with pytest.raises(ObjectClerkTypeException, match="the producer gave a"):
                    await store.put_object_v2(blocks_of(b"x", block), "key")
                assert await keys_of(store) == []

        run(story())

    def test_failing_upload_stops_the_producer(self, config: dict[str, Any]) -> None:
        stopped = []

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    await asyncio.sleep(0)
                    yield b"x" * MIB
            finally:
                stopped.append(True)

        async def story() -> None:
            async with AsyncObjectStore(config) as store:
                blocks = endless()
                with pytest.raises(ObjectClerkException, match="stated"):
                    await store.put_object_v2(blocks, "key", length=3 * MIB)
                await blocks.aclose()  # type: ignore[attr-defined]
                assert stopped == [True]
                assert await keys_of(store) == []

        run(story())

    def test_upload_that_fails_at_once_does_not_wait_for_the_producer(self) -> None:
        async def silent() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b"never"

        async def story() -> None:
            async with AsyncObjectStore(MEMORY) as store:
                with pytest.raises(ObjectClerkParameterException):
                    await store.put_object_v2(silent(), "key", length=-5)

        run(story())

    def test_cancelled_upload_stores_nothing(self, config: dict[str, Any]) -> None:
        async def story() -> None:
            waiting = asyncio.Event()

            async def stuck() -> AsyncIterator[bytes]:
                yield b"x" * MIB
                waiting.set()
                await asyncio.Event().wait()

            async with AsyncObjectStore(config) as store:
                uploading = asyncio.create_task(store.put_object_v2(stuck(), "key"))
                await waiting.wait()
                uploading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await uploading
            async with AsyncObjectStore(store.store) as store:  # all threads have ended
                assert await keys_of(store) == []

        run(story())

    def test_cancelled_upload_whose_end_was_not_read_stores_nothing(self) -> None:
        gate = Gate()

        class Store(ObjectStore):
            def put_object_v2(self, data: Any, *args: Any, **options: Any) -> Receipt:
                assert data.read(1) == b"x"
                gate.pass_through()
                return super().put_object_v2(data, *args, **options)

        async def story() -> None:
            async with AsyncObjectStore(Store(MEMORY)) as store:
                ended = asyncio.Event()

                async def short() -> AsyncIterator[bytes]:
                    yield b"xyz"
                    ended.set()

                uploading = asyncio.create_task(store.put_object_v2(short(), "key"))
                await gate.is_reached()
                await ended.wait()
                uploading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await uploading
                gate.opened.set()
                await asyncio.to_thread(store._uploads.shutdown)
                assert await keys_of(store) == []

        run(story())

    @pytest.mark.parametrize("how", ["failed", "cancelled and closed"])
    def test_nothing_is_under_way_after_it(self, how: str) -> None:
        ended = []

        class Store(ObjectStore):
            def put_object_v2(self, data: Any, *_: Any, **__: Any) -> Any:
                try:
                    data.read()
                finally:
                    time.sleep(0.05)
                    ended.append(True)

        async def story() -> None:
            begun = asyncio.Event()

            async def producer() -> AsyncIterator[bytes]:
                begun.set()
                yield b"x"
                if how == "failed":
                    raise LookupError
                await asyncio.Event().wait()

            store = AsyncObjectStore(Store(MEMORY))
            uploading = asyncio.create_task(store.put_object_v2(producer(), "key"))
            await begun.wait()
            if how == "failed":
                with pytest.raises(LookupError):
                    await uploading
            else:
                uploading.cancel()
                await store.close()
                with pytest.raises(asyncio.CancelledError):
                    await uploading
            assert ended == [True]
            await store.close()

        run(story())

    def test_second_cancellation_is_fine(self) -> None:
        async def story() -> None:
            waiting, tidying = asyncio.Event(), asyncio.Event()

            async def stubborn() -> AsyncIterator[bytes]:
                try:
                    yield b"x"
                    waiting.set()
                    await asyncio.Event().wait()
                finally:
                    tidying.set()
                    await asyncio.sleep(0.01)

            async with AsyncObjectStore(MEMORY) as store:
                uploading = asyncio.create_task(store.put_object_v2(stubborn(), "key"))
                await waiting.wait()
                uploading.cancel()
                await tidying.wait()
                uploading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await uploading
                await store.close()
                assert await keys_of(store) == []

        run(story())

    def test_upload_that_waits_for_a_thread_asks_for_nothing(self) -> None:
        asked = []

        async def producer(number: int, gate: asyncio.Event) -> AsyncIterator[bytes]:
            asked.append(number)
            yield b"x"
            await gate.wait()

        async def story() -> None:
            gate = asyncio.Event()
            async with AsyncObjectStore(MEMORY, max_threads=2) as store:
                uploads = [
                    asyncio.create_task(store.put_object_v2(producer(i, gate), str(i)))
                    for i in range(6)
                ]
                await until(lambda: len(asked) == 2)
                await asyncio.sleep(0.01)
                assert asked == [0, 1]
                uploads[5].cancel()
                gate.set()
                await asyncio.gather(*uploads[:5])
                assert await keys_of(store) == ["0", "1", "2", "3", "4"]

        run(story())


class TestPipe:
    def test_holds_no_more_than_its_room_and_a_block(self) -> None:
        async def story() -> None:
            made = 0

            async def producer() -> AsyncIterator[bytes]:
                nonlocal made
                for _ in range(40):
                    made += MIB
                    yield b"x" * MIB

            pipe = Pipe()
            feeding = asyncio.create_task(pipe.feed(producer()))
            taken = 0
            while block := await asyncio.to_thread(pipe.reader.read, MIB // 2):
                taken += len(block)
                await until(lambda: feeding.done() or pipe._held >= ROOM_BYTES)
                await asyncio.sleep(0)
                assert made - taken <= ROOM_BYTES + 2 * MIB
                assert pipe._held <= ROOM_BYTES + MIB
            assert taken == made == 40 * MIB
            await feeding

        run(story())

    def test_is_not_fed_before_it_is_read(self) -> None:
        async def story() -> None:
            made = []

            async def producer() -> AsyncIterator[bytes]:
                made.append(1)
                yield b"x"

            pipe = Pipe()
            feeding = asyncio.create_task(pipe.feed(producer()))
            await asyncio.sleep(0.01)
            assert made == []
            assert await asyncio.to_thread(pipe.reader.read) == b"x"
            await feeding

        run(story())

    def test_break_wins_over_the_end(self) -> None:
        async def story() -> None:
            pipe = Pipe()
            feeding = asyncio.create_task(pipe.feed(blocks_of(b"x" * 10)))
            assert await asyncio.to_thread(pipe.reader.read, 1) == b"x"
            await feeding
            pipe.break_off()
            pipe.break_off()
            with pytest.raises(OSError, match="cancelled"):
                pipe.reader.read(MIB)

        run(story())

    def test_thread_learns_of_the_break_also_when_the_loop_is_gone(self) -> None:
        made: list[Pipe] = []

        async def story() -> None:
            made.append(Pipe())

        run(story())
        said: list[BaseException] = []

        def read() -> None:
            try:
                made[0].reader.read()
            except OSError as error:
                said.append(error)

        reading = threading.Thread(target=read)
        reading.start()
        made[0].break_off()
        reading.join(PATIENCE_S)
        assert "cancelled" in str(said[0])


def test_no_error_is_left_unseen(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio complains in its log of errors that nobody has looked at."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError

    async def story() -> None:
        async with AsyncObjectStore(MEMORY) as store:
            with pytest.raises(LookupError):
                await store.put_object_v2(failing(), "key")
            with contextlib.suppress(ObjectClerkException):
                await store.put_object_v2(blocks_of(b"x"), "key", length=7)
        gc.collect()

    run(story())
    assert caplog.records == []
