"""Tables of custody: projections of the log, one row a meter, and indexes beside it. docs/custody.md says what they
mean.

Nothing here is evidence: `manage.py rebuild_projections` makes every row again from the entries alone, and `manage.py
fsck` compares. Only the appliers of `projection` write, inside the transaction that appends. No foreign keys: rows of
one subject must be able to live on another machine than those of the next.
"""

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import OuterRef, Subquery

from compliance.ledger.fields import BytesField
from compliance.ledger.models import Head

KEY_BYTES = 16  # `compliance.proof.subject.key_of`
MAX_SUBJECT = 180
MAX_ORGANISATION = 31
MAX_CODE = 64


class MeterQuerySet(models.QuerySet["Meter"]):
    """Meters, and the heads of their chains beside them."""

    def with_heads(self) -> "MeterQuerySet":
        """Each with `head_seq`, `head_recorded_at` and `head_memory`."""
        head = Head.objects.filter(subject=OuterRef("subject_key"))
        return self.annotate(
            head_seq=Subquery(head.values("seq")),
            head_recorded_at=Subquery(head.values("recorded_at")),
            head_memory=Subquery(head.values("memory")),
        )


class Meter(models.Model):
    """Where a meter is now: what the fold over its chain shows. What that must remember is kept with the head."""

    subject_key = BytesField(primary_key=True, max_length=KEY_BYTES)
    public_id = models.CharField(max_length=36)  # "mtr_" and the key in hex: look up by the key
    subject = models.CharField(max_length=MAX_SUBJECT)
    manufacturer = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    meter_type = models.CharField(max_length=MAX_CODE, blank=True)
    profile = models.CharField(max_length=32, blank=True)
    claimed_state = models.CharField(max_length=20)
    assured_state = models.CharField(max_length=20)
    holder = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    owner = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    controller = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    key_state = models.CharField(max_length=16)
    seal_state = models.CharField(max_length=16)
    data_state = models.CharField(max_length=16)
    trust = models.CharField(max_length=16)
    first_recorded_at = models.DateTimeField()
    violation_count = models.IntegerField(default=0)

    if TYPE_CHECKING:
        last_type: str  # selectors put it there

    objects = models.Manager.from_queryset(MeterQuerySet)()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["subject"], name="custody_meter_subject"),
            models.Index(fields=["claimed_state", "subject"], name="custody_meter_state"),
            models.Index(fields=["holder", "subject"], name="custody_meter_holder"),
            models.Index(
                fields=["subject_key"], name="custody_meter_violations", condition=models.Q(violation_count__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return self.subject

    @cached_property
    def last_seq(self) -> int:
        """Place of the last entry; selectors put there the last that a former party may know of."""
        seq: int = self.head_seq  # type: ignore[attr-defined]  # by `with_heads`
        return seq

    @cached_property
    def last_recorded_at(self) -> datetime:
        """When it was recorded."""
        recorded_at: datetime = self.head_recorded_at  # type: ignore[attr-defined]  # by `with_heads`
        return recorded_at


class Identifier(models.Model):
    """Which chain a name belongs to: the one it was born with, and those that joined it.

    `alias` is the name written as a subject text. A name of a single-valued scheme belongs to one chain for ever.
    """

    alias = models.CharField(max_length=MAX_SUBJECT)
    scheme = models.CharField(max_length=32)
    value = models.CharField(max_length=128)
    subject = models.CharField(max_length=MAX_SUBJECT)
    subject_key = BytesField(max_length=KEY_BYTES, db_index=True)
    seq = models.IntegerField()
    single_valued = models.BooleanField(default=True)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["alias"], condition=models.Q(single_valued=True), name="custody_identifier_one_chain"
            ),
            models.UniqueConstraint(fields=["alias", "subject"], name="custody_identifier_once"),
        ]

    def __str__(self) -> str:
        return f"{self.alias} -> {self.subject}"


class Violation(models.Model):
    """What was wrong with an entry when it was judged; settled when a correction took the ground away."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    ordinal = models.SmallIntegerField(default=0)
    code = models.CharField(max_length=MAX_CODE)
    detail = models.CharField(max_length=400)
    event_type = models.CharField(max_length=MAX_CODE)
    author = models.CharField(max_length=MAX_ORGANISATION)
    recorded_at = models.DateTimeField(db_index=True)
    settled_seq = models.IntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["subject_key", "seq", "ordinal"], name="custody_violation_place")
        ]
        indexes: ClassVar = [models.Index(fields=["code", "recorded_at"], name="custody_violation_code")]

    def __str__(self) -> str:
        return f"{self.code} at {self.subject}/{self.seq}"


class Visibility(models.Model):
    """For which part of its chain an organisation was holder, owner or controller of a meter. Open: `to_seq` is null.

    `last_seen` keeps the meter as it stood when the interval closed, so that a former party sees that and nothing
    later.
    """

    subject_key = BytesField(max_length=KEY_BYTES)
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    from_seq = models.IntegerField()
    to_seq = models.IntegerField(null=True)
    last_seen = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subject_key", "organisation", "from_seq"], name="custody_visibility_interval"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["organisation", "subject_key"], name="custody_visibility_org")]

    def __str__(self) -> str:
        return f"{self.organisation} sees {self.subject_key.hex()} from {self.from_seq}"


class TypeRegistration(models.Model):
    """A type that a manufacturer registered: its serial prefix (flag), and the profiles it is meant for."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    organisation = models.CharField(max_length=MAX_ORGANISATION)
    type_code = models.CharField(max_length=MAX_CODE)
    flag = models.CharField(max_length=16, db_index=True)
    profiles = models.JSONField(default=list)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["subject_key", "seq"], name="custody_type_entry")]
        indexes: ClassVar = [models.Index(fields=["organisation", "type_code"], name="custody_type_code")]

    def __str__(self) -> str:
        return self.subject


class OrganisationRoles(models.Model):
    """Which market roles an organisation had from when on: standing is judged by those of the day."""

    organisation = models.CharField(max_length=MAX_ORGANISATION)
    seq = models.IntegerField()
    roles = models.JSONField(default=list)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["organisation", "seq"], name="custody_roles_entry")]

    def __str__(self) -> str:
        return f"{self.organisation} from {self.recorded_at}"


class Packing(models.Model):
    """What a logistic unit held from an event on: `children` are subject texts of meters and units inside."""

    unit_key = BytesField(max_length=KEY_BYTES)
    unit = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    packer = models.CharField(max_length=MAX_ORGANISATION)
    parent = models.CharField(max_length=MAX_SUBJECT, blank=True)
    children = models.JSONField(default=list)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["unit_key", "seq"], name="custody_packing_entry")]

    def __str__(self) -> str:
        return f"{self.unit}/{self.seq}"


class Shipment(models.Model):
    """A consignment, from its note to the inspection at goods-in."""

    subject_key = BytesField(primary_key=True, max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT, unique=True)
    purpose = models.CharField(max_length=16, blank=True)
    units = models.JSONField(default=list)
    meter_count = models.IntegerField(default=0)
    consignor = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    consignee = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    carrier = models.CharField(max_length=MAX_ORGANISATION, blank=True)
    expected_arrival = models.CharField(max_length=32, blank=True)
    state = models.CharField(max_length=16)
    received_units = models.JSONField(default=list)
    found_count = models.IntegerField(null=True)
    missing = models.JSONField(default=list)
    unexpected = models.JSONField(default=list)
    outcome = models.CharField(max_length=16, blank=True)
    dispatched_seq = models.IntegerField(null=True)
    received_seq = models.IntegerField(null=True)
    inspected_seq = models.IntegerField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(null=True)
    inspected_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.subject


class KeyBundle(models.Model):
    """A key delivery bundle: to whom, for how many meters, and how far it got. Never the keys."""

    subject_key = BytesField(primary_key=True, max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT, unique=True)
    manufacturer = models.CharField(max_length=MAX_ORGANISATION)
    recipient = models.CharField(max_length=MAX_ORGANISATION)
    shipment = models.CharField(max_length=MAX_SUBJECT)
    ciphertext_sha256 = models.CharField(max_length=64)
    members_sha256 = models.CharField(max_length=64)
    meter_count = models.IntegerField()
    members = models.JSONField(null=True)
    state = models.CharField(max_length=16)
    released_seq = models.IntegerField()
    released_at = models.DateTimeField()
    acknowledged_seq = models.IntegerField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    revoked_seq = models.IntegerField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.subject


class Cause(models.Model):
    """An event on a unit, shipment or bundle that reaches meters. `waiting` until its members are known."""

    subject_key = BytesField(max_length=KEY_BYTES)
    subject = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField()
    hash = BytesField(max_length=32)
    effect = models.CharField(max_length=MAX_CODE)
    recorded_at = models.DateTimeField()
    waiting = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["subject_key", "seq"], name="custody_cause_entry")]
        indexes: ClassVar = [
            models.Index(fields=["recorded_at"], name="custody_cause_waiting", condition=models.Q(waiting=True))
        ]

    def __str__(self) -> str:
        return f"{self.effect} at {self.subject}/{self.seq}"


class Link(models.Model):
    """One meter that a cause reaches. `seq`: place of the `custody.linked` entry in its chain, null until then."""

    cause_key = BytesField(max_length=KEY_BYTES)
    cause_seq = models.IntegerField()
    cause_recorded_at = models.DateTimeField()
    effect = models.CharField(max_length=MAX_CODE)
    meter_key = BytesField(max_length=KEY_BYTES)
    meter = models.CharField(max_length=MAX_SUBJECT)
    seq = models.IntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cause_key", "cause_seq", "meter_key"], name="custody_link_once")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["cause_recorded_at", "id"], name="custody_link_open", condition=models.Q(seq__isnull=True)
            ),
            models.Index(fields=["meter_key"], name="custody_link_open_meter", condition=models.Q(seq__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.effect} reaches {self.meter}"


class FactLock(models.Model):
    """No projection: a row that is locked in the place of a kind of fact (`fact_locks`), and says nothing."""

    name = models.CharField(primary_key=True, max_length=MAX_CODE)

    class Meta:
        db_table = "custody_fact_lock"

    def __str__(self) -> str:
        return self.name


PROJECTIONS: tuple[type[models.Model], ...] = (
    Meter,
    Identifier,
    Violation,
    Visibility,
    TypeRegistration,
    OrganisationRoles,
    Packing,
    Shipment,
    KeyBundle,
    Cause,
    Link,
)
