"""A log of the ledger alone with one factory, for sweeps: new meters, signed batches, and what the factory was told."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from compliance.ledger.append import append_batch
from compliance.proof.batch import SignedBatch
from tests.faults.sweep import Acknowledged
from tests.ledger.world import Factory, meter, received


def every(calls: int) -> int:
    """Long scenarios let each so many-th call fail in a test run, and every call under `./run soak --calls`."""
    return 1 if os.environ.get("SWEEP") == "all" else calls


@dataclass(slots=True)
class Bench:
    """A log with one factory, and what it was told."""

    factory: Factory
    told: Acknowledged
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def new_meter(self) -> str:
        """A meter that no batch named yet."""
        return meter(next(self._numbers))

    def sign(self, *meters: str, **members: Any) -> SignedBatch:
        """A batch with one event for each meter."""
        return self.factory.sign([self.factory.event(name, **members) for name in meters])

    def send(self, signed: SignedBatch) -> Any:
        """Append, and note the receipt."""
        return self.told.note(append_batch(received(signed)))
