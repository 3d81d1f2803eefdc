"""Times as S3 writes them, read without dateutil."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import Any, Final

from botocore.utils import parse_timestamp

#: As in a listing, and as in a header.
ISO: Final = (
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3})?Z"
)
_is_iso: Final = re.compile(ISO).fullmatch
_is_http: Final = re.compile(
    r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [1-9][0-9]{3} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
).fullmatch


def moment(text: Any) -> datetime.datetime:
    """The moment that a text means, as boto3 gives it; what is not usual is left to botocore.

    Raises:
        ValueError: it means none.
    """
    if isinstance(text, str):
        if _is_iso(text):
            return datetime.datetime.fromisoformat(text)
        if _is_http(text):
            try:
                return email.utils.parsedate_to_datetime(text)
            except ValueError:  # botocore's error is as good as any
                pass
    return parse_timestamp(text)
