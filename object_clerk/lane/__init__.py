"""The fast lane: plain requests, made without boto3's layers.

boto3 takes about a millisecond of CPU for a small request, the lane a tenth of it. It stands
beside one boto3 client: credentials, region, endpoint, addressing, TLS, timeouts and the shape of
requests and answers are all botocore's. What it does itself is to sign, to send over the standard
library's HTTP, and to read the answer. Whatever is out of the ordinary is left to boto3, before
anything is sent: parameters that need more than a header, proxies, client certificates, other
signatures than version 4, checksums that boto3 is to compute or compare, and clients on whose
events somebody has registered a handler or whose methods somebody has replaced.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore import parsers
from botocore.awsrequest import HeadersDict
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from object_clerk.lane.homes import Home, Homes
from object_clerk.lane.http import Wire, tls
from object_clerk.lane.signature import EMPTY_SHA256, UNSIGNED, authorization
from object_clerk.lane.strangers import Strangers, in_every_client
from object_clerk.lane.wire import Call, Plan, Streamed, ask_for_checksums

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client

    from object_clerk.lane.http import Answer

log = logging.getLogger(__name__)

#: The client's methods that the lane knows.
METHODS = frozenset((
    "get_object", "head_object", "put_object", "upload_part", "copy_object", "upload_part_copy",
    "delete_object", "list_objects_v2", "create_multipart_upload", "list_parts",
))  # fmt: skip

#: Answers that say that the bucket is elsewhere. botocore knows how to find it.
_ELSEWHERE = frozenset((301, 302, 307, 308))
_ELSEWHERE_CODES = frozenset((
    "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect",
))  # fmt: skip

#: Digests beside which a body need not be signed over TLS.
_DIGESTS = ("content-md5", "x-amz-checksum-crc32", "x-amz-checksum-crc64nvme")


class FastLane:
    """The short way to the server of one boto3 client; safe to share between threads.

    Args:
        client: the client beside which it stands.
        credentials: the keys of the client.
        verify: whom to trust, as boto3 takes it: True or a path.
    """

    def __init__(self, client: S3Client, credentials: Credentials, verify: bool | str) -> None:
        config: Any = client.meta.config
        self._client = client
        self._credentials = credentials
        self._model = client.meta.service_model
        self._user_agent = config.user_agent
        self._sign_payload = (config.s3 or {}).get("payload_signing_enabled")
        self._wire = Wire(
            config.connect_timeout,
            config.read_timeout,
            config.max_pool_connections,
            partial(tls, verify),
        )
        self._parser = parsers.create_parser("rest-xml")
        self._plans: dict[str, Plan] = {}
        self._homes = Homes(client)
        self._in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
        self._strangers = Strangers(client)

    @classmethod
    def beside(
        cls, client: S3Client, credentials: Credentials | None, verify: bool | str
    ) -> FastLane | None:
        """The lane beside a client, or None if the client is set up in a way it does not know."""
        config: Any = client.meta.config
        unusual = (
            credentials is None
            or config.signature_version != "s3v4"
            or config.proxies
            or get_environ_proxies(client.meta.endpoint_url).keys() & {"http", "https"}
            or config.client_cert
            or config.tcp_keepalive
            or config.request_checksum_calculation != "when_required"
            or config.response_checksum_validation != "when_required"
            or in_every_client()
        )
        return None if unusual or credentials is None else cls(client, credentials, verify)

    def call(
        self, method: str, parameters: dict[str, Any], clock_ahead_s: float
    ) -> dict[str, Any] | None:
        """Make one request, once, as the client's ``method`` would.

        Args:
            method: the client's method.
            parameters: S3's parameters.
            clock_ahead_s: by how much the server's clock is ahead of ours.

        Returns:
            what boto3 would return, or None if the request is to be made by boto3.

        Raises:
            botocore.exceptions.ClientError: the server refused.
            botocore.exceptions.BotoCoreError: there is no answer, as from boto3.
        """
        if method not in METHODS or self._strangers.are_about(method):
            return None
        plan = self._plan(method)
        call = plan.call(parameters)
        home = None if call is None else self._homes.of(call.bucket)
        if call is None or home is None:
            return None
        target = home.target(call.path)
        headers = self._signed(plan, call, home, target, clock_ahead_s)
        if call.query:
            target += "?" + call.query
        if isinstance(call.body, Streamed):
            call.body.begin_sending()
        answer = self._wire.exchange(
            home.origin, plan.method, target, headers, call.body, stream=plan.streams
        )
        log.debug("%s %s%s: %d", plan.method, home.host, target, answer.status)
        if answer.status < 300:
            try:
                return plan.answer(call, answer)
            except (ValueError, TypeError) as error:
                if plan.streams:
                    answer.body.close()
                if plan.streams or answer.status != 200:
                    raise ResponseParserError(str(error)) from error
                # As botocore: S3 reports some failures in the body of an answer it had begun.
                answer = answer._replace(status=500)
        refused = self._refused(plan, answer)
        elsewhere = _is_elsewhere(refused)
        if elsewhere:
            self._homes.lost(call.bucket)
        elif not (plan.method == "HEAD" and answer.status == 400):  # has no body that would tell
            raise refused
        if isinstance(call.body, Streamed):
            call.body.seek(0)
        return None

    def close_idle(self) -> None:
        """Close the connections that no request is using."""
        self._wire.close()

    def _plan(self, method: str) -> Plan:
        plan = self._plans.get(method)
        if plan is None:
            name = self._client.meta.method_to_api_mapping[method]
            plan = self._plans[method] = Plan(self._model.operation_model(name))
        return plan

    def _signed(
        self, plan: Plan, call: Call, home: Home, path: str, clock_ahead_s: float
    ) -> dict[str, str]:
        """All headers of a request."""
        headers = call.headers
        keys = self._credentials.get_frozen_credentials()
        headers["host"] = home.host
        headers["x-amz-date"] = time.strftime(
            "%Y%m%dT%H%M%SZ", time.gmtime(time.time() + clock_ahead_s)
        )
        headers["x-amz-content-sha256"] = self._payload(call, home)
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        if plan.streams:
            ask_for_checksums(headers)
        headers["authorization"] = authorization(
            plan.method,
            path,
            call.query,
            headers,
            region=home.region,
            access_key=keys.access_key or "",
            secret_key=keys.secret_key or "",
        )
        if plan.method not in ("GET", "HEAD"):
            headers.setdefault("content-length", str(len(call.body or b"")))
        headers["user-agent"] = self._user_agent
        headers["accept-encoding"] = "identity"
        if self._in_lambda and (trace := os.environ.get("_X_AMZN_TRACE_ID")):
            headers["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        return headers

    def _payload(self, call: Call, home: Home) -> str:
        """The digest of the body, by which it is signed, or that it is not signed.

        botocore's rule, but for one thing: over TLS any digest of the body that the server
        checks makes up for the signature, not only Content-MD5.
        """
        if self._sign_payload is False:
            return UNSIGNED
        over_tls = home.origin.scheme == "https" and self._sign_payload is None
        if over_tls and any(name in call.headers for name in _DIGESTS):
            return UNSIGNED
        if not call.body:
            return EMPTY_SHA256
        if isinstance(call.body, Streamed):
            return call.body.sha256()
        return hashlib.sha256(call.body).hexdigest()

    def _refused(self, plan: Plan, answer: Answer) -> ClientError:
        response = {
            "status_code": answer.status,
            "headers": HeadersDict(answer.headers),
            "body": answer.body,
            "context": {"operation_name": plan.name},
        }
        parsed = self._parser.parse(response, plan.output)
        parsed["ResponseMetadata"]["RetryAttempts"] = 0
        code = parsed.get("Error", {}).get("Code")
        shape = self._model.shape_for_error_code(code)
        if shape is not None:
            parsed |= self._parser.parse(response, shape)
        kind: type[ClientError] = self._client.exceptions.from_code(code)  # type: ignore[assignment]
        return kind(parsed, plan.name)


def _is_elsewhere(error: ClientError) -> bool:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response.get("Error", {}).get("Code")
    return status in _ELSEWHERE or code in _ELSEWHERE_CODES
