"""Sessions: the verbs, for the objects of one scope of one usecase."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from object_clerk.exceptions import (
    ObjectClerkParameterException,
    ObjectClerkTypeException,
    ObjectVerificationException,
    UnsupportedError,
)
from object_clerk.names import check_span
from object_clerk.receipt import Finding, Receipt, Verdict
from object_clerk.session import metadata as described
from object_clerk.session import resumable, transport, wire
from object_clerk.session.contents import Contents, Outgoing
from object_clerk.session.errors import ExpiryExtensionRejected, ObjectNotFound, RequestError
from object_clerk.session.metadata import OCTETS, Metadata
from object_clerk.session.metrics import Call
from object_clerk.session.multipart import MultipartUpload
from object_clerk.session.payload import GetResponse, Incoming, Payload, Proof
from object_clerk.session.usecase import check_compression, check_policy, check_threshold
from object_clerk.session.utils import parse_accept_encoding
from object_clerk.session.zstd import ZSTD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import urllib3

    from object_clerk.session.auth import Permission, SecretKey
    from object_clerk.session.client import Client
    from object_clerk.session.contents import Given
    from object_clerk.session.metadata import Compression, ExpirationPolicy
    from object_clerk.session.scope import Scope
    from object_clerk.session.usecase import Usecase


class Session:
    """The objects of one scope. Made by :meth:`Client.session`; threads may share it.

    What the server refuses raises RequestError, and what never reached it or broke off raises
    urllib3's own exceptions.
    """

    def __init__(self, client: Client, usecase: Usecase, scope: Scope) -> None:
        self._client = client
        self._usecase = usecase
        self._scope = scope

    def __repr__(self) -> str:
        return f"Session({self._usecase.name!r}, {str(self._scope)!r})"

    # -- writing -------------------------------------------------------------------------------

    def put(
        self,
        contents: Given,
        key: str | None = None,
        compression: Compression | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expiration_policy: ExpirationPolicy | None = None,
        origin: str | None = None,
        *,
        filename: str | None = None,
        compress: bool | None = None,
        precompressed: bool = False,
        resumable_threshold_bytes: int | Literal["none"] | None = None,
    ) -> str:
        """Store an object, and replace the one that has this key.

        It is stored whole or not at all. A stream is sent as it is read, in bounded memory, from
        where it stands; it is never sent twice.

        Args:
            contents: bytes or anything with their buffer, or a binary file.
            key: its key; the server chooses one if it is None or empty.
            compression: ``"zstd"`` or ``"none"``; the usecase's if None.
            content_type: its media type.
            metadata: names and values of your own. Names come back in lower case.
            expiration_policy: when it expires by itself; the usecase's if None.
            origin: where it was obtained from, such as an IP address.
            filename: what browsers are to call it.
            compress: True for ``compression="zstd"``, False for ``"none"``.
            precompressed: the contents are zstd frames already: readers get what is in them.
            resumable_threshold_bytes: contents of at least so many bytes are sent by a resumable
                upload, if their length is known; the usecase's if None.

        Returns:
            its key.

        Raises:
            RequestError: the server refused it.
            ObjectSaveException: the contents cannot be read, or were read to their end before.
            ObjectVerificationException: the server stored something else than was sent.
        """
        packs = self._packs(compression, compress, precompressed)
        headers = self._described(
            content_type=content_type,
            compression=ZSTD if packs or precompressed else None,
            metadata=metadata,
            expiration_policy=expiration_policy,
            origin=origin,
            filename=filename,
        )
        threshold = self._usecase.resumable_threshold_bytes
        if resumable_threshold_bytes is not None:
            threshold = check_threshold(resumable_threshold_bytes)
        path = self._object(key) if key else self._collection()
        call = self._call("put", key or None)
        source = Contents(contents)
        outgoing = Outgoing(source, compress=packs, encoded=precompressed)
        with call.underway():
            stored = None
            if threshold is not None and source.size is not None and source.size >= threshold:
                stored = resumable.put(self, key or None, headers, outgoing)
            if stored is None:
                stored = self._put_whole("PUT" if key else "POST", path, headers, outgoing)
            finding = _held_against(stored, outgoing)
        call.sizes(outgoing.raw_size, outgoing.stored_size if packs else None)
        call.key = stored.key
        call.finished(_receipt(call, stored.key, outgoing.stored_size, finding))
        return stored.key

    def _put_whole(
        self, method: str, path: str, headers: Mapping[str, str], outgoing: Outgoing
    ) -> wire.Stored:
        answer = self._asked(method, path, {**headers, **outgoing.headers}, outgoing.blocks())
        stored = answer.parsed(wire.Stored.from_json)
        if not outgoing.finished:
            raise RequestError(
                "the server said that all is stored before it had all bytes",
                answer.status,
                answer.text,
                answer.headers,
            )
        return stored

    def _packs(self, compression: object, compress: bool | None, precompressed: bool) -> bool:
        """Whether a put compresses, by the one of three arguments that says it."""
        if compression is not None and compress is not None:
            raise ObjectClerkParameterException("give compression or compress, not both")
        if compression is not None:
            chosen = check_compression(compression)
        elif compress is not None:
            chosen = "zstd" if compress else "none"
        else:
            chosen = "none" if precompressed else self._usecase.compression
        if precompressed and chosen != "none":
            raise ObjectClerkParameterException("precompressed contents are not compressed again")
        return chosen == ZSTD

    def _described(
        self,
        *,
        content_type: str | None,
        compression: str | None,
        metadata: Mapping[str, str] | None,
        expiration_policy: ExpirationPolicy | None,
        origin: str | None,
        filename: str | None,
    ) -> dict[str, str]:
        """The headers that describe an object that is put."""
        policy = check_policy(expiration_policy)
        headers = described.headers_of(
            Metadata(
                content_type=OCTETS if content_type is None else content_type,
                compression=compression,
                expiration_policy=self._usecase.expiration_policy if policy is None else policy,
                origin=origin,
                custom=dict(metadata or {}),
                filename=filename,
            )
        )
        if content_type is None:
            del headers["content-type"]
        return headers

    def extend_expiry(
        self,
        key: str,
        *,
        at: datetime | None = None,
        from_creation: timedelta | None = None,
        from_now: timedelta | None = None,
    ) -> None:
        """Let an object live longer; never shorter. Give one of the three.

        Args:
            key: its key.
            at: until when.
            from_creation: how long after it was written.
            from_now: how long from now.

        Raises:
            ObjectNotFound: there is no such object, or it has expired.
            ExpiryExtensionRejected: it never expires, or somebody else changed it in between.
        """
        given = [each for each in (at, from_creation, from_now) if each is not None]
        if len(given) != 1:
            raise ObjectClerkParameterException("give one of at, from_creation, from_now")
        after = from_now if from_creation is None else from_creation
        kind = datetime if after is None else timedelta
        if not isinstance(given[0], kind):
            raise ObjectClerkTypeException(f"that is a {kind.__name__}, not {given[0]!r}")
        extension = wire.Extension(at, after, "now" if from_creation is None else "creation")
        try:
            body, headers = wire.json_body(extension.to_json())
            self._simple("extend_expiry", "PATCH", key, headers, [body])
        except ObjectNotFound:
            raise
        except RequestError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            raise ExpiryExtensionRejected(
                error.message, error.status, error.response, error.headers
            ) from error

    def delete(self, key: str) -> None:
        """Delete an object.

        Raises:
            ObjectNotFound: there is none, and this server says so.
            RequestError: the server refused it.
        """
        self._simple("delete", "DELETE", key)

    def initiate_multipart_upload(
        self,
        *,
        key: str | None = None,
        compression: Compression | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expiration_policy: ExpirationPolicy | None = None,
        origin: str | None = None,
        filename: str | None = None,
    ) -> MultipartUpload:
        """Begin an object that is sent in parts.

        The arguments are those of :meth:`put`, but nothing is compressed here: ``"zstd"`` says that
        the parts together are zstd frames.
        """
        packed = (
            ZSTD if compression is not None and check_compression(compression) == ZSTD else None
        )
        headers = self._described(
            content_type=content_type,
            compression=packed,
            metadata=metadata,
            expiration_policy=expiration_policy,
            origin=origin,
            filename=filename,
        )
        path = self._object(key, wire.MULTIPART) if key else self._collection(wire.MULTIPART)
        call = self._call("initiate_multipart_upload", key or None)
        with call.underway():
            answer = self._asked("PUT" if key else "POST", path, headers)
            started = answer.parsed(wire.MultipartStarted.from_json)
        call.finished()
        return MultipartUpload(self, started.key, started.upload_id)

    def resume_multipart_upload(self, key: str, upload_id: str) -> MultipartUpload:
        """Go on with an upload that was begun before, maybe by another process."""
        return MultipartUpload(self, wire.check_session_key(key), upload_id)

    # -- reading -------------------------------------------------------------------------------

    def get(
        self,
        key: str,
        decompress: bool = True,
        accept_encoding: Collection[str] | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
    ) -> GetResponse:
        """Open an object. Close the payload, or read it to its end.

        Args:
            key: its key.
            decompress: take stored zstd frames apart.
            accept_encoding: encodings that are wanted as they are stored; ``*`` for all.
            begin: the first of the stored bytes, in the manner of slices. With a range, bytes are
                given as they are stored.
            end: the stored byte to stop before; None for all.

        Returns:
            metadata and payload; ``verdict`` and ``basis`` once the payload was read to its end.

        Raises:
            ObjectNotFound: there is no such object, or it has expired.
            RequestError: the server refused it.
            UnsupportedError: it is stored in an encoding other than zstd, which was not accepted,
                or the server knows no ranges.
        """
        span = _span(begin, end)
        if isinstance(accept_encoding, str):
            accept_encoding = parse_accept_encoding(accept_encoding)
        accepted = {each.lower() for each in accept_encoding or ()}
        path = self._object(key)
        call = self._call("get", key)
        with call.underway():
            response = self._ask("GET", path, {} if span is None else {"range": str(span)})
            if not transport.is_good(response.status):
                raise transport.read(response).refused()
            try:
                return self._opened(call, response, accepted, decompress, span)
            except BaseException:
                response.close()
                raise

    def _opened(
        self,
        call: Call,
        response: urllib3.BaseHTTPResponse,
        accepted: Collection[str],
        decompress: bool,
        span: wire.ByteRange | None,
    ) -> GetResponse:
        headers = transport.lower(response)
        partial = response.status == HTTPStatus.PARTIAL_CONTENT
        if partial != (span is not None):
            raise UnsupportedError("the server sent another range than it was asked for")
        try:
            metadata = described.metadata_of(headers, answer=True)
            length = _length(headers, span)
            digest = None if partial else wire.sha256_in(headers.get(wire.REPR_DIGEST, ""))
            content = headers.get(wire.CONTENT_SHA256)
            known = None if content is None else wire.content_sha256_in(content)
        except ValueError as error:
            raise transport.nonsense(error, response.status, headers) from error
        encoding = metadata.compression
        as_stored = not decompress or partial or bool({encoding, "*"} & set(accepted))
        if encoding not in (None, ZSTD) and not as_stored:
            raise UnsupportedError(f"the object is stored as {encoding}: say decompress=False")
        decode = encoding == ZSTD and not as_stored
        if decode:
            metadata.compression = None
        elif encoding is not None or partial:
            known = None  # of other bytes than those that are handed out

        def done(outcome: Finding | Exception, size: int) -> None:
            if isinstance(outcome, Finding):
                assert call.key is not None
                call.finished(_receipt(call, call.key, size, outcome))
            else:
                call.failed(outcome)

        proof = Proof(digest, known, length)
        return GetResponse(metadata, Payload(Incoming(response, proof, decode=decode, done=done)))

    def head(self, key: str) -> Metadata | None:
        """What is known of an object; None if there is none. It counts as an access."""
        try:
            answer = self._simple("head", "HEAD", key)
        except ObjectNotFound:
            return None
        return answer.parsed(lambda _: described.metadata_of(answer.headers, answer=True))

    def exists(self, key: str) -> bool:
        """Whether there is such an object. It counts as an access."""
        return self.head(key) is not None

    # -- tokens and URLs -----------------------------------------------------------------------

    def mint_token(
        self,
        permissions: Iterable[Permission | str] | None = None,
        expiry_seconds: int | None = None,
    ) -> str:
        """A token for this session, to be given to somebody else.

        Args:
            permissions: fewer than the key's own.
            expiry_seconds: another time than the key's own.

        Raises:
            ObjectClerkParameterException: the client has no key, or the key lacks a permission. A
                client with a token gives that one, and cannot change it.
        """
        token = self._client._token
        if isinstance(token, str) and permissions is None and expiry_seconds is None:
            return token
        return self._key("mint_token").sign_for_scope(
            self._usecase.name, self._scope, permissions, expiry_seconds
        )

    def object_url(self, key: str, token_validity: timedelta | None = None) -> str:
        """The absolute URL of an object.

        Args:
            key: its key.
            token_validity: put a token into it that allows to read this scope for so long; None
                for no token.
        """
        url = self._client._transport.base_url + self._object(key)
        if token_validity is None:
            return url
        if not isinstance(token_validity, timedelta) or token_validity < timedelta(seconds=1):
            raise ObjectClerkParameterException("token_validity is a timedelta, at least a second")
        seconds = int(token_validity.total_seconds())
        token = self._key("object_url").sign_for_scope(
            self._usecase.name, self._scope, ["object.read"], seconds
        )
        return f"{url}?{wire.query({wire.TOKEN_PARAMETER: token})}"

    def presigned_object_url(
        self,
        method: Literal["GET", "HEAD"],
        key: str,
        duration: timedelta = timedelta(hours=1),
    ) -> str:
        """An absolute URL that opens one object, for GET and HEAD, to whoever has it.

        Args:
            method: GET or HEAD; a URL for one serves the other too.
            key: its key.
            duration: how long, at most a week.
        """
        if method not in ("GET", "HEAD"):
            raise ObjectClerkParameterException("a presigned URL is for GET or HEAD")
        from object_clerk.session.auth import presigned_query

        signer = self._key("presigned_object_url")
        transport_ = self._client._transport
        path = transport_.prefix + self._object(key)
        return f"{transport_.origin}{path}?{presigned_query(signer, path, duration)}"

    def _key(self, what: str) -> SecretKey:
        token = self._client._token
        if token is None or isinstance(token, str):
            raise ObjectClerkParameterException(
                f"{what} needs a key that signs: give the client a TokenGenerator"
            )
        return token

    # -- requests ------------------------------------------------------------------------------

    def _object(self, key: str | None, prefix: str = wire.OBJECTS) -> str:
        assert key is not None
        return wire.object_path(self._usecase.name, self._scope, key, prefix)

    def _collection(self, prefix: str = wire.OBJECTS) -> str:
        return wire.collection_path(self._usecase.name, self._scope, prefix)

    def _call(self, name: str, key: str | None) -> Call:
        client = self._client
        return Call(
            name,
            self._usecase.name,
            str(self._scope),
            key,
            client._metrics,
            client._listeners,
        )

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[bytes | memoryview] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request with the token of this session; the answer is not read yet."""
        token = self._client._token
        if token is not None:
            signed = (
                token
                if isinstance(token, str)
                else token.sign_for_scope(self._usecase.name, self._scope)
            )
            headers = {**headers, wire.TOKEN: f"Bearer {signed}"}
        return self._client._transport.ask(method, path, headers, body)

    def _asked(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> transport.Answer:
        """The whole answer to one request, if it is a good one.

        Raises:
            RequestError: it is not.
        """
        answer = transport.read(self._ask(method, path, headers or {}, body))
        if not transport.is_good(answer.status):
            raise answer.refused()
        return answer

    def _simple(
        self,
        name: str,
        method: str,
        key: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> transport.Answer:
        """A verb that is one request about one object."""
        path = self._object(key)
        call = self._call(name, key)
        with call.underway():
            answer = self._asked(method, path, headers, body)
        call.finished()
        return answer


def _held_against(stored: wire.Stored, outgoing: Outgoing) -> Finding:
    """What the answer to a put proves."""
    if stored.sha256 is None:
        return Finding(Verdict.NONE, "the server does not say what it stored")
    if stored.sha256 != outgoing.sha256:
        raise ObjectVerificationException(
            "the SHA-256 of what the server stored is not that of what was sent: "
            "the object that it stored is damaged"
        )
    return Finding(Verdict.CONTENT, "SHA-256 of the stored bytes, by the server")


def _receipt(call: Call, key: str, size: int, finding: Finding) -> Receipt:
    return Receipt(
        operation=call.name,
        bucket=call.bucket,
        key=key,
        size=size,
        verdict=finding.verdict,
        basis=finding.basis,
        elapsed_s=call.elapsed_s,
    )


def _span(begin: int, end: int | None) -> wire.ByteRange | None:
    """The range that a slice means; None for all bytes."""
    check_span(begin, end)
    if begin == 0 and end is None:
        return None
    if begin < 0:
        if end is not None:
            raise ObjectClerkParameterException("a range from the end goes up to the end")
        return wire.ByteRange(None, -begin)
    if end is not None and end <= begin:
        raise ObjectClerkParameterException("the range has no bytes in it")
    return wire.ByteRange(begin, None if end is None else end - 1)


def _length(headers: Mapping[str, str], asked: wire.ByteRange | None) -> int | None:
    """How many bytes come, if the server says it.

    Raises:
        ObjectClerkParameterException: it does not make sense, or they are not those asked for.
    """
    if asked is not None:
        span, size = wire.parse_content_range(headers.get("content-range", ""))
        if span.start != asked.first if size is None else span != asked.within(size):
            raise ObjectClerkParameterException(f"{asked} was asked for, and {span} came")
        return len(span)
    text = headers.get("content-length")
    return None if text is None else wire.parse_count(text, "content-length")
