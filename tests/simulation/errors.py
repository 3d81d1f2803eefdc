"""The errors that boto3 raises, as it would have made them of a server's answer."""

from __future__ import annotations

import itertools
from typing import Any

from botocore.exceptions import ClientError

_ids = itertools.count(1)


class Unsupported(BaseException):
    """The clerk asked for something that the made-up store does not know.

    No `Exception`: nothing may take it for a failure of the server and go on.
    """


def metadata(status: int = 200, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The ResponseMetadata of an answer."""
    return {
        "HTTPStatusCode": status,
        "RequestId": f"SIM{next(_ids)}",
        "HTTPHeaders": headers or {},
    }


def client_error(
    method: str, code: str, status: int, headers: dict[str, str] | None = None
) -> ClientError:
    """An error that the server answered; the answer to a HEAD has no body to tell the code."""
    if method.startswith("head_"):
        code = str(status)
    answer: Any = {
        "Error": {"Code": code, "Message": f"made up {code}"},
        "ResponseMetadata": metadata(status, headers),
    }
    return ClientError(answer, method)
