"""``object-clerk doctor`` and ``object-clerk sweep`` as processes of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from object_clerk.cli.exit_codes import ExitCode
from object_clerk.endpoint.features import FEATURES
from object_clerk.names import STAGE_MARK, random_key
from object_clerk.testing import EmbeddedServer, FaultProxy, status_before
from tests.contract.support import keys, unfinished
from tests.e2e.test_cli import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

#: This server says of every upload that it was begun in November 2010.
OLDER = "7d"
TOO_OLD = "2000w"


@pytest.fixture(scope="module")
def store(_clean_session_environment: None) -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def proxy(store: EmbeddedServer) -> Iterator[FaultProxy]:
    with FaultProxy(store.endpoint_url) as started:
        yield started


@pytest.fixture
def s3(store: EmbeddedServer) -> S3Client:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=store.endpoint_url,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture
def bucket(s3: S3Client, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    name = f"bucket-{abs(hash(request.node.name))}"
    s3.create_bucket(Bucket=name)
    return name


class Command:
    """Runs the command line against the store, through the proxy."""

    def __init__(self, store: EmbeddedServer, proxy: FaultProxy) -> None:
        self.variables = {
            "OBJECT_STORE_ENDPOINT_URL": proxy.endpoint_url,
            "OBJECT_STORE_ACCESS_KEY": store.access_key,
            "OBJECT_STORE_SECRET_KEY": store.secret_key,
        }

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=None, **self.variables | variables)


@pytest.fixture
def command(store: EmbeddedServer, proxy: FaultProxy) -> Command:
    return Command(store, proxy)


def lines(stdout: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What comes before the summary, and the summary."""
    *others, summary = [json.loads(line) for line in stdout.splitlines()]
    assert summary.pop("type") == "summary"
    return others, summary


def assert_one_line(done: subprocess.CompletedProcess[str], code: ExitCode) -> str:
    """The command has failed, and said in one line why."""
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("object-clerk: ")
    return line


class TestDoctor:
    def test_as_a_table(self, command: Command, s3: S3Client, bucket: str) -> None:
        s3.put_object(Bucket=bucket, Key="mine", Body=b"mine")
        done = command("doctor", bucket)

        assert (done.returncode, done.stderr) == (0, "")
        table, _, helping = done.stdout.partition("\nWhat helps:\n")
        for each in FEATURES:
            (row,) = [line for line in table.splitlines() if line.startswith(f"{each.label} ")]
            if each.name == "crc64nvme":  # moto looks at no CRC32 either
                assert "not asked, since no CRC32 is checked" in row
                continue
            assert each.honoured in row or each.missing in row
        assert "Copy If-None-Match" in helping
        assert "let each key have one writer" in helping
        assert keys(s3, bucket) == ["mine"]

    def test_in_a_narrow_terminal(self, command: Command, bucket: str) -> None:
        done = command("doctor", bucket, COLUMNS="80")

        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
        words = " ".join(done.stdout.split())
        assert all(each.label in words for each in FEATURES)

    def test_as_json(self, command: Command, proxy: FaultProxy, bucket: str) -> None:
        done = command("doctor", bucket, "--json")

        assert (done.returncode, done.stderr) == (0, "")
        findings, summary = lines(done.stdout)
        assert [each["feature"] for each in findings] == [each.label for each in FEATURES]
        assert {each["type"] for each in findings} == {"finding"}
        found = {each["feature"]: each for each in findings}
        assert found["PUT If-None-Match"]["support"] == "HONOURED"
        assert found["Copy If-None-Match"]["support"] == "IGNORED"
        assert found["Copy If-None-Match"]["settings"]
        assert summary == {"endpoint_url": proxy.endpoint_url, "left_behind": []}

    @pytest.mark.parametrize(
        ("arguments", "variables", "prefix"),
        [
            ((), {}, ".object-clerk-probe/"),
            (("--prefix", "scratch-"), {}, "scratch-"),
            ((), {"PROBE_PREFIX": "elsewhere/"}, "elsewhere/"),
        ],
    )
    def test_where_it_works(
        self,
        command: Command,
        proxy: FaultProxy,
        bucket: str,
        arguments: tuple[str, ...],
        variables: dict[str, str],
        prefix: str,
    ) -> None:
        assert command("doctor", bucket, *arguments, **variables).returncode == 0
        paths = {each.path for each in proxy.log if each.query != "versioning"}
        assert paths
        assert all(path.startswith(f"/{bucket}/{prefix}") for path in paths)

    def test_missing_bucket(self, command: Command) -> None:
        line = assert_one_line(command("doctor", "missing-bucket"), ExitCode.NOT_FOUND)
        assert "missing-bucket" in line

    def test_no_permission(self, command: Command, proxy: FaultProxy, bucket: str) -> None:
        proxy.add(status_before(403, "AccessDenied", method="PUT", times=None))
        line = assert_one_line(command("doctor", bucket), ExitCode.DENIED)
        assert "AccessDenied" in line
        assert "object-clerk config" in line

    def test_no_server(self, command: Command) -> None:
        nowhere = {"OBJECT_STORE_ENDPOINT_URL": "http://127.0.0.1:9", "RETRY_DEADLINE": "2"}
        assert_one_line(command("doctor", "bucket", **nowhere), ExitCode.TEMPORARY)

    @pytest.mark.parametrize("arguments", [("a b",), ("bucket", "--prefix", "")])
    def test_impossible_names(self, command: Command, arguments: tuple[str, ...]) -> None:
        assert_one_line(command("doctor", *arguments), ExitCode.USAGE)

    def test_what_could_not_be_removed(
        self, command: Command, proxy: FaultProxy, s3: S3Client, bucket: str
    ) -> None:
        proxy.add(status_before(403, "AccessDenied", method="DELETE", times=None))
        done = command("doctor", bucket, "--json")

        assert done.returncode == ExitCode.FAILED
        left = keys(s3, bucket)
        assert left
        _, summary = lines(done.stdout)
        assert set(left) <= set(summary["left_behind"])
        assert all(key in done.stderr for key in left)


class TestSweep:
    @pytest.fixture
    def left(self, s3: S3Client, bucket: str) -> list[str]:
        """What crashed uploads have left."""
        for key in ("a/1", "b"):
            s3.create_multipart_upload(Bucket=bucket, Key=key)
        s3.put_object(Bucket=bucket, Key="mine", Body=b"mine")
        return ["a/1", "b"]

    def test_as_a_table(self, command: Command, s3: S3Client, bucket: str, left: list[str]) -> None:
        done = command("sweep", bucket, "--older-than", OLDER)

        assert (done.returncode, done.stderr) == (0, "")
        for key in left:
            (row,) = [line for line in done.stdout.splitlines() if line.startswith(f"{key} ")]
            assert row.split()[1:] == ["upload", "2010-11-10", "20:48:33+00:00", "removed"]
        assert done.stdout.splitlines()[-1] == "2 of 2 leftovers removed."
        assert (unfinished(s3, bucket), keys(s3, bucket)) == ([], ["mine"])

    def test_dry_run(self, command: Command, s3: S3Client, bucket: str, left: list[str]) -> None:
        done = command("sweep", bucket, "--dry-run")

        assert done.returncode == 0
        assert done.stdout.splitlines()[-1] == "2 leftovers would be removed."
        assert done.stdout.count("would be removed") == len(left) + 1
        assert unfinished(s3, bucket) == left

    def test_as_json(self, command: Command, s3: S3Client, bucket: str, left: list[str]) -> None:
        staged = random_key("b", STAGE_MARK)
        s3.put_object(Bucket=bucket, Key=staged, Body=b"content")
        done = command("sweep", bucket, "--older-than", "0s", "--json")

        assert (done.returncode, done.stderr) == (0, "")
        leftovers, summary = lines(done.stdout)
        assert summary == {"found": 3, "removed": 3, "dry_run": False}
        assert [(each["key"], each["removed"]) for each in leftovers] == [
            (key, True) for key in (*left, staged)
        ]
        assert [bool(each["upload_id"]) for each in leftovers] == [True, True, False]
        assert keys(s3, bucket) == ["mine"]

    def test_prefix(self, command: Command, s3: S3Client, bucket: str, left: list[str]) -> None:
        done = command("sweep", bucket, "--prefix", "a/")

        assert done.stdout.splitlines()[-1] == "1 of 1 leftover removed."
        assert unfinished(s3, bucket) == left[1:]

    def test_nothing_is_old_enough(
        self, command: Command, s3: S3Client, bucket: str, left: list[str]
    ) -> None:
        done = command("sweep", bucket, "--older-than", TOO_OLD)

        assert (done.returncode, done.stdout) == (0, "Nothing old enough is left behind.\n")
        assert unfinished(s3, bucket) == left

    @pytest.mark.parametrize("age", ["", "7", "d", "-1d", "1.5h", "7 d", "1y", "1D"])
    def test_an_impossible_age(self, command: Command, proxy: FaultProxy, age: str) -> None:
        done = command("sweep", "bucket", "--older-than", age)

        assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
        assert "24h or 7d" in done.stderr
        assert proxy.log == []

    def test_missing_bucket(self, command: Command) -> None:
        assert_one_line(command("sweep", "missing-bucket"), ExitCode.NOT_FOUND)

    def test_some_are_refused(
        self, command: Command, proxy: FaultProxy, s3: S3Client, bucket: str, left: list[str]
    ) -> None:
        proxy.add(
            status_before(403, "AccessDenied", method="DELETE", path=f"/{left[0]}", times=None)
        )
        done = command("sweep", bucket)

        assert done.returncode == ExitCode.FAILED
        (row,) = [line for line in done.stdout.splitlines() if line.startswith(f"{left[0]} ")]
        assert "kept: AccessDenied" in row
        assert done.stdout.splitlines()[-1] == "1 of 2 leftovers removed."
        (line,) = done.stderr.splitlines()
        assert "1 of 2 leftovers" in line
        assert unfinished(s3, bucket) == left[:1]


@pytest.mark.parametrize("name", ["doctor", "sweep"])
def test_help(name: str) -> None:
    assert name in run("--help").stdout
    done = run(name, "--help")

    assert done.returncode == 0
    assert "--json" in done.stdout
