"""How long one event waits for its receipt while 50 a second come, beside the time the database takes for a commit.

Requests leave by the clock, whether or not earlier ones were answered; the wait counts from the moment each was due,
so a stall shows in every request that came during it.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles

import psycopg

REQUESTS_A_SECOND = 50
SENDERS = 8


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        """From single waits."""
        cuts = quantiles(seconds, n=100)
        return cls(cuts[49] * 1000, cuts[98] * 1000)

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms"


def answer_times(send: Callable[[bytes], None], bodies: Sequence[bytes]) -> Latency:
    """Send `bodies` at the rate, a thread each while it waits."""
    begin = time.perf_counter() + 0.1

    def timed(number: int) -> float:
        due = begin + number / REQUESTS_A_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        send(bodies[number])
        return time.perf_counter() - due

    with ThreadPoolExecutor(SENDERS) as pool:
        return Latency.of(list(pool.map(timed, range(len(bodies)))))


def commit_times(database_url: str, *, times: int, row_bytes: int = 1_000) -> Latency:
    """A transaction of one INSERT, at the same rate, on a connection of its own."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bench_commit (id integer PRIMARY KEY, body bytea NOT NULL)")
        begin, waits = time.perf_counter(), []
        for number in range(times):
            time.sleep(max(0.0, begin + number / REQUESTS_A_SECOND - time.perf_counter()))
            started = time.perf_counter()
            connection.execute("INSERT INTO bench_commit VALUES (%b, %b)", (number, os.urandom(row_bytes)))
            waits.append(time.perf_counter() - started)
        connection.execute("DROP TABLE bench_commit")
    return Latency.of(waits)
