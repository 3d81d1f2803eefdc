"""Where the configuration of a store comes from, if the program gives none.

The strongest first:

1. environment variables, ``OBJECT_STORE_`` and a field's name in capitals,
2. the same names in a ``.env`` file of the working directory,
3. the YAML files below ``CONFIG_PATH``: the section ``data_store``, or for a store with a name
   its section in ``data_stores``.

Nothing is read at import. What is said of OBJECT_STORE_* in :mod:`object_clerk.config` holds here
too: the default store and an :class:`~object_clerk.ObjectClerk` of the same process read the same
variables for endpoint, region and keys.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_clerk.config import read_dotenv
from object_clerk.exceptions import ObjectClerkTypeException
from object_clerk.store.configurations import (
    CONNECTIONS,
    FilesystemConnectionConfiguration,
    Framework,
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
)
from object_clerk.store.documents import filled_in, read_directory
from object_clerk.values import check_url, join_url, true_or_false

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The directories that are tried if CONFIG_PATH is not set: the first that is there counts.
DEFAULT_DIRECTORIES = (".configs", "/etc/config")

PREFIX = "OBJECT_STORE_"

_S3_FIELDS = tuple(ObjectStoreConnectionConfiguration.model_fields)
_FILE_FIELDS = tuple(FilesystemConnectionConfiguration.model_fields)

#: The fields that a variable may set; its name is PREFIX and the field's name in capitals.
FIELDS = ("framework", "root_bucket", *_S3_FIELDS, *_FILE_FIELDS)

_SWITCHES = ("secure", "durable")

#: What an ObjectClerk reads besides; the default store understands them too.
CLERK_VARIABLES = ("ENDPOINT_URL", "HOST", "PORT", "USE_SSL")


def find_configuration(
    name: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The configuration of a store, from variables and YAML files.

    Everything is read afresh each time. A configuration that is kept would hold yesterday's keys
    after they were changed, and what the first caller in a process found would decide for all
    others, in tests too. A store reads it once, when it is made.

    Variables are laid over the YAML section field by field. Two things are not mixed: if a
    variable names a framework of another kind, the section's ``connection`` and ``options`` are
    left out; and a session token of the section belongs to the access key beside it.

    Args:
        name: the store; None for the default store.
        environ: the environment, ``os.environ`` if None.

    Raises:
        StoreConfigurationError: there is none, or a file or variable is wrong.
    """
    if name is not None and (not isinstance(name, str) or not name):
        raise ObjectClerkTypeException("the name of a store is a str that is not empty")
    variables = _variables(environ)
    middle = "" if name is None else re.sub("[^A-Z0-9]", "_", name.upper()) + "_"
    _check_variables(variables, middle)
    given = _given(variables, middle)
    directory = _directory(variables)
    settings = {} if directory is None else read_directory(directory)
    section = _section(settings, name, variables)
    if not section and not given:
        raise _not_found(settings, name, directory, middle)
    return _laid_over(section, given)


def _variables(environ: Mapping[str, str] | None) -> dict[str, str]:
    """All variables that are set; the real environment beats ``.env``, empty ones do not count."""
    real = os.environ if environ is None else environ
    sources: tuple[Mapping[str, str | None], ...] = (read_dotenv(True), real)
    return {name: value for source in sources for name, value in source.items() if value}


def _check_variables(variables: Iterable[str], middle: str) -> None:
    """Refuse variables that nobody reads and that look like one of ours with a slip in it."""
    ends = {field.upper() for field in FIELDS}
    for variable in variables:
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest in ends or rest in CLERK_VARIABLES:
            continue
        if any(rest.endswith(f"_{end}") for end in ends):
            continue  # of another store
        known = [f"{each}{end}" for each in dict.fromkeys((middle, "")) for end in sorted(ends)]
        if near := difflib.get_close_matches(rest, known, 1):
            raise StoreConfigurationError(
                f"the variable {variable} is not known; did you mean {PREFIX}{near[0]}?"
            )


def _given(variables: Mapping[str, str], middle: str) -> dict[str, Any]:
    """The fields that variables set."""
    given: dict[str, Any] = {}
    for field in FIELDS:
        if value := variables.get(variable := f"{PREFIX}{middle}{field.upper()}"):
            given[field] = true_or_false(value, variable) if field in _SWITCHES else value
    if not middle:
        given = _given_to_a_clerk(variables) | given
    return given


def _given_to_a_clerk(variables: Mapping[str, str]) -> dict[str, Any]:
    """Endpoint and TLS by the names that an ObjectClerk reads, in its order."""
    found: dict[str, Any] = {}
    if url := variables.get(f"{PREFIX}ENDPOINT_URL"):
        found["endpoint"] = check_url(url, f"{PREFIX}ENDPOINT_URL")
    elif host := variables.get(f"{PREFIX}HOST"):
        # Without a scheme, which is for ``secure`` to choose.
        port = variables.get(f"{PREFIX}PORT")
        found["endpoint"] = join_url(host, port, False, f"{PREFIX}HOST").removeprefix("http://")
    if ssl := variables.get(f"{PREFIX}USE_SSL"):
        found["secure"] = true_or_false(ssl, f"{PREFIX}USE_SSL")
    return found


def _directory(variables: Mapping[str, str]) -> Path | None:
    if chosen := variables.get("CONFIG_PATH"):
        if not (path := Path(chosen)).is_dir():
            raise StoreConfigurationError(f"CONFIG_PATH is {chosen!r}, which is no directory")
        return path
    return next((path for path in map(Path, DEFAULT_DIRECTORIES) if path.is_dir()), None)


def _section(
    settings: Mapping[str, Any], name: str | None, variables: Mapping[str, str]
) -> dict[str, Any]:
    """The section of a store, with its variables filled in; empty if there is none."""
    field, section = "data_store", settings.get("data_store")
    if name is not None:
        field, section = f"data_stores.{name}", _stores(settings).get(name)
    if section is not None and not isinstance(section, dict):
        raise StoreConfigurationError.about((field, "is no mapping of names to settings"))
    return filled_in(section or {}, field, variables)  # type: ignore[no-any-return]


def _stores(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    stores = settings.get("data_stores") or {}
    if not isinstance(stores, dict):
        raise StoreConfigurationError.about(("data_stores", "is no mapping of names to stores"))
    return stores


def _not_found(
    settings: Mapping[str, Any], name: str | None, directory: Path | None, middle: str
) -> StoreConfigurationError:
    where = "no data_store"
    if name is not None:
        where, stores = f"no {name!r} in data_stores", sorted(_stores(settings))
        if near := difflib.get_close_matches(name, stores, 1):
            where += f" (did you mean {near[0]!r}?)"
        if stores:
            where += f", which has {', '.join(stores)}"
    if directory is None:
        looked = f"there is no directory {' or '.join(DEFAULT_DIRECTORIES)}"
    else:
        looked = f"there is {where}, in the YAML files below {directory}"
    variable = f"{PREFIX}{middle}ROOT_BUCKET"
    return StoreConfigurationError(
        f"Configuration not found: {looked}; and neither {variable} nor another variable of the "
        "store is set in the environment or in .env"
    )


def _laid_over(section: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The section, with what variables say instead."""
    found = dict(section)
    if "framework" in given and _kind(given) != _kind(section):
        found = {k: v for k, v in section.items() if k not in ("connection", "options")}
    found |= {name: given[name] for name in ("framework", "root_bucket") if name in given}
    names = _connection_fields(found)
    fields = {name: value for name, value in given.items() if name in names}
    connection = found.get("connection") or {}
    if fields and isinstance(connection, dict):
        if "access_key" in fields:
            connection = {k: v for k, v in connection.items() if k != "session_token"}
        found["connection"] = {**connection, **fields}
    return found


def _framework(section: Mapping[str, Any]) -> str:
    return str(section.get("framework") or Framework.MINIO)


def _kind(section: Mapping[str, Any]) -> object:
    """What two sections have in common whose connections have the same fields."""
    name = _framework(section)
    return CONNECTIONS.get(name, name)


def _connection_fields(section: Mapping[str, Any]) -> Iterable[str]:
    """What may stand in the connection: an ObjectClerk's keys mean nothing to a directory."""
    framework = _framework(section)
    if model := CONNECTIONS.get(framework):
        return model.model_fields
    return () if framework == Framework.MEMORY else (*_S3_FIELDS, *_FILE_FIELDS)
