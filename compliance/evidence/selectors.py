"""Reads of evidence, cut to what the asking actor may see."""

from collections.abc import Iterable
from typing import IO

from django.db.models import QuerySet

from compliance.accounts import policy
from compliance.accounts.policy import Actor, Reach
from compliance.evidence import storage
from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink, LinkKind, State


def evidence_visible_to(actor: Actor) -> QuerySet[Evidence]:
    """Evidence `actor` may read, the newest first, with organisation, people, files and links at hand."""
    rows: QuerySet[Evidence] = (
        Evidence.objects.select_related("organisation", "submitter", "submitted_with", "decided_by", "superseded_by")
        .prefetch_related("files", "links")
        .order_by("-pk")
    )
    match policy.reach(actor, "evidence.read"):
        case Reach.ALL:
            return rows
        case Reach.OWN:
            return rows.filter(organisation_id__in=policy.organisations_within(actor, "evidence.read"))
    return rows.none()


def evidence(public_id: str, actor: Actor) -> Evidence | None:
    """The evidence with that id if `actor` may read it."""
    return evidence_visible_to(actor).filter(public_id=public_id).first()


def waiting_for_review(actor: Actor) -> QuerySet[Evidence]:
    """What `actor` can see that nobody decided on yet, the oldest first."""
    return evidence_visible_to(actor).filter(state=State.SUBMITTED).order_by("pk")


def evidence_for(kind: str, reference: str) -> QuerySet[Evidence]:
    """All evidence linked to that reference, in any state. For code that has already decided who may ask."""
    return Evidence.objects.filter(links__kind=kind, links__reference=reference).order_by("-pk")


def accepted_links(kind: LinkKind, references: Iterable[str]) -> QuerySet[EvidenceLink]:
    """Links of accepted evidence to any of `references`, each with its evidence. For code that decided who may ask."""
    return (
        EvidenceLink.objects.filter(kind=kind, reference__in=list(references), evidence__state=State.ACCEPTED)
        .select_related("evidence", "evidence__organisation")
        .order_by("reference", "evidence_id")
    )


def open_file(evidence: Evidence, sha256: str) -> tuple[EvidenceFile, IO[bytes]] | None:
    """A file of `evidence` (which the caller got from `evidence`) with its checked bytes; None if it has no such file.

    Raises BlobMissing or BlobDamaged.
    """
    file = evidence.files.filter(sha256=sha256).first()
    return None if file is None else (file, storage.open_blob(sha256))
