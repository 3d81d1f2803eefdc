"""The one place that builds a boto3 client, and the one door through which requests go."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.session
from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ParamValidationError
from botocore.loaders import Loader, create_loader
from botocore.validate import validate_parameters

from object_clerk.endpoint import Endpoint
from object_clerk.exceptions import (
    Failure,
    ObjectClerkConfigurationException,
    ObjectClerkException,
    translate,
)
from object_clerk.lane import FastLane
from object_clerk.lane.moment import moment
from object_clerk.lane.wire import ask_for_checksums
from object_clerk.locks import ForkSafeLock
from object_clerk.retry import Operation, RetryBudget, retried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import StructureShape
    from types_boto3_s3 import S3Client

    from object_clerk.config import ClerkConfig

log = logging.getLogger(__name__)

#: Every S3 client needs a region to sign for; most private stores do not care which.
FALLBACK_REGION = "us-east-1"


#: The name under which botocore finds the signer below.
SHIFTED = "s3v4-shifted"


class _ShiftedSigner(S3SigV4Auth):
    """Signs with the server's time; botocore itself always takes this machine's."""

    def _modify_request_before_signing(self, request: Any) -> None:
        ahead = datetime.timedelta(seconds=request.context.get(SHIFTED, 0.0))
        now = datetime.datetime.now(datetime.UTC) + ahead
        request.context["timestamp"] = now.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]


AUTH_TYPE_MAPS[SHIFTED] = _ShiftedSigner


class Connection:
    """A boto3 client made from a :class:`~object_clerk.config.ClerkConfig`, when first used.

    Safe to share between threads. A forked or unpickled copy builds a client of its own, since
    sockets and locks must not be shared between processes.
    """

    def __init__(self, config: ClerkConfig) -> None:
        self.config = config
        self.endpoint = Endpoint()
        self.botocore_config = _botocore_config(config)
        self._client: S3Client | None = None
        self._lane: FastLane | None = None
        self._pid = 0
        self._lock = ForkSafeLock()
        self._closed = False
        self._warned: set[str] = set()
        self._clock_ahead_s = 0.0

    @property
    def client(self) -> S3Client:
        """The boto3 client.

        Raises:
            ObjectClerkConfigurationException: the settings make no client, or :meth:`close` was
                called.
        """
        client = self._client
        if client is not None and self._pid == os.getpid():
            return client
        with self._lock:
            if self._closed:
                raise ObjectClerkConfigurationException("this ObjectClerk was closed")
            if self._client is None or self._pid != os.getpid():
                self._client = self._build()
                self._pid = os.getpid()
            return self._client

    def close(self) -> None:
        """Close all connections. The client cannot be used afterwards."""
        with self._lock:
            self._closed = True
            if self._client is not None and self._pid == os.getpid():
                self._client.close()
                if self._lane is not None:
                    self._lane.close_idle()
            self._client = self._lane = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Connection, (self.config,)

    @property
    def budget(self) -> RetryBudget:
        """The retry budget of this endpoint, shared by the whole process."""
        return RetryBudget.shared(self.config.endpoint_url or "aws")

    def _build(self) -> S3Client:
        config = self.config
        if config.ca_bundle is not None and not Path(config.ca_bundle).exists():
            raise ObjectClerkConfigurationException(f"there is no CA bundle {config.ca_bundle}")
        try:
            # A session of its own: boto3's default session is not safe to use from threads.
            core = botocore.session.get_session()
            # By default dateutil reads times, which takes two thirds of a listing by boto3.
            core.get_component("response_parser_factory").set_parser_defaults(
                timestamp_parser=moment
            )
            loader = _loader(core.get_config_variable("data_path"))
            core.register_component("data_loader", loader)
            session = boto3.session.Session(botocore_session=core)
            # boto3 adds its own directory for every session.
            loader.search_paths[:] = dict.fromkeys(loader.search_paths)
            verify = (
                config.ca_bundle
                or core.get_config_variable("ca_bundle")
                or os.environ.get("REQUESTS_CA_BUNDLE")
            )
            region = config.region_name or session.region_name or FALLBACK_REGION
            client = session.client(
                "s3",
                endpoint_url=config.endpoint_url,
                region_name=region,
                aws_access_key_id=config.access_key,
                aws_secret_access_key=config.secret_key,
                aws_session_token=config.session_token,
                verify=verify,
                config=self.botocore_config,
            )
        except ValueError as error:
            raise ObjectClerkConfigurationException(str(error)) from error
        except BotoCoreError as error:
            raise translate(error, "connect") from error
        client.meta.events.register("before-call.s3.DeleteObjects", _add_content_md5)
        client.meta.events.register("before-call.s3.GetObject", _ask_for_checksums)
        client.meta.events.register("before-send.s3", _announce_sending)
        client.meta.events.register("choose-signer.s3", self._choose_signer)  # type: ignore[arg-type]
        client.meta.events.register("before-sign.s3", self._set_clock)
        if config.fast_lane:
            self._lane = FastLane.beside(client, _keys(config, session), verify or True)
        return client

    def _choose_signer(self, signature_version: Any, **_: Any) -> str | None:
        """Sign by the server's clock once ours is known to be wrong; not what is presigned."""
        return SHIFTED if self._clock_ahead_s and signature_version == "s3v4" else None

    def _set_clock(self, request: Any, **_: Any) -> None:
        request.context[SHIFTED] = self._clock_ahead_s

    def call(self, op: Operation, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Make one request, once.

        Args:
            op: the operation it belongs to.
            method: the client's method, such as ``head_object``.
            **parameters: S3's parameters; those that are None are left out.

        Raises:
            ObjectClerkException: what boto3 raised, translated.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            response = self._answer(method, given)
        except ObjectClerkException:
            raise
        except Exception as error:
            found = translate(error, op.name, op.bucket, op.key)
            if found.failure is Failure.CREDENTIALS and self.config.access_key is not None:
                found.failure = Failure.FINAL  # fixed keys do not get fresher
            raise found from error
        op.saw(response)
        return response

    def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        client = self.client  # first: it makes the lane too
        lane = self._lane  # another thread may take it away, to ask for fresh credentials
        if lane is not None:
            answer = lane.call(method, parameters, self._clock_ahead_s)
            if answer is not None:
                return answer
        return cast("dict[str, Any]", getattr(client, method)(**parameters))

    def warn_once(self, text: str) -> None:
        """Log a warning unless this very one was logged before; one clerk, one endpoint."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s: %s", self.config.endpoint_url or "AWS", text)

    def recover(self, error: ObjectClerkException) -> None:
        """Do what may help the next attempt."""
        if error.failure is Failure.CREDENTIALS:
            with self._lock:
                if self._lane is not None:
                    self._lane.close_idle()
                self._client = self._lane = None  # a new client asks the credential chain again
        elif error.failure is Failure.CLOCK:
            self._clock_ahead_s = error.clock_ahead_s or 0.0
            self.warn_once("this machine's clock is wrong: requests are signed by the server's")
        elif error.failure is Failure.INTEGRITY:
            self.client.close()  # idle connections only: the next attempt takes a fresh one
            if self._lane is not None:
                self._lane.close_idle()

    def accepted(self, method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``parameters`` that a request of the client takes."""
        members = self._shape(method).members
        return {key: value for key, value in parameters.items() if key in members}

    def check_parameters(self, method: str, parameters: Mapping[str, Any]) -> None:
        """Raise what boto3 would say of the values of ``parameters``, before any request."""
        shape = self._shape(method)
        rest = dict.fromkeys(shape.required_members, "-")
        try:
            validate_parameters({**rest, **parameters}, shape)
        except ParamValidationError as error:
            raise translate(error, method) from error

    def _shape(self, method: str) -> StructureShape:
        name = self.client.meta.method_to_api_mapping[method]
        shape = self.client.meta.service_model.operation_model(name).input_shape
        assert shape is not None
        return shape


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """What reads botocore's description of S3, which takes most of the time to make a client.

    It keeps what it has read, for all clients of the process, as that of boto3's default session.
    """
    return create_loader(data_path)


@retried
def request(
    op: Operation, connection: Connection, method: str, /, **parameters: Any
) -> dict[str, Any]:
    """Make one request, repeated as the policy of ``op`` says; see :meth:`Connection.call`."""
    return connection.call(op, method, **parameters)


def _keys(config: ClerkConfig, session: boto3.session.Session) -> Credentials | None:
    """The keys of the client; they renew themselves where they come from botocore's chain."""
    if config.access_key is not None and config.secret_key is not None:
        return Credentials(config.access_key, config.secret_key, config.session_token)
    return session.get_credentials()


def _botocore_config(config: ClerkConfig) -> Config:
    """The settings of the boto3 client, those of ``S3_CLIENT_CONFIG`` winning over ours.

    Raises:
        ObjectClerkConfigurationException: botocore does not take one of them.
    """
    workers = max(config.upload.workers, config.download.workers)
    settings: dict[str, Any] = {
        "signature_version": "s3v4",
        # A part must not wait for a connection that another part holds.
        "max_pool_connections": max(10, workers + 2),
        # Trailing checksums fail on many stores, and a checksum that is not known to be checked
        # proves nothing. Uploads carry Content-MD5 instead, and downloads are verified here.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        **config.client_config,
        # Retrying is the work of retry.py alone: two layers would multiply their attempts.
        "retries": {"total_max_attempts": 1},
    }
    try:
        return Config(**settings)
    except Exception as error:
        raise ObjectClerkConfigurationException(f"client_config: {error}") from error


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Give DeleteObjects the Content-MD5 that older stores insist on."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _ask_for_checksums(params: dict[str, Any], **_: Any) -> None:
    ask_for_checksums(params["headers"])


def _announce_sending(request: Any, **_: Any) -> None:
    """Tell a body that it is now read to be sent, not to be signed."""
    begin = getattr(request.body, "begin_sending", None)
    if begin is not None:
        begin()
