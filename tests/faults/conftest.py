"""Logs whose rows are committed: what fails here commits and rolls back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compliance.ledger import append, setup


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
