"""G4: every call of append, integrate, publish, signer and rebuild fails in turn, and nothing is lost or half done."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import integrate, key_history, publish, selectors, signer, tasks, tiles
from compliance.ledger.models import LogState, Pending
from compliance.proof import merkle, tile_proofs
from compliance.proof.batch import SignedBatch
from tests.faults.bench import Bench
from tests.faults.sweep import log_files, once, sweep_all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_engines,
    pytest.mark.timeout(400),
]


@dataclass(slots=True)
class Sending:
    """Batches that are sent one after the other; after a fault, all of them again, as a client would."""

    bench: Bench
    batches: list[SignedBatch]
    lengths: dict[str, int]
    """How long each chain has to be in the end."""
    publishes: bool = False

    def run(self) -> None:
        """Send."""
        for signed in self.batches:
            self.bench.send(signed)

    def check(self) -> None:
        """Each chain is as long as it must be, so nothing came twice."""
        for subject, length in self.lengths.items():
            assert len(selectors.chain(subject)) == length, subject


def new_subjects(bench: Bench) -> Sending:
    """Chains that begin with this batch."""
    meters = [bench.new_meter(), bench.new_meter()]
    return Sending(bench, [bench.sign(*meters)], dict.fromkeys(meters, 1))


def known_subject(bench: Bench) -> Sending:
    """A chain that goes on: with a hint where, and with a correction of its first entry."""
    subject = bench.new_meter()
    first = bench.send(bench.sign(subject)).entries[0]
    hinted = bench.factory.event(subject, prev_hint=first.hash.hex(), corrects=first.hash.hex())
    return Sending(bench, [bench.factory.sign([hinted])], {subject: 2})


def crossing_subjects(bench: Bench) -> Sending:
    """Known and new chains in another order than before, one of them twice."""
    one, two, three = bench.new_meter(), bench.new_meter(), bench.new_meter()
    bench.send(bench.sign(two, one))
    return Sending(bench, [bench.sign(three, one, two, one)], {one: 3, two: 2, three: 1})


def duplicates(bench: Bench) -> Sending:
    """A batch sent again, and a batch of which one event is on record."""
    subject = bench.new_meter()
    known = bench.factory.event(subject)
    sent = bench.factory.sign([known])
    bench.send(sent)
    again = bench.factory.sign([known, bench.factory.event(subject)])
    return Sending(bench, [sent, again], {subject: 2})


@dataclass(slots=True)
class Integrating:
    """Two batches wait, the second going on where the first ends."""

    bench: Bench
    publishes: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        integrate.integrate()
        subject = self.bench.new_meter()
        self.bench.send(self.bench.sign(subject, self.bench.new_meter()))
        self.bench.send(self.bench.sign(subject))
        self.size = selectors.log_size() + 3

    def run(self) -> None:
        """Integrate."""
        integrate.integrate()

    def check(self) -> None:
        """All of it has its place."""
        assert selectors.log_size() == self.size
        assert not Pending.objects.exists()


@dataclass(slots=True)
class Publishing:
    """Three integrated entries wait to be published; every some hundred a tile is filled and partial ones go."""

    bench: Bench
    publishes: bool = True

    def __post_init__(self) -> None:
        self.bench.send(self.bench.sign(*(self.bench.new_meter() for _ in range(3))))
        integrate.integrate()

    def run(self) -> None:
        """Publish."""
        publish.publish()

    def check(self) -> None:
        """The checkpoint that everybody reads is over the whole log, and is the one that was signed."""
        last = signer.last_signed()
        assert last is not None
        assert last.checkpoint.size == selectors.log_size()
        assert tiles.read_checkpoint() == last.note


@dataclass(slots=True)
class Signing:
    """Tiles are written; the signer is asked. It may never sign two trees of one size, nor a smaller one."""

    bench: Bench
    publishes: bool = True
    before: signer.Signed = field(init=False)
    at: datetime = field(init=False)

    def __post_init__(self) -> None:
        tasks.integrate_and_publish()
        self.at = clock.now()
        last = signer.last_signed()
        assert last is not None
        self.before = last
        self.bench.send(self.bench.sign(self.bench.new_meter()))
        integrate.integrate()
        tiles.extend(last.checkpoint.size, selectors.log_size())

    def run(self) -> None:
        """Sign, unless that was done before the fault."""
        state = LogState.objects.get()
        with signer.exclusive(wait=True):
            last = signer.last_signed()
            assert last is not None
            if last.checkpoint.size == state.size:
                return
            assert last == self.before, "the memory is neither the old nor the new one"
            path = tile_proofs.consistency_path(tiles.read_tile, last.checkpoint.size, state.size)
            edge = merkle.RightEdge.from_bytes(state.right_edge)
            verifiers = key_history.read().verifiers_at(state.size)
            signer.sign(expected=last.checkpoint, edge=edge, consistency=path, at=self.at, verifiers=verifiers)

    def check(self) -> None:
        """It was signed once more, not twice."""
        last = signer.last_signed()
        assert last is not None
        assert (last.number, last.checkpoint.size) == (self.before.number + 1, selectors.log_size())


@dataclass(slots=True)
class Rebuilding:
    """Some published files are gone; all are derived from the rows again."""

    bench: Bench
    publishes: bool = True
    before: dict[Path, bytes] = field(init=False)

    def __post_init__(self) -> None:
        tasks.integrate_and_publish()
        self.before = {path: path.read_bytes() for path in log_files()}
        for path in list(self.before)[:3]:
            path.unlink()

    def run(self) -> None:
        """Rebuild."""
        publish.rebuild()

    def check(self) -> None:
        """Byte for byte as they were."""
        assert {path: path.read_bytes() for path in log_files()} == self.before


SCENARIOS = {
    "new subjects": new_subjects,
    "known subject": known_subject,
    "crossing subjects": crossing_subjects,
    "duplicates": duplicates,
    "integrate": Integrating,
    "publish": Publishing,
    "signer": Signing,
    "rebuild": Rebuilding,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_call_fails_nothing_is_lost(scenario: str, bench: Bench) -> None:
    make = SCENARIOS[scenario]
    found = sweep_all(lambda: make(bench), once(settings.METERPROOF["LOG_DIR"].parent), bench.told)
    assert sum(found.values()) > 10, found
