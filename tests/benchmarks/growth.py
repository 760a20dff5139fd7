"""What one operation costs while the log grows tenfold and tenfold again, and how that grows: `./run bench growth`.

The log is filled through the intake itself, signature, rules and all, by two processes; ten entries a meter. At each
size the same operations are timed, several times, and the lower quartile is taken: what else runs on the machine only
adds. The fitted exponent is the slope of log cost over log size:
0 does not grow, 1 grows with the log; what grows with log n shows as about 0.1 here.
"""

import math
import multiprocessing
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import linear_regression, quantiles

from tests.benchmarks import batch_api
from tests.benchmarks.installed import start_django

ENTRIES_A_METER = 10
METERS_A_PORTION = batch_api.EVENTS_A_BATCH  # one batch of births, then each of these meters is told of nine times
FILLERS = 2
BATCHES, PAGES, PROOFS = 8, 100, 200  # how often each operation is timed
OPERATIONS = ("ingest", "meter page", "meter list", "inclusion proof", "publish")


def sizes(*, quick: bool, full: bool) -> list[int]:
    """Entries in the log when the operations are timed."""
    return [10**power for power in range(4, 6 if quick else 8 if full else 7)]


def measure(url: str, home: Path, *, sizes: Sequence[int]) -> Iterator[str]:
    """The lines to print, one a size as soon as it is reached, then the fit."""
    installation = batch_api.Installation(home, url)
    installation.prepare()
    start_django(url, home)
    costs: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    meters = 0
    for size in sizes:
        began = time.perf_counter()
        wanted = size // ENTRIES_A_METER
        _fill(installation, meters, wanted)
        meters = wanted
        seconds = time.perf_counter() - began
        timed = _time_operations(installation, meters)
        for name in OPERATIONS:
            costs[name].append(timed[name])
        yield f"growth at {size:,} entries (filled in {seconds:,.0f} s): " + ", ".join(
            f"{name} {_spelled(timed[name])}" for name in OPERATIONS
        )
    yield "growth: cost of one operation over n entries: " + ", ".join(
        f"{name} n^{_exponent(sizes, costs[name]):.2f}" for name in OPERATIONS
    )
    yield f"  log n alone would be n^{_exponent(sizes, [math.log(size) for size in sizes]):.2f}"


def _exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    return linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def _spelled(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 0.001 else f"{seconds * 1e3:,.1f} ms"


def _fill(installation: batch_api.Installation, first: int, last: int) -> None:
    """Take in all entries of the meters from `first` to before `last`, then integrate and publish them."""
    from compliance.ledger import integrate, publish

    portions = [(number, installation) for number in range(first, last, METERS_A_PORTION)]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(FILLERS, mp_context=spawned) as pool:
        for _ in pool.map(_fill_portion, portions):
            integrate.integrate()
    integrate.integrate()
    publish.publish()


def _fill_portion(portion: tuple[int, batch_api.Installation]) -> None:
    first, installation = portion
    start_django(installation.database_url, installation.home)
    numbers = range(first, first + METERS_A_PORTION)
    _take_in(installation, [batch_api.birth(number) for number in numbers])
    for told in range(1, ENTRIES_A_METER):
        _take_in(installation, [batch_api.calibration(number, told=told) for number in numbers])


def _take_in(installation: batch_api.Installation, events: list[dict[str, object]]) -> float:
    """Seconds from the signed bytes to the receipt."""
    from compliance.accounts.models import ApiKey
    from compliance.custody import intake
    from compliance.proof.batch import NDJSON

    data = installation.signed(events).ndjson
    sender = ApiKey.objects.get(organisation=batch_api.ORGANISATION)
    started = time.perf_counter()
    intake.receive_batch(data, media_type=NDJSON, sender=sender)
    return time.perf_counter() - started


def _time_operations(installation: batch_api.Installation, meters: int) -> dict[str, float]:
    """Seconds of each operation, on meters chosen anew at each size."""
    from compliance.accounts.models import ApiKey
    from compliance.custody import selectors as custody
    from compliance.ledger import integrate, proofs, publish
    from compliance.web import meter_page

    pick = random.Random(meters)  # noqa: S311 (a choice that can be repeated)
    reader = ApiKey.objects.get(organisation=batch_api.ORGANISATION)

    def ingest() -> float:
        numbers = pick.sample(range(meters), batch_api.EVENTS_A_BATCH)
        events = [batch_api.calibration(number, told=pick.getrandbits(60)) for number in numbers]
        return _take_in(installation, events) / batch_api.EVENTS_A_BATCH

    def publish_batch() -> float:
        ingest()
        started = time.perf_counter()
        integrate.integrate()
        publish.publish()
        return time.perf_counter() - started

    def page() -> None:
        meter = custody.meter_of(batch_api.meter_text(pick.randrange(meters)), reader)
        assert meter is not None, "every meter was filled in"
        meter_page.meter_context(meter, reader)

    def listed() -> None:
        custody.meter_page(reader, after=batch_api.meter_text(pick.randrange(meters)))

    def proof() -> None:
        proofs.tlog_proof(batch_api.meter_text(pick.randrange(meters)), pick.randrange(ENTRIES_A_METER))

    for warming in (ingest, publish_batch, page, listed, proof):
        warming()
    return {
        "ingest": _lower_quartile(ingest() for _ in range(BATCHES)),
        "publish": _lower_quartile(publish_batch() for _ in range(BATCHES)),
        "meter page": _lower_quartile(_seconds(page) for _ in range(PAGES)),
        "meter list": _lower_quartile(_seconds(listed) for _ in range(PAGES)),
        "inclusion proof": _lower_quartile(_seconds(proof) for _ in range(PROOFS)),
    }


def _lower_quartile(seconds: Iterable[float]) -> float:
    return quantiles(list(seconds), n=4)[0]


def _seconds(operation: Callable[[], None]) -> float:
    started = time.perf_counter()
    operation()
    return time.perf_counter() - started
