"""G1, G2: 20 rounds of kill -9 on each engine. `./run soak --rounds 1000` does more of the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.soak import ENGINES

PROJECT = Path(__file__).resolve().parents[2]
ROUNDS = 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_acknowledged_is_lost_or_doubled(engine: str) -> None:
    """F1, F2, F4, F6, F8: writers, publishers and the PostgreSQL server are killed at any moment."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak", "--engine", engine, "--rounds", str(ROUNDS)],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"lost 0, double 0 in {ROUNDS} rounds"
