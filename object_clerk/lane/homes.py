"""Where the requests for a bucket go: asked of botocore, once for each bucket."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from object_clerk.lane.http import Origin

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^,]*/[0-9]{8}/([^/,]+)/s3/aws4_request,")


class Home(NamedTuple):
    """Where the requests for a bucket go, and the region to sign for."""

    origin: Origin
    host: str
    path: str
    region: str

    def target(self, path: str) -> str:
        """The path of an object, or of the bucket itself."""
        return self.path + path if path else self.path[:-1] or "/"


class Homes:
    """The homes of the buckets that a client was used for."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._known: dict[str, Home | None] = {}
        self._asking = threading.local()
        # The signer is registered with a longer name, so it comes first.
        client.meta.events.register_last("request-created", self._keep_back)

    def of(self, bucket: str) -> Home | None:
        """The home of a bucket; None if boto3 alone can reach it."""
        try:
            return self._known[bucket]
        except KeyError:
            return self._known.setdefault(bucket, self._resolved(bucket))

    def lost(self, bucket: str) -> None:
        """Leave a bucket to boto3 from now on, which can look for it."""
        self._known[bucket] = None

    def _resolved(self, bucket: str) -> Home | None:
        """Ask botocore where a bucket is: it makes a request, which is not sent.

        A presigned URL would tell it too, but some go to other hosts than requests do.
        """
        if ":" in bucket or bucket.endswith("--x-s3"):  # ARNs, and buckets with sessions
            return None
        self._asking.now = True
        try:
            self._client.head_object(Bucket=bucket, Key="k")
        except _KeptBack as kept:
            return _home(kept.request)
        except Exception:
            log.debug("left to boto3", exc_info=True)  # it will say what is wrong with it
        finally:
            self._asking.now = False
        return None

    def _keep_back(self, request: AWSRequest, **_: Any) -> None:
        if getattr(self._asking, "now", False):
            raise _KeptBack(request)


class _KeptBack(Exception):
    """A request that was made to be looked at."""

    def __init__(self, request: AWSRequest) -> None:
        super().__init__()
        self.request = request


def _home(request: AWSRequest) -> Home | None:
    """Where a signed request for the key ``k`` goes."""
    url = urlsplit(str(request.url))
    scope = _SCOPE.match(request.headers.get("Authorization", ""))
    path = url.path[: -len("k")]
    if scope is None or not url.hostname or quote(path, safe="/%~") != path:
        return None
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    usual = 443 if url.scheme == "https" else 80
    port = url.port or usual
    return Home(
        Origin(url.scheme, url.hostname, port),
        host if port == usual else f"{host}:{port}",
        path,
        scope[1],
    )
