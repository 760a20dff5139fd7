"""Frameworks, their requirements, and the mappings between them, as loaded from catalogue files.

An edition is immutable: `actions.load` writes it once, nothing changes it afterwards, and other content needs another
edition. Each row keeps how well its id and title are confirmed (`Verification`); pages and reports show it.
"""

from typing import Any, ClassVar, NoReturn

from django.db import models


class Verification(models.TextChoices):
    """How well an item of a catalogue is confirmed against its publisher's text."""

    VERIFIED = "verified", "Verified"
    VERIFIED_SECONDARY = "verified-secondary", "Verified at a secondary source"
    PARTIAL = "partial", "Partly verified"
    RECALLED = "recalled", "From memory"
    UNVERIFIED_THEME = "unverified-theme", "Editorial theme, not the publisher's list"


class Relationship(models.TextChoices):
    """How the source of a mapping relates to its target: set theory of NIST IR 8477, and two relations of our own."""

    EQUAL = "equal", "is the same as"
    SUBSET_OF = "subset_of", "is part of"
    SUPERSET_OF = "superset_of", "contains"
    INTERSECTS_WITH = "intersects_with", "overlaps with"
    SUPPORTS = "supports", "helps to meet"
    MITIGATED_BY = "mitigated_by", "is countered by"
    APPLIES_IN_PHASE = "applies_in_phase", "is the phase of"


# Kinds of requirement that somebody can meet. Threats, assets, assumptions, phases, statuses and documents are context.
ASSESSABLE_KINDS = frozenset(
    {"control", "clause", "mitigation", "sfr", "sar", "objective", "environment_objective", "policy"}
)
KINDS = ASSESSABLE_KINDS | {"asset", "threat", "assumption", "phase", "status", "document"}


class EditionIsImmutable(Exception):
    """A row of a loaded edition was about to be changed or deleted."""


class LoadedOnce(models.QuerySet[Any]):
    """Rows that are inserted with their edition and never touched again."""

    def update(self, **_changes: Any) -> NoReturn:
        raise EditionIsImmutable(f"{self.model.__name__} belongs to a loaded edition; load a new edition instead")

    def delete(self) -> NoReturn:
        raise EditionIsImmutable(f"{self.model.__name__} belongs to a loaded edition; load a new edition instead")

    def bulk_update(self, *_args: Any, **_options: Any) -> NoReturn:
        raise EditionIsImmutable(f"{self.model.__name__} belongs to a loaded edition; load a new edition instead")


class LoadedRow(models.Model):
    """Base of every table here: inserted by `actions`, then read only."""

    objects: ClassVar[models.Manager[Any]] = LoadedOnce.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise EditionIsImmutable(f"{type(self).__name__} belongs to a loaded edition; load a new edition instead")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_options: Any) -> NoReturn:
        raise EditionIsImmutable(f"{type(self).__name__} belongs to a loaded edition; load a new edition instead")


class Framework(LoadedRow):
    """One edition of a standard, protection profile, regulation or editorial list."""

    key = models.CharField(max_length=64)
    edition = models.CharField(max_length=64)
    title = models.CharField(max_length=300)
    publisher = models.CharField(max_length=200)
    published = models.CharField(max_length=20, blank=True, help_text="as precise as the source says: 2022, 2022-10")
    url = models.CharField(max_length=500, blank=True)
    licence_note = models.TextField()
    verification = models.TextField(help_text="how the catalogue as a whole was confirmed")
    editorial = models.BooleanField(default=False, help_text="our own list, not the publisher's")
    status = models.TextField(blank=True, help_text="a warning that must be shown wherever the framework is shown")
    completeness = models.TextField(blank=True)
    details = models.JSONField(default=dict, help_text="whatever else the catalogue file says about the framework")
    supersedes = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="successors")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the catalogue file")
    loaded_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "edition"], name="frameworks_edition_once")]
        ordering = ["key", "pk"]

    def __str__(self) -> str:
        return f"{self.key} {self.edition}"

    @property
    def is_official(self) -> bool:
        """False for lists that must never be presented as the publisher's own."""
        return not self.editorial and not self.status


class Group(LoadedRow):
    """A chapter of a framework. `path` holds the refs from the top, so that a subtree is one prefix query."""

    framework = models.ForeignKey(Framework, on_delete=models.PROTECT, related_name="groups")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    ref = models.CharField(max_length=64)
    title = models.CharField(max_length=300)
    path = models.CharField(max_length=300)
    position = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["framework", "ref"], name="frameworks_group_once")]
        ordering = ["framework_id", "position"]

    def __str__(self) -> str:
        return f"{self.ref} {self.title}"


class Requirement(LoadedRow):
    """One item of a framework. Cited everywhere as `<framework key>:<ref>`."""

    framework = models.ForeignKey(Framework, on_delete=models.PROTECT, related_name="requirements")
    group = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="requirements")
    ref = models.CharField(max_length=64)
    kind = models.CharField(max_length=32)
    title = models.CharField(max_length=400)
    summary = models.TextField(blank=True)
    assessable = models.BooleanField()
    verification = models.CharField(max_length=20, choices=Verification.choices)
    source_ref = models.TextField(blank=True)
    details = models.JSONField(default=dict, help_text="related items, basis and the like, as in the file")
    position = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["framework", "ref"], name="frameworks_requirement_once"),
            models.CheckConstraint(
                condition=models.Q(verification__in=Verification.values), name="frameworks_requirement_verification"
            ),
        ]
        ordering = ["framework_id", "position"]

    def __str__(self) -> str:
        return f"{self.ref} {self.title}"

    @property
    def reference(self) -> str:
        """The text by which evidence, checks and reports cite this requirement."""
        return f"{self.framework.key}:{self.ref}"


class MappingSet(LoadedRow):
    """Mappings that were written and published together."""

    key = models.CharField(max_length=64)
    edition = models.CharField(max_length=64)
    title = models.CharField(max_length=300)
    published = models.CharField(max_length=20, blank=True)
    editorial = models.BooleanField(help_text="no authority published these rows")
    verification = models.TextField(blank=True)
    note = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the file")
    loaded_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "edition"], name="frameworks_mapping_set_once")]
        ordering = ["key", "pk"]

    def __str__(self) -> str:
        return f"{self.key} {self.edition}"


class Mapping(LoadedRow):
    """One statement: `source` is related to `target` so. Read as a sentence from source to target."""

    mapping_set = models.ForeignKey(MappingSet, on_delete=models.PROTECT, related_name="mappings")
    ref = models.CharField(max_length=64)
    source = models.ForeignKey(Requirement, on_delete=models.PROTECT, related_name="mappings_out")
    target = models.ForeignKey(Requirement, on_delete=models.PROTECT, related_name="mappings_in")
    relationship = models.CharField(max_length=20, choices=Relationship.choices)
    rationale = models.TextField(blank=True)
    rationale_type = models.CharField(max_length=20, blank=True, help_text="syntactic, semantic or functional (OSCAL)")
    confidence = models.CharField(max_length=10, blank=True, help_text="high, medium or low; empty where not rated")
    details = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mapping_set", "ref"], name="frameworks_mapping_once"),
            models.CheckConstraint(
                condition=models.Q(relationship__in=Relationship.values), name="frameworks_mapping_relationship"
            ),
        ]
        ordering = ["mapping_set_id", "pk"]

    def __str__(self) -> str:
        return f"{self.source} {self.relationship} {self.target}"


class ReferenceDocument(LoadedRow):
    """A document worth knowing whose items are not catalogued here."""

    key = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=400)
    edition = models.CharField(max_length=200, blank=True)
    url = models.CharField(max_length=500, blank=True)
    why = models.TextField(blank=True)
    verification = models.TextField(blank=True)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.title
