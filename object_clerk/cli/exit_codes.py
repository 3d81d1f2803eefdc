"""What the exit code of ``object-clerk`` says, and which error has which."""

from __future__ import annotations

import enum
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from object_clerk.exceptions import ObjectClerkException


class ExitCode(enum.IntEnum):
    """The exit codes; a process that a signal ended has 128 + the signal's number."""

    OK = 0
    FAILED = 1
    """Some items failed, or something failed that has no code of its own."""
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    TEMPORARY = 5
    """Trying again later may help."""
    INTEGRITY = 6
    """Bytes differ from what they should be, or nothing proves them."""
    CONFIGURATION = 7
    LIMIT = 8
    """A disk, a quota or a size limit is exhausted."""
    INTERRUPTED = 130


#: What to do about an error of this kind, where its message does not say so itself.
NEXT_STEP = {
    ExitCode.USAGE: "See object-clerk --help",
    ExitCode.NOT_FOUND: "Check the names of bucket and object",
    ExitCode.DENIED: "'object-clerk config' shows which keys are used and where they come from",
    ExitCode.TEMPORARY: "Try again later; 'object-clerk config' shows which endpoint is used",
    ExitCode.INTEGRITY: "Do not use these bytes; read or send them again",
    ExitCode.CONFIGURATION: "Correct the setting and run the command again",
    ExitCode.LIMIT: "Make room and run the command again",
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LIMIT_CODES = ("EntityTooLarge", "QuotaExceeded", "TooManyBuckets", "XMinioStorageFull")
_INSUFFICIENT_STORAGE = 507


class CommandError(Exception):
    """A command cannot go on; the message is one sentence for the user."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with ``error``."""
    from object_clerk.exceptions import ObjectClerkException

    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, ObjectClerkException):
        return _of_ours(error)
    return ExitCode.LIMIT if _no_room(error) else ExitCode.FAILED


def _of_ours(error: ObjectClerkException) -> ExitCode:
    from object_clerk import exceptions as e

    full = error.code in _LIMIT_CODES or error.status == _INSUFFICIENT_STORAGE
    if full or _no_room(error.__cause__):
        return ExitCode.LIMIT
    if isinstance(error, e.ObjectClerkConnectionException) and error.failure is e.Failure.FINAL:
        return ExitCode.CONFIGURATION  # a certificate that is not trusted: waiting does not help
    table: tuple[tuple[type[ObjectClerkException], ExitCode], ...] = (
        (e.ObjectNotFoundException, ExitCode.NOT_FOUND),
        (e.ObjectClerkServerAuthException, ExitCode.DENIED),
        (e.ObjectClerkServerInternalException, ExitCode.TEMPORARY),
        (e.ObjectClerkTimeoutException, ExitCode.TEMPORARY),
        (e.ObjectChanged, ExitCode.TEMPORARY),
        (e.ObjectVerificationException, ExitCode.INTEGRITY),
        (e.ObjectClerkConfigurationException, ExitCode.CONFIGURATION),
        (e.ObjectClerkParameterException, ExitCode.USAGE),
        (e.ObjectClerkTypeException, ExitCode.USAGE),
    )
    return next((code for kind, code in table if isinstance(error, kind)), ExitCode.FAILED)


def _no_room(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL
