"""The wheel: what is in it, and what it says of itself."""

from __future__ import annotations

import configparser
import email.parser
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from object_clerk import __version__
from tests.docs.rst import ROOT

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

#: What the core needs, and nothing else: every further dependency belongs to an extra.
CORE = {"boto3", "botocore", "python-dotenv", "tenacity"}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as `pip install .` builds it, from a copy, so that nothing is left here."""
    place = tmp_path_factory.mktemp("wheel")
    # Only what version control keeps by its own rules; a stale `build` would get into the wheel.
    unwanted = (".*", "build", "dist", "*.egg-info", "__pycache__", "venv")
    shutil.copytree(ROOT, place / "source", ignore=shutil.ignore_patterns(*unwanted))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", place, "./source"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode and "Could not find a version that satisfies" in done.stderr:
        pytest.skip("the build system cannot be downloaded here")
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def in_dist_info(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        path = f"object_clerk-{__version__}.dist-info/{name}"
        return archive.read(path).decode()


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    return email.parser.Parser().parsestr(in_dist_info(wheel, "METADATA"))


def test_it_holds_the_whole_package_and_nothing_else(files: set[str]) -> None:
    package = ROOT / "object_clerk"
    expected = {str(path.relative_to(ROOT)) for path in package.rglob("*.py") if path.is_file()} | {
        "object_clerk/py.typed"
    }
    found = {name for name in files if ".dist-info/" not in name}
    assert found == expected
    assert not {name.split("/")[0] for name in found} & {"tests", "benchmarks", "docs"}


def test_it_runs_on_every_platform(wheel: Path) -> None:
    assert wheel.name == f"object_clerk-{__version__}-py3-none-any.whl"


def test_licence(wheel: Path, metadata: Message, files: set[str]) -> None:
    assert metadata["License-Expression"] == "MIT"
    (name,) = metadata.get_all("License-File", [])
    assert f"object_clerk-{__version__}.dist-info/licenses/{name}" in files


def test_what_it_says_of_itself(metadata: Message) -> None:
    assert metadata["Name"] == "object-clerk"
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/x-rst"
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    assert metadata.get_payload().strip() == readme.strip()  # type: ignore[union-attr]


def test_command(wheel: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(in_dist_info(wheel, "entry_points.txt"))
    assert {name: dict(parser[name]) for name in parser.sections()} == {
        "console_scripts": {"object-clerk": "object_clerk.cli:main"}
    }


def requirements(metadata: Message) -> list[tuple[str, str]]:
    """Name of each required distribution, and the extra that it belongs to."""
    found = []
    for line in metadata.get_all("Requires-Dist", []):
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"""extra == ["']([a-z]+)["']""", line)
        assert name is not None
        found.append((name[0], extra[1] if extra else ""))
    return found


def test_the_core_needs_four_distributions(metadata: Message) -> None:
    core = [name for name, extra in requirements(metadata) if not extra]
    assert sorted(core) == sorted(CORE)


def test_extras(metadata: Message) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    assert set(metadata.get_all("Provides-Extra", [])) == set(parser["options.extras_require"])
    by_extra: dict[str, set[str]] = {}
    for name, extra in requirements(metadata):
        by_extra.setdefault(extra, set()).add(name)
    assert by_extra["cli"] == {"click", "rich"}
    assert by_extra["testing"] == {"moto", "trustme"}
    assert by_extra["crt"] == {"awscrt"}
    assert by_extra["demo"] == {"object-clerk"}
    assert {"pytest", "docutils", "object-clerk"} <= by_extra["test"]


_IMPORT_ALL = """
import importlib, pkgutil, sys
import object_clerk
assert sys.argv[1] in object_clerk.__file__, object_clerk.__file__
for module in pkgutil.walk_packages(object_clerk.__path__, "object_clerk."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

_IMPORT_CORE = """
import sys
import object_clerk
from object_clerk import ObjectClerk
ObjectClerk("localhost", access_key="a", secret_key="b").client
heavy = {"pydantic", "click", "rich", "moto", "flask", "fastapi", "pytest", "docutils"}
print(*sorted(heavy & sys.modules.keys()))
"""


def run_from(wheel: Path, place: Path, code: str) -> str:
    """Run code for which the package is the one in the wheel."""
    code = f"import sys; sys.path.insert(0, {str(wheel)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, wheel.name],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_can_be_imported_from_it(wheel: Path, tmp_path: Path) -> None:
    run_from(wheel, tmp_path, _IMPORT_ALL)


def test_the_core_imports_nothing_of_the_extras(wheel: Path, tmp_path: Path) -> None:
    assert run_from(wheel, tmp_path, _IMPORT_CORE) == ""
