"""Writes to the job table: queue, take, renew, finish, fail, sweep."""

import logging
import random
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from compliance.jobs import clock, ids, selectors
from compliance.jobs.models import Job, JobState
from compliance.jobs.registry import find_task

log = logging.getLogger(__name__)

RING_AGAIN_AFTER = timedelta(seconds=30)  # a doorbell that nobody answered by then is taken for lost


class LeaseLost(Exception):
    """Another worker holds the job now; whoever gets this must stop and leave everything as it is."""


def enqueue(task: str, payload: Mapping[str, object], *, dedupe_key: str = "", run_at: datetime | None = None) -> Job:
    """Queue `task` with `payload`, in the caller's transaction: the job exists if and only if the caller's change does.

    With a `dedupe_key`, a queued job of the same task and key is returned instead of a second one.
    """
    now = clock.now()
    job = Job(
        task=task,
        payload=dict(payload),
        dedupe_key=dedupe_key,
        run_at=run_at or now,
        created_at=now,
        max_attempts=find_task(task).max_attempts,
    )
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError:
        same = Job.objects.filter(task=task, dedupe_key=dedupe_key, state=JobState.QUEUED).first()
        if same is None:
            raise
        if same.run_at > job.run_at:  # asked for sooner; also if the clock was ahead when it was queued first
            Job.objects.filter(pk=same.pk, state=JobState.QUEUED).update(run_at=job.run_at)
        return same
    transaction.on_commit(lambda: ring(job.id), robust=True)
    return job


def ring(job_id: str) -> None:
    """Tell a broker, if there is one, that `job_id` waits. A lost ring is repeated by `sweep`, so failure only logs."""
    if not settings.CELERY_BROKER_URL:
        return
    from compliance.jobs.tasks import run_job  # the broker's client is loaded only where there is a broker

    try:
        run_job.apply_async((job_id,), retry=False)
    except Exception:  # whatever the transport raises: the job table holds the work
        log.warning("broker not reached; job %s waits for the sweeper", job_id, exc_info=True)


def take(job_id: str) -> Job | None:
    """Take the lease of `job_id`, or return None when it is not due, over, or held by a living worker."""
    now = clock.now()
    token = ids.new_id("lease")
    job = Job.objects.filter(pk=job_id).first()
    if job is None or job.is_over:
        return None
    if job.state == JobState.RUNNING and job.attempts >= job.max_attempts:
        return None
    taken = Job.objects.filter(selectors.free(now), pk=job_id, attempts=job.attempts).update(
        state=JobState.RUNNING,
        lease_until=now + timedelta(seconds=find_task(job.task).lease_seconds),
        lease_token=token,
        attempts=F("attempts") + 1,
        started_at=now,
        failure="",
    )
    return Job.objects.get(pk=job_id) if taken else None


def renew(job: Job) -> None:
    """Extend the lease of `job`. Raises LeaseLost."""
    _update_held(job, lease_until=clock.now() + timedelta(seconds=find_task(job.task).lease_seconds))


def report_progress(job: Job, done: int, total: int, message: str) -> None:
    """Store how far `job` got. Raises LeaseLost."""
    _update_held(job, done=done, total=total, message=message[:200])


def finish(job: Job, result: Mapping[str, object] | None) -> None:
    """Mark `job` done with `result`. Raises LeaseLost."""
    _update_held(job, state=JobState.DONE, result=dict(result or {}), finished_at=clock.now(), lease_until=None)


def fail(job: Job, reason: str) -> None:
    """Queue `job` again after a pause that doubles, or mark it failed when its attempts are used up."""
    if job.attempts >= job.max_attempts:
        _update_held(job, state=JobState.FAILED, failure=reason, finished_at=clock.now(), lease_until=None)
        return
    pause = min(timedelta(seconds=2.0**job.attempts), selectors.LONGEST_BACK_OFF) * random.uniform(0.5, 1.0)  # noqa: S311
    try:
        with transaction.atomic():
            _update_held(job, state=JobState.QUEUED, failure=reason, run_at=clock.now() + pause, lease_until=None)
    except IntegrityError:  # meanwhile the same work was queued anew: that job stands for both
        _update_held(job, state=JobState.FAILED, failure=reason, finished_at=clock.now(), lease_until=None)


def sweep() -> int:
    """Give up on jobs that died with their last attempt, and ring again for all that wait. Returns how many wait."""
    now = clock.now()
    Job.objects.filter(selectors.free(now), state=JobState.RUNNING, attempts__gte=F("max_attempts")).update(
        state=JobState.FAILED, failure="The worker died, and no attempt is left.", finished_at=now, lease_until=None
    )
    unanswered = Q(state=JobState.RUNNING) | ~Q(run_at__gt=now - RING_AGAIN_AFTER, run_at__lte=now)
    waiting = list(Job.objects.filter(selectors.free(now) & unanswered).values_list("pk", flat=True))
    for job_id in waiting:
        ring(job_id)
    return len(waiting)


def retry(job: Job) -> None:
    """Queue a failed `job` once more, with all its attempts. For operators."""
    Job.objects.filter(pk=job.pk, state=JobState.FAILED).update(
        state=JobState.QUEUED, attempts=0, run_at=clock.now(), finished_at=None
    )
    transaction.on_commit(lambda: ring(job.id), robust=True)


def _update_held(job: Job, **values: object) -> None:
    held = Job.objects.filter(pk=job.pk, lease_token=job.lease_token, state=JobState.RUNNING)
    if not held.update(**values):
        raise LeaseLost(job.pk)
