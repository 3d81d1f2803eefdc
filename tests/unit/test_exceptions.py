"""What an S3 error means: one class and one class of failure for each."""

from __future__ import annotations

import builtins
import copy
import email.utils
import inspect
import pickle
import time
from typing import Any

import pytest
from botocore import exceptions as boto

from object_clerk import exceptions as e
from object_clerk.exceptions import Failure, ObjectClerkException, translate
from object_clerk.receipt import DeleteOutcome, Receipt, Verdict

CLASSES = [
    cls
    for cls in vars(e).values()
    if inspect.isclass(cls) and issubclass(cls, ObjectClerkException)
]

DENIED, SERVER, MISSING, FAILED = (
    e.ObjectClerkServerAuthException,
    e.ObjectClerkServerInternalException,
    e.ObjectNotFoundException,
    e.ObjectClerkOperationException,
)


def answer(
    code: str = "", status: int | None = None, headers: dict[str, str] | None = None, said: str = ""
) -> boto.ClientError:
    """What botocore raises for an error that the server sent."""
    return boto.ClientError(
        {
            "Error": {"Code": code, "Message": said},
            "ResponseMetadata": {  # type: ignore[typeddict-item]
                "HTTPStatusCode": status,
                "RequestId": "R-1",
                "HTTPHeaders": headers or {},
            },
        },
        "GetObject",
    )


class TestAnswers:
    @pytest.mark.parametrize(
        ("code", "status", "cls", "failure"),
        [
            # what 1.1.0 knew
            ("NoSuchKey", 404, MISSING, Failure.FINAL),
            ("NoSuchBucket", 404, e.BucketNotFoundException, Failure.FINAL),
            ("404", 404, MISSING, Failure.FINAL),
            ("500", 500, SERVER, Failure.TRANSIENT),
            ("503", 503, SERVER, Failure.TRANSIENT),
            ("InternalError", 500, SERVER, Failure.TRANSIENT),
            ("Busy", 503, SERVER, Failure.TRANSIENT),
            ("ServiceUnavailable", 503, SERVER, Failure.TRANSIENT),
            ("SlowDown", 503, SERVER, Failure.THROTTLED),
            *[
                (code, 403, DENIED, Failure.FINAL)
                for code in (
                    "UnauthorizedAccess", "AccessDenied", "AccountProblem", "AllAccessDisabled",
                    "CrossLocationLoggingProhibited", "InvalidAccessKeyId", "InvalidObjectState",
                    "InvalidPayer", "InvalidSecurity", "NotSignedUp",
                    "SignatureDoesNotMatch",
                )
            ],
            ("403", 403, DENIED, Failure.FINAL),
            # what it did not
            ("401", 401, DENIED, Failure.CREDENTIALS),
            ("ExpiredToken", 400, DENIED, Failure.CREDENTIALS),
            ("NoSuchVersion", 404, MISSING, Failure.FINAL),
            ("NoSuchUpload", 404, MISSING, Failure.FINAL),
            ("RequestTimeout", 400, SERVER, Failure.TRANSIENT),
            ("502", 502, SERVER, Failure.TRANSIENT),
            ("504", 504, SERVER, Failure.TRANSIENT),
            ("408", 408, SERVER, Failure.TRANSIENT),
            ("429", 429, SERVER, Failure.THROTTLED),
            ("Throttling", 400, SERVER, Failure.THROTTLED),
            ("RequestLimitExceeded", 503, SERVER, Failure.THROTTLED),
            ("BandwidthLimitExceeded", 509, SERVER, Failure.THROTTLED),
            ("XMinioServerNotInitialized", 503, SERVER, Failure.TRANSIENT),
            ("NobodyKnowsThis", 503, SERVER, Failure.TRANSIENT),
            ("NobodyKnowsThis", 599, SERVER, Failure.TRANSIENT),
            ("InternalError", 200, SERVER, Failure.TRANSIENT),
            ("NobodyKnowsThis", 200, SERVER, Failure.TRANSIENT),
            ("OperationAborted", 409, SERVER, Failure.CONFLICT),
            ("ConditionalRequestConflict", 409, SERVER, Failure.CONFLICT),
            ("BadDigest", 400, e.ObjectVerificationException, Failure.INTEGRITY),
            ("XAmzContentSHA256Mismatch", 400, e.ObjectVerificationException, Failure.INTEGRITY),
            ("PreconditionFailed", 412, e.PreconditionFailed, Failure.FINAL),
            ("412", 412, e.PreconditionFailed, Failure.FINAL),
            ("NotImplemented", 501, FAILED, Failure.FINAL),
            ("InvalidRequest", 400, FAILED, Failure.FINAL),
            ("EntityTooLarge", 400, FAILED, Failure.FINAL),
            ("409", 409, FAILED, Failure.FINAL),
            ("", None, FAILED, Failure.FINAL),
        ],
    )  # fmt: skip
    def test_code_and_status_decide(
        self, code: str, status: int | None, cls: type[ObjectClerkException], failure: Failure
    ) -> None:
        found = translate(answer(code, status), "get_object", "bucket", "key")

        assert type(found) is cls
        assert found.failure is failure
        assert found.status == status
        assert found.code == (code if code and not code.isdigit() else None)
        assert (found.operation, found.bucket, found.key) == ("get_object", "bucket", "key")
        assert found.request_id == "R-1"

    def test_every_known_code_is_translated_by_the_table(self) -> None:
        for code, (cls, failure) in e.ERROR_CODES.items():
            found = translate(answer(code, 400, {"date": email.utils.formatdate()}), "verb")
            assert (type(found), found.failure) == (cls, failure)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7.0),
            ({"x-amz-retry-after": "250"}, 0.25),
            ({"x-amz-retry-after": "250", "retry-after": "7"}, 0.25),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "-3"}, None),
            ({"retry-after": "\u00b2"}, None),
            ({"x-amz-retry-after": "\u00b2"}, None),
            (
                {
                    "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                    "date": "Wed, 21 Oct 2026 07:28:00 GMT",
                },
                30.0,
            ),
            (
                {
                    "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT",
                    "date": "Wed, 21 Oct 2026 07:28:30 GMT",
                },
                0.0,
            ),
        ],
    )
    def test_retry_after(self, headers: dict[str, str], seconds: float | None) -> None:
        assert translate(answer("SlowDown", 503, headers), "verb").retry_after_s == seconds

    def test_clock_skew_names_the_clock_of_the_server(self) -> None:
        headers = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}
        found = translate(answer("RequestTimeTooSkewed", 403, headers), "verb")

        assert "07:28:00" in str(found)
        assert found.failure is Failure.CLOCK

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("RequestTimeTooSkewed", 403),
            ("403", 403),
            ("AccessDenied", 400),
        ],
    )
    @pytest.mark.parametrize("ahead_s", [-86_400, 1200])
    def test_clock_skew_is_measured(self, code: str, status: int, ahead_s: int) -> None:
        """Also where a HEAD was refused, whose answer says no more than 403."""
        date = email.utils.formatdate(time.time() + ahead_s, usegmt=True)
        found = translate(answer(code, status, {"date": date}), "verb")

        assert found.failure is Failure.CLOCK
        assert found.clock_ahead_s == pytest.approx(ahead_s, abs=60)

    @pytest.mark.parametrize(
        ("code", "status", "headers"),
        [
            ("RequestTimeTooSkewed", 403, {}),
            ("RequestTimeTooSkewed", 403, {"date": "nonsense"}),
            ("InvalidAccessKeyId", 403, {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            ("404", 404, {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        ],
    )
    def test_clock_that_need_not_be_the_trouble(
        self, code: str, status: int, headers: dict[str, str]
    ) -> None:
        found = translate(answer(code, status, headers), "verb")

        assert found.failure is Failure.FINAL
        assert found.clock_ahead_s is None

    def test_refused_by_a_server_whose_clock_is_right(self) -> None:
        found = translate(answer("403", 403, {"date": email.utils.formatdate(usegmt=True)}), "verb")

        assert found.failure is Failure.FINAL
        assert found.clock_ahead_s is None

    def test_message_is_one_readable_line(self) -> None:
        error = translate(answer("SlowDown", 503, said="Please slow down."), "get_object", "b", "k")
        error.attempts = 3
        error.gave_up = "gave up: 3 tries are allowed"

        assert str(error) == (
            "get_object b/k: Please slow down [503 SlowDown, request id R-1, after 3 attempts, "
            "gave up: 3 tries are allowed]"
        )


class TestTransport:
    @pytest.mark.parametrize(
        ("error", "cls", "failure"),
        [
            (boto.EndpointConnectionError(endpoint_url="http://h", error="refused"),
             e.ObjectClerkConnectionException, Failure.NEVER_SENT),
            (boto.ConnectTimeoutError(endpoint_url="http://h", error="slow"),
             e.ObjectClerkConnectionException, Failure.NEVER_SENT),
            (boto.ProxyConnectionError(proxy_url="http://p", error="refused"),
             e.ObjectClerkConnectionException, Failure.NEVER_SENT),
            (boto.SSLError(endpoint_url="https://h", error=OSError("EOF occurred")),
             e.ObjectClerkConnectionException, Failure.NEVER_SENT),
            (boto.SSLError(endpoint_url="https://h", error=OSError("CERTIFICATE_VERIFY_FAILED")),
             e.ObjectClerkConnectionException, Failure.FINAL),
            (boto.ReadTimeoutError(endpoint_url="http://h", error="slow"),
             e.ObjectClerkConnectionException, Failure.AMBIGUOUS),
            (boto.ConnectionClosedError(endpoint_url="http://h", error="gone"),
             e.ObjectClerkConnectionException, Failure.AMBIGUOUS),
            (boto.HTTPClientError(error="what"),
             e.ObjectClerkConnectionException, Failure.AMBIGUOUS),
            (boto.ResponseStreamingError(error="broken"),
             e.ObjectClerkConnectionException, Failure.BODY),
            (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
             e.ObjectClerkConnectionException, Failure.BODY),
            (boto.FlexibleChecksumError(error_msg="differs"),
             e.ObjectVerificationException, Failure.INTEGRITY),
            (boto.NoCredentialsError(), DENIED, Failure.FINAL),
            (boto.PartialCredentialsError(provider="p", cred_var="v"), DENIED, Failure.FINAL),
            (boto.ParamValidationError(report="wrong"),
             e.ObjectClerkParameterException, Failure.FINAL),
            (boto.ProfileNotFound(profile="p"),
             e.ObjectClerkConfigurationException, Failure.FINAL),
            (ConnectionResetError("reset"), e.ObjectClerkConnectionException, Failure.AMBIGUOUS),
            (TimeoutError("slow"), e.ObjectClerkConnectionException, Failure.AMBIGUOUS),
            (TypeError("a bytes-like object is required"), FAILED, Failure.FINAL),
            (ZeroDivisionError(), FAILED, Failure.FINAL),
        ],
    )  # fmt: skip
    def test_kind_decides(
        self, error: Exception, cls: type[ObjectClerkException], failure: Failure
    ) -> None:
        found = translate(error, "verb", "bucket", "key")

        assert (type(found), found.failure) == (cls, failure)
        assert found.status is None

    def test_answer_that_makes_no_sense(self) -> None:
        parser_error = type("ResponseParserError", (Exception,), {})
        found = translate(parser_error("no XML"), "verb")

        assert (type(found), found.failure) == (SERVER, Failure.TRANSIENT)

    def test_error_of_ours_stays_what_it_is(self) -> None:
        ours = e.ObjectChanged("changed", bucket="theirs")

        assert translate(ours, "verb", "bucket", "key") is ours
        assert (ours.operation, ours.bucket, ours.key) == ("verb", "theirs", "key")

    def test_error_of_ours_is_taken_out_of_botocores(self) -> None:
        ours = e.ObjectSaveException("the file changed")

        assert translate(boto.HTTPClientError(error=ours), "verb") is ours

    def test_unknown_error_says_its_type(self) -> None:
        assert "ZeroDivisionError" in str(translate(ZeroDivisionError(), "verb"))


class TestClasses:
    @pytest.mark.parametrize(
        ("cls", "base"),
        [
            (e.ObjectClerkConnectionException, builtins.ConnectionError),
            (e.ObjectClerkServerAuthException, builtins.PermissionError),
            (e.ObjectClerkTimeoutException, builtins.TimeoutError),
            (e.ObjectNotFoundException, builtins.FileNotFoundError),
            (e.BucketNotFoundException, builtins.FileNotFoundError),
            (e.ObjectClerkFileException, builtins.OSError),
            (e.ObjectClerkParameterException, builtins.ValueError),
            (e.ObjectClerkTypeException, builtins.TypeError),
            (e.ObjectClerkConfigurationException, builtins.ValueError),
            (e.ObjectClerkConnectionException, e.ObjectClerkServerInternalException),
            (e.BucketNotFoundException, e.ObjectNotFoundException),
            (e.ObjectUnverifiable, e.ObjectVerificationException),
            (e.SourceNotFound, builtins.FileNotFoundError),
        ],
    )
    def test_bases(self, cls: type[Exception], base: type[Exception]) -> None:
        assert issubclass(cls, base)

    def test_failures_are_runtime_errors_and_bad_arguments_are_not(self) -> None:
        arguments = {
            e.ObjectClerkException,
            e.ObjectClerkParameterException,
            e.ObjectClerkTypeException,
            e.ObjectClerkConfigurationException,
        }
        assert {cls for cls in CLASSES if not issubclass(cls, RuntimeError)} == arguments

    def test_all_have_one_root(self) -> None:
        """Check 29: all exceptions derive from ObjectClerkException."""
        assert len(CLASSES) >= 19
        for cls in CLASSES:
            assert issubclass(cls, ObjectClerkException)
            assert cls.__doc__

    @pytest.mark.parametrize("cls", CLASSES)
    @pytest.mark.parametrize("way", [lambda x: pickle.loads(pickle.dumps(x)), copy.copy])
    def test_round_trip(self, cls: type[ObjectClerkException], way: Any) -> None:
        error = cls(
            "said",
            operation="verb",
            bucket="bucket",
            key="key",
            code="Code",
            status=418,
            request_id="R-1",
            failure=Failure.BODY,
            retry_after_s=1.5,
        )
        error.attempts = 7
        error.gave_up = "gave up"
        error.add_note("a note")

        back = way(error)

        assert type(back) is cls
        assert vars(back) == vars(error)
        assert str(back) == str(error)
        assert back.args == error.args
        assert back.__notes__ == ["a note"]
        with pytest.raises(cls):
            raise back

    def test_round_trip_of_what_only_some_have(self) -> None:
        incomplete = e.MoveIncomplete("said")
        incomplete.receipt = Receipt(
            operation="move_object", bucket="b", key="k", size=1,
            verdict=Verdict.CONTENT, basis="because",
        )  # fmt: skip
        some = e.DeleteIncomplete("said")
        some.outcomes = [DeleteOutcome("k", deleted=False, code="AccessDenied")]

        assert pickle.loads(pickle.dumps(incomplete)).receipt == incomplete.receipt
        assert pickle.loads(pickle.dumps(some)).outcomes == some.outcomes
        assert e.MoveIncomplete("another").receipt is None
        assert e.DeleteIncomplete("another").outcomes == ()

    def test_concerning_fills_only_what_is_missing(self) -> None:
        error = ObjectClerkException("said", key="own")
        error.concerning("verb", "bucket", "other")

        assert (error.operation, error.bucket, error.key) == ("verb", "bucket", "own")

    @pytest.mark.parametrize("cls", [c for c in CLASSES if issubclass(c, OSError)])
    def test_those_that_are_oserrors_print_their_message(
        self, cls: type[ObjectClerkException]
    ) -> None:
        assert str(cls("said")).startswith("said")


class TestSecrets:
    SECRET = "h0kusp0kus-s3cret"

    def test_no_secret_in_the_text_of_a_refused_parameter(self) -> None:
        report = (
            "Invalid type for parameter SSECustomerKey, value: "
            f"{self.SECRET}, type: <class 'x'>, valid types: <class 'str'>"
        )
        found = translate(boto.ParamValidationError(report=report), "get_object")

        assert self.SECRET not in str(found)
        assert self.SECRET not in repr(found)
        assert "SSECustomerKey" in str(found)


_PASSING = (
    *("InternalError", "Busy", "ServiceUnavailable", "ServerBusy", "RequestTimeout"),
    *("XMinioServerNotInitialized", "XMinioBackendDown", "IncompleteBody"),
)
_THROTTLING = (
    *("SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException"),
    *("ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequests"),
    *("TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded"),
    "LimitExceededException",
)
_DENYING = (
    *("UnauthorizedAccess", "AccessDenied", "AccountProblem", "AllAccessDisabled"),
    *("CrossLocationLoggingProhibited", "InvalidAccessKeyId", "InvalidObjectState"),
    *("InvalidPayer", "InvalidSecurity", "NotSignedUp", "SignatureDoesNotMatch"),
    *("AuthorizationHeaderMalformed", "InvalidToken"),
)
_DIFFERING = ("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch")

_BY_CODE = {
    **dict.fromkeys(_PASSING, (SERVER, Failure.TRANSIENT)),
    **dict.fromkeys(_THROTTLING, (SERVER, Failure.THROTTLED)),
    **dict.fromkeys(_DENYING, (DENIED, Failure.FINAL)),
    **dict.fromkeys(_DIFFERING, (e.ObjectVerificationException, Failure.INTEGRITY)),
    "OperationAborted": (SERVER, Failure.CONFLICT),
    "ConditionalRequestConflict": (SERVER, Failure.CONFLICT),
    "ExpiredToken": (DENIED, Failure.CREDENTIALS),
    "ExpiredTokenException": (DENIED, Failure.CREDENTIALS),
    "TokenRefreshRequired": (DENIED, Failure.CREDENTIALS),
    "RequestTimeTooSkewed": (DENIED, Failure.CLOCK),
    "NoSuchKey": (MISSING, Failure.FINAL),
    "NoSuchVersion": (MISSING, Failure.FINAL),
    "NoSuchUpload": (MISSING, Failure.FINAL),
    "NoSuchBucket": (e.BucketNotFoundException, Failure.FINAL),
    "PreconditionFailed": (e.PreconditionFailed, Failure.FINAL),
    "BucketAlreadyExists": (e.DestinationExists, Failure.FINAL),
    "BucketAlreadyOwnedByYou": (e.DestinationExists, Failure.FINAL),
}


class TestTables:
    """What the tables say, written down a second time: no entry goes missing unseen."""

    @pytest.mark.parametrize("code", _BY_CODE)
    def test_code_decides_whatever_the_status(self, code: str) -> None:
        found = translate(answer(code, 418, {"date": email.utils.formatdate()}), "verb")

        assert (type(found), found.failure) == _BY_CODE[code]

    def test_no_other_code_is_known(self) -> None:
        assert e.ERROR_CODES == _BY_CODE

    @pytest.mark.parametrize(
        ("status", "cls", "failure"),
        [
            (304, e.PreconditionFailed, Failure.FINAL),
            (401, DENIED, Failure.CREDENTIALS),
            (403, DENIED, Failure.FINAL),
            (404, MISSING, Failure.FINAL),
            (408, SERVER, Failure.TRANSIENT),
            (409, FAILED, Failure.FINAL),
            (412, e.PreconditionFailed, Failure.FINAL),
            (429, SERVER, Failure.THROTTLED),
            (500, SERVER, Failure.TRANSIENT),
            (200, SERVER, Failure.TRANSIENT),
            (201, FAILED, Failure.FINAL),
            (499, FAILED, Failure.FINAL),
            (501, FAILED, Failure.FINAL),
            (502, SERVER, Failure.TRANSIENT),
        ],
    )
    def test_status_decides_where_the_code_is_unknown(
        self, status: int, cls: type[ObjectClerkException], failure: Failure
    ) -> None:
        found = translate(answer("NobodyKnowsThis", status), "verb")

        assert (type(found), found.failure) == (cls, failure)

    @pytest.mark.parametrize(
        ("error", "cls", "failure"),
        [
            (boto.CredentialRetrievalError(provider="p", error_msg="no"), DENIED, Failure.FINAL),
            (boto.TokenRetrievalError(provider="p", error_msg="no"), DENIED, Failure.FINAL),
            (boto.UnauthorizedSSOTokenError(), DENIED, Failure.FINAL),
            (
                boto.ConnectionError(error=OSError("gone")),
                e.ObjectClerkConnectionException,
                Failure.AMBIGUOUS,
            ),
            (
                boto.ChecksumError(
                    checksum_type="crc32", expected_checksum="a", actual_checksum="b"
                ),
                e.ObjectVerificationException,
                Failure.INTEGRITY,
            ),
            *[
                (error, e.ObjectClerkConfigurationException, Failure.FINAL)
                for error in (
                    boto.InvalidEndpointConfigurationError(msg="no"),
                    boto.InvalidRegionError(region_name="no"),
                    boto.UnknownSignatureVersionError(signature_version="v5"),
                    boto.ConfigParseError(path="config"),
                )
            ],
        ],
    )
    def test_kind_of_error_of_botocore_decides(
        self, error: Exception, cls: type[ObjectClerkException], failure: Failure
    ) -> None:
        found = translate(error, "verb")

        assert (type(found), found.failure) == (cls, failure)

    @pytest.mark.parametrize(
        ("code", "advice"),
        [
            ("SignatureDoesNotMatch", "secret key"),
            ("InvalidAccessKeyId", "access key"),
            ("ExpiredToken", "new credentials"),
            ("MissingContentLength", "request_checksum_calculation"),
            ("NoSuchUpload", "completed or aborted"),
        ],
    )
    def test_advice(self, code: str, advice: str) -> None:
        assert advice in str(translate(answer(code, 400), "verb"))

    def test_skew_that_is_refused(self) -> None:
        assert e.MOST_SKEW_S == 15 * 60
