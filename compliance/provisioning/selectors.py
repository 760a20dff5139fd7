"""Reads of the secured cell, the firmware register, the key registry and the seals, for checks, reports and pages.

These are for code that has already decided who may ask: they are not cut to an actor.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet

from compliance.proof import subject as subjects
from compliance.provisioning.models import CellSession, CellVisit, FirmwareRelease, KeyRegistryEntry, SealNumber


@dataclass(frozen=True, slots=True)
class SessionCount:
    """What the chains of the meters say about a session, to hold against its own reconciliation."""

    entered: int
    exited: int
    reworked: int
    scrapped: int

    @property
    def still_inside(self) -> int:
        """Meters that entered and neither left, were sent to rework, nor were scrapped."""
        return self.entered - self.exited - self.reworked - self.scrapped


def sessions(*, organisation: str | None = None) -> QuerySet[CellSession]:
    """Sessions in the order they were opened."""
    found = CellSession.objects.order_by("opened_at", "subject_key")
    return found if organisation is None else found.filter(organisation=organisation)


def session(subject: str) -> CellSession | None:
    """The session of that subject text."""
    return CellSession.objects.filter(subject_key=subjects.key_of(subject)).first()


def visits(session: str) -> list[CellVisit]:
    """Steps of all meters in the session of that subject text, in the order they were recorded."""
    found = CellVisit.objects.filter(session_key=subjects.key_of(session))
    return list(found.order_by("recorded_at", "meter_key", "seq"))


def count_visits(session: str) -> SessionCount:
    """The units balance of a session as the meters' own chains tell it."""
    steps = CellVisit.objects.filter(session_key=subjects.key_of(session))
    counted: Counter[tuple[str, str]] = Counter()
    for event_type, outcome, number in steps.values_list("event_type", "outcome").annotate(number=Count("id")):
        counted[event_type, outcome] += number
    return SessionCount(
        entered=counted["cell.entered", ""],
        exited=counted["cell.exited", ""],
        reworked=counted["mfg.rejected", "rework"],
        scrapped=counted["mfg.rejected", "scrap"],
    )


def firmware_by_digest(image_sha256: str) -> list[FirmwareRelease]:
    """Everything said about an image, oldest first."""
    return list(FirmwareRelease.objects.filter(image_sha256=image_sha256).order_by("recorded_at", "subject", "seq"))


def firmware_status(image_sha256: str, *, at: datetime) -> FirmwareRelease | None:
    """The last word about an image recorded before or at `at`; None if nobody had released it then."""
    said = FirmwareRelease.objects.filter(image_sha256=image_sha256, recorded_at__lte=at)
    return said.order_by("recorded_at", "seq").last()


def keys_of(subject: str) -> list[KeyRegistryEntry]:
    """All keys a meter ever had, in chain order."""
    found = KeyRegistryEntry.objects.filter(subject_key=subjects.key_of(subject))
    return list(found.order_by("seq", "ordinal"))


def keys_by_tag(tags: Iterable[str]) -> dict[str, list[KeyRegistryEntry]]:
    """Registry entries by registry tag (equal tags mean equal keys), oldest first."""
    found = KeyRegistryEntry.objects.filter(registry_tag__in=[tag for tag in tags if tag])
    return _grouped(found, "registry_tag")


def keys_by_public_key(digests: Iterable[str]) -> dict[str, list[KeyRegistryEntry]]:
    """Registry entries by SHA-256 of the public key, oldest first."""
    found = KeyRegistryEntry.objects.filter(public_key_sha256__in=[digest for digest in digests if digest])
    return _grouped(found, "public_key_sha256")


def keys_by_commitment(commitments: Iterable[str]) -> dict[str, list[KeyRegistryEntry]]:
    """Registry entries by commitment, oldest first."""
    found = KeyRegistryEntry.objects.filter(commitment__in=[value for value in commitments if value])
    return _grouped(found, "commitment")


def repeated_tags() -> list[str]:
    """Registry tags that more than one entry carries."""
    return _repeated("registry_tag")


def repeated_public_keys() -> list[str]:
    """Public key digests that more than one entry carries."""
    return _repeated("public_key_sha256")


def seals_by_number(numbers: Iterable[str]) -> dict[str, list[SealNumber]]:
    """Where seals of these numbers were applied, oldest first."""
    grouped: dict[str, list[SealNumber]] = defaultdict(list)
    for seal in SealNumber.objects.filter(number__in=list(numbers)).order_by("recorded_at", "subject", "seq"):
        grouped[seal.number].append(seal)
    return dict(grouped)


def seals_of(subject: str) -> list[SealNumber]:
    """Seals that were applied to a meter, in chain order."""
    return list(SealNumber.objects.filter(subject_key=subjects.key_of(subject)).order_by("seq", "ordinal"))


def repeated_seals() -> list[str]:
    """Seal numbers that were applied more than once."""
    counted = SealNumber.objects.values("number").annotate(times=Count("id")).filter(times__gt=1)
    return list(counted.order_by("number").values_list("number", flat=True))


def _repeated(field: str) -> list[str]:
    counted = KeyRegistryEntry.objects.exclude(**{field: ""}).values(field).annotate(times=Count("id"))
    return list(counted.filter(times__gt=1).order_by(field).values_list(field, flat=True))


def _grouped(found: QuerySet[KeyRegistryEntry], field: str) -> dict[str, list[KeyRegistryEntry]]:
    grouped: dict[str, list[KeyRegistryEntry]] = defaultdict(list)
    for entry in found.order_by("recorded_at", "subject", "seq", "ordinal"):
        grouped[getattr(entry, field)].append(entry)
    return dict(grouped)
