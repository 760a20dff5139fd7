"""Reads of reports, cut to what the asking actor may see."""

from typing import IO

from django.db.models import QuerySet

from compliance.accounts import policy
from compliance.accounts.policy import Actor, Reach
from compliance.reports import archive
from compliance.reports.models import Report

ACTION = "report.read"


def reports_visible_to(actor: Actor) -> QuerySet[Report]:
    """Reports `actor` may read, the newest first."""
    rows = Report.objects.select_related("organisation", "requested_by", "requested_with").order_by("-pk")
    match policy.reach(actor, ACTION):
        case Reach.ALL:
            found = rows
        case Reach.OWN:
            found = rows.filter(organisation_id__in=policy.organisations_within(actor, ACTION))
        case _:
            return rows.none()
    states = policy.states_open(actor, ACTION)
    return found if states is None else found.filter(state__in=states)


def report(public_id: str, actor: Actor) -> Report | None:
    """The report with that id if `actor` may read it."""
    return reports_visible_to(actor).filter(public_id=public_id).first()


def open_pdf(report: Report) -> IO[bytes] | None:
    """The sealed PDF of an issued report, from its start; None while there is none.

    Raises ArchiveDamaged if the stored bytes are not those that were issued.
    """
    return archive.open_issued(report) if report.pdf_path else None


def download_name(report: Report) -> str:
    """A file name for the PDF."""
    return f"{report.number}.pdf"
