"""What the verifier says, word for word: people decide by it, so a step that falls silent, or errs in a number, shows.

Whoever means to change words writes them down anew (`python -m tests.proof.recording`) and reads the difference.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proof import recording, scenarios
from tests.proof.vectors import METERPROOF

OF_VECTORS = recording.of_vectors()


@pytest.mark.parametrize("name", OF_VECTORS)
def test_of_our_own_cases(name: str) -> None:
    assert recording.transcript(METERPROOF, OF_VECTORS[name]) == written(name)


@pytest.mark.parametrize("make", recording.MADE, ids=lambda make: make.__name__)
def test_of_a_log_made_here(make: Callable[[Path], scenarios.Words], tmp_path: Path) -> None:
    assert recording.transcript(tmp_path, make(tmp_path)) == written(make.__name__)


def test_each_transcript_has_its_scenario() -> None:
    names = {path.stem for path in recording.TRANSCRIPTS.glob("*.txt")}
    assert names == {*OF_VECTORS, *(make.__name__ for make in recording.MADE)}


def written(name: str) -> str:
    return (recording.TRANSCRIPTS / f"{name}.txt").read_text(encoding="utf-8")
