"""Progress for people: a bar on a terminal, nothing where the output is read by a program."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Bar:
    """A running bar."""

    _bar: "tqdm[Any]"

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._bar.update(count)

    def wait(self, reason: str, seconds: float) -> None:
        """Say why nothing moves for a while."""
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{reason}; again in {seconds:.0f} s" if seconds >= 1 else reason)


def said_once() -> Callable[[str, float], None]:
    """Tell of a server that makes us wait: the first time for each reason, on standard error."""
    said: set[str] = set()

    def say(reason: str, _seconds: float) -> None:
        if reason not in said:
            said.add(reason)
            sys.stderr.write(f"{reason} Trying again; Ctrl-C is safe.\n")

    return say


@contextmanager
def bar(total: int, unit: str) -> Iterator[Bar]:
    """A bar over `total` things, on standard error, and only if that is a terminal."""
    with tqdm(total=total, unit=f" {unit}", disable=not sys.stderr.isatty(), leave=False, file=sys.stderr) as running:
        yield Bar(running)
