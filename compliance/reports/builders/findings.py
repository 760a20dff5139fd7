"""Findings of the detectors, in the words of reports."""

from collections.abc import Sequence

from compliance.checks import registry
from compliance.checks.models import Finding, FindingState
from compliance.custody.models import Meter
from compliance.reports.facts import FindingFacts

SEVERITIES = ("critical", "high", "medium", "low")
METERS_NAMED = 6  # what a line can carry; the count is said, and report.json of the finding's meters names the rest


def open_findings() -> list[Finding]:
    """Every finding that is open, gravest first, then oldest."""
    found = Finding.objects.filter(state=FindingState.OPEN).order_by("pk")
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def open_findings_about(meter: Meter) -> list[Finding]:
    """Open findings that concern `meter`, gravest first, then oldest."""
    return [finding for finding in open_findings() if meter.subject in finding.meters]


def finding_facts(finding: Finding, number: int, *, framework: str = "") -> FindingFacts:
    """One finding, the `number`-th of a report. With `framework`, of what it bears on only items of that one."""
    check = {check.id: check for check in registry.checks()}.get(finding.detector)
    return FindingFacts(
        number=f"F-{number:03d}",
        finding=finding.chain,
        detector=finding.detector,
        version=str(finding.version),
        severity=finding.severity,
        title=check.title if check is not None else finding.detector,
        state=finding.state,
        condition=finding.detail,
        concerns=finding.about or finding.subject,
        meters=finding.meter_count,
        meters_named=tuple(finding.meters[:METERS_NAMED]),
        bears_on=_bears_on(check.speaks_to if check is not None else (), framework),
        log_size=finding.log_size,
    )


def _bears_on(references: Sequence[str], framework: str) -> tuple[str, ...]:
    if not framework:
        return tuple(references)
    return tuple(reference.partition(":")[2] for reference in references if reference.startswith(f"{framework}:"))
