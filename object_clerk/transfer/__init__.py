"""The movements of objects, one file each; imported when they are first used."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from object_clerk.transfer import buckets as buckets
    from object_clerk.transfer import conditions as conditions
    from object_clerk.transfer import copy as copy
    from object_clerk.transfer import delete as delete
    from object_clerk.transfer import download as download
    from object_clerk.transfer import listing as listing
    from object_clerk.transfer import move as move
    from object_clerk.transfer import multipart as multipart
    from object_clerk.transfer import reader as reader
    from object_clerk.transfer import save as save
    from object_clerk.transfer import source as source
    from object_clerk.transfer import stage as stage
    from object_clerk.transfer import upload as upload
    from object_clerk.transfer import uploads as uploads
    from object_clerk.transfer import versions as versions


def __getattr__(name: str) -> ModuleType:
    if find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
