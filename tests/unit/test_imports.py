"""What importing the package does, and does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import object_clerk

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
HEAVY = (
    "pydantic", "click", "rich", "fastapi", "moto", "flask", "werkzeug", "hypothesis", "pytest",
    "dotenv", "aiobotocore", "requests",
)  # fmt: skip


def _run(code: str, cwd: Path, environ: Mapping[str, str] | None = None) -> Any:
    """What a fresh process prints last, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


_LOADED = f"""
import json, sys
CODE
print(json.dumps(sorted(name for name in {HEAVY!r} if name in sys.modules)))
"""


@pytest.mark.parametrize(
    "code",
    [
        "import object_clerk",
        "from object_clerk import *",
        "import object_clerk.clerk, object_clerk.exceptions, object_clerk.testing",
        "import object_clerk; object_clerk.ObjectClerk('h', 9, 'a', 's').client",
        "import object_clerk; object_clerk.ObjectClerk.from_env().client",
    ],
)
def test_nothing_heavy_is_imported(code: str, tmp_path: Path) -> None:
    """Only a .env file makes python-dotenv be loaded."""
    assert _run(_LOADED.replace("CODE", code), tmp_path) == []


def test_dotenv_is_imported_for_a_dotenv_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RETRY_DEADLINE=5\n")
    code = "import object_clerk; object_clerk.ObjectClerk.from_env()"

    assert _run(_LOADED.replace("CODE", code), tmp_path) == ["dotenv"]


@pytest.mark.parametrize(
    "name",
    ["S3_CLIENT_CONFIG", "S3_UPLOAD_CONFIG", "CHECKSUM_RETRY_CONFIG", "MULTIPART_THRESHOLD"],
)
def test_import_never_fails_for_a_bad_setting(name: str, tmp_path: Path) -> None:
    """Check 23: a bad variable is told where it is used, not at the import."""
    code = """
import json, object_clerk, object_clerk.config, object_clerk.clerk
try:
    object_clerk.ObjectClerk("h")
except object_clerk.ObjectClerkConfigurationException as error:
    print(json.dumps(str(error)))
"""
    said = _run(code, tmp_path, {name: "{bad"})

    assert name in said
    assert "{bad" not in said


def test_import_starts_nothing(tmp_path: Path) -> None:
    """No threads, no talk with anybody, no handlers that print, no signal handlers."""
    code = """
import json, logging, signal, sys, threading
opened = []
talking = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
sys.addaudithook(lambda name, _: opened.append(name) if name in talking else None)
before = {number: signal.getsignal(number) for number in signal.valid_signals()}
import object_clerk
clerk = object_clerk.ObjectClerk("h", 9, "a", "s")
after = {number: signal.getsignal(number) for number in signal.valid_signals()}
handlers = [type(handler).__name__ for handler in logging.getLogger("object_clerk").handlers]
print(json.dumps([threading.active_count(), opened, before == after, handlers,
                  len(logging.getLogger().handlers)]))
"""
    threads, opened, same, handlers, of_root = _run(code, tmp_path)

    assert (threads, opened, same, of_root) == (1, [], True, 0)
    assert set(handlers) <= {"NullHandler"}


def test_public_names_are_all(tmp_path: Path) -> None:
    code = """
import json, object_clerk
names = {}
exec("from object_clerk import *", names)
print(json.dumps([sorted(set(names) - {"__builtins__"}), sorted(object_clerk.__all__),
                  [name for name in object_clerk.__all__ if name not in dir(object_clerk)]]))
"""
    starred, public, hidden = _run(code, tmp_path)

    assert starred == public
    assert hidden == []


def test_public_names_of_the_first_release() -> None:
    """What 1.1.0 has at its root is there."""
    names = {
        "ObjectClerk", "ObjectClerkException", "ObjectClerkServerInternalException",
        "ObjectClerkServerAuthException", "ObjectNotFoundException",
        "ObjectVerificationException", "ObjectSaveException",
    }  # fmt: skip

    assert names <= set(object_clerk.__all__)
    assert all(hasattr(object_clerk, name) for name in object_clerk.__all__)
    assert sorted(object_clerk.__all__) == list(object_clerk.__all__)


def test_every_public_exception_has_the_root() -> None:
    """Check 29: all of them derive from ObjectClerkException."""
    raisable = [
        value
        for name in object_clerk.__all__
        if isinstance(value := getattr(object_clerk, name), type) and issubclass(value, Exception)
    ]

    assert len(raisable) >= 18
    assert all(issubclass(cls, object_clerk.ObjectClerkException) for cls in raisable)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = object_clerk.no_such_name
    with pytest.raises(ImportError):
        exec("from object_clerk import no_such_name")


def test_movements_are_imported_when_they_are_used(tmp_path: Path) -> None:
    """They take longer to import than a clerk takes to make."""
    code = """
import json, sys
from object_clerk import ObjectClerk, transfer
ObjectClerk('h', 9, 'a', 's').close()
before = [name for name in sys.modules if name.startswith('object_clerk.transfer.')]
transfer.move.move
after = 'object_clerk.transfer.move' in sys.modules
print(json.dumps([before, after, hasattr(transfer, 'nothing')]))
"""
    assert _run(code, tmp_path) == [[], True, False]
