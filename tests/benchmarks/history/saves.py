"""How fast django-simple-history keeps the same kind of record: one save, one row of history, one durable commit."""

import time
from typing import Any
from uuid import uuid4

from compliance.jobs import clock
from tests.benchmarks.history.models import HistoricalEvent

SAVES = 1_000


def saves_per_second(event: dict[str, Any]) -> float:
    """Saves a second of an event like `event`, each durable by itself as its users have it."""
    started = time.perf_counter()
    for _ in range(SAVES):
        HistoricalEvent(
            subject=event["subject"], seq=0, event_id=str(uuid4()), body=event, recorded_at=clock.now()
        ).save()
    return SAVES / (time.perf_counter() - started)
