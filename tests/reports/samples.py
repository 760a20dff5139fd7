"""Reports with invented content, for tests of everything between facts and a verified file."""

import hashlib
from datetime import UTC, datetime

from compliance.reports.facts import (
    AttachmentFacts,
    CheckFacts,
    CheckpointFacts,
    Conclusion,
    CoverageState,
    CustodyFacts,
    Document,
    EventFacts,
    EvidenceFacts,
    FindingFacts,
    FrameworkAudit,
    FrameworkFacts,
    GroupTotals,
    IdentifierFacts,
    InclusionFacts,
    KeyFacts,
    Listed,
    MeterCertificate,
    RequirementFacts,
    SampledMeter,
    StageFacts,
)

PREPARED = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)
NOTE = (
    "meterproof.example/log\n291655\nSBNJTRN+FjG7owHVqstue3uqdM4RhdRWVl71HXN2d7I=\n\n"
    "— meterproof.example/log kD1tDZdr0yCm8z9LZQcw7Dk2rL8nE2m8vN6vPqYb2eQv8n5uG7dLr0YqH1kq9o2hJ3yCj1yq5mZ0k3nR8tBv==\n"
)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def document(kind: str = "Framework audit report", number: str = "AR-2026-000147") -> Document:
    return Document(
        number=number,
        kind=kind,
        title="ISO/IEC 27001:2022",
        operator="Prüfstelle für Zählerlieferketten Öresund",
        requested_by="administrator per_0f3c5e",
        prepared_at=PREPARED,
        language="en",
        address="http://127.0.0.1:8000/reports/rpt_0197",
        checkpoint=CheckpointFacts("meterproof.example/log", 291655, digest("root"), PREPARED, NOTE),
        seal_by="development authority of this platform, which vouches for itself",
        time_stamp_by="development authority of this platform",
        software={"weasyprint": "70.0", "pango": "1.50.12"},
    )


def requirement(
    index: int, state: CoverageState, reasons: tuple[str, ...] = ("Evidence EV-0001 accepted",)
) -> RequirementFacts:
    group = ("Organizational controls", "People controls", "Physical controls", "Technological controls")[index % 4]
    return RequirementFacts(
        group,
        f"A.{5 + index % 4}.{index // 4 + 1}",
        f"Managing information security, matter {index}",
        state,
        "verified-secondary",
        reasons,
    )


def event(seq: int, title: str = "Received, seal intact") -> EventFacts:
    violations = ("standing.not_holder",) if seq == 4 else ()
    return EventFacts(
        seq,
        f"2026-03-{seq % 27 + 1:02d} 14:22:05",
        f"2026-03-{seq % 27 + 1:02d} 14:25:11",
        title,
        "Stadtwerke Münster GmbH",
        "site lager-ost",
        digest(f"entry {seq}"),
        violations,
    )


def finding(index: int) -> FindingFacts:
    severity = ("critical", "high", "medium", "low")[index % 4]
    return FindingFacts(
        f"F-{index + 1:03d}",
        f"finding:platform:fnd_{index:032x}",
        "AN-10",
        "1",
        severity,
        "The seal seen at a hand-over is not the seal applied",
        "open",
        "Seal 8814027 was applied at exit of the cell; seal 8814029 was seen at the inspection, "
        "and no opening lies between.",
        "meter:dlms_system_title:454C560000F42400",
        2,
        ("meter:dlms_system_title:454C560000F42400",),
        ("A.7.8", "A.5.21"),
        291655,
    )


def framework_audit(*, requirements: int = 40, findings: int = 3, evidence: int = 12) -> FrameworkAudit:
    states = list(CoverageState)
    rows = [requirement(index, states[index % 5]) for index in range(requirements)]
    rows.sort(key=lambda row: row.group)
    groups = {
        title: {state: sum(row.group == title and row.state == state for row in rows) for state in states}
        for title in dict.fromkeys(row.group for row in rows)
    }
    return FrameworkAudit(
        document=document(),
        framework=FrameworkFacts(
            "iso27001-2022",
            "ISO/IEC 27001:2022 Information security management systems",
            "2022",
            "ISO/IEC JTC 1/SC 27",
            "Identifiers and titles agree with two public secondary sources",
            "Identifiers and titles only.",
            requirements,
            requirements - requirements // 5,
        ),
        conclusion=Conclusion(
            "bad", "Two requirements are contradicted", "Open findings of high severity speak against A.7.8 and A.5.21."
        ),
        groups=tuple(GroupTotals(title, counts) for title, counts in groups.items()),
        requirements=Listed.first(rows),
        findings=Listed.first([finding(index) for index in range(findings)]),
        findings_by_severity={"critical": 1, "high": 1, "medium": 1},
        checks=tuple(
            CheckFacts(f"AN-{n:02d}", "Does the seal fit?", "1", 300, n % 2, n % 3, 291655, PREPARED)
            for n in range(1, 11)
        ),
        custody=CustodyFacts(
            meters=300,
            entries=9120,
            organisations=7,
            stages=tuple(
                StageFacts(title, count)
                for title, count in (
                    ("Manufacture", 12),
                    ("Provisioning", 8),
                    ("Delivery", 60),
                    ("Installation", 4),
                    ("Operation", 201),
                    ("Re-provision", 3),
                    ("End of life", 10),
                    ("Held", 2),
                )
            ),
            violations={"standing.not_holder": 4, "transition.illegal": 2},
            meters_with_violations=5,
            meters_assured_lower=3,
            sampled=tuple(
                SampledMeter(
                    f"meter:dlms_system_title:454C560000F424{n:02X}", 28 + n, "in service", "in service", True, ""
                )
                for n in range(10)
            ),
            example_subject="meter:dlms_system_title:454C560000F42400",
            example=Listed.first([event(n) for n in range(12)]),
            first_recorded_at=datetime(2026, 7, 1, tzinfo=UTC),
            last_recorded_at=datetime(2026, 10, 31, tzinfo=UTC),
        ),
        evidence=Listed.first(
            [
                EvidenceFacts(
                    f"E-{n + 1:02d}",
                    "Prüfprotokoll der Schlüsselzeremonie",
                    "key_ceremony",
                    "Nordlicht Zählerbau GmbH",
                    "accepted",
                    "2026-07-01 to 2026-10-31",
                    f"protokoll-{n}.pdf",
                    "application/pdf",
                    8791 + n,
                    digest(f"evidence {n}"),
                )
                for n in range(evidence)
            ]
        ),
        evidence_by_state={"accepted": evidence},
    )


def meter_certificate(*, events: int = 26) -> MeterCertificate:
    return MeterCertificate(
        document=document("Meter custody certificate", "CC-2026-000148"),
        conclusion=Conclusion(
            "warn", "Recorded with exceptions", "One statement came from a party without standing; it moved nothing."
        ),
        subject="meter:dlms_system_title:454C560000F42400",
        public_id="mtr_0197",
        meter_address="http://127.0.0.1:8000/meters/mtr_0197",
        meter_type="AS3 Drehstromzähler",
        manufacturer="Nordlicht Zählerbau GmbH",
        identifiers=(
            IdentifierFacts("DLMS system title", "454C560000F42400"),
            IdentifierFacts("DIN 43849", "1EMH0012345678"),
        ),
        holder="Stadtwerke Münster GmbH",
        owner="Stadtwerke Münster GmbH",
        controller="Netz Nord AG",
        claimed_state="in service",
        assured_state="installed",
        tracks={"Keys": "operator", "Seal": "intact", "Data": "live"},
        timeline=Listed.first([event(n) for n in range(events)]),
        keys=(
            KeyFacts("GUEK", "commitment", digest("guek"), 3, False),
            KeyFacts("GAK", "commitment", digest("gak"), 3, True),
        ),
        firmware=(
            ("Version", "4.2.1"),
            ("Image SHA-256", digest("image")),
            ("Device certificate SHA-256", digest("cert")),
        ),
        exceptions=("Entry 4: standing.not_holder, the sender held nothing of the meter.",),
        findings=(finding(1),),
        inclusion=InclusionFacts(events - 1, digest(f"entry {events - 1}"), 9119, 14),
    )


def attachment_facts() -> list[AttachmentFacts]:
    return [
        AttachmentFacts(
            "report.json", "What this report says, for machines", "application/json", 48211, digest("report")
        ),
        AttachmentFacts(
            "coverage.json", "Every requirement with state and reasons", "application/json", 91422, digest("coverage")
        ),
        AttachmentFacts(
            "evidence-manifest.csv", "Every evidence file with size, type and digest", "text/csv", 8122, digest("csv")
        ),
        AttachmentFacts(
            "log.proof",
            "Proof of the sampled chains",
            "application/vnd.meterproof.bundle+json",
            912345,
            digest("proof"),
        ),
    ]
