"""From facts to HTML: what sentences and tiles follow from the figures. Templates arrange, builders know the record."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.template.loader import render_to_string

from compliance.reports import charts
from compliance.reports.facts import (
    AttachmentFacts,
    CoverageState,
    Document,
    FindingFacts,
    FrameworkAudit,
    Listed,
    MeterCertificate,
)

GRAVEST_SHOWN = 6  # what fits the summary page
CONTENTS = (
    (1, "Document control"),
    (2, "Executive summary"),
    (3, "Scope, criteria and method"),
    (4, "Coverage of the requirements"),
    (5, "Findings"),
    (6, "Custody verification"),
    (7, "Evidence annex"),
    (8, "Signatures and verification"),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure with its meaning."""

    figure: str
    text: str
    tone: Literal["", "warn", "bad"] = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """The sentences that follow from the figures of a framework audit."""

    lead: str
    tiles: tuple[Tile, ...]
    gravest: Listed[FindingFacts] | None
    findings: str
    custody_tiles: tuple[Tile, ...]
    evidence: str
    usual_wording: str
    wording: str


def framework_audit(report: FrameworkAudit, attachments: Sequence[AttachmentFacts]) -> str:
    """HTML of the framework audit report."""
    return render_to_string(
        "reports/framework_audit.html",
        {
            "report": report,
            "document": report.document,
            "attachments": attachments,
            "contents": CONTENTS,
            "summary": summarise(report),
            "bars": charts.coverage_bars(report.groups),
            "stages": charts.life_cycle(report.custody.stages),
            "qr": _address_code(report.document),
        },
    )


def meter_certificate(report: MeterCertificate, attachments: Sequence[AttachmentFacts]) -> str:
    """HTML of the meter custody certificate."""
    return render_to_string(
        "reports/meter_certificate.html",
        {
            "report": report,
            "document": report.document,
            "attachments": attachments,
            "qr": charts.qr_code(report.meter_address, title=f"QR code: {report.meter_address}"),
        },
    )


def summarise(report: FrameworkAudit) -> Summary:
    """Lead, tiles and counts in words."""
    checked = Counter(row.verification for row in report.requirements.rows).most_common()
    return Summary(
        lead=_lead(report),
        tiles=_tiles(report),
        gravest=_gravest(report.findings),
        findings=_findings(report),
        custody_tiles=_custody_tiles(report),
        evidence=_evidence(report),
        usual_wording=checked[0][0] if checked else "",
        wording=_wording(checked),
    )


def _lead(report: FrameworkAudit) -> str:
    assessable = report.framework.assessable
    supported, contributing = report.count(CoverageState.SUPPORTED), report.count(CoverageState.CONTRIBUTING)
    contradicted, silent = report.count(CoverageState.CONTRADICTED), report.count(CoverageState.NONE)
    custody = report.custody
    return (
        f"Of {assessable:,} assessable requirements the record supports {supported:,}, "
        f"contributes to {contributing:,}, contradicts {contradicted:,} and is silent on {silent:,}. "
        f"It stands on {_many(custody.entries, 'entry')} about {_many(custody.meters, 'meter')}, "
        f"from {_many(custody.organisations, 'registered organisation')}."
    )


def _tiles(report: FrameworkAudit) -> tuple[Tile, ...]:
    custody, contradicted = report.custody, report.count(CoverageState.CONTRADICTED)
    supported, open_findings = report.count(CoverageState.SUPPORTED), sum(report.findings_by_severity.values())
    grave = report.findings_by_severity.get("critical", 0) + report.findings_by_severity.get("high", 0)
    return (
        Tile(f"{custody.meters:,}", f"meters on record, with {custody.entries:,} entries in the log"),
        Tile(
            f"{supported:,} / {report.framework.assessable:,}",
            f"assessable requirements supported; {report.count(CoverageState.CONTRIBUTING):,} more contributed to",
            "" if supported == report.framework.assessable else "warn",
        ),
        Tile(f"{contradicted:,}", "requirements that an open finding contradicts", "bad" if contradicted else ""),
        Tile(f"{open_findings:,}", f"open findings, {grave:,} of them critical or high", "bad" if grave else ""),
    )


def _custody_tiles(report: FrameworkAudit) -> tuple[Tile, ...]:
    custody = report.custody
    verified = sum(meter.verified for meter in custody.sampled)
    drawn, violating = len(custody.sampled), custody.meters_with_violations
    return (
        Tile(
            f"{verified:,} / {drawn:,}", "sampled meters whose whole chain verified", "" if verified == drawn else "bad"
        ),
        Tile(
            f"{sum(meter.entries for meter in custody.sampled):,}",
            "entries of those chains re-hashed and placed in the tree",
        ),
        Tile(f"{violating:,}", f"of {custody.meters:,} meters with a recorded violation", "warn" if violating else ""),
        Tile(
            f"{custody.meters_assured_lower:,}",
            "meters whose assured state differs from the claimed one",
            "warn" if custody.meters_assured_lower else "",
        ),
    )


def _findings(report: FrameworkAudit) -> str:
    if not report.findings.total:
        return "No finding is open. Table 2 says what the detectors looked at."
    severities = [f"{count:,} {severity}" for severity, count in report.findings_by_severity.items() if count]
    shown = f" The first {len(report.findings.rows):,} follow." if report.findings.hidden else ""
    count = _many(report.findings.total, "finding")
    return f"{count}: {', '.join(severities)}.{shown} Each says which rule saw what, at which log position."


def _evidence(report: FrameworkAudit) -> str:
    states = ", ".join(f"{count:,} {state}" for state, count in report.evidence_by_state.items() if count)
    return f"{_many(report.evidence.total, 'file')}{f': {states}' if states else ''}."


def _wording(checked: Sequence[tuple[str, int]]) -> str:
    if not checked:
        return ""
    counts = ", ".join(f"{how[:1].lower()}{how[1:]} ({count:,})" for how, count in checked)
    exceptions = " Where an item differs from the most frequent, it says so." if len(checked) > 1 else ""
    return f"How the wording of the items was checked against the published text: {counts}.{exceptions}"


def _gravest(findings: Listed[FindingFacts]) -> Listed[FindingFacts] | None:
    rows = findings.rows[:GRAVEST_SHOWN]
    return Listed(rows, findings.total) if rows else None


def _many(count: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun if count == 1 else plural}"


def _address_code(document: Document) -> str:
    return charts.qr_code(document.address, title=f"QR code: {document.address}")
