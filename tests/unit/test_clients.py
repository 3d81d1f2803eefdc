"""How clients are made: once is dear, again is cheap."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from botocore.loaders import JSONFileLoader

from object_clerk import ObjectClerk
from object_clerk.connection import _loader

if TYPE_CHECKING:
    import pytest


def made() -> ObjectClerk:
    clerk = ObjectClerk("localhost", 9, "a", "s")
    clerk.close()
    return clerk


def test_what_boto3_knows_of_s3_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    read: list[str] = []
    load = JSONFileLoader.load_file

    def recorded(self: JSONFileLoader, file_path: str) -> Any:
        read.append(file_path)
        return load(self, file_path)

    monkeypatch.setattr(JSONFileLoader, "load_file", recorded)
    made()
    assert read == []

    _loader.cache_clear()
    made()
    assert any("/s3/" in path for path in read)


def test_the_places_where_it_is_read_do_not_grow() -> None:
    made()
    before = list(_loader(None).search_paths)
    threads = [threading.Thread(target=made) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made()
    assert list(_loader(None).search_paths) == before
    assert len(set(before)) == len(before) >= 2
