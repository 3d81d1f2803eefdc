"""ObjectClerk: the verbs."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from object_clerk import events, transfer
from object_clerk.config import ClerkConfig
from object_clerk.connection import Connection, request
from object_clerk.exceptions import (
    BucketNotFoundException,
    ObjectClerkException,
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectNotFoundException,
    translate,
)
from object_clerk.names import (
    STAGE_MARK,
    check_bucket,
    check_key,
    check_metadata,
    check_span,
    check_text,
    check_unicode,
    random_key,
)
from object_clerk.receipt import Verification
from object_clerk.retry import Operation

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from types_boto3_s3 import S3Client

    from object_clerk.endpoint import Endpoint
    from object_clerk.receipt import DeleteOutcome, Receipt, SweptUpload, UnfinishedUpload
    from object_clerk.transfer.conditions import Conditions
    from object_clerk.transfer.copy import Copy
    from object_clerk.transfer.delete import Generation
    from object_clerk.transfer.download import Download
    from object_clerk.transfer.reader import ObjectReader

E = TypeVar("E", bound=enum.Enum)

#: Parameters of S3's requests that ``extra_args`` cannot have: the clerk computes them, or has
#: arguments for them.
_OURS = frozenset(
    {
        *("Bucket", "Key", "Body", "ContentLength", "ContentMD5", "Range", "PartNumber"),
        *("ContentType", "Metadata", "StorageClass", "VersionId"),
    }
)

#: The operations on a bucket, or on many keys.
_WITHOUT_KEY = frozenset({"create_bucket", "delete_bucket", "delete_objects", "sweep_uploads"})

#: The longest life of a presigned URL, a week (Amazon S3 user guide, "Presigned URLs").
LONGEST_PRESIGNED_S = 7 * 24 * 3600


class ObjectClerk:
    """Retried, verified operations on the objects of an S3 store.

    Every request is retried with jitter until it succeeds, the attempts are used up, or the
    call's deadline has passed; see :class:`~object_clerk.retry.RetryPolicy`. Every operation that
    moves bytes proves them and makes a :class:`~object_clerk.Receipt`. All errors derive from
    :class:`~object_clerk.ObjectClerkException`, and bad arguments raise before any request.

    A clerk may be shared between threads, survives a fork, and can be pickled; in each process
    it makes its own connections. It works as a context manager and without.

    Args:
        host: host name or address of the store.
        port: its port; without one the scheme's.
        access_key: access key; without keys boto3's own credential chain is used.
        secret_key: secret key.
        retry_delay: seconds before the second attempt (default 1).
        retry_backoff: factor by which the delay grows (default 2).
        retry_jitter: random seconds added to each delay: the most, or a pair (least, most).
        retry_max_delay: longest delay in seconds (default 20).
        retry_tries: attempts in all; -1, the default, for as many as the deadline allows.
        use_ssl: https instead of http, with ``host``.
        list_objects_page_size: keys that one listing request asks for, 1 to 1000.
        client_config: arguments of botocore's ``Config``, in place of ``S3_CLIENT_CONFIG``.
        transfer_config: arguments of boto3's ``TransferConfig``, in place of
            ``S3_UPLOAD_CONFIG``, ``S3_DOWNLOAD_CONFIG`` and ``MULTIPART_THRESHOLD``. Without a
            ``multipart_chunksize`` its ``multipart_threshold`` is the part size of uploads too.
        endpoint_url: the store as a URL, in place of ``host``, ``port`` and ``use_ssl``.
        region_name: region to sign for (default us-east-1, or that of the AWS profile).
        session_token: session token that belongs to temporary keys.
        ca_bundle: path of a file of certificates to trust.
        retry_deadline: seconds that a call may take in all; by default 300, and one more for
            every MiB it moves.
        metadata_record: whether uploads write a record of themselves (``clerk-*``) into the
            object's metadata where it buys something (default True): in uploads in parts, in
            conditional ones, and where the ETag is no digest.
        probe_prefix: where scratch objects may be made to find out what the server honours
            (default ``.object-clerk-probe/``); only conditions and ``doctor`` need them.
        fast_lane: whether plain requests take the short way to the server, past most of boto3
            (default True); what is sent and what is proved is the same.
        config: settings computed before; the other arguments must then be left out.
        on_receipt: called with the receipt of every operation that moved bytes.
        on_event: called with every event (:mod:`object_clerk.events`), in the working thread.

    Raises:
        ObjectClerkConfigurationException: a setting is impossible.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | str | None = None,
        access_key: str | int | None = None,
        secret_key: str | int | None = None,
        retry_delay: float | None = None,
        retry_backoff: float | None = None,
        retry_jitter: float | tuple[float, float] | None = None,
        retry_max_delay: float | None = None,
        retry_tries: int | None = None,
        use_ssl: bool = False,
        list_objects_page_size: int | None = None,
        client_config: dict[str, Any] | None = None,
        transfer_config: dict[str, Any] | None = None,
        *,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        session_token: str | None = None,
        ca_bundle: str | None = None,
        retry_deadline: float | None = None,
        metadata_record: bool | None = None,
        probe_prefix: str | None = None,
        fast_lane: bool | None = None,
        config: ClerkConfig | None = None,
        on_receipt: Callable[[Receipt], None] | None = None,
        on_event: events.Listener | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "access_key": access_key,
            "secret_key": secret_key,
            "retry_delay": retry_delay,
            "retry_backoff": retry_backoff,
            "retry_jitter": retry_jitter,
            "retry_max_delay": retry_max_delay,
            "retry_tries": retry_tries,
            "use_ssl": use_ssl or None,
            "list_objects_page_size": list_objects_page_size,
            "client_config": client_config,
            "transfer_config": transfer_config,
            "endpoint_url": endpoint_url,
            "region_name": region_name,
            "session_token": session_token,
            "ca_bundle": ca_bundle,
            "retry_deadline": retry_deadline,
            "metadata_record": metadata_record,
            "probe_prefix": probe_prefix,
            "fast_lane": fast_lane,
        }
        if config is None:
            config = ClerkConfig.load(connection=False, **arguments)
        elif any(value is not None for value in arguments.values()):
            raise ObjectClerkParameterException("give either config or single settings")
        self.config = config
        self._connection = Connection(config)
        self._connection.client  # noqa: B018 - what boto3 does not accept shows here and now
        self._on_receipt = on_receipt
        self._on_event = on_event
        listeners = (on_event, _receipt_listener(on_receipt) if on_receipt else None)
        self._listeners = tuple(listener for listener in listeners if listener is not None)
        # 1.1.0 shows its arguments as attributes; code that reads them keeps working.
        where = urlsplit(config.endpoint_url or "")
        self.host = where.hostname if host is None else host
        self.port = where.port if port is None else port
        self.access_key = config.access_key
        self.secret_key = config.secret_key
        self.use_ssl = (config.endpoint_url or "https").startswith("https")
        self.retry_delay = config.patience.connection.delay_s
        self.retry_backoff = config.patience.connection.backoff
        self.retry_jitter = config.patience.connection.jitter_s
        self.retry_max_delay = config.patience.connection.max_delay_s
        self.retry_tries = config.patience.connection.tries
        self.retry_config = config.patience.connection
        self.list_objects_page_size = config.list_objects_page_size
        self.client_config = self._connection.botocore_config
        self.transfer_config = config.upload
        self.endpoint_url = config.endpoint_url

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        on_receipt: Callable[[Receipt], None] | None = None,
        on_event: events.Listener | None = None,
        **arguments: Any,
    ) -> ObjectClerk:
        """A clerk configured by environment variables and ``.env``.

        Args:
            environ: the variables, ``os.environ`` if None.
            on_receipt: as for the class.
            on_event: as for the class.
            **arguments: settings that shall not come from the environment.
        """
        config = ClerkConfig.from_env(environ, **arguments)
        return cls(config=config, on_receipt=on_receipt, on_event=on_event)

    def __repr__(self) -> str:
        return f"ObjectClerk(endpoint_url={self.endpoint_url!r}, access_key={self.access_key!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.config, self._on_receipt, self._on_event)

    def __enter__(self) -> ObjectClerk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the clerk cannot be used afterwards."""
        self._connection.close()

    @property
    def client(self) -> S3Client:
        """The boto3 client, for what the clerk does not do. Its calls are not retried."""
        return self._connection.client

    @property
    def endpoint(self) -> Endpoint:
        """What has been learnt of the server."""
        return self._connection.endpoint

    # -- reading ---------------------------------------------------------------------------

    def get_object(
        self,
        bucket: str,
        object_key: str,
        verify_checksum: bool | str = True,
        *,
        version_id: str | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Read a whole object into memory.

        The bytes are hashed while they arrive and returned only if they verify; if they do not,
        they are read again on a fresh connection, as ``CHECKSUM_RETRY_CONFIG`` says. A body that
        breaks off is resumed. The receipt goes to ``on_receipt``.

        Args:
            bucket: the bucket.
            object_key: the key.
            verify_checksum: ``"strict"`` (or True), ``"available"`` or ``"off"`` (or False); see
                :class:`~object_clerk.Verification`.
            version_id: a version other than the current one.
            extra_args: more parameters of S3's GetObject, such as ``SSECustomerKey``.

        Raises:
            ObjectNotFoundException: there is no such object.
            ObjectVerificationException: the bytes did not verify, however often they were read.
            ObjectUnverifiable: nothing proves the bytes, for example because of an ETag that is
                not an MD5.
        """
        with self._operation("get_object", bucket, object_key) as op:
            download = self._download(op, verify_checksum, version_id, extra_args)
            data, receipt = transfer.download.read_bytes(download)
            _finish(op, receipt)
            return data

    def download_object(
        self,
        bucket: str,
        object_key: str,
        target: str | os.PathLike[str] | IO[bytes],
        verify_checksum: bool | str = True,
        *,
        resume: bool = False,
        version_id: str | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Read an object into a file, in bounded memory.

        A path is written atomically: a temporary file in the same directory is filled, verified,
        flushed to disk, and renamed. Until then, and if anything fails, the path keeps what it
        had. Large objects are fetched in ranges side by side, as ``S3_DOWNLOAD_CONFIG`` says.
        A file object gets the bytes as they come, the last block only when all are verified.

        Args:
            bucket: the bucket.
            object_key: the key.
            target: a path, or a file object open for writing bytes.
            verify_checksum: ``"strict"`` (or True), ``"available"`` or ``"off"`` (or False); see
                :class:`~object_clerk.Verification`.
            resume: if it fails, or the process dies, keep what has arrived in hidden files beside
                the path (``.NAME.*.part`` and ``.journal``), and go on with them the next time.
                Ranges of another generation of the object are never used.
            version_id: a version other than the current one.
            extra_args: more parameters of S3's GetObject.

        Raises:
            ObjectClerkFileException: the file cannot be written.
            ObjectVerificationException: as for :meth:`get_object`.
            ObjectChanged: the object was replaced while it was read.
        """
        with self._operation("download_object", bucket, object_key) as op:
            download = self._download(op, verify_checksum, version_id, extra_args)
            return _finish(op, transfer.save.save(download, target, resume=resume))

    def open_object(
        self,
        bucket: str,
        object_key: str,
        verify_checksum: bool | str = True,
        *,
        begin: int = 0,
        end: int | None = None,
        version_id: str | None = None,
        extra_args: Mapping[str, Any] | None = None,
    ) -> ObjectReader:
        """Open an object as a binary stream, read once from front to back.

        Connections that break are resumed. The last block is held back until all bytes are
        verified: who reaches the end has read what is stored. The stream's ``receipt`` tells
        what was proved.

        With ``begin`` or ``end`` only these bytes are read. Nothing that a store keeps can be
        compared with some bytes, so the verdict is IDENTITY: they are of one generation, and of
        the place that was asked for.

        Args:
            bucket: the bucket.
            object_key: the key.
            verify_checksum: ``"strict"`` (or True), ``"available"`` or ``"off"`` (or False); see
                :class:`~object_clerk.Verification`.
            begin: where to begin; a negative number counts from the end, as in slices.
            end: where to end, before this byte; None for the end of the object.
            version_id: a version other than the current one.
            extra_args: more parameters of S3's GetObject.

        Raises:
            ObjectNotFoundException: there is no such object.
        """
        check_span(begin, end)
        with self._operation("open_object", bucket, object_key) as op:
            download = self._download(op, verify_checksum, version_id, extra_args)
            return transfer.reader.ObjectReader(download, op.finished, begin=begin, end=end)

    def get_object_info(
        self, bucket: str, object_key: str, *, version_id: str | None = None
    ) -> dict[str, str]:
        """The headers of a HEAD request, names in lower case: etag, content-length, x-amz-meta-*.

        Raises:
            ObjectNotFoundException: there is no such object, or no such bucket.
        """
        with self._operation("get_object_info", bucket, object_key) as op:
            answer = self._head(op, bucket, object_key, version_id)
            op.finished(None)
            headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
            return {name.lower(): value for name, value in headers.items()}

    def exists(self, bucket: str, object_key: str, *, version_id: str | None = None) -> bool:
        """Whether there is such an object.

        Raises:
            BucketNotFoundException: there is no such bucket.
        """
        with self._operation("exists", bucket, object_key) as op:
            try:
                self._head(op, bucket, object_key, version_id)
            except ObjectNotFoundException:
                # The answer to a HEAD has no body that would tell a bucket from a key.
                self._check_bucket_exists(op, bucket)
                op.finished(None)
                return False
            op.finished(None)
            return True

    def list_objects(
        self,
        bucket: str,
        prefix: str | int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The objects of a bucket in the order of their keys, fetched page by page.

        The first page is fetched at once, so errors show here. Every page is retried, and each
        key comes once.

        Args:
            bucket: the bucket.
            prefix: only keys that begin with it. An int is taken as ``page_size``.
            delimiter: keys that have it after the prefix are rolled up into one entry
                ``{"Prefix": ...}``.
            start_after: only keys after this one.
            limit: at most so many entries.
            page_size: keys per request, 1 to 1000.

        Returns:
            an iterator of S3's own entries: Key, Size, ETag, LastModified, StorageClass.
        """
        check_bucket(bucket)
        if isinstance(prefix, int) and not isinstance(prefix, bool):
            prefix, page_size = None, prefix
        names = {"prefix": prefix, "delimiter": delimiter, "start_after": start_after}
        for name, value in names.items():
            if value is not None:
                check_unicode(name, value)
        size = _positive("page_size", page_size) or self.list_objects_page_size
        limit = _positive("limit", limit)
        return transfer.listing.Listing(
            lambda: self._new_operation("list_objects", bucket, None),
            self._connection,
            bucket,
            prefix=prefix if isinstance(prefix, str) else None,
            delimiter=delimiter,
            start_after=start_after,
            limit=limit,
            page_size=min(size, 1000),
        )

    # -- writing ---------------------------------------------------------------------------

    def upload_object(
        self,
        object_data: object,
        bucket: str,
        object_key: str,
        verify_checksum: bool | str = True,
        content_type: str = "application/octet-stream",
        metadata: dict[str, str] | None = None,
        storage_class: str | None = None,
        *,
        allow_empty: bool = False,
        if_absent: bool = False,
        if_match: str | None = None,
        stage: bool = False,
        extra_args: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Upload a file, a buffer or a stream, in bounded memory.

        Every request carries the Content-MD5 of its body, and the ETag it gets is compared. From
        ``MULTIPART_THRESHOLD`` bytes on the object is sent in parts of that size and becomes
        visible only when all parts are proved; if anything fails the parts are removed and the
        key keeps what it had.

        Args:
            object_data: a path (str or PathLike), bytes, bytearray, memoryview, or a binary
                stream. A stream is taken from where it stands, or from its start if it stands
                at its end; it is left open, at its end, or where it stood if the upload fails. One
                that cannot be rewound is set aside part by part. A file that changes meanwhile is
                noticed.
            bucket: the bucket.
            object_key: the key; an object that is there is replaced.
            verify_checksum: ``"strict"`` (or True), ``"available"``, or ``"off"`` (or False),
                which sends and compares no checksums.
            content_type: the media type.
            metadata: names and values of ``x-amz-meta-`` headers, in ASCII.
            storage_class: S3's name of a storage class.
            allow_empty: upload an empty source rather than refuse it.
            if_absent: only if there is no object under the key.
            if_match: only if the object under the key has this ETag. Both need a server that was
                seen to honour conditions; if it was not asked before, it is asked with scratch
                objects under ``probe_prefix``.
            stage: upload to a key beside it first, prove it there, and copy it. So a server that
                spoils what it stores never spoils what was there before.
            extra_args: more parameters of S3's PutObject, such as ``ServerSideEncryption``.

        Raises:
            ObjectSaveException: the source is missing, unreadable, empty, or changed underway.
            ObjectVerificationException: what is stored is not what was sent.
            DestinationExists: ``if_absent`` was given, and there is an object.
            PreconditionFailed: ``if_match`` was given, and it does not hold.
            UnsupportedError: the server was not seen to honour such a condition; nothing was sent.
        """
        with self._operation("upload_object", bucket, object_key) as op:
            mode = Verification.of(verify_checksum)
            parameters = self._accepted("put_object", extra_args)
            parameters["ContentType"] = check_text("content_type", content_type)
            if metadata is not None:
                parameters["Metadata"] = check_metadata(metadata)
            if storage_class is not None:
                parameters["StorageClass"] = check_text("storage_class", storage_class)
            conditions = transfer.conditions.Conditions(if_absent, if_match)
            with transfer.source.open_source(object_data) as source:
                upload = transfer.upload.Upload(
                    op,
                    self._connection,
                    source,
                    bucket,
                    random_key(object_key, STAGE_MARK) if stage else object_key,
                    settings=self.config.upload,
                    verify=mode,
                    parameters=parameters,
                    conditions=transfer.conditions.Conditions() if stage else conditions,
                )
                if not stage:
                    return _finish(op, upload.run(allow_empty=allow_empty))
                staged, target = (bucket, upload.key), (bucket, object_key)
                copy = self._copy(op, staged, target, mode, conditions)
                return _finish(
                    op, transfer.stage.upload_staged(upload, copy, allow_empty=allow_empty)
                )

    def copy_object(
        self,
        src_bucket: str,
        src_key: str,
        dst_bucket: str,
        dst_key: str,
        verify_checksum: bool | str = True,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Receipt:
        """Copy an object within the store, and prove that the copy has the source's bytes.

        The server copies; content headers and metadata go along. The proof is the ETag where the
        copy was made in the source's own parts, or where :meth:`examine_endpoint` saw the server
        compute it for a copy. Otherwise the copy is read back once, since many servers carry an
        ETag over without looking at the bytes.

        Args:
            src_bucket: bucket of the source.
            src_key: key of the source.
            dst_bucket: bucket of the copy.
            dst_key: key of the copy; an object that is there is replaced.
            verify_checksum: ``"strict"`` (or True); ``"available"`` does not read a copy back
                only to prove it; ``"off"`` (or False) accepts the server's word.
            if_absent: only if there is no object under ``dst_key``.
            if_match: only if the object under ``dst_key`` has this ETag. See
                :meth:`upload_object`.

        Raises:
            ObjectClerkParameterException: source and copy are the same object.
            ObjectNotFoundException: there is no such source.
            ObjectVerificationException: the copy differs. It is removed again where it is surely
                ours: in a bucket with versions whose server names the version it made.
            DestinationExists: ``if_absent`` was given, and there is an object.
            PreconditionFailed: ``if_match`` was given, and it does not hold.
            UnsupportedError: the server was not seen to honour such a condition; nothing was sent.
            ObjectChanged: the source was replaced underway.
        """
        source = (src_bucket, src_key)
        target = (dst_bucket, dst_key)
        with self._operation("copy_object", *target) as op:
            conditions = transfer.conditions.Conditions(if_absent, if_match)
            copy = self._copy(op, source, target, Verification.of(verify_checksum), conditions)
            receipt, _ = copy.run()
            return _finish(op, receipt)

    def move_object(
        self,
        src_bucket: str,
        src_key: str,
        dst_bucket: str,
        dst_key: str,
        verify_checksum: bool | str = True,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        source_guard: str = "check",
    ) -> Receipt:
        """Copy an object, prove the copy, and delete the source.

        The source is deleted only if it is still what was copied. A crash at any point leaves
        the source or the proved copy, or both; running the move again is safe.

        Args:
            src_bucket: bucket of the source.
            src_key: key of the source.
            dst_bucket: bucket of the copy.
            dst_key: key of the copy; an object that is there is replaced.
            verify_checksum: as for :meth:`copy_object`.
            if_absent: as for :meth:`copy_object`.
            if_match: as for :meth:`copy_object`.
            source_guard: what to do where the server cannot delete the source on the condition
                that it is still what was copied: ``"check"`` looks at it again just before, and
                the receipt states the window; ``"require"`` keeps it and raises MoveIncomplete;
                ``"tombstone"`` puts an empty object in its place on condition, which readers may
                see, and deletes that.

        Raises:
            MoveIncomplete: the copy is proved, but the source could not be deleted.
            ObjectChanged: the source was replaced underway, and kept.
            ObjectClerkException: as for :meth:`copy_object`; the source is kept.
        """
        source = (src_bucket, src_key)
        target = (dst_bucket, dst_key)
        with self._operation("move_object", *target) as op:
            guard = _one_of(transfer.move.SourceGuard, "source_guard", source_guard)
            conditions = transfer.conditions.Conditions(if_absent, if_match)
            copy = self._copy(op, source, target, Verification.of(verify_checksum), conditions)
            return _finish(op, transfer.move.move(op, copy, guard))

    def delete_object(
        self,
        bucket: str,
        object_key: str,
        *,
        version_id: str | None = None,
        if_match: str | None = None,
    ) -> None:
        """Delete an object. That there is none is no error.

        In a bucket with versions this leaves a delete marker, and the versions stay;
        ``version_id`` deletes one of them for good.

        Args:
            bucket: the bucket.
            object_key: the key.
            version_id: the version to delete for good.
            if_match: delete it only if its ETag is this one, which the server compares in the step
                that deletes. It is looked at right before each attempt: after an answer that was
                lost only what the first attempt saw is deleted, not the same bytes written anew.

        Raises:
            BucketNotFoundException: there is no such bucket.
            PreconditionFailed: ``if_match`` was given, and the ETag is another. It was kept.
            UnsupportedError: ``if_match`` was given, and the server was not seen to honour it, or
                does not know the ETag of this object. Nothing was deleted.
        """
        with self._operation("delete_object", bucket, object_key) as op:
            version = _version(version_id)
            if if_match is None:
                transfer.delete.delete(op, self._connection, bucket, object_key, version)
            else:
                meant = transfer.delete.Generation.of(if_match)
                if version is not None:
                    raise ObjectClerkParameterException(
                        "if_match is about the latest version: give it or version_id, not both"
                    )
                self._delete_meant(op, bucket, object_key, meant)
            op.finished(None)

    def _delete_unchanged(self, bucket: str, object_key: str, meant: Generation) -> None:
        """Delete an object of which more is known than its ETag: what a store needs."""
        with self._operation("delete_object", bucket, object_key) as op:
            self._delete_meant(op, bucket, object_key, meant)
            op.finished(None)

    def delete_objects(self, bucket: str, object_keys: Iterable[str]) -> list[DeleteOutcome]:
        """Delete many objects, a thousand to a request.

        Args:
            bucket: the bucket.
            object_keys: the keys; one that is not there is no error.

        Returns:
            an outcome for each key, in the order given, each key once.

        Raises:
            DeleteIncomplete: some were not deleted; its ``outcomes`` tell for each key.
        """
        if isinstance(object_keys, str) or not isinstance(object_keys, Iterable):
            raise ObjectClerkTypeException(
                f"object_keys is an iterable of keys, not {type(object_keys).__name__}"
            )
        keys = [check_key(key) for key in object_keys]
        with self._operation("delete_objects", bucket, None) as op:
            outcomes = transfer.delete.delete_many(op, self._connection, bucket, keys)
            op.finished(None)
            return outcomes

    # -- looking after the store -----------------------------------------------------------

    def examine_endpoint(self, bucket: str, prefix: str | None = None) -> dict[str, str]:
        """Find out what the server really does with conditions, checksums, parts and copies.

        About fifty small requests. Objects of a few bytes are made under a random name and
        removed again, whatever happens. What was found stays known in :attr:`endpoint`, whose
        ``findings()`` and ``advice()`` tell what it means.

        Args:
            bucket: a bucket in which objects may be written, read and deleted.
            prefix: what the keys of these objects begin with, by default ``probe_prefix``.

        Returns:
            the finding for each feature, as text.

        Raises:
            BucketNotFoundException: there is no such bucket.
            ObjectClerkServerAuthException: nothing may be written there.
        """
        prefix = self.config.probe_prefix if prefix is None else prefix
        with self._operation("examine_endpoint", bucket, prefix) as op:
            inquiry = transfer.multipart.Inquiry(op, self._connection)
            self.endpoint.examine(inquiry.ask, inquiry.insist, bucket, prefix)
            key = f"{prefix}digests"
            self.endpoint.learn(inquiry.ask, inquiry.insist, bucket, key)
            inquiry = transfer.multipart.Inquiry(op, self._connection)
            self.endpoint.learn_crc64nvme(inquiry.ask, inquiry.insist, bucket, key)
            op.finished(None)
            return self.endpoint.report()

    def list_uploads(self, bucket: str, prefix: str | None = None) -> Iterator[UnfinishedUpload]:
        """The multipart uploads that were begun and never ended, fetched page by page.

        Their parts take room and cost money, and no listing of objects shows them. The first
        page is fetched at once, so errors show here.

        Args:
            bucket: the bucket.
            prefix: only uploads to keys that begin with it.
        """
        check_bucket(bucket)
        if prefix is not None:
            check_unicode("prefix", prefix)
        return transfer.uploads.Uploads(
            self._new_listing("list_uploads", bucket), self._connection, bucket, prefix
        )

    def sweep_uploads(
        self,
        bucket: str,
        prefix: str | None = None,
        *,
        older_than_s: float = 86400,
        dry_run: bool = False,
    ) -> list[SweptUpload]:
        """Remove what crashed uploads have left: unfinished parts, and temporary objects.

        Temporary objects are those of ``upload_object(stage=True)`` and scratch objects of
        :meth:`examine_endpoint`; to find them all keys are listed. An upload that is still at work
        looks like one that crashed, so ``older_than_s`` has to be longer than any upload takes.
        Ages are told by the server's clock.

        Args:
            bucket: the bucket.
            prefix: only keys that begin with it.
            older_than_s: seconds since the upload was begun; younger ones are never touched. 0
                takes all, those at work too.
            dry_run: only tell what would be removed.

        Returns:
            an outcome for each leftover that is old enough.

        Raises:
            DeleteIncomplete: some were not removed; its ``outcomes`` tell for each.
        """
        age_s = _age(older_than_s)
        if prefix is not None:
            check_unicode("prefix", prefix)
        with self._operation("sweep_uploads", bucket, None) as op:
            outcomes = transfer.uploads.sweep(
                op,
                self._connection,
                self._new_listing("sweep_uploads", bucket),
                bucket,
                prefix,
                older_than_s=age_s,
                dry_run=dry_run,
            )
            op.finished(None)
            return outcomes

    # -- buckets and versions --------------------------------------------------------------

    def list_buckets(self) -> list[dict[str, Any]]:
        """The buckets that the keys may see, by name: S3's own entries, Name and CreationDate."""
        op = self._new_operation("list_buckets", "", None)
        return transfer.buckets.list_buckets(op, self._connection)

    def create_bucket(self, bucket: str, *, exist_ok: bool = False) -> None:
        """Make a bucket, in the region of the clerk.

        Args:
            bucket: its name.
            exist_ok: whether it may be there already, if it belongs to the same account.

        Raises:
            DestinationExists: it is there already.
        """
        with self._operation("create_bucket", bucket, None) as op:
            transfer.buckets.create_bucket(op, self._connection, bucket, exist_ok=exist_ok)
            op.finished(None)

    def delete_bucket(self, bucket: str) -> None:
        """Delete a bucket, which must be empty.

        Raises:
            BucketNotFoundException: there is no such bucket.
            ObjectClerkOperationException: it is not empty (code ``BucketNotEmpty``).
        """
        with self._operation("delete_bucket", bucket, None) as op:
            transfer.buckets.delete_bucket(op, self._connection, bucket)
            op.finished(None)

    def list_versions(self, bucket: str, prefix: str | None = None) -> Iterator[dict[str, Any]]:
        """The versions and delete markers of a bucket by key, of each key the latest first.

        The first page is fetched at once, so errors show here.

        Args:
            bucket: the bucket.
            prefix: only keys that begin with it.

        Returns:
            an iterator of S3's own entries: Key, VersionId, IsLatest, LastModified, and of
            versions Size and ETag; delete markers have ``"IsDeleteMarker": True``.
        """
        check_bucket(bucket)
        if prefix is not None:
            check_unicode("prefix", prefix)
        return transfer.versions.Versions(
            self._new_listing("list_versions", bucket),
            self._connection,
            bucket,
            prefix,
            Prefix=prefix,
            MaxKeys=transfer.versions.PAGE_SIZE,
        )

    # -- signing ---------------------------------------------------------------------------

    def presign_get(
        self,
        bucket: str,
        object_key: str,
        expires_in_s: int = 3600,
        *,
        version_id: str | None = None,
    ) -> str:
        """A URL with which anybody can read the object until it expires. No request is made.

        Args:
            bucket: the bucket.
            object_key: the key.
            expires_in_s: seconds of life, 1 to 604800 (a week).
            version_id: a version other than the current one.
        """
        return self._presign(
            "get_object", bucket, object_key, expires_in_s, VersionId=_version(version_id)
        )

    def presign_put(
        self,
        bucket: str,
        object_key: str,
        expires_in_s: int = 3600,
        *,
        content_type: str | None = None,
    ) -> str:
        """A URL with which anybody can write the object until it expires. No request is made.

        Args:
            bucket: the bucket.
            object_key: the key.
            expires_in_s: seconds of life, 1 to 604800 (a week).
            content_type: if given, the upload must state this media type.
        """
        return self._presign(
            "put_object", bucket, object_key, expires_in_s, ContentType=content_type
        )

    def _presign(
        self, method: str, bucket: str, key: str, expires_in_s: int, **parameters: str | None
    ) -> str:
        with self._operation(f"presign_{method[:3]}", bucket, key, announce=False) as op:
            if not 0 < (_positive("expires_in_s", expires_in_s) or 0) <= LONGEST_PRESIGNED_S:
                raise ObjectClerkParameterException(
                    f"expires_in_s is 1 to {LONGEST_PRESIGNED_S} seconds (a week)"
                )
            given = {name: value for name, value in parameters.items() if value is not None}
            try:
                return self.client.generate_presigned_url(
                    method,
                    Params={"Bucket": bucket, "Key": key, **given},
                    ExpiresIn=expires_in_s,
                )
            except ObjectClerkException:
                raise
            except Exception as error:
                raise translate(error, op.name, bucket, key) from error

    # -- shared ----------------------------------------------------------------------------

    def _new_operation(self, name: str, bucket: str, key: str | None) -> Operation:
        return Operation(
            name,
            bucket,
            key,
            self.config.patience,
            self._connection.budget,
            self._listeners,
            self._connection.recover,
        )

    def _new_listing(self, name: str, bucket: str) -> Callable[[], Operation]:
        """Each page of a listing is an operation of its own, with the full deadline."""
        return lambda: self._new_operation(name, bucket, None)

    @contextlib.contextmanager
    def _operation(
        self, name: str, bucket: str, key: str | None, *, announce: bool = True
    ) -> Iterator[Operation]:
        """Check the names, announce the operation, and announce it if it fails."""
        op = self._new_operation(name, bucket, key)
        op.listeners = self._listeners if announce else ()
        try:
            check_bucket(bucket)
            if name not in _WITHOUT_KEY:
                check_key(key)
            op.started()
            yield op
        except ObjectClerkException as error:
            error.concerning(name, bucket, key)
            op.failed(error)
            raise
        except Exception as error:
            found = translate(error, name, str(bucket), key)
            op.failed(found)
            raise found from error

    def _head(self, op: Operation, bucket: str, key: str, version_id: str | None) -> dict[str, Any]:
        return request(
            op,
            self._connection,
            "head_object",
            Bucket=bucket,
            Key=key,
            VersionId=_version(version_id),
        )

    def _delete_meant(self, op: Operation, bucket: str, key: str, meant: Generation) -> None:
        if not transfer.delete.delete_unchanged(op, self._connection, bucket, key, meant):
            # The answer to a HEAD has no body that would tell a bucket from a key.
            self._check_bucket_exists(op, bucket)

    def _check_bucket_exists(self, op: Operation, bucket: str) -> None:
        try:
            request(op, self._connection, "head_bucket", Bucket=bucket)
        except ObjectNotFoundException as error:
            raise BucketNotFoundException(
                "there is no such bucket", status=error.status, request_id=error.request_id
            ) from error
        except ObjectClerkException:
            return  # we may not look at the bucket, but it was said that the key is missing

    def _accepted(self, method: str, extra_args: Mapping[str, Any] | None) -> dict[str, Any]:
        """``extra_args`` if S3 knows all of them, and none is for the clerk to decide."""
        if extra_args is None:
            self._connection.client  # noqa: B018 - a closed clerk says so before it reads anything
            return {}
        if not (
            isinstance(extra_args, Mapping) and all(isinstance(name, str) for name in extra_args)
        ):
            raise ObjectClerkTypeException("extra_args is a dict with the names S3 uses")
        given = dict(extra_args)
        accepted = self._connection.accepted(method, given)
        ours = {name for name in given if name in _OURS or name.startswith("Checksum")}
        for name in given.keys() - accepted.keys() | ours:
            raise ObjectClerkParameterException(
                f"extra_args of {method} cannot have {name!r}: see the arguments of the call, "
                "or clerk.client for all that S3 does"
            )
        self._connection.check_parameters(method, accepted)
        return accepted

    def _download(
        self,
        op: Operation,
        verify: bool | str,
        version_id: str | None,
        extra_args: Mapping[str, Any] | None,
    ) -> Download:
        mode = Verification.of(verify)
        parameters = self._accepted("get_object", extra_args)
        if version_id is not None:
            parameters["VersionId"] = _version(version_id)
        return transfer.download.Download(
            op,
            self._connection,
            op.bucket,
            op.key or "",
            settings=self.config.download,
            own_part_size=self.config.upload.part_size_bytes,
            verify=mode,
            parameters=parameters,
        )

    def _copy(
        self,
        op: Operation,
        source: tuple[str, str],
        target: tuple[str, str],
        verify: Verification,
        conditions: Conditions,
    ) -> Copy:
        check_bucket(source[0])
        check_key(source[1])
        return transfer.copy.Copy(
            op,
            self._connection,
            source,
            target,
            settings=self.config.upload,
            verify=verify,
            conditions=conditions,
        )


def _finish(op: Operation, receipt: Receipt) -> Receipt:
    op.finished(receipt)
    return receipt


def _receipt_listener(on_receipt: Callable[[Receipt], None]) -> events.Listener:
    def listen(event: events.Event) -> None:
        if isinstance(event, events.Finished) and event.receipt is not None:
            on_receipt(event.receipt)

    return listen


def _one_of(kind: type[E], name: str, value: object) -> E:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(each.value) for each in kind)
        raise ObjectClerkParameterException(f"{name} is one of {known}") from None


def _version(version_id: str | None) -> str | None:
    """The version, if any; an empty one would silently mean the current object."""
    return None if version_id is None else check_text("version_id", version_id)


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ObjectClerkParameterException(f"{name} is a whole number, at least 1")
    return value


def _age(older_than_s: float) -> float:
    if isinstance(older_than_s, bool) or not isinstance(older_than_s, (int, float)):
        raise ObjectClerkTypeException("older_than_s is a number of seconds")
    if not older_than_s >= 0:
        raise ObjectClerkParameterException("older_than_s is a number of seconds, at least 0")
    return older_than_s


def _rebuild(
    config: ClerkConfig,
    on_receipt: Callable[[Receipt], None] | None,
    on_event: events.Listener | None,
) -> ObjectClerk:
    return ObjectClerk(config=config, on_receipt=on_receipt, on_event=on_event)
