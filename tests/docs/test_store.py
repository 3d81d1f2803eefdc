"""The pages on the store: their examples run, and their tables say what the code does."""

from __future__ import annotations

import builtins
import inspect
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from docutils import nodes

from object_clerk import ObjectClerkException, exceptions
from object_clerk.store import (
    AsyncObjectStore,
    Capability,
    FilesystemConnectionConfiguration,
    Framework,
    ObjectStore,
    ObjectStoreClient,
    ObjectStoreConfiguration,
    ObjectStoreConnectionConfiguration,
    StoreConfigurationError,
)
from object_clerk.store import adapters as adapters_package
from object_clerk.store.adapters import filesystem, memory, s3
from object_clerk.store.client import DEFAULT_PRESIGNED_S, LONGEST_PRESIGNED_S
from object_clerk.store.sources import CLERK_VARIABLES, FIELDS, PREFIX, find_configuration
from tests.docs.rst import ROOT, Page, page

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from object_clerk.testing import EmbeddedServer

CLIENTS: dict[Framework, type[ObjectStoreClient]] = {
    Framework.MINIO: s3.S3Client,
    Framework.BOTO3: s3.S3Client,
    Framework.FILESYSTEM: filesystem.FilesystemClient,
    Framework.MEMORY: memory.MemoryClient,
}


@pytest.fixture(scope="module")
def text() -> Page:
    return page("docs/store.rst")


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What examples register is forgotten afterwards."""
    monkeypatch.setattr(adapters_package, "_registered", {})


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What examples set is taken back afterwards."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def blocks(text: Page, first_line: str = "") -> list[tuple[int, str]]:
    """The examples, or the one with this first line."""
    found = text.blocks("python")
    return [block for block in found if block[1].startswith(first_line)]


# -- examples ------------------------------------------------------------------------------


@pytest.mark.usefixtures("adapters", "environment")
def test_examples_run_in_their_order(
    text: Page, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    for line, code in blocks(text):
        if not code.startswith("# test_shelf.py"):
            exec(compile("\n" * line + code, "docs/store.rst", "exec"), namespace)

    assert namespace["header"] == b"SIMPLE"
    assert (workplace / "copies" / "night.fits").read_bytes() == (
        namespace["header"] + namespace["rest"]
    )
    assert namespace["by_dict"].config.connection == namespace["by_model"].config.connection
    assert namespace["by_dict"].config.options == {"retry_deadline": 60}
    assert namespace["keys"] == ["log.txt", "night.fits"]
    assert [each.key for each in namespace["archive"].list_files()] == ["night.fits"]
    assert [each.key for each in namespace["shelf"].list_files("a/")] == ["a/b"]
    shown = capsys.readouterr().out
    assert "TRANSPORT 30" in shown
    assert "2026/night.fits 30 20" in shown
    assert "it failed: " in shown
    assert "wrong arguments" not in shown
    for name in ("store", "archive", "shelf"):
        namespace[name].close()


def test_example_of_an_adapter_keeps_the_contract(text: Page, workplace: Path) -> None:
    for name in ("shelf.py", "test_shelf.py"):
        ((_, code),) = blocks(text, f"# {name}\n")
        (workplace / name).write_text(code, encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=workplace,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 50


def test_example_in_yaml_is_a_configuration(
    text: Page, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    ((_, example),) = text.blocks("yaml")
    assert set(yaml.safe_load(example)) == {"data_store", "data_stores"}
    (workplace / ".configs").mkdir()
    (workplace / ".configs" / "store.yaml").write_text(example, encoding="utf-8")
    environ = {"MINIO_USER": "me", "MINIO_PASSWORD": "mine"}

    found = ObjectStoreConfiguration.of(find_configuration(None, environ))
    named = ObjectStoreConfiguration.of(find_configuration("archive", {}))

    assert isinstance(found.connection, ObjectStoreConnectionConfiguration)
    assert found.connection.endpoint == "localhost:9000"
    assert found.connection.secret_key.get_secret_value() == "mine"
    assert named.framework is Framework.FILESYSTEM


# -- tables --------------------------------------------------------------------------------


def test_frameworks_and_what_they_can_do(text: Page) -> None:
    rows = {row[0]: row[2:] for row in text.table("store-frameworks")}
    assert rows == {
        framework.value: [
            "yes" if capability in CLIENTS[framework].capabilities else "no"
            for capability in Capability
        ]
        for framework in Framework
    }
    (header,) = (
        [" ".join(cell.astext().split()) for cell in head.findall(nodes.entry)]
        for table in text.tree.findall(nodes.table)
        if "store-frameworks" in table["names"]
        for head in table.findall(nodes.thead)
    )
    assert header[2:] == [each.name.lower().replace("_", " ") for each in Capability]


def stated(text: Page, table: str) -> dict[str, str]:
    return {row[0]: row[2] for row in text.table(table)}


def in_force(model: type[BaseModel]) -> dict[str, str]:
    def default(field: Any) -> str:
        if field.is_required():
            return "required"
        return str(field.get_default(call_default_factory=True))

    return {name: default(field) for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("store-fields", ObjectStoreConfiguration),
        ("s3-fields", ObjectStoreConnectionConfiguration),
        ("filesystem-fields", FilesystemConnectionConfiguration),
    ],
)
def test_fields_and_their_defaults(text: Page, table: str, model: type[BaseModel]) -> None:
    assert stated(text, table) == in_force(model)


def test_variables_and_the_fields_they_set(text: Page) -> None:
    rows = {row[0]: row[1].removeprefix("connection.") for row in text.table("store-variables")}
    assert rows == {f"{PREFIX}{field.upper()}": field for field in FIELDS}
    for name in CLERK_VARIABLES:
        assert f"{PREFIX}{name}" in text.text


def test_options_of_s3(text: Page) -> None:
    found = re.search(r"options are arguments of ObjectClerk: ([^.]*)\.", text.text)
    assert found is not None
    assert found[1].split(", ") == sorted(s3._OPTIONS)


def test_every_verb_is_in_the_table(text: Page) -> None:
    listed = [verb for row in text.table("store-verbs") for verb in row[0].split(", ")]
    verbs = {
        name
        for name, value in vars(ObjectStore).items()
        if inspect.isfunction(value) and not name.startswith("_")
    } - {"close"}
    assert sorted(listed) == sorted(verbs)
    assert verbs <= set(vars(AsyncObjectStore))


def test_errors_are_of_the_kinds_that_are_told(text: Page) -> None:
    rows = {row[0]: row[1] for row in text.table("store-errors")}
    kinds = vars(exceptions) | {"StoreConfigurationError": StoreConfigurationError}
    for name, when in rows.items():
        assert issubclass(kinds[name], ObjectClerkException)
        for builtin in re.findall(r"\((?:a|also a) (\w+)\)", when):
            assert issubclass(kinds[name], getattr(builtins, builtin))
    assert [issubclass(kinds[name], RuntimeError) for name in rows] == [
        *[False] * 3,
        *[True] * (len(rows) - 3),
    ]


def test_directory_is_drawn_as_the_module_draws_it(text: Page) -> None:
    drawn = [block for _, block in text.blocks() if "catalogue.sqlite3" in block]
    assert filesystem.__doc__ is not None
    assert len(drawn) == 1
    assert drawn[0] in inspect.cleandoc(filesystem.__doc__).replace("\n    ", "\n")


# -- presigned URLs ------------------------------------------------------------------------


def test_presigned_examples_run(store: EmbeddedServer, workplace: Path) -> None:
    store.create_bucket("raw")
    namespace: dict[str, Any] = {}
    for line, code in page("docs/presigned_urls.rst").blocks("python"):
        ported = code.replace("localhost:8080", f"{store.host}:{store.port}")
        exec(compile("\n" * line + ported, "docs/presigned_urls.rst", "exec"), namespace)

    assert namespace["data"] == b"observed by night"
    info = namespace["store"].head_object("uploads/night.txt")
    assert namespace["etag"].strip('"') == info.etag
    namespace["store"].close()


def test_curl_commands_name_the_urls() -> None:
    ((_, commands),) = page("docs/presigned_urls.rst").blocks("bash")
    assert re.findall(r'"\$(\w+)"', commands) == ["TO_WRITE", "TO_READ"]


def test_presigned_limits_are_those_of_the_code() -> None:
    text = page("docs/presigned_urls.rst").text
    assert f"expires is 1 to {LONGEST_PRESIGNED_S} seconds" in text
    assert f"; {DEFAULT_PRESIGNED_S} if it is not given" in text


def test_presigned_table_is_that_of_the_capabilities() -> None:
    rows = {row[0]: row[1] for row in page("docs/presigned_urls.rst").table("presigned")}
    assert rows == {
        framework.value: "yes" if Capability.PRESIGNED_URLS in client.capabilities else "no"
        for framework, client in CLIENTS.items()
    }
