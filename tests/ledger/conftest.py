"""Logs for the tests of the ledger alone: without the appliers and locks of other rooms."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compliance.ledger import append, setup
from tests.ledger.world import Factory


@pytest.fixture
def alone() -> Iterator[None]:
    """No other room looks at what is appended."""
    with append.hooks():
        yield


@pytest.fixture
def factory(alone: None, log: Path) -> Factory:
    """A factory and a new log it can send to."""
    return Factory()


@pytest.fixture
def committed_log(alone: None, transactional_db: None, folders: Path) -> Path:
    """A new log whose rows other connections see; its folder."""
    setup.create_log()
    return folders / "log_dir"
