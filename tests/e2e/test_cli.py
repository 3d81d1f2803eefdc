"""The command line as its users run it: as a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pickle
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import object_clerk
from object_clerk import exceptions as e
from object_clerk.cli.exit_codes import CommandError, ExitCode, exit_code_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_ROOT = str(Path(object_clerk.__file__).parents[1])
GENERATED_BYTES = 16 << 20
FILES = {
    "empty": b"",
    "a[bold]b.txt": b"markup",
    "deep/er/blob.bin": os.urandom(300_000),
    "large.bin": bytes(range(256)) * 25_000,  # 6.4 MB: two parts
    "ünï cødé/файл 1.txt": "größer\n".encode(),
}


def environment(**variables: str) -> dict[str, str]:
    # How wide the terminal of whoever runs the tests is must not matter (pytest-xdist tells it).
    own = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {**own, "PYTHONPATH": SOURCE_ROOT, **variables}


def run(
    *arguments: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "object_clerk.cli", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        cwd=cwd,
        env=environment(**variables),
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the tests, which nobody changes."""
    top = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


@pytest.fixture
def own_directory(directory: Path, tmp_path: Path) -> Path:
    """A copy of the files, for a test that changes them."""
    return shutil.copytree(directory, tmp_path / "own")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo puts its temporary files."""
    place = tmp_path / "scratch"
    place.mkdir()
    return place


def lines(stdout: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The receipts and the summary."""
    *receipts, summary = [json.loads(line) for line in stdout.splitlines()]
    assert {receipt["type"] for receipt in receipts} == {"receipt"}
    assert summary["type"] == "summary"
    return receipts, summary


@dataclasses.dataclass
class Demo:
    """A demo that is over."""

    done: subprocess.CompletedProcess[str]
    left: list[Path]

    def __post_init__(self) -> None:
        self.receipts, self.summary = lines(self.done.stdout)

    def of(self, operation: str) -> dict[str, dict[str, Any]]:
        return {r["key"]: r for r in self.receipts if r["operation"] == operation}


@pytest.fixture(scope="module")
def demo(
    directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    _clean_session_environment: None,
) -> Demo:
    scratch = tmp_path_factory.mktemp("scratch")
    done = run("demo", str(directory), "--json", TMPDIR=str(scratch))
    return Demo(done, list(scratch.iterdir()))


class TestDemoAsJson:
    def test_everything_was_proved(self, demo: Demo) -> None:
        assert (demo.done.returncode, demo.done.stderr) == (0, "")
        assert demo.summary["ok"] is True
        assert demo.summary["failures"] == demo.summary["skipped"] == []
        weaker = [r["operation"] for r in demo.receipts if r["verdict"] != "CONTENT"]
        assert set(weaker) <= {"upload_object"}

    def test_every_file_and_one_generated_object_is_uploaded(self, demo: Demo) -> None:
        sizes = {key: receipt["size"] for key, receipt in demo.of("upload_object").items()}
        (generated,) = sizes.keys() - FILES.keys()

        assert sizes == {**{k: len(v) for k, v in FILES.items()}, generated: GENERATED_BYTES}
        assert demo.summary["files"] == len(FILES)
        assert demo.summary["bytes"] == sum(sizes.values())

    def test_each_object_is_read_and_compared_twice(self, demo: Demo) -> None:
        uploaded = demo.of("upload_object").keys()
        (copied,), (moved,) = demo.of("copy_object"), demo.of("move_object")

        assert demo.of("download_object").keys() == {*uploaded, copied, moved}
        assert demo.of("open_object").keys() == {*uploaded, moved}
        assert demo.summary["compared"] == 2 * len(uploaded) + 4  # copied, moved twice, healed

    def test_the_flipped_bit_was_healed(self, demo: Demo) -> None:
        (healed,) = demo.of("get_object").values()

        assert (healed["verdict"], healed["attempts"]) == ("CONTENT", 2)
        assert demo.summary["healed"] == 1
        assert all(r["attempts"] == 1 for r in demo.receipts if r is not healed)

    def test_the_summary_counts_the_verdicts(self, demo: Demo) -> None:
        for verdict, number in demo.summary["verdicts"].items():
            assert number == sum(r["verdict"] == verdict for r in demo.receipts)
        assert sum(demo.summary["verdicts"].values()) == len(demo.receipts)

    def test_nothing_is_left_and_nothing_was_written(self, demo: Demo, directory: Path) -> None:
        assert demo.left == []
        files = [path for path in directory.rglob("*") if path.is_file()]
        assert {p.relative_to(directory).as_posix(): p.read_bytes() for p in files} == FILES


class TestDemoOnOddDirectories:
    def test_links_and_pipes_are_told_and_harmless(self, own_directory: Path) -> None:
        (own_directory / "link").symlink_to("empty")
        (own_directory / "loop").symlink_to(own_directory, target_is_directory=True)
        os.mkfifo(own_directory / "pipe")

        done = run("demo", str(own_directory), "--json")

        receipts, summary = lines(done.stdout)
        reasons = {each["path"]: each["reason"] for each in summary["skipped"]}
        assert reasons == {
            "link": "a symbolic link",
            "loop": "a symbolic link",
            "pipe": "a named pipe",
        }
        assert all(f"skipped {name}: " in done.stderr for name in reasons)
        assert not reasons.keys() & {receipt["key"] for receipt in receipts}
        assert done.returncode == 0

    def test_a_file_that_cannot_be_a_key_is_a_failure(self, own_directory: Path) -> None:
        bad = os.fsencode(own_directory) + b"/bad\xff"
        try:
            Path(os.fsdecode(bad)).write_bytes(b"x")
        except OSError:
            pytest.skip("this file system takes only UTF-8 names")

        done = run("demo", str(own_directory), "--json")

        _, summary = lines(done.stdout)
        assert done.returncode == ExitCode.FAILED
        assert (summary["ok"], summary["files"]) == (False, len(FILES))
        assert "cannot be written as UTF-8" in summary["failures"][0]
        assert "Traceback" not in done.stderr

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
    def test_an_unreadable_file_is_a_failure(self, own_directory: Path) -> None:
        (own_directory / "empty").chmod(0)

        done = run("demo", str(own_directory), "--json")

        _, summary = lines(done.stdout)
        assert done.returncode == ExitCode.FAILED
        assert "empty" in summary["failures"][0]

    def test_a_key_of_ours_does_not_hit_a_file(self, own_directory: Path) -> None:
        (own_directory / "demo").mkdir()
        (own_directory / "demo/generated.bin").write_bytes(b"mine")

        done = run("demo", str(own_directory), "--json")

        assert done.returncode == 0
        assert lines(done.stdout)[1]["files"] == len(FILES) + 1

    def test_an_empty_directory_leaves_the_generated_object(self, tmp_path: Path) -> None:
        done = run("demo", str(tmp_path), "--json")

        _, summary = lines(done.stdout)
        assert (done.returncode, summary["files"]) == (0, 0)
        assert summary["bytes"] == GENERATED_BYTES

    def test_the_settings_of_the_user_do_not_matter(self, directory: Path) -> None:
        done = run(
            "demo",
            str(directory),
            "--json",
            AWS_PROFILE="no-such-profile",
            HTTP_PROXY="http://127.0.0.1:9",
            OBJECT_STORE_ENDPOINT_URL="http://127.0.0.1:9",
            S3_UPLOAD_CONFIG="{",
        )

        assert done.returncode == 0, done.stderr


class TestDemoForPeople:
    def test_a_story_a_table_and_a_summary(self, directory: Path) -> None:
        done = run("demo", str(directory))

        assert (done.returncode, done.stderr) == (0, "")
        assert "Flipped one bit" in done.stdout
        assert "after 2 attempts" in done.stdout
        assert done.stdout.splitlines()[-1].startswith("Proved: ")
        for name, content in FILES.items():
            rows = [line for line in done.stdout.splitlines() if f" {name} " in line]
            assert len(rows) == 3, name  # uploaded, downloaded, read again
            assert all("CONTENT" in row for row in rows)
            assert content or all(" 0 B " in row for row in rows)

    def test_the_default_is_the_package_itself(self) -> None:
        done = run("demo")

        assert done.returncode == 0, done.stderr
        assert "files of the installed package" in done.stdout
        assert "which --json shows" in done.stdout
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize("columns", [40, 100])
    def test_it_fits_the_terminal(self, directory: Path, columns: int) -> None:
        done = run("demo", str(directory), COLUMNS=str(columns))

        assert done.returncode == 0
        assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= columns

    def test_file_names_do_not_disturb_a_terminal_of_ascii(self, directory: Path) -> None:
        done = run("demo", str(directory), PYTHONIOENCODING="ascii")

        assert done.returncode == 0, done.stderr

    def test_a_reader_that_leaves_early_gets_no_words(self, directory: Path) -> None:
        with start("demo", str(directory), "--json") as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
            assert process.wait(60) == ExitCode.FAILED


class TestDemoInATerminal:
    @pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
    def test_colour(self, tmp_path: Path, variables: dict[str, str], coloured: bool) -> None:
        out = self.in_terminal("demo", str(tmp_path), TERM="xterm", **variables)

        assert "Proved: " in out
        assert ("\x1b[32m" in out) is coloured

    def test_a_bar_shows_the_progress_and_goes(self, tmp_path: Path) -> None:
        out = self.in_terminal("demo", str(tmp_path), TERM="xterm")

        assert "uploading" in out
        assert "uploading" not in self.in_terminal("demo", str(tmp_path), "--json", TERM="xterm")

    @staticmethod
    def in_terminal(*arguments: str, **variables: str) -> str:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "object_clerk.cli", *arguments]
        env = {k: v for k, v in environment(**variables).items() if k not in ("COLUMNS", "CI")}
        env = {k: v for k, v in env.items() if k != "NO_COLOR" or "NO_COLOR" in variables}
        with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env):
            os.close(theirs)
            chunks = []
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while chunk := os.read(ours, 65536):
                    chunks.append(chunk)
        os.close(ours)
        return b"".join(chunks).decode()


class TestDemoWithWrongArguments:
    @pytest.mark.parametrize("argument", ["missing", "file"])
    def test_nothing_is_started(self, tmp_path: Path, scratch: Path, argument: str) -> None:
        (tmp_path / "file").write_bytes(b"")

        done = run("demo", str(tmp_path / argument), TMPDIR=str(scratch))

        assert (done.returncode, done.stdout) == (2, "")
        assert argument in done.stderr
        assert list(scratch.iterdir()) == []

    def test_an_unknown_option(self) -> None:
        done = run("demo", "--jason")

        assert (done.returncode, done.stdout) == (2, "")
        assert "--jason" in done.stderr


@contextlib.contextmanager
def start(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process group of its own, as a shell starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "object_clerk.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        start_new_session=True,
        # Where the tests run in the background, SIGINT may be ignored and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def assert_all_gone(group: int, within_s: float = 10.0) -> None:
    """Nobody is left in the group of processes."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a process is still there")


class TestDemoInterrupted:
    @pytest.mark.parametrize(
        ("number", "times", "code"),
        [
            (signal.SIGINT, 1, 130),
            (signal.SIGINT, 3, 130),
            (signal.SIGTERM, 1, 143),
            (signal.SIGHUP, 1, 129),
        ],
    )
    def test_nothing_is_left(
        self, directory: Path, scratch: Path, number: signal.Signals, times: int, code: int
    ) -> None:
        with start("demo", str(directory), "--json", TMPDIR=str(scratch)) as process:
            assert process.stdout is not None
            assert process.stdout.readline()  # a receipt: the server is at work
            assert list(scratch.glob("object-clerk-server-*"))
            for _ in range(times):
                # Ctrl-C reaches the whole group of processes.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
            _, stderr = process.communicate(timeout=60)

        assert process.returncode == code
        assert "Traceback" not in stderr.decode()
        assert stderr.decode().strip().startswith("object-clerk: ")
        assert_all_gone(process.pid)
        assert list(scratch.iterdir()) == []

    def test_while_the_server_starts(self, directory: Path, scratch: Path) -> None:
        with start("demo", str(directory), TMPDIR=str(scratch)) as process:
            while not list(scratch.glob("object-clerk-server-*/server.log")):
                assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=60)

        assert process.returncode == 130
        assert b"Traceback" not in stderr
        assert_all_gone(process.pid)
        assert list(scratch.iterdir()) == []


class TestConfig:
    def test_values_and_origins(self, tmp_path: Path) -> None:
        done = run(
            "config",
            "--json",
            cwd=tmp_path,
            OBJECT_STORE_ENDPOINT_URL="https://s3.example.org:9000",
            OBJECT_STORE_ACCESS_KEY="someone",
            OBJECT_STORE_SECRET_KEY="hush-hush",
        )

        assert (done.returncode, done.stderr) == (0, "")
        settings = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
        endpoint = settings["endpoint_url"]
        assert endpoint["value"] == "https://s3.example.org:9000"
        assert endpoint["origin"] == "variable OBJECT_STORE_ENDPOINT_URL"
        assert settings["access_key"]["value"] == "someone"
        assert "hush" not in done.stdout
        assert set(settings["secret_key"]["value"]) == {"*"}

    def test_as_a_table(self, tmp_path: Path) -> None:
        done = run("config", cwd=tmp_path, MULTIPART_THRESHOLD="7000000")

        assert done.returncode == 0
        (row,) = [line for line in done.stdout.splitlines() if "upload.threshold_bytes" in line]
        assert row.split() == [
            "upload.threshold_bytes",
            "7000000",
            "variable",
            "MULTIPART_THRESHOLD",
        ]

    def test_env_file(self, tmp_path: Path) -> None:
        (tmp_path / "mine.env").write_text(
            "OBJECT_STORE_HOST=s3.example.org\nMULTIPART_THRESHOLD=7000000\n"
        )

        done = run(
            "config",
            "--env-file",
            "mine.env",
            "--json",
            cwd=tmp_path,
            MULTIPART_THRESHOLD="8000000",
        )

        settings = {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}
        assert settings["endpoint_url"]["value"] == "http://s3.example.org"
        assert settings["upload.threshold_bytes"]["value"] == "8000000"

    def test_a_missing_env_file_is_a_wrong_argument(self, tmp_path: Path) -> None:
        done = run("config", "--env-file", "nowhere", cwd=tmp_path)

        assert (done.returncode, done.stdout) == (2, "")

    def test_bad_json(self, tmp_path: Path) -> None:
        done = run("config", cwd=tmp_path, S3_UPLOAD_CONFIG='{"max_concurrency": hush')

        assert (done.returncode, done.stdout) == (7, "")
        (line,) = done.stderr.splitlines()
        assert "S3_UPLOAD_CONFIG" in line
        assert "hush" not in line

    @pytest.mark.parametrize("arguments", [("config", "--debug"), ("--debug", "config")])
    def test_debug_shows_the_traceback(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        done = run(*arguments, cwd=tmp_path, S3_UPLOAD_CONFIG="{")

        assert done.returncode == 7
        assert "Traceback" in done.stderr


class TestEntryPoint:
    def test_version(self) -> None:
        done = run("--version")

        assert done.returncode == 0
        assert object_clerk.__version__ in done.stdout

    def test_help_names_every_command(self) -> None:
        done = run("--help")

        assert done.returncode == 0
        assert "demo" in done.stdout
        assert "config" in done.stdout

    @pytest.mark.parametrize("command", ["demo", "config"])
    def test_help_of_a_command(self, command: str) -> None:
        assert run(command, "--help").returncode == 0

    def test_no_command_shows_the_help(self) -> None:
        done = run()

        assert (done.returncode, done.stdout) == (2, "")
        assert "Commands:" in done.stderr

    def test_help_imports_nothing_heavy(self) -> None:
        done = run_python(
            "import sys, object_clerk\n"
            "before = set(sys.modules)\n"
            "from object_clerk.cli import main\n"
            "main(['--help'])\n"
            "heavy = {'boto3', 'botocore', 'rich', 'moto', 'object_clerk.testing'}\n"
            "print('heavy:', sorted(heavy & (set(sys.modules) - before)))\n"
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "heavy: []"

    @pytest.mark.parametrize("missing", ["click", "rich"])
    def test_without_the_extra(self, missing: str) -> None:
        done = run_python(
            f"import sys; sys.modules[{missing!r}] = None\n"
            "from object_clerk.cli import main; sys.exit(main(['--help']))"
        )

        assert (done.returncode, done.stdout) == (7, "")
        (line,) = done.stderr.splitlines()
        assert "pip install 'object-clerk[cli]'" in line

    def test_without_a_server(self, tmp_path: Path) -> None:
        done = run_python(
            "import sys; sys.modules['moto'] = None\n"
            f"from object_clerk.cli import main; sys.exit(main(['demo', {str(tmp_path)!r}]))"
        )

        assert (done.returncode, done.stdout) == (7, "")
        (line,) = done.stderr.splitlines()
        assert "pip install 'object-clerk[demo]'" in line


@dataclasses.dataclass
class Case:
    error: BaseException
    code: ExitCode


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class TestExitCodes:
    @pytest.mark.parametrize(
        "case",
        [
            Case(e.ObjectNotFoundException("x"), ExitCode.NOT_FOUND),
            Case(e.BucketNotFoundException("x"), ExitCode.NOT_FOUND),
            Case(e.ObjectClerkServerAuthException("x"), ExitCode.DENIED),
            Case(e.ObjectClerkServerInternalException("x"), ExitCode.TEMPORARY),
            Case(
                e.ObjectClerkConnectionException("x", failure=e.Failure.NEVER_SENT),
                ExitCode.TEMPORARY,
            ),
            Case(e.ObjectClerkConnectionException("bad certificate"), ExitCode.CONFIGURATION),
            Case(e.ObjectClerkTimeoutException("x"), ExitCode.TEMPORARY),
            Case(e.ObjectChanged("x"), ExitCode.TEMPORARY),
            Case(e.ObjectVerificationException("x"), ExitCode.INTEGRITY),
            Case(e.ObjectUnverifiable("x"), ExitCode.INTEGRITY),
            Case(e.ObjectClerkConfigurationException("x"), ExitCode.CONFIGURATION),
            Case(e.ObjectClerkParameterException("x"), ExitCode.USAGE),
            Case(e.ObjectClerkTypeException("x"), ExitCode.USAGE),
            Case(e.DeleteIncomplete("x"), ExitCode.FAILED),
            Case(e.ObjectClerkException("x", code="QuotaExceeded"), ExitCode.LIMIT),
            Case(e.ObjectClerkException("x", status=507), ExitCode.LIMIT),
            Case(
                caused(e.ObjectClerkFileException("x"), OSError(errno.ENOSPC, "full")),
                ExitCode.LIMIT,
            ),
            Case(e.ObjectClerkFileException("x"), ExitCode.FAILED),
            Case(OSError(errno.ENOSPC, "full"), ExitCode.LIMIT),
            Case(CommandError("x", ExitCode.NOT_FOUND), ExitCode.NOT_FOUND),
            Case(KeyboardInterrupt(), ExitCode.INTERRUPTED),
            Case(RuntimeError("x"), ExitCode.FAILED),
        ],
        ids=lambda case: f"{type(case.error).__name__}-{case.code.name}",
    )
    def test_of_an_error(self, case: Case) -> None:
        assert exit_code_for(case.error) is case.code

    def test_every_error_of_ours_has_one(self) -> None:
        kinds = [k for k in vars(e).values() if isinstance(k, type) and issubclass(k, Exception)]

        assert all(exit_code_for(kind("x")) is not ExitCode.OK for kind in kinds)
        assert pickle.loads(pickle.dumps(ExitCode.LIMIT)) is ExitCode.LIMIT
