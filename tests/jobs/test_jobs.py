"""The job table: leases, retries, progress, one effect however often a job is delivered."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from compliance.jobs import actions, clock, registry, selectors, worker
from compliance.jobs.models import Job, JobState, PeriodicRun

pytestmark = [pytest.mark.both_engines, pytest.mark.django_db(transaction=True)]

TASK = "tests.count"


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **amount: float) -> None:
        self.moment += timedelta(**amount)


@pytest.fixture
def time() -> Iterator[Clock]:
    moved = Clock()
    with clock.use(moved):
        yield moved


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Registers the task `tests.count`, which notes its job's id and then does what `behaviour` says."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    noted: list[str] = []

    @registry.task(TASK, max_attempts=3, lease_seconds=30)
    def count(job: registry.JobContext, *, fail: bool = False, steps: int = 0) -> Mapping[str, object]:
        noted.append(job.job_id)
        for step in range(steps):
            job.progress(step + 1, steps, f"step {step + 1}")
        if fail:
            raise ValueError("no such meter")
        return {"counted": len(noted)}

    return noted


def test_a_job_exists_only_if_the_callers_change_does(calls: list[str]) -> None:
    """F4: work and the change that asks for it are one transaction."""
    with transaction.atomic():
        actions.enqueue(TASK, {})
        transaction.set_rollback(True)
    assert Job.objects.count() == 0
    with transaction.atomic():
        job = actions.enqueue(TASK, {"steps": 4})
    assert worker.run_until_idle() == 1
    job.refresh_from_db()
    assert (job.state, job.result, job.percent, job.message) == (JobState.DONE, {"counted": 1}, 100, "step 4")


def test_ten_deliveries_have_one_effect(calls: list[str]) -> None:
    """F34: duplicate delivery."""
    job = actions.enqueue(TASK, {})
    assert [worker.run(job.id) for _ in range(10)] == [True] + [False] * 9
    assert calls == [job.id]


def test_two_workers_at_once_have_one_effect(calls: list[str]) -> None:
    """F34: two workers take the same job in the same moment."""
    job = actions.enqueue(TASK, {})
    barrier = threading.Barrier(4)
    taken: list[bool] = []

    def compete() -> None:
        barrier.wait()
        taken.append(worker.run(job.id))
        connection.close()

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]
    assert calls == [job.id]


def test_a_queued_job_is_not_queued_twice(calls: list[str]) -> None:
    first = actions.enqueue(TASK, {}, dedupe_key="meter 7")
    with transaction.atomic():
        assert actions.enqueue(TASK, {}, dedupe_key="meter 7") == first
        assert actions.enqueue(TASK, {}, dedupe_key="meter 8") != first
    worker.run_until_idle()
    assert actions.enqueue(TASK, {}, dedupe_key="meter 7") != first


def test_a_dead_workers_job_runs_again_when_its_lease_is_over(calls: list[str], time: Clock) -> None:
    """F5: the worker was killed in the middle."""
    job = actions.enqueue(TASK, {})
    assert actions.take(job.id)
    assert worker.run_due() == 0
    time.advance(seconds=31)
    assert worker.run_due() == 1
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.DONE, 2)


def test_who_lost_the_lease_changes_nothing_any_more(calls: list[str], time: Clock) -> None:
    slow = actions.take(actions.enqueue(TASK, {}).id)
    assert slow
    time.advance(seconds=31)
    quick = actions.take(slow.id)
    assert quick
    for write in (
        lambda: actions.renew(slow),
        lambda: actions.report_progress(slow, 1, 2, ""),
        lambda: actions.finish(slow, {"by": "slow"}),
        lambda: actions.fail(slow, "slow"),
    ):
        with pytest.raises(actions.LeaseLost):
            write()
    actions.finish(quick, {"by": "quick"})
    assert Job.objects.get(pk=slow.pk).result == {"by": "quick"}


def test_a_failing_job_is_tried_three_times_and_then_shown(calls: list[str], time: Clock) -> None:
    """F36: poison."""
    job = actions.enqueue(TASK, {"fail": True})
    other = actions.enqueue(TASK, {})
    for _ in range(10):
        worker.run_due()
        time.advance(minutes=6)
    job.refresh_from_db()
    other.refresh_from_db()
    assert calls.count(job.id) == 3
    assert (job.state, job.failure) == (JobState.FAILED, "ValueError: no such meter")
    assert other.state == JobState.DONE, "the queue moves on"
    actions.retry(job)
    worker.run_due()
    assert calls.count(job.id) == 4


def test_a_job_that_kills_its_worker_is_given_up(calls: list[str], time: Clock) -> None:
    """F36: no exception to catch, the process is gone."""
    job = actions.enqueue(TASK, {})
    for _ in range(3):
        assert actions.take(job.id)
        time.advance(seconds=31)
    assert actions.take(job.id) is None
    actions.sweep()
    job.refresh_from_db()
    assert (job.state, job.failure) == (JobState.FAILED, "The worker died, and no attempt is left.")


def test_the_sweeper_rings_for_what_waits(calls: list[str], time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """F33: the broker lost every message."""
    rung: list[str] = []
    job = actions.enqueue(TASK, {})
    later = actions.enqueue(TASK, {}, run_at=time.moment + timedelta(hours=1))
    monkeypatch.setattr(actions, "ring", rung.append)
    actions.sweep()
    assert rung == [], "it may still be on its way"
    time.advance(seconds=31)
    actions.sweep()
    assert rung == [job.id]
    time.advance(hours=2)
    actions.sweep()
    assert rung == [job.id, job.id, later.id]


def test_a_broker_that_is_away_loses_nothing(calls: list[str], settings: object) -> None:
    """F32: nobody listens at the broker's address."""
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    job = actions.enqueue(TASK, {})
    assert worker.run_due() == 1
    assert selectors.get(job.id).state == JobState.DONE  # type: ignore[union-attr]


def test_a_periodic_task_runs_once_per_interval_on_one_worker(time: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[datetime] = []
    monkeypatch.setattr(registry, "_periodic", {})
    registry.periodic("tests.publish", every_seconds=10)(lambda: ran.append(time.moment))
    assert worker.tick() == ["tests.publish"]
    assert worker.tick() == []
    time.advance(seconds=10)
    assert worker.tick() == ["tests.publish"]
    time.advance(days=-1)
    assert worker.tick() == ["tests.publish"], "a clock set back must not stop it"
    assert len(ran) == 3


def test_a_periodic_failure_is_kept_until_it_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[Callable[[], object]] = iter([lambda: 1 / 0, lambda: 1])
    monkeypatch.setattr(registry, "_periodic", {})
    registry.periodic("tests.publish", every_seconds=0)(lambda: next(answers)())
    worker.tick()
    assert PeriodicRun.objects.get().last_failure == "ZeroDivisionError: division by zero"
    worker.tick()
    assert PeriodicRun.objects.get().last_failure == ""


def test_a_task_name_is_taken_once(calls: list[str]) -> None:
    with pytest.raises(ValueError, match="two tasks"):
        registry.task(TASK)(print)


def test_serve_runs_jobs_and_periodic_tasks_until_told(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = threading.Event()
    monkeypatch.setattr(registry, "_periodic", {})
    registry.periodic("tests.publish", every_seconds=0.01)(ticked.set)
    job = actions.enqueue(TASK, {})
    stop = threading.Event()

    def serve() -> None:
        worker.serve(stop)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ticked.wait(20)
        for _ in range(200):
            if selectors.counts() == {JobState.DONE: 1}:
                break
            stop.wait(0.1)
    finally:
        stop.set()
        thread.join(20)
    assert calls == [job.id]
    assert not thread.is_alive()


def test_a_task_that_fails_over_an_open_query_is_shown_as_failed(monkeypatch: pytest.MonkeyPatch, time: Clock) -> None:
    """On SQLite what the task left open holds an old snapshot, from which its failure could not be written."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    for number in range(500):
        PeriodicRun.objects.create(name=f"row {number}", due_at=clock.now())

    def write() -> None:
        PeriodicRun.objects.create(name="another", due_at=clock.now())
        connection.close()

    @registry.task("tests.leave_open", max_attempts=1)
    def leave_open(_job: registry.JobContext) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM jobs_periodicrun")
            for _name in cursor:
                writer = threading.Thread(target=write)
                writer.start()
                writer.join(30)
                raise ValueError("given up in the middle")

    job = actions.enqueue("tests.leave_open", {})
    assert worker.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "given up in the middle" in job.failure


def test_a_clock_that_was_ahead_binds_no_job(calls: list[str], time: Clock) -> None:
    """F45: queued, started, failed or kept alive by a clock ten years ahead, a job runs when the clock is right."""
    time.advance(days=3650)
    queued = actions.enqueue(TASK, {}, dedupe_key="once")
    started, failed = actions.enqueue(TASK, {}), actions.enqueue(TASK, {"fail": True})
    assert actions.take(started.id)
    assert worker.run(failed.id)
    time.advance(days=-3650)
    kept = actions.enqueue(TASK, {})
    lease = actions.take(kept.id)
    assert lease
    time.advance(days=3650)
    actions.renew(lease)
    time.advance(days=-3650)
    assert actions.enqueue(TASK, {}, dedupe_key="once") == queued
    calls.clear()
    worker.run_due()
    assert sorted(calls) == sorted([queued.id, started.id, failed.id, kept.id])


def test_who_waits_for_a_stranger_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """F40: a time stamp authority that takes the connection and never answers; the log is published all the same."""
    stop, published = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(registry, "_periodic", {})
    with socket.create_server(("127.0.0.1", 0)) as authority:

        def ask() -> None:
            with socket.create_connection(authority.getsockname()) as connected:
                connected.settimeout(0.1)
                while not stop.is_set():
                    with suppress(TimeoutError):
                        connected.recv(1)

        registry.periodic("tests.anchor", every_seconds=0.01, waits=True)(ask)
        registry.periodic("tests.publish", every_seconds=0.01)(published.release)

        def serve() -> None:
            worker.serve(stop)
            connection.close()

        working = threading.Thread(target=serve)
        working.start()
        try:
            authority.settimeout(20)
            peer, _ = authority.accept()  # and no word more
            with peer:
                assert all(published.acquire(timeout=20) for _ in range(3))
                stop.set()
        finally:
            stop.set()
            working.join()
    assert not working.is_alive()


def test_the_log_is_stamped_apart_from_being_published() -> None:
    apart = {task.name for task in registry.periodic_tasks(waits=True)}
    beside = {task.name for task in registry.periodic_tasks(waits=False)}
    assert "ledger.anchor" in apart
    assert "ledger.publish" in beside
    assert not apart & beside
