"""The account a run gives of itself: steps with times, figures, and what was verified."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

WIDTH = 34


@dataclass(slots=True)
class Account:
    """Prints each step when it is done, and keeps the figures for `summary.json`."""

    write: Callable[[str], object]
    seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str, total: int = 0, unit: str = "") -> Iterator["Step"]:
        """Measure a step; with a `total`, show how far it is on a terminal."""
        begun = time.monotonic()
        hidden = not (total and sys.stderr.isatty())
        with tqdm(total=total, desc=name, unit=f" {unit}", leave=False, disable=hidden, file=sys.stderr) as bar:
            step = Step(lambda count: _advance(bar, count))
            yield step
        self.seconds[name] = round(time.monotonic() - begun, 2)
        self.say(f"{name:<{WIDTH}}{self.seconds[name]:>7.2f} s   {step.says}")

    def say(self, line: str = "") -> None:
        """Print a line at once: whoever watches wants to see it move."""
        self.write(f"{line}\n")
        sys.stdout.flush()

    @property
    def total_seconds(self) -> float:
        """Since the account was opened."""
        return round(time.monotonic() - self.started, 2)


@dataclass(slots=True)
class Step:
    """A step under way. `says` is what will stand beside its time."""

    advance: Callable[[int], None]
    says: str = ""


def _advance(bar: "tqdm[Any]", count: int) -> None:
    bar.update(count)
