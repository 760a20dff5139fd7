"""A pytest session that runs its tests once, and then again for each mutant, in a fork with the mutant's code.

Nothing is imported twice: that a mutant costs a fork and the tests that notice it is what makes thousands affordable.
"""

import gc
import math
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from tests.mutation.databases import Databases
from tests.mutation.mutants import Mutant, Place, place_of

TEST_SECONDS = 5.0  # processor time that a test may take beyond ten times its usual: then the mutant hangs
CONTROL_EVERY = 20  # mutants; then the tests of the last one must still pass without it
WALL_SECONDS = 600  # and this long when it waits instead of computing


class Outcome(Enum):
    """What a mutant came to."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"
    UNREACHED = "no test"


@dataclass(frozen=True)
class Test:
    """A test, its processor time without a mutant, and the functions of the product that it called."""

    item: pytest.Item
    seconds: float
    called: frozenset[tuple[str, Place]]


class MutationSession:
    """The plugin: `told` is called with each mutant and its outcome. `budget` is the processor time in seconds after
    which a mutant that no test noticed counts as survived, even if there are more tests. After `minutes` no further
    mutant is tried. `unchanged` puts the functions' own code in its place: then each "mutant" must survive.
    """

    def __init__(
        self,
        mutants: Sequence[Mutant],
        told: Callable[[Mutant, Outcome], None],
        *,
        budget: float,
        minutes: float | None,
        unchanged: bool = False,
    ) -> None:
        self._mutants = mutants
        self._told = told
        self._budget = budget
        self._deadline = time.monotonic() + minutes * 60 if minutes else math.inf
        self._unchanged = unchanged
        self._failed = False
        self._items: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)  # before pytest looks where its temporary folders are to lie
    def pytest_configure(self, config: pytest.Config) -> None:
        """Keep temporary folders out of the place that test sessions share: a later one clears up there, and takes
        those of this session for ones that ended. From then on every mutant would seem to be killed.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="meterproof-mutation-")
        config.option.basetemp = Path(self._folder.name) / "tests"

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Remove what the tests left."""
        self._folder.cleanup()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember that a test failed."""
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Every test once, then the mutants. Tests that fail without a mutant stop everything."""
        self._databases = Databases(session.config)
        # not before: models can be imported only once Django is set up
        files = {import_module(mutant.module).__file__ or "": mutant.module for mutant in self._mutants}
        tests = []
        for at, item in enumerate(session.items):
            following = session.items[(at + 1) % len(session.items)]  # after the last, too: what it stands on stays up
            tests.append(self._measured(item, following, files))
            if self._failed:
                raise pytest.UsageError(f"{item.nodeid} fails without any mutant")
        reaching: defaultdict[tuple[str, Place], list[Test]] = defaultdict(list)
        for test in tests:
            for place in test.called:
                reaching[place].append(test)
        sys.stdout.flush()
        self._items = session.items
        functions = _functions(files)
        gc.freeze()  # a fork that collects garbage would copy all this
        last = tests
        for number, mutant in enumerate(self._mutants):
            if time.monotonic() > self._deadline:
                break
            if number % CONTROL_EVERY == 0:
                self._control(last)
            chosen = {
                test.item.nodeid: test for place in mutant.codes for test in reaching.get((mutant.module, place), [])
            }
            last = list(chosen.values()) or last
            self._told(mutant, self._tried(mutant, list(chosen.values()), functions))
        self._control(last)
        return True

    def _control(self, tests: Sequence[Test]) -> None:
        """What a fork leaves behind, or another process takes away, must not make every later mutant look killed."""
        if self._forked(tests, lambda: None) is not Outcome.SURVIVED:
            raise pytest.UsageError(f"Tests fail without any mutant: of the last {CONTROL_EVERY} outcomes trust none")

    def _measured(self, item: pytest.Item, following: pytest.Item, files: dict[str, str]) -> Test:
        called: set[CodeType] = set()

        def note(frame: FrameType, event: str, argument: Any) -> None:
            called.add(frame.f_code)  # and trace nothing inside the call

        before = time.process_time()
        sys.settrace(note)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        finally:
            sys.settrace(None)
        seconds = time.process_time() - before
        ours = frozenset((files[code.co_filename], place_of(code)) for code in called if code.co_filename in files)
        return Test(item, seconds, ours)

    def _tried(
        self, mutant: Mutant, tests: list[Test], functions: dict[tuple[str, Place], list[FunctionType]]
    ) -> Outcome:
        if not tests:
            return Outcome.UNREACHED
        stem = mutant.module.rpartition(".")[2]
        change = (lambda: None) if self._unchanged else (lambda: _replace(mutant, functions))
        return self._forked(in_order(tests, stem), change)

    def _forked(self, tests: Sequence[Test], change: Callable[[], None]) -> Outcome:
        with self._databases.copied() as use_copy:
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    use_copy()
                    change()
                    status = int(self._notices(tests))
                finally:
                    os._exit(status)
            return _awaited(child)

    def _notices(self, tests: Sequence[Test]) -> bool:
        """In the child: whether a test fails."""
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        started = time.process_time()
        for at, test in enumerate(tests):
            used = time.process_time()
            if used - started > self._budget:
                break
            limit = int(used + TEST_SECONDS + 10 * test.seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            following: pytest.Item | None = tests[(at + 1) % len(tests)].item
            if following is test.item:  # a lone one: pytest would not take it down for itself
                following = next((item for item in self._items if item is not test.item), None)
            test.item.config.hook.pytest_runtest_protocol(item=test.item, nextitem=following)
            if self._failed:
                return True
        return False


def in_order(tests: Sequence[Test], stem: str) -> list[Test]:
    """First the tests whose names hold `stem`; of both, one of each function before a second with other parameters,
    which notices the same most of the time; and the quick ones before the slow.
    """
    before: Counter[str] = Counter()
    ranked: list[tuple[bool, int, float, Test]] = []
    for test in sorted(tests, key=lambda test: test.seconds):
        function = test.item.nodeid.partition("[")[0]
        ranked.append((stem not in test.item.nodeid, before[function], test.seconds, test))
        before[function] += 1
    return [test for *_, test in sorted(ranked, key=lambda item: item[:3])]


def _awaited(child: int) -> Outcome:
    deadline = time.monotonic() + WALL_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.WIFSIGNALED(status):
                return Outcome.TIMEOUT if os.WTERMSIG(status) == signal.SIGXCPU else Outcome.KILLED
            return Outcome.KILLED if os.WEXITSTATUS(status) else Outcome.SURVIVED
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Outcome.TIMEOUT


def _functions(files: dict[str, str]) -> dict[tuple[str, Place], list[FunctionType]]:
    """The functions there are, by the place of their code; also those behind decorators and properties."""
    found: defaultdict[tuple[str, Place], list[FunctionType]] = defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            found[files[thing.__code__.co_filename], place_of(thing.__code__)].append(thing)
    return found


def _replace(mutant: Mutant, functions: dict[tuple[str, Place], list[FunctionType]]) -> None:
    for place, code in mutant.codes.items():
        for function in functions.get((mutant.module, place), []):
            function.__code__ = code
