"""Many processes at once, and processes that are killed: nothing is half recorded, lost, or recorded twice."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import clock_guard, integrate, publish, selectors, setup, signer, startup, tasks
from compliance.ledger.append import append_batch
from compliance.ledger.errors import Conflict
from compliance.ledger.models import Batch, Entry, EventKey, Head, LogState, Pending, Receipt
from compliance.proof.batch import SignedBatch
from compliance.proof.verify import verify_file
from tests.ledger.processes import KILLED, Child
from tests.ledger.world import Factory, found, meter, received

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]

APPEND_STEPS = ("begin", "batch", "locked", "event_keys", "entries", "heads", "applied", "commit")
PUBLISH_STEPS = (
    *(f"ledger.integrate.{step}" for step in ("begin", "ranges", "pending", "state", "commit")),
    *("ledger.publish.tiles", "ledger.signer.signed", "ledger.signer.stored"),
    *(f"ledger.publish.{step}" for step in ("signed", "recorded", "shown")),
)


def counted() -> list[int]:
    """How many rows each table of the append has."""
    return [model.objects.count() for model in (Batch, Entry, EventKey, Head, Pending, Receipt)]


def send(signed: SignedBatch) -> tuple[bytes, bool]:
    """Append a batch; its receipt, and whether it was on record."""
    appended = append_batch(received(signed))
    return appended.receipt, appended.replay


def send_and_die(signed: SignedBatch) -> None:
    """Append, and be killed before the answer leaves."""
    send(signed)
    os.kill(os.getpid(), signal.SIGKILL)


def send_all(batches: list[SignedBatch]) -> list[bytes]:
    """Append one after the other; the receipts."""
    return [send(signed)[0] for signed in batches]


def try_to_send(signed: SignedBatch) -> str:
    """`recorded`, or the code of the refusal."""
    try:
        send(signed)
    except Conflict as refusal:
        return refusal.code
    return "recorded"


def integrate_until(size: int) -> int:
    """Integrate and publish until the log has `size` entries; how many this process indexed."""
    mine = 0
    deadline = clock.now() + timedelta(seconds=60)
    while selectors.log_size() < size:
        assert clock.now() < deadline, f"the log has {selectors.log_size()} entries, not {size}"
        mine += integrate.integrate()
        publish.publish(wait=False)
    return mine


def assert_sound() -> None:
    """fsck finds nothing, and a stranger verifies what is published."""
    assert found() == []
    verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
    assert verdict.error is None, verdict.error


@pytest.fixture
def factory(committed_log: Path) -> Factory:
    """A factory with a registered key, on a log that other processes see."""
    factory = Factory()
    factory.register()
    return factory


def test_a_writer_killed_at_any_step_leaves_all_or_nothing(factory: Factory) -> None:
    """F1: a full batch, or no trace of it; sent again it is recorded once."""
    for number, step in enumerate(APPEND_STEPS):
        signed = factory.sign([factory.event(meter(other % 7)) for other in range(number, number + 10)])
        before = counted()
        assert Child(send, signed, kill_at=f"ledger.append.{step}").end() == KILLED, step
        assert counted() == before, step
        receipt, replay = send(signed)
        assert not replay
        assert selectors.receipt(signed.batch_id) == receipt
    tasks.integrate_and_publish()
    assert_sound()


def test_a_writer_killed_before_it_answered_is_answered_alike_later(factory: Factory) -> None:
    """F2: the sender cannot know; sending again brings the receipt of the first time."""
    signed = factory.sign([factory.event(meter(1)), factory.event(meter(2))])
    assert Child(send_and_die, signed).end() == KILLED
    before = counted()
    receipt, replay = send(signed)
    assert replay
    assert receipt == selectors.receipt(signed.batch_id)
    assert counted() == before


def test_a_publisher_killed_at_any_step_goes_on_where_it_was(factory: Factory) -> None:
    """No step needs mending by hand: the next start finds everything in order, and the next round publishes it."""
    factory.send([factory.event(meter(number)) for number in range(250)])
    tasks.integrate_and_publish()
    for step in PUBLISH_STEPS:
        factory.send([factory.event(meter(number)) for number in range(3)])
        assert Child(tasks.integrate_and_publish, kill_at=step).end() == KILLED, step
        startup.verify_state()
        tasks.integrate_and_publish()
        last = signer.last_signed()
        assert last is not None
        assert last.checkpoint.size == selectors.log_size() == Entry.objects.count(), step
        assert selectors.latest_checkpoint().size == last.checkpoint.size  # type: ignore[union-attr]
    assert_sound()


def test_a_killed_setup_is_done_again(alone: None, transactional_db: None, folders: Path) -> None:
    assert Child(setup.create_log, kill_at="ledger.setup.keys").end() == KILLED
    keys = {path.name: path.read_bytes() for path in settings.METERPROOF["SECRETS_DIR"].iterdir()}
    assert not LogState.objects.exists()
    assert setup.create_log()
    assert {path.name: path.read_bytes() for path in settings.METERPROOF["SECRETS_DIR"].iterdir()} == keys
    tasks.integrate_and_publish()
    assert_sound()


def test_writers_integrators_and_publishers_at_the_same_time(factory: Factory) -> None:
    """Every batch is recorded once, each chain is whole, and the log has one order. Chains are shared on purpose,
    named in opposite orders.
    """
    tasks.integrate_and_publish()
    size = selectors.log_size()
    writers, rounds, events = 3, 6, 8
    batches = []
    for writer in range(writers):
        chains = range(events) if writer % 2 else range(events - 1, -1, -1)
        batches.append([factory.sign([factory.event(meter(n)) for n in chains]) for _ in range(rounds)])
    expected = size + writers * rounds * events
    integrators = [Child(integrate_until, expected) for _ in range(2)]
    at_work = [Child(send_all, mine) for mine in batches]
    receipts = [receipt for child in at_work for receipt in child.answer()]
    assert sum(child.answer() for child in integrators) == expected - size
    assert len(set(receipts)) == writers * rounds
    for number in range(events):
        assert [entry.seq for entry in selectors.chain(meter(number))] == list(range(writers * rounds))
    tasks.integrate_and_publish()
    assert_sound()


def test_one_batch_sent_by_many_at_once_is_stored_once(factory: Factory) -> None:
    signed = factory.sign([factory.event(meter(number)) for number in range(50)])
    before = Entry.objects.count()
    answers = [child.answer() for child in [Child(send, signed) for _ in range(4)]]
    assert len({receipt for receipt, _ in answers}) == 1
    assert sorted(replay for _, replay in answers) == [False, True, True, True]
    assert Entry.objects.count() == before + 50


def test_of_two_contents_under_one_event_id_one_is_recorded(factory: Factory) -> None:
    batches = [factory.sign([factory.event(meter(number), id="one")]) for number in range(4)]
    answers = [child.answer() for child in [Child(try_to_send, signed) for signed in batches]]
    assert sorted(answers) == ["event.conflict"] * 3 + ["recorded"]
    assert found() == []


def test_the_integrator_gives_the_clock_guard_its_sign_of_life(factory: Factory) -> None:
    """A log that was idle for weeks with the worker running can be written to."""
    later = clock.now()
    for _ in range(40):
        later += timedelta(hours=23)
        with clock.use(lambda moment=later: moment):  # type: ignore[misc]
            integrate.integrate()
    assert clock_guard.latest_seen() == later
    with clock.use(lambda: later + timedelta(hours=1)):
        factory.send([factory.event(meter(1))])
