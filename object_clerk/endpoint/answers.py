"""What a server's answer to a question says."""

from __future__ import annotations

import enum
from typing import NamedTuple

from object_clerk.exceptions import (
    Failure,
    ObjectClerkException,
    ObjectVerificationException,
    PreconditionFailed,
)

#: Refusals of what a request carries, rather than of the request.
NOT_TAKEN = (400, 405, 501)


class Support(enum.Enum):
    """What a server makes of a digest or of a condition that comes with a request."""

    UNKNOWN = "not asked yet"
    HONOURED = "a wrong one is rejected"
    IGNORED = "a wrong one is accepted"
    REFUSED = "the server does not take the header"


class Answer(NamedTuple):
    """What was found.

    Attributes:
        support: the finding.
        detail: in words, what ``support`` alone does not say.
        may_pass: whether asking again may bring a clear answer where there was none.
    """

    support: Support
    detail: str = ""
    may_pass: bool = False


def of_digest(error: ObjectClerkException) -> Answer:
    """What it means that a request with a wrong digest failed."""
    if isinstance(error, ObjectVerificationException):
        return Answer(Support.HONOURED)
    return of_refusal(error)


def of_refusal(error: ObjectClerkException) -> Answer:
    """What it means that a request failed although nothing was wrong with it."""
    if error.status in NOT_TAKEN:
        return Answer(Support.REFUSED, said(error))
    return unclear(error)


def of_condition(error: ObjectClerkException) -> Answer:
    """What it means that a request failed whose condition does not hold."""
    # A conflict is what Amazon S3 answers when it looked, and somebody else was there too.
    if isinstance(error, PreconditionFailed) or error.code == "ConditionalRequestConflict":
        return Answer(Support.HONOURED)
    return of_refusal(error)


def unclear(error: Exception) -> Answer:
    """The answer of a server that was asked and did not say."""
    may_pass = isinstance(error, ObjectClerkException) and error.failure is not Failure.FINAL
    return Answer(Support.UNKNOWN, f"no clear answer: {said(error)}", may_pass)


def said(error: Exception) -> str:
    """Status, code and reason of an error, without the names of bucket and key."""
    if not isinstance(error, ObjectClerkException):
        return type(error).__name__
    facts = (error.status, error.code, f"({error.message})" if error.message else "")
    return " ".join(str(fact) for fact in facts if fact)
