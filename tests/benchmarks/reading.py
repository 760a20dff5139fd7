"""How fast fsck reads the ledger, beside SHA-256 over the same bytes and nothing else, on one core."""

import hashlib
import time
from dataclasses import dataclass

from compliance.ledger import fsck, integrate, publish
from compliance.ledger.fsck import processes
from compliance.ledger.models import Entry


@dataclass(frozen=True, slots=True)
class Rates:
    """Entries a second."""

    entries: int
    fsck_per_second: float
    two_processes_per_second: float
    sha256_per_second: float


def measure() -> Rates:
    """Read everything in the ledger twice: with fsck, and only hashing it. Raises AssertionError if it is not sound."""
    integrate.integrate()
    publish.publish()
    result = fsck.run(comparisons=())
    if not result.sound:
        raise AssertionError(result.problems[:5])
    with processes.processes(2) as readers:
        by_two = fsck.run(comparisons=(), readers=readers)
    if not by_two.sound:
        raise AssertionError(by_two.problems[:5])
    bodies = [bytes(body) for body in Entry.objects.values_list("body", flat=True).iterator()]
    started = time.perf_counter()
    for body in bodies:
        hashlib.sha256(body).digest()
    seconds = time.perf_counter() - started
    rates = [read.entries / read.seconds for read in (result, by_two)]
    return Rates(result.entries, *rates, len(bodies) / seconds)
