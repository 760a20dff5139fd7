"""Parties on a log of their own, and somebody who decides on findings."""

from pathlib import Path

import pytest

from compliance.accounts.models import Person
from tests.accounts import world as accounts
from tests.custody import world


@pytest.fixture
def parties(log: Path) -> dict[str, world.Party]:
    """Five organisations on a fresh log."""
    return world.make()


@pytest.fixture
def auditor(log: Path) -> Person:
    """Hanna of an audit house."""
    house = accounts.join("auditors", "auditor").organisation
    return accounts.person("hanna", house, "auditor")
