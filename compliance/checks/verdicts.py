"""What a check answers about one thing it looked at: it conforms, it deviates, or it cannot be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The three answers. The third is never a pass."""

    CONFORMS = "conforms"
    DEVIATES = "deviates"
    NOT_EVALUABLE = "not_evaluable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer. `about` names the thing looked at where the entry judged speaks of several, else it is empty."""

    outcome: Outcome
    detail: str = ""
    about: str = ""
    meters: tuple[str, ...] = ()


def conforms(about: str = "") -> Verdict:
    """The rule holds."""
    return Verdict(Outcome.CONFORMS, about=about)


def deviates(detail: str, *, about: str = "", meters: Sequence[str] = ()) -> Verdict:
    """The rule is broken: `detail` says how, in a sentence, and `meters` which meters it concerns."""
    return Verdict(Outcome.DEVIATES, detail, about, tuple(dict.fromkeys(meters)))


def not_evaluable(reason: str, *, about: str = "") -> Verdict:
    """Something that the rule needs was never recorded."""
    return Verdict(Outcome.NOT_EVALUABLE, reason, about)
