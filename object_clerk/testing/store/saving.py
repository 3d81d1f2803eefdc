"""Reading objects into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkFileException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    ObjectVerificationException,
)
from object_clerk.testing.store.ground import Ground, blob, failing, new_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from object_clerk.store import ObjectStore
    from object_clerk.testing.store.ground import Corrupt


def _files(directory: Path) -> list[str]:
    """All there is below a directory."""
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*"))


class Saving(Ground):
    """Objects are downloaded to files, whole or not at all."""

    def test_save_download_file(
        self, store: ObjectStore, other_bucket: str, tmp_path: Path
    ) -> None:
        """Check 10: directories are made, and what was there is replaced."""
        path = tmp_path / "made" / "for it" / "file"
        store.put_object_v2(b"content", "folder/key")
        store.put_object_v2(b"other", "folder/key", other_bucket)
        receipt = store.download_file("folder/key", path)
        self.proved(receipt, 7, "folder/key", store.root_bucket)
        assert path.read_bytes() == b"content"
        store.download_file("folder/key", str(path), bucket=other_bucket)
        assert path.read_bytes() == b"other"
        assert _files(path.parent) == ["file"]

    @pytest.mark.parametrize("size", ["empty", "large"])
    def test_save_sizes(self, size: str, store: ObjectStore, tmp_path: Path) -> None:
        """Check 10: nothing and much."""
        data = blob(self.large if size == "large" else 0)
        store.put_object_v2(data, "key")
        store.download_file("key", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == data

    def test_save_download_object(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 10: the file is written, and the object can be read as well."""
        store.put_object_v2(b"content", "key")
        opened = store.download_object("key", tmp_path / "new" / "file")
        assert (tmp_path / "new" / "file").read_bytes() == b"content"
        with opened:
            assert opened.body.read(3) == b"con"
            assert opened.body.read() == b"tent"
        assert opened.body.closed
        assert (opened.info.key, opened.info.size) == ("key", 7)
        assert opened.updated_time == store.head_object("key").updated_time

    def test_save_file_named_like_the_key(
        self, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Check 10: without a path the file is named like the key."""
        monkeypatch.chdir(tmp_path)
        store.put_object_v2(b"content", "a/b/c d.txt")
        with store.download_object("a/b/c d.txt") as opened:
            assert opened.body.read() == b"content"
        assert (tmp_path / "a" / "b" / "c d.txt").read_bytes() == b"content"
        assert _files(tmp_path) == ["a", "a/b", "a/b/c d.txt"]

    @pytest.mark.parametrize(
        "key", ["../key", "a/../../key", "..", "/key", "a//b", "folder/", "./key", "a/./b", "."]
    )
    def test_save_no_escape(
        self, key: str, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Check 10: a key never leads out of the working directory, nor to another name in it."""
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        with failing(ObjectClerkParameterException, key):
            store.download_object(key)
        assert _files(tmp_path) == ["work"]

    def test_save_missing(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 8: without an object, the file stays as it was, and no directory is made."""
        (tmp_path / "file").write_bytes(b"before")
        bucket = new_bucket()
        for download in (store.download_file, store.download_object):
            with failing(ObjectNotFoundException, store.root_bucket, "missing/key"):
                download("missing/key", tmp_path / "file")
            with failing(ObjectNotFoundException, "missing/key"):
                download("missing/key", tmp_path / "directory" / "file")
            with failing(BucketNotFoundException, bucket):
                download("key", tmp_path / "file", bucket)
        assert (tmp_path / "file").read_bytes() == b"before"
        assert _files(tmp_path) == ["file"]

    def test_save_impossible_file(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 8: a file that cannot be written is an error that says so."""
        (tmp_path / "file").write_bytes(b"before")
        (tmp_path / "directory").mkdir()
        store.put_object_v2(b"content", "key")
        for path in (tmp_path / "file" / "below", tmp_path / "directory"):
            with failing(ObjectClerkFileException, store.root_bucket, "key"):
                store.download_file("key", path)
        with pytest.raises(ObjectClerkParameterException):
            store.download_file("key", "")
        with pytest.raises(ObjectClerkTypeException):
            store.download_file("key", 3)  # type: ignore[arg-type]
        assert _files(tmp_path) == ["directory", "file"]
        assert (tmp_path / "file").read_bytes() == b"before"

    def test_save_unknown_option(self, store: ObjectStore, tmp_path: Path) -> None:
        """Check 20: what nobody knows is refused, and what was meant is named."""
        store.put_object_v2(b"content", "key")
        for download in (store.download_file, store.download_object):
            with pytest.raises(TypeError, match="verify_checksum"):
                download("key", tmp_path / "file", verify_checksums=False)
        assert _files(tmp_path) == []

    def test_save_corrupted(
        self, store: ObjectStore, corrupt: Corrupt | None, tmp_path: Path
    ) -> None:
        """Check 10: bytes that do not verify never get the file's name."""
        if corrupt is None:
            pytest.skip("no fixture 'corrupt': what is stored here cannot be damaged by a test")
        (tmp_path / "file").write_bytes(b"before")
        store.put_object_v2(blob(self.large), "key")
        corrupt(store.root_bucket, "key")
        with failing(ObjectVerificationException, store.root_bucket, "key"):
            store.download_file("key", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == b"before"
