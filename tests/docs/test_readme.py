"""The README: its examples run, and its tables say what the code does."""

from __future__ import annotations

import ast
import dataclasses
import json
import pkgutil
import re
import shlex
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from object_clerk import ObjectClerk, Verdict, config, retry
from tests.docs.rst import ROOT, Page, page
from tests.servers import NAMES, minio, ministack, rclone, swift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from object_clerk.testing import EmbeddedServer

_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")
_EXAMPLE_PORT = "8080"


@pytest.fixture(scope="module")
def readme() -> Page:
    return page("README.rst")


# -- examples ------------------------------------------------------------------------------


def exports(text: str) -> dict[str, str]:
    """The variables that a block of shell commands sets."""
    words = (shlex.split(line) for line in text.splitlines())
    return dict(w[1].split("=", 1) for w in words if len(w) == 2 and w[0] == "export")


def test_variables_of_shell_are_set_before_they_are_used(readme: Page) -> None:
    lines = [line for _, text in readme.blocks("bash") for line in text.splitlines()]
    used: dict[str, int] = {}
    for number, line in enumerate(lines):
        for name in re.findall(r"\$([A-Z_]+)", line):
            used.setdefault(name, number)
    assert "TOKEN" in used
    for name, number in used.items():
        assert any(line.split("=")[0] in (name, f"export {name}") for line in lines[:number]), name


def test_all_examples_run_in_their_order(
    readme: Page, store: EmbeddedServer, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bucket in ("raw", "archive"):
        store.create_bucket(bucket)
    content = bytes(range(256)) * 100
    (workplace / "night.fits").write_bytes(content)
    (variables,) = (
        found
        for _, text in readme.blocks("bash")
        if "OBJECT_STORE_HOST" in (found := exports(text))
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace(_EXAMPLE_PORT, str(store.port)))

    namespace: dict[str, Any] = {}
    ports = 0
    for line, text in readme.blocks("python"):
        ports += text.count(_EXAMPLE_PORT)
        # The blank lines make a traceback point into the README.
        code = "\n" * line + text.replace(_EXAMPLE_PORT, str(store.port))
        exec(compile(code, "README.rst", "exec"), namespace)

    assert ports == 1
    assert namespace["data"] == content
    assert namespace["header"] + namespace["rest"] == content
    assert (workplace / "copy-of-night.fits").read_bytes() == content
    assert namespace["stream"].receipt.verdict is Verdict.CONTENT
    assert namespace["receipts"][0].verdict is Verdict.CONTENT
    assert namespace["url_to_read"].startswith(store.endpoint_url)
    with ObjectClerk.from_env() as clerk:
        raw = {entry["Key"] for entry in clerk.list_objects("raw")}
        archive = {entry["Key"] for entry in clerk.list_objects("archive")}
        assert clerk.get_object("raw", "2026/log.txt") == b"closed 05:10\n"
    assert raw == {"2026/night.fits", "2026/night.txt", "2026/log.txt"}
    assert archive == {"night.fits"}


def test_every_verb_has_an_example(readme: Page) -> None:
    code = "\n".join(text for _, text in readme.blocks("python"))
    verbs = {name for name in vars(ObjectClerk) if not name.startswith("_")}
    verbs -= {"client", "endpoint"}  # properties
    missing = {verb for verb in verbs if not re.search(rf"\.{verb}\(", code)}
    assert not missing


# -- tables --------------------------------------------------------------------------------


def test_wrapped_operations_are_those_that_are_called(readme: Page) -> None:
    client = boto3.session.Session().client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    known = {*client.meta.method_to_api_mapping, "generate_presigned_url"}
    client.close()
    # These are the names of verbs of ours as well; the first release of a listing is not called.
    known -= {"list_objects"}
    called = set()
    for path in (ROOT / "object_clerk").rglob("*.py"):
        if path.parent.name in ("testing", "cli", "demo"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                called.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                called.add(node.value)
    listed = set(re.findall(r"\w+", " ".join(readme.first_list()))) & known
    assert listed == called & known


def defaults(readme: Page) -> dict[str, str]:
    return {row[0]: row[3] for row in readme.table("variables")}


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        ("MULTIPART_THRESHOLD", config.DEFAULT_MULTIPART_THRESHOLD),
        ("S3_CLIENT_CONFIG", config.DEFAULT_CLIENT_CONFIG),
        ("S3_UPLOAD_CONFIG", {}),
        ("S3_DOWNLOAD_CONFIG", {}),
        ("CHECKSUM_RETRY_CONFIG", config.DEFAULT_CHECKSUM_RETRY),
        ("CONNECTION_RETRY_CONFIG", config.DEFAULT_CONNECTION_RETRY),
    ],
)
def test_stated_default_is_the_one_in_force(readme: Page, variable: str, default: object) -> None:
    assert json.loads(defaults(readme)[variable]) == default
    # And stating it changes nothing.
    stated, unstated = (
        dataclasses.replace(config.ClerkConfig.load(environ, dotenv=False), origins={})
        for environ in ({variable: defaults(readme)[variable]}, {})
    )
    assert stated == unstated


def test_stated_default_of_the_deadline(readme: Page) -> None:
    assert retry.SLOWEST_BYTES_PER_S == 1 << 20
    expected = f"{retry.DEFAULT_DEADLINE_S:.0f}, plus 1 for every MiB moved"
    assert defaults(readme)["RETRY_DEADLINE"] == expected


class _Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def variables_read() -> Iterator[str]:
    keys = ("OBJECT_STORE_ACCESS_KEY", "OBJECT_STORE_SECRET_KEY")
    environments: list[dict[str, str]] = [
        {},
        dict.fromkeys(("HOST", "PORT", "ACCESS_KEY", "SECRET_KEY"), "1"),
        {"OBJECT_STORE_HOST": "localhost", **dict.fromkeys(keys, "1")},
        {"AWS_ACCESS_KEY_ID": "1", "AWS_SECRET_ACCESS_KEY": "1"},
    ]
    for values in environments:
        environ = _Recorder(values)
        config.ClerkConfig.load(environ, dotenv=False)
        yield from environ.asked


def test_variables_in_the_table_are_those_that_are_read(readme: Page) -> None:
    cells = " ".join(f"{row[0]} {row[1]}" for row in readme.table("variables"))
    read = set(variables_read())
    words = {"MD5", "AWS", "URL", "JSON", "ETag", "S3", "DNS", "OBJECT_STORE"}
    stated = {name for name in _VARIABLE.findall(cells) if len(name) > 2} - words
    assert stated == read


def test_precedence_is_that_of_the_code(
    readme: Page, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source, without those before it, is the one that wins."""
    assert [row[0] for row in readme.table("precedence")] == ["1", "2", "3", "4", "5"]
    where = {"OBJECT_STORE_HOST": "single"}
    bare = {"HOST": "bare", "PORT": "1", "ACCESS_KEY": "a", "SECRET_KEY": "b"}
    aws = {"AWS_ENDPOINT_URL": "http://aws"}
    (workplace / ".env").write_text("AWS_ENDPOINT_URL=http://dotenv\n")

    def endpoint(environ: dict[str, str], **arguments: Any) -> str | None:
        return config.ClerkConfig.from_env(environ, **arguments).endpoint_url

    assert endpoint({**where, **bare, **aws}, host="argument") == "http://argument"
    assert endpoint({**where, **bare, **aws}) == "http://single"
    assert endpoint({**bare, **aws}) == "http://bare:1"
    assert endpoint(aws) == "http://aws"
    assert endpoint({}) == "http://dotenv"
    (workplace / ".env").unlink()
    assert endpoint({}) is None

    text = '{"multipart_threshold": 5, "max_concurrency": 3}'
    both = {"S3_UPLOAD_CONFIG": text, "MULTIPART_THRESHOLD": "6"}
    upload = config.ClerkConfig.load(both, dotenv=False).upload
    assert (upload.threshold_bytes, upload.workers) == (6, 3)
    given = {"multipart_threshold": 7}
    upload = config.ClerkConfig.load(both, dotenv=False, transfer_config=given).upload
    assert (upload.threshold_bytes, upload.workers) == (7, 10)


def test_servers_are_those_of_the_tests(readme: Page) -> None:
    rows = {row[0]: row[1] for row in readme.table("servers")}
    assert tuple(rows) == NAMES
    modules = {"ministack": ministack, "rclone": rclone, "swift": swift, "minio": minio}
    for name, module in modules.items():
        assert rows[name] == module.VERSION


def test_what_old_imports_became_can_be_imported(readme: Page) -> None:
    found = {row[1].split(",")[0] for row in readme.table("old-imports")}
    assert len(found) == len(readme.table("old-imports"))
    for name in found:
        assert callable(pkgutil.resolve_name(name))
    old = " ".join(row[0] for row in readme.table("old-imports"))
    for name in (path.rpartition(".")[2] for path in found if "sources" not in path):
        assert name in old or name == "register"


def test_commands_are_those_that_were_promised(readme: Page) -> None:
    lines = [line for _, text in readme.blocks("bash") for line in text.splitlines()]
    for command in (
        "pip install '.[demo]' && object-clerk demo [DIRECTORY]",
        "pip install -e '.[test]'",
        "pytest -v tests",
        "tox",
        "tox -e live-ceph",
        "tox -e live-minio",
        "tox -e live",
    ):
        assert command in lines
    environments = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in ("live-ceph", "live-minio", "live"):
        assert f"[testenv:{name}]" in environments
