"""Running jobs: one at a time in the calling thread, with the lease kept alive beside it."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from django.db import close_old_connections, connection
from django.db.models import Q

from compliance.jobs import actions, clock, row_scope, selectors
from compliance.jobs.models import Job, PeriodicRun
from compliance.jobs.registry import PeriodicTask, find_task, periodic_tasks

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # what a person does not notice, and 5 cheap index reads a second
MAX_IDLE_ROUNDS = 1000  # run_until_idle in a test that queues for ever must end


class RunningJob:
    """The job as its task sees it."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self._job.pk

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Tell how far the work got. Raises LeaseLost when another worker has taken the job over."""
        actions.report_progress(self._job, done, total, message)


def run(job_id: str) -> bool:
    """Run the job if it can be taken, and say whether it was. A task's exception is stored with the job, not raised."""
    job = actions.take(job_id)
    if job is None:
        return False
    try:
        with _lease_kept(job), row_scope.everything():
            result = find_task(job.task).run(RunningJob(job), **job.payload)
        actions.finish(job, result)
    except actions.LeaseLost:
        log.warning("job %s was taken over by another worker", job.pk)
    except Exception as error:  # the task's failure is the job's, not the worker's
        log.exception("job %s (%s) failed in attempt %s", job.pk, job.task, job.attempts)
        traceback.clear_frames(error.__traceback__)  # ends queries it left open: SQLite would refuse to write past them
        actions.fail(job, "".join(traceback.format_exception_only(error)).strip())
    return True


def run_due() -> int:
    """Run every job that is due, and say how many were run here."""
    return sum(run(job_id) for job_id in selectors.due())


def tick(*, waits: bool = False) -> list[str]:
    """Run each periodic task whose time has come and that no other worker runs: of those that may wait for strangers,
    or of the others. Returns the names of those run here.
    """
    due_at = dict(PeriodicRun.objects.values_list("name", "due_at"))  # one query for a worker that has nothing to do
    return [
        periodic.name
        for periodic in periodic_tasks(waits=waits)
        if _may_be_due(periodic, due_at.get(periodic.name)) and _claim(periodic) and _run_periodic(periodic)
    ]


def run_until_idle() -> int:
    """Run jobs, and what they queue, until none is due. For tests and commands; returns how many were run."""
    total = 0
    for _ in range(MAX_IDLE_ROUNDS):
        ran = run_due()
        if not ran:
            return total
        total += ran
    raise RuntimeError("jobs keep queueing jobs")


def serve(stop: threading.Event) -> None:
    """Run jobs and periodic tasks until `stop` is set. Periodic tasks have a thread of their own, and those that may
    wait for strangers another: neither a long job nor a slow authority must keep the log from being published.
    """
    tickers = [
        threading.Thread(target=_tick_until, args=(stop, waits), name=f"periodic, waits: {waits}", daemon=True)
        for waits in (False, True)
    ]
    for ticker in tickers:
        ticker.start()
    while not stop.is_set():
        if not _survive(run_due):
            stop.wait(POLL_SECONDS)
    for ticker in tickers:
        ticker.join()


def _tick_until(stop: threading.Event, waits: bool) -> None:
    while not stop.wait(POLL_SECONDS):
        _survive(partial(tick, waits=waits))
    connection.close()


def _survive(step: Callable[[], object]) -> object:
    """A database that is away for a moment must not end the worker."""
    close_old_connections()
    try:
        return step()
    except Exception:
        log.exception("the worker could not reach its database; it goes on trying")
        return None


def _may_be_due(periodic: PeriodicTask, due_at: datetime | None) -> bool:
    now = clock.now()
    return due_at is None or not now < due_at <= now + timedelta(seconds=periodic.every_seconds)


def _claim(periodic: PeriodicTask) -> bool:
    now = clock.now()
    due_next = now + timedelta(seconds=periodic.every_seconds)
    free = Q(due_at__lte=now) | Q(due_at__gt=due_next)  # the second: the clock was set back
    if not PeriodicRun.objects.filter(pk=periodic.name).exists():
        PeriodicRun.objects.get_or_create(name=periodic.name, defaults={"due_at": now})
    return bool(PeriodicRun.objects.filter(free, pk=periodic.name).update(due_at=due_next, last_started_at=now))


def _run_periodic(periodic: PeriodicTask) -> bool:
    failure = ""
    try:
        with row_scope.everything():
            periodic.run()
    except Exception as error:  # it runs again next time; the failure is shown to the operator
        log.exception("periodic task %s failed", periodic.name)
        failure = "".join(traceback.format_exception_only(error)).strip()
    PeriodicRun.objects.filter(pk=periodic.name).exclude(last_failure=failure).update(last_failure=failure)
    return True


@contextmanager
def _lease_kept(job: Job) -> Iterator[None]:
    over = threading.Event()

    def keep() -> None:
        pause = find_task(job.task).lease_seconds / 3
        while not over.wait(pause):
            try:
                actions.renew(job)
            except actions.LeaseLost:
                return
            except Exception:
                log.exception("the lease of job %s could not be renewed; trying again", job.pk)
        connection.close()

    keeper = threading.Thread(target=keep, name=f"lease of {job.pk}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
