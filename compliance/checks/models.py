"""Suspicions, findings, and what each run of the checks saw.

A check that deviates leaves a suspicion in the transaction that judged. A job tells it to the log, and then it is a
finding: a projection of the entries `check.finding_opened` and `check.finding_closed`, made again by `manage.py
rebuild_projections`.
"""

from typing import ClassVar

from django.db import models

from compliance.checks.registry import Severity
from compliance.jobs import ids
from compliance.ledger.fields import BytesField

MAX_SUBJECT = 180
MAX_DETAIL = 1_000  # a sentence or a few; whoever needs more reads the entries named
MAX_METERS = 100  # an event holds 60,000 bytes; a carton's worth of names is enough to start looking


def new_run_id() -> str:
    """A fresh public id of a run."""
    return ids.new_id("run")


class FindingState(models.TextChoices):
    """Where a finding stands."""

    OPEN = "open", "Open"
    CLOSED = "closed", "Closed"


class Resolution(models.TextChoices):
    """How a finding was closed."""

    FIXED = "fixed", "Put right"
    EXPLAINED = "explained", "Explained"
    ACCEPTED = "accepted", "Risk accepted"
    FALSE_ALARM = "false_alarm", "False alarm"


class Deviation(models.Model):
    """What a check said of an entry, with its version and parameters: common to suspicions and findings.

    `subject`, `seq` and `hash` name the entry that showed it, `about` the thing it concerns where that entry speaks of
    several. `id` is a digest of check, version, entry and thing: whoever finds it again finds the same one.
    """

    id = models.CharField(primary_key=True, max_length=36)
    detector = models.CharField(max_length=16)
    version = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict)
    severity = models.CharField(max_length=8, choices=[(each.value, each.value.title()) for each in Severity])
    subject = models.CharField(max_length=MAX_SUBJECT)
    subject_key = BytesField(max_length=16)
    seq = models.IntegerField()
    hash = BytesField(max_length=32)
    event_type = models.CharField(max_length=64)
    author = models.CharField(max_length=31)
    about = models.CharField(max_length=MAX_SUBJECT, blank=True)
    detail = models.CharField(max_length=MAX_DETAIL)
    meters = models.JSONField(
        default=list, help_text="at most MAX_METERS subjects; meter_count says how many there are"
    )
    meter_count = models.IntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.detector} {self.about or self.subject}"

    @property
    def public_id(self) -> str:
        """The id under which it is cited."""
        return self.id

    @property
    def chain(self) -> str:
        """The subject text of its own chain in the log."""
        return f"finding:platform:{self.id}"


class Suspicion(Deviation):
    """A deviation that was seen and is not told to the log yet.

    `log_size` is null while its entry has no place there.
    """

    log_size = models.BigIntegerField(null=True)


class Finding(Deviation):
    """A deviation that stands in the log, and what became of it. A projection of the finding's own chain.

    `log_size` is the size of the log at which the check saw it: on that log it gives the same answer for ever.
    """

    log_size = models.BigIntegerField()
    state = models.CharField(max_length=6, choices=FindingState.choices, default=FindingState.OPEN)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=64, blank=True)
    resolution = models.CharField(max_length=12, blank=True, choices=Resolution.choices)
    reason = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["-opened_at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["detector", "state"], name="checks_finding_detector"),
            models.Index(fields=["subject"], name="checks_finding_subject"),
            models.Index(fields=["-opened_at", "id"], name="checks_finding_time"),
        ]


class FindingMeter(models.Model):
    """Which meters a finding concerns, for looking up from the meter's side."""

    finding = models.CharField(max_length=36)
    meter_key = BytesField(max_length=16)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["meter_key", "finding"], name="checks_finding_meter_once")
        ]

    def __str__(self) -> str:
        return f"{self.finding} concerns {self.meter_key.hex()}"


class CheckRun(models.Model):
    """One reading of the whole log by all checks, up to `log_size`. `root` says which log it was."""

    public_id = models.CharField(max_length=40, unique=True, default=new_run_id, editable=False)
    log_size = models.BigIntegerField()
    root = models.CharField(max_length=64)
    log_time = models.DateTimeField(null=True, help_text="recorded_at of the last entry read")
    started_at = models.DateTimeField()
    ran_at = models.DateTimeField()
    redacted = models.IntegerField(default=0, help_text="entries whose bytes are gone by order; no check can read them")

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.public_id} over {self.log_size} entries"


class CheckResult(models.Model):
    """What one check found in one run. `digest` covers every verdict that is no pass, so two runs can be compared."""

    run = models.ForeignKey(CheckRun, on_delete=models.PROTECT, related_name="results")
    detector = models.CharField(max_length=16)
    name = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    parameters = models.JSONField(default=dict)
    population = models.IntegerField(help_text="verdicts given")
    deviations = models.IntegerField()
    not_evaluable = models.IntegerField()
    reasons = models.JSONField(default=list, help_text="why something was not evaluable, the most frequent first")
    digest = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["run_id", "detector"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "detector"], name="checks_result_once")]

    def __str__(self) -> str:
        return f"{self.detector}: {self.deviations} of {self.population}"

    @property
    def evaluated(self) -> int:
        """How many verdicts said something."""
        return self.population - self.not_evaluable


PROJECTIONS: tuple[type[models.Model], ...] = (Finding, FindingMeter)
