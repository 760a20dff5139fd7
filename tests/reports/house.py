"""A log with meters, evidence and findings, and both kinds of report made from it by the job, as in use."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from compliance.accounts.models import Person
from compliance.accounts.roles import PLATFORM
from compliance.accounts.selectors import organisation
from compliance.checks import actions as checks
from compliance.custody.models import Meter
from compliance.evidence import actions as evidence
from compliance.evidence.intake import IncomingFile
from compliance.frameworks.actions import load_shipped
from compliance.jobs import worker
from compliance.ledger import selectors as ledger
from compliance.ledger import setup
from compliance.ledger.fsck import Problem
from compliance.reports import actions, consistency, selectors
from compliance.reports.models import Report
from tests.accounts import world as accounts
from tests.custody import world

FRAMEWORK = "uk-cpa-sm"
METERS = 3
SPRING = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class House:
    """Who is there and what they look at."""

    administrator: Person
    auditor: Person
    regulator: Person
    maker: Person
    owner: Person
    fitter: Person

    @property
    def meter(self) -> Meter:
        """A meter that lived its whole life."""
        return world.meter(world.title(1))


@dataclass(frozen=True, slots=True)
class Issued:
    """A report that the job made, and the file."""

    report: Report
    pdf: bytes
    trust: Path
    said: dict[str, Any]  # what the log holds of it
    problems: list[Problem]  # what fsck found


def build() -> House:
    """Make the log and all that is in it."""
    setup.create_log()
    load_shipped()
    parties = world.make()
    world.live(parties, [world.title(number) for number in range(1, METERS + 1)])
    auditor = _person("hanna", accounts.join("pruefhaus", "auditor").id, "auditor")
    _hand_in_evidence(parties["elster"], auditor)
    checks.run()
    return House(
        administrator=_person("anna", PLATFORM, "administrator"),
        auditor=auditor,
        regulator=_person("regina", accounts.join("behoerde", "regulator").id, "regulator"),
        maker=_person("max", "elster", "member"),
        owner=_person("stefan", "stadtwerk", "member"),
        fitter=_person("ingo", "installateur", "member"),
    )


def issue_both(house: House) -> dict[str, Issued]:
    """Ask for a report of each kind and let the worker make them."""
    asked = {
        "framework_audit": {"framework": FRAMEWORK},
        "meter_certificate": {"meter": house.meter.public_id},
    }
    for kind, parameters in asked.items():
        actions.request_report(by=house.auditor, kind=kind, parameters=parameters)
    worker.run_until_idle()
    return {report.kind: _taken(report) for report in Report.objects.all()}


def _taken(report: Report) -> Issued:
    file = selectors.open_pdf(report)
    assert file is not None, report.failure
    (entry,) = ledger.chain(report.subject)
    trust: Path = settings.METERPROOF["TRUST_DIR"]
    return Issued(report, file.read(), trust, entry.event, list(consistency.compare()))


def _hand_in_evidence(party: world.Party, auditor: Person) -> None:
    for number, title in enumerate(("Ceremony record of the cell", "=HYPERLINK(1) Prüfprotokoll")):
        item = evidence.submit_evidence(
            by=party.api_key,
            organisation=party.api_key.organisation,
            title=title,
            kind="record",
            files=[IncomingFile(f"record-{number}.txt", "text/plain", io.BytesIO(b"record %d" % number))],
            covers_from=SPRING[0],
            covers_to=SPRING[1],
            produced_at=SPRING[1],
            links=[("requirement", f"{FRAMEWORK}:CPA-DEV-T04"), ("meter", world.title(1))],
        )
        if number == 0:
            evidence.accept_evidence(evidence=item, reviewer=auditor, reason="Compared with the cell's own log.")


def _person(username: str, of: str, role: str) -> Person:
    home = organisation(of)
    assert home is not None
    return accounts.person(username, home, role)
