"""Runs the tests on each mutant, in a process of its own, until the first one fails.

A mutant within a function takes the place of the function's code after the tests were imported,
which takes no time. One outside has to be there before anything imports the module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.abc
import importlib.util
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis
import pytest

from tests.mutation.mutants import Mutant, mutants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, FunctionType, ModuleType

    from tests.mutation.targets import Target

#: A mutant that runs for ever, sleeps for ever, or wants all memory, is noticed by that.
MOST_CPU_S, MOST_S, MOST_MEMORY = 90, 300, 4 << 30

#: Once it is known how much the tests take without any mutant: this many times that, and so much.
TIMES_CPU, MORE_CPU_S = 3, 5


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    survived: bool
    how: str


def settle() -> None:
    """Make hypothesis quick and the same every time; a failure need not be small."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile(
        "mutation", database=None, derandomize=True, deadline=None, phases=phases
    )
    hypothesis.settings.load_profile("mutation")


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from code that was changed."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def _in_child(work: Callable[[int], bool], most_cpu_s: int = MOST_CPU_S) -> tuple[bool, str]:
    """Whether the work, done in a process of its own, says yes; and what it wrote."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _child(reading, writing, work, most_cpu_s)
    os.close(writing)
    said, deadline, late = b"", time.monotonic() + MOST_S, False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while not late:
            late = not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]
            if late:
                os.kill(pid, signal.SIGKILL)
            elif block := pipe.read(65536):
                said += block
            else:
                break
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code == 0, said.decode() or ("" if code == 0 else f"ended with {code}")


def _child(reading: int, writing: int, work: Callable[[int], bool], most_cpu_s: int) -> NoReturn:
    code = 3
    try:
        os.close(reading)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(nothing, stream)
        most_cpu_s += int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (most_cpu_s, most_cpu_s + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        code = 0 if work(writing) else 1
    finally:
        os._exit(code)


def _function(module: ModuleType, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    for inner in ("fget", "__func__", "__wrapped__"):
        found = getattr(found, inner, None) or found
    return found  # type: ignore[no-any-return]


def _code_of(code: CodeType, name: str) -> CodeType:
    for each in code.co_consts:
        if hasattr(each, "co_qualname"):
            if each.co_qualname == name:
                return each  # type: ignore[no-any-return]
            with contextlib.suppress(LookupError):
                return _code_of(each, name)
    raise LookupError(name)


class _Sooner:
    """A plugin of pytest: the tests that are made of many examples come last."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: bool(item.get_closest_marker("hypothesis")))


class _Host(_Sooner):
    """A plugin of pytest that runs the collected tests once for each mutant."""

    def __init__(
        self, target: Target, mutants: Sequence[Mutant], tell: Callable[[Outcome], None]
    ) -> None:
        self._target, self._mutants, self._tell = target, mutants, tell
        self._failed = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests could not be collected")
        items = list(session.items)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        good, said = _in_child(lambda pipe: self._run(session, items, pipe))
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        most_cpu_s = int(used * TIMES_CPU) + MORE_CPU_S
        if not good:
            raise session.Interrupted(f"the tests fail without any mutant: {said}")
        module = importlib.import_module(self._target.module)
        for mutant in self._mutants:
            function = _function(module, mutant.function)
            code = _code_of(mutant.code, mutant.function)

            def work(pipe: int, function: FunctionType = function, code: CodeType = code) -> bool:
                function.__code__ = code
                for each in vars(module).values():
                    getattr(each, "cache_clear", lambda: None)()
                return self._run(session, items, pipe)

            survived, how = _in_child(work, most_cpu_s)
            self._tell(Outcome(mutant, survived, how))
            for index, item in enumerate(items):
                if item.nodeid == how:  # it comes first now: it may well be the next one's too
                    items.insert(0, items.pop(index))
                    break
        return True

    def _run(self, session: pytest.Session, items: Sequence[pytest.Item], pipe: int) -> bool:
        session.items = list(items)
        session.config.pluginmanager.unregister(name="terminalreporter")
        for item, following in zip(items, [*items[1:], None], strict=True):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                os.write(pipe, self._failed.encode())
                return False
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = report.nodeid


def _arguments(target: Target) -> list[str]:
    # Hypothesis is here before pytest, which would like to be told of its assertions.
    quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    return [
        "-qq",
        "-x",
        "--no-summary",
        "--no-header",
        "-p",
        "no:cacheprovider",
        *quiet,
        *target.tests,
    ]


def outcomes(target: Target, tell: Callable[[Outcome], None]) -> bool:
    """Try all mutants of a target; False if that could not be done."""
    source = Path(target.path).read_text()
    mutants = list(mutants_of(source, target.path))
    if target.functions:
        mutants = [mutant for mutant in mutants if mutant.function in target.functions]
    for mutant in (each for each in mutants if not each.function):

        def work(_: int, mutant: Mutant = mutant) -> bool:
            sys.meta_path.insert(0, _Instead(target.module, target.path, mutant.code))
            return pytest.main(_arguments(target), plugins=[_Sooner()]) == 0

        tell(Outcome(mutant, *_in_child(work)))
    host = _Host(target, [each for each in mutants if each.function], tell)
    return pytest.main(_arguments(target), plugins=[host]) in (
        0,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    )
