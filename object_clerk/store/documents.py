"""YAML files of settings: one of them, or a directory of them read as one mapping.

An error names the file, the line and the field, and never what stands there: it may be a secret.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from object_clerk.store.configurations import StoreConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: ``$$``, ``${NAME}``, ``${NAME:-default}``; the last branch catches what only looks like one.
_PLACEHOLDER = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\{)")


def read_directory(directory: Path) -> dict[str, Any]:
    """All ``*.yaml`` and ``*.yml`` files below a directory, merged in the order of their paths.

    Mappings are merged key by key; of anything else the later file's counts. Names that begin
    with a dot are left out: Kubernetes mounts the files of a volume as links into a directory
    ``..data``, where they would be found a second time. Links are followed, each directory once.

    Raises:
        StoreConfigurationError: a file or directory cannot be read, or is not a YAML mapping.
    """
    merged: dict[str, Any] = {}
    for path in _files(directory):
        merged = _merged(merged, read_document(path))
    return merged


def read_document(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file; empty if the file is.

    Raises:
        StoreConfigurationError: the file cannot be read, or is not a YAML mapping.
    """
    if not path.is_file():
        raise StoreConfigurationError(f"{path} leads to no file")  # nor may a pipe hold us up
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = _with_names(yaml.safe_load(text) or {})
    except OSError as error:
        _unreadable(error)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Not chained: a YAML error quotes the file.
        raise StoreConfigurationError(f"{path}{_line(error, text)} is not YAML in UTF-8") from None
    if not isinstance(found, dict):
        raise StoreConfigurationError(f"{path} is no mapping of names to settings")
    return found


def filled_in(value: Any, field: str, variables: Mapping[str, str]) -> Any:
    """``value`` with the variables that its strings name.

    It is done on strings that YAML has read, never on its text: a value cannot become syntax,
    and what a variable holds is not looked at again.

    Args:
        value: a string, or a mapping or list that holds some.
        field: what it is called in errors.
        variables: the variables there are; an empty one counts as not set.

    Raises:
        StoreConfigurationError: a variable is not set and has no default.
    """
    if isinstance(value, dict):
        return {name: filled_in(each, f"{field}.{name}", variables) for name, each in value.items()}
    if isinstance(value, list):
        return [filled_in(each, f"{field}.{i}", variables) for i, each in enumerate(value)]
    if not isinstance(value, str):
        return value

    def put_in(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if found[0] == "${":
            raise StoreConfigurationError.about(
                (field, "has a '${' that is no ${NAME} or ${NAME:-default}; $$ stands for a $")
            )
        if (known := variables.get(found[1]) or found[2]) is None:
            raise StoreConfigurationError.about((field, f"the variable {found[1]} is not set"))
        return known

    return _PLACEHOLDER.sub(put_in, value)


def _files(directory: Path) -> list[Path]:
    found: list[Path] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(directory, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads to where we have been, or are
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(folder, name)
            for name in names
            if name.endswith((".yaml", ".yml")) and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: path.parts)


def _unreadable(error: OSError) -> NoReturn:
    raise StoreConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error


def _line(error: Exception, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return f", line {mark.line + 1},"
    if isinstance(error, yaml.reader.ReaderError):
        return f", line {text.count(chr(10), 0, error.position) + 1},"
    return ""


def _with_names(value: Any) -> Any:
    """``value`` with text as the keys of its mappings: fields have names, not numbers."""
    if isinstance(value, dict):
        return {str(name): _with_names(each) for name, each in value.items()}
    return [_with_names(each) for each in value] if isinstance(value, list) else value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **over}
    for name in base.keys() & over.keys():
        if isinstance(base[name], dict) and isinstance(over[name], dict):
            merged[name] = _merged(base[name], over[name])
    return merged
