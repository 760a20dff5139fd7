"""What a mutant does to the database is gone with it."""

import pytest
from django.db import connection

from compliance.ledger.models import Batch
from tests.mutation.databases import Databases

pytestmark = pytest.mark.both_engines


@pytest.mark.django_db(transaction=True)
def test_what_is_written_to_a_copy_is_not_in_the_database(request, monkeypatch):
    databases = Databases(request.config)
    monkeypatch.setattr(databases, "_product", "another")  # as before the first test
    add()
    database = connection.settings_dict["NAME"]
    try:
        for _ in range(2):
            with databases.copied() as use_copy:
                use_copy()
                assert Batch.objects.count() == 1
                add()
                assert Batch.objects.count() == 2
                connection.close()
                connection.settings_dict["NAME"] = database
    finally:
        connection.settings_dict["NAME"] = database
    assert Batch.objects.count() == 1


def add() -> None:
    """One more row."""
    number = Batch.objects.count()
    Batch.objects.create(id=bytes([number]) * 32, payload_sha256=bytes([number]) * 32, envelope=b"{}", event_hashes=b"")


def test_without_a_test_database_there_is_nothing_to_copy(request):
    database = connection.settings_dict["NAME"]
    with Databases(request.config).copied() as use_copy:
        use_copy()
    assert connection.settings_dict["NAME"] == database
