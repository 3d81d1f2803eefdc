"""What a client tells about its work: to a metrics backend, and to listeners of events."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from object_clerk import events
from object_clerk.exceptions import ObjectClerkException, translate
from object_clerk.receipt import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from object_clerk.receipt import Finding

log = logging.getLogger(__name__)


@runtime_checkable
class MetricsBackend(Protocol):
    """Where numbers go. Implement it to send them to a system of your own."""

    def increment(
        self, name: str, value: int | float = 1, tags: Mapping[str, str] | None = None
    ) -> None:
        """Count something."""

    def gauge(self, name: str, value: int | float, tags: Mapping[str, str] | None = None) -> None:
        """Say how much of something there is now."""

    def distribution(
        self,
        name: str,
        value: int | float,
        tags: Mapping[str, str] | None = None,
        unit: str | None = None,
    ) -> None:
        """Add a value to a distribution."""


class NoOpMetricsBackend:
    """Takes numbers and does nothing with them."""

    def increment(
        self, name: str, value: int | float = 1, tags: Mapping[str, str] | None = None
    ) -> None:
        """Do nothing."""

    def gauge(self, name: str, value: int | float, tags: Mapping[str, str] | None = None) -> None:
        """Do nothing."""

    def distribution(
        self,
        name: str,
        value: int | float,
        tags: Mapping[str, str] | None = None,
        unit: str | None = None,
    ) -> None:
        """Do nothing."""


class Call:
    """One operation underway, of which a backend and listeners are told.

    What they raise is logged: an object that is stored must not look as if it were not.

    Args:
        name: put, get, delete and so on.
        usecase: the name of the usecase.
        scope: the scope, as text.
        key: the key, if it is known.
        backend: what is told numbers.
        listeners: what are told events.
    """

    #: Operations whose latency is told.
    MEASURED = ("put", "get", "delete")

    def __init__(
        self,
        name: str,
        usecase: str,
        scope: str,
        key: str | None,
        backend: MetricsBackend,
        listeners: tuple[events.Listener, ...],
    ) -> None:
        self.name = name
        self.usecase = usecase
        self.bucket = f"{usecase}/{scope}"
        self.key = key
        self._backend = backend
        self._listeners = listeners
        self._begin = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._begin

    @contextlib.contextmanager
    def underway(self) -> Iterator[Call]:
        """Tell of the beginning, of a failure, and how long it took until an answer came."""
        self._tell(events.Started(self.name, self.bucket, self.key))
        try:
            yield self
        except Exception as error:
            self.failed(error)
            raise
        finally:
            if self.name in self.MEASURED:
                self._measure("latency", self.elapsed_s, "second")

    def failed(self, error: BaseException) -> None:
        """Tell that it failed for good."""
        if isinstance(error, ObjectClerkException):
            error.concerning(self.name, self.bucket, self.key)
        if self._listeners:
            ours = translate(error, self.name, self.bucket, self.key)
            self._tell(events.Failed(self.name, self.bucket, self.key, ours, self.elapsed_s))

    def receipt(self, size: int, finding: Finding) -> Receipt:
        """What moved, and how well that is proved."""
        assert self.key is not None
        return Receipt(
            operation=self.name,
            bucket=self.bucket,
            key=self.key,
            size=size,
            verdict=finding.verdict,
            basis=finding.basis,
            elapsed_s=self.elapsed_s,
        )

    def finished(self, receipt: Receipt | None = None) -> None:
        """Tell that it succeeded."""
        self._tell(events.Finished(self.name, self.bucket, self.key, receipt, self.elapsed_s))

    def sizes(self, raw: int, compressed: int | None) -> None:
        """Tell how much was put, how fast, and how well it was compressed."""
        elapsed_s = self.elapsed_s
        for size, compression in ((raw, "none"), (compressed, "zstd")):
            if size is None:
                continue
            tags = {"compression": compression}
            self._measure("size", size, "byte", tags)
            if size and elapsed_s:
                self._measure("throughput", size / elapsed_s, "byte/second", tags)
                self._measure("inverse_throughput", elapsed_s / size, "second/byte", tags)
        if raw and compressed:
            self._measure("compression_ratio", compressed / raw, None, {"compression": "zstd"})

    def _measure(
        self, what: str, value: float, unit: str | None, tags: Mapping[str, str] | None = None
    ) -> None:
        try:
            self._backend.distribution(
                f"storage.{self.name}.{what}",
                value,
                tags={"usecase": self.usecase, **(tags or {})},
                unit=unit,
            )
        except Exception:
            log.exception("the metrics backend failed")

    def _tell(self, event: events.Event) -> None:
        events.notify(self._listeners, event)
