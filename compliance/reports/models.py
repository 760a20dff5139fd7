"""The register of reports: what was asked for, how far it got, and the digests of what was issued."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.jobs import ids


def new_report_id() -> str:
    """A fresh public id of a report."""
    return ids.new_id("rpt")


class Kind(models.TextChoices):
    """What reports there are."""

    FRAMEWORK_AUDIT = "framework_audit", "Framework audit report"
    METER_CERTIFICATE = "meter_certificate", "Meter custody certificate"


class State(models.TextChoices):
    """Where a report stands."""

    REQUESTED = "requested", "Requested"
    RENDERING = "rendering", "Being drawn"
    SEALING = "sealing", "Being sealed"
    ISSUED = "issued", "Issued"
    FAILED = "failed", "Failed"


class SealStatus(models.TextChoices):
    """What is known of the seal."""

    NONE = "", "Not sealed"
    AWAITING_TIME_STAMP = "awaiting_time_stamp", "Awaiting a time stamp"
    VERIFIED = "verified", "Sealed, time stamped and verified"


OPEN_STATES = (State.REQUESTED, State.RENDERING, State.SEALING)
_NUMBER_PREFIX = {Kind.FRAMEWORK_AUDIT: "AR", Kind.METER_CERTIFICATE: "CC"}


class Report(models.Model):
    """One report. Once issued it stands for ever: its number and digests are an entry of the log."""

    public_id = models.CharField(max_length=40, unique=True, default=new_report_id, editable=False)
    number = models.CharField(max_length=20, unique=True, null=True, editable=False)  # noqa: DJ001 - given after the first save
    kind = models.CharField(max_length=20, choices=Kind.choices)
    parameters = models.JSONField(default=dict)
    language = models.CharField(max_length=8, default="en")
    organisation = models.ForeignKey(Organisation, null=True, on_delete=models.PROTECT, related_name="+")
    requested_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    requested_with = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    actor = models.JSONField(default=dict, help_text="who asked, as the log names them")
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.REQUESTED)
    job = models.CharField(max_length=40, blank=True)
    failure = models.TextField(blank=True)
    title = models.CharField(max_length=300, blank=True)
    log_size = models.BigIntegerField(null=True)
    log_root = models.CharField(max_length=64, blank=True)
    input_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 over what was drawn")
    unsigned_sha256 = models.CharField(max_length=64, blank=True)
    pdf_sha256 = models.CharField(max_length=64, blank=True)
    pdf_path = models.CharField(max_length=100, blank=True, help_text="below REPORT_DIR")
    pdf_size = models.PositiveIntegerField(null=True)
    pages = models.PositiveIntegerField(null=True)
    attachments = models.JSONField(default=list)
    signed_fields = models.JSONField(default=list)
    seal_status = models.CharField(max_length=20, choices=SealStatus.choices, default=SealStatus.NONE, blank=True)
    seal_certificate_sha256 = models.CharField(max_length=64, blank=True)
    time_stamp_by = models.CharField(max_length=300, blank=True)
    sealed_by_development_authority = models.BooleanField(default=False)
    issued_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(state=State.ISSUED)
                | Q(issued_at__isnull=False, seal_status=SealStatus.VERIFIED) & ~Q(pdf_sha256=""),
                name="reports_issued_is_sealed",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["organisation", "state", "-id"], name="reports_by_organisation")]

    def __str__(self) -> str:
        return self.number or self.public_id

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and give the number: it follows from the row's key, so no two reports ever ask for the same."""
        super().save(*args, **kwargs)
        if self.number is None:
            self.number = f"{_NUMBER_PREFIX[Kind(self.kind)]}-{self.requested_at:%Y}-{self.pk:06d}"
            type(self).objects.filter(pk=self.pk).update(number=self.number)

    @property
    def subject(self) -> str:
        """The subject text of its chain."""
        return f"report:platform:{self.number}"

    @property
    def is_open(self) -> bool:
        """Whether work on it goes on."""
        return self.state in OPEN_STATES
