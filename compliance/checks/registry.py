"""Which checks there are. One class a check, one question each; docs/checks.md tells how to add one.

A check is a pure function over the log up to a position: same entries, same version, same parameters, same verdicts,
years later. What it needs to know it asks of the `Knowledge` it is given and of nothing else.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from compliance.checks.knowledge import Knowledge, LogKnowledge
from compliance.checks.story import Step
from compliance.checks.verdicts import Verdict


class Severity(StrEnum):
    """How bad a deviation is if it is true."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Check:
    """Base of both kinds. The docstring's first line is its title, `AN-nn: question`."""

    id: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    severity: ClassVar[Severity]
    speaks_to: ClassVar[tuple[str, ...]]
    parameters: ClassVar[Mapping[str, Any]] = {}

    @property
    def title(self) -> str:
        """The question, as pages and reports show it."""
        first = (type(self).__doc__ or "").strip().splitlines()[0]
        return first.partition(": ")[2]


class EventCheck(Check):
    """Judges entries one at a time by what the log held before: while they are appended, and again in each sweep."""

    listens_to: ClassVar[tuple[str, ...]]

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        """One verdict for each thing that the entry `step` speaks of."""
        raise NotImplementedError


class SweepCheck(Check):
    """Judges the log as a whole at a position: what is missing only time can show."""

    def examine(self, knowledge: LogKnowledge) -> Iterable[tuple[Step, Verdict]]:
        """A verdict for each thing of its population, beside the entry that it hangs on."""
        raise NotImplementedError


C = TypeVar("C", bound=type[Check])

_checks: dict[str, Check] = {}


def register(check: C) -> C:
    """Add a check to the product."""
    if check.id in _checks:
        raise ValueError(f"two checks are called {check.id}")
    _checks[check.id] = check()
    return check


def checks() -> list[Check]:
    """All checks, in the order of their ids."""
    return [_checks[id_] for id_ in sorted(_checks)]


def check(id_: str) -> Check:
    """The check called `id_`; KeyError if there is none."""
    return _checks[id_]


def event_checks() -> list[EventCheck]:
    """The checks that judge entries."""
    return [each for each in checks() if isinstance(each, EventCheck)]


def sweep_checks() -> list[SweepCheck]:
    """The checks that judge the log as a whole."""
    return [each for each in checks() if isinstance(each, SweepCheck)]


def listeners() -> dict[str, list[EventCheck]]:
    """For each event type, the checks that judge it."""
    by_type: dict[str, list[EventCheck]] = {}
    for each in event_checks():
        for event_type in each.listens_to:
            by_type.setdefault(event_type, []).append(each)
    return by_type
