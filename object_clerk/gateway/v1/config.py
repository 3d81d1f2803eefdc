"""What ``/v1`` can be told: a YAML file that ``SESSIONS_CONFIG`` names, and ``OS__...`` variables.

A variable names its field by the way to it, in capitals: ``OS__AUTH__ENFORCE``,
``OS__RATE_LIMITS__THROUGHPUT__GLOBAL_RPS``. Its value is read as YAML, so that a map can be given
inline, and counts more than the file's. An error names the field, never what stands there.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from object_clerk.config import read_dotenv
from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.session.durations import format_duration, parse_duration
from object_clerk.session.scope import Scope
from object_clerk.session.wire import check_usecase
from object_clerk.store.documents import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

M = TypeVar("M")

FILE = "SESSIONS_CONFIG"
PREFIX = "OS__"

#: Blocks of other servers' files that are settings of the gateway here.
_ELSEWHERE = frozenset(
    {"http_addr", "http", "storage", "service", "logging", "metrics", "sentry", "runtime"}
)

#: A block inside a block inside a block is as deep as it goes.
_DEEPEST = 8


def _duration(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("a time is written like 1d 2h")  # noqa: TRY004 - pydantic reads it
    return parse_duration(given) if isinstance(given, str) else given


def _at_least(least: timedelta) -> AfterValidator:
    """A bound that old versions of pydantic, too, refuse in words."""

    def check(given: timedelta) -> timedelta:
        if given < least:
            raise ValueError(f"it is at least {format_duration(least)}")
        return given

    return AfterValidator(check)


Duration = Annotated[timedelta, BeforeValidator(_duration), _at_least(timedelta(0))]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(gt=0, le=100)]
UsecaseName = Annotated[str, AfterValidator(check_usecase)]
Permissions = tuple[Literal["object.read", "object.write", "object.delete"], ...]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SigningKey(_Model):
    """The public keys that go by one name.

    Attributes:
        key_files: PEM files of Ed25519 public keys; each is tried, so keys can be rotated.
        max_permissions: what their tokens can do at most.
    """

    key_files: tuple[Path, ...] = Field(min_length=1)
    max_permissions: Permissions = ("object.read", "object.write", "object.delete")


class Auth(_Model):
    """Who may do what.

    Attributes:
        enforce: whether a request without a good token is refused, rather than only logged.
        keys: by the ``kid`` of tokens.
    """

    enforce: bool = True
    keys: dict[str, SigningKey] = Field(default_factory=dict)


class Allowed(_Model):
    """What a usecase may do of one kind of expiry.

    Attributes:
        allowed: whether it may at all.
        max: the longest time.
    """

    allowed: bool = True
    max: Duration | None = None


class AllowedManual(_Model):
    """Whether objects of a usecase may have no expiry."""

    allowed: bool = True


class Expiration(_Model):
    """The expiry that objects of a usecase may have."""

    manual: AllowedManual = AllowedManual()
    ttl: Allowed = Allowed()
    tti: Allowed = Allowed()


class UsecasePolicy(_Model):
    """What holds for one usecase."""

    expiration: Expiration = Expiration()


class _Matching(_Model):
    """Which requests are meant: those that fit all that is given.

    Attributes:
        usecase: this one.
        scopes: these values, maybe among others.
    """

    usecase: UsecaseName | None = None
    scopes: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _scopes_are_text(cls, given: Any) -> Any:
        """YAML reads ``org: 42`` as a number; pairs in a list will do as well."""
        if not isinstance(given, dict) or not (scopes := given.get("scopes")):
            return given
        try:
            pairs = dict(scopes)
            return {**given, "scopes": dict(Scope(**pairs).pairs())}
        except (TypeError, ValueError) as error:
            raise ValueError(f"scopes maps names to values: {error}") from None

    def fits(self, usecase: str, scopes: Mapping[str, str]) -> bool:
        """Whether a request is meant."""
        return self.usecase in (None, usecase) and self.scopes.items() <= scopes.items()


class Killswitch(_Matching):
    """Requests that are refused.

    Attributes:
        service: a glob for the header ``x-downstream-service``.
    """

    service: str | None = None


def _whole(model: M, name: str, whole: float | None, parts: Iterable[float | None]) -> M:
    """The model, if parts are only named where there is a whole: else they would limit nothing."""
    if whole is None and any(part is not None for part in parts):
        raise ValueError(f"a percentage is a part of {name}, which is not given")
    return model


class ThroughputRule(_Matching):
    """A rate for some requests: a number of its own, or a part of the global one."""

    rps: Rate | None = None
    pct: Percent | None = None

    @model_validator(mode="after")
    def _says_a_rate(self) -> ThroughputRule:
        if self.rps is None and self.pct is None:
            raise ValueError("a rule needs rps or pct")
        return self


class Throughput(_Model):
    """How many requests a process serves.

    Attributes:
        global_rps: of all, in a second; None for any number.
        burst: so many more at once.
        usecase_pct: the part of each usecase.
        scope_pct: the part of each scope of a usecase.
        rules: rates for some.
    """

    global_rps: Rate | None = None
    burst: int = Field(default=0, ge=0)
    usecase_pct: Percent | None = None
    scope_pct: Percent | None = None
    rules: tuple[ThroughputRule, ...] = ()

    @model_validator(mode="after")
    def _parts_are_of_something(self) -> Throughput:
        parts = (self.usecase_pct, self.scope_pct, *(rule.pct for rule in self.rules))
        return _whole(self, "global_rps", self.global_rps, parts)


class Bandwidth(_Model):
    """How many bytes of payload a process lets in and out.

    Attributes:
        global_bps: of all, bytes in a second; None for any number.
        burst_ms: so long may it be exceeded.
        usecase_pct: the part of each usecase.
        scope_pct: the part of each scope of a usecase.
        report_only: log what would be refused.
    """

    global_bps: Rate | None = None
    burst_ms: int = Field(default=1000, ge=1)
    usecase_pct: Percent | None = None
    scope_pct: Percent | None = None
    report_only: bool = False

    @model_validator(mode="after")
    def _parts_are_of_something(self) -> Bandwidth:
        return _whole(self, "global_bps", self.global_bps, (self.usecase_pct, self.scope_pct))


class RateLimits(_Model):
    """Limits of requests and of bytes."""

    throughput: Throughput = Throughput()
    bandwidth: Bandwidth = Bandwidth()


class Sweep(_Model):
    """How the dead are removed.

    Attributes:
        interval: the time between two batches in the background; None for never.
        batch: how many keys are looked at in a batch.
        grace: how long an object has to be dead: by so much clocks may differ.
        uploads: how long an upload in parts may take, from its beginning.
        unconditional: delete also where the store cannot delete on condition. What is written to
            the key of a dead object just when that is deleted is lost then.
    """

    interval: Annotated[Duration, _at_least(timedelta(seconds=1))] | None = None
    batch: int = Field(default=1000, ge=1, le=100_000)
    grace: Duration = timedelta(hours=1)
    uploads: Annotated[Duration, _at_least(timedelta(hours=1))] = timedelta(days=7)
    unconditional: bool = False


class SessionsConfig(_Model):
    """All that ``/v1`` can be told; the defaults are those of a file that says nothing."""

    auth: Auth = Auth()
    usecases: dict[UsecaseName, UsecasePolicy] = Field(default_factory=dict)
    killswitches: tuple[Killswitch, ...] = ()
    rate_limits: RateLimits = RateLimits()
    sweep: Sweep = Sweep()

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> SessionsConfig:
        """What the file and the variables say.

        Args:
            environ: the environment; ``os.environ``, and below it ``.env``, if None.

        Raises:
            ObjectClerkConfigurationException: one of them is wrong; the text names it.
        """
        if environ is None:
            file = {name: text or "" for name, text in read_dotenv(True).items()}
            environ = {**file, **os.environ}
        path = environ.get(FILE, "").strip()
        document = read_document(Path(path).expanduser()) if path else {}
        for name in sorted(_ELSEWHERE & document.keys()):
            log.warning("%s: %s is a setting of the gateway here, and is not looked at", FILE, name)
            del document[name]
        return cls.of(_overlaid(document, environ))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> SessionsConfig:
        """What a document says.

        Raises:
            ObjectClerkConfigurationException: it is wrong; the text names the field.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            # Not chained: what stands there may be a secret.
            said = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            raise ObjectClerkConfigurationException(f"{FILE}: {said}") from None


def _overlaid(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """A document, and over it what the variables say."""
    merged = dict(document)
    for name in sorted(environ):
        *way, last = (step.lower() for step in name.removeprefix(PREFIX).split("__"))
        if not name.startswith(PREFIX) or (way or [last])[0] in _ELSEWHERE:
            continue
        if not all((*way, last)) or len(way) > _DEEPEST:
            raise ObjectClerkConfigurationException(f"the variable {name} names no field")
        place = merged
        for step in way:
            there = place.get(step)
            place[step] = dict(there) if isinstance(there, dict) else {}
            place = place[step]
        try:
            place[last] = yaml.safe_load(environ[name])
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ObjectClerkConfigurationException(f"the variable {name} is not YAML") from None
    return merged
