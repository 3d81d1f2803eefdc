"""The page on the gateway: its commands run, and its tables say what the code does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from object_clerk.cli.serve import command
from object_clerk.gateway.app import create_app
from object_clerk.gateway.settings import GatewaySettings
from object_clerk.gateway.storage import _FIELDS, TYPES, open_store
from object_clerk.rest import RestStore
from object_clerk.store import Framework
from tests.docs.rst import ROOT, Page, page

PATIENCE_S = 120

DEFAULT_URL = "http://localhost:8000"


@pytest.fixture(scope="module")
def text() -> Page:
    return page("docs/gateway.rst")


class Shell:
    """Runs the blocks of the page one after the other, as in one terminal."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.url = DEFAULT_URL
        scripts = Path(sys.executable).parent
        self.environ = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
        for each in GatewaySettings().explain():
            self.environ.pop(each.name.upper(), None)

    def run(self, block: str) -> str:
        """What a block of bash prints; what it exports stays."""
        script = f"set -eu -o pipefail\n{self.ported(block)}\nenv -0 > .exported\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.place,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        exported = (self.place / ".exported").read_text(encoding="utf-8")
        self.environ = dict(each.split("=", 1) for each in exported.split("\0") if each)
        return done.stdout

    def ported(self, block: str) -> str:
        return block.replace(DEFAULT_URL, self.url)

    def serve(self, block: str) -> subprocess.Popen[str]:
        """Run the block that serves, at a free port."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {block}"],
            cwd=self.place,
            env={**self.environ, "PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[-1]
        return process


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for name in ("bash", "curl"):
        if shutil.which(name) is None:
            pytest.skip(f"the examples need {name}")
    return Shell(tmp_path)


def test_the_examples_run_in_their_order(
    text: Page, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, storage), _ = text.blocks("yaml")
    (shell.place / "storage.yaml").write_text(storage, encoding="utf-8")
    made, check, serve, first, *others = [block for _, block in text.blocks("bash")]
    ((line, python),) = text.blocks("python")
    assert serve == "object-clerk serve --storage-config storage.yaml"
    shell.run(made)
    assert "The store is filesystem, bucket objects; 1 token." in shell.run(check)
    with shell.serve(serve) as process:
        try:
            assert '"keys":["2026/night one.yaml"]' in shell.run(first)
            monkeypatch.setenv("TEST_API_KEY", shell.environ["TEST_API_KEY"])
            namespace: dict[str, object] = {}
            code = compile("\n" * line + shell.ported(python), "docs/gateway.rst", "exec")
            exec(code, namespace)
            assert namespace["data"] == b"Hello, World!"
            assert namespace["keys"] == ["2026/night one.yaml", "my-key"]
            shown = [shell.run(block) for block in others]
            with RestStore(shell.url, shell.environ["TEST_API_KEY"]) as store:
                types = {store.head(key).content_type for key in store.keys()}  # noqa: SIM118
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
    tokens, objects, presigned = shown
    assert re.search(r"reader +read +2026/", tokens)
    assert objects.startswith("stores{")
    assert '"size":5' in objects
    assert presigned.endswith(storage)
    assert types == {"application/octet-stream", "application/yaml"}
    files = [path for path in shell.place.rglob("*") if path.is_file() and path.name != ".exported"]
    token = shell.environ["TEST_API_KEY"].encode()
    assert [path for path in files if token in path.read_bytes()] == []


def test_the_example_of_s3_is_one(text: Page, tmp_path: Path) -> None:
    _, (_, example) = text.blocks("yaml")
    path = tmp_path / "storage.yaml"
    path.write_text(example, encoding="utf-8")
    with open_store(GatewaySettings(storage_config=path), {}) as store:
        assert store.config.framework is Framework.BOTO3
        assert store.config.options == {"retry_deadline": 60}
    with open_store(GatewaySettings(storage_config=path, storage_name="scratch"), {}) as store:
        assert store.config.framework is Framework.MEMORY


def test_variables_and_their_defaults(text: Page) -> None:
    stated = [(row[0], row[1]) for row in text.table("gateway-variables")]
    defaults = {each.name.upper(): each.value for each in GatewaySettings().explain()}
    defaults["URL_KEYS_FILE"] = Path(defaults["URL_KEYS_FILE"]).name
    assert stated == list(defaults.items())


def test_options_of_the_command_are_variables(text: Page) -> None:
    variables = {row[0] for row in text.table("gateway-variables")}
    options = {
        each.name.upper() for each in command.params if each.name not in ("check", "as_json")
    }
    assert options - {"DEBUG"} <= variables


def test_types_and_their_fields(text: Page) -> None:
    stated = {
        frozenset(row[0].split(", ")): set(re.findall(r"\w+", row[1])) - {"or"}
        for row in text.table("gateway-types")
    }
    assert stated == {
        frozenset(name for name, kind in TYPES.items() if kind == framework): set(fields)
        for framework, fields in _FIELDS.items()
    }


def test_endpoints_are_those_of_the_application(text: Page) -> None:
    stated = {tuple(row[0].split()) for row in text.table("gateway-endpoints")}
    application = create_app(GatewaySettings())
    paths = application.openapi()["paths"]
    there = {(verb.upper(), path) for path, each in paths.items() for verb in each}
    # Not told twice for those of operations, which are not for programs.
    there -= {each for each in there if each[0] == "HEAD" and each[1] != "/objects/{key}"}
    assert stated == there | {("GET", "/metrics")}
    assert application.url_path_for("metrics") == "/metrics"


def test_steps_in_a_container_are_those_of_the_files(text: Page) -> None:
    steps = "\n".join(block for _, block in text.blocks("console"))
    for name in re.findall(r"cp (\S+)", steps):
        assert (ROOT / "deploy" / name).is_file()
    template = (ROOT / "deploy" / "dotenv.template").read_text(encoding="utf-8")
    for line in ("STORAGE_CONFIG=./storage.yaml", "HOST_STORAGE_PATH=./data"):
        assert f"# {line}\n" in template
        assert line in text.text
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yml").read_text(encoding="utf-8"))
    assert "object-store" in compose["services"]
