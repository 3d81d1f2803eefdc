"""What the adapters share that keep objects themselves, in a directory or in memory."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import math
import time
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, ClassVar

from object_clerk.checksum.etag import bare
from object_clerk.exceptions import (
    BucketNotFoundException,
    DestinationExists,
    ObjectClerkException,
    ObjectClerkOperationException,
    ObjectClerkParameterException,
    ObjectNotFoundException,
    PreconditionFailed,
    UnsupportedError,
)
from object_clerk.receipt import SWITCHED_OFF, Finding, Receipt, Verdict, Verification
from object_clerk.store.adapters._reading import KEPT, Digester, opened, save, verified
from object_clerk.store.client import ObjectStoreClient
from object_clerk.store.configurations import CONNECTIONS, StoreConfigurationError
from object_clerk.store.models import Capability, ObjectInfo
from object_clerk.store.options import known
from object_clerk.transfer.source import BLOCK_BYTES, Pipe, SizedSource, open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from object_clerk.store.configurations import ObjectStoreConfiguration
    from object_clerk.store.models import OpenedObject

_COPY = ("if_absent", "if_match", "verify_checksum")
_WRITE = (*_COPY, "content_type", "metadata")

#: So many entries of a listing are in memory at once.
_PAGE = 1000

#: The least by which two times differ.
_TICK = timedelta(microseconds=1)

#: The media type of objects of which nobody has told one.
_CONTENT_TYPE = "application/octet-stream"

_COPIED = Finding(Verdict.CONTENT, "MD5 and SHA-256 kept of the source fit what was written")


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants of a write besides.

    Attributes:
        if_absent: only if there is no such object.
        if_match: only if the object that is there has this ETag.
        verify: whether the receipt is to prove anything.
        content_type: the media type.
        metadata: the user's metadata, names in lower case.
    """

    if_absent: bool = False
    if_match: str | None = None
    verify: Verification = Verification.STRICT
    content_type: str = _CONTENT_TYPE
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any], names: tuple[str, ...]) -> Wish:
        """The wish in the options of a call, which may have these names."""
        given = known(options, *names)
        verify = Verification.of(given.pop("verify_checksum", True))
        if "if_match" in given and not (wanted := bare(given["if_match"])):
            raise ObjectClerkParameterException("if_match is the ETag of the object to replace")
        if "if_match" in given:
            given["if_match"] = wanted
        if "metadata" in given:
            # HTTP has no case in names, so neither does S3.
            given["metadata"] = {name.lower(): text for name, text in given["metadata"].items()}
        return cls(verify=verify, **given)

    def check(self, etag: str | None) -> None:
        """Raise unless it may take the place of what is there.

        Args:
            etag: of the object that is there; None if there is none.

        Raises:
            PreconditionFailed: a condition does not hold.
        """
        if self.if_absent and etag is not None:
            raise DestinationExists("it is there already", code="PreconditionFailed", status=412)
        if self.if_match not in (None, etag):
            said = "there is no object to replace" if etag is None else f"its ETag is {etag}"
            raise PreconditionFailed(
                f"{said}, and if_match was given", code="PreconditionFailed", status=412
            )


def following(info: ObjectInfo, there: ObjectInfo | None) -> ObjectInfo:
    """What is to be kept of an object that replaces another one.

    Its time is a later one, even if the clock stands still or goes back: it tells the two apart
    where their bytes are the same.
    """
    if there is None or info.updated_time > there.updated_time:
        return info
    return dataclasses.replace(info, updated_time=there.updated_time + _TICK)


def check_unchanged(there: ObjectInfo | None, meant: ObjectInfo | None) -> None:
    """Raise unless an object is what it was when somebody looked at it.

    Args:
        there: what is known of it now; None if it is gone.
        meant: what was known of it then; None if that does not matter.

    Raises:
        PreconditionFailed: it was replaced.
    """
    if there is None or meant is None:
        return
    if (there.etag, there.size, there.updated_time) != (meant.etag, meant.size, meant.updated_time):
        raise PreconditionFailed(
            f"it was written at {there.updated_time}, what was meant at {meant.updated_time}; it "
            "was kept",
            code="PreconditionFailed",
            status=412,
        )


class LocalClient(ObjectStoreClient):
    """A backend in this package's own hands. Adapters say how objects are kept and found."""

    capabilities = frozenset(
        (
            *(Capability.BUCKETS, Capability.CONDITIONS, Capability.CONDITIONAL_DELETES),
            *(Capability.METADATA, Capability.RANGES),
        )
    )

    #: What the receipt of a write rests on.
    kept: ClassVar[str]

    @property
    def write_basis(self) -> str:
        """What the receipt of a write rests on."""
        return self.kept

    @abc.abstractmethod
    def _find(self, bucket: str, key: str) -> tuple[ObjectInfo, IO[bytes]]:
        """An object and its bytes, which stay what they are; or raise."""

    @abc.abstractmethod
    def _look(self, bucket: str, key: str) -> ObjectInfo | None:
        """What is known of an object; None if there is none. Its bucket may not be missing."""

    @abc.abstractmethod
    def _keep(
        self, bucket: str, blocks: Iterator[bytes], describe: Callable[[], ObjectInfo], wish: Wish
    ) -> ObjectInfo:
        """Store an object, atomically, if the wish allows.

        Args:
            bucket: where to.
            blocks: its content.
            describe: what is to be kept of it; to be called when all blocks were taken.
            wish: the conditions.
        """

    @abc.abstractmethod
    def _page(self, bucket: str, begin: bytes, end: bytes, count: int) -> list[ObjectInfo]:
        """The first ``count`` objects with keys from ``begin`` on, and before ``end``."""

    # -- reading ---------------------------------------------------------------------------

    def _get_object(self, *, key: str, bucket: str, **options: Any) -> OpenedObject:
        given = known(options, "verify_checksum", "begin", "end")
        verify = Verification.of(given.get("verify_checksum", True))
        info, file = self._find(bucket, key)
        span = range(info.size)[given.get("begin") : given.get("end")]
        return opened(file, info, bucket, verify, span)

    def _head_object(self, *, key: str, bucket: str, **_: Any) -> ObjectInfo:
        info = self._look(bucket, key)
        if info is None:
            raise no_object()
        return info

    def _download_object(
        self, *, key: str, file_path: Path, bucket: str, **options: Any
    ) -> Receipt:
        verify = _verification(options)
        call = _Call("download_object", bucket, key)
        info, file = self._find(bucket, key)
        with file:
            # Nobody knows how long a file is that nobody has compared.
            save(verified(file, info, verify), file_path, info.size if verify else 0)
        return call.receipt(info, KEPT if verify else SWITCHED_OFF)

    def _list_objects(self, *, bucket: str, prefix: str, **options: Any) -> Iterator[ObjectInfo]:
        given = known(options, "start_after", "limit")
        begin, end = _bounds(prefix, given.get("start_after"))
        left = given.get("limit", math.inf)
        while left:
            count = int(min(left, _PAGE))
            page = self._page(bucket, begin, end, count)
            yield from page
            if len(page) < count:
                return
            # From a key on, never from a number: others write meanwhile.
            begin = page[-1].key.encode() + b"\0"
            left -= count

    # -- writing ---------------------------------------------------------------------------

    def _upload_object(self, *, file_path: Path, key: str, bucket: str, **options: Any) -> Receipt:
        return self._store("upload_object", file_path, bucket, key, Wish.of(options, _WRITE))

    def _put_object_v2(
        self, *, data: bytes | IO[bytes], length: int, key: str, bucket: str, **options: Any
    ) -> Receipt:
        wish = Wish.of(options, _WRITE)
        return self._store("put_object_v2", data, bucket, key, wish)

    def _store(self, verb: str, data: object, bucket: str, key: str, wish: Wish) -> Receipt:
        call = _Call(verb, bucket, key)
        with open_source(data) as source:
            wish.check(self._etag(bucket, key))  # rather now than when all was read
            digester = Digester()
            describe = functools.partial(_described, key, digester, wish)
            info = self._keep(bucket, _hashed(source, digester), describe, wish)
        finding = Finding(Verdict.TRANSPORT, self.write_basis) if wish.verify else SWITCHED_OFF
        return call.receipt(info, finding)

    def _copy_object(
        self, *, src_object: str, dst_object: str, src_bucket: str, dst_bucket: str, **options: Any
    ) -> Receipt:
        wish = Wish.of(options, _COPY)
        call = _Call("copy_object", dst_bucket, dst_object)
        with _of_source(src_bucket, src_object):
            info, file = self._find(src_bucket, src_object)
        with file:
            wish.check(self._etag(dst_bucket, dst_object))
            # It keeps the digests of its source: if that is damaged, and nobody compares, the
            # copy is damaged as well, and must not look sound.
            describe = functools.partial(_renamed, info, dst_object)
            blocks = _source_blocks(verified(file, info, wish.verify), src_bucket, src_object)
            made = self._keep(dst_bucket, blocks, describe, wish)
        source = f"{src_bucket}/{src_object}"
        return call.receipt(made, _COPIED if wish.verify else SWITCHED_OFF, source=source)

    def _etag(self, bucket: str, key: str) -> str | None:
        found = self._look(bucket, key)
        return None if found is None else found.etag

    # -- URLs ------------------------------------------------------------------------------

    def _get_presigned_url(self, *, key: str, bucket: str, expires: int) -> str:
        return _no_urls()

    def _get_presigned_upload_url(self, *, key: str, bucket: str, expires: int) -> str:
        return _no_urls()


def _no_urls() -> str:
    raise UnsupportedError("there is no server behind this store: such URLs come with the gateway")


def no_object() -> ObjectNotFoundException:
    """The error of an object that is not there."""
    return ObjectNotFoundException("there is no such object", code="NoSuchKey", status=404)


def no_bucket(bucket: str) -> BucketNotFoundException:
    """The error of a bucket that is not there."""
    error = BucketNotFoundException(
        "there is no such bucket", bucket=bucket, code="NoSuchBucket", status=404
    )
    error.hint = "create_bucket() makes one"
    return error


def bucket_there(bucket: str) -> DestinationExists:
    """The error of a bucket that was to be made, and is there."""
    return DestinationExists(
        "there is such a bucket already", bucket=bucket, code="BucketAlreadyExists", status=409
    )


def bucket_full(bucket: str) -> ObjectClerkOperationException:
    """The error of a bucket that was to be deleted, and is not empty."""
    return ObjectClerkOperationException(
        "there are objects in it: delete them first",
        bucket=bucket,
        code="BucketNotEmpty",
        status=409,
    )


def _bounds(prefix: str, start_after: str | None) -> tuple[bytes, bytes]:
    """Where the keys of a listing begin, and where they have ended.

    Keys are in the order of their UTF-8 bytes, which is that of S3. No byte of UTF-8 is 0xff, so
    the last one of a prefix can be made greater, and 0xff is after all keys.
    """
    begin = prefix.encode()
    end = begin[:-1] + bytes((begin[-1] + 1,)) if begin else b"\xff"
    if start_after is not None:
        begin = max(begin, start_after.encode() + b"\0")
    return begin, end


def no_settings(config: ObjectStoreConfiguration) -> None:
    """Refuse settings that an adapter does not have: options, and a connection without a model.

    Raises:
        StoreConfigurationError: there is one.
    """
    given = [f"options.{name}" for name in config.options]
    if config.framework not in CONNECTIONS:
        found = config.connection
        names = found if isinstance(found, dict) else sorted(found.model_fields_set)
        given += [f"connection.{name}" for name in names]
    if given:
        said = f"is not known; {config.framework} has no such settings"
        raise StoreConfigurationError.about(*((name, said) for name in given))


class _Call:
    """One call, from which a receipt is made in the end."""

    def __init__(self, operation: str, bucket: str, key: str) -> None:
        self._operation = operation
        self._bucket = bucket
        self._key = key
        self._began = time.monotonic()

    def receipt(self, info: ObjectInfo, finding: Finding, source: str | None = None) -> Receipt:
        return Receipt(
            operation=self._operation,
            bucket=self._bucket,
            key=self._key,
            size=info.size,
            verdict=finding.verdict,
            basis=finding.basis,
            etag=info.etag,
            source=source,
            digests={} if finding is SWITCHED_OFF else dict(info.digests),
            elapsed_s=time.monotonic() - self._began,
        )


def _verification(options: Mapping[str, Any]) -> Verification:
    return Verification.of(known(options, "verify_checksum").get("verify_checksum", True))


@contextlib.contextmanager
def _of_source(bucket: str, key: str) -> Iterator[None]:
    """What fails here is the source of a copy, not its target."""
    try:
        yield
    except ObjectClerkException as error:
        error.concerning("copy_object", bucket, key)
        raise


def _source_blocks(blocks: Iterator[bytes], bucket: str, key: str) -> Iterator[bytes]:
    with _of_source(bucket, key):
        yield from blocks


def _hashed(source: SizedSource | Pipe, digester: Digester) -> Iterator[bytes]:
    """The blocks of a source; their digests are taken as they pass."""
    for block in _piped(source) if isinstance(source, Pipe) else _read(source):
        digester.update(block)
        yield block
    source.check_unchanged()


def _read(source: SizedSource) -> Iterator[bytes]:
    for offset in range(0, source.size, BLOCK_BYTES):
        yield source.read_at(offset, min(BLOCK_BYTES, source.size - offset))


def _piped(source: Pipe) -> Iterator[bytes]:
    while True:
        with contextlib.closing(source.spooled(BLOCK_BYTES)) as spool:
            if not spool.size:
                return
            yield spool.read_at(0, spool.size)


def _described(key: str, digester: Digester, wish: Wish) -> ObjectInfo:
    digests = digester.digests()
    return ObjectInfo(
        key=key,
        updated_time=datetime.now(UTC),
        size=digester.size,
        etag=digests["md5"],
        content_type=wish.content_type,
        metadata=wish.metadata,
        digests=digests,
    )


def _renamed(info: ObjectInfo, key: str) -> ObjectInfo:
    return dataclasses.replace(info, key=key, updated_time=datetime.now(UTC))
