"""Reading the log in its order beside writers."""

import threading
from pathlib import Path

import pytest
from django.db import connection

from compliance.jobs import clock
from compliance.jobs.models import PeriodicRun
from compliance.ledger import integrate, rows
from tests.ledger.world import Factory, meter

pytestmark = [pytest.mark.both_engines, pytest.mark.django_db(transaction=True)]


def test_who_reads_the_log_can_write_although_another_wrote_meanwhile(committed_log: Path) -> None:
    """On SQLite an unfinished query holds its snapshot, and a write from an old snapshot is refused at once."""
    factory = Factory()
    factory.register()
    factory.send([factory.event(meter(number)) for number in range(200)])
    integrate.integrate()
    PeriodicRun.objects.create(name="mine", due_at=clock.now())

    def write() -> None:
        PeriodicRun.objects.create(name="another", due_at=clock.now())
        connection.close()

    leaves = rows.leaves(0, 200)
    assert next(leaves).leaf == 0
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(30)
    assert PeriodicRun.objects.filter(name="mine").update(last_failure="written from within") == 1
    assert sum(1 for _ in leaves) == 199
