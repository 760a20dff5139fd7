"""The custody certificate of one meter: where it has been, who had it, what was put into it, and how that is proven."""

from django.conf import settings

from compliance.accounts.policy import SYSTEM
from compliance.custody import selectors as custody
from compliance.custody import words
from compliance.custody.models import Meter
from compliance.evidence.models import LinkKind
from compliance.evidence.selectors import evidence_for
from compliance.proof.identifiers import SCHEMES
from compliance.provisioning import selectors as provisioning
from compliance.provisioning.models import KeyRegistryEntry
from compliance.reports.builders import attachments, record
from compliance.reports.builders.document import document
from compliance.reports.builders.drafts import Draft
from compliance.reports.builders.evidence import evidence_facts
from compliance.reports.builders.findings import finding_facts, open_findings_about
from compliance.reports.builders.record import organisation_name
from compliance.reports.builders.timeline import timeline, violations_of
from compliance.reports.facts import (
    Conclusion,
    EventFacts,
    FindingFacts,
    IdentifierFacts,
    KeyFacts,
    Listed,
    MeterCertificate,
)
from compliance.reports.models import Report
from compliance.reports.pages import meter_certificate

HELD_BACK = frozenset({"quarantined", "missing"})
DOUBTED = frozenset({"suspect", "revoked", "untrusted"})
TRACKS = (("Keys", "key_state"), ("Seals", "seal_state"), ("Data on the meter", "data_state"), ("Trust", "trust"))


def build(report: Report) -> Draft:
    """The certificate that `report` asks for. Raises Meter.DoesNotExist, NotYetIncluded, RecordBroken."""
    meter = Meter.objects.get(subject_key=bytes.fromhex(report.parameters["meter"].removeprefix("mtr_")))
    proven = record.prove(lambda _root: [meter.subject, *record.operator_subjects()])
    meter.refresh_from_db()
    head = proven.heads[meter.subject]
    events = timeline(meter.subject, to_seq=head.seq)
    findings = _findings(meter)
    exceptions = _exceptions(meter, head.seq)
    title = f"{organisation_name(meter.manufacturer)} {meter.meter_type}".strip()
    facts = MeterCertificate(
        document=document(report, title=f"Custody certificate of {meter.subject}", checkpoint=proven.checkpoint),
        conclusion=_conclusion(meter, events, exceptions, findings),
        subject=meter.subject,
        public_id=meter.public_id,
        meter_address=f"{settings.METERPROOF['BASE_URL'].rstrip('/')}/meters/{meter.public_id}",
        meter_type=title,
        manufacturer=organisation_name(meter.manufacturer),
        identifiers=_identifiers(meter),
        holder=organisation_name(meter.holder),
        owner=organisation_name(meter.owner),
        controller=organisation_name(meter.controller),
        claimed_state=words.state(meter.claimed_state),
        assured_state=words.state(meter.assured_state),
        tracks={name: getattr(meter, field).replace("_", " ").capitalize() for name, field in TRACKS},
        timeline=Listed.first(events),
        keys=tuple(_key(key) for key in provisioning.keys_of(meter.subject)),
        firmware=_firmware(meter, head.seq),
        exceptions=exceptions,
        findings=findings,
        inclusion=head,
    )
    evidence = evidence_facts(evidence_for(LinkKind.METER, meter.subject).select_related("organisation"))
    files = [
        *([attachments.evidence_csv(evidence)] if evidence else []),
        attachments.proof(
            proven.bundle, name="meter.proof", description="The meter's whole chain, its proof and the keys behind it"
        ),
    ]
    return Draft.of(facts.document, facts, files, meter_certificate)


def _identifiers(meter: Meter) -> tuple[IdentifierFacts, ...]:
    return tuple(IdentifierFacts(_scheme_name(row.scheme), row.value) for row in custody.identifiers_of(meter, SYSTEM))


def _scheme_name(scheme: str) -> str:
    known = SCHEMES.get(scheme)
    return known.name.partition(" (")[0] if known is not None else scheme


def _key(row: KeyRegistryEntry) -> KeyFacts:
    if row.commitment:
        form, digest = "commitment", row.commitment
    elif row.public_key_sha256:
        form, digest = "public key, SHA-256", row.public_key_sha256
    else:
        form, digest = "registry tag", row.registry_tag
    return KeyFacts(row.role, form, digest, row.seq, row.destroyed_seq is not None)


def _firmware(meter: Meter, to_seq: int) -> tuple[tuple[str, str], ...]:
    """The last word of the chain on what runs in the meter and by which certificates it is known."""
    told: dict[str, str] = {}
    for step in custody.walk(meter.subject, to_seq=to_seq):
        data = step.data
        for name, members in (
            ("Firmware", ("to_version", "version")),
            ("Image, SHA-256", ("image_sha256_readback", "firmware_sha256", "image_sha256", "activated_sha256")),
        ):
            value = next((data[member] for member in members if isinstance(data.get(member), str)), None)
            if value is not None and (name != "Firmware" or "firmware" in step.type):
                told[name] = value
        certificates = data.get("device_certificates")
        if isinstance(certificates, list) and certificates:
            told["Certificates, SHA-256"] = ", ".join(str(item["sha256"]) for item in certificates)
    return tuple(told.items())


def _exceptions(meter: Meter, to_seq: int) -> tuple[str, ...]:
    return tuple(
        f"Entry {seq}, {violation.event_type} by {organisation_name(violation.author)}: "
        f"{words.violation(violation.code)}. {violation.detail}"
        for seq, found in violations_of(meter.subject).items()
        if seq <= to_seq
        for violation in found
    )


def _findings(meter: Meter) -> tuple[FindingFacts, ...]:
    concerned = open_findings_about(meter)
    return tuple(finding_facts(finding, number) for number, finding in enumerate(concerned, start=1))


def _conclusion(
    meter: Meter, events: list[EventFacts], exceptions: tuple[str, ...], findings: tuple[FindingFacts, ...]
) -> Conclusion:
    seen = f"{len(events):,} events on record, of which {len(exceptions):,} raised an exception"
    if meter.assured_state in HELD_BACK or (
        meter.trust in DOUBTED and meter.assured_state in {"installed", "in_service"}
    ):
        state, trust = words.state(meter.assured_state).lower(), meter.trust
        return Conclusion("bad", "Held in doubt", f"The meter is {state} and {trust}: {seen}.")
    if exceptions or findings or meter.claimed_state != meter.assured_state:
        return Conclusion(
            "warn", "Recorded with exceptions", f"{seen}; {len(findings):,} open findings name this meter."
        )
    return Conclusion(
        "ok", "Recorded without exception", f"{seen}; no open finding names this meter. Every entry is in the log."
    )
