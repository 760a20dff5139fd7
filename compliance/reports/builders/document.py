"""What every report says about itself: number, who asked, where it is shown, who seals it, what drew it."""

from django.conf import settings

from compliance.accounts.models import ApiKey, Person
from compliance.accounts.roles import PLATFORM
from compliance.reports import authority
from compliance.reports.authority.timestamps import DevelopmentTimeStamper
from compliance.reports.builders.record import organisation_name
from compliance.reports.facts import CheckpointFacts, Document
from compliance.reports.models import Kind, Report
from compliance.reports.rendering import libraries


def document(report: Report, *, title: str, checkpoint: CheckpointFacts) -> Document:
    """The facts about `report` itself. Its date is that of the checkpoint it stands on."""
    return Document(
        number=str(report.number),
        kind=Kind(report.kind).label,
        title=title,
        operator=organisation_name(PLATFORM),
        requested_by=_who(report),
        prepared_at=checkpoint.published_at.replace(microsecond=0),
        language=report.language,
        address=f"{settings.METERPROOF['BASE_URL'].rstrip('/')}/reports/{report.public_id}",
        checkpoint=checkpoint,
        seal_by=_sealer(),
        time_stamp_by=_stampers(),
        software=libraries.versions(),
    )


def _who(report: Report) -> str:
    """By pseudonym: a report lives longer than a person's consent to be named in it."""
    asked: Person | ApiKey | None = report.requested_by or report.requested_with
    kind, name = next(iter(report.actor.items()), ("service", "meterproof"))
    if isinstance(asked, ApiKey):
        return f"{kind} {name}, with a credential of {organisation_name(asked.organisation_id)}"
    return f"{kind} {name}"


def _sealer() -> str:
    material = authority.seal_material()
    name = material.certificate.subject.native.get("common_name", material.certificate.subject.human_friendly)
    if material.is_development:
        return f"{name}, by the platform's own development authority: the operator vouches for itself"
    return str(name)


def _stampers() -> str:
    entries = settings.METERPROOF["TIME_STAMP_AUTHORITIES"]
    if not entries:
        return f"{DevelopmentTimeStamper.name}: the operator vouches for the time"
    return " or ".join(entry["url"] for entry in entries)
