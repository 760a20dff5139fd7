"""Fixtures of the proof tests: the vectors, small worlds made here, and a look at every refusal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compliance.proof.errors import REASONS, ProofError
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


@pytest.fixture(autouse=True)
def every_refusal_is_explained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test is about: no error has a code without a meaning, or a pointer that is none (RFC 6901)."""
    unexplained: set[str] = set()
    make = ProofError.__init__

    def look(error: ProofError, code: str, *arguments: Any, **more: Any) -> None:
        make(error, code, *arguments, **more)
        if code not in REASONS:
            unexplained.add(code)

    def point(error: ProofError, name: str, value: Any) -> None:
        object.__setattr__(error, name, value)
        if name == "pointer" and value and not value.startswith("/"):
            unexplained.add(value)

    monkeypatch.setattr(ProofError, "__init__", look)
    monkeypatch.setattr(ProofError, "__setattr__", point)
    yield
    assert not unexplained
