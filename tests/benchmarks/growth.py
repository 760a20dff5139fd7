"""What one operation costs while the log grows tenfold and tenfold again, and how that grows: `./run bench growth`.

The log is filled through the intake itself, signature, rules and all, by two processes; ten entries a meter. At each
size the same operations are repeated on meters chosen anew. Growth is fitted to their processor time, in this process
and in PostgreSQL, since waiting depends on what else runs; the lower quartile of the waits stands beside it. The
exponent is the slope of log cost over log size: 0 does not grow, 1 grows with the log, log n shows as about 0.1 here.
"""

import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, quantiles
from typing import Any

from tests.benchmarks import batch_api, processors
from tests.benchmarks.installed import start_django

ENTRIES_A_METER = 10
METERS_A_PORTION = batch_api.EVENTS_A_BATCH  # one batch of births, then each of these meters is told of nine times
FILLERS = 2
BATCHES, PAGES, PROOFS = 8, 100, 200  # how often each operation is timed
OPERATIONS = ("ingest", "meter page", "meter list", "inclusion proof", "publish")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one operation: processor time here and in the database, and from its begin to its end."""

    processor: float
    wait: float


def sizes(*, quick: bool, full: bool) -> list[int]:
    """Entries in the log when the operations are timed."""
    return [10**power for power in range(4, 6 if quick else 8 if full else 7)]


def measure(url: str, home: Path, *, sizes: Sequence[int]) -> Iterator[str]:
    """The lines to print, one a size as soon as it is reached, then the fit."""
    installation = batch_api.Installation(home, url)
    installation.prepare()
    start_django(url, home)
    costs: dict[str, list[Cost]] = {name: [] for name in OPERATIONS}
    meters = 0
    for size in sizes:
        began = time.perf_counter()
        wanted = size // ENTRIES_A_METER
        fill(installation, meters, wanted)
        meters = wanted
        seconds = time.perf_counter() - began
        timed = _time_operations(installation, meters)
        for name in OPERATIONS:
            costs[name].append(timed[name])
        yield f"growth at {size:,} entries (filled in {seconds:,.0f} s): " + ", ".join(
            f"{name} {_spelled(timed[name].processor)} ({_spelled(timed[name].wait)})" for name in OPERATIONS
        )
    yield "  of each operation: processor time (wait)"
    yield "growth: processor time of one operation over n entries: " + ", ".join(
        f"{name} n^{_exponent(sizes, [cost.processor for cost in costs[name]]):.2f}" for name in OPERATIONS
    )
    yield f"  log n alone would be n^{_exponent(sizes, [math.log(size) for size in sizes]):.2f}"


def _exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    return linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def _spelled(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 0.001 else f"{seconds * 1e3:,.1f} ms"


def fill(installation: batch_api.Installation, first: int, last: int) -> None:
    """Take in all entries of the meters from `first` to before `last`, then integrate and publish them.

    Then PostgreSQL counts its rows, as it does by itself within a minute: else it plans for the log as it was.
    """
    from django.db import connection

    from compliance.ledger import integrate, publish

    portions = [(number, installation) for number in range(first, last, METERS_A_PORTION)]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(FILLERS, mp_context=spawned) as pool:
        for _ in pool.map(_fill_portion, portions):
            integrate.integrate()
    integrate.integrate()
    publish.publish()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _fill_portion(portion: tuple[int, batch_api.Installation]) -> None:
    first, installation = portion
    start_django(installation.database_url, installation.home)
    numbers = range(first, first + METERS_A_PORTION)
    _take_in(installation, [batch_api.birth(number) for number in numbers])
    for told in range(1, ENTRIES_A_METER):
        _take_in(installation, [batch_api.calibration(number, told=told) for number in numbers])


def _take_in(installation: batch_api.Installation, events: list[dict[str, object]]) -> None:
    _receive(installation.signed(events).ndjson)


def _receive(data: bytes) -> None:
    from compliance.accounts.models import ApiKey
    from compliance.custody import intake
    from compliance.proof.batch import NDJSON

    sender = ApiKey.objects.get(organisation=batch_api.ORGANISATION)
    intake.receive_batch(data, media_type=NDJSON, sender=sender)


def _time_operations(installation: batch_api.Installation, meters: int) -> dict[str, Cost]:
    """The cost of each operation, on meters chosen anew at each size."""
    from compliance.accounts.models import ApiKey
    from compliance.custody import selectors as custody
    from compliance.ledger import integrate, proofs, publish
    from compliance.web import meter_page

    pick = random.Random(meters)  # noqa: S311 (a choice that can be repeated)
    reader = ApiKey.objects.get(organisation=batch_api.ORGANISATION)

    def some_batch() -> bytes:
        numbers = pick.sample(range(meters), batch_api.EVENTS_A_BATCH)
        events = [batch_api.calibration(number, told=pick.getrandbits(60)) for number in numbers]
        return installation.signed(events).ndjson

    def some_meter() -> str:
        return batch_api.meter_text(pick.randrange(meters))

    def publish_batch(_: object) -> None:
        integrate.integrate()
        publish.publish()

    def show(subject: str) -> None:
        meter = custody.meter_of(subject, reader)
        assert meter is not None, "every meter was filled in"
        meter_page.meter_context(meter, reader)

    def prove(subject: str) -> None:
        proofs.tlog_proof(subject, pick.randrange(ENTRIES_A_METER))

    ingest = _cost(_receive, BATCHES, given=some_batch)
    return {
        "ingest": Cost(ingest.processor / batch_api.EVENTS_A_BATCH, ingest.wait / batch_api.EVENTS_A_BATCH),
        "publish": _cost(publish_batch, BATCHES, given=lambda: _receive(some_batch())),
        "meter page": _cost(show, PAGES, given=some_meter),
        "meter list": _cost(lambda after: custody.meter_page(reader, after=after), PAGES, given=some_meter),
        "inclusion proof": _cost(prove, PROOFS, given=some_meter),
    }


def _cost(operation: Callable[[Any], object], times: int, *, given: Callable[[], Any]) -> Cost:
    """Of `operation`, after one time that warms; what it is `given` is made outside the clock."""
    operation(given())
    spent, waits = 0.0, []
    for _ in range(times):
        made = given()
        processor, began = _processor_seconds(), time.perf_counter()
        operation(made)
        waits.append(time.perf_counter() - began)
        spent += _processor_seconds() - processor
    return Cost(spent / times, quantiles(waits, n=4)[0])


def _processor_seconds() -> float:
    from django.db import connection

    connection.ensure_connection()
    return time.process_time() + processors.seconds(connection.connection.info.backend_pid)
