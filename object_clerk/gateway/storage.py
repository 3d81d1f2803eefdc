"""The store behind the gateway, from the YAML file that ``STORAGE_CONFIG`` names.

The file has the shape that the users of amplify-storage-utils know::

    stores:
      archive:
        type: AsyncBucketStore
        config:
          bucket_name: ${S3_BUCKET}
          ...
    main: archive

One store is looked at: the main one, or the one that ``STORAGE_NAME`` names. An error names file
and field, and never what stands there.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from object_clerk.config import read_dotenv
from object_clerk.exceptions import ObjectClerkException
from object_clerk.store import Framework, ObjectStore, StoreConfigurationError
from object_clerk.store.adapters import frameworks
from object_clerk.store.configurations import near_miss
from object_clerk.store.documents import filled_in, read_document

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from object_clerk.gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

#: The bucket of a store that has only one.
BUCKET = "objects"

#: Type in the file -> our framework. The Async ones are the same here: no store blocks the others.
TYPES: Mapping[str, Framework] = {
    "memory": Framework.MEMORY,
    "DictStore": Framework.MEMORY,
    "MemoryStore": Framework.MEMORY,
    "filesystem": Framework.FILESYSTEM,
    "FilesystemStore": Framework.FILESYSTEM,
    "AsyncFilesystemStore": Framework.FILESYSTEM,
    "SafeFilesystemStore": Framework.FILESYSTEM,
    "AsyncSafeFilesystemStore": Framework.FILESYSTEM,
    "s3": Framework.BOTO3,
    "BucketStore": Framework.BOTO3,
    "AsyncBucketStore": Framework.BOTO3,
}

#: What amplify-storage-utils 1.4 has besides, each also with Async before its name.
NOT_OFFERED = frozenset(
    f"{sort}{name}"
    for sort in ("", "Async")
    for name in (
        "HashdirStore", "SqliteStore", "ZipStore", "MediaStore", "FanoutStore", "IdentityStore",
        "ReadonlyStore", "WriteonlyStore", "MirroringStore", "CachingStore", "NotifyingStore",
        "LoggingStore", "ExceptionLoggingStore", "TextEncodingStore", "GzipStore", "BufferStore",
        "Base64Store", "JsonStore", "PrefixStore", "HashPrefixStore", "UrlEncodingStore",
        "UrlValidatingStore", "RegexValidatingStore",
    )
)  # fmt: skip

#: Field of ``config`` -> what it is called in an ObjectStoreConfiguration. Of two names for one
#: field the first is the one that errors name.
_FIELDS: Mapping[Framework, Mapping[str, str]] = {
    Framework.MEMORY: {"bucket_name": "root_bucket"},
    Framework.FILESYSTEM: {
        "root_path": "connection.root",
        "root": "connection.root",
        "durable": "connection.durable",
        "bucket_name": "root_bucket",
    },
    Framework.BOTO3: {
        "bucket_name": "root_bucket",
        "endpoint_url": "connection.endpoint",
        "s3_access_key": "connection.access_key",
        "s3_secret_key": "connection.secret_key",
        "session_token": "connection.session_token",
        "region": "connection.region",
        "ca_bundle": "connection.ca_bundle",
        "options": "options",
    },
}

_BOTOCORE = "is not offered: options takes retry_deadline, client_config and the like instead"


def open_store(
    settings: GatewaySettings, variables: Mapping[str, str | None] | None = None
) -> ObjectStore:
    """The store that the settings name. Nothing is asked of it yet.

    Args:
        settings: the settings of the gateway.
        variables: what the file may name as ``${NAME}``; the environment, and below it ``.env``,
            if None.

    Raises:
        ObjectClerkConfigurationException: the file or one of its fields is wrong, or the store
            does not suit the settings.
    """
    path = settings.storage_config
    if path is None:
        return _in_memory(settings)
    try:
        document = read_document(path)
    except (StoreConfigurationError, OSError) as error:
        raise StoreConfigurationError(f"STORAGE_CONFIG: {error}") from error
    try:
        return _described(document, settings, _texts(variables))
    except StoreConfigurationError as error:
        raise StoreConfigurationError(f"{path}: {error}") from None


def _in_memory(settings: GatewaySettings) -> ObjectStore:
    if settings.storage_name is not None:
        raise _wrong("STORAGE_NAME", "names a store of a file, but STORAGE_CONFIG is not set")
    _check_workers(Framework.MEMORY, settings, "STORAGE_CONFIG")
    log.warning("STORAGE_CONFIG is not set: objects are kept in memory, and lost at the end")
    return ObjectStore({"framework": Framework.MEMORY, "root_bucket": BUCKET})


def _texts(variables: Mapping[str, str | None] | None) -> dict[str, str]:
    found = {**read_dotenv(True), **os.environ} if variables is None else variables
    return {name: text for name, text in found.items() if text}


def _described(
    document: Mapping[str, Any], settings: GatewaySettings, variables: Mapping[str, str]
) -> ObjectStore:
    """The store in a document; errors name its fields."""
    name, section = _chosen(document, settings.storage_name, variables)
    field = f"stores.{name}"
    if "base" in section:
        raise _wrong(
            f"{field}.base", "is not offered: there are no wrappers, so name the store itself"
        )
    _check_names(section, ("type", "config"), f"{field}.")
    section = filled_in(section, field, variables)
    sort = section.get("type")
    framework = _framework(sort, f"{field}.type")
    config = section.get("config") or {}
    if not isinstance(config, dict):
        raise _wrong(f"{field}.config", "is no mapping of names to values")
    _check_workers(framework, settings, f"{field}.type")
    names = _FIELDS[Framework(framework)] if sort in TYPES else None
    return _opened(framework, config, names, f"{field}.config")


def _chosen(
    document: Mapping[str, Any], wanted: str | None, variables: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Name and section of the one store that is wanted."""
    # Names that begin with x- are for anchors of YAML, as in compose files.
    _check_names([name for name in document if not name.startswith("x-")], ("stores", "main"), "")
    stores = document.get("stores")
    if not isinstance(stores, dict) or not stores:
        raise _wrong("stores", "is missing, or no mapping of names to stores")
    field, name = "STORAGE_NAME", wanted
    if wanted is None:
        field, name = "main", filled_in(document.get("main"), "main", variables)
        if not isinstance(name, str) or not name:
            raise _wrong("main", "is missing: it names one of the stores")
    if name not in stores:
        raise _wrong(
            field, f"there is no store {name!r} in stores; {near_miss(str(name), list(stores))}"
        )
    if not isinstance(stores[name], dict):
        raise _wrong(f"stores.{name}", "is no mapping of type and config")
    return str(name), stores[name]


def _framework(sort: object, field: str) -> str:
    if not isinstance(sort, str):
        raise _wrong(field, "is missing: it names a kind of store")
    known = sorted({*TYPES, *frameworks()})
    if sort in NOT_OFFERED:
        raise _wrong(field, f"{sort} is not offered here; there are {', '.join(known)}")
    if sort not in known:
        raise _wrong(field, f"{sort!r} is not known; {near_miss(sort, known)}")
    return TYPES.get(sort, sort)


def _check_workers(framework: str, settings: GatewaySettings, field: str) -> None:
    if framework == Framework.MEMORY and settings.workers > 1:
        raise _wrong(
            field,
            f"each of the {settings.workers} WORKERS would have a store in memory of its "
            "own: keep the objects elsewhere, or use one worker",
        )


def _check_names(given: Iterable[str], known: Collection[str], field: str) -> None:
    for name in given:
        if name not in known:
            raise _wrong(f"{field}{name}", f"is not known; {near_miss(name, known)}")


def _opened(
    framework: str, config: Mapping[str, Any], names: Mapping[str, str] | None, field: str
) -> ObjectStore:
    """The store; what is wrong with it is said of the fields of ``config``."""
    if names is None:  # the adapter's own fields; which it is stands in type
        given, names = dict(config), {}
        if "framework" in given:
            raise _wrong(f"{field}.framework", "is what type says")
    else:
        given = _renamed(config, names, field)
    ours = {path: name for name, path in reversed(list(names.items()))}
    try:
        return ObjectStore({**given, "framework": framework})
    except StoreConfigurationError as error:
        problems = error.problems or (("", str(error)),)
        raise StoreConfigurationError.about(
            *((f"{field}.{ours.get(name, name)}".rstrip("."), said) for name, said in problems)
        ) from None
    except ObjectClerkException as error:
        raise _wrong(field, error.message) from error


def _renamed(config: Mapping[str, Any], names: Mapping[str, str], field: str) -> dict[str, Any]:
    """``config`` by the names of an ObjectStoreConfiguration. What is empty counts as not given."""
    if "botocore_config" in config and "options" in names:
        raise _wrong(f"{field}.botocore_config", _BOTOCORE)
    _check_names(config, names, f"{field}.")
    found: dict[str, Any] = {"connection": {}}
    if "endpoint_url" not in names:
        found["root_bucket"] = BUCKET
    for name, value in config.items():
        group, dot, last = names[name].partition(".")
        place, last = (found[group], last) if dot else (found, group)
        if dot and last in place:
            raise _wrong(f"{field}.{name}", "is given twice")
        if value not in (None, ""):
            place[last] = value
    return found


def _wrong(field: str, said: str) -> StoreConfigurationError:
    return StoreConfigurationError.about((field, said))
