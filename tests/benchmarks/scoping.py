"""What it costs that every statement carries its row scope: one lookup by primary key, with it and without."""

import time
from statistics import median

from django.db import connection

from compliance.accounts.models import Organisation

LOOKUPS = 200
ROUNDS = 15


def measure(organisation: str) -> tuple[float, float]:
    """Microseconds of a lookup, client and server together; taken in turn, so that both had the same machine."""
    saying = list(connection.execute_wrappers)
    taken: dict[bool, list[float]] = {True: [], False: []}
    try:
        for number in range(2 * ROUNDS):
            said = number % 2 == 0
            connection.execute_wrappers[:] = saying if said else []
            taken[said].append(_lookups(organisation))
    finally:
        connection.execute_wrappers[:] = saying
    return median(taken[True]), median(taken[False])


def _lookups(organisation: str) -> float:
    begin = time.perf_counter()
    for _ in range(LOOKUPS):
        Organisation.objects.get(pk=organisation)
    return (time.perf_counter() - begin) / LOOKUPS * 1e6
