"""Options of the test-suite, its clean environment, and the account of servers at the end."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import (
    NAMES,
    Server,
    Traits,
    Unavailable,
    arrange,
    foreign_variables,
    live,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

_DEFAULT_SERVERS = ("moto", "ministack", "rclone", "swift")
_UNAVAILABLE = "server unavailable: "


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("object-clerk")
    group.addoption(
        "--servers",
        metavar="NAME,...",
        help=f"servers for the contract tests: all, or some of {','.join(NAMES)} (default: the"
        f" variable OBJECT_CLERK_SERVERS, else {','.join(_DEFAULT_SERVERS)}, and live when HOST,"
        " PORT, ACCESS_KEY and SECRET_KEY are set)",
    )
    group.addoption(
        "--faults",
        choices=("choice", "full"),
        default="choice",
        help="choice: every test of tests/faults on one server, and those marked smoke on each"
        " other (the default); full: all of them on all servers",
    )
    group.addoption(
        "--lane",
        choices=("fast", "slow"),
        default="fast",
        help="slow: all requests of all clerks are made by boto3 (the variable FAST_LANE)",
    )
    group.addoption(
        "--require-minimum",
        metavar="FILE",
        help="JSON object of server names and numbers: fail if one of the chosen servers passed"
        " fewer contract tests than that",
    )


def chosen_servers(config: pytest.Config) -> tuple[str, ...]:
    """Return the names of the servers to test, in the order of the table.

    Raises:
        pytest.UsageError: An unknown name was given.
    """
    text = config.getoption("--servers") or os.environ.get("OBJECT_CLERK_SERVERS", "")
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    if not wanted:
        wanted = set(_DEFAULT_SERVERS) | ({"live"} if live.configured() else set())
    if wanted == {"all"}:
        wanted = set(NAMES)
    if unknown := wanted - set(NAMES):
        raise pytest.UsageError(f"unknown servers: {', '.join(sorted(unknown))}")
    return tuple(name for name in NAMES if name in wanted)


@contextlib.contextmanager
def skip_unavailable() -> Iterator[None]:
    """Skip the test when its server cannot be used here; the account at the end says why."""
    try:
        yield
    except Unavailable as error:
        pytest.skip(f"{_UNAVAILABLE}{error}")


def _clean(monkeypatch: pytest.MonkeyPatch, config: pytest.Config) -> None:
    for name in foreign_variables():
        monkeypatch.delenv(name)
    if config.getoption("--lane") == "slow":
        monkeypatch.setenv("FAST_LANE", "false")
    # boto3 would otherwise read the files of whoever runs the tests, or ask a cloud's own host.
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def _clean_session_environment(pytestconfig: pytest.Config) -> Iterator[None]:
    # Fixtures of the session come before the function's, and some of them make clients.
    with pytest.MonkeyPatch.context() as monkeypatch:
        _clean(monkeypatch, pytestconfig)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(
    _clean_session_environment: None, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    _clean(monkeypatch, pytestconfig)


def pytest_itemcollected(item: pytest.Item) -> None:
    # A property travels with the report, also from another process (pytest-xdist).
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("server") if callspec is not None else None
    if name in NAMES:
        item.user_properties.append(("server", name))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Side by side, the tests of one of several servers stay in one process, else those of a file.

    What they share is started once. The mark ``xdist_group`` would say the same, but is without
    effect with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    chosen = chosen_servers(config)
    servers = chosen if len(chosen) > 1 else ()

    class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # which has no types
        def _split_scope(self, nodeid: str) -> str:
            path, _, rest = nodeid.partition("::")
            parameters = rest.partition("[")[2].removesuffix("]").split("-")
            return next((name for name in servers if name in parameters), path)

    return ByServer(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses the fixture `server` against each chosen server."""
    if "server" in metafunc.fixturenames:
        # The scope makes pytest run all tests of one server together, whatever file they are in.
        names = chosen_servers(metafunc.config)
        if metafunc.definition.get_closest_marker("one_server"):
            names = names[:1]
        metafunc.parametrize("server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, _clean_session_environment: None) -> Iterator[Server]:
    """A running server; the tests of an unavailable one are skipped with the reason."""
    with skip_unavailable(), running(request.param) as started:
        yield started


@pytest.fixture(scope="session")
def traits(server: Server) -> Traits:
    """What the server does not do the way S3 is documented to."""
    return server.traits


@pytest.fixture(scope="session")
def s3(server: Server) -> S3Client:
    """A plain boto3 client with which to arrange and to check, independent of the library."""
    return arrange.client(server)


@pytest.fixture
def bucket(server: Server, s3: S3Client) -> Iterator[str]:
    """An empty bucket for this test alone; removed afterwards."""
    with skip_unavailable(), arrange.fresh_bucket(server, s3) as name:
        yield name


class _Account:
    """What became of each server's tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._counts: dict[str, Counter[str]] = {}
        self._reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = dict(report.user_properties).get("server")
        if not isinstance(name, str):
            return
        counts = self._counts.setdefault(name, Counter())
        if report.failed or report.skipped or report.when == "call":
            counts[report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            _, found, reason = str(report.longrepr[2]).partition(_UNAVAILABLE)
            if found:
                self._reasons[name] = reason

    def shortfalls(self) -> list[str]:
        """Return a sentence for each chosen server that passed too few tests."""
        path = self._config.getoption("--require-minimum")
        if not path:
            return []
        minimum = json.loads(Path(path).read_text(encoding="utf-8"))
        found = []
        for name in chosen_servers(self._config):
            passed = self._counts.get(name, Counter())["passed"]
            if passed < minimum.get(name, 0):
                found.append(f"server {name}: {passed} passed, {minimum[name]} required by {path}")
        return found

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.shortfalls() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._counts and not self.shortfalls():
            return
        terminalreporter.section("servers")
        for name in (each for each in NAMES if each in self._counts):
            counts = self._counts[name]
            line = ", ".join(f"{counts[each]} {each}" for each in ("passed", "skipped", "failed"))
            if reason := self._reasons.get(name):
                line += f"; unavailable: {reason}"
            terminalreporter.write_line(f"server {name}: {line}")
        for shortfall in self.shortfalls():
            terminalreporter.write_line(shortfall, red=True)


def pytest_configure(config: pytest.Config) -> None:
    chosen_servers(config)  # a wrong name is told at once
    if not hasattr(config, "workerinput"):  # not in a worker of pytest-xdist
        config.pluginmanager.register(_Account(config), "object-clerk-servers")
