"""Evidence files, one row a file."""

from collections.abc import Iterable

from compliance.evidence.models import Evidence, State
from compliance.reports.facts import EvidenceFacts


def evidence_facts(items: Iterable[Evidence]) -> list[EvidenceFacts]:
    """Every file of `items`, numbered in their order."""
    files = [(item, file) for item in items for file in item.files.all()]
    return [
        EvidenceFacts(
            number=f"E-{number:02d}",
            title=item.title,
            kind=item.kind,
            organisation=item.organisation.name,
            state=State(item.state).label.lower(),
            covers=f"{item.covers_from:%Y-%m-%d} to {item.covers_to:%Y-%m-%d}",
            file_name=file.name,
            media_type=file.media_type,
            size=file.size,
            sha256=file.sha256,
        )
        for number, (item, file) in enumerate(files, start=1)
    ]
