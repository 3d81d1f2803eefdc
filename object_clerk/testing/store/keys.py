"""Keys that something on the way might mangle."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from object_clerk.exceptions import ObjectClerkException, ObjectNotFoundException
from object_clerk.testing.store.ground import Gap, Ground, content
from object_clerk.testing.store.ground import keys as keys_of

if TYPE_CHECKING:
    from pathlib import Path

    from object_clerk.store import ObjectStore

#: Keys that S3 takes, and that are known to trip something up.
ODD_KEYS = {
    "blanks": " a  b ",
    "unicode": "t\u00e4st/\u65e5\u672c\u8a9e \U0001f600.txt",
    "decomposed": "ta\u0308st",
    "plus": "a+b c",
    "percent": "100%/%2F%25",
    "query": "what?version=1&x#fragment",
    "quotes": "\"double\" and 'single'",
    "markup": '<a href="x">&amp;</a>',
    "backslash": "..\\back\\slash",
    "colon": "C:1:2",
    "wildcards": "*[a-z]?{b}",
    "tilde": "~root/$HOME/`id`",
    "newline": "line\nbreak",
    "control": "bell\x07escape\x1bdelete\x7f",
    "dots": "...",
    "trailing dots": "folder./name..",
    "trailing blank": "folder /name ",
    "one dot": "./a/./b",
    "two dots": "a/../b",
    "only two dots": "..",
    "climbing": "../../../../climbed",
    "double slash": "a//b",
    "leading slash": "/etc/passwd",
    "trailing slash": "folder/",
    "device": "con/nul.txt",
    "dotfile": ".hidden/.metadata.json",
    "long name": "n" * 1024,
    "many folders": "f/" * 511 + "ff",
    "longest": ("k" * 200 + "/") * 5 + "k" * 19,
    "wide": "\U0001f600" * 256,
}


class Keys(Ground):
    """A key comes back as it went in."""

    @pytest.mark.parametrize("name", ODD_KEYS)
    def test_key_odd(
        self, name: str, store: ObjectStore, unsupported_keys: frozenset[str], tmp_path: Path
    ) -> None:
        """Check 19: the same key in every verb, and no other."""
        key, data = ODD_KEYS[name], name.encode()
        if key in unsupported_keys:
            # Whatever the backend makes of it, nobody pretends.
            with contextlib.suppress(ObjectClerkException):
                store.put_object_v2(data, key)
                assert content(store, key) == data
            return
        store.put_object_v2(b"neighbour", "neighbour")
        (tmp_path / "file").write_bytes(data)
        receipt = store.upload_file(tmp_path / "file", key)
        self.proved(receipt, len(data), key, store.root_bucket)
        assert sorted(keys_of(store)) == sorted((key, "neighbour"))
        assert keys_of(store, prefix=key) == [key]
        assert content(store, key) == data
        assert store.head_object(key).key == key
        store.download_file(key, tmp_path / "downloaded")
        assert (tmp_path / "downloaded").read_bytes() == data
        store.copy_object(key, "copy")
        store.delete_object(key)
        with pytest.raises(ObjectNotFoundException):
            store.get_object(key)
        store.copy_object("copy", key)
        assert content(store, key) == data
        store.delete_file(key)
        store.delete_file("copy")
        assert keys_of(store) == ["neighbour"]
        assert content(store, "neighbour") == b"neighbour"

    def test_key_similar_keys(self, store: ObjectStore) -> None:
        """Check 19: nothing takes one key for another."""
        similar = [
            "a b", "a+b", "a%20b", "a%2Bb", "A b", "a  b", "a b.", "a b ", "t\u00e4st",
            "ta\u0308st",
        ]  # fmt: skip
        for key in similar:
            store.put_object_v2(key.encode(), key)
        assert keys_of(store) == sorted(similar, key=str.encode)
        for key in similar:
            assert content(store, key) == key.encode()

    def test_key_object_and_folder(self, store: ObjectStore, gaps: frozenset[Gap]) -> None:
        """Check 19: a slash is a character: an object may be called like a folder."""
        names = ["a", "a/b", "a/b/c"]
        if Gap.FOLDERS in gaps:
            names = ["a", "b/c", "b/d/e"]
        for order in (names, names[::-1]):
            for key in order:
                store.put_object_v2(key.encode(), key)
            assert keys_of(store) == names
            assert [content(store, key) for key in names] == [key.encode() for key in names]
            store.delete_object(order[0])
            assert keys_of(store) == sorted(order[1:])
            for key in order[1:]:
                store.delete_object(key)
            assert keys_of(store) == []
        if Gap.FOLDERS in gaps:
            store.put_object_v2(b"content", "folder/key")
            with pytest.raises(ObjectClerkException):
                store.put_object_v2(b"content", "folder")
