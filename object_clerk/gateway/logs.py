"""How the gateway logs: nobody can make up a line, and no record has the query of a URL."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from object_clerk.rest.wire import rfc3339

#: What every record has, and the colours that uvicorn gives to its own; the rest is of ``extra=``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message", "asctime", "taskName", "color_message",
}  # fmt: skip


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with everything that was given by ``extra=``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. All that is not ASCII is escaped, control characters too."""
        said = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        said |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class TextFormatter(logging.Formatter):
    """A record as one line to be read, and below it, indented, its traceback.

    Whatever a message, a name or an error has in it begins no line of its own.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the first line."""
        return printable(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return all lines, without control characters."""
        return "\n    ".join(map(printable, super().format(record).split("\n")))


def printable(text: str) -> str:
    r"""A text without control characters, so that no line of a log can be made up.

    >>> print(printable("a\nb"))
    a\nb
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def hide_queries() -> None:
    """Make uvicorn's own log of requests leave out queries: those of presigned URLs are secrets."""
    logging.getLogger("uvicorn.access").addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    # (client, method, path with query, HTTP version, status)
    match record.args:
        case (client, method, str() as target, *rest):
            record.args = (client, method, target.partition("?")[0], *rest)
    return True
