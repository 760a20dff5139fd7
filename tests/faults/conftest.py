"""Logs whose rows are committed: what fails here commits and rolls back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compliance.ledger import append, setup
from compliance.witness import home
from tests.faults.bench import Bench
from tests.faults.sweep import Acknowledged
from tests.ledger.world import Factory
from tests.witness.logs import AnyLog


@pytest.fixture
def alone() -> Iterator[None]:
    """No other room looks at what is appended."""
    with append.hooks():
        yield


@pytest.fixture
def committed_log(alone: None, transactional_db: None, folders: Path) -> Path:
    """A new log of the ledger alone; its folder."""
    setup.create_log()
    return folders / "log_dir"


@pytest.fixture
def bench(committed_log: Path) -> Bench:
    """A new log and a factory with a registered key."""
    factory = Factory()
    factory.register()
    return Bench(factory, Acknowledged())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A witness that trusts the log of `AnyLog`."""
    home.make(tmp_path / "witness", "witness.example.test/w1")
    home.add_log(tmp_path / "witness", AnyLog().signer.vkey)
    return tmp_path / "witness"
