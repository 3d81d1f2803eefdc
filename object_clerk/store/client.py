"""The seam between the store and its backends: what an adapter has to do, and what is done for it.

An adapter derives from :class:`ObjectStoreClient` and fills in the methods that begin with an
underscore. It gets checked arguments, by keyword, with the bucket filled in. Options that a caller
did not give are left out, so an adapter without metadata need not know of them.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar

from object_clerk.exceptions import (
    ObjectChanged,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    OperationCancelled,
    UnsupportedError,
)
from object_clerk.names import (
    check_bucket,
    check_key,
    check_metadata,
    check_span,
    check_text,
    check_unicode,
)
from object_clerk.store.configurations import ObjectStoreConfiguration
from object_clerk.store.files import beneath, later_file
from object_clerk.store.models import Capability, ObjectInfo, ObjectVersion, OpenedObject
from object_clerk.store.streams import exactly, given_back, spanned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from object_clerk.receipt import Receipt
    from object_clerk.store.models import Bucket

T = TypeVar("T")
_END = object()

#: The longest life of a presigned URL, a week (Amazon S3 user guide, "Presigned URLs").
LONGEST_PRESIGNED_S = 7 * 24 * 3600
DEFAULT_PRESIGNED_S = 3600

#: How often an object that is replaced all the time is tried.
_TRIES_AT_A_MOVING_OBJECT = 3


class ObjectStoreClient(abc.ABC):
    """A backend, with the buckets and objects it holds. Safe to share between threads.

    Everywhere a bucket of None means ``root_bucket``. Errors are those of
    :mod:`object_clerk.exceptions`: bad arguments raise a ValueError or TypeError before anything
    is done; what fails on the way raises a RuntimeError.

    Args:
        config: a configuration, or a dict that is one.
    """

    #: What this backend can do besides reading, writing, listing, copying and deleting.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def __init__(self, config: ObjectStoreConfiguration | Mapping[str, Any]) -> None:
        self.config = ObjectStoreConfiguration.of(config)
        self.root_bucket = check_bucket(self.config.root_bucket)

    def __enter__(self) -> ObjectStoreClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(root_bucket={self.root_bucket!r})"

    def close(self) -> None:  # noqa: B027 - not every adapter has something to give up
        """Give up connections and files. What comes after may fail."""

    # -- reading ---------------------------------------------------------------------------

    def get_object(
        self,
        key: str,
        bucket: str | None = None,
        version: str | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        **options: Any,
    ) -> OpenedObject:
        """Open an object; see :class:`~object_clerk.store.Object`.

        Args:
            key: the key.
            bucket: the bucket.
            version: a generation other than the latest.
            begin: the first byte to read; a negative number counts from the end, as in slices.
            end: the byte to stop before; None for the end of the object. What stores keep proves
                all bytes of an object and not some: those are of one generation, and not verified.
            **options: ``verify_checksum`` as for :meth:`object_clerk.ObjectClerk.get_object`, and
                what the adapter has besides.

        Raises:
            ObjectNotFoundException: there is no such object.
            ObjectVerificationException: from ``body.read()``, if the bytes do not verify.
        """
        where = self._where("get_object", key, bucket, version)
        check_span(begin, end)
        if (begin, end) == (0, None):
            return self._done(where, self._get_object, **_given(**options))
        if Capability.RANGES in self.capabilities:
            span = {"begin": begin, **_given(end=end)}
            return self._done(where, self._get_object, **span, **_given(**options))
        opened = self._done(where, self._get_object, **_given(**options))
        body = spanned(opened.body, range(opened.info.size)[begin:end])
        return dataclasses.replace(opened, body=body)

    def head_object(
        self, key: str, bucket: str | None = None, version: str | None = None
    ) -> ObjectInfo:
        """What is known of an object, without reading it.

        Raises:
            ObjectNotFoundException: there is no such object.
        """
        return self._done(self._where("head_object", key, bucket, version), self._head_object)

    def download_file(
        self,
        key: str,
        file_path: str | os.PathLike[str],
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Read an object into a file, which has it whole and verified, or what it had before.

        Args:
            key: the key.
            file_path: the file; directories that are missing are made.
            bucket: the bucket.
            version: a generation other than the latest.
            **options: ``verify_checksum``, and what the adapter has besides.

        Raises:
            ObjectNotFoundException: there is no such object.
            ObjectVerificationException: its bytes do not verify.
            ObjectClerkFileException: the file cannot be written.
        """
        where = self._where("download_file", key, bucket, version)
        path = _path("file_path", file_path)
        return self._done(where, self._download_object, file_path=path, **options)

    def download_object(
        self,
        key: str,
        file_path: str | os.PathLike[str] | None = None,
        bucket: str | None = None,
        version: str | None = None,
        **options: Any,
    ) -> OpenedObject:
        """Read an object into a file as :meth:`download_file` does, and hand it over.

        Args:
            key: the key.
            file_path: the file; None for one named like the key, beneath the working directory.
                A key that would lead out of it is refused.
            bucket: the bucket.
            version: a generation other than the latest.
            **options: as for :meth:`download_file`.

        Returns:
            the object; its body reads the file, which is opened when it is first read.
        """
        where = self._where("download_object", key, bucket, version)
        path = beneath(Path.cwd(), key) if file_path is None else _path("file_path", file_path)
        for _ in range(_TRIES_AT_A_MOVING_OBJECT):
            info = self._done(where, self._head_object)
            receipt = self._done(where, self._download_object, file_path=path, **options)
            if receipt is None or receipt.etag in (None, info.etag):
                return OpenedObject(later_file(path), info.updated_time, info)
        raise ObjectChanged(
            f"somebody replaces the object all the time; {path} holds one generation of it",
            operation="download_object",
            bucket=where["bucket"],
            key=key,
        )

    def list_objects(
        self,
        bucket: str | None = None,
        prefix: str = "",
        *,
        start_after: str | None = None,
        limit: int | None = None,
        recursive: bool = True,
    ) -> Iterator[ObjectInfo]:
        """The objects of a bucket in the order of their keys (of their UTF-8 bytes).

        Nothing is asked before the first is taken.

        Args:
            bucket: the bucket.
            prefix: only keys that begin with it.
            start_after: only keys after this one, which need not exist.
            limit: at most so many.
            recursive: False leaves out keys that have a slash after the prefix.
        """
        where = self._in_bucket("list_objects", bucket)
        prefix = check_unicode("prefix", prefix)
        if start_after is not None:
            check_unicode("start_after", start_after)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ObjectClerkParameterException("limit is a whole number, at least 1")
        given = _given(prefix=prefix, start_after=start_after)
        if recursive:
            return self._listed(where, self._list_objects, **given, **_given(limit=limit))
        return self._listed(
            where, lambda **options: islice(self._list_level(**options), limit), **given
        )

    def list_versions(self, prefix: str = "", bucket: str | None = None) -> Iterator[ObjectVersion]:
        """All generations of the objects, by key, of each the latest first.

        Raises:
            UnsupportedError: the backend keeps one generation only.
        """
        where = self._in_bucket("list_versions", bucket)
        self._require(Capability.VERSIONS, where)
        return self._listed(where, self._list_versions, prefix=check_unicode("prefix", prefix))

    # -- writing ---------------------------------------------------------------------------

    def upload_file(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file; the same as :meth:`upload_object`."""
        return self.upload_object(file_path, key, bucket, **options)

    def upload_object(
        self,
        file_path: str | os.PathLike[str],
        key: str,
        bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store a file, whole and verified or not at all; an object that is there is replaced.

        Args:
            file_path: the file. It may be empty.
            key: the key.
            bucket: the bucket.
            **options: as for :meth:`put_object_v2`.

        Raises:
            SourceNotFound: there is no such file.
            ObjectSaveException: it cannot be read, or was changed meanwhile.
            DestinationExists: ``if_absent`` was given, and the object is there.
            PreconditionFailed: ``if_match`` was given, and another generation is there.
        """
        where = self._where("upload_object", key, bucket)
        checked = self._writing(where, options)
        path = _path("file_path", file_path)
        return self._done(where, self._upload_object, file_path=path, **checked)

    def put_object_v2(
        self,
        data: bytes | IO[bytes],
        key: str,
        bucket: str | None = None,
        length: int = -1,
        *,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Store bytes or a stream, whole and verified or not at all.

        Args:
            data: the content. A stream is taken from where it stands, or from its start if it
                stands at its end, and is left open. If the write fails, one that can be rewound
                stands where it stood.
            key: the key.
            bucket: the bucket.
            length: how many bytes there must be; -1 if nobody knows. Others are refused, and
                nothing is stored.
            content_type: the media type.
            metadata: names and values that are kept beside the object, as HTTP headers are:
                names in any case, values in ASCII.
            if_absent: store it only if there is no such object.
            if_match: store it only if the object that is there has this ETag.
            **options: what the adapter has besides.
        """
        where = self._where("put_object_v2", key, bucket)
        conditions = {"if_absent": if_absent, "if_match": if_match}
        about = {"content_type": content_type, "metadata": metadata}
        checked = self._writing(where, {**options, **conditions, **about})
        if type(length) is not int or length < -1:
            raise ObjectClerkParameterException("length is a number of bytes, or -1")
        if isinstance(data, (bytes, bytearray, memoryview)):
            if length not in (-1, memoryview(data).nbytes):
                raise ObjectClerkParameterException(
                    f"length says {length} bytes, and there are {memoryview(data).nbytes}"
                )
        elif not callable(getattr(data, "read", None)):
            raise ObjectClerkTypeException(
                f"cannot store a {type(data).__name__}: give bytes or a binary stream"
            )
        elif length >= 0:
            with _doing("put_object_v2", where["bucket"], key):
                data = exactly(data, length)
        with given_back(data):
            return self._done(where, self._put_object_v2, data=data, length=length, **checked)

    def copy_object(
        self,
        src_object: str,
        dst_object: str,
        src_bucket: str | None = None,
        dst_bucket: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Copy an object with its metadata, whole and verified or not at all.

        Args:
            src_object: the key that is read.
            dst_object: the key that is written.
            src_bucket: the bucket that is read.
            dst_bucket: the bucket that is written.
            **options: ``if_absent`` and ``if_match`` as for :meth:`put_object_v2`, and what the
                adapter has besides.

        Raises:
            ObjectNotFoundException: there is no such source.
            ObjectClerkParameterException: source and target are the same.
        """
        source = self._where("copy_object", src_object, src_bucket)
        target = self._where("copy_object", dst_object, dst_bucket)
        if source == target:
            raise ObjectClerkParameterException(
                "source and target are the same object",
                operation="copy_object",
                bucket=target["bucket"],
                key=dst_object,
            )
        checked = self._writing(target, options)
        with _doing("copy_object", target["bucket"], dst_object):
            return self._copy_object(
                src_object=src_object,
                dst_object=dst_object,
                src_bucket=source["bucket"],
                dst_bucket=target["bucket"],
                **checked,
            )

    def delete_object(
        self,
        key: str,
        bucket: str | None = None,
        version: str | None = None,
        *,
        if_unchanged: ObjectInfo | None = None,
    ) -> None:
        """Delete an object; that there is none is no error.

        ``if_unchanged`` tells any two writes apart in a directory and in memory, also those of the
        same bytes. On S3 the server compares the ETag in the step that deletes, and size and time
        are compared by a look right before it. So there a write of other bytes is never deleted,
        but one of the very same bytes (with other metadata, say) is, if it came between that look
        and the deletion, or in the same second as the one that is meant. In a bucket with versions
        the version is compared too, and again right after: what came in between is hidden for that
        moment, and then uncovered.

        Args:
            key: the key.
            bucket: the bucket.
            version: delete this generation for good; without it, a backend with versions keeps
                all, and notes that the object was deleted.
            if_unchanged: delete the object only if it is still the generation that this describes,
                which came from ``head_object``, ``get_object`` or ``list_objects``.

        Raises:
            PreconditionFailed: ``if_unchanged`` was given, and another generation is there. It was
                kept.
            UnsupportedError: the backend has no such condition, or an S3 store was not seen to
                honour it. Nothing was deleted.
        """
        where = self._where("delete_object", key, bucket, version)
        if if_unchanged is not None:
            self._check_unchanged(where, if_unchanged)
        self._done(where, self._delete_object, **_given(if_unchanged=if_unchanged))

    # -- URLs ------------------------------------------------------------------------------

    def get_presigned_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL with which anybody can read the object until it expires. Nothing is asked.

        Args:
            key: the key.
            bucket: the bucket.
            expires: seconds of life, 1 to 604800 (a week), or a timedelta; an hour if None.

        Raises:
            UnsupportedError: the backend has no such URLs.
        """
        return self._presigned("get_presigned_url", self._get_presigned_url, key, bucket, expires)

    def get_presigned_upload_url(
        self, key: str, bucket: str | None = None, expires: float | timedelta | None = None
    ) -> str:
        """A URL with which anybody can PUT the object until it expires; otherwise the same."""
        return self._presigned(
            "get_presigned_upload_url", self._get_presigned_upload_url, key, bucket, expires
        )

    def _presigned(
        self,
        verb: str,
        hook: Callable[..., str],
        key: str,
        bucket: str | None,
        expires: float | timedelta | None,
    ) -> str:
        where = self._where(verb, key, bucket)
        return self._done(where, hook, expires=_lifetime(expires))

    # -- buckets ---------------------------------------------------------------------------

    def list_buckets(self) -> Iterator[Bucket]:
        """All buckets that may be seen, by name. Nothing is asked before the first is taken."""
        return self._listed({"operation": "list_buckets"}, self._list_buckets)

    def create_bucket(self, name: str, *, exist_ok: bool = False) -> None:
        """Make a bucket.

        Args:
            name: its name.
            exist_ok: whether it may be there already.

        Raises:
            DestinationExists: it is there already.
        """
        where = {"operation": "create_bucket", "bucket": check_bucket(name)}
        self._require(Capability.BUCKETS, where)
        self._done(where, self._create_bucket, exist_ok=exist_ok)

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket, which must be empty.

        Raises:
            BucketNotFoundException: there is none.
            ObjectClerkOperationException: there is something in it.
        """
        where = {"operation": "delete_bucket", "bucket": check_bucket(name)}
        self._require(Capability.BUCKETS, where)
        self._done(where, self._delete_bucket)

    # -- what an adapter does ----------------------------------------------------------------

    @abc.abstractmethod
    def _list_buckets(self) -> Iterator[Bucket]:
        """All buckets, by name."""

    @abc.abstractmethod
    def _list_objects(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with ``prefix``, in order; see ``list_objects``."""

    @abc.abstractmethod
    def _get_object(self, *, key: str, bucket: str, **options: Any) -> OpenedObject:
        """Open an object."""

    @abc.abstractmethod
    def _download_object(
        self, *, key: str, file_path: Path, bucket: str, **options: Any
    ) -> Receipt:
        """Read an object into a file, atomically; missing directories are to be made."""

    @abc.abstractmethod
    def _upload_object(self, *, file_path: Path, key: str, bucket: str, **options: Any) -> Receipt:
        """Store a file, atomically."""

    @abc.abstractmethod
    def _put_object_v2(
        self, *, data: bytes | IO[bytes], length: int, key: str, bucket: str, **options: Any
    ) -> Receipt:
        """Store bytes or a stream, atomically, if reading it does not raise.

        ``length`` is what the caller said, or -1; a stream that has more or fewer bytes raises.
        """

    @abc.abstractmethod
    def _copy_object(
        self, *, src_object: str, dst_object: str, src_bucket: str, dst_bucket: str, **options: Any
    ) -> Receipt:
        """Copy an object with its metadata, atomically."""

    @abc.abstractmethod
    def _delete_object(
        self,
        *,
        key: str,
        bucket: str,
        version: str | None = None,
        if_unchanged: ObjectInfo | None = None,
    ) -> None:
        """Delete an object; it may be missing, its bucket may not.

        ``if_unchanged`` is needed for the capability CONDITIONAL_DELETES: what it describes and
        what is there have to be compared in the same step.
        """

    @abc.abstractmethod
    def _get_presigned_url(self, *, key: str, bucket: str, expires: int) -> str:
        """A URL to read with, for ``expires`` seconds; or raise UnsupportedError."""

    @abc.abstractmethod
    def _get_presigned_upload_url(self, *, key: str, bucket: str, expires: int) -> str:
        """A URL to write with, for ``expires`` seconds; or raise UnsupportedError."""

    def _head_object(self, *, key: str, bucket: str, version: str | None = None) -> ObjectInfo:
        """What is known of an object. Unless an adapter has a shorter way, it is opened."""
        opened = self._get_object(key=key, bucket=bucket, **_given(version=version))
        opened.body.close()
        return opened.info

    def _list_level(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        """Those without a slash after the prefix. Unless an adapter has a shorter way, of all."""
        for each in self._list_objects(bucket=bucket, prefix=prefix, **options):
            if "/" not in each.key[len(prefix) :]:
                yield each

    def _list_versions(self, *, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        """All generations; needed for the capability VERSIONS."""
        raise NotImplementedError

    def _create_bucket(self, *, bucket: str, exist_ok: bool) -> None:
        """Make a bucket; needed for the capability BUCKETS."""
        raise NotImplementedError

    def _delete_bucket(self, *, bucket: str) -> None:
        """Delete an empty bucket; needed for the capability BUCKETS."""
        raise NotImplementedError

    # -- shared ----------------------------------------------------------------------------

    def _in_bucket(self, operation: str, bucket: str | None) -> dict[str, str]:
        """Which bucket is meant, checked; the operation is for errors."""
        found = self.root_bucket if bucket is None else check_bucket(bucket)
        return {"operation": operation, "bucket": found}

    def _where(
        self, operation: str, key: str, bucket: str | None, version: str | None = None
    ) -> dict[str, str]:
        """Which object is meant, checked."""
        where = {**self._in_bucket(operation, bucket), "key": check_key(key)}
        if version is not None:
            self._require(Capability.VERSIONS, where)
            where["version"] = check_text("version", version)
        return where

    def _require(self, capability: Capability, where: Mapping[str, str]) -> None:
        if capability not in self.capabilities:
            raise UnsupportedError(
                f"{type(self).__name__} has no {capability.value}",
                operation=where["operation"],
                bucket=where.get("bucket"),
                key=where.get("key"),
            )

    def _writing(self, where: Mapping[str, str], options: dict[str, Any]) -> dict[str, Any]:
        """The options of a write that were given, if they make sense and the backend has them."""
        given = _given(**options)
        if not isinstance(given.get("if_absent", False), bool):
            raise ObjectClerkTypeException("if_absent is True or False")
        if not given.get("if_absent"):
            given.pop("if_absent", None)
        if given.keys() & {"if_absent", "if_match"}:
            self._require(Capability.CONDITIONS, where)
            if given.keys() >= {"if_absent", "if_match"}:
                raise ObjectClerkParameterException("if_absent and if_match exclude each other")
        if given.keys() & {"content_type", "metadata"}:
            self._require(Capability.METADATA, where)
        if "if_match" in given:
            check_text("if_match", given["if_match"])
        if "content_type" in given:
            check_text("content_type", given["content_type"])
        if "metadata" in given:
            check_metadata(given["metadata"])
        return given

    def _check_unchanged(self, where: Mapping[str, str], meant: object) -> None:
        """Raise unless this can be the condition of a delete, and the backend has it."""
        self._require(Capability.CONDITIONAL_DELETES, where)
        if not isinstance(meant, ObjectInfo):
            raise ObjectClerkTypeException(
                f"if_unchanged is an ObjectInfo as head_object gives it, not {type(meant).__name__}"
            )
        if meant.key != where["key"]:
            raise ObjectClerkParameterException(
                f"if_unchanged describes {meant.key!r}, which is another object"
            )
        if isinstance(meant, ObjectVersion) and meant.is_delete_marker:
            raise ObjectClerkParameterException("if_unchanged describes a delete marker")
        if "version" in where:
            raise ObjectClerkParameterException(
                "if_unchanged is about the latest generation: give it or version, not both"
            )

    def _done(self, where: Mapping[str, str], hook: Callable[..., T], **options: Any) -> T:
        """What the adapter's ``hook`` returns, or an error of ours that says where it failed."""
        arguments = {name: value for name, value in where.items() if name != "operation"}
        with _doing(where["operation"], where.get("bucket"), where.get("key")):
            return hook(**arguments, **options)

    def _listed(
        self, where: Mapping[str, str], hook: Callable[..., Iterator[T]], **options: Any
    ) -> Iterator[T]:
        """What the adapter's ``hook`` lists, one by one."""
        arguments = {name: value for name, value in where.items() if name != "operation"}
        return _Entries(where, partial(hook, **arguments, **options))


class _Entries(Iterator[T]):
    """The entries of a listing, which is begun when the first is taken."""

    def __init__(self, where: Mapping[str, str], begin: Callable[[], Iterator[T]]) -> None:
        self._where = where
        self._begin = begin
        self._found: Iterator[T] | None = None
        self._error: ObjectClerkException | None = None

    def __next__(self) -> T:
        if self._error is not None:
            raise self._error  # who goes on after an error must not take it for the end
        try:
            with _doing(self._where["operation"], self._where.get("bucket"), None):
                if self._found is None:
                    self._found = iter(self._begin())
                entry = next(self._found, _END)
        except ObjectClerkException as error:
            self._error = error
            raise
        except BaseException as error:
            self._error = OperationCancelled(f"the listing was broken off: {type(error).__name__}")
            raise
        if entry is _END:
            raise StopIteration
        return entry  # type: ignore[return-value]

    def close(self) -> None:
        """Give up what the listing still holds; there is nothing more to take."""
        close = getattr(self._found, "close", None)
        self._found = iter(())
        if close is not None:
            close()


class ObjectStoreComponentFactory(abc.ABC):
    """Makes the client of one backend; what an adapter registers.

    Args:
        config: the configuration of the store.
    """

    def __init__(self, config: ObjectStoreConfiguration) -> None:
        self.config = config

    def create_client(self) -> ObjectStoreClient:
        """A client. It is made without asking the backend anything.

        Raises:
            ObjectClerkConfigurationException: a setting is impossible.
        """
        with _doing("create_client", None, None):
            return self._create_client()

    @abc.abstractmethod
    def _create_client(self) -> ObjectStoreClient:
        """Make the client."""


@contextlib.contextmanager
def _doing(operation: str, bucket: str | None, key: str | None) -> Iterator[None]:
    """Whatever an adapter raises becomes an error of ours, or gets to know where it happened."""
    try:
        yield
    except ObjectClerkException as error:
        error.concerning(operation, bucket, key)
        raise
    except (ValueError, TypeError, NotImplementedError, RuntimeError):
        raise
    except Exception as error:
        raise ObjectClerkOperationException(
            f"{type(error).__name__}: {error}", operation=operation, bucket=bucket, key=key
        ) from error


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _path(name: str, value: object) -> Path:
    if not isinstance(value, (str, os.PathLike)) or isinstance(value, bytes):
        raise ObjectClerkTypeException(f"{name} is a path, not {type(value).__name__}")
    text = os.fsdecode(value)
    if not text or "\0" in text:
        raise ObjectClerkParameterException(f"{name} cannot be a path: {text!r}")
    return Path(text)


def _lifetime(expires: object) -> int:
    """Seconds of life of a URL, rounded down."""
    if expires is None:
        return DEFAULT_PRESIGNED_S
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    if isinstance(expires, bool) or not isinstance(expires, (int, float)):
        raise ObjectClerkTypeException("expires is a number of seconds or a timedelta")
    if not 1 <= expires <= LONGEST_PRESIGNED_S:
        raise ObjectClerkParameterException(
            f"expires is 1 to {LONGEST_PRESIGNED_S} seconds (a week)"
        )
    return int(expires)
