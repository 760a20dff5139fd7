"""Fixtures of the proof tests: the vectors, and small worlds made here."""

from pathlib import Path

import pytest

from tests.proof.vectors import METERPROOF
from tests.proof.world import World


@pytest.fixture
def trust() -> Path:
    """The trust folder of the vectors."""
    return METERPROOF / "trust"


@pytest.fixture
def world() -> World:
    """A log with its operator and one organisation, acme, whose first key is `acme`."""
    world = World()
    world.create()
    world.register_organisation("acme", "acme")
    return world
