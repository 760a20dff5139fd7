"""A supply chain with a log of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from compliance.accounts.models import ApiKey
from compliance.ledger import setup
from tests.conftest import FOLDERS
from tests.custody import world


@pytest.fixture(scope="module")
def registered(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, world.Party]]]:
    """A log with the five organisations, made once for a module: its folders and the parties.

    The rows stand in a transaction around those of the tests, and go with it.
    """
    folder = tmp_path_factory.mktemp("supply-chain")
    paths = {name: folder / name.lower() for name in FOLDERS}
    around = transaction.atomic()
    around._from_testcase = True  # as Django marks its own: a durable block inside is not stopped by it
    with django_db_blocker.unblock(), around:
        with override_settings(METERPROOF={**settings.METERPROOF, **paths}):
            setup.create_log()
            parties = world.make()
        yield folder, parties
        transaction.set_rollback(True)


@pytest.fixture
def parties(registered: tuple[Path, dict[str, world.Party]], db: None, folders: Path) -> dict[str, world.Party]:
    """Five organisations on a log that nothing else was told."""
    source, made = registered
    for part in source.iterdir():
        shutil.copytree(part, folders / part.name, dirs_exist_ok=True)
    return {
        name: world.Party(name, list(party.keys), ApiKey.objects.get(pk=party.api_key.pk))
        for name, party in made.items()
    }
