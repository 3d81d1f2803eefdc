"""Impossible arguments: the documented error, and not one request."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from object_clerk import (
    ObjectClerkConfigurationException,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectSaveException,
    SourceNotFound,
)
from tests.contract.support import LARGE, Wire, blob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from object_clerk import ObjectClerk
    from tests.contract.conftest import MakeClerk

BAD_KEYS: dict[str, tuple[Any, type[ObjectClerkException]]] = {
    "empty": ("", ObjectClerkParameterException),
    "1025 bytes": ("k" * 1025, ObjectClerkParameterException),
    "1026 bytes in 513 characters": ("\u00e4" * 513, ObjectClerkParameterException),
    "NUL": ("a\0b", ObjectClerkParameterException),
    "lone surrogate": ("a\ud800", ObjectClerkParameterException),
    "bytes": (b"key", ObjectClerkTypeException),
    "number": (7, ObjectClerkTypeException),
    "None": (None, ObjectClerkTypeException),
}
BAD_BUCKETS: dict[str, tuple[Any, type[ObjectClerkException]]] = {
    "empty": ("", ObjectClerkParameterException),
    "slash": ("a/b", ObjectClerkParameterException),
    "blank": ("a b", ObjectClerkParameterException),
    "newline at the end": ("bucket\n", ObjectClerkParameterException),
    "query": ("bucket?acl", ObjectClerkParameterException),
    "umlaut": ("b\u00fccket", ObjectClerkParameterException),
    "NUL": ("buck\0et", ObjectClerkParameterException),
    "lone surrogate": ("bucket\ud800", ObjectClerkParameterException),
    "256 characters": ("b" * 256, ObjectClerkParameterException),
    "bytes": (b"bucket", ObjectClerkTypeException),
    "None": (None, ObjectClerkTypeException),
}

VERBS: dict[str, Callable[[ObjectClerk, Any, Any], object]] = {
    "get_object": lambda c, b, k: c.get_object(b, k),
    "download_object": lambda c, b, k: c.download_object(b, k, io.BytesIO()),
    "open_object": lambda c, b, k: c.open_object(b, k),
    "get_object_info": lambda c, b, k: c.get_object_info(b, k),
    "exists": lambda c, b, k: c.exists(b, k),
    "upload_object": lambda c, b, k: c.upload_object(b"content", b, k),
    "copy_object from": lambda c, b, k: c.copy_object(b, k, "bucket", "other"),
    "copy_object to": lambda c, b, k: c.copy_object("bucket", "other", b, k),
    "move_object from": lambda c, b, k: c.move_object(b, k, "bucket", "other"),
    "move_object to": lambda c, b, k: c.move_object("bucket", "other", b, k),
    "delete_object": lambda c, b, k: c.delete_object(b, k),
    "delete_objects": lambda c, b, k: c.delete_objects(b, ["fine", k]),
    "presign_get": lambda c, b, k: c.presign_get(b, k),
    "presign_put": lambda c, b, k: c.presign_put(b, k),
}
BUCKET_VERBS: dict[str, Callable[[ObjectClerk, Any, Any], object]] = {
    **VERBS,
    "list_objects": lambda c, b, _: c.list_objects(b),
}


def _type(value: object) -> str:
    return type(value).__name__


def check(
    clerk: ObjectClerk, expected: type[ObjectClerkException], does: Callable[[], object]
) -> ObjectClerkException:
    """Assert that `does` raises exactly `expected` and sends nothing."""
    wire = Wire(clerk)
    with pytest.raises(ObjectClerkException) as caught:
        does()
    assert type(caught.value) is expected
    assert wire.sent == []
    assert str(caught.value)
    return caught.value


@pytest.mark.parametrize("verb", VERBS)
def test_bad_key(verb: str, clerk: ObjectClerk) -> None:
    """Check 29: a key that cannot be is refused by every verb before any request."""
    for bad, expected in BAD_KEYS.values():
        check(clerk, expected, partial(VERBS[verb], clerk, "bucket", bad))


@pytest.mark.parametrize("verb", BUCKET_VERBS)
def test_bad_bucket(verb: str, clerk: ObjectClerk) -> None:
    """Check 29: a bucket that cannot be is refused by every verb before any request."""
    does = BUCKET_VERBS[verb]
    for bad, expected in BAD_BUCKETS.values():
        check(clerk, expected, partial(does, clerk, bad, "key"))


@pytest.mark.parametrize("data", [None, 7, 1.5, ["a"], {"a": 1}, object()], ids=_type)
def test_source_of_the_wrong_type(data: object, clerk: ObjectClerk) -> None:
    """Check 4: a source of another type -> TypeError."""
    error = check(
        clerk, ObjectClerkTypeException, lambda: clerk.upload_object(data, "bucket", "key")
    )
    assert isinstance(error, TypeError)


def test_text_stream(clerk: ObjectClerk, tmp_path: Path) -> None:
    """Check 4: text has no bytes before it is encoded."""
    path = tmp_path / "file"
    path.write_text("text")

    class Sneaky:
        """Does not look like text until it is read."""

        def read(self, _: int = -1) -> str:
            return "text"

    with path.open() as file:
        for source in (file, io.StringIO("text"), Sneaky()):
            check(
                clerk,
                ObjectClerkTypeException,
                partial(clerk.upload_object, source, "bucket", "key"),
            )


@pytest.mark.parametrize("name", ["missing", "missing/file", "", "nul\0byte", "k" * 300, "."])
@pytest.mark.parametrize("as_path", [False, True], ids=["str", "Path"])
def test_unreadable_path(name: str, as_path: bool, clerk: ObjectClerk, tmp_path: Path) -> None:
    """Check 4: unreadable path -> ObjectSaveException that names it, its own if there is none."""
    path = tmp_path / name
    source = path if as_path else str(path)
    expected = SourceNotFound if name.startswith("missing") else ObjectSaveException
    check(clerk, expected, lambda: clerk.upload_object(source, "bucket", "key"))


def test_closed_stream(clerk: ObjectClerk) -> None:
    """Check 4: a stream that cannot be read is not silently nothing."""
    stream = io.BytesIO(b"content")
    stream.close()
    check(clerk, ObjectSaveException, lambda: clerk.upload_object(stream, "bucket", "key"))


def test_stream_for_writing(clerk: ObjectClerk, tmp_path: Path) -> None:
    """Check 4: nor is one that is open for writing only."""
    with (tmp_path / "file").open("wb") as file:
        file.write(b"content")
        file.flush()
        check(clerk, ObjectSaveException, lambda: clerk.upload_object(file, "bucket", "key"))


def test_memory_that_is_not_contiguous(clerk: ObjectClerk, bucket: str) -> None:
    """Check 4: a view with gaps is uploaded as the bytes that it shows."""
    view = memoryview(b"content")[::2]
    clerk.upload_object(view, bucket, "key")
    assert clerk.get_object(bucket, "key") == view.tobytes()


BAD_METADATA: dict[str, tuple[Any, type[ObjectClerkException]]] = {
    "umlaut in a value": ({"name": "\u00e4"}, ObjectClerkParameterException),
    "line break in a value": ({"name": "a\r\nb: c"}, ObjectClerkParameterException),
    "blanks around a value": ({"name": " a "}, ObjectClerkParameterException),
    "names that differ in case only": ({"Name": "a", "name": "b"}, ObjectClerkParameterException),
    "umlaut in a name": ({"n\u00e4me": "a"}, ObjectClerkParameterException),
    "blank in a name": ({"a name": "a"}, ObjectClerkParameterException),
    "empty name": ({"": "a"}, ObjectClerkParameterException),
    "number": ({"name": 7}, ObjectClerkTypeException),
    "None": ({"name": None}, ObjectClerkTypeException),
    "number as name": ({7: "a"}, ObjectClerkTypeException),
    "list": ([("name", "a")], ObjectClerkTypeException),
    "str": ("name", ObjectClerkTypeException),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_bad_metadata(name: str, clerk: ObjectClerk) -> None:
    """Check 5: metadata that headers cannot carry is refused, with advice."""
    metadata, expected = BAD_METADATA[name]
    for data in (b"content", blob(LARGE)):
        check(
            clerk,
            expected,
            partial(clerk.upload_object, data, "bucket", "key", metadata=metadata),
        )


@pytest.mark.parametrize("name", ["content_type", "storage_class"])
def test_bad_header(name: str, clerk: ObjectClerk) -> None:
    """Check 5: so is a content type or storage class."""
    cases: list[tuple[Any, type[ObjectClerkException]]] = [
        ("\u00e4", ObjectClerkParameterException),
        ("a\r\nb: c", ObjectClerkParameterException),
        ("", ObjectClerkParameterException),
        (7, ObjectClerkTypeException),
    ]
    for value, expected in cases:
        arguments: dict[str, Any] = {name: value}
        check(
            clerk,
            expected,
            partial(clerk.upload_object, b"content", "bucket", "key", **arguments),
        )


EXTRA = ["NoSuchParameter", "Bucket", "Key", "Body", "ContentMD5", "ContentLength", "contenttype"]


@pytest.mark.parametrize("name", EXTRA)
def test_bad_extra_args_of_an_upload(name: str, clerk: ObjectClerk) -> None:
    """Check 29: what S3 does not know, or the clerk decides, is refused; small or large."""
    for data in (b"content", blob(LARGE)):
        error = check(
            clerk,
            ObjectClerkParameterException,
            partial(clerk.upload_object, data, "bucket", "key", extra_args={name: "a"}),
        )
        assert name in str(error)


@pytest.mark.parametrize("name", ["NoSuchParameter", "Bucket", "Key", "Range", "PartNumber"])
@pytest.mark.parametrize("verb", ["get_object", "download_object", "open_object"])
def test_bad_extra_args_of_a_read(name: str, verb: str, clerk: ObjectClerk) -> None:
    """Check 29: a range cannot be verified, and what S3 does not know is refused."""
    target = (io.BytesIO(),) if verb == "download_object" else ()
    method: Callable[..., object] = getattr(clerk, verb)
    check(
        clerk,
        ObjectClerkParameterException,
        lambda: method("bucket", "key", *target, extra_args={name: "bytes=0-1"}),
    )


def test_bad_value_in_extra_args(clerk: ObjectClerk) -> None:
    """Check 29: a value of the wrong type is refused, small or large, without a request."""
    for data in (b"content", blob(LARGE)):
        wire = Wire(clerk)
        with pytest.raises((ObjectClerkParameterException, ObjectClerkTypeException)):
            clerk.upload_object(data, "bucket", "key", extra_args={"CacheControl": 7})
        assert wire.sent == []


@pytest.mark.parametrize("target", [None, 7, b"path\0", io.StringIO(), ["a"]], ids=_type)
def test_bad_target(target: Any, clerk: ObjectClerk) -> None:
    """Check 26: what cannot be written to is refused before anything is asked for."""
    check(
        clerk,
        ObjectClerkTypeException,
        lambda: clerk.download_object("bucket", "key", target),
    )


LISTINGS: dict[str, tuple[dict[str, Any], type[ObjectClerkException]]] = {
    "page size 0": ({"page_size": 0}, ObjectClerkParameterException),
    "page size -1": ({"prefix": -1}, ObjectClerkParameterException),
    "page size in text": ({"page_size": "10"}, ObjectClerkParameterException),
    "limit 0": ({"limit": 0}, ObjectClerkParameterException),
    "limit 1.5": ({"limit": 1.5}, ObjectClerkParameterException),
    "prefix of bytes": ({"prefix": b"a"}, ObjectClerkTypeException),
    "prefix True": ({"prefix": True}, ObjectClerkTypeException),
    "delimiter": ({"delimiter": 1}, ObjectClerkTypeException),
    "start": ({"start_after": 1}, ObjectClerkTypeException),
    "lone surrogate as prefix": ({"prefix": "\ud800"}, ObjectClerkParameterException),
    "lone surrogate as start": ({"start_after": "\ud800"}, ObjectClerkParameterException),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_bad_listing(name: str, clerk: ObjectClerk) -> None:
    """Check 18: an int is a page size, a str a prefix; all else is refused at the call."""
    arguments, expected = LISTINGS[name]
    check(clerk, expected, lambda: clerk.list_objects("bucket", **arguments))


@pytest.mark.parametrize("keys", [None, 7, "key", b"key"], ids=repr)
def test_bad_keys_to_delete(keys: Any, clerk: ObjectClerk) -> None:
    """Check 12: one str is not a list of keys, and nothing is not one either."""
    check(clerk, ObjectClerkTypeException, lambda: clerk.delete_objects("bucket", keys))


@pytest.mark.parametrize("version", ["", 7, "v\r\nx: y"], ids=repr)
def test_bad_version(version: Any, clerk: ObjectClerk) -> None:
    """Check 29: a version id that cannot be never means the current object."""
    for does in (
        lambda: clerk.get_object("bucket", "key", version_id=version),
        lambda: clerk.open_object("bucket", "key", version_id=version),
        lambda: clerk.get_object_info("bucket", "key", version_id=version),
        lambda: clerk.exists("bucket", "key", version_id=version),
        lambda: clerk.delete_object("bucket", "key", version_id=version),
        lambda: clerk.presign_get("bucket", "key", version_id=version),
    ):
        wire = Wire(clerk)
        with pytest.raises((ObjectClerkParameterException, ObjectClerkTypeException)):
            does()
        assert wire.sent == []


SETTINGS: dict[str, dict[str, Any]] = {
    "host with a scheme": {"endpoint_url": None, "host": "http://store.example"},
    "port": {"endpoint_url": None, "host": "store.example", "port": 70_000},
    "port in words": {"endpoint_url": None, "host": "store.example", "port": "https"},
    "host and URL": {"host": "store.example"},
    "URL of something else": {"endpoint_url": "ftp://store.example"},
    "URL with credentials": {"endpoint_url": "http://me:secret@store.example"},
    "one key of two": {"secret_key": None},
    "retry_delay": {"retry_delay": -1},
    "retry_backoff": {"retry_backoff": 0.5},
    "retry_jitter": {"retry_jitter": (3, 1)},
    "retry_tries": {"retry_tries": 1.5},
    "retry_deadline": {"retry_deadline": 0},
    "list_objects_page_size": {"list_objects_page_size": 1001},
    "client_config": {"client_config": {"no_such_option": 1}},
    "client_config type": {"client_config": "{}"},
    "transfer_config": {"transfer_config": {"multipart_treshold": 1}},
    "transfer_config value": {"transfer_config": {"max_concurrency": 0}},
    "part too large": {"transfer_config": {"multipart_threshold": 6 << 30}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings(name: str, make_clerk: MakeClerk) -> None:
    """Check 23: an impossible setting fails when the clerk is made, and tells no secret."""
    with pytest.raises(ObjectClerkConfigurationException) as caught:
        make_clerk(**SETTINGS[name])

    assert isinstance(caught.value, ValueError)
    assert "secret@" not in str(caught.value)
