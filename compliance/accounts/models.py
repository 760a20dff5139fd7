"""People, organisations and keys.

Organisation (name, roles, first keys) and SigningKey are index tables fed by the log's `org.*` entries (`projection`);
everything else here is kept by `actions`. Nothing in these tables is evidence by itself.
"""

import secrets
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from compliance.accounts.roles import PLATFORM, MembershipRole
from compliance.jobs import clock, ids, row_scope


def new_person_id() -> str:
    """A fresh public id of a person's account."""
    return ids.new_id("usr")


def new_actor_id() -> str:
    """A pseudonym for a person in one organisation. It says nothing, not even when it was made."""
    return f"p-{secrets.token_hex(8)}"


class SignaturePolicy(models.TextChoices):
    """Whether an organisation's events must carry its own signature."""

    REQUIRED = "required", "Own signature required"
    ACCEPTED = "accepted", "Unsigned events accepted, vouched by the platform"


class Organisation(models.Model):
    """A company, authority or office. `id` is given once and never reused."""

    id = models.CharField(primary_key=True, max_length=31)
    name = models.CharField(max_length=200)
    roles = models.JSONField(default=list)
    first_key = models.CharField(max_length=71)
    first_keys = models.JSONField(default=list)
    registered_at = models.DateTimeField()
    signature_policy = models.CharField(max_length=8, choices=SignaturePolicy.choices, default=SignaturePolicy.REQUIRED)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name

    @property
    def organisation_id(self) -> str:
        """An organisation belongs to itself; `policy` asks every target this way."""
        return self.id

    @property
    def subject(self) -> str:
        """The subject text of its chain."""
        return f"organisation:org:{self.id}"

    @property
    def is_platform(self) -> bool:
        """Whether this is the operator."""
        return self.id == PLATFORM


class Person(AbstractUser):
    """Somebody who signs in. What a person may do follows from memberships alone, never from flags on this row."""

    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    public_id = models.CharField(max_length=40, unique=True, default=new_person_id, editable=False)
    name = models.CharField(max_length=150, blank=True)

    REQUIRED_FIELDS = ["email"]

    class Meta(AbstractUser.Meta):
        ordering = ["username"]

    def __str__(self) -> str:
        return self.name or self.username

    def get_full_name(self) -> str:
        """The name as written."""
        return self.name

    def get_short_name(self) -> str:
        """The name as written; we do not guess which part is the given one."""
        return self.name or self.username

    @cached_property
    def active_memberships(self) -> "list[Membership]":
        """Memberships in force when first asked, oldest first; an instance lives no longer than a request."""
        with row_scope.everything():  # they are what a scope is made from
            return list(self.memberships.in_force().select_related("organisation").order_by("pk"))

    @property
    def organisations(self) -> list[Organisation]:
        """The organisations the person acts for."""
        return [membership.organisation for membership in self.active_memberships]

    @property
    def actor_id(self) -> str:
        """The pseudonym in the first organisation, under which the person's decisions stand in the log."""
        memberships = self.active_memberships
        return memberships[0].actor_id if memberships else ""

    @property
    def actor(self) -> dict[str, str]:
        """The `actor` member of an event for what this person does."""
        return {"person": self.actor_id}

    @property
    def is_administrator(self) -> bool:
        """Whether the person administers the platform."""
        return any(membership.role == MembershipRole.ADMINISTRATOR for membership in self.active_memberships)

    @property
    def is_auditor(self) -> bool:
        """Whether the person audits."""
        return any(membership.role == MembershipRole.AUDITOR for membership in self.active_memberships)

    @property
    def is_regulator(self) -> bool:
        """Whether the person acts for a regulator."""
        return any(membership.role == MembershipRole.REGULATOR for membership in self.active_memberships)

    def forget_memberships(self) -> None:
        """Read the memberships again when next asked."""
        self.__dict__.pop("active_memberships", None)


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Memberships, with the question every caller asks."""

    def in_force(self) -> "MembershipQuerySet":
        """Those that count now."""
        return self.filter(ended_at=None)


class Membership(models.Model):
    """A person in an organisation, under a pseudonym that is random per organisation and never reused."""

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=MembershipRole.choices)
    actor_id = models.CharField(max_length=64, unique=True, default=new_actor_id, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "organisation"], condition=Q(ended_at=None), name="accounts_one_membership_in_force"
            ),
            models.CheckConstraint(
                condition=Q(role=MembershipRole.ADMINISTRATOR, organisation=PLATFORM)
                | ~Q(role=MembershipRole.ADMINISTRATOR) & ~Q(organisation=PLATFORM),
                name="accounts_administrators_are_the_platforms",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person} in {self.organisation_id} as {self.role}"

    @property
    def subject(self) -> str:
        """The chain on which the role was granted and revoked."""
        return f"person_role:{self.organisation_id}:{self.actor_id}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """API keys, with the question every caller asks."""

    def alive(self, at: datetime) -> "ApiKeyQuerySet":
        """Neither revoked nor past their end at the moment `at`."""
        return self.filter(revoked_at=None, expires_at__gt=at)


class ApiKey(models.Model):
    """A machine's credential. The secret is shown once; here lies its SHA-256 (190 random bits need no slow hash).

    It is also the principal of a request: policy, intake and throttles take it as the actor.
    """

    is_authenticated = True
    is_anonymous = False
    is_active = True

    identifier = models.CharField(max_length=8, unique=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=100, blank=True)
    secret_sha256 = models.BinaryField(max_length=32)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    replaces = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="replaced_by")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "identifier"]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="accounts_api_key_ends_after_it_begins"
            )
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The part that is no secret; it names the credential in logs, pages and vouched batches."""
        return f"mp_live_{self.identifier}"

    @property
    def actor(self) -> dict[str, str]:
        """The `actor` member of an event for what this key's machine does."""
        return {"service": self.public_id}

    def is_alive(self, at: datetime) -> bool:
        """Whether it may be used at the moment `at`."""
        return self.revoked_at is None and at < self.expires_at


class SigningKey(models.Model):
    """A public key an organisation signs with. Index of the `signing_key:` chain of that key, nothing more."""

    keyid = models.CharField(primary_key=True, max_length=71)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="signing_keys")
    holder_kind = models.CharField(max_length=8)
    holder_id = models.CharField(max_length=64)
    algorithm = models.CharField(max_length=32)
    public_key = models.JSONField()
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True)
    registered_at = models.DateTimeField()
    is_first = models.BooleanField(default=False)
    revoked_at = models.DateTimeField(null=True)
    effective_at = models.DateTimeField(null=True)
    reason_code = models.CharField(max_length=16, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["organisation", "registered_at", "keyid"]

    def __str__(self) -> str:
        return self.keyid

    @property
    def subject(self) -> str:
        """The subject text of its chain."""
        return f"signing_key:{self.keyid}"

    @property
    def holder(self) -> dict[str, str]:
        """Who holds it, written as in an event's `actor`."""
        return {self.holder_kind: self.holder_id}

    @property
    def key_object(self) -> dict[str, Any]:
        """The key as the formats write it: algorithm, key id, public key."""
        return dict(self.public_key)

    def why_not_valid(self, at: datetime) -> str | None:
        """The reason code that keeps the key from signing an entry recorded at `at`, or None."""
        if self.revoked_at is not None and at >= self.revoked_at:
            return "key.revoked"
        if at < self.registered_at or at < self.valid_from:
            return "key.not_valid"
        if self.valid_until is not None and at >= self.valid_until:
            return "key.not_valid"
        return None
