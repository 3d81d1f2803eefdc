"""Every error this package raises, and the one place that decides what an S3 error means.

The tree::

    ObjectClerkException
    ├── ObjectClerkOperationException              the operation failed             (RuntimeError)
    │   ├── ObjectClerkServerInternalException the server failed or was busy (5xx, throttling)
    │   │   └── ObjectClerkConnectionException it was not reached or hung up    (ConnectionError)
    │   ├── ObjectClerkServerAuthException     it refused our credentials       (PermissionError)
    │   ├── ObjectClerkTimeoutException        the call's deadline passed       (TimeoutError)
    │   ├── ObjectNotFoundException            no such object, version, upload  (FileNotFoundError)
    │   │   └── BucketNotFoundException        no such bucket
    │   ├── ObjectVerificationException        the bytes are not what they should be
    │   │   └── ObjectUnverifiable             nothing proves that they are
    │   ├── ObjectChanged                      replaced by somebody while we worked
    │   ├── PreconditionFailed                 an If-Match or If-None-Match did not hold
    │   │   └── DestinationExists              if_absent was asked for, and it is there
    │   ├── UnsupportedError                   this server cannot do that   (NotImplementedError)
    │   ├── ObjectSaveException                the source of an upload is unfit
    │   │   └── SourceNotFound                 there is no such file  (FileNotFoundError)
    │   ├── ObjectClerkFileException           a local file could not be written   (OSError)
    │   ├── MoveIncomplete                     copied and proved, source not deleted
    │   ├── DeleteIncomplete                   some of many keys were not deleted
    │   └── OperationCancelled                 a sibling part failed first
    ├── ObjectClerkParameterException          a bad argument                      (ValueError)
    ├── ObjectClerkTypeException               an argument of the wrong type       (TypeError)
    └── ObjectClerkConfigurationException      bad settings                        (ValueError)

Each carries ``operation``, ``bucket``, ``key``, ``code``, ``status``, ``request_id`` and
``attempts``, survives pickling, and is raised from its cause.
"""

from __future__ import annotations

import email.utils
import enum
import re
import time
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from object_clerk.receipt import DeleteOutcome, Receipt


class Failure(enum.Enum):
    """What kind of failure an error is; the retry layer decides by this alone."""

    NEVER_SENT = "the request never reached the server"
    AMBIGUOUS = "the connection broke after the request was sent"
    TRANSIENT = "the server failed"
    THROTTLED = "the server asked for patience"
    CONFLICT = "a concurrent operation was in the way"
    INTEGRITY = "bytes arrived changed"
    BODY = "the body broke off"
    CREDENTIALS = "the credentials have expired"
    CLOCK = "our clock is not the server's"
    FINAL = "asking again would not help"


class ObjectClerkException(Exception):
    """The root of all errors of this package.

    Attributes:
        operation: the verb that failed, such as ``get_object``.
        bucket: the bucket concerned.
        key: the key concerned.
        code: S3's error code, if the server gave one.
        status: the HTTP status, if there was one.
        request_id: the server's id of the failed request.
        attempts: how many times the failing request was tried.
        failure: the class of failure, by which retries are decided.
        retry_after_s: seconds the server asked to wait, if it did.
        clock_ahead_s: by how many seconds the server's clock is ahead, if that is the trouble.
        gave_up: why no further attempt was made, empty if it was never a question.
    """

    #: what a reader can do about it; a class may say more than its message does
    hint = ""

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        failure: Failure = Failure.FINAL,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.bucket = bucket
        self.key = key
        self.code = code
        self.status = status
        self.request_id = request_id
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.clock_ahead_s: float | None = None
        self.attempts = 1
        self.gave_up = ""

    def __str__(self) -> str:
        where = "/".join(str(part) for part in (self.bucket, self.key) if part)
        head = " ".join(part for part in (self.operation, where) if part)
        facts = [
            " ".join(str(part) for part in (self.status, self.code) if part),
            f"request id {self.request_id}" if self.request_id else "",
            f"after {self.attempts} attempts" if self.attempts > 1 else "",
            self.gave_up,
        ]
        tail = ", ".join(fact for fact in facts if fact)
        text = f"{head}: {self.message}" if head else self.message
        text = f"{text} [{tail}]" if tail else text
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__.copy())

    def concerning(self, operation: str, bucket: str | None, key: str | None) -> None:
        """Fill in what the place that raised the error did not know."""
        self.operation = self.operation or operation
        self.bucket = self.bucket or bucket
        self.key = self.key or key


def _rebuild(cls: type[ObjectClerkException], state: dict[str, Any]) -> ObjectClerkException:
    # Of two builtin bases only the one with more in it may make the object.
    error = (OSError if issubclass(cls, OSError) else Exception).__new__(cls)
    Exception.__init__(error, state.get("message", ""))
    error.__dict__.update(state)
    return error


class ObjectClerkOperationException(ObjectClerkException, RuntimeError):
    """Something failed on the way; the arguments were not at fault."""


class ObjectClerkServerInternalException(ObjectClerkOperationException):
    """The server failed or was too busy, for as long as we were willing to ask."""


class ObjectClerkConnectionException(ObjectClerkServerInternalException, ConnectionError):
    """The server could not be reached, or the connection broke."""


class ObjectClerkServerAuthException(ObjectClerkOperationException, PermissionError):
    """The server refused: unknown or expired credentials, a bad signature, no permission."""


class ObjectClerkTimeoutException(ObjectClerkOperationException, TimeoutError):
    """The deadline of the call passed."""


class ObjectNotFoundException(ObjectClerkOperationException, FileNotFoundError):
    """There is no such object, version or upload."""


class BucketNotFoundException(ObjectNotFoundException):
    """There is no such bucket."""

    hint = "Buckets are not made by writing to them: see create_bucket"


class ObjectVerificationException(ObjectClerkOperationException):
    """The bytes differ from what they were proved to be."""


class ObjectUnverifiable(ObjectVerificationException):
    """Nothing shows that the bytes are right, or that they are wrong."""

    hint = "verify_checksum=False accepts the bytes without proof"


class ObjectChanged(ObjectClerkOperationException):
    """Somebody replaced or removed the object while it was being worked on."""


class PreconditionFailed(ObjectClerkOperationException):
    """The server found that the condition sent with the request does not hold."""


class DestinationExists(PreconditionFailed, FileExistsError):
    """What was to be made only if there is none is there already."""


class UnsupportedError(ObjectClerkOperationException, NotImplementedError):
    """The server cannot do what was asked, or was not seen to do it; nothing was changed."""


class ObjectSaveException(ObjectClerkOperationException):
    """The source of an upload is missing, unreadable, empty, or changed underway."""


class SourceNotFound(ObjectSaveException, FileNotFoundError):
    """There is no such file to upload."""


class ObjectClerkFileException(ObjectClerkOperationException, OSError):
    """A local file could not be written."""


class ObjectClerkParameterException(ObjectClerkException, ValueError):
    """An argument is impossible; nothing was sent."""


class ObjectClerkTypeException(ObjectClerkException, TypeError):
    """An argument has the wrong type; nothing was sent."""


class ObjectClerkConfigurationException(ObjectClerkException, ValueError):
    """A setting is impossible; nothing was sent."""


class OperationCancelled(ObjectClerkOperationException):
    """This part stopped because another part of the same operation failed."""


class MoveIncomplete(ObjectClerkOperationException):
    """The object was copied and the copy proved, but the source still exists.

    Running the move again is safe. ``receipt`` is the copy's.
    """

    receipt: Receipt | None = None


class DeleteIncomplete(ObjectClerkOperationException):
    """Some of the keys of a bulk delete were not deleted; ``outcomes`` tells for each."""

    outcomes: Sequence[DeleteOutcome] = ()


_FAILED = ObjectClerkServerInternalException
_DENIED = ObjectClerkServerAuthException

#: S3 error code -> (class of error, class of failure). Sources: the Amazon S3 list of error
#: responses, and the codes that Ceph, MinIO and Swift were seen to send.
ERROR_CODES: Mapping[str, tuple[type[ObjectClerkException], Failure]] = {
    **dict.fromkeys(
        ("InternalError", "Busy", "ServiceUnavailable", "ServerBusy", "RequestTimeout",
         "XMinioServerNotInitialized", "XMinioBackendDown", "IncompleteBody"),
        (_FAILED, Failure.TRANSIENT),
    ),
    **dict.fromkeys(
        ("SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException",
         "ThrottledException", "RequestThrottled", "RequestThrottledException",
         "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded",
         "BandwidthLimitExceeded", "LimitExceededException"),
        (_FAILED, Failure.THROTTLED),
    ),
    **dict.fromkeys(
        ("OperationAborted", "ConditionalRequestConflict"),
        (_FAILED, Failure.CONFLICT),
    ),
    **dict.fromkeys(
        ("UnauthorizedAccess", "AccessDenied", "AccountProblem", "AllAccessDisabled",
         "CrossLocationLoggingProhibited", "InvalidAccessKeyId", "InvalidObjectState",
         "InvalidPayer", "InvalidSecurity", "NotSignedUp", "SignatureDoesNotMatch",
         "AuthorizationHeaderMalformed", "InvalidToken"),
        (_DENIED, Failure.FINAL),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
        (_DENIED, Failure.CREDENTIALS),
    ),
    "RequestTimeTooSkewed": (_DENIED, Failure.CLOCK),
    **dict.fromkeys(
        ("NoSuchKey", "NoSuchVersion", "NoSuchUpload"),
        (ObjectNotFoundException, Failure.FINAL),
    ),
    "NoSuchBucket": (BucketNotFoundException, Failure.FINAL),
    **dict.fromkeys(
        ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        (ObjectVerificationException, Failure.INTEGRITY),
    ),
    "PreconditionFailed": (PreconditionFailed, Failure.FINAL),
    **dict.fromkeys(
        ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"),
        (DestinationExists, Failure.FINAL),
    ),
}  # fmt: skip

#: HTTP status -> the same, for answers whose code is unknown or missing (HEAD has no body).
_STATUSES: Mapping[int, tuple[type[ObjectClerkException], Failure]] = {
    304: (PreconditionFailed, Failure.FINAL),
    401: (_DENIED, Failure.CREDENTIALS),
    403: (_DENIED, Failure.FINAL),
    404: (ObjectNotFoundException, Failure.FINAL),
    408: (_FAILED, Failure.TRANSIENT),
    409: (ObjectClerkOperationException, Failure.FINAL),
    412: (PreconditionFailed, Failure.FINAL),
    429: (_FAILED, Failure.THROTTLED),
}

#: What to do about an error whose message alone does not say it.
_ADVICE: Mapping[str, str] = {
    "SignatureDoesNotMatch": "is the secret key right?",
    "InvalidAccessKeyId": "is the access key right?",
    "ExpiredToken": "get new credentials",
    "MissingContentLength": (
        "this server refuses trailing checksums: leave request_checksum_calculation unset"
    ),
    "NoSuchUpload": "the upload was completed or aborted by somebody else",
}


def translate(
    error: BaseException, operation: str, bucket: str | None = None, key: str | None = None
) -> ObjectClerkException:
    """Say in our terms what went wrong, and whether asking again could help.

    Args:
        error: whatever came out of boto3, or an error of ours, which stays what it is.
        operation: the verb that failed.
        bucket: the bucket concerned.
        key: the key concerned.

    Returns:
        an exception to be raised ``from error``; never one that holds a secret.
    """
    inner = getattr(error, "kwargs", {}).get("error")
    if isinstance(inner, ObjectClerkException):
        error = inner  # botocore wraps whatever the body it was sending has raised
    if isinstance(error, ObjectClerkException):
        found = error
    elif isinstance(error, boto.ClientError):
        found = _from_answer(error)
    else:
        found = _from_transport(error)
    found.concerning(operation, bucket, key)
    return found


def _from_answer(error: boto.ClientError) -> ObjectClerkException:
    """Translate an error that the server itself sent."""
    details: Mapping[str, Any] = error.response.get("Error", {})
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    headers: Mapping[str, str] = metadata.get("HTTPHeaders") or {}
    code = str(details.get("Code", ""))
    status = metadata.get("HTTPStatusCode")
    if code.isdigit():  # botocore's stand-in for a missing code: it repeats the status
        status, code = status or int(code), ""
    cls, failure = ERROR_CODES.get(code) or _by_status(status)
    said = str(details.get("Message") or "the server gave no reason").rstrip(".")
    ahead_s = _clock_ahead(headers)
    denied = status in (400, 403) and code in ("", "AccessDenied")
    if failure is Failure.CLOCK or (denied and abs(ahead_s or 0) > MOST_SKEW_S):
        # The answer to a HEAD has no body that would say so, and rclone has no code for it.
        said += f" (its clock says {headers.get('date', 'nothing')}: set this machine's clock)"
        failure = Failure.FINAL if ahead_s is None else Failure.CLOCK
    if advice := _ADVICE.get(code):
        said += f" ({advice})"
    found = cls(
        said,
        code=code or None,
        status=status,
        request_id=metadata.get("RequestId") or headers.get("x-amz-request-id"),
        failure=failure,
        retry_after_s=_retry_after(headers),
    )
    found.clock_ahead_s = ahead_s if failure is Failure.CLOCK else None
    return found


def _clock_ahead(headers: Mapping[str, str]) -> float | None:
    """By how many seconds the server's clock is ahead of ours, by its Date header."""
    try:
        date = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return date.timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None


def _by_status(status: int | None) -> tuple[type[ObjectClerkException], Failure]:
    if status is not None and status in _STATUSES:
        return _STATUSES[status]
    # 501 says that the server cannot do it at all. A 200 among errors is a failure that S3
    # reports in the body of an answer it had already begun.
    if status is not None and (status == 200 or (status >= 500 and status != 501)):
        return _FAILED, Failure.TRANSIENT
    return ObjectClerkOperationException, Failure.FINAL


#: S3 refuses requests whose time is further off (Amazon S3 API reference, "Error responses").
MOST_SKEW_S = 900

_DIGITS = re.compile(r"[0-9]{1,12}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (seconds or a date) or x-amz-retry-after (milliseconds)."""
    milliseconds = headers.get("x-amz-retry-after", "")
    if _DIGITS.fullmatch(milliseconds):
        return int(milliseconds) / 1000
    text = headers.get("retry-after", "")
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (then - now).total_seconds())
    except (TypeError, ValueError):
        return None


#: botocore exception -> (class of error, class of failure), the most specific first.
_TRANSPORT: Sequence[tuple[tuple[type[BaseException], ...], type[ObjectClerkException], Failure]]
_TRANSPORT = (
    ((boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError,
      boto.TokenRetrievalError, boto.UnauthorizedSSOTokenError), _DENIED, Failure.FINAL),
    ((boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError,
      boto.SSLError), ObjectClerkConnectionException, Failure.NEVER_SENT),
    ((boto.ResponseStreamingError, boto.IncompleteReadError),
     ObjectClerkConnectionException, Failure.BODY),
    ((boto.HTTPClientError, boto.ConnectionError),
     ObjectClerkConnectionException, Failure.AMBIGUOUS),
    ((boto.FlexibleChecksumError, boto.ChecksumError),
     ObjectVerificationException, Failure.INTEGRITY),
    ((boto.ParamValidationError,), ObjectClerkParameterException, Failure.FINAL),
    ((boto.InvalidEndpointConfigurationError, boto.InvalidRegionError, boto.ProfileNotFound,
      boto.UnknownSignatureVersionError,
      boto.ConfigParseError), ObjectClerkConfigurationException, Failure.FINAL),
)  # fmt: skip


#: A handshake that was cut may succeed the next time; a bad certificate or protocol will not.
_TLS_MAY_PASS = re.compile(r"EOF|timed out|reset|SYSCALL", re.IGNORECASE)


#: Values of parameters and headers that were refused; a key must not stand in a log.
_REFUSED_VALUE = re.compile(
    r", value: .*?(?=, (?:type|valid)|$)|(?<=Invalid header value) .*", re.DOTALL
)


def _from_transport(error: BaseException) -> ObjectClerkException:
    """Translate an error that arose before, after or instead of an answer."""
    said = _REFUSED_VALUE.sub("", str(error)).rstrip(".") or type(error).__name__
    if type(error).__name__ == "ResponseParserError":  # it has no public name in botocore
        return _FAILED(f"the answer made no sense ({said})", failure=Failure.TRANSIENT)
    for kinds, cls, failure in _TRANSPORT:
        if isinstance(error, kinds):
            if isinstance(error, boto.SSLError) and not _TLS_MAY_PASS.search(said):
                advice = "is it an https port, and is the CA bundle right?"
                return cls(f"{said} ({advice})", failure=Failure.FINAL)
            return cls(said, failure=failure)
    # A few errors of sockets and TLS come through botocore as they are.
    if isinstance(error, OSError) or type(error).__module__.startswith("urllib3."):
        return ObjectClerkConnectionException(said, failure=Failure.AMBIGUOUS)
    return ObjectClerkOperationException(f"{type(error).__name__}: {said}")
