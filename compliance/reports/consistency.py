"""`manage.py fsck` for reports: the stored PDF, the row and the entry in the log must say the same."""

import re
from collections.abc import Iterator

from compliance.ledger import selectors as ledger
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry
from compliance.reports import archive
from compliance.reports.actions import issued_data
from compliance.reports.models import Report, State

PIECE = 500  # rows held in memory at a time
# Canonical JSON: the entry's own `subject` is its second last member; inside an event no text can hold bare quotes.
_FIRST_OF_CHAIN = re.compile(rb'"subject":"report:platform:([A-Z]{2}-[0-9]{4}-[0-9]{6,})","v":1}$')


def compare() -> Iterator[Problem]:
    """Everything that does not fit, each with its place."""
    issued = Report.objects.filter(state=State.ISSUED).order_by("pk")
    for report in issued.iterator(chunk_size=PIECE):
        yield from _compare_with_log(report)
        try:
            archive.read(report.pdf_sha256)
        except archive.ArchiveDamaged as error:
            yield Problem("report.file", f"report {report.number}", str(error))
    yield from _rows_gone({str(report.number) for report in issued.only("number")})


def _compare_with_log(report: Report) -> Iterator[Problem]:
    chain = ledger.chain(report.subject)
    if not chain or chain[0].event["type"] != "report.issued":
        yield Problem("report.unrecorded", f"report {report.number}", "the log does not hold that it was issued")
        return
    said = chain[0].event["data"]
    differing = sorted(name for name, value in issued_data(report).items() if said.get(name) != value)
    if differing:
        detail = f"the row differs from the log in {', '.join(differing)}"
        yield Problem("report.row", f"report {report.number}", detail)


def _rows_gone(known: set[str]) -> Iterator[Problem]:
    """Reports in the log whose row is gone or is not issued any more."""
    bodies = Entry.objects.filter(seq=0).values_list("body", flat=True)
    for body in bodies.iterator(chunk_size=PIECE):
        found = _FIRST_OF_CHAIN.search(bytes(body))
        if found and found[1].decode() not in known:
            number = found[1].decode()
            yield Problem("report.gone", f"report {number}", "the log holds that it was issued, but no row says so")
