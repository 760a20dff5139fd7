"""G5: many at once, against a small model. Per subject, every reader sees beginnings of one history."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from compliance.ledger import integrate, publish, selectors, tasks
from compliance.ledger.append import append_batch
from compliance.ledger.errors import Conflict
from compliance.proof.batch import SignedBatch
from tests.faults.sweep import require_chains_and_root, require_sound
from tests.ledger.world import Factory, meter, received

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]

AT_ONCE = 50
JOIN_SECONDS = 100
SUBJECTS = 3


def together(works: Sequence[Callable[[], None]]) -> None:
    """Run all at the same moment, each on a connection of its own; raises what the first of them raised."""
    barrier = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def begin(work: Callable[[], None]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(JOIN_SECONDS)
            work()
        except BaseException as failure:  # shown by the thread that waits
            failures.append(failure)
        finally:
            connection.close()

    connection.close()
    threads = [threading.Thread(target=begin, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]


def history(subject: str) -> list[str]:
    """Hashes of the chain as a reader sees it now."""
    return [entry.hash.hex() for entry in selectors.chain(subject)]


@pytest.fixture
def factory(committed_log: Path) -> Factory:
    factory = Factory()
    factory.register()
    return factory


def test_fifty_appends_to_one_meter_at_once(factory: Factory) -> None:
    """F23: no gap, one chain, nobody is refused; those that lost a race were repeated inside."""
    batches = [factory.sign([factory.event(meter(1))]) for _ in range(AT_ONCE)]
    receipts: list[bytes] = []

    def send(signed: SignedBatch) -> None:
        receipts.append(append_batch(received(signed)).receipt)

    together([lambda signed=signed: send(signed) for signed in batches])  # type: ignore[misc]
    assert len(set(receipts)) == AT_ONCE
    assert [entry.seq for entry in selectors.chain(meter(1))] == list(range(AT_ONCE))
    tasks.integrate_and_publish()
    require_sound()


def test_batches_that_begin_the_same_chains_at_once(factory: Factory) -> None:
    """G5: each crosses several others on chains that nobody has heard of; none is refused, no chain is begun twice."""
    width, step, number = 12, 4, 10
    batches = [
        factory.sign([factory.event(meter(at)) for at in range(first * step + width - 1, first * step - 1, -1)])
        for first in range(number)
    ]
    together([lambda signed=signed: append_batch(received(signed)) for signed in batches])  # type: ignore[misc]
    for at in range((number - 1) * step + width):
        told = sum(first * step <= at < first * step + width for first in range(number))
        assert [entry.seq for entry in selectors.chain(meter(at))] == list(range(told))
    tasks.integrate_and_publish()
    require_sound()


def test_of_those_that_name_the_head_one_wins(factory: Factory) -> None:
    """Ten corrections of the same state: the first is recorded, the others are told that the chain moved."""
    first = factory.send([factory.event(meter(1))]).entries[0]
    batches = [factory.sign([factory.event(meter(1), prev_hint=first.hash.hex())]) for _ in range(10)]
    answers: list[str] = []

    def send(signed: SignedBatch) -> None:
        try:
            append_batch(received(signed))
        except Conflict as refusal:
            answers.append(refusal.code)
        else:
            answers.append("recorded")

    together([lambda signed=signed: send(signed) for signed in batches])  # type: ignore[misc]
    assert sorted(answers) == ["chain.moved"] * 9 + ["recorded"]
    assert len(history(meter(1))) == 2


def test_publishers_at_once_make_one_tree(factory: Factory) -> None:
    """F24: whoever comes second finds it done; integrators share the work, none of it twice."""
    for number in range(6):
        factory.send([factory.event(meter(number))])
    done: list[int] = []

    def integrate_and_publish() -> None:
        done.append(integrate.integrate())
        publish.publish(wait=True)

    before = selectors.log_size()
    together([integrate_and_publish] * 4)
    tasks.integrate_and_publish()
    assert before + sum(done) <= selectors.log_size()
    require_chains_and_root()
    require_sound()


@dataclass(slots=True)
class Reader:
    """What one reader saw, in order."""

    seen: dict[str, list[list[str]]] = field(default_factory=dict)

    def look(self, subjects: Sequence[str]) -> None:
        """Read each chain once."""
        for subject in subjects:
            self.seen.setdefault(subject, []).append(history(subject))


class Histories(RuleBasedStateMachine):
    """The model: each chain is a list that only grows. Whatever happens at once, its order is one of the possible."""

    numbers = iter(range(1_000_000))
    factory: Factory

    def __init__(self) -> None:
        super().__init__()
        self.subjects = [meter(next(self.numbers)) for _ in range(SUBJECTS)]
        self.model: dict[str, list[str]] = {subject: [] for subject in self.subjects}
        self.log: list[bytes] = []

    @rule(batches=st.lists(st.lists(st.integers(0, SUBJECTS - 1), min_size=1, max_size=4), min_size=1, max_size=4))
    def write_and_read_at_once(self, batches: list[list[int]]) -> None:
        """Writers on crossing chains, a reader that looks again and again, an integrator between them."""
        signed = [self.factory.sign([self.factory.event(self.subjects[at]) for at in chosen]) for chosen in batches]
        reader = Reader()
        told: list[tuple[str, str, int]] = []

        def write(mine: SignedBatch) -> None:
            told.extend((entry.subject, entry.hash.hex(), entry.seq) for entry in append_batch(received(mine)).entries)

        def read() -> None:
            for _ in range(4):
                reader.look(self.subjects)

        works = [lambda mine=mine: write(mine) for mine in signed]  # type: ignore[misc]
        together([*works, read, tasks.integrate_and_publish])
        for subject in self.subjects:
            before, after = self.model[subject], history(subject)
            assert after[: len(before)] == before, "what was read once has changed"
            added = {(hash_, seq) for name, hash_, seq in told if name == subject}
            assert {(hash_, seq) for seq, hash_ in enumerate(after)} - {*self._placed(before)} == added
            shortest = len(before)
            for seen in reader.seen[subject]:
                assert seen == after[: len(seen)], "a reader saw another history"
                assert len(seen) >= shortest, "a reader went back in time"
                shortest = len(seen)
            self.model[subject] = after

    @rule()
    def integrate_twice_at_once(self) -> None:
        """Two integrators and two publishers."""
        together([tasks.integrate_and_publish, tasks.integrate_and_publish])

    @rule(at=st.integers(0, SUBJECTS - 1), copies=st.integers(2, 4))
    def send_one_batch_many_times_at_once(self, at: int, copies: int) -> None:
        """F34: one entry, and everybody gets the same receipt."""
        signed = self.factory.sign([self.factory.event(self.subjects[at])])
        receipts: set[bytes] = set()
        together([lambda: receipts.add(append_batch(received(signed)).receipt)] * copies)
        assert len(receipts) == 1
        after = history(self.subjects[at])
        assert after[:-1] == self.model[self.subjects[at]]
        self.model[self.subjects[at]] = after

    @invariant()
    def the_log_only_grows(self) -> None:
        """What was in the log is its beginning for ever."""
        leaves = [hash_ for hash_, _ in require_chains_and_root()]
        assert leaves[: len(self.log)] == self.log
        self.log = leaves

    def _placed(self, hashes: Sequence[str]) -> list[tuple[str, int]]:
        return [(hash_, seq) for seq, hash_ in enumerate(hashes)]


def test_every_reader_sees_beginnings_of_one_history(factory: Factory) -> None:
    """G5, on random concurrent histories."""
    Histories.factory = factory
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=8,
            database=None,
            stateful_step_count=6,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    require_sound()
