"""The bodies of opened and downloaded objects: no trouble looks like the end of an object."""

from __future__ import annotations

import errno
import os
from typing import IO, TYPE_CHECKING, Any, cast

import pytest

from object_clerk.exceptions import (
    ObjectClerkFileException,
    ObjectVerificationException,
    OperationCancelled,
)
from object_clerk.store import ObjectStore
from object_clerk.store.adapters import _reading

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

DATA = os.urandom(3 << 20)
CONFIG: dict[str, Any] = {"framework": "memory", "root_bucket": "raw"}


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore(CONFIG) as opened:
        opened.put_object_v2(DATA, "key")
        yield opened


class TestInterrupted:
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
    def test_what_is_read_next_is_no_end(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
    ) -> None:
        with store.get_object("key") as opened:
            begin = opened.body.read(10)
            with monkeypatch.context() as patch:

                def interrupted(_: IO[bytes]) -> bytes:
                    raise kind

                patch.setattr(_reading, "_block", interrupted)
                with pytest.raises(kind):
                    opened.body.read()
            for _ in range(2):
                with pytest.raises(OperationCancelled, match=r"^get_object raw/key: reading was"):
                    opened.body.read()

        assert begin == DATA[:10]

    def test_closed_body_is_no_empty_one(self, store: ObjectStore) -> None:
        raw = cast("Any", store.get_object("key").body).detach()
        raw.close()
        for read in (raw.readall, lambda: raw.read(10)):
            with pytest.raises(ValueError, match="the stream was closed"):
                read()


class TestDownloaded:
    @pytest.mark.parametrize("given", ["copy", None], ids=["relative", "like the key"])
    def test_is_found_from_elsewhere(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with store.download_object("key", given) as opened:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir("elsewhere")
            assert opened.body.name == str(tmp_path / (given or "key"))
            assert opened.body.read() == DATA

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR])
    def test_cannot_be_opened(self, store: ObjectStore, tmp_path: Path, number: int) -> None:
        with store.download_object("key", tmp_path / "copy") as opened:
            (tmp_path / "copy").unlink()
            if number == errno.EISDIR:
                (tmp_path / "copy").mkdir()
            for use in (opened.body.read, lambda: opened.body.seek(3)):
                with pytest.raises(ObjectClerkFileException) as caught:
                    use()
                assert str(tmp_path / "copy") in str(caught.value)
                assert os.strerror(number) in str(caught.value)

    def test_cannot_be_read(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with store.download_object("key", tmp_path / "copy") as opened:
            assert opened.body.read(3) == DATA[:3]
            raw = cast("io.BufferedReader", opened.body).raw
            with cast("Any", raw)._opened as file:
                monkeypatch.setattr(raw, "_opened", type("Broken", (), {"readinto": broken})())
                with pytest.raises(ObjectClerkFileException, match="copy cannot be read: Input/o"):
                    opened.body.read()
                monkeypatch.setattr(raw, "_opened", file)

    def test_closed_before_it_was_read_stays_closed(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        body = store.download_object("key", tmp_path / "copy").body
        raw = cast("io.BufferedReader", body).detach()
        raw.close()
        with pytest.raises(ValueError, match="the body was closed"):
            raw.readall()


class TestCopied:
    @pytest.mark.parametrize("how", ["changed", "cut", "gone"])
    def test_damaged_source_is_named(self, tmp_path: Path, how: str) -> None:
        connection = {"root": tmp_path / "store"}
        with ObjectStore({**CONFIG, "framework": "filesystem", "connection": connection}) as store:
            store.put_object_v2(DATA, "key")
            (data,) = (each for each in (tmp_path / "store/data").rglob("*") if each.is_file())
            damaged = {"changed": bytes(len(DATA)), "cut": DATA[:10]}
            data.unlink()
            if how != "gone":
                data.write_bytes(damaged[how])
            with pytest.raises(ObjectVerificationException, match=r"^copy_object raw/key: "):
                store.copy_object("key", "copy")
            assert [each.key for each in store.list_objects()] == ["key"]
