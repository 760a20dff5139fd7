"""Evidence, its files and what it is linked to.

An evidence item is written whole, then only its state moves: received (its rows are being written), submitted, accepted
or returned, superseded. Files and links come with it and never change. These rows are held to that three times: by the
managers here, by triggers in the database (`guards`), and by the manifest digest in the log, which `fsck` compares.
"""

from datetime import datetime
from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import F, Q

from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.evidence import storage
from compliance.evidence.errors import EvidenceIsImmutable
from compliance.jobs import ids


def new_evidence_id() -> str:
    """A fresh public id of evidence."""
    return ids.new_id("evd")


class State(models.TextChoices):
    """Where evidence stands."""

    RECEIVED = "received", "Received"
    SUBMITTED = "submitted", "Waiting for review"
    ACCEPTED = "accepted", "Accepted"
    RETURNED = "returned", "Returned"
    SUPERSEDED = "superseded", "Superseded"


# Which moves there are. Whatever else is tried, the database refuses too.
MOVES: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.SUBMITTED}),
    State.SUBMITTED: frozenset({State.ACCEPTED, State.RETURNED}),
    State.ACCEPTED: frozenset({State.SUPERSEDED}),
    State.RETURNED: frozenset(),
    State.SUPERSEDED: frozenset(),
}
# States in which an auditor's conclusion may rest, or may have rested, on the evidence.
RELIED_ON = (State.ACCEPTED, State.SUPERSEDED)


class Scan(models.TextChoices):
    """What a virus scanner said. None is connected yet, and the product says so."""

    UNSCANNED = "unscanned", "Not scanned for viruses"
    CLEAN = "clean", "No virus found"


class LinkKind(models.TextChoices):
    """What evidence can be about.

    References are text: a requirement as `<framework>:<ref>`, a subject by its subject text.
    """

    REQUIREMENT = "requirement", "Requirement"
    CONTROL = "control", "Control"
    METER = "meter", "Meter"
    METER_TYPE = "meter_type", "Meter type"
    CELL_SESSION = "cell_session", "Cell session"
    FIRMWARE = "firmware", "Firmware"
    KEY_BUNDLE = "key_bundle", "Key bundle"
    LOGISTIC_UNIT = "logistic_unit", "Logistic unit"
    SHIPMENT = "shipment", "Shipment"
    FINDING = "finding", "Finding"


class RecordedQuerySet(models.QuerySet[Any]):
    """Rows that nothing but `actions` may write."""

    def update(self, **_changes: Any) -> NoReturn:
        raise EvidenceIsImmutable(f"{self.model.__name__} rows change through evidence.actions alone")

    def delete(self) -> NoReturn:
        raise EvidenceIsImmutable(f"{self.model.__name__} rows are never deleted")

    def bulk_update(self, *_args: Any, **_options: Any) -> NoReturn:
        raise EvidenceIsImmutable(f"{self.model.__name__} rows change through evidence.actions alone")


class RecordedRow(models.Model):
    """Base of the tables here: inserted once."""

    objects: ClassVar[models.Manager[Any]] = RecordedQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise EvidenceIsImmutable(f"{type(self).__name__} rows change through evidence.actions alone")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_options: Any) -> NoReturn:
        raise EvidenceIsImmutable(f"{type(self).__name__} rows are never deleted")


class EvidenceQuerySet(RecordedQuerySet):
    """Evidence, and the one way its state moves."""

    def move(self, pk: int, *, start: State, end: State, **decision: Any) -> None:
        """Move the evidence `pk` from `start` to `end`, with what was decided.

        Raises EvidenceIsImmutable if it is not there.
        """
        if end not in MOVES[start]:
            raise EvidenceIsImmutable(f"evidence does not move from {start} to {end}")
        rows: models.QuerySet[Evidence] = models.QuerySet(self.model, using=self.db).filter(pk=pk, state=start)
        if rows.update(state=end, **decision) != 1:
            raise EvidenceIsImmutable(f"evidence {pk} is not {start}")


class Evidence(RecordedRow):
    """One thing somebody hands in to show something: a manifest of files, the time it covers, and what it is about."""

    public_id = models.CharField(max_length=40, unique=True, default=new_evidence_id, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=32)
    title = models.CharField(max_length=200)
    covers_from = models.DateTimeField()
    covers_to = models.DateTimeField()
    produced_at = models.DateTimeField()
    received_at = models.DateTimeField()
    submitter = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    submitted_with = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    manifest_sha256 = models.CharField(max_length=64, db_index=True)
    scan = models.CharField(max_length=10, choices=Scan.choices, default=Scan.UNSCANNED)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RECEIVED)
    decided_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)
    superseded_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="supersedes")

    objects: ClassVar[models.Manager[Any]] = EvidenceQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["organisation", "state", "-id"], name="evidence_by_organisation")]
        constraints = [
            models.CheckConstraint(condition=Q(covers_to__gte=F("covers_from")), name="evidence_covers_forward"),
            models.CheckConstraint(
                condition=Q(submitter=None) ^ Q(submitted_with=None), name="evidence_has_one_submitter"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["received", "submitted"], decided_at=None)
                | Q(
                    state__in=["accepted", "returned", "superseded"], decided_at__isnull=False, decided_by__isnull=False
                ),
                name="evidence_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(submitter=None) | Q(decided_by=None) | ~Q(submitter=F("decided_by")),
                name="evidence_submitter_decides_not",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.title}"

    @property
    def subject(self) -> str:
        """The subject text of its chain."""
        return f"evidence:platform:{self.public_id}"

    @property
    def is_accepted(self) -> bool:
        """Whether it counts as support now."""
        return bool(self.state == State.ACCEPTED)

    def covers(self, moment: datetime) -> bool:
        """Whether `moment` lies in the time the evidence is about."""
        return bool(self.covers_from <= moment <= self.covers_to)


class EvidenceFile(RecordedRow):
    """A file of an evidence item. The bytes lie in the store under `sha256`."""

    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="files")
    position = models.PositiveSmallIntegerField()
    sha256 = models.CharField(max_length=64, db_index=True)
    size = models.PositiveIntegerField()
    media_type = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    flags = models.JSONField(default=list, help_text="what a reviewer should know before opening it")

    class Meta:
        ordering = ["evidence_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["evidence", "position"], name="evidence_file_position"),
            models.UniqueConstraint(fields=["evidence", "sha256"], name="evidence_file_once"),
        ]

    def __str__(self) -> str:
        return self.name

    def condition(self) -> storage.Condition:
        """Re-hash the stored bytes: intact, damaged or missing."""
        return storage.verify_blob(self.sha256)


class EvidenceLink(RecordedRow):
    """What an evidence item is about."""

    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="links")
    kind = models.CharField(max_length=16, choices=LinkKind.choices)
    reference = models.CharField(max_length=200)

    class Meta:
        ordering = ["evidence_id", "kind", "reference"]
        indexes = [models.Index(fields=["kind", "reference"], name="evidence_link_reference")]
        constraints = [
            models.UniqueConstraint(fields=["evidence", "kind", "reference"], name="evidence_link_once"),
            models.CheckConstraint(condition=Q(kind__in=LinkKind.values), name="evidence_link_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"
