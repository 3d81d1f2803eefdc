"""Storing files, bytes and streams."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    ObjectSaveException,
    PreconditionFailed,
    SourceNotFound,
)
from object_clerk.store import Capability, ObjectStore
from object_clerk.testing.store.ground import (
    Gap,
    Ground,
    blob,
    content,
    everything,
    failing,
    keys,
    lacks,
    new_bucket,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ABOUT: dict[str, Any] = {
    "content_type": "image/fits",
    "metadata": {"Night": "2026-03-01", "observer": "A. Nobody"},
}


class _Stream(io.RawIOBase):
    """Bytes that can be read once only, a few at a time; perhaps it breaks."""

    def __init__(self, data: bytes, *, breaks: bool = False) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._breaks = breaks

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        most = 50_001 if size is None or size < 0 else min(size, 50_001)
        found = self._data.read(most)
        if self._breaks and not found:
            raise OSError("the tape is torn")
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class Writing(Ground):
    """Objects are stored, whole or not at all."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """A file to upload."""
        path = tmp_path / "file to upload"
        path.write_bytes(b"content of the file")
        return path

    @pytest.mark.parametrize("verb", ["upload_file", "upload_object"])
    def test_write_upload(
        self, verb: str, store: ObjectStore, other_bucket: str, file: Path
    ) -> None:
        """Check 7: the result is a receipt, and the object is in the bucket that is meant."""
        upload = getattr(store, verb)
        receipt = upload(file, "folder/key")
        self.proved(receipt, 19, "folder/key", store.root_bucket)
        assert content(store, "folder/key") == b"content of the file"
        assert keys(store, other_bucket) == []
        file.write_bytes(b"other")
        receipt = upload(str(file), "folder/key", other_bucket)
        self.proved(receipt, 5, "folder/key", other_bucket)
        receipt = upload(file_path=file, key="second", bucket=store.root_bucket)
        self.proved(receipt, 5, "second", store.root_bucket)
        assert content(store, "folder/key", other_bucket) == b"other"
        assert keys(store) == ["folder/key", "second"]
        assert content(store, "folder/key") == b"content of the file"

    def test_write_bytes(self, store: ObjectStore, other_bucket: str) -> None:
        """Check 7: whatever holds bytes."""
        for data in (b"content", bytearray(b"content"), memoryview(b"content")):
            receipt = store.put_object_v2(data, "key", other_bucket)  # type: ignore[arg-type]
            self.proved(receipt, 7, "key", other_bucket)
            assert content(store, "key", other_bucket) == b"content"
            store.delete_object("key", other_bucket)
        self.proved(store.put_object_v2(b"content", "key", length=7), 7, "key", store.root_bucket)
        assert everything(store) == [("key", store.head_object("key").etag)]

    def test_write_streams(self, store: ObjectStore) -> None:
        """Check 7: a stream is read from where it stands to its end, and left open."""
        stream = io.BytesIO(b"0123456789")
        stream.seek(2)
        receipt = store.put_object_v2(stream, "key")
        self.proved(receipt, 8, "key", store.root_bucket)
        assert not stream.closed
        assert content(store, "key") == b"23456789"
        store.put_object_v2(io.BytesIO(b"content"), "key", length=7)
        assert content(store, "key") == b"content"

    @pytest.mark.parametrize("told", [False, True])
    def test_write_stream_that_cannot_seek(self, told: bool, store: ObjectStore) -> None:
        """Check 7: a large one too, whether its length is known or not."""
        stream = _Stream(blob(self.large))
        length = self.large if told else -1
        receipt = store.put_object_v2(stream, "key", length=length)  # type: ignore[arg-type]
        self.proved(receipt, self.large, "key", store.root_bucket)
        assert not stream.closed
        assert content(store, "key") == blob(self.large)

    def test_write_large_file(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 7: a file that takes more than one step."""
        (tmp_path / "file").write_bytes(blob(self.large))
        receipt = store.upload_file(tmp_path / "file", "key")
        self.proved(receipt, self.large, "key", store.root_bucket)
        assert content(store, "key") == blob(self.large)

    def test_write_empty(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 7: nothing is a content like others."""
        (tmp_path / "file").touch()
        self.proved(store.upload_file(tmp_path / "file", "file"), 0, "file", store.root_bucket)
        self.proved(store.put_object_v2(b"", "bytes"), 0, "bytes", store.root_bucket)
        self.proved(store.put_object_v2(io.BytesIO(), "stream"), 0, "stream", store.root_bucket)
        assert [(each.key, each.size) for each in store.list_files()] == [
            ("bytes", 0),
            ("file", 0),
            ("stream", 0),
        ]
        assert content(store, "stream") == b""

    def test_write_replaced(self, store: ObjectStore) -> None:
        """Check 7: the last one counts, and nothing of the one before is left."""
        old = store.put_object_v2(b"a long old content", "key")
        new = store.put_object_v2(b"new", "key")
        assert content(store, "key") == b"new"
        assert [(each.key, each.size) for each in store.list_files()] == [("key", 3)]
        assert old.etag != new.etag

    @pytest.mark.parametrize("length", [0, 3, 8, 10_000_000])
    def test_write_wrong_length(self, length: int, store: ObjectStore) -> None:
        """Check 7: another length than was told is refused, and nothing is stored."""
        store.put_object_v2(b"before", "there")
        sources: list[Callable[[], Any]] = [
            lambda: b"content",
            lambda: io.BytesIO(b"content"),
            lambda: _Stream(b"content"),
        ]
        for source in sources:
            for key in ("there", "new"):
                with pytest.raises((ObjectClerkParameterException, ObjectSaveException)):
                    store.put_object_v2(source(), key, length=length)
        assert keys(store) == ["there"]
        assert content(store, "there") == b"before"

    def test_write_impossible_arguments(self, store: ObjectStore, file: Path) -> None:
        """Check 8: what makes no sense is refused before anything is stored."""
        no_content: list[Any] = ["text", None, 3, ["a"]]
        for data in no_content:
            with pytest.raises(ObjectClerkTypeException):
                store.put_object_v2(data, "key")
        no_length: list[Any] = [-2, 1.5, True, "7", None]
        for length in no_length:
            with pytest.raises(ObjectClerkParameterException):
                store.put_object_v2(b"content", "key", length=length)
        with pytest.raises(ObjectClerkParameterException):
            store.upload_file("", "key")
        for path in (None, 3, b"file"):
            with pytest.raises(ObjectClerkTypeException):
                store.upload_file(path, "key")  # type: ignore[arg-type]
        assert list(store.list_files()) == []

    def test_write_text_stream(self, store: ObjectStore) -> None:
        """Check 8: a stream of text is no binary stream."""
        with pytest.raises((ObjectClerkTypeException, ObjectSaveException)):
            store.put_object_v2(io.StringIO("content"), "key")  # type: ignore[arg-type]
        assert list(store.list_files()) == []

    def test_write_stream_that_breaks(self, store: ObjectStore) -> None:
        """Check 8: of a source that fails nothing is stored."""
        store.put_object_v2(b"before", "there")
        for size in (100, self.large):
            for key in ("there", "new"):
                stream: Any = _Stream(blob(size), breaks=True)
                with failing(ObjectClerkOperationException, store.root_bucket, key):
                    store.put_object_v2(stream, key)
        assert keys(store) == ["there"]
        assert content(store, "there") == b"before"

    def test_write_stream_again(self, store: ObjectStore) -> None:
        """Check 8: after a write that failed, the same stream has the same bytes."""
        stream = io.BytesIO(b"header, content")
        stream.seek(8)
        with failing(BucketNotFoundException):
            store.put_object_v2(stream, "key", new_bucket())
        with failing(ObjectSaveException):
            store.put_object_v2(stream, "key", length=3)
        store.put_object_v2(stream, "key")
        assert content(store, "key") == b"content"

    def test_write_no_such_file(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 8: a missing file, and what is no file."""
        for upload in (store.upload_file, store.upload_object):
            with failing(SourceNotFound, store.root_bucket, "some/key"):
                upload(tmp_path / "missing", "some/key")
            with failing(ObjectSaveException, store.root_bucket, "some/key"):
                upload(tmp_path, "some/key")
        assert list(store.list_files()) == []

    def test_write_missing_bucket(self, store: ObjectStore, file: Path) -> None:
        """Check 8: buckets are never made by the way."""
        bucket = new_bucket()
        with failing(BucketNotFoundException, bucket):
            store.upload_file(file, "key", bucket)
        with failing(BucketNotFoundException, bucket):
            store.put_object_v2(b"content", "key", bucket)
        assert bucket not in [each.name for each in store.list_buckets()]

    # -- options -----------------------------------------------------------------------------

    def test_write_metadata(self, store: ObjectStore, file: Path) -> None:
        """Check 20: content type and metadata arrive, and are found with the object."""
        puts: list[Callable[..., object]] = [
            lambda **about: store.put_object_v2(b"content", "key", **about),
            lambda **about: store.upload_file(file, "key", **about),
            lambda **about: store.upload_object(file, "key", **about),
        ]
        for put in puts:
            if lacks(store, Capability.METADATA, lambda put=put: put(**_ABOUT)):  # type: ignore[misc]
                continue
            put(**_ABOUT)
            with store.get_object("key") as opened:
                infos = (store.head_object("key"), opened.info)
            for info in infos:
                assert info.content_type == "image/fits"
                found = {name.lower(): value for name, value in (info.metadata or {}).items()}
                assert found["night"] == "2026-03-01"
                assert found["observer"] == "A. Nobody"
            put()
            again = store.head_object("key")
            assert again.content_type != "image/fits"
            assert not {"Night", "night", "observer"} & set(again.metadata or {})

    def test_write_bad_metadata(self, store: ObjectStore) -> None:
        """Check 20: metadata that no header can carry is refused before anything is stored."""
        put = store.put_object_v2
        if lacks(store, Capability.METADATA, lambda: put(b"", "key", metadata={"a": "b"})):
            return
        for metadata in ({"a b": "c"}, {"a": "caf\u00e9"}, {"a": "b\nc"}, {"a": "b", "A": "c"}):
            with pytest.raises(ObjectClerkParameterException):
                put(b"content", "key", metadata=metadata)
        for bad in ("a=b", {"a": 1}):
            with pytest.raises(ObjectClerkTypeException):
                put(b"content", "key", metadata=bad)
        with pytest.raises(ObjectClerkParameterException):
            put(b"content", "key", content_type="text/plain\r\nx-evil: yes")
        assert list(store.list_files()) == []

    def test_write_unknown_option(self, store: ObjectStore, file: Path) -> None:
        """Check 20: what nobody knows is refused, and what was meant is named."""
        wrong: dict[str, Any] = {"contenttype": "image/fits"}
        calls: list[Callable[..., object]] = [
            lambda: store.put_object_v2(b"content", "key", **wrong),
            lambda: store.upload_file(file, "key", **wrong),
            lambda: store.upload_object(file, "key", **wrong),
        ]
        has_metadata = Capability.METADATA in store.client.capabilities
        meant = "content_type" if has_metadata else "contenttype"
        for call in calls:
            with pytest.raises(TypeError, match=meant):
                call()
        assert list(store.list_files()) == []

    # -- conditions --------------------------------------------------------------------------

    def test_write_if_absent(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 20: with if_absent what is there stays."""
        put = store.put_object_v2
        if lacks(store, Capability.CONDITIONS, lambda: put(b"new", "key", if_absent=True)):
            return
        if Gap.IF_ABSENT in gaps:
            refused(store, lambda: put(b"new", "key", if_absent=True))
            return
        self.proved(put(b"first", "key", if_absent=True), 5, "key", store.root_bucket)
        with failing(DestinationExists, store.root_bucket, "key"):
            put(b"second", "key", if_absent=True)
        assert content(store, "key") == b"first"
        put(b"third", "key", if_absent=False)
        assert content(store, "key") == b"third"

    def test_write_if_match(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 20: with if_match only the generation that is meant is replaced."""
        put = store.put_object_v2
        first = put(b"first", "key")
        if lacks(store, Capability.CONDITIONS, lambda: put(b"new", "key", if_match=first.etag)):
            return
        if Gap.IF_MATCH in gaps:
            refused(store, lambda: put(b"new", "key", if_match=first.etag))
            return
        second = put(b"second", "key", if_match=first.etag)
        self.proved(second, 6, "key", store.root_bucket)
        for etag in (first.etag, "0" * 32):
            with failing(PreconditionFailed, store.root_bucket, "key"):
                put(b"third", "key", if_match=etag)
        # What is missing does not match; S3 says 404 to that, and others 412.
        with pytest.raises((PreconditionFailed, ObjectNotFoundException)):
            put(b"third", "missing", if_match=first.etag)
        put(b"fourth", "key", if_match=f'"{second.etag}"')
        assert [(each.key, each.size) for each in store.list_files()] == [("key", 6)]
        assert content(store, "key") == b"fourth"

    def test_write_conditions_of_files(
        self, store: ObjectStore, gaps: frozenset[Gap], file: Path
    ) -> None:
        """Check 20: files have the same conditions."""
        upload = store.upload_file
        before = store.put_object_v2(b"before", "key")
        if lacks(store, Capability.CONDITIONS, lambda: upload(file, "key", if_absent=True)):
            return
        for gap, wanted in (
            (Gap.IF_ABSENT, {"if_absent": True}),
            (Gap.IF_MATCH, {"if_match": "0" * 32}),
        ):
            # That a wrong ETag does not match is seen without the server's help.
            kind = PreconditionFailed if gap not in gaps else ObjectClerkException
            with pytest.raises(kind):
                upload(file, "key", **wanted)
            assert store.head_object("key").etag == before.etag

    def test_write_condition_of_the_wrong_type(self, store: ObjectStore) -> None:
        """Check 20: text is not taken for True, nor for False."""
        if Capability.CONDITIONS in store.client.capabilities:
            with pytest.raises(ObjectClerkTypeException):
                store.put_object_v2(b"", "key", if_absent="false")
        assert keys(store) == []

    def test_write_conditions_exclude_each_other(self, store: ObjectStore) -> None:
        """Check 20: nothing can be absent and match."""
        put = store.put_object_v2
        both: dict[str, Any] = {"if_absent": True, "if_match": "0" * 32}
        if lacks(store, Capability.CONDITIONS, lambda: put(b"new", "key", **both)):
            return
        with pytest.raises(ObjectClerkParameterException):
            put(b"new", "key", **both)
        with pytest.raises(ObjectClerkTypeException):
            put(b"new", "key", if_match=3)
        assert list(store.list_files()) == []
