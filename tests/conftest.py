"""What every test shares: folders of its own, and a database that can be emptied although the product forbids it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import TransactionTestCase
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

from compliance.ledger import guards, setup
from compliance.ledger.drill.trial import take_down_guards

# Whoever ends a test run from outside gets the servers that it started ended too: fixtures are undone as for Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# A timing is never asserted: on a busy machine an example takes long without anything being wrong.
hypothesis_settings.register_profile("meterproof", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Mutation testing runs each test many times and asks for the same answer again.
hypothesis_settings.register_profile(
    "mutation",
    hypothesis_settings.get_profile("meterproof"),
    max_examples=20,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "meterproof"))

FOLDERS = (
    "LOG_DIR",
    "TRUST_DIR",
    "SECRETS_DIR",
    "SIGNER_DIR",
    "BLOB_DIR",
    "REPORT_DIR",
    "AUTHORITY_DIR",
    "WITNESS_DIR",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first: begun last, one of them would keep a single process busy at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> Path:
    """Every folder of the product below the test's own."""
    settings.METERPROOF = {**settings.METERPROOF, **{name: tmp_path / name.lower() for name in FOLDERS}}
    return tmp_path


@pytest.fixture
def log(db: None, folders: Path) -> Path:
    """A new log; its folder."""
    setup.create_log()
    return folders / "log_dir"


@pytest.fixture(autouse=True, scope="session")
def _flush_past_the_guards() -> Iterator[None]:
    """Tests that commit end with an emptied database and the guards up again. Of all that a migrate does afterwards
    they need no more: content types and permissions are nothing of ours, and took as long as the test.
    """

    def teardown(_case: TransactionTestCase) -> None:
        take_down_guards()
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
        guards.install()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield
