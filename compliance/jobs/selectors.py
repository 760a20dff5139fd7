"""Reads of the job table."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Q

from compliance.jobs import clock
from compliance.jobs.models import Job, JobState
from compliance.jobs.registry import longest_lease_seconds

LONGEST_BACK_OFF: Final = timedelta(minutes=5)  # an operator who mends the cause sees the retry within a coffee


def get(job_id: str) -> Job | None:
    """The job with that id, or None."""
    return Job.objects.filter(pk=job_id).first()


def due(limit: int = 20) -> list[str]:
    """Ids of jobs that a worker may take now, those that have waited longest first."""
    return list(Job.objects.filter(free(clock.now())).order_by("run_at", "pk").values_list("pk", flat=True)[:limit])


def free(now: datetime) -> Q:
    """Which jobs are due and held by no living worker.

    F45: times that a clock wrote which was ahead must not bind a job until then. Nobody queues or starts in the
    future, waits longer than the longest back-off for another attempt, or holds a lease for longer than it was given.
    """
    queued = Q(run_at__lte=now) | Q(created_at__gt=now) | Q(attempts__gt=0, run_at__gt=now + LONGEST_BACK_OFF)
    longest_lease = timedelta(seconds=longest_lease_seconds())
    abandoned = Q(lease_until__lt=now) | Q(lease_until__gt=now + longest_lease)
    return Q(state=JobState.QUEUED) & queued | Q(state=JobState.RUNNING) & abandoned


def counts() -> dict[str, int]:
    """How many jobs there are in each state."""
    return dict(Job.objects.values_list("state").annotate(Count("pk")))
