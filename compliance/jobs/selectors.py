"""Reads of the job table."""

from django.db.models import Count, Q

from compliance.jobs import clock
from compliance.jobs.models import Job, JobState


def get(job_id: str) -> Job | None:
    """The job with that id, or None."""
    return Job.objects.filter(pk=job_id).first()


def due(limit: int = 20) -> list[str]:
    """Ids of jobs that a worker may take now, those that have waited longest first."""
    now = clock.now()
    queued = Q(state=JobState.QUEUED, run_at__lte=now)
    abandoned = Q(state=JobState.RUNNING, lease_until__lt=now)
    return list(Job.objects.filter(queued | abandoned).order_by("run_at", "pk").values_list("pk", flat=True)[:limit])


def counts() -> dict[str, int]:
    """How many jobs there are in each state."""
    return dict(Job.objects.values_list("state").annotate(Count("pk")))
