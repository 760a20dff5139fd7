"""Which functions may run in the background, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from compliance.jobs import row_scope

Payload = Mapping[str, object]


class JobContext(Protocol):
    """What a running task may ask of its job."""

    @property
    def job_id(self) -> str:
        """Id of the job."""

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Tell how far the work got. Raises LeaseLost when another worker has taken the job over."""


@dataclass(frozen=True, slots=True)
class Task:
    """A function that jobs may call. It must be idempotent: it can run again after a crash in the middle."""

    name: str
    run: Callable[..., Mapping[str, object] | None]
    max_attempts: int
    lease_seconds: int


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A function that one worker at a time calls every `every_seconds`. With `waits`, it may wait for strangers."""

    name: str
    run: Callable[[], object]
    every_seconds: float
    waits: bool


_tasks: dict[str, Task] = {}
_periodic: dict[str, PeriodicTask] = {}
_at_start: list[Callable[[], None]] = []

TaskFunction = Callable[..., Mapping[str, object] | None]


def task(name: str, *, max_attempts: int = 5, lease_seconds: int = 60) -> Callable[[TaskFunction], TaskFunction]:
    """Register `function(job, **payload)` under `name`. The lease is renewed while the function runs."""

    def register(function: TaskFunction) -> TaskFunction:
        _claim(name, _tasks)
        _tasks[name] = Task(name, function, max_attempts, lease_seconds)
        return function

    return register


def periodic(
    name: str, *, every_seconds: float, waits: bool = False
) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register `function()` to run every `every_seconds`, on one worker at a time.

    With `waits`, it may wait for an answer of somebody outside, and the others do not wait for it.
    """

    def register(function: Callable[[], object]) -> Callable[[], object]:
        _claim(name, _periodic)
        _periodic[name] = PeriodicTask(name, function, every_seconds, waits)
        return function

    return register


class StartRefused(Exception):
    """It is not safe to begin. The text tells the operator why and what to do."""


def at_start(function: Callable[[], None]) -> Callable[[], None]:
    """Register `function()` to run once before a process serves or works. It raises StartRefused to prevent that."""
    _at_start.append(function)
    return function


@row_scope.everything()
def start() -> None:
    """Ask every room whether it is safe to begin. Raises StartRefused."""
    for function in _at_start:
        function()


def find_task(name: str) -> Task:
    """The task called `name`; KeyError when no room registered it."""
    return _tasks[name]


def longest_lease_seconds() -> int:
    """How long a worker may be silent at most before its job is another's."""
    return max((task.lease_seconds for task in _tasks.values()), default=0)


def periodic_tasks(*, waits: bool | None = None) -> tuple[PeriodicTask, ...]:
    """All periodic tasks, or those that may wait for strangers, or the others, in the order of their names."""
    return tuple(task for _, task in sorted(_periodic.items()) if waits is None or task.waits == waits)


def _claim(name: str, taken: Mapping[str, object]) -> None:
    if name in taken:
        raise ValueError(f"two tasks are called {name}")
