"""A supply chain with a log of its own."""

from pathlib import Path

import pytest

from tests.custody import world


@pytest.fixture
def parties(log: Path) -> dict[str, world.Party]:
    """Five organisations on a fresh log."""
    return world.make()
