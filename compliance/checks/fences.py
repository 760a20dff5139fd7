"""A guard of the database that has vanished, as a finding.

It names the day, so that a guard taken down again another day is another finding, and one that stays away is told once
a day.
"""

from compliance.checks.platform_findings import suspect_once
from compliance.checks.registry import Severity
from compliance.jobs import clock
from compliance.ledger import guards

DETECTOR = "guards"


def suspect_missing() -> int:
    """Keep a suspicion for each guard that is not there, and see that it is told. Returns how many are new."""
    today = clock.now().date().isoformat()
    said = {
        f"{name} ({today})": f"The guard {name} of the database is missing or altered: {guards.HARM}."
        for name in guards.missing()
    }
    return suspect_once(DETECTOR, Severity.CRITICAL, said)
