"""What a client was made with, and what follows from it for each request."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from object_clerk._version import __version__
from object_clerk.exceptions import ObjectClerkException, ObjectClerkTypeException
from object_clerk.rest import errors, wire
from object_clerk.retry import Operation, Patience, RetryBudget, RetryPolicy
from object_clerk.values import at_least, bad, check_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from object_clerk.events import Listener
    from object_clerk.rest.exchange import Answer, Ask, Doubt

T = TypeVar("T")

#: The longest wait of our own choice between two attempts, if the first is not longer.
LONGEST_DELAY_S = 20.0

#: Connections. An idle one is given up before servers do that, which is 5 s with uvicorn: a stream
#: that meets a connection that was just closed cannot be sent again.
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=3.0)


class Settings:
    """What a client was made with, checked. It shows all of it but the key.

    Attributes:
        base_url: where the gateway is, without a slash at the end.
        timeout_s: seconds that may pass between two steps.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        timeout: float,
        max_retries: int,
        retry_delay: float,
        on_event: Listener | None,
    ) -> None:
        if not isinstance(base_url, str):
            raise ObjectClerkTypeException("base_url is a str")
        self.base_url = check_url(base_url, "base_url")
        if not isinstance(api_key, str):
            raise ObjectClerkTypeException("api_key is a str")
        if not api_key or any(not "!" <= char <= "~" for char in api_key):
            raise bad("api_key", "visible ASCII characters, without blanks")
        self.timeout_s = at_least(0, timeout, "timeout")
        if not self.timeout_s:
            raise bad("timeout", "more than 0 seconds")
        if type(max_retries) is not int or max_retries < 0:
            raise bad("max_retries", "a whole number: attempts in all")
        delay_s = at_least(0, retry_delay, "retry_delay")
        self._shown = f"{base_url!r}, timeout={timeout}, {max_retries=}, {retry_delay=}"
        self._api_key = api_key
        self._listeners = () if on_event is None else (on_event,)
        self._budget = RetryBudget.shared(self.base_url)
        policy = RetryPolicy(
            delay_s=delay_s,
            jitter_s=(0.0, delay_s / 2),
            max_delay_s=max(LONGEST_DELAY_S, 1.5 * delay_s),
            tries=max(1, max_retries),
        )
        # Attempts and their pauses are all that bound a call: it may move any number of bytes.
        self._patience = Patience(policy, policy, deadline_s=math.inf)
        try:
            self._url = httpx2.URL(self.base_url)
        except httpx2.InvalidURL:
            raise bad("base_url", "a URL such as https://objects.example.org/v1") from None
        self._path = self._url.raw_path.partition(b"?")[0].rstrip(b"/")
        self._timeout = httpx2.Timeout(self.timeout_s).as_dict()
        self._has_marks = False

    def __str__(self) -> str:
        return self._shown

    def operation(self, name: str, key: str | None, doubt: Doubt) -> Operation:
        """A call that begins; ``doubt`` hears of attempts that fail."""
        return Operation(
            name, "", key, self._patience, self._budget, self._listeners, recover=doubt.saw
        )

    def request(
        self, ask: Ask[Any], content: bytes | Iterator[bytes] | AsyncIterator[bytes]
    ) -> httpx2.Request:
        """The request as the HTTP library wants it, with nothing that a client would add."""
        return httpx2.Request(
            ask.method,
            self._url.copy_with(raw_path=self._path + ask.target.encode()),
            headers={
                "accept-encoding": "identity",
                "authorization": f"Bearer {self._api_key}",
                "user-agent": f"object-clerk/{__version__}",
                **ask.headers,
            },
            content=content,
            extensions={"timeout": self._timeout},
        )

    def judged(self, ask: Ask[T], answer: Answer) -> T:
        """What an answer means for who asked.

        Raises:
            ObjectClerkException: it is none that was hoped for.
        """
        self._has_marks = self._has_marks or wire.MARK in answer.headers
        is_lost = answer.status == 404 and self._is_lost(ask, answer)
        hoped_for = answer.status in ask.hoped_for or (answer.status == 404 and ask.may_be_gone)
        if hoped_for and not is_lost:
            return ask.judge(answer)
        raise errors.of_answer(
            answer.status,
            answer.headers,
            # A server may repeat what it got, and the API key is for nobody's eyes.
            wire.error_message(answer.body).replace(self._api_key, "***"),
            key=ask.key,
            if_absent="if-none-match" in ask.headers,
            is_lost=is_lost,
        )

    def _is_lost(self, ask: Ask[Any], answer: Answer) -> bool:
        """Whether a 404 is about the URL rather than about the object.

        Our gateway marks those of objects, so without the mark it, or a proxy before it, speaks
        of something else. Other servers mark nothing, and only a PUT needs no object.
        """
        return ask.method == "PUT" or (
            self._has_marks and answer.headers.get(wire.MARK) != wire.MISSING
        )


@contextlib.contextmanager
def announced(op: Operation) -> Iterator[None]:
    """Tell the listeners that a call begins, and that it failed; whoever ends it says so."""
    op.started()
    try:
        yield
    except ObjectClerkException as error:
        error.concerning(op.name, op.bucket, op.key)
        op.failed(error)
        raise
