"""An installation in which every address of the interface has something to show."""

import base64
import hashlib
import json
from dataclasses import dataclass

from compliance.checks.models import Finding, FindingMeter
from compliance.checks.registry import Severity
from compliance.frameworks.actions import load_shipped
from compliance.jobs import clock
from compliance.ledger import integrate, publish
from compliance.proof.subject import key_of
from compliance.reports import actions, archive
from compliance.reports.actions import DrawnPdf
from compliance.reports.builders.drafts import Draft
from compliance.reports.facts import CheckpointFacts
from compliance.reports.models import Report
from compliance.reports.sealing import SealedPdf
from tests.accounts import world as accounts
from tests.api.machines import MANUFACTURER_SCOPES, Machine, machine
from tests.custody import world

FRAMEWORK = "uk-cpa-sm"
FILE = b"station,offset\nst-1,3\n"
ADMIN_SCOPES = ("organisations:write", "api-keys:write", "checks:run", "reports:write", "reports:read", "events:read")


@dataclass(frozen=True, slots=True)
class House:
    """Who asks, and real values for the parts of paths."""

    elster: world.Party
    admin: Machine
    factory: Machine
    auditor: Machine
    path: dict[str, str]

    def fill(self, template: str) -> str:
        """The path with what is really there."""
        return template.format(**self.path)


def evidence_headers(content: bytes, name: str = "clocks.csv") -> dict[str, str]:
    """What goes with an evidence file."""
    metadata = {
        "title": "Clock offsets",
        "kind": "record",
        "name": name,
        "covers_from": "2026-01-01T00:00:00Z",
        "covers_to": "2026-06-30T23:59:59Z",
        "produced_at": "2026-07-01T08:00:00Z",
        "links": [{"kind": "requirement", "reference": "iso27001-2022:A.8.17"}],
    }
    return {
        "Content_Type": "text/csv",
        "Content_Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:",
        "Evidence_Metadata": base64.b64encode(json.dumps(metadata).encode()).decode(),
    }


def build() -> House:
    """Two meters under a checkpoint, evidence, a finding, a report, a job; a log must be there."""
    load_shipped()
    elster = world.join("elster", "manufacturer")
    accounts.join("pruefhaus", "auditor")
    admin, factory = machine("platform", *ADMIN_SCOPES), machine("elster", *MANUFACTURER_SCOPES)
    auditor = machine("pruefhaus", "events:read", "evidence:write", "reports:read")
    signed = elster.sign(world.born(1), world.born(2))
    elster.hand_in(signed.ndjson)
    evidence = factory.post("/api/v1/evidence", FILE, **evidence_headers(FILE)).json()
    integrate.integrate()
    publish.publish()
    job = admin.post("/api/v1/checks/runs").json()
    report = issued(actions.request_report(by=admin.key, kind="framework_audit", parameters={"framework": FRAMEWORK}))
    path = {
        "organisation_id": "elster",
        "api_key_id": factory.key.public_id,
        "batch_id": signed.batch_id,
        "index": "0",
        "meter_id": world.meter(world.title(1)).public_id,
        "evidence_id": evidence["id"],
        "sha256": evidence["files"][0]["sha256"],
        "finding_id": finding().public_id,
        "framework_key": FRAMEWORK,
        "report_id": report.public_id,
        "job_id": job["id"],
    }
    return House(elster, admin, factory, auditor, path)


def issued(report: Report) -> Report:
    """`report` as issued, without the pages: the interface does not look into the file."""
    draft = Draft("<p>", (), "A title", CheckpointFacts("o", 9, "ab" * 32, clock.now(), "note"), clock.now())
    actions.begin(report)
    actions.drawn(report, DrawnPdf(draft, "cd" * 32, 3))
    content = b"%PDF " + report.public_id.encode()
    name = archive.store(content)
    made = SealedPdf(content, "ef" * 32, "an authority", True)
    return actions.issue(report, made, sha256=name.removesuffix(".pdf"), signed_fields=["sig-seal"])


def finding(number: int = 1) -> Finding:
    """A finding about the first meter."""
    id_ = f"fnd_{number:032x}"
    FindingMeter.objects.create(finding=id_, meter_key=key_of(world.title(1)))
    return Finding.objects.create(
        id=id_,
        detector="AN-01",
        version=1,
        severity=Severity.HIGH,
        subject=world.title(1),
        subject_key=key_of(world.title(1)),
        seq=0,
        hash=bytes(32),
        event_type="mfg.assembled",
        author="elster",
        detail="Two meters share a name.",
        meters=[world.title(1)],
        meter_count=1,
        log_size=9,
        opened_at=clock.now(),
    )
