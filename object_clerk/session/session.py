"""Sessions: the verbs, for the objects of one scope of one usecase."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from object_clerk.exceptions import ObjectClerkParameterException, ObjectClerkTypeException
from object_clerk.session import resumable, transport, wire
from object_clerk.session.channel import Channel
from object_clerk.session.contents import Contents
from object_clerk.session.errors import ExpiryExtensionRejected, ObjectNotFound, RequestError
from object_clerk.session.metadata import Metadata, metadata_of
from object_clerk.session.multipart import MultipartUpload
from object_clerk.session.opening import opened, span_of
from object_clerk.session.outgoing import Outgoing
from object_clerk.session.putting import described, held_against, packs
from object_clerk.session.usecase import check_compression, check_threshold
from object_clerk.session.utils import parse_accept_encoding
from object_clerk.session.zstd import ZSTD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from object_clerk.session.auth import Permission, SecretKey
    from object_clerk.session.client import Client
    from object_clerk.session.contents import Given
    from object_clerk.session.metadata import Compression, ExpirationPolicy
    from object_clerk.session.payload import GetResponse
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
        self._channel = Channel(client, usecase, scope)

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
        where it stands; it is never sent twice. If the put fails, a file that can be rewound stands
        where it stood before, so that it can be put again.

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
        compressing = packs(self._usecase, compression, compress, precompressed)
        headers = described(
            self._usecase,
            content_type=content_type,
            compression=ZSTD if compressing or precompressed else None,
            metadata=metadata,
            expiration_policy=expiration_policy,
            origin=origin,
            filename=filename,
        )
        threshold = self._usecase.resumable_threshold_bytes
        if resumable_threshold_bytes is not None:
            threshold = check_threshold(resumable_threshold_bytes)
        channel = self._channel
        method, path = channel.place(key)
        call = channel.call("put", key or None)
        with call.underway(), Contents(contents).rewound_on_failure() as source:
            outgoing = Outgoing(source, compress=compressing, encoded=precompressed)
            stored = None
            if threshold is not None and source.size is not None and source.size >= threshold:
                stored = resumable.put(channel, key or None, headers, outgoing)
            if stored is None:
                answer = channel.asked(method, path, {**headers, **outgoing.headers}, outgoing)
                stored = answer.stored(key)
            finding = held_against(stored, outgoing)
        call.sizes(outgoing.raw_size, outgoing.stored_size if compressing else None)
        call.key = stored.key
        call.finished(call.receipt(outgoing.stored_size, finding))
        return stored.key

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
        headers = described(
            self._usecase,
            content_type=content_type,
            compression=packed,
            metadata=metadata,
            expiration_policy=expiration_policy,
            origin=origin,
            filename=filename,
        )
        method, path = self._channel.place(key, wire.MULTIPART)
        with self._channel.doing("initiate_multipart_upload", key or None) as call:
            answer = self._channel.asked(method, path, headers)
            call.key = answer.stored(key).key
            started = answer.parsed(wire.MultipartStarted.from_json)
        return MultipartUpload(self._channel, started.key, started.upload_id)

    def resume_multipart_upload(self, key: str, upload_id: str) -> MultipartUpload:
        """Go on with an upload that was begun before, maybe by another process."""
        return MultipartUpload(self._channel, wire.check_session_key(key), upload_id)

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
        span = span_of(begin, end)
        if isinstance(accept_encoding, str):
            accept_encoding = parse_accept_encoding(accept_encoding)
        accepted = {each.lower() for each in accept_encoding or ()}
        path = self._channel.object(key)
        call = self._channel.call("get", key)
        with call.underway():
            response = self._channel.ask("GET", path, {} if span is None else {"range": str(span)})
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise transport.read(response).refused()
            try:
                return opened(call, response, span, accepted=accepted, decompress=decompress)
            except BaseException:
                transport.discard(response)
                raise

    def head(self, key: str) -> Metadata | None:
        """What is known of an object; None if there is none. It counts as an access."""
        path = self._channel.object(key)
        with self._channel.doing("head", key):
            answer = transport.read(self._channel.ask("HEAD", path))
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            return metadata_of(answer.good().headers, answer=True, lenient=True)

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
        url = self._client._transport.base_url + self._channel.object(key)
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
        path = transport_.prefix + self._channel.object(key)
        return f"{transport_.origin}{path}?{presigned_query(signer, path, duration)}"

    def _key(self, what: str) -> SecretKey:
        token = self._client._token
        if token is None or isinstance(token, str):
            raise ObjectClerkParameterException(
                f"{what} needs a key that signs: give the client a TokenGenerator"
            )
        return token

    # -- requests ------------------------------------------------------------------------------

    def _simple(
        self,
        name: str,
        method: str,
        key: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes | memoryview] | None = None,
    ) -> None:
        """A verb that is one request about one object."""
        path = self._channel.object(key)
        with self._channel.doing(name, key):
            self._channel.asked(method, path, headers, body)
