"""The backends, and where those of others are registered.

An adapter is an :class:`~object_clerk.store.client.ObjectStoreComponentFactory`, known by the name
that ``framework`` has in a configuration. A package announces its own in its metadata::

    [options.entry_points]
    object_clerk.adapters =
        tape = tape_store.adapter:TapeFactory

and a program with :func:`register`.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from object_clerk.exceptions import ObjectClerkConfigurationException
from object_clerk.store.client import ObjectStoreComponentFactory
from object_clerk.store.configurations import Framework, StoreConfigurationError, near_miss

if TYPE_CHECKING:
    from object_clerk.store.configurations import ObjectStoreConfiguration

#: The group of entry points by which packages announce adapters.
ENTRY_POINTS = "object_clerk.adapters"

_OURS = {
    Framework.MINIO: "s3:S3Factory",
    Framework.BOTO3: "s3:S3Factory",
    Framework.FILESYSTEM: "filesystem:FilesystemFactory",
    Framework.MEMORY: "memory:MemoryFactory",
}

_registered: dict[str, type[ObjectStoreComponentFactory]] = {}


def register(
    framework: str, factory: type[ObjectStoreComponentFactory], *, replace: bool = False
) -> None:
    """Make an adapter known in this process.

    Args:
        framework: the name by which configurations ask for it.
        factory: makes its clients.
        replace: whether it may take the place of one that is registered.

    Raises:
        ObjectClerkConfigurationException: the name is taken, or ``factory`` is no factory.
    """
    _check(framework, factory)
    if framework in _OURS or (framework in _registered and not replace):
        raise ObjectClerkConfigurationException(f"there is an adapter called {framework!r} already")
    _registered[framework] = factory


def frameworks() -> list[str]:
    """The names of all adapters there are."""
    announced = (point.name for point in entry_points(group=ENTRY_POINTS))
    return sorted({*map(str, _OURS), *_registered, *announced})


def factory_of(config: ObjectStoreConfiguration) -> ObjectStoreComponentFactory:
    """The factory that a configuration asks for.

    Raises:
        ObjectClerkConfigurationException: there is no such adapter, or it cannot be loaded.
    """
    return _found(config.framework)(config)


def _found(framework: str) -> type[ObjectStoreComponentFactory]:
    if framework in _OURS:
        module, _, name = _OURS[Framework(framework)].partition(":")
        home = importlib.import_module(f"{__name__}.{module}")
        return _check(framework, getattr(home, name))
    if framework in _registered:
        return _registered[framework]
    for point in entry_points(group=ENTRY_POINTS, name=framework):
        try:
            return _check(framework, point.load())
        except (ImportError, AttributeError) as error:
            raise ObjectClerkConfigurationException(
                f"the adapter {framework!r} ({point.value}) cannot be loaded: {error}"
            ) from error
    raise StoreConfigurationError.about(
        ("framework", f"{framework!r} is not known; {near_miss(framework, frameworks())}")
    )


def _check(framework: str, factory: Any) -> type[ObjectStoreComponentFactory]:
    if not (inspect.isclass(factory) and issubclass(factory, ObjectStoreComponentFactory)):
        raise ObjectClerkConfigurationException(
            f"the adapter {framework!r} is no ObjectStoreComponentFactory"
        )
    return factory
