"""Index tables of the secured cell, the firmware register, the key registry and the seals; all made again from the log.

No secret ever stands here: of a key there is a commitment, a registry tag or the digest of its public part.
"""

from typing import ClassVar

from django.db import models

from compliance.ledger.fields import BytesField

KEY_BYTES = 16
MAX_SUBJECT = 180
MAX_ORGANISATION = 31


class CellSession(models.Model):
    """One session of a secured cell: who opened it, what was planned, what the closing balances say."""

    subject_key = BytesField(primary_key=True, max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT, unique=True)
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    cell_id = models.CharField(max_length=64, blank=True)
    session_id = models.CharField(max_length=64, blank=True)
    production_order = models.CharField(max_length=64, blank=True)
    planned_quantity = models.IntegerField(null=True)
    operators = models.JSONField(default=list)
    hsm_id = models.CharField(max_length=64, blank=True)
    opened_seq = models.IntegerField(null=True)
    opened_occurred_at = models.CharField(max_length=32, blank=True)
    opened_at = models.DateTimeField(null=True)
    reconciled_seq = models.IntegerField(null=True)
    reconciled_occurred_at = models.CharField(max_length=32, blank=True)
    reconciled_at = models.DateTimeField(null=True)
    counts = models.JSONField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["organisation", "cell_id", "opened_at"], name="provisioning_session_cell")
        ]

    def __str__(self) -> str:
        return self.subject


class CellVisit(models.Model):
    """A meter entered, left or was rejected in a session, as its chain tells it; balances are compared with these."""

    session_key = BytesField(max_length=KEY_BYTES)
    meter_key = BytesField(max_length=KEY_BYTES)
    meter = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    event_type = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16, blank=True)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["meter_key", "seq"], name="provisioning_visit_entry")]
        indexes: ClassVar = [models.Index(fields=["session_key", "event_type"], name="provisioning_visit_session")]

    def __str__(self) -> str:
        return f"{self.event_type} of {self.meter}"


class FirmwareRelease(models.Model):
    """What a manufacturer said about an image: released, superseded or revoked, from when on."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    version = models.CharField(max_length=200)
    image_sha256 = models.CharField(max_length=64)
    status = models.CharField(max_length=16)
    target_types = models.JSONField(default=list)
    occurred_at = models.CharField(max_length=32)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_key", "seq"], name="provisioning_firmware_entry")
        ]
        indexes: ClassVar = [models.Index(fields=["image_sha256", "recorded_at"], name="provisioning_firmware_image")]

    def __str__(self) -> str:
        return f"{self.subject} {self.status}"


class KeyRegistryEntry(models.Model):
    """One key of one meter: its registry tag or the digest of its public key, and its commitment."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    ordinal = models.SmallIntegerField()
    role = models.CharField(max_length=200)
    generation = models.IntegerField(null=True)
    shared = models.BooleanField(default=False)
    registry_tag = models.CharField(max_length=64, blank=True)
    public_key_sha256 = models.CharField(max_length=64, blank=True)
    commitment = models.CharField(max_length=64, blank=True)
    replaces = models.CharField(max_length=64, blank=True)
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    recorded_at = models.DateTimeField()
    destroyed_seq = models.IntegerField(null=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_key", "seq", "ordinal"], name="provisioning_key_entry")
        ]
        indexes: ClassVar = [
            models.Index(fields=["registry_tag"], name="provisioning_key_tag", condition=~models.Q(registry_tag="")),
            models.Index(
                fields=["public_key_sha256"], name="provisioning_key_public", condition=~models.Q(public_key_sha256="")
            ),
            models.Index(fields=["commitment"], name="provisioning_key_commitment", condition=~models.Q(commitment="")),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.subject}"


class SealNumber(models.Model):
    """A seal that an event put on a meter."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    ordinal = models.SmallIntegerField()
    number = models.CharField(max_length=64, db_index=True)
    point = models.CharField(max_length=200)
    kind = models.CharField(max_length=200)
    roll = models.CharField(max_length=64)
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    event_type = models.CharField(max_length=64)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_key", "seq", "ordinal"], name="provisioning_seal_entry")
        ]

    def __str__(self) -> str:
        return f"{self.number} on {self.subject}"


PROJECTIONS: tuple[type[models.Model], ...] = (CellSession, CellVisit, FirmwareRelease, KeyRegistryEntry, SealNumber)
