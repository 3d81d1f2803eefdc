"""The configuration of a store, checked by pydantic."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from object_clerk.exceptions import ObjectClerkConfigurationException, ObjectClerkException
from object_clerk.names import check_bucket
from object_clerk.values import check_url

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Framework(enum.StrEnum):
    """The backends that come with the package. Other names are those of registered adapters."""

    MINIO = "minio"
    BOTO3 = "boto3"
    FILESYSTEM = "filesystem"
    MEMORY = "memory"


#: Both stand for S3. They were once two libraries; here both are an ObjectClerk.
S3_FRAMEWORKS = frozenset((Framework.MINIO, Framework.BOTO3))


class _Model(BaseModel):
    """Refuses what it does not know, and says what was meant."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            # Not chained: what it was given is in it, secrets too.
            raise StoreConfigurationError.about(*_problems(error, type(self))) from None


class StoreConfigurationError(ObjectClerkConfigurationException):
    """The configuration of a store is wrong; the text names the field.

    Attributes:
        problems: for each field that is wrong its name and what is wrong with it.
    """

    problems: tuple[tuple[str, str], ...] = ()

    @classmethod
    def about(cls, *problems: tuple[str, str]) -> StoreConfigurationError:
        """The error that says what is wrong with each field."""
        error = cls("; ".join(f"{field}: {said}".removeprefix(": ") for field, said in problems))
        error.problems = problems
        return error


def _named(given: object) -> object:
    """A path can be named so: pathlib takes an empty one for the working directory."""
    if isinstance(given, str) and (not given.strip() or "\0" in given):
        raise ValueError("is empty, or has a NUL in it")
    return given


def _absolute(path: Path) -> Path:
    """It is meant from where the program is now, wherever it goes later."""
    try:
        return path.expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no such user, or no working directory any more
        raise ValueError(str(error)) from error


_AbsolutePath = Annotated[Path, BeforeValidator(_named), AfterValidator(_absolute)]


class ObjectStoreConnectionConfiguration(_Model):
    """How an S3 store is reached.

    Attributes:
        endpoint: ``host``, ``host:port``, or a URL, whose scheme then decides about TLS.
        access_key: the access key.
        secret_key: the secret key; shown as asterisks.
        secure: https instead of http; not with a URL that says http.
        region: the region to sign for.
        session_token: belongs to temporary keys.
        ca_bundle: a file of certificates to trust.
    """

    endpoint: str
    access_key: str = Field(min_length=1)
    secret_key: SecretStr = Field(min_length=1)
    secure: bool = False
    region: str | None = None
    session_token: SecretStr | None = None
    ca_bundle: _AbsolutePath | None = None

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_one(cls, endpoint: str) -> str:
        check_url(endpoint if "://" in endpoint else f"http://{endpoint}", "it")
        return endpoint

    @field_validator("secure")
    @classmethod
    def _secure_is_kept(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and info.data.get("endpoint", "").lower().startswith("http://"):
            raise ValueError("is true, but the endpoint says http: make it https, or leave one out")
        return secure

    @property
    def url(self) -> str:
        """The endpoint as a URL."""
        if "://" in self.endpoint:
            return self.endpoint
        return f"{'https' if self.secure else 'http'}://{self.endpoint}"


class FilesystemConnectionConfiguration(_Model):
    """Where a ``filesystem`` store keeps its objects.

    Attributes:
        root: a directory of its own on a local disk; it is made if it is not there. ``~`` is the
            home directory, and a relative one is meant from where the program is now.
        durable: whether a write returns only when the disk has it, so that it survives a loss of
            power. Without it, it survives the end of the process.
    """

    root: _AbsolutePath
    durable: bool = True


class ObjectStoreConfiguration(_Model):
    """Which backend, which bucket, and how to reach it.

    Frozen, but no key of a dict: dicts are in it.

    Attributes:
        framework: a :class:`Framework`, or the name of a registered adapter.
        root_bucket: the bucket that is meant where none is given.
        connection: what the backend needs to know: for S3 an
            :class:`ObjectStoreConnectionConfiguration`, for ``filesystem`` a
            :class:`FilesystemConnectionConfiguration`, for ``memory`` nothing, for other adapters
            a mapping that they check themselves.
        options: more settings of the adapter; for S3 those of :class:`~object_clerk.ObjectClerk`,
            such as ``retry_deadline``.
    """

    framework: Annotated[
        str,
        # None is what 1.x took for the default.
        BeforeValidator(lambda name: Framework.MINIO if name is None else name),
        AfterValidator(lambda name: Framework(name) if name in set(Framework) else name),
    ] = Framework.MINIO
    root_bucket: Annotated[str, AfterValidator(check_bucket)]
    connection: (
        ObjectStoreConnectionConfiguration | FilesystemConnectionConfiguration | dict[str, Any]
    ) = Field(default_factory=dict, validate_default=True, repr=False)
    options: dict[str, Any] = Field(default_factory=dict, repr=False)

    __hash__ = None  # type: ignore[assignment]

    @field_validator("connection", mode="wrap")
    @classmethod
    def _connection_of_the_framework(
        cls, given: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Read it as what the framework needs, so that errors name the fields of that one.

        What pydantic would make of it depends on which model happens to fit.
        """
        model = CONNECTIONS.get(info.data.get("framework", ""))
        if isinstance(given, model or _Model):
            return given
        if isinstance(given, BaseModel) and not isinstance(given, _Model):
            given = given.model_dump()
        if given is not None and not isinstance(given, Mapping):
            what = "a dict" if model is None else f"a dict or a {model.__name__}"
            raise StoreConfigurationError.about(("", f"is {what}"))
        fields = _names_checked(given or {})
        return fields if model is None else model(**fields)

    @classmethod
    def of(cls, given: object) -> ObjectStoreConfiguration:
        """The configuration in a dict or a model.

        Raises:
            StoreConfigurationError: something is missing, wrong, or not known.
        """
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise StoreConfigurationError(
                "the configuration of a store is a dict or an ObjectStoreConfiguration, "
                f"not {type(given).__name__}"
            )
        return cls(**_names_checked(given))


#: What the connection of a framework is; those of other adapters check theirs themselves.
CONNECTIONS: Mapping[str, type[_Model]] = {
    Framework.MINIO: ObjectStoreConnectionConfiguration,
    Framework.BOTO3: ObjectStoreConnectionConfiguration,
    Framework.FILESYSTEM: FilesystemConnectionConfiguration,
}


def _names_checked(given: Mapping[Any, Any]) -> dict[str, Any]:
    """A dict of the same fields, whose names are text."""
    for name in given:
        if not isinstance(name, str):
            raise StoreConfigurationError.about(
                ("", f"the name of a field is text, not {type(name).__name__}")
            )
    return dict(given)


def near_miss(name: str, known: Collection[str]) -> str:
    """What to say of a name that is not known."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"


def _problems(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for each in error.errors(include_url=False, include_input=False):
        where = ".".join(str(step) for step in each["loc"]) or model.__name__
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, StoreConfigurationError):
            for field, said in cause.problems:
                yield f"{where}.{field}".rstrip("."), said
        elif isinstance(cause, ObjectClerkException):
            yield where, cause.message
        elif each["type"] == "value_error":
            yield where, str(cause)
        elif each["type"] == "extra_forbidden":
            yield where, f"is not known; {near_miss(where, list(model.model_fields))}"
        elif each["type"] == "missing":
            yield where, "is missing"
        else:
            yield where, each["msg"][:1].lower() + each["msg"][1:]
