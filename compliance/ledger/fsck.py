"""Re-reading every stored byte of the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something stored contradicts something else. `place` says where to look."""

    code: str
    place: str
    detail: str


Comparison = Callable[[], Iterator[Problem]]
_comparisons: list[Comparison] = []


def register_fsck(function: Comparison) -> None:
    """Let another room compare its own tables with the ledger, as part of every fsck."""
    if function not in _comparisons:
        _comparisons.append(function)
