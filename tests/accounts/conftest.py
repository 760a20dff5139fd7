"""A log of its own for each test that asks for one."""

from pathlib import Path
from typing import Any

import pytest

from compliance.ledger import setup

FOLDERS = ("LOG_DIR", "TRUST_DIR", "SECRETS_DIR", "SIGNER_DIR", "BLOB_DIR", "REPORT_DIR", "AUTHORITY_DIR")


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> Path:
    """Every folder of the product below the test's own."""
    settings.METERPROOF = {**settings.METERPROOF, **{name: tmp_path / name.lower() for name in FOLDERS}}
    return tmp_path


@pytest.fixture
def log(db: None, folders: Path) -> Path:
    """A new log; its folder."""
    setup.create_log()
    return folders / "log_dir"
