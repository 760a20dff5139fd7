"""The job table, and what background work remembers from one time to the next.

The job table is the truth about background work; a broker only says when to look. Nothing here is record: all of it may
be lost, and what was recorded is still there and provable.
"""

from django.db import models

from compliance.jobs import ids


def new_job_id() -> str:
    """A fresh job id."""
    return ids.new_id("job")


class JobState(models.TextChoices):
    """Where a job stands."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Job(models.Model):
    """One piece of background work: which task with which values, who holds it until when, and how far it got.

    A worker may run a job only while it holds the lease: `lease_until` in the future under its own `lease_token`. When
    it dies, the lease runs out and another takes over. So a task may run twice and must be idempotent.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_job_id)
    task = models.CharField(max_length=80)
    payload = models.JSONField(default=dict)
    dedupe_key = models.CharField(max_length=200, default="", blank=True)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    run_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=5)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.CharField(max_length=40, default="", blank=True)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    message = models.CharField(max_length=200, default="", blank=True)
    result = models.JSONField(null=True, blank=True)
    failure = models.TextField(default="", blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["task", "dedupe_key"],
                condition=models.Q(state=JobState.QUEUED) & ~models.Q(dedupe_key=""),
                name="one_queued_job_per_dedupe_key",
            ),
        ]
        indexes = [
            models.Index(fields=["run_at"], condition=models.Q(state=JobState.QUEUED), name="job_queued"),
            models.Index(fields=["lease_until"], condition=models.Q(state=JobState.RUNNING), name="job_running"),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.id} ({self.state})"

    @property
    def percent(self) -> int:
        """Whole percent done; 0 while the task has not said how much there is to do."""
        if self.state == JobState.DONE:
            return 100
        return min(100, self.done * 100 // self.total) if self.total else 0

    @property
    def is_over(self) -> bool:
        """True when nothing will happen to this job any more."""
        return self.state in {JobState.DONE, JobState.FAILED}


class PeriodicRun(models.Model):
    """When a periodic task is due next. Whoever moves `due_at` forward runs it, so that many workers run it once."""

    name = models.CharField(primary_key=True, max_length=80)
    due_at = models.DateTimeField()
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_failure = models.TextField(default="", blank=True)

    def __str__(self) -> str:
        return self.name


class SignOfLife(models.Model):
    """The latest moment that something is known to have lived through, by its own word."""

    name = models.CharField(primary_key=True, max_length=80)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Waiting(models.Model):
    """Something outside does not answer: since when, how often it was asked, when it is asked again, and what it said.

    The row goes when there is an answer.
    """

    name = models.CharField(primary_key=True, max_length=80)
    since = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField()
    failure = models.TextField(default="", blank=True)
    alarmed_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name
