"""How fast fsck reads the ledger, beside SHA-256 over the same bytes and nothing else, on one core: `./run bench fsck`.

Each figure comes from a process of its own, so that its peak of memory is that of an fsck. Rates are entries for each
second of processor time, and again by the clock, which says more about what else runs; bare hashing takes its turn
between two fscks, so that both see the same machine. PostgreSQL's processor time is that of the whole server.
"""

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import batch_api, growth, processors
from tests.benchmarks.installed import start_django

ROUNDS = 5
_BODIES_A_PAGE = 2_000
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one pass over the log took: of this process, of PostgreSQL, and by the clock."""

    processor: float
    database: float
    clock: float


@dataclass(frozen=True, slots=True)
class Read:
    """What was measured in one process. Memory in bytes, before the first fsck and at its peak."""

    entries: int
    fsck: Seconds
    sha256: float
    memory_before: int
    memory_peak: int


def sizes(*, quick: bool, full: bool) -> list[int]:
    """Entries in the log when it is read."""
    return [20_000, 200_000] if quick else [20_000, 200_000, 1_000_000] if full else [20_000, 400_000]


def measure(url: str, home: Path, *, sizes: Sequence[int]) -> Iterator[str]:
    """The lines to print, as the log reaches each of `sizes`."""
    installation = batch_api.Installation(home, url)
    installation.prepare()
    start_django(url, home)
    filled = 0
    for size in sizes:
        growth.fill(installation, filled, size // growth.ENTRIES_A_METER)
        filled = size // growth.ENTRIES_A_METER
        yield from lines(url, home)


def lines(url: str, home: Path) -> Iterator[str]:
    """What to print about the log as it is now. Raises AssertionError if it is not sound."""
    read = _in_a_process(_read, url, home, 1, ROUNDS)
    by_two = _in_a_process(_read, url, home, 2, 1)
    spent, entries = read.fsck, read.entries
    bare = entries / read.sha256
    together = spent.processor + spent.database
    yield f"fsck: {entries / spent.processor:,.0f} entries/s, ratio to bare SHA-256 {read.sha256 / spent.processor:.3f}"
    yield (
        f"  {entries:,} entries, one process, a second of its processor time; bare SHA-256 {bare:,.0f} entries/s; "
        "the ledger's own rows and files without other rooms' comparisons"
    )
    yield (
        f"  PostgreSQL's processor time counted too: {entries / together:,.0f} entries/s, "
        f"ratio {read.sha256 / together:.3f}; by the clock: {entries / spent.clock:,.0f} entries/s, "
        f"ratio {read.sha256 / spent.clock:.3f}; with --jobs 2 {entries / by_two.fsck.clock:,.0f} entries/s"
    )
    yield (
        f"  peak memory {read.memory_peak / 1e6:,.0f} MB, of which {read.memory_before / 1e6:,.0f} MB before it began"
    )


def _in_a_process(work: Callable[[str, Path, int, int], Read], url: str, home: Path, jobs: int, rounds: int) -> Read:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, url, home, jobs, rounds).result()


def _read(url: str, home: Path, jobs: int, rounds: int) -> Read:
    """Read everything in the ledger with fsck, `rounds` times, and then only hash it each time."""
    start_django(url, home)
    from django.db import connection

    from compliance.ledger import fsck
    from compliance.ledger.fsck import processes

    connection.ensure_connection()
    backend = connection.connection.info.backend_pid
    before = _memory("VmHWM")
    taken: list[Seconds] = []
    hashed: list[float] = []
    peak = 0
    for _ in range(rounds):
        with ExitStack() as stack:
            started = time.process_time(), processors.server_seconds(backend), time.perf_counter()
            readers = stack.enter_context(processes.processes(jobs)) if jobs > 1 else None
            result = fsck.run(comparisons=(), readers=readers)
            ended = time.process_time(), processors.server_seconds(backend), time.perf_counter()
        assert result.sound, result.problems[:5]
        peak = peak or _memory("VmHWM")
        taken.append(Seconds(*(end - start for start, end in zip(started, ended, strict=True))))
        hashed.append(_hash_bodies())
    return Read(result.entries, sorted(taken, key=lambda one: one.processor)[rounds // 2], median(hashed), before, peak)


def _hash_bodies() -> float:
    """Processor seconds of SHA-256 over each entry, without those of getting it."""
    from compliance.ledger.models import Entry

    seconds = 0.0
    bodies = Entry.objects.values_list("body", flat=True).iterator(_BODIES_A_PAGE)
    while page := [body for body, _ in zip(bodies, range(_BODIES_A_PAGE), strict=False)]:
        started = time.process_time()
        for body in page:
            hashlib.sha256(body).digest()
        seconds += time.process_time() - started
    return seconds


def _memory(name: str) -> int:
    """Bytes of a line of proc(5) status: VmHWM is the peak of this process, without that of the one it came from."""
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
